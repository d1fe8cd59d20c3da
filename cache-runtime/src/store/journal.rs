//! Invalidations that did not reach the server: kept, distrusted here, and replayed.
//!
//! What is in the journal may still be served by other processes; in this one its names
//! are distrusted from the moment the invalidation returns: reads of them load, and store
//! nothing. A replay sends them again, over a connection that is new or works again, and
//! only then are they trusted.
//!
//! A server that refuses writes still passes messages on. So what it refuses to
//! invalidate is announced, and every process that hears of it takes it into its own
//! journal: none of them serves it, and the invalidation outlives whoever made it. An
//! announcement comes over the connection that answers this process's reads, ahead of
//! the answer to any read that the server gets after it. So whoever asks the journal
//! *after* such a read too has missed nothing.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::connection::Connection;
use super::keyspace::Keyspace;
use crate::error::Error;
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard};

/// So many names are sent together.
pub(super) const BATCH: usize = 500;

#[derive(Debug)]
pub(crate) struct Journal {
    keyspace: Keyspace,
    /// So many names are kept; where there are more, the whole namespace is.
    capacity: usize,
    /// Whether nothing is kept: all that reads ask, most of the time.
    quiet: AtomicBool,
    kept: Mutex<Kept>,
    /// Since when it is being replayed.
    replaying: Mutex<Option<Instant>>,
    /// Invalidations that are on their way.
    under_way: AtomicUsize,
    /// Notified when there is less of either.
    less: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    /// The names, each with a number that no other invalidation of it has had.
    names: HashMap<Key, u64>,
    /// Whether there were more names than are kept: then all names are meant.
    everything: Option<u64>,
    next: u64,
}

/// An invalidation on its way to the server. Dropped before it was carried out, it is kept.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    journal: &'a Journal,
    names: &'a [Key],
}

/// What is sent again, with the numbers that it had when it began to be.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) everything: Option<u64>,
    pub(crate) names: Vec<(Key, u64)>,
}

impl Journal {
    pub(crate) fn new(keyspace: Keyspace, capacity: usize) -> Self {
        Self {
            keyspace,
            capacity,
            quiet: AtomicBool::new(true),
            kept: Mutex::default(),
            replaying: Mutex::new(None),
            under_way: AtomicUsize::new(0),
            less: Notify::new(),
        }
    }

    /// To be called before an invalidation is sent.
    pub(crate) fn begin<'a>(&'a self, names: &'a [Key]) -> UnderWay<'a> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay {
            journal: self,
            names,
        }
    }

    /// Keeps names until they are replayed.
    pub(crate) fn keep(&self, names: &[Key]) {
        if names.is_empty() {
            return;
        }
        let mut kept = self.lock();
        kept.next += 1;
        let number = kept.next;
        let had_room = kept.everything.is_none();
        for name in names {
            if kept.everything.is_none()
                && kept.names.len() >= self.capacity
                && !kept.names.contains_key(name)
            {
                if !sabotage::keeps(Rule::Overflow) {
                    continue;
                }
                kept.names.clear();
                kept.everything = Some(number);
            }
            if kept.everything.is_some() {
                kept.everything = Some(number);
                break;
            }
            kept.names.insert(name.clone(), number);
        }
        let overflows = had_room && kept.everything.is_some();
        self.is_kept(kept);
        if overflows {
            tracing::error!(
                capacity = self.capacity,
                "the journal is full: the namespace is cleared once the cache server is back"
            );
        }
    }

    /// Keeps all names there are.
    pub(crate) fn keep_everything(&self) {
        let mut kept = self.lock();
        kept.next += 1;
        kept.names.clear();
        kept.everything = Some(kept.next);
        self.is_kept(kept);
    }

    /// Says so once, and after the lock: who listens may come back here.
    fn is_kept(&self, kept: MutexGuard<'_, Kept>) {
        let is_news = self.quiet.swap(false, Ordering::Release);
        drop(kept);
        if is_news {
            tracing::warn!(
                "invalidations are kept, and what they name is not served here, until the cache \
                 server carries them out"
            );
        }
    }

    /// Whether one of these names waits for its invalidation.
    pub(crate) fn distrusts(&self, key: &Key, tags: &[Key]) -> bool {
        if self.is_empty() {
            return false;
        }
        let kept = self.lock();
        kept.everything.is_some()
            || kept.names.contains_key(key)
            || tags.iter().any(|tag| kept.names.contains_key(tag))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.quiet.load(Ordering::Acquire)
    }

    /// How many names are kept, and whether they are all names there are.
    pub(crate) fn len(&self) -> (usize, bool) {
        let kept = self.lock();
        (kept.names.len(), kept.everything.is_some())
    }

    /// Sends what is kept, and trusts it again. What is kept again meanwhile stays.
    pub(crate) async fn replay(
        &self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<(), Error> {
        // One at a time: it may take long, and each asks the server for the same. Names that
        // are left stay distrusted, and are for the next.
        let Some(_turn) = Turn::take(&self.replaying, Instant::now()) else {
            return Ok(());
        };
        let Replay { everything, names } = self.begin_replay();
        if everything.is_some() {
            self.keyspace.clear(connection, limit).await?;
            self.end_replay(everything, &[]);
        }
        for names in names.chunks(BATCH) {
            let invalidate = self.keyspace.invalidate(names.iter().map(|(name, _)| name));
            connection.request(&invalidate, limit).await?;
            self.end_replay(None, names);
        }
        Ok(())
    }

    pub(crate) fn begin_replay(&self) -> Replay {
        let kept = self.lock();
        let names = kept
            .names
            .iter()
            .map(|(name, number)| (name.clone(), *number));
        Replay {
            everything: kept.everything,
            names: names.collect(),
        }
    }

    pub(crate) fn end_replay(&self, everything: Option<u64>, names: &[(Key, u64)]) {
        let mut kept = self.lock();
        if everything.is_some() && kept.everything == everything {
            kept.everything = None;
        }
        for (name, number) in names {
            if kept.names.get(name) == Some(number) {
                kept.names.remove(name);
            }
        }
        let quiet = kept.names.is_empty() && kept.everything.is_none();
        self.quiet.store(quiet, Ordering::Release);
        drop(kept);
        self.less.notify_waiters();
    }

    /// Tells the other processes what is kept here.
    pub(crate) async fn announce(
        &self,
        connection: &Connection,
        limit: Duration,
    ) -> Result<(), Error> {
        let Replay { everything, names } = self.begin_replay();
        if everything.is_some() {
            return self.announce_names(&[], connection, limit).await;
        }
        let names: Vec<Key> = names.into_iter().map(|(name, _)| name).collect();
        for names in names.chunks(BATCH) {
            self.announce_names(names, connection, limit).await?;
        }
        Ok(())
    }

    /// Tells them of these names; of all, if there are none.
    pub(crate) async fn announce_names(
        &self,
        names: &[Key],
        connection: &Connection,
        limit: Duration,
    ) -> Result<(), Error> {
        let announce = self.keyspace.announce(names);
        connection.request(&announce, limit).await?;
        Ok(())
    }

    /// What another process has announced.
    pub(crate) fn hear(&self, message: &[u8]) {
        match Keyspace::heard(message) {
            Some(names) if names.is_empty() => self.keep_everything(),
            Some(names) => self.keep(&names),
            None => tracing::warn!("an announcement on the cache server cannot be read"),
        }
    }

    /// Waits until nothing is kept, and nothing on its way.
    pub(crate) async fn emptied(&self) {
        loop {
            let mut less = std::pin::pin!(self.less.notified());
            less.as_mut().enable();
            // In this order: what fails meanwhile is kept before it is no longer on its way.
            if self.under_way.load(Ordering::Acquire) == 0 && self.is_empty() {
                return;
            }
            less.await;
        }
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// It was carried out.
    pub(crate) fn done(mut self) {
        self.names = &[];
    }
}

/// It failed, or nobody waits for it any more: it may have been carried out or not.
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.journal.keep(self.names);
        self.journal.under_way.fetch_sub(1, Ordering::Release);
        self.journal.less.notify_waiters();
    }
}

/// Held by who replays.
struct Turn<'a> {
    replaying: &'a Mutex<Option<Instant>>,
    since: Instant,
}

/// After so long, whoever replays is taken to be on a runtime that nobody drives.
const LOST: Duration = Duration::from_secs(10);

impl<'a> Turn<'a> {
    fn take(replaying: &'a Mutex<Option<Instant>>, now: Instant) -> Option<Self> {
        let mut since = replaying.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| now.duration_since(since) < LOST) {
            return None;
        }
        *since = Some(now);
        drop(since);
        Some(Self {
            replaying,
            since: now,
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut since = self
            .replaying
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Another may have taken its place.
        if *since == Some(self.since) {
            *since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replays_at_a_time_and_who_is_lost_is_replaced() {
        let replaying = Mutex::new(None);
        let begin = Instant::now();
        let lost = Turn::take(&replaying, begin).expect("nobody replays");
        let early = LOST.saturating_sub(Duration::from_millis(1));
        assert!(Turn::take(&replaying, begin + early).is_none());
        let heir = Turn::take(&replaying, begin + LOST).expect("it is lost");
        // Driven after all, it ends, and not in the place of its heir.
        drop(lost);
        assert!(Turn::take(&replaying, begin + LOST).is_none());
        drop(heir);
        assert!(Turn::take(&replaying, begin + LOST).is_some());
    }
}
