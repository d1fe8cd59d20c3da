//! The task that sends the line.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use super::Reads;
use super::line::{Caller, Charge, LineId};
use super::merge::Batch;
use super::source::{Source, Values};
use crate::clock;
use crate::driver::ReadKeys;

/// The task that sends a line, and has taken over a caller's turn. It is a task of the callers'
/// runtime, so no caller's end can end it, and it runs whether or not they are polled.
///
/// It is dropped before its end if its runtime is shut down, or if it panics. Then the callers in
/// its line fail. Another dispatcher would not help: on a runtime that is shut down, it would be
/// dropped when it is spawned, within this drop, and so on for each batch.
pub(super) struct Dispatcher<S: Source> {
    reads: Arc<Reads<S>>,
    line: LineId,
    runtime: Handle,
    /// What its command takes, which is under way or has just ended.
    charge: Charge,
    has_ended: bool,
}

impl<S: Source> Dispatcher<S> {
    pub(super) fn new(reads: &Arc<Reads<S>>, line: LineId, runtime: Handle) -> Self {
        Self {
            reads: reads.clone(),
            line,
            runtime,
            charge: Charge::default(),
            has_ended: false,
        }
    }

    pub(super) fn spawn(self) {
        let runtime = self.runtime.clone();
        runtime.spawn(self.dispatch());
    }

    /// Sends the line, one batch after the other, until it is empty. Takes callers out of line
    /// only once it runs: until then, another dispatcher, which does run, may take them.
    async fn dispatch(mut self) {
        while let Some(next) = self
            .reads
            .lines
            .next_batch(self.line, mem::take(&mut self.charge))
        {
            self.charge = next.charge;
            if next.has_more {
                Self::new(&self.reads, self.line, self.runtime.clone()).spawn();
            }
            self.reads.read_many(next.callers, next.charge).await;
            // The callers that were just answered may read again. They join the next batch,
            // and none of them is sent alone, ahead of the others.
            clock::let_others_run().await;
        }
        self.has_ended = true;
    }
}

impl<S: Source> Drop for Dispatcher<S> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.reads
                .lines
                .end_turn_and_fail_waiting(self.line, self.charge);
        }
    }
}

impl<S: Source> Reads<S> {
    /// Reads for many callers, and answers each by its deadline.
    pub(super) async fn read_many(&self, mut callers: Vec<Caller<S::Connection>>, charge: Charge) {
        // Checked as late as possible: callers that have left need no answer.
        callers.retain(|caller| !caller.reply.is_closed());
        let Some(until) = callers.iter().map(|caller| caller.deadline).max() else {
            return;
        };
        if callers.len() == 1 {
            for caller in callers {
                let _ = caller
                    .reply
                    .send(self.read_one(&caller.read, until, charge).await);
            }
            return;
        }
        let (mut batch, keys) = Batch::new(callers);
        let answer = self.read_batch(&mut batch, &keys, until);
        match self.measured(charge, answer).await {
            Ok((connection, answers)) => {
                let sizes = &self.lines.sizes;
                let elsewhere = |elsewhere: &_| self.source.elsewhere(elsewhere);
                batch.reply(&connection, answers, sizes, elsewhere);
            }
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
