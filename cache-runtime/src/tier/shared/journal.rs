//! Invalidations that did not reach the server: kept, distrusted here, and replayed.
//!
//! Other processes may still serve what is in the journal. In this one, its names are distrusted
//! from the moment that the invalidation returns: reads of them load, and store nothing. A
//! replay sends them again, over a connection that is new or works again, and only then are
//! they trusted.
//!
//! A server that refuses writes still passes messages on. So what it refuses to invalidate is
//! announced, and every process that hears the announcement takes it into its own journal. Then no
//! process serves it, and the invalidation outlives the process that made it. An announcement
//! arrives over the connection that answers this process's reads, and before the answer to any
//! read that the server gets after it. So a caller that asks the journal *after* such a read, too,
//! misses none. Each connection of this process hears it: a name that is heard once more after its
//! replay is invalidated once more.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::error::Error;
use crate::key::Key;
use crate::observe::{Event, Observer};
use crate::sabotage::{self, Rule};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard};
use crate::tier::Waiting;

/// The most names that are sent together.
pub(super) const BATCH: usize = 500;

/// After so long, a replay is taken to run on a runtime that is not driven.
const REPLAY_LOST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Journal {
    /// The most names that are kept. If there are more, the whole namespace is kept instead.
    capacity: usize,
    /// Whether nothing is kept. While this is true, a read checks nothing else.
    is_quiet: AtomicBool,
    kept: Mutex<Kept>,
    /// When the replay that runs has begun.
    replaying: Mutex<Option<Instant>>,
    /// How many invalidations are on their way to the server.
    under_way: AtomicUsize,
    /// Notified when less is kept or on its way.
    less: Notify,
    observer: Observer,
}

#[derive(Debug, Default)]
struct Kept {
    /// The names, each with a number that no other invalidation of it has had.
    names: HashMap<Key, u64>,
    /// Set if all names are meant, since there were too many or the namespace is to be cleared.
    everything: Option<u64>,
    last_number: u64,
}

/// An invalidation on its way to the server. If it is dropped before it was carried out, its names
/// are kept.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    journal: &'a Journal,
    names: &'a [Key],
}

/// What is sent again, with the numbers that it had when the replay began.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) everything: Option<u64>,
    pub(crate) names: Vec<(Key, u64)>,
}

/// Where the journal is replayed to, and announced.
pub(crate) trait Sender: Sync {
    /// Invalidates names.
    fn invalidate(&self, names: &[Key]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes everything in the namespace.
    fn clear(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Tells the other processes of names; of all names, if there are none here.
    fn announce(&self, names: &[Key]) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Journal {
    pub(crate) fn new(capacity: usize, observer: Observer) -> Self {
        Self {
            capacity,
            is_quiet: AtomicBool::new(true),
            kept: Mutex::default(),
            replaying: Mutex::new(None),
            under_way: AtomicUsize::new(0),
            less: Notify::new(),
            observer,
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
        let had_room = kept.everything.is_none();
        kept.add(names, self.capacity);
        let overflows = had_room && kept.everything.is_some();
        self.is_kept(kept);
        if overflows {
            let capacity = self.capacity;
            self.observer
                .observe(None, Event::JournalOverflows { capacity });
        }
    }

    /// Keeps all names there are.
    pub(crate) fn keep_everything(&self) {
        let mut kept = self.lock();
        kept.last_number += 1;
        kept.names.clear();
        kept.everything = Some(kept.last_number);
        self.is_kept(kept);
    }

    /// Notes that something is kept. The event is sent if nothing was kept before, and after the
    /// lock is released: a listener may call the cache.
    fn is_kept(&self, kept: MutexGuard<'_, Kept>) {
        let was_quiet = self.is_quiet.swap(false, Ordering::Release);
        drop(kept);
        if was_quiet {
            self.observer.observe(None, Event::JournalKeeps);
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
        self.is_quiet.load(Ordering::Acquire)
    }

    /// What is kept.
    pub(crate) fn waiting(&self) -> Waiting {
        let kept = self.lock();
        Waiting {
            names: kept.names.len(),
            everything: kept.everything.is_some(),
        }
    }

    /// Sends the names that are kept. Names that were carried out are trusted again. Names whose
    /// invalidation failed once more meanwhile stay in the journal.
    pub(crate) async fn replay(&self, sender: &impl Sender) -> Result<(), Error> {
        // One replay at a time: it may take long, and a second would send the same names. Names
        // that it leaves behind stay distrusted until the next replay.
        let Some(_turn) = Turn::take(&self.replaying, Instant::now()) else {
            return Ok(());
        };
        let Replay { everything, names } = self.begin_replay();
        if everything.is_some() {
            sender.clear().await?;
            self.end_replay(everything, &[]);
        }
        for names in names.chunks(BATCH) {
            let keys: Vec<Key> = names.iter().map(|(name, _)| name.clone()).collect();
            sender.invalidate(&keys).await?;
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
        let is_quiet = kept.names.is_empty() && kept.everything.is_none();
        let was_quiet = self.is_quiet.swap(is_quiet, Ordering::Release);
        drop(kept);
        self.less.notify_waiters();
        if is_quiet && !was_quiet {
            self.observer.observe(None, Event::JournalEmptied);
        }
    }

    /// Tells the other processes what is kept here.
    pub(crate) async fn announce(&self, sender: &impl Sender) -> Result<(), Error> {
        let Replay { everything, names } = self.begin_replay();
        if everything.is_some() {
            return sender.announce(&[]).await;
        }
        let names: Vec<Key> = names.into_iter().map(|(name, _)| name).collect();
        for names in names.chunks(BATCH) {
            sender.announce(names).await?;
        }
        Ok(())
    }

    /// Keeps what another process has announced.
    pub(crate) fn hear(&self, announced: Option<Vec<Key>>) {
        match announced {
            Some(names) if names.is_empty() => self.keep_everything(),
            Some(names) => self.keep(&names),
            None => self.observer.observe(None, Event::AnnouncementUnreadable),
        }
    }

    /// Waits until nothing is kept, and nothing is on its way.
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

impl Kept {
    fn add(&mut self, names: &[Key], capacity: usize) {
        self.last_number += 1;
        let number = self.last_number;
        for name in names {
            let is_full = self.names.len() >= capacity && !self.names.contains_key(name);
            if self.everything.is_none() && is_full {
                if !sabotage::keeps(Rule::Overflow) {
                    continue;
                }
                self.names.clear();
                self.everything = Some(number);
            }
            if self.everything.is_some() {
                self.everything = Some(number);
                break;
            }
            self.names.insert(name.clone(), number);
        }
    }
}

impl UnderWay<'_> {
    /// It was carried out.
    pub(crate) fn done(mut self) {
        self.names = &[];
    }
}

/// It failed, or was dropped: it may have been carried out or not.
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.journal.keep(self.names);
        self.journal.under_way.fetch_sub(1, Ordering::Release);
        self.journal.less.notify_waiters();
    }
}

/// Held while a replay runs.
struct Turn<'a> {
    replaying: &'a Mutex<Option<Instant>>,
    since: Instant,
}

impl<'a> Turn<'a> {
    fn take(replaying: &'a Mutex<Option<Instant>>, now: Instant) -> Option<Self> {
        let mut since = replaying.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some_and(|since| now.duration_since(since) < REPLAY_LOST) {
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
        // A later replay may have taken the turn over.
        if *since == Some(self.since) {
            *since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replays_take_turns_and_a_lost_one_is_replaced() {
        let replaying = Mutex::new(None);
        let begin = Instant::now();
        let lost = Turn::take(&replaying, begin).expect("no replay runs");
        let early = REPLAY_LOST.saturating_sub(Duration::from_millis(1));
        assert!(Turn::take(&replaying, begin + early).is_none());
        let next = Turn::take(&replaying, begin + REPLAY_LOST).expect("the first is lost");
        // The lost one runs after all, and ends: the turn of the next one stays.
        drop(lost);
        assert!(Turn::take(&replaying, begin + REPLAY_LOST).is_none());
        drop(next);
        assert!(Turn::take(&replaying, begin + REPLAY_LOST).is_some());
    }
}
