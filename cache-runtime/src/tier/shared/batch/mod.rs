//! Concurrent reads of a process share round trips.
//!
//! A caller reads a slot, and the versions that its entry must agree with, by one command: on
//! Redis, an `MGET`. While few reads are under way (at most [`MAX_SINGLE_READS`]), each caller
//! takes a turn and sends a command of its own at once. When all turns are taken, callers wait in
//! a line. A caller's turn ends when its answer comes, or at its deadline. Then a task, the
//! dispatcher, sends the whole line as one command, in which each key stands once, and hands the
//! answers out. From then on, until the line is empty, there are two turns: while the server
//! answers one batch, this process uses the answer to the other, and the callers that come
//! meanwhile are the next batch. Large values are read singly, as many as there is room for.
//!
//! ```text
//! read ──> a turn is free ──> one command for one caller ──────────┐ the turn ends:
//!   └────> none is free ──> wait in line ──> one command for many <┘ the line is sent
//! ```
//!
//! A few reads take less time if each has a command of its own: a caller in line waits for the
//! batches before its own, and for one more task to be woken. Measured with a server on the
//! same machine, both ways take as long with eight callers. With a server further away, waiting
//! costs more.
//!
//! What must hold:
//!
//! * **No caller gets a value that was read before it began.** A caller joins a line, never a
//!   batch. The line is taken, under the lock, before its command is sent, so a caller that
//!   comes later is in the next batch.
//! * **What a caller reads of one server is read by one command** (by one node of a cluster, in one round
//!   trip), over one connection, whose epoch goes with each answer. Each node has lines of its own.
//! * **Each caller's deadline counts from when it began,** in line or under way. A batch has
//!   the deadline of its youngest caller; the others leave it at theirs. If the command fails,
//!   it fails for all callers that are left in the batch, and the connection is judged once.
//! * **Every deadline has a timer,** but few callers set their own: that takes as long as the
//!   line does. A running dispatcher enforces its line's deadlines: the command that it awaits began
//!   before the callers that are in line now, so it ends by their deadlines; then the dispatcher
//!   takes the callers that have waited longest, and it ends only when the line is empty.
//!   Callers queued before a dispatcher runs, and large reads, which others may overtake, set their
//!   own timer.
//! * **Any free thread of the runtime can run a dispatcher,** as it can run a timer. But a task that
//!   was just spawned, or that called `yield_now`, needs the thread that it is on. So a dispatcher
//!   counts as running, and takes callers out of line, only once it was polled; and it yields
//!   in another way.
//! * **No turn depends on a caller being polled.** A caller's read is polled with a waker that
//!   ends the turn, and then wakes the caller. Its answer and its deadline both call that waker,
//!   whether or not the caller is polled again. So callers that are set aside (polled once, then
//!   neither polled nor dropped) delay no other caller once the server has answered them. A
//!   dispatcher is a task, which its runtime polls.
//! * **A turn ends once, however the caller or dispatcher that took it ends**: answered, too late,
//!   failed, dropped or panicked. While callers wait, a turn is taken, and its end sends the line.
//!   So every caller in line is answered.
//! * **A waker is called under no lock of this module**, and ends a turn under no lock of the task
//!   or timer that calls it: it takes the lines' lock, and may spawn a dispatcher.
//! * **Runtimes do not mix.** Each has its own lines and its own dispatchers. A runtime that is
//!   shut down, or that does not run, delays only its own callers.
//! * **The bytes that are under way on a connection are bounded,** by what its answers are
//!   [expected](sizes) to take. A server closes a connection whose answers it has to keep, and an
//!   answer behind many others comes after its deadline. So a line sends only what its
//!   [`room`] allows, or one read. The room grows while answers come early, and shrinks when they
//!   come late. A line has at most 2 MiB, and a connection two lines.
//! * **A size is never known for sure.** A slot that was not read lately is expected to be as large as
//!   those that were. If that was far too little, the server may close the connection. Then the
//!   callers of that moment load, unknown slots count as large, and the room is smaller: so the
//!   same reads pass the next time, at the latest when each is sent alone.
//! * **Large values do not delay small ones for long.** Slots that are expected to be
//!   [`LARGE`](sizes::LARGE) have a line of their own, with a room of its own, and each has a command of
//!   its own. So a small read waits for at most so many large bytes as the room holds, or for one larger
//!   value, and once for each batch that contains a slot that was expected to be small.
//! * **The first of a line is sent next,** also if it is larger than what room is left and others are
//!   not. So no large read waits for ever.
//! * **A large answer takes room until it comes,** also if its caller is dropped: the server sends
//!   it nevertheless. Then a task of the runtime awaits it.
//!
//! The memory of a line is bounded by the callers that wait in it: those that have left are
//! removed before it doubles.

mod dispatcher;
mod line;
mod merge;
mod room;
mod sizes;
mod source;
#[cfg(test)]
mod tests;
mod turn;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::line::{Caller, Charge, Entered, LineId, Lines, MAX_SINGLE_READS, Read};
use self::sizes::Size;
pub(crate) use self::source::{SlotRead, Source, Values};
use self::turn::CallerTurn;
use crate::driver::ReadKeys;
use crate::error::Error;
use crate::join;
use crate::tier::shared::entry::Version;

/// The reads of one process from one source.
pub(crate) struct BatchedReads<S: Source>(Arc<Reads<S>>);

impl<S: Source> BatchedReads<S> {
    pub(crate) fn new(source: Arc<S>) -> Self {
        Self::with_max_single_reads(source, MAX_SINGLE_READS)
    }

    fn with_max_single_reads(source: Arc<S>, max_single_reads: usize) -> Self {
        Self(Arc::new(Reads::new(source, max_single_reads)))
    }

    /// A slot is written, with so many bytes: they are what a read will be answered.
    pub(crate) fn expect(&self, slot: &[u8], bytes: usize) {
        let sizes = &self.0.lines.sizes;
        sizes.remember(sizes.hash(slot), Some(bytes));
    }

    /// Reads a slot and versions, alone or with other callers.
    #[cfg(test)]
    pub(crate) async fn read(&self, keys: ReadKeys) -> Result<SlotRead<S::Connection>, Error> {
        self.read_until(keys, None).await
    }

    /// As [`read`](Self::read), at most until then. Without a deadline, as long as a request may take.
    pub(crate) async fn read_until(
        &self,
        keys: ReadKeys,
        until: Option<Instant>,
    ) -> Result<SlotRead<S::Connection>, Error> {
        let reads = &self.0;
        let deadline = until.unwrap_or_else(|| reads.source.deadline());
        let sizes = &reads.lines.sizes;
        let read = Read {
            slot_hash: sizes.hash(keys.first()),
            keys,
        };
        // Without a runtime, the source says which error that is.
        let Ok(runtime) = Handle::try_current() else {
            return Box::pin(reads.read_one(&read, deadline, Charge::default())).await;
        };
        let bytes = sizes.expected(read.slot_hash);
        let line = LineId {
            runtime: runtime.id(),
            size: Size::of(bytes),
        };
        match reads.lines.enter(line, runtime, read, bytes, deadline) {
            Entered::Turn(read, charge) => {
                let turn = CallerTurn::new(reads, line, charge);
                match line.size {
                    Size::Small => {
                        let read = reads.read_one(&read, deadline, charge);
                        turn.run(Box::pin(read)).await
                    }
                    Size::Large => {
                        let (reads, runtime) = (reads.clone(), Handle::current());
                        let read = async move { reads.read_one(&read, deadline, charge).await };
                        turn.run_to_the_end(runtime, Box::pin(read)).await
                    }
                }
            }
            Entered::Line {
                reply,
                dispatcher_has_timer,
            } => {
                let reply = async {
                    let reply = reply.await;
                    reply.unwrap_or_else(|_| Err(reads.source.runtime_shut_down()))
                };
                // A dispatcher does not know of a deadline that is earlier than others.
                if dispatcher_has_timer && until.is_none() {
                    reply.await
                } else {
                    Box::pin(reads.source.within(deadline, reply)).await
                }
            }
        }
    }
}

impl<S: Source> BatchedReads<S> {
    /// Reads several slots, each with versions, for one caller. Those that are expected to be small share
    /// commands, as those of several callers do that wait in a line.
    pub(crate) async fn read_each(
        &self,
        all: Vec<ReadKeys>,
    ) -> Vec<Result<SlotRead<S::Connection>, Error>> {
        let reads = &self.0;
        let deadline = reads.source.deadline();
        let Ok(runtime) = Handle::try_current() else {
            return join::all(all.into_iter().map(|keys| self.read_until(keys, None))).await;
        };
        let sizes = &reads.lines.sizes;
        let room = reads.lines.room.bytes() / line::MAX_BATCHES;
        let mut groups: Vec<(Vec<Read>, usize)> = Vec::new();
        for keys in all {
            let slot_hash = sizes.hash(keys.first());
            let bytes = sizes.expected(slot_hash);
            let read = Read { keys, slot_hash };
            // A large one is a group of its own, as one that is larger than the room is.
            let fits = |(group, of_all): &&mut (Vec<Read>, usize)| {
                group.len() < line::MAX_CALLERS
                    && Size::of(bytes) == Size::Small
                    && group.first().is_some_and(|first| {
                        Size::of(sizes.expected(first.slot_hash)) == Size::Small
                    })
                    && *of_all + bytes <= room
            };
            match groups.last_mut().filter(fits) {
                Some((group, of_all)) => {
                    group.push(read);
                    *of_all += bytes;
                }
                None => groups.push((vec![read], bytes)),
            }
        }
        let mut answers = Vec::with_capacity(groups.len());
        for (group, bytes) in groups {
            answers.push(self.read_group(group, bytes, runtime.clone(), deadline));
        }
        join::all(answers).await.into_iter().flatten().collect()
    }

    /// Reads slots that one command may read, if a turn is free; else they wait in the line.
    async fn read_group(
        &self,
        group: Vec<Read>,
        bytes: usize,
        runtime: Handle,
        deadline: Instant,
    ) -> Vec<Result<SlotRead<S::Connection>, Error>> {
        let reads = &self.0;
        if let [_] = &*group {
            let keys = group.into_iter().map(|read| read.keys);
            return join::all(keys.map(|keys| self.read_until(keys, Some(deadline)))).await;
        }
        let line = LineId {
            runtime: runtime.id(),
            size: Size::Small,
        };
        let mut callers = Vec::with_capacity(group.len());
        let mut replies = Vec::with_capacity(group.len());
        for read in group {
            let (reply, receiver) = oneshot::channel();
            callers.push(Caller {
                read,
                deadline,
                reply,
            });
            replies.push(receiver);
        }
        if let Some((callers, charge)) = reads.lines.enter_together(line, runtime, callers, bytes) {
            let turn = CallerTurn::new(reads, line, charge);
            turn.run(Box::pin(reads.read_many(callers, charge))).await;
        }
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            let reply = async {
                let reply = reply.await;
                reply.unwrap_or_else(|_| Err(reads.source.runtime_shut_down()))
            };
            answers.push(reads.source.within(deadline, reply).await);
        }
        answers
    }
}

/// What the callers, the turns and the dispatchers share.
struct Reads<S: Source> {
    source: Arc<S>,
    lines: Lines<S::Connection>,
}

impl<S: Source> Reads<S> {
    fn new(source: Arc<S>, max_single_reads: usize) -> Self {
        Self {
            source,
            lines: Lines::new(max_single_reads),
        }
    }

    /// Reads for one caller.
    async fn read_one(
        &self,
        read: &Read,
        until: Instant,
        charge: Charge,
    ) -> Result<SlotRead<S::Connection>, Error> {
        let answer = self.measured(charge, self.source.read(&read.keys, until));
        let (connection, answers) = answer.await?;
        if let Some(elsewhere) = answers.where_one_is(|_| true) {
            return Err(self.source.elsewhere(elsewhere));
        }
        let mut values = answers.values.into_iter();
        let slot = values.next().flatten();
        let bytes = slot.as_ref().map(Bytes::len);
        self.lines.sizes.remember(read.slot_hash, bytes);
        let versions = 1..read.keys.len();
        let mut version = || Version::read(values.next().flatten().as_deref());
        Ok(SlotRead {
            connection,
            slot,
            shared_decode: None,
            versions: versions.map(|_| version()).collect(),
        })
    }
}

impl<S: Source> Reads<S> {
    /// Awaits the answer to a command, and adapts what is expected of others to how it ends.
    async fn measured(
        &self,
        charge: Charge,
        answer: impl Future<Output = Values<S::Connection>>,
    ) -> Values<S::Connection> {
        let measure = self.lines.room.measure(charge.under_way);
        let answer = answer.await;
        let error = answer.as_ref().err();
        if error.is_some_and(Error::is_unavailable) {
            self.lines.sizes.expect_large();
        }
        if let Some(measure) = measure {
            self.lines.room.ended(&measure, error, self.source.limit());
        }
        answer
    }
}

impl<S: Source> fmt::Debug for BatchedReads<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, turns) = self.0.lines.counts();
        f.debug_struct("BatchedReads")
            .field("lines", &lines)
            .field("turns", &turns)
            .finish_non_exhaustive()
    }
}
