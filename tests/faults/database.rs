//! A stand-in for a database: rows of growing versions, which several processes share.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::copies;

/// Two numbers for each row, in a file: its *version*, which a commit counts up, and its *floor*,
/// the version of the last update whose invalidation has returned.
///
/// One process writes a row; all of them read it.
#[derive(Debug)]
pub(crate) struct Database {
    file: Arc<File>,
    /// Held by a commit, which reads a version and writes the next.
    committing: Arc<Mutex<()>>,
    /// Where copies are kept: the floors of reads in this process, which come before those of others.
    own_floors: Mutex<HashMap<u32, u64>>,
}

const VERSION: u64 = 0;
const FLOOR: u64 = 1;

impl Database {
    /// Opens the database in this folder, or makes it. Then each row has version 0.
    pub(crate) fn open(folder: &Path) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("rows"));
        Self {
            file: Arc::new(file.expect("a file for the rows")),
            committing: Arc::default(),
            own_floors: Mutex::default(),
        }
    }

    /// The committed version.
    pub(crate) fn version(&self, row: u32) -> u64 {
        self.get(row, VERSION)
    }

    /// The version that a read which begins now must at least see.
    pub(crate) fn floor(&self, row: u32) -> u64 {
        let own = lock(&self.own_floors).get(&row).copied();
        self.get(row, FLOOR).max(own.unwrap_or(0))
    }

    /// Commits an update, and returns the row's new version.
    pub(crate) fn commit(&self, row: u32) -> u64 {
        let _one_at_a_time = self.committing.lock();
        let version = self.get(row, VERSION) + 1;
        self.put(row, VERSION, version);
        version
    }

    /// Notes that the invalidation after the commit of `version` has returned.
    pub(crate) fn promise(&self, row: u32, version: u64) {
        if !copies::are_kept() {
            return self.promise_all(row, version);
        }
        lock(&self.own_floors)
            .entry(row)
            .and_modify(|floor| *floor = version.max(*floor))
            .or_insert(version);
        let database = Self {
            file: self.file.clone(),
            committing: self.committing.clone(),
            own_floors: Mutex::default(),
        };
        tokio::spawn(async move {
            tokio::time::sleep(copies::LAG).await;
            database.promise_all(row, version);
        });
    }

    /// The same for all processes.
    fn promise_all(&self, row: u32, version: u64) {
        let _one_at_a_time = lock(&self.committing);
        let floor = self.get(row, FLOOR).max(version);
        self.put(row, FLOOR, floor);
    }

    /// Each number is stored twice. If the two differ, a write is under way: then read again.
    fn get(&self, row: u32, column: u64) -> u64 {
        loop {
            let mut bytes = [0; 16];
            match self.file.read_at(&mut bytes, place(row, column)) {
                // The file ends before this row, which was never written.
                Ok(0) => return 0,
                Ok(16) => {
                    let (one, other) = bytes.split_at(8);
                    if one == other {
                        return u64::from_le_bytes(one.try_into().expect("eight of sixteen"));
                    }
                }
                Ok(_) => {}
                Err(error) => panic!("cannot read the rows: {error}"),
            }
        }
    }

    fn put(&self, row: u32, column: u64, number: u64) {
        let twice = [number.to_le_bytes(), number.to_le_bytes()].concat();
        self.file
            .write_all_at(&twice, place(row, column))
            .expect("the rows can be written");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(row: u32, column: u64) -> u64 {
    u64::from(row) * 32 + column * 16
}
