//! A cached call on the local tier: look, load, store; or wait.

use std::time::Instant;

use super::{Keep, Request, put_together, to_shared};
use crate::flight::{Landing, Leader, Seat};
use crate::local::{Local, Look, Observed};
use crate::value::{CacheValue, Shape};

impl Request {
    pub(super) async fn get_or_load_local<S, F>(
        &self,
        local: &Local,
        keep: impl Fn(&S::Value) -> Keep,
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        loop {
            let seat = match local.look(&self.key, &self.tags, self.version) {
                Look::Board(seat) => seat,
                Look::Fenced => return self.load_behind_fence::<S, F>(local, load).await,
                Look::Hit(entry) => {
                    if let Some(value) = self.hit::<S>(&entry.value) {
                        return value;
                    }
                    // Another function's value under this key: it is theirs.
                    return self.run(load).await;
                }
            };
            let leader = match seat {
                Seat::Lead(leader) => leader,
                Seat::Wait(waiter) => match waiter.wait(self.cache.load_limit()).await {
                    Landing::Lead(leader) => leader,
                    Landing::Value(value) => {
                        if let Some(value) = self.boarded::<S>(&value) {
                            return value;
                        }
                        return self.run(load).await;
                    }
                    Landing::Failed => return self.run(load).await,
                    Landing::Dissolved => continue,
                },
            };
            return self.lead_local::<S, F>(local, leader, keep, load).await;
        }
    }

    /// Callers share only a load that begins after they came, and nothing is stored.
    async fn load_behind_fence<S, F>(&self, local: &Local, load: F) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        let started = Instant::now();
        while started.elapsed() < self.cache.load_limit() {
            let leader = match local.gather(&self.key) {
                Seat::Lead(mut leader) => {
                    leader.wait_for_previous(self.cache.gather_limit()).await;
                    leader.begin(None);
                    leader
                }
                Seat::Wait(waiter) => match waiter.wait(self.cache.load_limit()).await {
                    Landing::Lead(leader) => leader,
                    Landing::Value(value) => match self.boarded::<S>(&value) {
                        Some(value) => return value,
                        None => break,
                    },
                    Landing::Failed => break,
                    Landing::Dissolved => continue,
                },
            };
            return self
                .lead_local::<S, F>(local, leader, |_| Keep::Not, load)
                .await;
        }
        self.run(load).await
    }

    async fn lead_local<S, F>(
        &self,
        local: &Local,
        leader: Leader<'_, Observed>,
        keep: impl Fn(&S::Value) -> Keep,
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        // If this future is dropped here, the leader hands the flight on.
        let returned = self.run(load).await;
        if self.is_distrusted() {
            // It may have read what is not committed, and a function since then has said so.
            leader.fail();
            return returned;
        }
        let outcome = match S::into_outcome(returned) {
            Ok(outcome) => outcome,
            Err(returned) => {
                leader.fail();
                return returned;
            }
        };
        let value = to_shared::<S>(&outcome);
        if let Some(ttl) = self.lifetime(&outcome, keep) {
            local.fill(&self.key, leader, value, ttl);
        } else {
            leader.land(value);
            leader.finish();
        }
        put_together::<S>(outcome)
    }
}
