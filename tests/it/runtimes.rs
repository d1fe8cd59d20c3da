//! What a cache needs of the runtime that it is used on, and by which clock its entries expire.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use cache_runtime::testing::TestClock;
use cache_runtime::{Cache, CacheBuilder, Options, cache_invalidate, cached};
use cache_tests::{LIMIT, RedisServer};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const MINUTE: Duration = Duration::from_secs(60);

fn memory() -> CacheBuilder {
    Cache::builder().url("memory:").jitter(0.0)
}

/// Reads the key, and loads `value` on a miss.
async fn read(cache: &Cache, key: &str, value: u64) -> u64 {
    let load = async move { Ok::<_, ()>(value) };
    let options = Options::new().ttl(MINUTE).tag("rows");
    cache.get_or_load(key, options, load).await.unwrap()
}

/// The output of a future that runs on a thread of its own. Fails if that takes long.
fn on_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, output) = channel();
    thread::spawn(move || sender.send(run()));
    output.recv_timeout(LIMIT).expect("an output")
}

/// Runtimes for which `enable_time` was not called. On them, Tokio's timers panic.
mod without_timers {
    use super::*;

    #[cached(key = "slow:<n>", ttl = 60, skip(cache), cache = cache)]
    async fn slow(cache: &Cache, n: u64) -> u64 {
        let sleep = || thread::sleep(Duration::from_millis(20));
        tokio::task::spawn_blocking(sleep).await.unwrap();
        n
    }

    #[cache_invalidate("row", cache = cache)]
    async fn fail(cache: &Cache) -> Result<(), ()> {
        Err(())
    }

    /// Everything in a call that has a limit or pauses.
    async fn check_serves(cache: Cache) {
        // One loads, and the others wait for it.
        let mut callers = JoinSet::new();
        for _ in 0..20 {
            let cache = cache.clone();
            callers.spawn(async move { slow(&cache, 7).await });
        }
        assert_eq!(callers.join_all().await, [7; 20]);
        assert_eq!(cache.stats().loads, 1);
        assert_eq!(read(&cache, "row", 1).await, 1);
        cache.invalidate(["rows"]).await.unwrap();
        assert_eq!(read(&cache, "row", 2).await, 2);
        assert_eq!(fail(&cache).await, Err(()));
        cache.flush(LIMIT).await.unwrap();
        assert_eq!(read(&cache, "row", 3).await, 3);
        assert_eq!(read(&cache, "row", 4).await, 3);
    }

    fn one_thread() -> Runtime {
        Builder::new_current_thread().enable_io().build().unwrap()
    }

    fn threads() -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).enable_io().build().unwrap()
    }

    #[test]
    fn entries_in_process_are_used() {
        for runtime in [one_thread(), threads()] {
            let cache = memory().build().unwrap();
            on_a_thread(move || runtime.block_on(check_serves(cache)));
        }
    }

    #[test]
    fn entries_on_a_server_are_used() {
        for runtime in [one_thread(), threads()] {
            let server = RedisServer::start();
            let cache = Cache::builder().url(server.url()).build().unwrap();
            on_a_thread(move || runtime.block_on(check_serves(cache)));
        }
    }

    /// Requests have a deadline there too, and the task that reconnects pauses.
    #[test]
    fn calls_go_on_without_a_server_that_is_frozen_and_use_it_again_later() {
        for runtime in [one_thread(), threads()] {
            let server = RedisServer::start();
            let cache = Cache::builder().url(server.url()).build().unwrap();
            on_a_thread(move || {
                runtime.block_on(async {
                    assert_eq!(read(&cache, "row", 1).await, 1);
                    server.freeze();
                    assert_eq!(read(&cache, "row", 2).await, 2);
                    server.thaw();
                    while read(&cache, "row", 2).await != 1 {
                        let pause = || thread::sleep(Duration::from_millis(5));
                        tokio::task::spawn_blocking(pause).await.unwrap();
                    }
                });
            });
        }
    }
}

/// Executors other than Tokio's.
mod without_tokio {
    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Arc::new(Unpark(thread::current())).into();
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            thread::park();
        }
    }

    #[test]
    fn a_load_that_hangs_holds_up_another_caller_only_up_to_a_limit() {
        let limit = Duration::from_millis(50);
        let cache = memory().load_limit(limit).build().unwrap();
        let (begun, has_begun) = channel();
        let hangs = cache.clone();
        thread::spawn(move || {
            let load = async {
                begun.send(()).unwrap();
                pending::<Result<u64, ()>>().await
            };
            let options = Options::new().ttl(MINUTE).tag("rows");
            block_on(hangs.get_or_load("row", options, load))
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        let value = on_a_thread(move || block_on(read(&cache, "row", 2)));
        assert_eq!(value, 2);
    }
}

mod paused_time {
    use super::*;
    use tokio::time::{advance, sleep};

    #[tokio::test(start_paused = true)]
    async fn an_entry_in_process_expires_when_its_ttl_has_passed() {
        let cache = memory().build().unwrap();
        let almost = MINUTE.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(read(&cache, "row", 1).await, 1);
        advance(almost).await;
        assert_eq!(read(&cache, "row", 2).await, 1);
        let left = cache.ttl("row").await.unwrap();
        assert_eq!(left, Some(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(read(&cache, "row", 3).await, 3);
        // It was stored by the paused time too.
        sleep(almost).await;
        assert_eq!(read(&cache, "row", 4).await, 3);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(read(&cache, "row", 5).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jitter_shortens_lives_and_lengthens_none() {
        let cache = Cache::builder().url("memory:").build().unwrap();
        for n in 0..100 {
            read(&cache, &format!("row:{n}"), n).await;
        }
        advance(MINUTE).await;
        for n in 0..100 {
            let value: Option<u64> = cache.get(format!("row:{n}")).await.unwrap();
            assert_eq!(value, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_fence_of_an_update_that_failed_ends_in_process() {
        let cache = memory().build().unwrap();
        check_fence_ends(&cache, async || advance(FENCE).await).await;
    }

    /// By Tokio's timers, paused time would skip to each deadline at once: a runtime that waits for
    /// a server has nothing to do.
    #[tokio::test(start_paused = true)]
    async fn the_deadlines_and_the_entries_of_a_server_follow_the_real_time() {
        let server = RedisServer::start();
        let cache = Cache::builder().url(server.url()).build().unwrap();
        assert_eq!(read(&cache, "row", 1).await, 1);
        advance(MINUTE * 2).await;
        assert_eq!(read(&cache, "row", 2).await, 1);
        cache.invalidate(["rows"]).await.unwrap();
        assert_eq!(read(&cache, "row", 3).await, 3);
        assert_eq!(cache.stats().errors, 0);
        server.freeze();
        assert_eq!(read(&cache, "row", 4).await, 4);
        assert!(cache.stats().errors > 0);
    }
}

mod test_clock {
    use super::*;

    #[tokio::test]
    async fn the_entries_of_caches_that_have_it_expire_by_it() {
        let clock = TestClock::new();
        let with_clock = || memory().clock(&clock).build().unwrap();
        let (first, second, other) = (with_clock(), with_clock(), memory().build().unwrap());
        for cache in [&first, &second, &other] {
            assert_eq!(read(cache, "row", 1).await, 1);
        }
        let handle = clock.clone();
        handle.advance(MINUTE / 2);
        assert_eq!(first.ttl("row").await.unwrap(), Some(MINUTE / 2));
        assert_eq!(read(&first, "row", 2).await, 1);
        handle.advance(MINUTE / 2);
        for (cache, value) in [(&first, 2), (&second, 2), (&other, 1)] {
            assert_eq!(read(cache, "row", 2).await, value);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn paused_time_does_not_move_it() {
        let clock = TestClock::new();
        let cache = memory().clock(&clock).build().unwrap();
        assert_eq!(read(&cache, "row", 1).await, 1);
        tokio::time::advance(MINUTE).await;
        assert_eq!(read(&cache, "row", 2).await, 1);
    }

    #[tokio::test]
    async fn the_fence_of_an_update_that_failed_ends_by_it() {
        let clock = TestClock::new();
        let cache = memory().clock(&clock).build().unwrap();
        check_fence_ends(&cache, async || clock.advance(FENCE)).await;
    }
}

/// Expired values, of a cache in which nothing is inserted and which is not called any more.
mod idle_memory {
    use super::*;
    use cache_tests::{until, until_blocking};
    use serde::{Deserialize, Serialize};
    use std::sync::{Mutex, mpsc};

    const SOON: Duration = Duration::from_millis(10);

    /// A value that is counted while it is in memory.
    #[derive(Clone, Serialize, Deserialize)]
    struct Counted(Arc<()>);

    #[derive(Default)]
    struct Values(Arc<()>);

    impl Values {
        fn in_memory(&self) -> usize {
            Arc::strong_count(&self.0) - 1
        }

        /// Stores values, of which each is alone in its entry.
        async fn store(&self, cache: &Cache, count: usize, ttl: Duration) {
            for n in 0..count {
                let options = Options::new().ttl(ttl);
                let value = Counted(self.0.clone());
                cache
                    .set(format!("{ttl:?}:{n}"), &value, options)
                    .await
                    .unwrap();
            }
        }
    }

    #[tokio::test]
    async fn expired_values_are_dropped_on_a_runtime() {
        let (cache, values) = (memory().build().unwrap(), Values::default());
        for _ in 0..2 {
            values.store(&cache, 2_000, SOON).await;
            until(async || values.in_memory() == 0).await;
        }
    }

    #[test]
    fn expired_values_are_dropped_outside_of_a_runtime() {
        let (cache, values) = (memory().build().unwrap(), Values::default());
        without_tokio::block_on(values.store(&cache, 500, MINUTE));
        without_tokio::block_on(values.store(&cache, 2_000, SOON));
        until_blocking(|| values.in_memory() == 500);
        // They are no sooner dropped than their cache.
        drop(cache);
        assert_eq!(values.in_memory(), 0);
    }

    #[test]
    fn entries_of_a_test_clock_are_dropped_by_no_other_clock() {
        let values = Values::default();
        let cache = memory().clock(&TestClock::new()).build().unwrap();
        without_tokio::block_on(values.store(&cache, 10, SOON));
        let other = memory().build().unwrap();
        without_tokio::block_on(values.store(&other, 1, SOON * 2));
        until_blocking(|| values.in_memory() == 10);
    }

    fn is_sweeper() -> bool {
        thread::current().name() == Some("cache-sweeper")
    }

    /// Panics when the sweeper drops it.
    #[derive(Clone, Serialize, Deserialize)]
    struct Panics(Counted);

    impl Drop for Panics {
        fn drop(&mut self) {
            assert!(!is_sweeper(), "a value that panics when it is dropped");
        }
    }

    #[tokio::test]
    async fn a_value_that_panics_when_it_is_dropped_keeps_no_other_in_memory() {
        let (cache, values) = (memory().build().unwrap(), Values::default());
        for n in 0..5 {
            let value = Panics(Counted(values.0.clone()));
            let options = Options::new().ttl(SOON);
            cache
                .set(format!("panics:{n}"), &value, options)
                .await
                .unwrap();
        }
        values.store(&cache, 100, SOON).await;
        until(async || values.in_memory() == 0).await;
    }

    /// When the sweeper drops it, says so, and waits until the test goes on.
    #[derive(Clone, Serialize, Deserialize)]
    struct Blocks {
        #[serde(skip)]
        ends: Option<Arc<Ends>>,
    }

    struct Ends {
        is_dropped: mpsc::Sender<()>,
        go_on: Mutex<mpsc::Receiver<()>>,
    }

    impl Drop for Blocks {
        fn drop(&mut self) {
            if let Some(ends) = &self.ends
                && is_sweeper()
            {
                let _ = ends.is_dropped.send(());
                let _ = ends.go_on.lock().unwrap().recv();
            }
        }
    }

    #[tokio::test]
    async fn a_cache_that_is_dropped_drops_its_values_though_the_sweeper_is_at_work() {
        let (cache, values) = (memory().build().unwrap(), Values::default());
        values.store(&cache, 1_000, MINUTE).await;
        let (is_dropped, blocked) = channel();
        let (unblock, go_on) = channel();
        let go_on = Mutex::new(go_on);
        let ends = Some(Arc::new(Ends { is_dropped, go_on }));
        let value = Blocks { ends };
        let options = Options::new().ttl(SOON);
        cache.set("blocks", &value, options).await.unwrap();
        blocked.recv_timeout(LIMIT).unwrap();
        drop(cache);
        assert_eq!(values.in_memory(), 0);
        drop(unblock);
    }
}

const FENCE: Duration = Duration::from_secs(30);

#[cache_invalidate("row", fence = "30s", cache = cache)]
async fn update_in_vain(cache: &Cache) -> Result<(), ()> {
    Err(())
}

async fn check_fence_ends(cache: &Cache, pass_fence: impl AsyncFn()) {
    assert_eq!(update_in_vain(cache).await, Err(()));
    // Behind the fence, nothing is stored.
    assert_eq!(read(cache, "row", 1).await, 1);
    assert_eq!(read(cache, "row", 2).await, 2);
    pass_fence().await;
    assert_eq!(read(cache, "row", 3).await, 3);
    assert_eq!(read(cache, "row", 4).await, 3);
}
