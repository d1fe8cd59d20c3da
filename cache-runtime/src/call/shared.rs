//! A cached call on the shared tier: look, take the lease, load, fill; or wait.
//!
//! [`Request::hit_shared`] serves what is there. If nothing is, [`Request::next_step`] decides,
//! without knowing the value's type;
//! [`Request::miss_shared`] does what was decided.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Keep, Request, put_together, to_shared};
use crate::clock;
use crate::codec::{self, Reason};
use crate::entry::{Entry, Mark, Slot};
use crate::error::Error;
use crate::flight::{Landing, Leader, Seat, Waiter};
use crate::key::Key;
use crate::sabotage::{self, Rule};
use crate::store::{Acquired, Encoded, Lease, Now, Seen, Shared, Sight};
use crate::value::{CacheValue, Outcome, Shape, SharedValue, to_return};

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
    /// Something has changed: look at the store again.
    LookAgain,
}

impl Request {
    pub(super) async fn get_or_load_shared<S, F>(
        &self,
        shared: &Shared,
        keep: impl Fn(&S::Value) -> Keep,
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        let mut sight = self.sight(shared).await;
        if let Some(returned) = self.hit_shared::<S>(sight.as_mut()) {
            return returned;
        }
        // In a box: this way is long, and callers carry its state about.
        Box::pin(self.miss_shared::<S, F>(shared, sight, keep, load)).await
    }

    /// What the store shows, if it may be asked and answers.
    async fn sight(&self, shared: &Shared) -> Option<Sight> {
        if shared.distrusts(&self.key, &self.tags) {
            return None;
        }
        let sight = match shared.look(&self.key, &self.tags).await {
            Ok(sight) => sight,
            Err(error) => {
                self.report(&error);
                return None;
            }
        };
        (!shared.distrusts(&self.key, &self.tags)).then_some(sight)
    }

    /// What is served at first sight. Why an entry is not served, if there is one, is found
    /// out again on the way of a miss.
    fn hit_shared<S: Shape<Value: CacheValue>>(
        &self,
        sight: Option<&mut Sight>,
    ) -> Option<S::Return> {
        match sight? {
            Sight {
                slot: Slot::Entry(entry),
                now,
            } if self.may_serve(entry, now) => self.serve::<S>(entry, None).ok(),
            _ => None,
        }
    }

    async fn miss_shared<S, F>(
        &self,
        shared: &Shared,
        mut sight: Option<Sight>,
        keep: impl Fn(&S::Value) -> Keep,
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        let mut undecodable = None;
        let step = loop {
            let step = self.next_step(shared, sight, undecodable).await;
            let Step::Serve(mut entry, watcher) = step else {
                break step;
            };
            match self.serve::<S>(&mut entry, watcher) {
                Ok(returned) => return returned,
                Err(error) => {
                    self.report(&error);
                    if undecodable.is_some() {
                        break Step::Alone;
                    }
                    // It is replaced by whoever gets the lease, if it is still this one.
                    undecodable = Some(entry.mark);
                }
            }
            sight = self.sight(shared).await;
        };
        match step {
            Step::Lead(leader) => self.lead_shared::<S, F>(leader, keep, load).await,
            Step::Share(value) => {
                if let Some(value) = self.boarded::<S>(&value) {
                    return value;
                }
                self.run(load).await
            }
            _ => self.run(load).await,
        }
    }

    /// Looks at the store until it is clear what to do, at most for `lease_wait`.
    async fn next_step<'a>(
        &self,
        shared: &'a Shared,
        mut sight: Option<Sight>,
        undecodable: Option<Mark>,
    ) -> Step<'a> {
        let started = Instant::now();
        loop {
            match self.step(shared, sight, undecodable).await {
                Step::LookAgain if started.elapsed() < self.cache.lease_wait() => {}
                Step::LookAgain => return self.gather(shared).await,
                step => return step,
            }
            sight = self.sight(shared).await;
        }
    }

    async fn step<'a>(
        &self,
        shared: &'a Shared,
        sight: Option<Sight>,
        undecodable: Option<Mark>,
    ) -> Step<'a> {
        let Some(Sight { slot, now }) = sight else {
            return self.gather(shared).await;
        };
        if let Slot::Unreadable(_) = slot {
            let reason = "it is in no form that this version of the cache knows";
            self.report(&Error::codec(self.key.as_str(), "read", &reason));
        }
        match slot {
            Slot::Entry(entry)
                if self.may_serve(&entry, &now) && undecodable != Some(entry.mark) =>
            {
                Step::Serve(entry, None)
            }
            // Writers are at work, and nothing that is loaded now may be stored. Nor do those
            // who saw the same fence have anything in common: it stands before a commit and after.
            Slot::Fence => self.gather(shared).await,
            _ if now.is_fenced() => self.gather(shared).await,
            Slot::Lease(mark) => match now.with_lease(mark) {
                Some(seen) => match shared.flights.board(&self.key, Some(seen)) {
                    Seat::Wait(waiter) => self.wait(shared, waiter).await,
                    Seat::Lead(leader) => self.take_over(shared, leader).await,
                },
                // Callers who saw that a version is absent have nothing in common:
                // an invalidation would not have changed it.
                None => self.draw_versions(shared, &now).await,
            },
            // Absent, dead or unreadable: somebody must load.
            slot => match shared.flights.board(&self.key, None) {
                Seat::Wait(waiter) => self.wait(shared, waiter).await,
                Seat::Lead(leader) => self.acquire(shared, leader, &slot, &now).await,
            },
        }
    }

    /// Callers who see that a version is absent have nothing in common that an
    /// invalidation would have changed. So they give it one first.
    async fn draw_versions<'a>(&self, shared: &'a Shared, now: &Now) -> Step<'a> {
        let drawn = shared
            .draw_versions(&self.key, &self.tags, now, self.longest_ttl())
            .await;
        match drawn {
            Ok(()) => Step::LookAgain,
            Err(error) => {
                self.report(&error);
                self.gather(shared).await
            }
        }
    }

    fn may_serve(&self, entry: &Entry, now: &Now) -> bool {
        entry.header.version == self.version && now.may_serve(entry)
    }

    /// Asks for the lease, for all who come before the load begins.
    async fn acquire<'a>(
        &self,
        shared: &'a Shared,
        leader: Leader<'a, Seen>,
        slot: &Slot,
        now: &Now,
    ) -> Step<'a> {
        let acquired = shared
            .acquire(&self.key, &self.tags, slot, now, self.longest_ttl())
            .await;
        match acquired {
            Ok(Acquired::Lease(seen)) => leader.begin(Some(seen)),
            Ok(Acquired::Taken) => {
                leader.finish();
                return Step::LookAgain;
            }
            Ok(Acquired::Fenced) => leader.begin(None),
            Err(error) => {
                self.report(&error);
                leader.begin(None);
            }
        }
        Step::Lead(leader)
    }

    /// Waits for another caller's load.
    async fn wait<'a>(&self, shared: &'a Shared, waiter: Waiter<'a, Seen>) -> Step<'a> {
        match waiter.wait(self.cache.load_limit()).await {
            Landing::Value(value) => Step::Share(value),
            Landing::Lead(leader) => self.take_over(shared, leader).await,
            Landing::Failed => Step::Alone,
            Landing::Dissolved => Step::LookAgain,
        }
    }

    /// Goes on with a flight: with its load if the lease is ours, else with watching for the
    /// entry that the lease's owner, in another process, will write.
    async fn take_over<'a>(&self, shared: &'a Shared, leader: Leader<'a, Seen>) -> Step<'a> {
        match leader.evidence() {
            Some(seen) if seen.lease.is_none() => self.watch(shared, leader, &seen).await,
            _ => Step::Lead(leader),
        }
    }

    /// Looks, for all callers of this process, until another process's lease becomes an entry.
    ///
    /// Whoever boards this flight saw the lease in the store, and a lease never comes
    /// back once it is replaced. So an entry that the watcher sees in its place was
    /// read after each of them began.
    async fn watch<'a>(
        &self,
        shared: &'a Shared,
        leader: Leader<'a, Seen>,
        seen: &Seen,
    ) -> Step<'a> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        while started.elapsed() < self.cache.lease_wait() {
            clock::pause(clock::around(pause)).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            let Sight { slot, now } = match shared.look(&self.key, &self.tags).await {
                Ok(sight) => sight,
                Err(error) => {
                    self.report(&error);
                    break;
                }
            };
            match slot {
                Slot::Lease(mark) if now.with_lease(mark).as_ref() == Some(seen) => {}
                Slot::Entry(entry) if self.may_serve(&entry, &now) => {
                    return Step::Serve(entry, Some(leader));
                }
                _ => {
                    leader.finish();
                    return Step::LookAgain;
                }
            }
        }
        // The load begins now, after the watcher saw the lease with these versions, so
        // it is no older than whoever sees them too.
        Step::Lead(leader)
    }

    /// Without the store, or after it kept this caller waiting too long, callers share
    /// only a load that begins after they came: while one runs, those who come wait for
    /// a moment, and then share the next.
    async fn gather<'a>(&self, shared: &'a Shared) -> Step<'a> {
        let started = Instant::now();
        while started.elapsed() < self.cache.load_limit() {
            let waiter = match shared.flights.board(&self.key, None) {
                Seat::Wait(waiter) => waiter,
                Seat::Lead(mut leader) => {
                    leader.wait_for_previous(self.cache.gather_limit()).await;
                    leader.begin(None);
                    return Step::Lead(leader);
                }
            };
            match waiter.wait(self.cache.load_limit()).await {
                Landing::Value(value) => return Step::Share(value),
                Landing::Lead(leader) => return Step::Lead(leader),
                Landing::Failed => break,
                Landing::Dissolved => {}
            }
        }
        Step::Alone
    }

    /// Serves an entry, to those who waited for it as well, and counts that.
    fn serve<S: Shape<Value: CacheValue>>(
        &self,
        entry: &mut Entry,
        watcher: Option<Leader<'_, Seen>>,
    ) -> Result<S::Return, Error> {
        let outcome = if let Some(outcome) = entry.decoded() {
            outcome
        } else {
            let outcome = decode_outcome(&self.key, entry)?;
            entry.leave_decoded(|| to_shared::<S>(&outcome));
            outcome
        };
        let watcher = watcher.map(|watcher| (watcher, to_shared::<S>(&outcome)));
        let returned = to_return::<S>(outcome)
            .ok_or_else(|| Error::codec(self.key.as_str(), "decoded", &"a `None` is stored"))?;
        if let Some((watcher, value)) = watcher {
            self.counters().miss();
            watcher.land(value);
            watcher.finish();
        } else {
            self.counters().hit();
        }
        Ok(returned)
    }

    fn report(&self, error: &Error) {
        assert!(sabotage::keeps(Rule::Degrade), "{error}");
        if error
            .lacks_feature()
            .is_some_and(|it| !codec::is_first_report(it))
        {
            tracing::debug!(%error, "not served from the cache");
        } else if error.is_codec() {
            tracing::warn!(%error, "not served from the cache, or not stored");
        } else {
            // The connection reports each change of its state.
            tracing::debug!(%error, key = %self.key, "the cache is passed by");
        }
        self.counters().error();
    }

    async fn lead_shared<S, F>(
        &self,
        leader: Leader<'_, Seen>,
        keep: impl Fn(&S::Value) -> Keep,
        load: F,
    ) -> S::Return
    where
        S: Shape<Value: CacheValue>,
        F: Future<Output = S::Return>,
    {
        let seen = leader.evidence();
        let lease = seen.as_ref().and_then(|seen| seen.lease.as_ref());
        let started = Instant::now();
        // If this future is dropped here, the leader hands the flight on, with the lease.
        let returned = self.load_under(lease, load).await;
        let cost = started.elapsed();
        if self.is_distrusted() {
            // It may have read what is not committed, and a function since then has said so.
            leader.fail();
            return returned;
        }

        // An error is not held while the lease is given back: it need not be `Send`.
        let outcome = match S::into_outcome(returned) {
            Ok(outcome) => outcome,
            Err(returned) => {
                leader.fail();
                return returned;
            }
        };
        if leader.has_waiters() {
            leader.land(to_shared::<S>(&outcome));
        }
        if let Some(lease) = lease {
            let filled = self.fill(lease, &outcome, keep, cost).await;
            if let Err(error) = &filled {
                self.report(error);
            }
        }
        leader.finish();
        put_together::<S>(outcome)
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
        outcome: &Outcome<V>,
        keep: impl Fn(&V) -> Keep,
        cost: Duration,
    ) -> Result<(), Error> {
        let ttl = self.lifetime(outcome, keep);
        let encoded = match outcome {
            Outcome::Value(value) => self.codec().encode(value).map(Encoded::Value),
            Outcome::None => Ok(Encoded::None),
        };
        if let (Some(ttl), Ok(value)) = (ttl, &encoded) {
            return lease.fill(value, ttl, self.version, cost).await;
        }
        lease.release().await;
        encoded
            .map(drop)
            .map_err(|reason| Error::codec(self.key.as_str(), "encoded", &reason))
    }
}

/// Decodes what [`Request::fill`] encoded.
pub(crate) fn decode_outcome<V: CacheValue>(key: &Key, entry: &Entry) -> Result<Outcome<V>, Error> {
    if entry.header.none {
        return Ok(Outcome::None);
    }
    let decoded = entry.header.form.decode(entry.payload());
    decoded.map(Outcome::Value).map_err(|reason| match reason {
        Reason::Lacks(feature) => Error::lacks(key.as_str(), feature, &reason),
        Reason::Other(reason) => Error::codec(key.as_str(), "decoded", &reason),
    })
}
