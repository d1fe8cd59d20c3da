//! Invalidations that did not reach the server: kept, distrusted here, and replayed.
//!
//! Other processes may still serve what is in the journal. In this one, its names are distrusted
//! from the moment that the invalidation returns: reads of them load, and store nothing. A
//! replay sends them again, over a connection that is new or works again, and only then are
//! they trusted.
//!
//! A pattern is kept as the pattern that it is, like the buckets of names for which there is no room:
//! both are a [`Selection`], which a replay removes by scans. What matches it is distrusted until every
//! server was scanned from its beginning to its end.
//!
//! A server that refuses writes still passes messages on. So what it refuses to invalidate is
//! announced, and every process that hears the announcement takes it into its own journal. Then no
//! process serves it, and the invalidation outlives the process that made it.
//!
//! * An announcement arrives over the connection that answers this process's reads, and before the
//!   answer to any read that the server gets after it. So a caller asks the journal before its read,
//!   for what has failed here, and after it, for what was [heard](Heard) since.
//! * A name is announced once. A process that begins to listen asks for what was announced before.
//!   Each process that keeps it will answer, after a pause, unless it hears the answer of another.
//! * The first process that can invalidate what was announced acknowledges it. Then the name leaves
//!   the journals of all that had it from the same announcement, and of the process that announced it.
//!
//! [`kept`] is the state under the journal's lock; [`under_way`], the guards of invalidations that are on
//! their way.

mod kept;
#[cfg(test)]
mod tests;
mod under_way;

use std::process;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::kept::{ANNOUNCED_TOGETHER, Kept, KeptName, RECENT, Sent, Untold};
use self::under_way::PatternUnderWay;
pub(crate) use self::under_way::UnderWay;
use super::announcement::{Announced, Message, Origin};
use super::keyspace::Scans;
use super::selection::Selection;
use crate::backlog::Buckets;
use crate::error::Error;
use crate::key::{Key, Pattern};
use crate::observe::{Event, Observer};
use crate::sabotage::{self, Rule};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard};
use crate::tier::Waiting;
use crate::unique;

/// After so long, a replay is taken to run on a runtime that is not driven.
const REPLAY_LOST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Journal {
    /// With the process's id, tells the announcements of this process from those of others.
    id: u64,
    /// How many bytes the names may take. Of further names, the buckets are kept.
    room: usize,
    /// Whether nothing is kept. While this is true, a read checks nothing else.
    is_quiet: AtomicBool,
    /// How many announcements were heard.
    heard: AtomicU64,
    kept: Mutex<Kept>,
    /// When the replay that runs has begun.
    replaying: Mutex<Option<Instant>>,
    /// How many invalidations are on their way to the server.
    under_way: AtomicUsize,
    /// Notified when less is kept or on its way.
    less: Notify,
    observer: Observer,
}

/// How much was heard when a caller began its look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard(u64);

/// Where the journal is replayed to, and announced.
pub(crate) trait Sender: Sync {
    /// How many names to send together.
    fn window(&self) -> usize;

    /// Invalidates names. Returns those, by their index, that their servers did not carry out, while the
    /// servers of others did.
    fn invalidate(&self, names: &[Key]) -> impl Future<Output = Result<Vec<usize>, Error>> + Send;

    /// Removes everything that is selected, from where earlier scans have got to, at most until then.
    fn remove(
        &self,
        selection: &Selection,
        scans: &mut Scans,
        until: Instant,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Tells the other processes.
    fn publish(&self, message: &Message) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Journal {
    pub(crate) fn new(room: usize, observer: Observer) -> Self {
        Self {
            id: unique::number(),
            room: sabotage::backlog_room(room),
            is_quiet: AtomicBool::new(true),
            heard: AtomicU64::new(0),
            kept: Mutex::default(),
            replaying: Mutex::new(None),
            under_way: AtomicUsize::new(0),
            less: Notify::new(),
            observer,
        }
    }

    /// Tells the announcements of this process from those of others: a forked process has a copy of
    /// the journal.
    fn here(&self) -> u64 {
        if sabotage::keeps(Rule::Forks) {
            self.id ^ u64::from(process::id())
        } else {
            self.id
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

    /// To be called before what matches a pattern is invalidated.
    pub(crate) fn begin_pattern<'a>(&'a self, pattern: &'a Pattern) -> PatternUnderWay<'a> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        PatternUnderWay {
            journal: self,
            pattern: Some(pattern),
        }
    }

    /// Keeps a pattern until it is replayed.
    pub(crate) fn keep_pattern(&self, pattern: &Pattern) {
        self.change(|kept, _| kept.add_pattern(pattern));
    }

    /// Keeps names until they are replayed.
    pub(crate) fn keep(&self, names: &[Key]) {
        if !names.is_empty() {
            self.change(|kept, room| kept.add(names, None, room));
        }
    }

    /// Keeps everything in some buckets until it is replayed.
    pub(crate) fn keep_buckets(&self, buckets: Buckets) {
        if !buckets.are_none() {
            self.change(|kept, _| kept.add_buckets(buckets));
        }
    }

    /// Adds to what is kept. The events are sent after the lock is released: a listener may call
    /// the cache.
    fn change(&self, add: impl FnOnce(&mut Kept, usize)) {
        let mut kept = self.lock();
        let had_room = !kept.has_overflowed();
        add(&mut kept, self.room);
        let overflows = had_room && kept.has_overflowed();
        let is_quiet = kept.is_empty();
        let was_quiet = self.is_quiet.swap(is_quiet, Ordering::Release);
        drop(kept);
        if was_quiet && !is_quiet {
            self.observer.observe(None, Event::JournalKeeps);
        }
        if overflows {
            let room = self.room;
            self.observer
                .observe(None, Event::JournalOverflows { room });
        }
    }

    /// Whether one of these names waits for its invalidation.
    pub(crate) fn distrusts(&self, key: &Key, tags: &[Key]) -> bool {
        !self.is_empty() && self.lock().distrusts(key, tags)
    }

    /// To be asked before a look, and before [`distrusts`](Self::distrusts).
    pub(super) fn heard(&self) -> Heard {
        Heard(self.heard.load(Ordering::Acquire))
    }

    /// Whether one of these names was announced since, or waits for its invalidation. A name that
    /// was announced may have been invalidated again by now, and the look may have come before that.
    pub(super) fn distrusts_since(&self, heard: Heard, key: &Key, tags: &[Key]) -> bool {
        if self.heard.load(Ordering::Acquire) == heard.0 {
            return self.distrusts(key, tags);
        }
        let kept = self.lock();
        // Under the lock: what is heard before it is taken is among the recent ones by now.
        let now = self.heard.load(Ordering::Acquire);
        let since = usize::try_from(now - heard.0).unwrap_or(usize::MAX);
        kept.distrusts(key, tags) || kept.has_heard(since, key, tags)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.is_quiet.load(Ordering::Acquire)
    }

    /// What is kept.
    pub(crate) fn waiting(&self) -> Waiting {
        let kept = self.lock();
        let replayed = kept.replayed.as_ref();
        let patterns = replayed.map_or(0, |replayed| replayed.patterns().len());
        Waiting {
            names: kept.names.len() + kept.selection.patterns().len() + patterns,
            has_overflowed: kept.has_overflowed(),
        }
    }

    /// Sends what is kept, at most until then. Names that were carried out are trusted again. Names
    /// whose invalidation failed once more meanwhile stay in the journal.
    pub(crate) async fn replay(&self, sender: &impl Sender, until: Instant) -> Result<(), Error> {
        // One replay at a time: it may take long, and a second would send the same names. Names
        // that it leaves behind stay distrusted until the next replay.
        let Some(_turn) = Turn::take(&self.replaying, Instant::now()) else {
            return Ok(());
        };
        let last = self.lock().last_number;
        while Instant::now() < until {
            let sent = self.next(sender.window(), last);
            if sent.is_empty() {
                return self.replay_selection(sender, until).await;
            }
            let names: Vec<Key> = sent.iter().map(|sent| sent.name.clone()).collect();
            let unparked = self.lock().unparked;
            let away = sender.invalidate(&names).await?;
            let (away, sent): (Vec<_>, Vec<_>) = sent
                .into_iter()
                .enumerate()
                .partition(|(index, _)| away.contains(index));
            let [away, sent] = [away, sent].map(|some| some.into_iter().map(|(_, it)| it));
            let sent: Vec<Sent> = sent.collect();
            self.carried_out(&sent);
            self.acknowledge(sender, &sent).await;
            self.lock().park(away, unparked);
        }
        Ok(())
    }

    /// Some of the names that were kept by then.
    pub(crate) fn next(&self, most: usize, last: u64) -> Vec<Sent> {
        let kept = self.lock();
        if kept.parked == kept.names.len() {
            return Vec::new();
        }
        let is_due = |entry: &KeptName| entry.number <= last && !entry.is_parked;
        let by_then = kept.names.iter().filter(|(_, entry)| is_due(entry));
        let sent = by_then.map(|(name, entry)| Sent {
            name: name.clone(),
            number: entry.number,
            origin: entry.origin,
        });
        sent.take(most.max(1)).collect()
    }

    /// Parked names are tried again, if the last time was so long ago.
    pub(super) fn unpark_after(&self, pause: Duration) {
        if !self.is_empty() {
            self.lock().unpark_after(pause, Instant::now());
        }
    }

    /// Notes that names were invalidated.
    pub(crate) fn carried_out(&self, sent: &[Sent]) {
        self.forget(|kept| {
            for Sent { name, number, .. } in sent {
                kept.remove_if(name, |entry| entry.number == *number);
            }
        });
    }

    async fn replay_selection(&self, sender: &impl Sender, until: Instant) -> Result<(), Error> {
        let Some((selection, mut scans)) = self.lock().begin_scans() else {
            return Ok(());
        };
        let removed = sender.remove(&selection, &mut scans, until).await;
        self.forget(|kept| kept.end_scans(&selection, scans));
        removed
    }

    /// Tells the processes that keep these names for the same announcements that they need not.
    async fn acknowledge(&self, sender: &impl Sender, sent: &[Sent]) {
        if !sabotage::keeps(Rule::Acknowledge) {
            return;
        }
        let mut rest: Vec<&Sent> = sent.iter().filter(|sent| sent.origin.is_some()).collect();
        while let Some(first) = rest.first()
            && let Some(origin) = first.origin
        {
            let (done, others): (Vec<_>, _) = rest
                .into_iter()
                .partition(|sent| sent.origin == Some(origin));
            let names = done.into_iter().map(|sent| sent.name.clone()).collect();
            let message = Message::Done { origin, names };
            if let Err(error) = &sender.publish(&message).await {
                return self.observer.observe(None, Event::NotAnnounced { error });
            }
            rest = others;
        }
    }

    /// Tells the other processes what is kept here, unless it was told since one of them asked.
    pub(crate) async fn announce(&self, sender: &impl Sender) -> Result<(), Error> {
        if !sabotage::keeps(Rule::AnnounceOnce) {
            self.lock().asked += 1;
        }
        loop {
            let untold = self.lock().untold();
            if untold.names.is_empty() {
                return self.announce_selection(sender, untold).await;
            }
            for names in untold.names.chunks(ANNOUNCED_TOGETHER) {
                let announced = Announced {
                    names: names.to_vec(),
                    ..Announced::default()
                };
                let message = self.kept(&untold, announced);
                sender.publish(&message).await?;
                self.lock().has_told(names, &untold);
            }
        }
    }

    async fn announce_selection(&self, sender: &impl Sender, untold: Untold) -> Result<(), Error> {
        for buckets in untold.buckets.chunks(ANNOUNCED_TOGETHER) {
            let announced = Announced {
                buckets: buckets.to_vec(),
                ..Announced::default()
            };
            let message = self.kept(&untold, announced);
            sender.publish(&message).await?;
        }
        if !untold.patterns.is_empty() {
            let patterns = untold.patterns.iter().map(Pattern::from).collect();
            let announced = Announced {
                patterns,
                ..Announced::default()
            };
            sender.publish(&self.kept(&untold, announced)).await?;
        }
        self.lock().has_told(&[], &untold);
        Ok(())
    }

    fn kept(&self, untold: &Untold, announced: Announced) -> Message {
        Message::Kept {
            origin: Origin {
                from: self.here(),
                number: untold.number,
            },
            announced,
        }
    }

    /// Asks the other processes for what they have announced before.
    pub(crate) async fn ask(&self, sender: &impl Sender) -> Result<(), Error> {
        sender.publish(&Message::Ask { from: self.here() }).await
    }

    /// Takes in what another process says.
    pub(crate) fn hear(&self, message: Option<Message>) {
        match message {
            Some(Message::Kept { origin, .. }) if origin.from == self.here() => {}
            Some(Message::Kept { origin, announced }) => self.keep_heard(origin, announced),
            Some(Message::Done { origin, names }) => self.forget(|kept| {
                let is_meant = |entry: &KeptName| match entry.origin {
                    None => origin.from == self.here() && entry.number <= origin.number,
                    heard => heard == Some(origin),
                };
                for name in &names {
                    kept.remove_if(name, is_meant);
                }
            }),
            Some(Message::Ask { from }) if from == self.here() => {}
            Some(Message::Ask { .. }) => self.lock().asked += 1,
            None => self.observer.observe(None, Event::AnnouncementUnreadable),
        }
    }

    fn keep_heard(&self, origin: Origin, announced: Announced) {
        self.change(|kept, room| {
            kept.add(&announced.names, Some(origin), room);
            kept.hear_selection(&announced);
            if kept.recent.len() == RECENT {
                kept.recent.pop_front();
            }
            kept.recent.push_back(announced);
            // Under the lock, and before the answers that arrive after the announcement.
            self.heard.fetch_add(1, Ordering::Release);
        });
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

    /// Takes something out of what is kept.
    fn forget(&self, change: impl FnOnce(&mut Kept)) {
        let mut kept = self.lock();
        change(&mut kept);
        let is_quiet = kept.is_empty();
        let was_quiet = self.is_quiet.swap(is_quiet, Ordering::Release);
        drop(kept);
        self.less.notify_waiters();
        if is_quiet && !was_quiet {
            self.observer.observe(None, Event::JournalEmptied);
        }
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
