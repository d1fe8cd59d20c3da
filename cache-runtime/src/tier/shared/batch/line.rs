//! Which callers may send a command now, and which wait in line.
//!
//! Counts and queues under one lock: nothing here sends, spawns or awaits.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hashbrown::DefaultHashBuilder;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use super::room::Room;
use super::sizes::{Size, Sizes};
use super::source::SlotRead;
use crate::driver::ReadKeys;
use crate::error::Error;

/// So many commands of one caller each may be under way before callers have to wait.
pub(super) const MAX_SINGLE_READS: usize = 8;

/// So many commands, of one caller or many, may be under way once callers wait.
pub(super) const MAX_BATCHES: usize = 2;

/// At most so many callers share a command.
pub(super) const MAX_CALLERS: usize = 256;

/// The lines of all runtimes.
pub(super) struct Lines<C> {
    /// The lines with a turn taken. Most programs have one runtime, and so one line or two.
    all: Mutex<Vec<Line<C>>>,
    pub(super) sizes: Sizes,
    pub(super) room: Room,
    /// [`MAX_SINGLE_READS`], except in tests.
    max_single_reads: usize,
}

/// The reads of one runtime, of one size.
pub(super) struct Line<C> {
    id: LineId,
    runtime: Handle,
    /// How many turns are taken: at least one while callers wait.
    turns: usize,
    /// How many bytes the answers that are under way are expected to take.
    bytes: usize,
    /// How many of these turns are dispatchers'.
    pub(super) dispatchers: usize,
    /// Whether a dispatcher has been polled, and so goes on until the line is empty.
    dispatcher_runs: bool,
    pub(super) waiting: VecDeque<Caller<C>>,
    /// At this length, callers that have left are removed.
    sweep_at: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) struct LineId {
    pub(super) runtime: runtime::Id,
    pub(super) size: Size,
}

/// A caller in line.
pub(super) struct Caller<C> {
    pub(super) read: Read,
    pub(super) deadline: Instant,
    pub(super) reply: ReplySender<C>,
}

/// What a caller asks for.
pub(super) struct Read {
    pub(super) keys: ReadKeys,
    pub(super) slot_hash: u64,
}

pub(super) type ReplySender<C> = oneshot::Sender<Result<SlotRead<C>, Error>>;
pub(super) type ReplyReceiver<C> = oneshot::Receiver<Result<SlotRead<C>, Error>>;

/// What a command's answer is expected to take of its connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Charge {
    /// The bytes of the answer: counted in its line until the command ends.
    pub(super) bytes: usize,
    /// The bytes of all answers that are under way, this one included.
    pub(super) under_way: usize,
}

/// Callers that a dispatcher sends for.
pub(super) struct Next<C> {
    pub(super) callers: Vec<Caller<C>>,
    pub(super) charge: Charge,
    /// Whether there is room for one more command: then a dispatcher, whose turn is taken, is to be
    /// spawned.
    pub(super) has_more: bool,
}

/// How a read begins.
pub(super) enum Entered<C> {
    /// The caller has taken a turn, and sends its read itself.
    Turn(Read, Charge),
    /// The caller waits in line.
    Line {
        reply: ReplyReceiver<C>,
        /// Whether a running dispatcher enforces the caller's deadline.
        dispatcher_has_timer: bool,
    },
}

impl<C> Lines<C> {
    pub(super) fn new(max_single_reads: usize) -> Self {
        Self {
            all: Mutex::default(),
            sizes: Sizes::default(),
            room: Room::new(),
            max_single_reads,
        }
    }

    /// Takes a turn if one is free and there is room for `bytes`, or else a place in line.
    pub(super) fn enter(
        &self,
        id: LineId,
        runtime: Handle,
        read: Read,
        bytes: usize,
        deadline: Instant,
    ) -> Entered<C> {
        let room = self.room.bytes();
        let mut lines = self.lock();
        let at = Self::find(&mut lines, id, runtime);
        let line = &mut lines[at];
        if line.has_turn(self.max_single_reads) && line.has_room(bytes, room) {
            line.turns += 1;
            return Entered::Turn(read, Self::charge(&mut lines, at, bytes));
        }
        let (sender, reply) = oneshot::channel();
        line.push(Caller {
            read,
            deadline,
            reply: sender,
        });
        Entered::Line {
            reply,
            // Other reads may overtake one of a large value, so a dispatcher may come too late for it.
            dispatcher_has_timer: line.dispatcher_runs && id.size == Size::Small,
        }
    }

    /// As [`enter`](Self::enter), for reads of one caller that one command may read: they have one turn, or
    /// wait in the line. Returns them if they have a turn.
    pub(super) fn enter_together(
        &self,
        id: LineId,
        runtime: Handle,
        callers: Vec<Caller<C>>,
        bytes: usize,
    ) -> Option<(Vec<Caller<C>>, Charge)> {
        let room = self.room.bytes();
        let mut lines = self.lock();
        let at = Self::find(&mut lines, id, runtime);
        let line = &mut lines[at];
        if line.has_turn(self.max_single_reads) && line.has_room(bytes, room) {
            line.turns += 1;
            return Some((callers, Self::charge(&mut lines, at, bytes)));
        }
        for caller in callers {
            line.push(caller);
        }
        None
    }

    /// The line with this id, which is made if there is none.
    fn find(lines: &mut Vec<Line<C>>, id: LineId, runtime: Handle) -> usize {
        let at = lines.iter().position(|line| line.id == id);
        at.unwrap_or_else(|| {
            lines.push(Line::new(id, runtime));
            lines.len() - 1
        })
    }

    /// Counts a command whose answer takes so many bytes.
    fn charge(lines: &mut [Line<C>], at: usize, bytes: usize) -> Charge {
        lines[at].bytes += bytes;
        let runtime = lines[at].id.runtime;
        let of_runtime = lines.iter().filter(|line| line.id.runtime == runtime);
        let under_way = of_runtime.map(|line| line.bytes).sum();
        Charge { bytes, under_way }
    }

    /// The command of a caller's turn has ended. If callers wait, makes the turn a dispatcher's, and
    /// returns the runtime to spawn the dispatcher on. Ends the turn if none wait, or if the line has
    /// enough turns without it.
    pub(super) fn turn_into_dispatcher(&self, id: LineId, charge: Charge) -> Option<Handle> {
        let room = self.room.bytes();
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.id == id)?;
        let line = &mut lines[at];
        line.bytes -= charge.bytes;
        let is_surplus = match id.size {
            // The other turns send the rest of the line when they end.
            Size::Large => !line.has_room_for_next(&self.sizes, room),
            // Single-read turns granted before batching began hand theirs on, but those beyond
            // `MAX_BATCHES` end.
            Size::Small => line.dispatchers > 0 && line.turns > MAX_BATCHES,
        };
        if line.waiting.is_empty() || is_surplus {
            Self::end_turn(&mut lines, at, false);
            return None;
        }
        line.dispatchers += 1;
        Some(line.runtime.clone())
    }

    /// Takes the callers that a dispatcher sends for next; its last command has ended. If none wait,
    /// or there is no room for them, ends the dispatcher's turn.
    pub(super) fn next_batch(&self, id: LineId, last: Charge) -> Option<Next<C>> {
        let room = self.room.bytes();
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.id == id)?;
        let line = &mut lines[at];
        line.bytes -= last.bytes;
        let (callers, bytes) = line.take_next(&self.sizes, room);
        if callers.is_empty() {
            Self::end_turn(&mut lines, at, true);
            return None;
        }
        line.dispatcher_runs = true;
        let charge = Self::charge(&mut lines, at, bytes);
        let line = &mut lines[at];
        // Few and small answers may have taken the room of a large one. Each dispatcher makes room for
        // one more, so that no task makes many at once.
        let has_more = id.size == Size::Large
            && !line.waiting.is_empty()
            && line.has_room_for_next(&self.sizes, room);
        if has_more {
            line.turns += 1;
            line.dispatchers += 1;
        }
        Some(Next {
            callers,
            charge,
            has_more,
        })
    }

    /// Ends the turn of a dispatcher that was dropped, and drops the callers that wait in its line:
    /// each gets [`Source::runtime_shut_down`](super::Source::runtime_shut_down).
    pub(super) fn end_turn_and_fail_waiting(&self, id: LineId, charge: Charge) {
        let mut lines = self.lock();
        let Some(at) = lines.iter().position(|line| line.id == id) else {
            return;
        };
        lines[at].bytes -= charge.bytes;
        let waiting = mem::take(&mut lines[at].waiting);
        Self::end_turn(&mut lines, at, true);
        drop(lines);
        // After the lock: this wakes the callers, and a waker may run any code.
        drop(waiting);
    }

    fn end_turn(lines: &mut Vec<Line<C>>, at: usize, is_dispatcher: bool) {
        let line = &mut lines[at];
        line.turns -= 1;
        if is_dispatcher {
            line.dispatchers -= 1;
            // If there is another dispatcher, it sets this again when it takes its next batch.
            line.dispatcher_runs = false;
        }
        if line.turns == 0 {
            lines.swap_remove(at);
        }
    }

    /// Held for moments, never across an await. Nothing panics under it, and no task is woken.
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Line<C>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines there are, and how many turns are taken in them.
    pub(super) fn counts(&self) -> (usize, usize) {
        let lines = self.lock();
        (lines.len(), lines.iter().map(|line| line.turns).sum())
    }
}

impl<C> Line<C> {
    pub(super) const FIRST_SWEEP: usize = 64;

    fn new(id: LineId, runtime: Handle) -> Self {
        Self {
            id,
            runtime,
            turns: 0,
            bytes: 0,
            dispatchers: 0,
            dispatcher_runs: false,
            waiting: VecDeque::new(),
            sweep_at: Self::FIRST_SWEEP,
        }
    }

    /// Whether the number of commands allows one more.
    fn has_turn(&self, max_single_reads: usize) -> bool {
        match self.id.size {
            // Only the room limits large reads. None overtakes one that waits.
            Size::Large => self.waiting.is_empty(),
            Size::Small if self.dispatchers > 0 => self.turns < MAX_BATCHES,
            Size::Small => self.turns < max_single_reads,
        }
    }

    /// Whether the bytes under way allow for so many more. If none are, any number is sent.
    fn has_room(&self, bytes: usize, room: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= room
    }

    /// Whether there is room for the caller that has waited longest.
    fn has_room_for_next(&self, sizes: &Sizes, room: usize) -> bool {
        let next = self.waiting.front();
        next.is_none_or(|caller| self.has_room(sizes.expected(caller.read.slot_hash), room))
    }

    fn push(&mut self, caller: Caller<C>) {
        if self.waiting.len() >= self.sweep_at {
            // Dropping these wakes no task: the receivers are gone.
            self.waiting.retain(|caller| !caller.reply.is_closed());
            self.sweep_at = (2 * self.waiting.len()).max(Self::FIRST_SWEEP);
        }
        self.waiting.push_back(caller);
    }

    /// Takes the callers that have waited longest and that there is room for, and says how many bytes
    /// they expect. In a line of large reads, these are all callers that read the same slot as the
    /// first.
    fn take_next(&mut self, sizes: &Sizes, room: usize) -> (Vec<Caller<C>>, usize) {
        match self.id.size {
            Size::Small => self.take_small(sizes, room / MAX_BATCHES),
            Size::Large => self.take_large(sizes, room),
        }
    }

    fn take_small(&mut self, sizes: &Sizes, room: usize) -> (Vec<Caller<C>>, usize) {
        let expected = |caller: &Caller<C>| sizes.expected(caller.read.slot_hash);
        let all = self.waiting.len().min(MAX_CALLERS);
        let bytes = self.waiting.iter().take(all).map(expected).sum();
        if bytes <= room {
            return (self.waiting.drain(..all).collect(), bytes);
        }
        let mut slots = HashSet::with_hasher(DefaultHashBuilder::default());
        let (mut count, mut bytes) = (0, 0);
        for caller in self.waiting.iter().take(all) {
            // Each slot is in the answer once.
            if slots.insert(caller.read.slot_hash) {
                let more = expected(caller);
                if count > 0 && bytes + more > room {
                    break;
                }
                bytes += more;
            }
            count += 1;
        }
        (self.waiting.drain(..count).collect(), bytes)
    }

    fn take_large(&mut self, sizes: &Sizes, room: usize) -> (Vec<Caller<C>>, usize) {
        // Those that have left take no room. Dropping these wakes no task.
        let has_left = |caller: &Caller<C>| caller.reply.is_closed();
        while self.waiting.front().is_some_and(has_left) {
            self.waiting.pop_front();
        }
        let Some(first) = self.waiting.front() else {
            return (Vec::new(), 0);
        };
        let slot_hash = first.read.slot_hash;
        let bytes = sizes.expected(slot_hash);
        if !self.has_room(bytes, room) {
            return (Vec::new(), 0);
        }
        let waiting = mem::take(&mut self.waiting);
        let (next, others): (Vec<_>, _) = waiting
            .into_iter()
            .partition(|caller| caller.read.slot_hash == slot_hash);
        self.waiting = others.into();
        (next, bytes)
    }
}
