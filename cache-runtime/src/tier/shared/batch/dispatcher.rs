//! The task that sends the line, and the turns that start it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::Reads;
use super::line::{Caller, LineId};
use super::merge::Batch;
use super::source::{Source, Values};
use crate::clock;
use crate::driver::ReadKeys;

/// The right to have one command under way.
///
/// When a caller's turn ends, because its answer came or because it was dropped, a dispatcher takes
/// the turn over if callers wait. The dispatcher is a task of their runtime, so no caller's end
/// can end it.
///
/// A dispatcher is dropped before its end if its runtime is shut down, or if it panics. Then the
/// callers in its line fail. Another dispatcher would not help: on a runtime that is shut down, it
/// would be dropped when it is spawned, within this drop, and so on for each batch.
pub(super) struct Turn<S: Source> {
    reads: Arc<Reads<S>>,
    line: LineId,
    /// A dispatcher's turn, and not a caller's.
    is_dispatcher: bool,
    has_ended: bool,
}

impl<S: Source> Turn<S> {
    /// The turn of a caller.
    pub(super) fn of_caller(reads: &Arc<Reads<S>>, line: LineId) -> Self {
        Self::new(reads, line, false)
    }

    fn new(reads: &Arc<Reads<S>>, line: LineId, is_dispatcher: bool) -> Self {
        Self {
            reads: reads.clone(),
            line,
            is_dispatcher,
            has_ended: false,
        }
    }

    /// Sends the line, one batch after the other, until it is empty. Takes callers out of line
    /// only once it runs: until then, another dispatcher, which does run, may take them.
    async fn dispatch(mut self) {
        while let Some(callers) = self.reads.lines.next_batch(self.line) {
            self.reads.read_many(callers).await;
            // The callers that were just answered may read again. They join the next batch,
            // and none of them is sent alone, ahead of the others.
            clock::let_others_run().await;
        }
        self.has_ended = true;
    }
}

impl<S: Source> Drop for Turn<S> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if self.is_dispatcher {
            self.reads.lines.end_turn_and_fail_waiting(self.line);
        } else if let Some(runtime) = self.reads.lines.turn_into_dispatcher(self.line) {
            let dispatcher = Self::new(&self.reads, self.line, true);
            runtime.spawn(dispatcher.dispatch());
        }
    }
}

impl<S: Source> Reads<S> {
    /// Reads for many callers, and answers each by its deadline.
    async fn read_many(&self, mut callers: Vec<Caller<S::Connection>>) {
        // Checked as late as possible: callers that have left need no answer.
        callers.retain(|caller| !caller.reply.is_closed());
        let Some(until) = callers.iter().map(|caller| caller.deadline).max() else {
            return;
        };
        if callers.len() == 1 {
            for caller in callers {
                let _ = caller.reply.send(self.read_one(&caller.read, until).await);
            }
            return;
        }
        let (mut batch, keys) = Batch::new(callers);
        match self.read_batch(&mut batch, &keys, until).await {
            Ok((connection, values)) => batch.reply(&connection, values, &self.sizes),
            Err(error) => batch.fail(&error),
        }
    }

    /// Reads until the deadline of the youngest caller. The callers with earlier deadlines fail
    /// at theirs: they have no timer of their own.
    async fn read_batch(
        &self,
        batch: &mut Batch<S::Connection>,
        keys: &ReadKeys,
        until: Instant,
    ) -> Values<S::Connection> {
        let mut answer = pin!(self.source.read(keys, until));
        while let Some(next) = batch.next_deadline()
            && next < until
        {
            let in_time = async { Ok(answer.as_mut().await) };
            match self.source.within(next, in_time).await {
                Ok(answer) => return answer,
                Err(too_late) => batch.fail_expired(next, &too_late),
            }
        }
        // The source ends this one at its deadline, and judges the connection by how it ends.
        answer.await
    }
}
