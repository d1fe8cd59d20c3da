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

    fn block_on<T>(future: impl Future<Output = T>) -> T {
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
