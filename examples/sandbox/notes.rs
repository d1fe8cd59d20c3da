//! The code with the cache: one note, in a database that counts its reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_runtime::{Cache, cache_invalidate, cached};
use serde::{Deserialize, Serialize};

/// What is read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) text: String,
    /// Counts up with each write, so that an old note would be seen.
    pub(crate) edition: u64,
}

/// The database, as slow as one.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) cache: Cache,
    note: Mutex<Note>,
    reads: AtomicU64,
}

impl Notes {
    pub(crate) fn new(cache: Cache) -> Self {
        let note = Note {
            text: "Hello.".to_owned(),
            edition: 1,
        };
        Self {
            cache,
            note: Mutex::new(note),
            reads: AtomicU64::new(0),
        }
    }

    /// Reads the note through the cache.
    #[cached(key = "note", ttl = 20, invalidate_on = "notes", cache = self.cache, skip(self))]
    pub(crate) async fn read(&self) -> Note {
        tokio::time::sleep(Duration::from_millis(40)).await;
        self.reads.fetch_add(1, Relaxed);
        self.in_database()
    }

    /// Writes the note, and no later read gets the one before.
    #[cache_invalidate("note", cache = self.cache)]
    pub(crate) async fn write(&self, text: String) -> Note {
        let mut note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        note.edition += 1;
        note.text = text;
        note.clone()
    }

    /// The note as it is in the database.
    pub(crate) fn in_database(&self) -> Note {
        self.note
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How often the database was read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }
}
