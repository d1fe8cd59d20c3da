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

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::process;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::announcement::{Announced, Message, Origin};
use super::keyspace::Scans;
use super::selection::Selection;
use crate::backlog::{self, Buckets};
use crate::error::Error;
use crate::key::{Key, Pattern};
use crate::observe::{Event, Observer};
use crate::sabotage::{self, Rule};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard};
use crate::tier::Waiting;
use crate::unique;

/// The most names or buckets of one announcement.
const ANNOUNCED_TOGETHER: usize = 500;

/// The most names that are chosen together for announcements: to choose, all names are looked at.
const CHOSEN_TOGETHER: usize = 20 * ANNOUNCED_TOGETHER;

/// So many of the announcements that were heard last are known by name.
const RECENT: usize = 64;

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

#[derive(Debug, Default)]
struct Kept {
    names: HashMap<Key, Entry>,
    /// How many of the names are parked.
    parked: usize,
    /// How often all names were unparked, and when they last were.
    unparked: u64,
    unparked_at: Option<Instant>,
    /// What the names take of the room.
    bytes: usize,
    /// Patterns, and the buckets of the names for which there was no room.
    selection: Selection,
    /// What a replay removes by scans, or has begun to.
    replayed: Option<Arc<Selection>>,
    /// Where that replay has got to on each server.
    scans: Scans,
    /// Each time that something is kept has a number.
    last_number: u64,
    /// How often another process has asked for what is kept here.
    asked: u64,
    /// The number of the last time that something was added to what is selected.
    selection_number: u64,
    /// The value of `asked` at which what is selected was last announced, and one more.
    selection_told: u64,
    /// The announcements that were heard last, the newest last.
    recent: VecDeque<Announced>,
}

/// A name that is kept.
#[derive(Debug)]
struct Entry {
    number: u64,
    /// The announcement that it was heard in. `None` if its invalidation failed here.
    origin: Option<Origin>,
    /// The value of `asked` at which it was last announced or heard, and one more.
    told: u64,
    /// Whether a replay has sent it in vain, while it could invalidate others. It is left out until all
    /// names are unparked.
    is_parked: bool,
}

/// How much was heard when a caller began its look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard(u64);

/// A name that a replay sends, as it was when it was chosen.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) name: Key,
    number: u64,
    origin: Option<Origin>,
}

/// What is announced next.
struct Untold {
    names: Vec<Key>,
    buckets: Vec<u32>,
    /// The texts of patterns.
    patterns: Vec<Key>,
    /// The last number when it was chosen.
    number: u64,
    /// The value of `told` once it was announced.
    told: u64,
}

/// An invalidation on its way to the server. If it is dropped before it was carried out, its names
/// are kept.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    journal: &'a Journal,
    names: &'a [Key],
}

/// A pattern on its way to the servers. If this is dropped before all of them have carried it out, it is
/// kept.
#[derive(Debug)]
pub(crate) struct PatternUnderWay<'a> {
    journal: &'a Journal,
    pattern: Option<&'a Pattern>,
}

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
        let is_due = |entry: &Entry| entry.number <= last && !entry.is_parked;
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
                let is_meant = |entry: &Entry| match entry.origin {
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

impl Kept {
    fn add(&mut self, names: &[Key], origin: Option<Origin>, room: usize) {
        self.last_number += 1;
        for name in names {
            let entry = Entry {
                number: self.last_number,
                origin,
                told: origin.map_or(0, |_| self.asked + 1),
                is_parked: false,
            };
            match self.names.get_mut(name) {
                // What failed here stays, until it was carried out after that, or was announced
                // from here. Another process need not be told of it once more.
                Some(known) if known.origin.is_none() && origin.is_some() => {
                    // The other process may have failed after what is under way for this name now.
                    known.number = entry.number;
                    if known.told > 0 {
                        known.told = known.told.max(entry.told);
                    }
                    continue;
                }
                Some(known) => {
                    self.parked -= usize::from(known.is_parked);
                    *known = entry;
                    continue;
                }
                None => {}
            }
            let bytes = self.bytes + backlog::cost(name);
            if bytes <= room {
                self.bytes = bytes;
                self.names.insert(name.clone(), entry);
            } else if sabotage::keeps(Rule::Overflow) {
                self.selection.buckets.mark(name.bytes());
                self.selection_number = self.last_number;
                self.selection_told = 0;
            }
        }
    }

    fn add_buckets(&mut self, buckets: Buckets) {
        if !buckets.are_none() {
            self.last_number += 1;
            self.selection.buckets.merge(buckets);
            self.selection_number = self.last_number;
            self.selection_told = 0;
        }
    }

    fn add_pattern(&mut self, pattern: &Pattern) {
        self.last_number += 1;
        self.selection.add(pattern);
        self.selection_number = self.last_number;
        self.selection_told = 0;
    }

    /// Adds what another process has announced. Other processes need not be told of it once more.
    fn hear_selection(&mut self, announced: &Announced) {
        if announced.buckets.is_empty() && announced.patterns.is_empty() {
            return;
        }
        if self.selection.is_none() && self.replayed.is_none() {
            self.selection_told = self.asked + 1;
        }
        for &number in &announced.buckets {
            self.selection.buckets.mark_number(number);
        }
        for pattern in &announced.patterns {
            self.selection.add(pattern);
        }
    }

    fn remove_if(&mut self, name: &Key, is_meant: impl FnOnce(&Entry) -> bool) {
        if self.names.get(name).is_some_and(is_meant)
            && let Some(entry) = self.names.remove(name)
        {
            self.parked -= usize::from(entry.is_parked);
            self.bytes -= backlog::cost(name);
        }
    }

    /// Parks names that were sent, unless they were kept once more, or a server was connected to, since.
    fn park(&mut self, sent: impl Iterator<Item = Sent>, unparked: u64) {
        for Sent { name, number, .. } in sent {
            if self.unparked == unparked
                && let Some(entry) = self.names.get_mut(&name)
                && entry.number == number
                && !entry.is_parked
            {
                entry.is_parked = true;
                self.parked += 1;
            }
        }
    }

    fn unpark_after(&mut self, pause: Duration, now: Instant) {
        let is_due = |at: Instant| now.duration_since(at) >= pause;
        if !self.unparked_at.is_none_or(is_due) {
            return;
        }
        self.unparked_at = Some(now);
        self.unparked += 1;
        if mem::take(&mut self.parked) > 0 {
            for entry in self.names.values_mut() {
                entry.is_parked = false;
            }
        }
    }

    fn has_overflowed(&self) -> bool {
        let mut selections = self.selections();
        selections.any(|selection| !selection.buckets.are_none())
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.selection.is_none() && self.replayed.is_none()
    }

    /// What is selected, whether or not a replay has begun to remove it.
    fn selections(&self) -> impl Iterator<Item = &Selection> {
        std::iter::once(&self.selection).chain(self.replayed.as_deref())
    }

    fn distrusts(&self, key: &Key, tags: &[Key]) -> bool {
        let is_in = |name: &Key| {
            let name = &*name.on_server();
            let mut selections = self.selections();
            self.names.contains_key(name)
                || selections.any(|selection| selection.contains(name.bytes()))
        };
        is_in(key) || tags.iter().any(is_in)
    }

    /// Whether one of the last announcements was about one of these names.
    fn has_heard(&self, since: usize, key: &Key, tags: &[Key]) -> bool {
        let mut recent = self.recent.iter().rev().take(since);
        since > RECENT || recent.any(|announced| announced.is_about(key, tags))
    }

    /// What a scan is to remove, and where it goes on. What is added from here on waits for the
    /// next scan.
    fn begin_scans(&mut self) -> Option<(Arc<Selection>, Scans)> {
        if self.replayed.is_none() && !self.selection.is_none() {
            self.replayed = Some(Arc::new(mem::take(&mut self.selection)));
            self.scans = Scans::default();
        }
        let replayed = self.replayed.clone()?;
        Some((replayed, mem::take(&mut self.scans)))
    }

    fn end_scans(&mut self, selection: &Arc<Selection>, scans: Scans) {
        let current = self.replayed.as_ref();
        if !current.is_some_and(|current| Arc::ptr_eq(current, selection)) {
            return;
        }
        if scans.is_done() {
            self.replayed = None;
        } else {
            self.scans = scans;
        }
    }

    /// Some of what was not announced since another process asked: names, or all that is selected.
    fn untold(&self) -> Untold {
        let told = self.asked + 1;
        let names = self.names.iter().filter(|(_, entry)| entry.told < told);
        let names: Vec<Key> = names
            .map(|(name, _)| name.clone())
            .take(CHOSEN_TOGETHER)
            .collect();
        let (mut buckets, mut patterns) = (Vec::new(), Vec::new());
        if names.is_empty() && self.selection_told < told {
            for selection in self.selections() {
                buckets.extend(selection.buckets.numbers());
                patterns.extend(selection.texts());
            }
        }
        Untold {
            names,
            buckets,
            patterns,
            number: self.last_number,
            told,
        }
    }

    /// What was kept once more meanwhile is still untold.
    fn has_told(&mut self, names: &[Key], untold: &Untold) {
        for name in names {
            if let Some(entry) = self.names.get_mut(name)
                && entry.number <= untold.number
            {
                entry.told = entry.told.max(untold.told);
            }
        }
        let has_selection = !untold.buckets.is_empty() || !untold.patterns.is_empty();
        if has_selection && self.selection_number <= untold.number {
            self.selection_told = untold.told;
        }
    }
}

impl UnderWay<'_> {
    /// The first names were carried out.
    pub(crate) fn carried_out(&mut self, count: usize) {
        self.names = self.names.get(count..).unwrap_or_default();
    }

    /// Of the first names, these were carried out by some of their servers only: they are kept.
    pub(crate) fn keep(&mut self, names: &[Key]) {
        self.journal.keep(names);
    }

    /// The names that were not carried out yet.
    pub(crate) fn names(&self) -> &[Key] {
        self.names
    }
}

/// What is left failed, or was dropped: it may have been carried out or not.
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.journal.keep(self.names);
        self.journal.under_way.fetch_sub(1, Ordering::Release);
        self.journal.less.notify_waiters();
    }
}

impl PatternUnderWay<'_> {
    /// All servers have carried it out.
    pub(crate) fn carried_out(mut self) {
        self.pattern = None;
    }
}

/// As with names: without the word of all servers, it is kept.
impl Drop for PatternUnderWay<'_> {
    fn drop(&mut self) {
        if let Some(pattern) = self.pattern {
            self.journal.keep_pattern(pattern);
        }
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

    /// The other processes, and a server.
    struct Fake<'a> {
        processes: &'a [Journal],
        refuses: bool,
        /// The name whose server is away.
        away: Option<&'static str>,
        published: Mutex<usize>,
        invalidated: Mutex<Vec<Key>>,
        removed: Mutex<Vec<Selection>>,
        /// How many pages a scan has.
        pages: u64,
    }

    impl<'a> Fake<'a> {
        fn new(processes: &'a [Journal]) -> Self {
            Self {
                processes,
                refuses: false,
                away: None,
                published: Mutex::default(),
                invalidated: Mutex::default(),
                removed: Mutex::default(),
                pages: 1,
            }
        }

        fn refusing(processes: &'a [Journal]) -> Self {
            Self {
                refuses: true,
                ..Self::new(processes)
            }
        }

        fn answer(&self) -> Result<(), Error> {
            if self.refuses {
                return Err(Error::denied("server", &"it refuses"));
            }
            Ok(())
        }

        fn published(&self) -> usize {
            mem::take(&mut self.published.lock().unwrap())
        }

        fn invalidated(&self) -> Vec<String> {
            let names = mem::take(&mut *self.invalidated.lock().unwrap());
            let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
            names.sort_unstable();
            names
        }
    }

    impl Sender for Fake<'_> {
        fn window(&self) -> usize {
            2
        }

        async fn invalidate(&self, names: &[Key]) -> Result<Vec<usize>, Error> {
            self.answer()?;
            let is_away = |name: &Key| Some(name.as_str()) == self.away;
            let carried_out = names.iter().filter(|name| !is_away(name)).cloned();
            self.invalidated.lock().unwrap().extend(carried_out);
            let names = names.iter().enumerate();
            Ok(names
                .filter(|(_, name)| is_away(name))
                .map(|(at, _)| at)
                .collect())
        }

        async fn remove(
            &self,
            selection: &Selection,
            scans: &mut Scans,
            _until: Instant,
        ) -> Result<(), Error> {
            self.answer()?;
            self.removed.lock().unwrap().push(selection.clone());
            scans.go_on_in_a_test(self.pages);
            Ok(())
        }

        async fn publish(&self, message: &Message) -> Result<(), Error> {
            *self.published.lock().unwrap() += 1;
            for process in self.processes {
                process.hear(Message::from_bytes(&message.to_bytes()));
            }
            Ok(())
        }
    }

    fn journals<const N: usize>() -> [Journal; N] {
        std::array::from_fn(|_| Journal::new(1_000, Observer::default()))
    }

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn distrusts(journal: &Journal, name: &str) -> bool {
        journal.distrusts(&name.into(), &[])
    }

    async fn replay(journal: &Journal, sender: &Fake<'_>) {
        let until = Instant::now() + Duration::from_secs(60);
        let _ = journal.replay(sender, until).await;
    }

    #[tokio::test]
    async fn names_are_announced_once_until_another_process_asks() {
        let processes = journals::<3>();
        let sender = Fake::refusing(&processes);
        let [one, two, _] = &processes;
        one.keep(&keys(&["a", "b"]));
        for expected in [1, 0, 0] {
            one.announce(&sender).await.unwrap();
            two.announce(&sender).await.unwrap();
            assert_eq!(sender.published(), expected);
        }
        assert!(processes.iter().all(|process| distrusts(process, "a")));
        // One of those that know answers, for all of them.
        let [late] = journals::<1>();
        late.ask(&sender).await.unwrap();
        assert_eq!(sender.published(), 1);
        two.announce(&sender).await.unwrap();
        one.announce(&sender).await.unwrap();
        assert_eq!(sender.published(), 1);
        // What fails once more is announced once more.
        one.keep(&keys(&["a"]));
        one.announce(&sender).await.unwrap();
        assert_eq!(sender.published(), 1);
    }

    #[tokio::test]
    async fn the_first_process_that_can_invalidates_for_all_that_heard() {
        let processes = journals::<3>();
        let [one, two, three] = &processes;
        one.keep(&keys(&["a", "b", "c"]));
        three.keep(&keys(&["c"]));
        one.announce(&Fake::refusing(&processes)).await.unwrap();
        let sender = Fake::new(&processes);
        replay(two, &sender).await;
        assert_eq!(sender.invalidated(), ["a", "b", "c"]);
        assert!(two.is_empty());
        assert!(one.is_empty(), "its invalidations were carried out");
        // What failed in the third process itself may have failed after the announcement.
        assert!(!distrusts(three, "a") && distrusts(three, "c"));
        replay(three, &sender).await;
        assert_eq!(sender.invalidated(), ["c"]);
        assert!(three.is_empty());
    }

    #[tokio::test]
    async fn an_acknowledgement_does_not_cover_what_failed_after_the_announcement() {
        let processes = journals::<2>();
        let [one, two] = &processes;
        one.keep(&keys(&["a", "b"]));
        one.announce(&Fake::refusing(&processes)).await.unwrap();
        one.keep(&keys(&["a"]));
        replay(two, &Fake::new(&processes)).await;
        assert!(distrusts(one, "a") && !distrusts(one, "b"));
    }

    #[tokio::test]
    async fn a_name_that_was_announced_during_a_look_is_distrusted_after_it() {
        let processes = journals::<2>();
        let [one, two] = &processes;
        let heard = two.heard();
        let (a, b, tags) = (Key::from("a"), Key::from("b"), keys(&["tag"]));
        assert!(!two.distrusts(&a, &tags));
        one.keep(&keys(&["a", "tag"]));
        one.announce(&Fake::refusing(&processes)).await.unwrap();
        replay(two, &Fake::new(&processes)).await;
        // It was invalidated meanwhile; but the look may have come before that.
        assert!(two.is_empty());
        assert!(two.distrusts_since(heard, &a, &[]));
        assert!(two.distrusts_since(heard, &b, &tags));
        assert!(!two.distrusts_since(heard, &b, &[]));
        assert!(!two.distrusts_since(two.heard(), &a, &tags));
        for _ in 0..=RECENT {
            one.keep(&keys(&["c"]));
            one.announce(&Fake::refusing(&processes)).await.unwrap();
        }
        assert!(two.distrusts_since(heard, &b, &[]), "too many to know");
    }

    /// The server carries out what is replayed; then another process's invalidation is refused, and
    /// its announcement is heard before the answer is taken in.
    #[tokio::test]
    async fn what_is_announced_during_a_replay_stays() {
        let processes = journals::<2>();
        let [one, two] = &processes;
        one.keep(&keys(&["a"]));
        let sent = one.next(10, u64::MAX);
        two.keep(&keys(&["a"]));
        two.announce(&Fake::refusing(&processes)).await.unwrap();
        one.carried_out(&sent);
        assert!(distrusts(one, "a"));
    }

    #[tokio::test]
    async fn an_acknowledgement_does_not_cover_what_another_process_announced_later() {
        let processes = journals::<2>();
        let [one, two] = &processes;
        one.keep(&keys(&["a"]));
        let heard = Fake::refusing(&processes[1..]);
        one.announce(&heard).await.unwrap();
        let sent = two.next(10, u64::MAX);
        let [three] = journals::<1>();
        three.keep(&keys(&["a"]));
        three.announce(&Fake::refusing(&processes)).await.unwrap();
        two.acknowledge(&Fake::new(&processes), &sent).await;
        assert!(distrusts(one, "a") && distrusts(two, "a"));
    }

    #[tokio::test]
    async fn buckets_are_announced_once() {
        let processes = [(); 2].map(|()| Journal::new(0, Observer::default()));
        let [one, two] = &processes;
        let sender = Fake::refusing(&processes);
        one.keep(&keys(&["a"]));
        for expected in [1, 0, 0] {
            one.announce(&sender).await.unwrap();
            two.announce(&sender).await.unwrap();
            assert_eq!(sender.published(), expected);
        }
        assert!(distrusts(two, "a"));
        two.keep(&keys(&["b"]));
        for expected in [1, 0] {
            one.announce(&sender).await.unwrap();
            two.announce(&sender).await.unwrap();
            assert_eq!(sender.published(), expected);
        }
    }

    #[tokio::test]
    async fn an_announcement_has_a_bounded_number_of_names() {
        let processes = [(); 2].map(|()| Journal::new(1 << 20, Observer::default()));
        let [one, two] = &processes;
        let names: Vec<Key> = (0..1_200).map(|i| i.to_string().into()).collect();
        one.keep(&names);
        let sender = Fake::refusing(&processes);
        one.announce(&sender).await.unwrap();
        assert_eq!(sender.published(), 3);
        assert_eq!(two.waiting().names, 1_200);
    }

    /// Forked processes have copies of one journal.
    #[tokio::test]
    async fn a_forked_process_hears_its_siblings() {
        let processes = journals::<2>();
        let [one, two] = &processes;
        // As if `one` ran in another process.
        let sibling = two.id ^ u64::from(process::id()) ^ 1;
        let origin = Origin {
            from: sibling,
            number: 1,
        };
        let names = keys(&["a"]);
        let announced = Announced {
            names: names.clone(),
            ..Announced::default()
        };
        two.hear(Some(Message::Kept { origin, announced }));
        assert!(distrusts(two, "a"));
        one.ask(&Fake::new(&processes)).await.unwrap();
        assert_ne!(one.here(), one.id, "a copy says who it is");
        assert_eq!(two.lock().asked, 1);
    }

    #[tokio::test]
    async fn names_without_room_are_kept_announced_and_replayed_as_buckets() {
        let room = backlog::cost(&"a".into());
        let processes = [(); 2].map(|()| Journal::new(room, Observer::default()));
        let [one, two] = &processes;
        one.keep(&keys(&["a", "b"]));
        assert!(one.waiting().has_overflowed && one.waiting().names == 1);
        assert!(distrusts(one, "a") && distrusts(one, "b") && !distrusts(one, "c"));
        one.announce(&Fake::refusing(&processes)).await.unwrap();
        assert!(distrusts(two, "a") && distrusts(two, "b") && !distrusts(two, "c"));
        let mut sender = Fake::new(&processes);
        sender.pages = 2;
        replay(one, &sender).await;
        // The scan goes on later. What is marked now was not yet marked when it began.
        one.keep(&keys(&["d", "b"]));
        assert!(distrusts(one, "b"));
        replay(one, &sender).await;
        assert!(distrusts(one, "b"), "it failed again");
        replay(one, &sender).await;
        replay(one, &sender).await;
        assert!(one.is_empty());
        assert_eq!(sender.invalidated(), ["a", "d"]);
        let removed = mem::take(&mut *sender.removed.lock().unwrap());
        let had: Vec<_> = removed
            .iter()
            .map(|selection| selection.contains(b"b"))
            .collect();
        assert_eq!(had, [true; 4]);
    }

    #[tokio::test]
    async fn a_pattern_is_kept_announced_and_replayed_as_the_pattern_that_it_is() {
        let processes = journals::<2>();
        let [one, two] = &processes;
        let pattern = Pattern::from("user:*");
        drop(one.begin_pattern(&pattern));
        assert!(!one.is_empty());
        assert!(one.waiting().names == 1 && !one.waiting().has_overflowed);
        assert!(distrusts(one, "user:7") && !distrusts(one, "post:7"));
        assert!(one.distrusts(&"post:7".into(), &keys(&["user:7"])));
        let heard = two.heard();
        let sender = Fake::refusing(&processes);
        for expected in [1, 0, 0] {
            one.announce(&sender).await.unwrap();
            two.announce(&sender).await.unwrap();
            assert_eq!(sender.published(), expected);
        }
        for process in &processes {
            assert!(distrusts(process, "user:7") && !distrusts(process, "post:7"));
        }
        let mut sender = Fake::new(&processes);
        sender.pages = 2;
        replay(one, &sender).await;
        // The scan goes on later. What fails meanwhile is removed by a scan of its own.
        one.keep_pattern(&pattern);
        replay(one, &sender).await;
        assert!(distrusts(one, "user:7"), "it failed again");
        for _ in 0..2 {
            replay(one, &sender).await;
        }
        assert!(one.is_empty());
        let removed = mem::take(&mut *sender.removed.lock().unwrap());
        assert_eq!(removed.len(), 4);
        assert!(removed.iter().all(|selection| selection.glob() == "user:*"));
        for _ in 0..2 {
            replay(two, &sender).await;
        }
        assert!(two.is_empty());
        // A look that began before it was announced may have come before it was carried out.
        assert!(two.distrusts_since(heard, &"user:7".into(), &[]));
        assert!(!two.distrusts_since(heard, &"post:7".into(), &[]));
    }

    #[test]
    fn a_pattern_that_was_carried_out_is_not_kept() {
        let [journal] = journals();
        journal.begin_pattern(&"user:*".into()).carried_out();
        assert!(journal.is_empty());
    }

    #[tokio::test]
    async fn a_name_whose_server_is_away_holds_up_no_other_and_is_tried_again() {
        let [journal] = journals();
        let mut sender = Fake {
            away: Some("b"),
            ..Fake::new(&[])
        };
        journal.keep(&["a", "b", "c", "d"].map(Key::from));
        replay(&journal, &sender).await;
        assert_eq!(sender.invalidated(), ["a", "c", "d"]);
        assert_eq!(journal.waiting().names, 1);
        assert!(journal.distrusts(&Key::from("b"), &[]));
        // It is left out until its turn comes.
        sender.away = None;
        replay(&journal, &sender).await;
        assert!(sender.invalidated().is_empty());
        journal.unpark_after(Duration::ZERO);
        replay(&journal, &sender).await;
        assert_eq!(sender.invalidated(), ["b"]);
        assert!(journal.is_empty());
    }

    #[test]
    fn parked_names_are_tried_again_after_a_pause_and_one_that_fails_once_more_at_once() {
        let (begin, pause) = (Instant::now(), Duration::from_secs(1));
        let mut kept = Kept::default();
        let park = |kept: &mut Kept| {
            let (name, number) = (Key::from("a"), kept.last_number);
            let sent = Sent {
                name,
                number,
                origin: None,
            };
            kept.park([sent].into_iter(), kept.unparked);
            kept.parked
        };
        kept.add(&[Key::from("a")], None, 1 << 20);
        assert_eq!(park(&mut kept), 1);
        kept.unpark_after(pause, begin);
        assert_eq!(kept.parked, 0, "for the first time");
        assert_eq!(park(&mut kept), 1);
        kept.unpark_after(pause, begin + pause / 2);
        assert_eq!(kept.parked, 1, "too soon");
        kept.unpark_after(pause, begin + pause);
        assert_eq!(kept.parked, 0);
        assert_eq!(park(&mut kept), 1);
        kept.add(&[Key::from("a")], None, 1 << 20);
        assert_eq!(kept.parked, 0, "it failed once more");
    }

    #[tokio::test]
    async fn a_replay_that_fails_leaves_what_it_did_not_send() {
        let [journal] = journals();
        journal.keep(&keys(&["a", "b", "c"]));
        replay(&journal, &Fake::refusing(&[])).await;
        assert_eq!(journal.waiting().names, 3);
        journal
            .replay(&Fake::new(&[]), Instant::now())
            .await
            .unwrap();
        assert_eq!(journal.waiting().names, 3, "it has no time");
        let sender = Fake::new(&[]);
        replay(&journal, &sender).await;
        assert_eq!(sender.invalidated(), ["a", "b", "c"]);
        assert!(journal.is_empty());
    }

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
