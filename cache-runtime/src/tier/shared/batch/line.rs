//! Which callers may send a command now, and which wait in line.
//!
//! Counts and queues under one lock: nothing here sends, spawns or awaits.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use super::sizes::Size;
use super::source::SlotRead;
use crate::driver::ReadKeys;
use crate::error::Error;

/// So many commands of one caller each may be under way before callers have to wait.
pub(super) const MAX_SINGLE_READS: usize = 8;

/// So many commands, of one caller or many, may be under way once callers wait.
const MAX_BATCHES: usize = 2;

/// At most so many callers share a command. So at most so many times
/// [`LARGE`](super::sizes::LARGE) bytes come before the answer to the first of them is whole.
pub(super) const MAX_CALLERS: usize = 256;

/// The lines of all runtimes.
pub(super) struct Lines<C> {
    /// The lines with a turn taken. Most programs have one runtime, and so one line or two.
    lines: Mutex<Vec<Line<C>>>,
    /// [`MAX_SINGLE_READS`], except in tests.
    max_single_reads: usize,
}

/// The reads of one runtime, of one size.
pub(super) struct Line<C> {
    id: LineId,
    runtime: Handle,
    /// How many turns are taken: at least one while callers wait.
    turns: usize,
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

/// How a read begins.
pub(super) enum Entered<C> {
    /// The caller has taken a turn, and sends its read itself.
    Turn(Read),
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
            lines: Mutex::default(),
            max_single_reads,
        }
    }

    /// Takes a turn if one is free, or else a place in line.
    pub(super) fn enter(
        &self,
        id: LineId,
        runtime: Handle,
        read: Read,
        deadline: Instant,
    ) -> Entered<C> {
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.id == id);
        let at = at.unwrap_or_else(|| {
            lines.push(Line::new(id, runtime));
            lines.len() - 1
        });
        let line = &mut lines[at];
        if line.turns < line.max_turns(self.max_single_reads) {
            line.turns += 1;
            return Entered::Turn(read);
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

    /// If callers wait, makes a caller's turn a dispatcher's, and returns the runtime to spawn the
    /// dispatcher on. Ends the turn if none wait, or if the line has enough turns without it.
    pub(super) fn turn_into_dispatcher(&self, id: LineId) -> Option<Handle> {
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.id == id)?;
        let line = &mut lines[at];
        // Single-read turns granted before batching began hand theirs on, but those beyond
        // `MAX_BATCHES` end.
        let is_surplus = line.dispatchers > 0 && line.turns > MAX_BATCHES;
        if line.waiting.is_empty() || is_surplus {
            Self::end_turn(&mut lines, at, false);
            return None;
        }
        line.dispatchers += 1;
        Some(line.runtime.clone())
    }

    /// Takes the callers that a dispatcher sends for next. If none wait, ends the dispatcher's turn.
    pub(super) fn next_batch(&self, id: LineId) -> Option<Vec<Caller<C>>> {
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.id == id)?;
        let line = &mut lines[at];
        if line.waiting.is_empty() {
            Self::end_turn(&mut lines, at, true);
            return None;
        }
        line.dispatcher_runs = true;
        Some(line.take_next())
    }

    /// Ends the turn of a dispatcher that was dropped, and drops the callers that wait in its line:
    /// each gets [`Source::runtime_shut_down`](super::Source::runtime_shut_down).
    pub(super) fn end_turn_and_fail_waiting(&self, id: LineId) {
        let mut lines = self.lock();
        let Some(at) = lines.iter().position(|line| line.id == id) else {
            return;
        };
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
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
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
            dispatchers: 0,
            dispatcher_runs: false,
            waiting: VecDeque::new(),
            sweep_at: Self::FIRST_SWEEP,
        }
    }

    fn max_turns(&self, max_single_reads: usize) -> usize {
        match self.id.size {
            Size::Large => 1,
            Size::Small if self.dispatchers > 0 => MAX_BATCHES,
            Size::Small => max_single_reads,
        }
    }

    fn push(&mut self, caller: Caller<C>) {
        if self.waiting.len() >= self.sweep_at {
            // Dropping these wakes no task: the receivers are gone.
            self.waiting.retain(|caller| !caller.reply.is_closed());
            self.sweep_at = (2 * self.waiting.len()).max(Self::FIRST_SWEEP);
        }
        self.waiting.push_back(caller);
    }

    /// Takes the callers that have waited longest; in a line of large reads, all callers that
    /// read the same slot as the first.
    fn take_next(&mut self) -> Vec<Caller<C>> {
        let first = self.waiting.front().map(|caller| caller.read.slot_hash);
        if let (Size::Large, Some(slot_hash)) = (self.id.size, first) {
            let waiting = mem::take(&mut self.waiting);
            let (next, others): (Vec<_>, _) = waiting
                .into_iter()
                .partition(|caller| caller.read.slot_hash == slot_hash);
            self.waiting = others.into();
            return next;
        }
        let count = self.waiting.len().min(MAX_CALLERS);
        self.waiting.drain(..count).collect()
    }
}
