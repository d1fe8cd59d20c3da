//! The task that reconnects and replays the journal.
//!
//! It runs while something is to be mended, and ends when nothing is. It may end with the runtime
//! that it was spawned on, or stand still with it. So each keeper notes when it will have run
//! again, and is replaced if it is [late](LATE).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::clock;
use crate::fallback;

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// A keeper that is late by more than this is taken to be lost.
const LATE: Duration = Duration::from_secs(1);

/// What a keeper mends.
pub(crate) trait Mend: Send + Sync + 'static {
    /// The longest pause between two attempts, as things are now.
    fn longest_pause(&self) -> Duration;

    /// Notes that this keeper pauses for `pause`; false if another has taken its place.
    fn stays(&self, keeper: u64, pause: Duration) -> bool;

    /// One attempt to mend what is wrong.
    fn mend(self: &Arc<Self>) -> impl Future<Output = ()> + Send;

    /// Ends this keeper if nothing is left to mend; whether it has ended.
    fn retires(self: &Arc<Self>, keeper: u64) -> bool;
}

/// The keeper there is, if any.
#[derive(Debug, Default)]
pub(crate) struct Keepers {
    current: Option<Keeper>,
    /// How many there have been.
    started: u64,
}

#[derive(Debug)]
struct Keeper {
    number: u64,
    /// Its task, unless it is on the fallback thread, which ends no keeper.
    task: Option<AbortHandle>,
    /// When it will have run again, unless its runtime is not driven.
    due: Instant,
}

impl Keepers {
    /// Starts a keeper, unless one runs. Outside of a runtime, on one that is shut down, and on that of
    /// the [fallback] thread, it is work of that thread: it may be that no other call comes.
    pub(crate) fn ensure<M: Mend>(&mut self, mended: &Arc<M>) {
        let now = Instant::now();
        if self.current.as_ref().is_some_and(|it| it.runs(now)) {
            return;
        }
        self.started += 1;
        let number = self.started;
        let keeper = || keep(mended.clone(), number);
        let runtime = Handle::try_current().ok().filter(|_| !fallback::is_here());
        let task = runtime.map(|runtime| runtime.spawn(keeper()).abort_handle());
        // A runtime that is shut down drops what is spawned on it at once.
        let task = task.filter(|task| !task.is_finished());
        if task.is_none() && !fallback::run(keeper()) {
            // There is no thread to be had: the next caller starts a keeper.
            self.current = None;
            return;
        }
        self.current = Some(Keeper {
            number,
            task,
            due: now,
        });
    }

    /// Notes when this keeper will have run again; false if another has taken its place.
    pub(crate) fn stays(&mut self, number: u64, due: Instant) -> bool {
        let current = self.current.as_mut().filter(|it| it.number == number);
        current.map(|keeper| keeper.due = due).is_some()
    }

    /// Ends this keeper; false if another has taken its place.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        self.current.take_if(|it| it.number == number).is_some()
    }
}

impl Keeper {
    fn runs(&self, now: Instant) -> bool {
        let has_ended = self.task.as_ref().is_some_and(AbortHandle::is_finished);
        !has_ended && now < self.due + LATE
    }
}

async fn keep<M: Mend>(mended: Arc<M>, number: u64) {
    let mut pauses = Pauses::new();
    loop {
        let pause = pauses.next(mended.longest_pause());
        if !mended.stays(number, pause) {
            return;
        }
        clock::pause(clock::around(pause)).await;
        mended.mend().await;
        if mended.retires(number) {
            return;
        }
    }
}

/// Pauses that double, from [`FIRST_PAUSE`] or a sixth of the longest one, up to the longest.
struct Pauses {
    next: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    fn next(&mut self, longest: Duration) -> Duration {
        let pause = self.next.max(longest / 6).min(longest);
        self.next = pause * 2;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    fn pauses(longest: u64) -> Vec<u128> {
        let mut pauses = Pauses::new();
        let longest = Duration::from_millis(longest);
        (0..6).map(|_| pauses.next(longest).as_millis()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(pauses(120), [20, 40, 80, 120, 120, 120]);
        assert_eq!(pauses(10), [10; 6]);
    }

    #[test]
    fn the_first_pause_is_at_least_a_sixth_of_the_longest() {
        assert_eq!(pauses(960), [160, 320, 640, 960, 960, 960]);
    }

    #[test]
    fn pauses_follow_a_longest_one_that_changes() {
        let mut pauses = Pauses::new();
        let (away, refused) = (Duration::from_millis(120), Duration::from_secs(1));
        assert_eq!(pauses.next(away).as_millis(), 20);
        assert_eq!(pauses.next(refused).as_millis(), 166);
        assert_eq!(pauses.next(refused).as_millis(), 333);
        assert_eq!(pauses.next(away).as_millis(), 120);
    }

    /// Needs some attempts until it is mended.
    #[derive(Default)]
    struct Broken {
        keepers: Mutex<Keepers>,
        attempts_left: Mutex<u32>,
    }

    impl Broken {
        fn keepers<T>(&self, change: impl FnOnce(&mut Keepers) -> T) -> T {
            change(&mut self.keepers.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    impl Mend for Broken {
        fn longest_pause(&self) -> Duration {
            Duration::from_millis(2)
        }

        fn stays(&self, keeper: u64, pause: Duration) -> bool {
            self.keepers(|keepers| keepers.stays(keeper, Instant::now() + pause))
        }

        async fn mend(self: &Arc<Self>) {
            *self.attempts_left.lock().unwrap() -= 1;
        }

        fn retires(self: &Arc<Self>, keeper: u64) -> bool {
            *self.attempts_left.lock().unwrap() == 0 && self.keepers(|it| it.end(keeper))
        }
    }

    fn broken(attempts: u32) -> Arc<Broken> {
        Arc::new(Broken {
            attempts_left: Mutex::new(attempts),
            ..Broken::default()
        })
    }

    #[tokio::test]
    async fn it_tries_until_nothing_is_left_to_mend() {
        let broken = broken(3);
        broken.keepers(|keepers| keepers.ensure(&broken));
        while broken.keepers(|keepers| keepers.current.is_some()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(*broken.attempts_left.lock().unwrap(), 0);
    }

    #[tokio::test]
    async fn one_that_runs_is_not_replaced_and_a_late_one_is() {
        let broken = broken(u32::MAX);
        broken.keepers(|keepers| {
            keepers.ensure(&broken);
            keepers.ensure(&broken);
            assert_eq!(keepers.started, 1);
            let late = Instant::now().checked_sub(LATE);
            assert!(keepers.stays(1, late.expect("a clock that is older than a second")));
            keepers.ensure(&broken);
            assert_eq!(keepers.started, 2);
            assert!(!keepers.stays(1, Instant::now()));
            assert!(!keepers.end(1));
            assert!(keepers.end(2));
        });
    }

    #[test]
    fn a_keeper_is_replaced_when_its_runtime_ends() {
        let broken = broken(u32::MAX);
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        };
        let first = runtime();
        first.block_on(async { broken.keepers(|keepers| keepers.ensure(&broken)) });
        drop(first);
        runtime().block_on(async { broken.keepers(|keepers| keepers.ensure(&broken)) });
        assert_eq!(broken.keepers(|keepers| keepers.started), 2);
    }

    #[test]
    fn outside_of_a_runtime_and_on_one_that_is_shut_down_a_keeper_runs_on_a_thread() {
        struct Ensures(Arc<Broken>);
        impl Drop for Ensures {
            fn drop(&mut self) {
                self.0.keepers(|keepers| keepers.ensure(&self.0));
            }
        }
        let outside = broken(3);
        drop(Ensures(outside.clone()));
        let shut_down = broken(3);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let ensures = Ensures(shut_down.clone());
        runtime.unwrap().spawn(async move {
            let _ensures = ensures;
            std::future::pending::<()>().await;
        });
        for broken in [outside, shut_down] {
            while broken.keepers(|keepers| keepers.current.is_some()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(*broken.attempts_left.lock().unwrap(), 0);
        }
    }

    /// Its runtime ends when the work is done that was given to it, whatever else runs there.
    #[test]
    fn a_keeper_that_work_on_the_thread_starts_outlives_that_work() {
        let broken = broken(3);
        let ensures = broken.clone();
        assert!(fallback::run(async move {
            ensures.keepers(|keepers| keepers.ensure(&ensures));
        }));
        let begun = Instant::now();
        while *broken.attempts_left.lock().unwrap() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "it was lost");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
