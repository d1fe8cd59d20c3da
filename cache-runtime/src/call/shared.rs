//! A cached call on the shared tier: look, take the lease, load, fill; or wait.
//!
//! [`Request::next_step`] decides, without knowing the value's type;
//! [`Request::get_or_load_shared`] does what was decided.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Request, to_shared};
use crate::clock;
use crate::entry::{Entry, Mark, Slot};
use crate::error::Error;
use crate::flight::{Boarding, Landing, Leader, SharedValue, Waiter};
use crate::key::Key;
use crate::store::{Acquired, Encoded, Lease, Now, Seen, Shared, Sight};
use crate::value::{CacheValue, Outcome, Shape, View, to_return};

/// The pause between two looks at another process's lease, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(8);

/// What a caller does next.
enum Step<'a> {
    /// Serve this entry, to the waiters of the flight too if this caller watched for them.
    Serve(Entry, Option<Leader<'a, Seen>>),
    /// Serve what another caller's load yielded.
    Share(SharedValue),
    /// Load; store if the leader has a lease.
    Lead(Leader<'a, Seen>),
    /// Load, and store nothing.
    Alone,
}

impl Request {
    pub(super) async fn get_or_load_shared<S, F>(&self, shared: &Shared, load: F) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        let mut undecodable = None;
        loop {
            match self.next_step(shared, undecodable).await {
                Step::Serve(entry, watcher) => match self.decode::<S>(&entry) {
                    Ok(returned) => {
                        self.hand_out::<S>(&returned, watcher);
                        return returned;
                    }
                    // The entry is replaced by whoever gets the lease, if it is still this one.
                    Err(error) if undecodable.is_none() => {
                        tracing::warn!(%error, "loaded again");
                        self.counters().error();
                        undecodable = Some(entry.mark);
                    }
                    Err(_) => return self.run(load).await,
                },
                Step::Share(value) => {
                    return match self.boarded::<S>(&value) {
                        Some(value) => value,
                        None => self.run(load).await,
                    };
                }
                Step::Lead(leader) => return self.lead_shared::<S, F>(leader, load).await,
                Step::Alone => return self.run(load).await,
            }
        }
    }

    /// Looks at the store until it is clear what to do.
    async fn next_step<'a>(&self, shared: &'a Shared, undecodable: Option<Mark>) -> Step<'a> {
        let started = Instant::now();
        while started.elapsed() <= self.cache.lease_wait() {
            let Sight { slot, now } = match shared.look(&self.key, &self.tags).await {
                Ok(sight) => sight,
                Err(error) => return self.degrade(shared, &error).await,
            };
            let step = match slot {
                Slot::Entry(entry) if now.may_serve(&entry) && undecodable != Some(entry.mark) => {
                    return Step::Serve(entry, None);
                }
                Slot::Lease(mark) => {
                    match shared
                        .flights
                        .board_or_load(&self.key, now.with_lease(mark))
                    {
                        Boarding::Wait(waiter) => self.wait(shared, waiter).await,
                        Boarding::Lead(leader) => self.take_over(shared, leader).await,
                    }
                }
                // Absent, dead or unreadable: somebody must load.
                slot => match shared.flights.board_or_gather(&self.key) {
                    Boarding::Wait(waiter) => self.wait(shared, waiter).await,
                    Boarding::Lead(leader) => self.acquire(shared, leader, &slot, &now).await,
                },
            };
            if let Some(step) = step {
                return step;
            }
        }
        Step::Alone
    }

    /// Asks for the lease, for all who come before the load begins; `None` is to look again.
    async fn acquire<'a>(
        &self,
        shared: &'a Shared,
        leader: Leader<'a, Seen>,
        slot: &Slot,
        now: &Now,
    ) -> Option<Step<'a>> {
        let acquired = shared
            .acquire(&self.key, &self.tags, slot, now, self.longest_ttl())
            .await;
        match acquired {
            Ok(Acquired::Lease(seen)) => leader.begin(Some(seen)),
            Ok(Acquired::Taken) => {
                leader.dissolve();
                return None;
            }
            Err(error) => {
                self.report(&error);
                leader.begin(None);
            }
        }
        Some(Step::Lead(leader))
    }

    /// Waits for another caller's load; `None` is to look again.
    async fn wait<'a>(&self, shared: &'a Shared, waiter: Waiter<'a, Seen>) -> Option<Step<'a>> {
        match waiter.wait(self.cache.load_limit()).await {
            Landing::Value(value) => Some(Step::Share(value)),
            Landing::Lead(leader) => self.take_over(shared, leader).await,
            Landing::Failed => Some(Step::Alone),
            Landing::Dissolved => None,
        }
    }

    /// Goes on with a flight: with its load if the lease is ours, else with watching for the
    /// entry that the lease's owner, in another process, will write.
    async fn take_over<'a>(
        &self,
        shared: &'a Shared,
        leader: Leader<'a, Seen>,
    ) -> Option<Step<'a>> {
        match leader.seen() {
            Some(seen) if seen.lease.is_none() => self.watch(shared, leader, &seen).await,
            _ => Some(Step::Lead(leader)),
        }
    }

    /// Looks, for all callers of this process, until another process's lease becomes
    /// an entry; `None` is to look again.
    ///
    /// Whoever boards this flight saw the lease in the store, and a lease never comes
    /// back once it is replaced. So an entry that the watcher sees in its place was
    /// read after each of them began.
    async fn watch<'a>(
        &self,
        shared: &'a Shared,
        leader: Leader<'a, Seen>,
        seen: &Seen,
    ) -> Option<Step<'a>> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        while started.elapsed() <= self.cache.lease_wait() {
            tokio::time::sleep(clock::around(pause)).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            let Sight { slot, now } = match shared.look(&self.key, &self.tags).await {
                Ok(sight) => sight,
                Err(error) => {
                    self.report(&error);
                    break;
                }
            };
            match slot {
                Slot::Lease(mark) if now.with_lease(mark) == *seen => {}
                Slot::Entry(entry) if now.may_serve(&entry) => {
                    return Some(Step::Serve(entry, Some(leader)));
                }
                _ => {
                    leader.dissolve();
                    return None;
                }
            }
        }
        // The load begins now, after the watcher saw the lease, so it is no older
        // than whoever sees that lease.
        Some(Step::Lead(leader))
    }

    /// Without the store, callers share only a load that begins after they came:
    /// while one runs, those who come wait for it, and then share the next.
    async fn degrade<'a>(&self, shared: &'a Shared, error: &Error) -> Step<'a> {
        self.report(error);
        match shared.flights.board_or_gather(&self.key) {
            Boarding::Lead(mut leader) => {
                leader.wait_for_previous(self.cache.lease_wait()).await;
                leader.begin(None);
                Step::Lead(leader)
            }
            Boarding::Wait(waiter) => match waiter.wait(self.cache.load_limit()).await {
                Landing::Value(value) => Step::Share(value),
                Landing::Lead(leader) => Step::Lead(leader),
                Landing::Failed | Landing::Dissolved => Step::Alone,
            },
        }
    }

    /// Counts an entry that was served, and serves it to those who waited for it as well.
    fn hand_out<S: Shape<Value: CacheValue>>(
        &self,
        returned: &S::Return,
        watcher: Option<Leader<'_, Seen>>,
    ) {
        let Some(watcher) = watcher else {
            return self.counters().hit();
        };
        self.counters().miss();
        if let Some(value) = to_shared(&S::view(returned)) {
            watcher.land(value);
        }
        watcher.finish(|| {});
    }

    fn report(&self, error: &Error) {
        // The connection reports each change of its state; here it is counted.
        tracing::debug!(%error, key = %self.key, "the cache is passed by");
        self.counters().error();
    }

    async fn lead_shared<S, F>(&self, leader: Leader<'_, Seen>, load: F) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        let seen = leader.seen();
        let lease = seen.as_ref().and_then(|seen| seen.lease.as_ref());
        let started = Instant::now();
        // If this future is dropped here, the leader hands the flight on, with the lease.
        let returned = self.load_under(lease, load).await;
        let cost = started.elapsed();

        let outcome = S::view(&returned);
        if leader.has_waiters()
            && let Some(value) = to_shared(&outcome)
        {
            leader.land(value);
        }
        if let Some(lease) = lease {
            let filled = self.fill(lease, &outcome, cost).await;
            if let Err(error) = &filled {
                self.report(error);
            }
        }
        match outcome {
            View::Error => leader.fail(),
            View::Value(_) | View::None => leader.finish(|| {}),
        }
        returned
    }

    /// Runs the load, and renews its lease meanwhile.
    async fn load_under<F: Future>(&self, lease: Option<&Lease>, load: F) -> F::Output {
        let Some(lease) = lease else {
            return self.run(load).await;
        };
        let mut load = pin!(self.run(load));
        let mut keep = pin!(lease.keep(self.cache.load_limit()));
        std::future::poll_fn(|context| match load.as_mut().poll(context) {
            Poll::Ready(returned) => Poll::Ready(returned),
            Poll::Pending => match keep.as_mut().poll(context) {
                Poll::Ready(never) => match never {},
                Poll::Pending => Poll::Pending,
            },
        })
        .await
    }

    /// Stores an outcome in the place of the lease, or gives the lease back.
    async fn fill<V: CacheValue>(
        &self,
        lease: &Lease,
        outcome: &View<'_, V>,
        cost: Duration,
    ) -> Result<(), Error> {
        let ttl = self
            .lifetime(outcome)
            .filter(|_| lease.may_fill(&self.tags));
        let encoded = match outcome {
            View::Value(value) => serde_json::to_vec(value).map(Some),
            _ => Ok(None),
        };
        if let (Some(ttl), Ok(payload)) = (ttl, &encoded) {
            let value = payload.as_deref().map_or(Encoded::None, Encoded::Value);
            return lease.fill(&self.tags, &value, ttl, cost).await;
        }
        lease.release().await;
        encoded
            .map(drop)
            .map_err(|error| Error::codec(self.key.as_str(), "encoded", &error))
    }

    fn decode<S: Shape<Value: CacheValue>>(&self, entry: &Entry) -> Result<S::Return, Error> {
        let outcome = decode_outcome(&self.key, entry)?;
        to_return::<S>(outcome)
            .ok_or_else(|| Error::codec(self.key.as_str(), "decoded", &"a `None` is stored"))
    }
}

/// Decodes what [`Request::fill`] encoded.
pub(crate) fn decode_outcome<V: CacheValue>(key: &Key, entry: &Entry) -> Result<Outcome<V>, Error> {
    if entry.none {
        return Ok(Outcome::None);
    }
    serde_json::from_slice(entry.payload())
        .map(Outcome::Value)
        .map_err(|error| Error::codec(key.as_str(), "decoded", &error))
}
