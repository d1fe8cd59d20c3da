//! Sends the read of one caller, or of many, and hands the answer out.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::line::{Caller, Lines, Read};
use super::merge::Batch;
use super::sizes::Sizes;
use super::source::{Answer, Found, Source};
use crate::driver::ReadKeys;
use crate::error::Error;
use crate::tier::shared::entry::Version;

/// The reads of one process from one source.
pub(super) struct Reads<S: Source> {
    pub(super) source: Arc<S>,
    pub(super) lines: Lines<S::Connection>,
    pub(super) sizes: Sizes,
}

impl<S: Source> Reads<S> {
    pub(super) fn new(source: Arc<S>, max_single_reads: usize) -> Self {
        Self {
            source,
            lines: Lines::new(max_single_reads),
            sizes: Sizes::default(),
        }
    }

    /// Reads for one caller.
    pub(super) async fn read_one(
        &self,
        read: &Read,
        until: Instant,
    ) -> Result<Found<S::Connection>, Error> {
        let (connection, values) = self.source.read(&read.keys, until).await?;
        let mut values = values.into_iter();
        let slot = values.next().flatten();
        self.sizes.remember(read.slot_hash, slot.as_ref());
        let versions = 1..read.keys.len();
        let mut version = || Version::read(values.next().flatten().as_deref());
        Ok(Found {
            connection,
            slot,
            shared_decode: None,
            versions: versions.map(|_| version()).collect(),
        })
    }

    /// Reads for many callers, and answers each by its deadline.
    pub(super) async fn read_many(&self, mut callers: Vec<Caller<S::Connection>>) {
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
    ) -> Answer<S::Connection> {
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
