//! Rate limits: exactly so many are allowed, also where many callers count at the same moment.

use std::time::Duration;

use cache_runtime::testing::TestClock;
use cache_runtime::{Cache, CacheBuilder, OnError, Rate};
use cache_tests::{Random, RedisServer, patient, until};
use tokio::task::JoinSet;

use super::on_every_backend;

on_every_backend! {
    of_many_at_once_exactly_so_many_are_allowed
    what_is_left_is_told
    a_cost_above_the_limit_is_never_allowed
    a_lowered_limit_refuses_no_longer_than_it_takes_to_fill
    a_limit_that_fills_up_for_centuries_allows_no_more_than_it_says
    what_is_allowed_again_is_told_and_true
    subjects_and_limits_are_apart
    a_limit_that_is_reset_is_whole
}

const HOUR: Duration = Duration::from_secs(3600);

fn rates(count: u32, window: Duration) -> [Rate; 2] {
    let rate = Rate::new(count, window);
    [rate, rate.sliding()]
}

async fn of_many_at_once_exactly_so_many_are_allowed(builder: CacheBuilder) {
    // Two caches, as two processes have them; without a server, each counts for itself.
    let one = builder.clone().build().unwrap();
    let is_alone = one.health().status.is_working();
    let other = if is_alone {
        one.clone()
    } else {
        builder.build().unwrap()
    };
    for (nth, rate) in rates(50, HOUR).into_iter().enumerate() {
        let name = format!("exact{nth}");
        let mut callers = JoinSet::new();
        for caller in 0..100 {
            let cache = if caller % 2 == 0 { &one } else { &other };
            let limit = cache.rate_limit(&name, rate);
            callers.spawn(async move {
                let mut allowed = 0;
                for _ in 0..3 {
                    allowed += u32::from(limit.check("all").await.unwrap().allowed);
                }
                allowed
            });
        }
        let allowed: u32 = callers.join_all().await.into_iter().sum();
        assert_eq!(allowed, 50, "{rate:?}");
    }
}

async fn what_is_left_is_told(cache: Cache) {
    for (nth, rate) in rates(10, HOUR).into_iter().enumerate() {
        let limit = cache.rate_limit(&format!("left{nth}"), rate);
        for taken in 1..=10 {
            let decision = limit.check("ada").await.unwrap();
            assert!(decision.allowed && decision.retry_after.is_none());
            assert_eq!((decision.limit, decision.remaining), (10, 10 - taken));
            assert!(decision.reset_after <= HOUR);
        }
        let refused = limit.check("ada").await.unwrap();
        assert!(!refused.allowed && refused.remaining == 0 && !refused.is_uncounted);
        let retry = refused.retry_after.unwrap();
        assert!(retry > Duration::ZERO && retry <= refused.reset_after);
        let asked = limit.check_cost("ada", 0).await.unwrap();
        assert!(asked.allowed && asked.remaining == 0);
    }
    let burst = cache.rate_limit("burst", Rate::per_hour(1).burst(5));
    assert_eq!(burst.check_cost("ada", 4).await.unwrap().remaining, 1);
    assert!(!burst.check_cost("ada", 2).await.unwrap().allowed);
    assert!(burst.check("ada").await.unwrap().allowed);
}

async fn a_cost_above_the_limit_is_never_allowed(cache: Cache) {
    for (nth, rate) in rates(10, HOUR).into_iter().enumerate() {
        let limit = cache.rate_limit(&format!("never{nth}"), rate);
        limit.check_cost("ada", 3).await.unwrap();
        let never = limit.check_cost("ada", 11).await.unwrap();
        assert!(!never.allowed && never.retry_after.is_none());
        assert_eq!(never.remaining, 7);
        assert!(limit.check_cost("ada", 7).await.unwrap().allowed);
    }
    let none = cache.rate_limit("none", Rate::per_hour(0));
    assert!(!none.check("ada").await.unwrap().allowed);
}

async fn a_lowered_limit_refuses_no_longer_than_it_takes_to_fill(cache: Cache) {
    for (nth, rates) in [rates(60, HOUR), rates(5, HOUR)].into_iter().enumerate() {
        for rate in rates {
            let name = if rate == rate.sliding() {
                "list"
            } else {
                "bucket"
            };
            let limit = cache.rate_limit(name, rate);
            if nth == 0 {
                assert!(limit.check_cost("ada", 60).await.unwrap().allowed);
            }
            let told = limit.check_cost("ada", 0).await.unwrap();
            assert!(told.allowed && told.remaining == 0, "{told:?}");
            let next = limit.check("ada").await.unwrap();
            assert!(!next.allowed && next.retry_after <= Some(HOUR), "{next:?}");
        }
    }
}

async fn a_limit_that_fills_up_for_centuries_allows_no_more_than_it_says(cache: Cache) {
    let century = HOUR * 24 * 365 * 100;
    for burst in [1, 10_000, u32::MAX] {
        let rate = Rate::new(1, century).burst(burst);
        let limit = cache.rate_limit(&format!("slow{burst}"), rate);
        let first = limit.check("ada").await.unwrap();
        assert!(first.allowed && first.limit == 1, "{first:?}");
        let second = limit.check("ada").await.unwrap();
        assert!(
            !second.allowed && second.retry_after.is_some(),
            "{second:?}"
        );
    }
}

async fn what_is_allowed_again_is_told_and_true(cache: Cache) {
    for (nth, rate) in rates(3, Duration::from_millis(300)).into_iter().enumerate() {
        let limit = cache.rate_limit(&format!("again{nth}"), rate);
        while limit.check("ada").await.unwrap().allowed {}
        let refused = limit.check("ada").await.unwrap();
        if let Some(retry) = refused.retry_after {
            tokio::time::sleep(retry + Duration::from_millis(2)).await;
        }
        assert!(limit.check("ada").await.unwrap().allowed);
        // Then the limit is whole once that has passed.
        let whole = async || {
            let asked = limit.check_cost("ada", 0).await.unwrap();
            asked.remaining == 3 && asked.reset_after.is_zero()
        };
        until(whole).await;
        assert!(limit.check_cost("ada", 3).await.unwrap().allowed);
    }
}

async fn subjects_and_limits_are_apart(cache: Cache) {
    let [one, other] = ["a", "a:b"].map(|name| cache.rate_limit(name, Rate::per_hour(1)));
    assert!(one.check("b:c").await.unwrap().allowed);
    assert!(other.check("c").await.unwrap().allowed);
    assert!(one.check("b").await.unwrap().allowed);
    assert!(!one.check("b:c").await.unwrap().allowed);
    cache.clear().await.unwrap();
    assert!(!one.check("b:c").await.unwrap().allowed);
}

async fn a_limit_that_is_reset_is_whole(cache: Cache) {
    for (nth, rate) in rates(2, HOUR).into_iter().enumerate() {
        let limit = cache.rate_limit(&format!("reset{nth}"), rate);
        limit.check_cost("ada", 2).await.unwrap();
        limit.reset("ada").await.unwrap();
        assert_eq!(limit.check_cost("ada", 0).await.unwrap().remaining, 2);
    }
}

/// A bucket that fills up by one each `each` milliseconds, and a list of what was taken, as one would write
/// them down.
struct Reference {
    each: u64,
    burst: u64,
    whole_at: u64,
    window: u64,
    count: usize,
    taken: Vec<u64>,
}

impl Reference {
    fn bucket(&mut self, now: u64, cost: u64) -> bool {
        let missing = self.whole_at.saturating_sub(now);
        let allowed = missing + cost * self.each <= self.burst * self.each;
        if allowed {
            self.whole_at = now + missing + cost * self.each;
        }
        allowed
    }

    fn list(&mut self, now: u64, cost: u64) -> bool {
        self.taken.retain(|at| now - at < self.window);
        let cost = usize::try_from(cost).unwrap();
        let allowed = self.taken.len() + cost <= self.count;
        if allowed {
            self.taken.extend(std::iter::repeat_n(now, cost));
        }
        allowed
    }
}

/// 10,000 random costs at random moments: no decision differs.
#[tokio::test]
async fn limits_in_process_decide_as_a_reference_does() {
    for is_sliding in [false, true] {
        let clock = TestClock::new();
        let cache = Cache::builder()
            .url("memory:")
            .clock(&clock)
            .build()
            .unwrap();
        let rate = Rate::new(20, Duration::from_secs(2)).burst(7);
        let rate = if is_sliding { rate.sliding() } else { rate };
        let limit = cache.rate_limit("all", rate);
        let mut reference = Reference {
            each: 100,
            burst: 7,
            whole_at: 0,
            window: 2_000,
            count: 20,
            taken: Vec::new(),
        };
        let mut random = Random::new(7);
        let (mut now, mut allowed) = (1_000_000, 0);
        for nth in 0..10_000 {
            let step = random.below(200);
            clock.advance(Duration::from_millis(step));
            now += step;
            let cost = random.below(4);
            let expected = if is_sliding {
                reference.list(now, cost)
            } else {
                reference.bucket(now, cost)
            };
            let decision = limit
                .check_cost("ada", u32::try_from(cost).unwrap())
                .await
                .unwrap();
            assert_eq!(decision.allowed, expected, "{nth}: {decision:?}");
            allowed += u32::from(decision.allowed);
        }
        assert!((1_000..9_900).contains(&allowed), "{allowed}");
    }
}

#[tokio::test]
async fn without_its_server_a_limit_decides_as_it_is_told() {
    let mut server = RedisServer::start();
    let cache = patient(&server.url())
        .op_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let limit = cache.rate_limit("login", Rate::per_hour(2));
    assert!(limit.check("ada").await.unwrap().allowed);
    server.kill();
    assert!(limit.check("ada").await.unwrap_err().is_unavailable());
    let decide = async |on_error| {
        let limit = limit.clone().on_error(on_error);
        limit.check("ada").await.unwrap()
    };
    let (allowed, denied) = (decide(OnError::Allow).await, decide(OnError::Deny).await);
    assert!(allowed.allowed && allowed.is_uncounted);
    assert!(!denied.allowed && denied.is_uncounted);
    let mut here = 0;
    for _ in 0..5 {
        here += u32::from(decide(OnError::Local).await.allowed);
    }
    assert_eq!(here, 2);
}
