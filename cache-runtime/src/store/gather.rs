//! Concurrent reads of a process share round trips.
//!
//! A read is an `MGET` of a slot and of the versions that its entry must agree with.
//! One that comes alone leaves at once, as it is. While as many are under way as
//! [`Size::turns`] says, those who come wait in a line; when a turn ends, its owner sends
//! the whole line as one `MGET`, in which each name stands once, and shares the answer out.
//!
//! ```text
//! read ──> a turn is free ──> MGET, on its own ─────────────┐ the turn ends:
//!   └────> none is ──> wait in line ──> one MGET for many <─┘ the next who wait go
//! ```
//!
//! What must hold:
//!
//! * **No caller gets what was read before it began.** A caller joins a line, never a
//!   batch: the line is taken, under the lock, before its `MGET` is sent, and who comes
//!   after that is in the next one.
//! * **A caller's slot and versions are read by one command,** over one connection, whose
//!   epoch goes with the answer to each.
//! * **Each caller's deadline counts from when it began,** in line or under way. A batch
//!   has that of its youngest caller. If it fails, it fails for all of its callers, and the
//!   connection is judged once.
//! * **A turn ends however its owner does:** answered, failed, dropped or panicked. While
//!   anybody waits, all turns are taken; so whoever waits is called.
//! * **Runtimes do not mix.** Each has lines of its own, driven by tasks of its own: one
//!   that is shut down, or that nobody drives, keeps nobody waiting but its own callers.
//! * **A large value does not hold up small ones for long.** Those that were [`LARGE`] when
//!   they were last read are read in a line of their own, one at a time. So what a small
//!   read waits behind is at most one of them, and, before its size is known, a batch that
//!   has it, once.
//!
//! A line is as long as there are callers who wait in it: those who left are swept out
//! before it doubles.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;
use redis::{Arg, Cmd, Value};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use crate::error::Error;

/// A value of so many bytes is read on its own: on a slow network it takes as long as
/// some round trips.
const LARGE: usize = 32 * 1024;

/// At most so many callers share a command, and so at most so many times [`LARGE`] bytes
/// come before the answer to the first of them is whole.
const MOST_CALLERS: usize = 256;

/// How many large values are remembered, at most. Each takes eight bytes.
const MOST_LARGE: usize = 512;

/// Where reads go. In tests, something that answers when it is told to.
pub(crate) trait Source: Send + Sync + 'static {
    type Connection: Send + Sync + 'static;

    /// Sends an `MGET`; its values come over the connection named.
    fn read(
        self: &Arc<Self>,
        mget: &Cmd,
        until: Instant,
    ) -> impl Future<Output = Answer<Self::Connection>> + Send;

    /// The deadline of a read that begins now.
    fn deadline(&self) -> Instant;

    /// Waits for something, at most until then.
    fn within<T: Send>(
        &self,
        until: Instant,
        waiting: impl Future<Output = Result<T, Error>> + Send,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// What a caller gets whose runtime ends before there is an answer.
    fn cut_short(&self) -> Error;
}

type Answer<C> = Result<(Arc<C>, Vec<Value>), Error>;

/// What a slot and some versions held at one moment after the caller began.
#[derive(Debug)]
pub(crate) struct Found<C> {
    /// Which connection told, and so which server.
    pub(crate) connection: Arc<C>,
    pub(crate) slot: Option<Bytes>,
    /// As asked; `None` is absent or no number.
    pub(crate) versions: Vec<Option<u64>>,
}

/// The reads of one process from one source.
pub(crate) struct Gather<S: Source>(Arc<Reads<S>>);

struct Reads<S: Source> {
    source: Arc<S>,
    /// Those in use. In most programs there is one runtime, and so one or two.
    lines: Mutex<Vec<Line<S::Connection>>>,
    sizes: Sizes,
}

/// The reads of one runtime, of one size.
struct Line<C> {
    of: LineId,
    runtime: Handle,
    /// How many turns are taken. All of them, if anybody waits.
    turns: usize,
    waiting: VecDeque<Caller<C>>,
    /// At this length, those who left are swept out.
    sweep_at: usize,
}

type LineId = (runtime::Id, Size);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Small,
    Large,
}

impl Size {
    /// How many commands may be under way: while the server answers one, this process
    /// makes use of the other's answer.
    fn turns(self) -> usize {
        match self {
            Self::Small => 2,
            Self::Large => 1,
        }
    }
}

/// A caller in line.
struct Caller<C> {
    read: Read,
    until: Instant,
    answer: oneshot::Sender<Result<Found<C>, Error>>,
}

/// What one caller wants to know.
struct Read {
    /// `MGET slot version…`.
    mget: Cmd,
    slot: u64,
}

/// The right to have one command under way.
struct Turn<S: Source> {
    reads: Arc<Reads<S>>,
    line: LineId,
    /// Whether this is the turn of a task that sends what waits, and not of a caller.
    drives: bool,
    ended: bool,
}

enum Entered<S: Source> {
    Turn(Turn<S>, Read),
    Line(oneshot::Receiver<Result<Found<S::Connection>, Error>>),
}

impl<S: Source> Gather<S> {
    pub(crate) fn new(source: Arc<S>) -> Self {
        Self(Arc::new(Reads {
            source,
            lines: Mutex::default(),
            sizes: Sizes::default(),
        }))
    }

    /// Reads a slot and versions, `MGET slot version…`, alone or with others.
    pub(crate) async fn read(&self, mget: Cmd) -> Result<Found<S::Connection>, Error> {
        let reads = &self.0;
        let until = reads.source.deadline();
        let read = Read {
            slot: reads.sizes.hash(name(&mget, 0)),
            mget,
        };
        let Ok(runtime) = Handle::try_current() else {
            // The source says what it thinks of that.
            return reads.read(&read, until).await;
        };
        match Reads::enter(reads, runtime, read, until) {
            Entered::Turn(turn, read) => {
                let found = reads.read(&read, until).await;
                // Who waits is on the way before this value is decoded.
                drop(turn);
                found
            }
            Entered::Line(answer) => {
                let answer = async {
                    let answer = answer.await;
                    answer.unwrap_or_else(|_| Err(reads.source.cut_short()))
                };
                reads.source.within(until, answer).await
            }
        }
    }
}

impl<S: Source> Reads<S> {
    /// Takes a turn if there is one, or else a place in line.
    fn enter(self: &Arc<Self>, runtime: Handle, read: Read, until: Instant) -> Entered<S> {
        let of = (runtime.id(), self.sizes.of(read.slot));
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.of == of);
        let at = at.unwrap_or_else(|| {
            lines.push(Line::new(of, runtime));
            lines.len() - 1
        });
        let line = &mut lines[at];
        if line.turns < of.1.turns() {
            line.turns += 1;
            drop(lines);
            return Entered::Turn(Turn::new(self, of, false), read);
        }
        let (answer, waiting) = oneshot::channel();
        line.wait(Caller {
            read,
            until,
            answer,
        });
        Entered::Line(waiting)
    }

    /// A read that leaves on its own.
    async fn read(&self, read: &Read, until: Instant) -> Result<Found<S::Connection>, Error> {
        let (connection, values) = self.source.read(&read.mget, until).await?;
        let mut values = values.into_iter();
        let slot = values.next().and_then(bytes);
        self.sizes.remember(read.slot, slot.as_ref());
        let versions = names(&read.mget).skip(1);
        Ok(Found {
            connection,
            slot,
            versions: versions
                .map(|_| values.next().as_ref().and_then(number))
                .collect(),
        })
    }

    /// Reads for many, and tells each what it wants to know.
    async fn read_for(&self, callers: Vec<Caller<S::Connection>>) {
        // Only now it is known who still waits.
        let mut callers = callers;
        callers.retain(|caller| !caller.answer.is_closed());
        let Some(until) = callers.iter().map(|caller| caller.until).max() else {
            return;
        };
        if callers.len() == 1 {
            for caller in callers {
                let found = self.read(&caller.read, until).await;
                let _ = caller.answer.send(found);
            }
            return;
        }
        let (mget, places) = merged(&callers);
        let (connection, values) = match self.source.read(&mget, until).await {
            Ok(answer) => answer,
            Err(error) => {
                for caller in callers {
                    let _ = caller.answer.send(Err(error.clone()));
                }
                return;
            }
        };
        let values: Vec<Option<Bytes>> = values.into_iter().map(bytes).collect();
        let mut places = places.into_iter();
        for caller in callers {
            let mut value = || values.get(places.next()?)?.as_ref();
            let slot = value().cloned();
            let versions = names(&caller.read.mget).skip(1);
            let versions = versions.map(|_| value().and_then(parse)).collect();
            self.sizes.remember(caller.read.slot, slot.as_ref());
            let _ = caller.answer.send(Ok(Found {
                connection: connection.clone(),
                slot,
                versions,
            }));
        }
    }

    /// Passes a turn on to those who wait, or ends it.
    fn pass_on(&self, of: LineId) -> Option<(Handle, Vec<Caller<S::Connection>>)> {
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.of == of)?;
        let line = &mut lines[at];
        if !line.waiting.is_empty() {
            return Some((line.runtime.clone(), line.next()));
        }
        line.turns -= 1;
        if line.turns == 0 {
            lines.swap_remove(at);
        }
        None
    }

    /// Ends a turn whose runtime can't pass it on; who waits there is told.
    fn abandon(&self, of: LineId) {
        let mut lines = self.lock();
        let Some(at) = lines.iter().position(|line| line.of == of) else {
            return;
        };
        let line = &mut lines[at];
        line.turns -= 1;
        let waiting = std::mem::take(&mut line.waiting);
        if line.turns == 0 {
            lines.swap_remove(at);
        }
        drop(lines);
        // After the lock: this wakes them, and a waker may be anybody's.
        drop(waiting);
    }

    /// Held for moments, never across an await; nothing panics under it, and nobody is woken.
    fn lock(&self) -> MutexGuard<'_, Vec<Line<S::Connection>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Line<C> {
    const FIRST_SWEEP: usize = 64;

    fn new(of: LineId, runtime: Handle) -> Self {
        Self {
            of,
            runtime,
            turns: 0,
            waiting: VecDeque::new(),
            sweep_at: Self::FIRST_SWEEP,
        }
    }

    fn wait(&mut self, caller: Caller<C>) {
        if self.waiting.len() >= self.sweep_at {
            // Dropping these wakes nobody: who would be woken is gone.
            self.waiting.retain(|caller| !caller.answer.is_closed());
            self.sweep_at = (2 * self.waiting.len()).max(Self::FIRST_SWEEP);
        }
        self.waiting.push_back(caller);
    }

    /// Who goes next: those who have waited longest, and for a large value all who want that one.
    fn next(&mut self) -> Vec<Caller<C>> {
        let first = self.waiting.front().map(|caller| caller.read.slot);
        if let (Size::Large, Some(slot)) = (self.of.1, first) {
            let waiting = std::mem::take(&mut self.waiting);
            let (next, others): (Vec<_>, _) = waiting
                .into_iter()
                .partition(|caller| caller.read.slot == slot);
            self.waiting = others.into();
            return next;
        }
        let most = self.waiting.len().min(MOST_CALLERS);
        self.waiting.drain(..most).collect()
    }
}

impl<S: Source> Turn<S> {
    fn new(reads: &Arc<Reads<S>>, line: LineId, drives: bool) -> Self {
        Self {
            reads: reads.clone(),
            line,
            drives,
            ended: false,
        }
    }

    /// Sends what waits, one batch after the other, until nobody does.
    async fn drive(mut self, mut next: Vec<Caller<S::Connection>>) {
        loop {
            self.reads.read_for(next).await;
            // Those who were just told may have more to ask: let them come, and not one of
            // them leave on its own, ahead of the others.
            tokio::task::yield_now().await;
            match self.reads.pass_on(self.line) {
                Some((_, callers)) => next = callers,
                None => break,
            }
        }
        self.ended = true;
    }
}

/// A caller's turn ends, whether it got its answer or was dropped before: who waits is sent
/// by a task of their runtime, which no caller's end can end.
///
/// A driver that is dropped on the way, or panics: its runtime is shut down, or something
/// is very wrong. Who waits is told, rather than sent on by yet another task, which would
/// be dropped on the spot, within this drop, and so on for each batch.
impl<S: Source> Drop for Turn<S> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.drives {
            self.reads.abandon(self.line);
        } else if let Some((runtime, callers)) = self.reads.pass_on(self.line) {
            let driver = Turn::new(&self.reads, self.line, true);
            runtime.spawn(driver.drive(callers));
        }
    }
}

/// One `MGET` for all, and the place in it of each name that each of them wants.
fn merged<C>(callers: &[Caller<C>]) -> (Cmd, Vec<usize>) {
    let wanted = callers.iter().flat_map(|caller| names(&caller.read.mget));
    let wanted: Vec<&[u8]> = wanted.collect();
    let length = wanted.iter().map(|name| name.len()).sum::<usize>();
    let mut mget = Cmd::with_capacity(1 + wanted.len(), 4 + length);
    mget.arg("MGET");
    let mut seen = HashMap::with_capacity_and_hasher(wanted.len(), DefaultHashBuilder::default());
    let places = wanted.into_iter().map(|name| {
        let new = seen.len();
        *seen.entry(name).or_insert_with(|| {
            mget.arg(name);
            new
        })
    });
    let places = places.collect();
    (mget, places)
}

/// The names that an `MGET` asks for.
fn names(mget: &Cmd) -> impl Iterator<Item = &[u8]> {
    let arguments = mget.args_iter().filter_map(|argument| match argument {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    arguments.skip(1)
}

fn name(mget: &Cmd, at: usize) -> &[u8] {
    names(mget).nth(at).unwrap_or_default()
}

/// Which slots were large when they were last read. One that is forgotten, for another that
/// falls on its place, costs a batch that takes longer.
struct Sizes {
    hasher: DefaultHashBuilder,
    large: Box<[AtomicU64]>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            large: (0..MOST_LARGE).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Sizes {
    fn hash(&self, slot: &[u8]) -> u64 {
        // A zero is no slot.
        self.hasher.hash_one(slot).max(1)
    }

    fn place(&self, slot: u64) -> &AtomicU64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of a hash will do"
        )]
        let at = slot as usize % MOST_LARGE;
        &self.large[at]
    }

    fn of(&self, slot: u64) -> Size {
        if self.place(slot).load(Ordering::Relaxed) == slot {
            Size::Large
        } else {
            Size::Small
        }
    }

    fn remember(&self, slot: u64, value: Option<&Bytes>) {
        let is_large = value.is_some_and(|value| value.len() >= LARGE);
        if is_large != (self.of(slot) == Size::Large) {
            let content = if is_large { slot } else { 0 };
            self.place(slot).store(content, Ordering::Relaxed);
        }
    }
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into_bytes().into()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::BulkString(bytes) => parse(bytes),
        _ => None,
    }
}

fn parse(bytes: impl AsRef<[u8]>) -> Option<u64> {
    str::from_utf8(bytes.as_ref()).ok()?.parse().ok()
}

impl<S: Source> fmt::Debug for Gather<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lock();
        f.debug_struct("Gather")
            .field("lines", &lines.len())
            .field("turns", &lines.iter().map(|line| line.turns).sum::<usize>())
            .finish_non_exhaustive()
    }
}
