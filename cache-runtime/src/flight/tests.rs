use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::state::{LandedValue, PATIENCE};
use super::*;
use crate::clock;

/// Longer than any of these tests takes.
const LONG: Duration = Duration::from_secs(60);

const PATIENCE_OF_WAITERS: Patience = Patience {
    limit: LONG,
    hedge: LONG,
};

/// The evidence of these tests: the version that a caller saw.
type Version = u32;

fn key() -> Key {
    Key::from("user:1")
}

fn lead(flights: &Flights<Version>, evidence: Option<Version>) -> Leader<Version> {
    match flights.board(&key(), evidence) {
        Seat::Lead(leader) => leader,
        Seat::Wait(waiter) => panic!("expected to lead: {waiter:?}"),
    }
}

fn wait(flights: &Flights<Version>, evidence: Option<Version>) -> Waiter<Version> {
    match flights.board(&key(), evidence) {
        Seat::Wait(waiter) => waiter,
        Seat::Lead(leader) => panic!("expected to wait: {leader:?}"),
    }
}

async fn landing(waiter: Waiter<Version>) -> String {
    match waiter.wait(PATIENCE_OF_WAITERS).await {
        Landing::Value(value) => {
            let value: &dyn std::any::Any = &*value;
            format!("value {}", value.downcast_ref::<u32>().expect("a number"))
        }
        Landing::Lead(leader) => format!("lead with {:?}", leader.evidence()),
        Landing::Error(_) => "error".to_owned(),
        Landing::Alone => "alone".to_owned(),
        Landing::Dissolved { .. } => "dissolved".to_owned(),
    }
}

fn is_empty(flights: &Flights<Version>) -> bool {
    flights.0.shards.iter().all(|shard| lock(shard).is_empty())
}

#[tokio::test]
async fn any_caller_boards_a_flight_whose_load_has_not_begun() {
    let flights = Flights::default();
    let mut leader = lead(&flights, None);
    let (with, without) = (wait(&flights, Some(1)), wait(&flights, None));
    leader.begin(Some(2));
    leader.land(Arc::new(7_u32), true);
    leader.finish();
    assert_eq!(landing(with).await, "value 7");
    assert_eq!(landing(without).await, "value 7");
    assert!(is_empty(&flights));
}

#[test]
fn a_flight_whose_load_has_begun_is_boarded_with_its_evidence_only() {
    let flights = Flights::default();
    let begun_at_once = lead(&flights, Some(1));
    wait(&flights, Some(1));
    // Each of these starts a flight of its own, which takes the place of the one before.
    let other_evidence = lead(&flights, Some(2));
    let mut no_evidence = lead(&flights, None);
    no_evidence.begin(Some(3));
    wait(&flights, Some(3));
    no_evidence.land(Arc::new(7_u32), true);
    wait(&flights, Some(3));
    let after_landing = lead(&flights, Some(4));
    let mut without = lead(&flights, None);
    without.begin(None);
    // Without evidence, a caller does not board a load that has begun.
    let again = lead(&flights, None);
    for leader in [begun_at_once, other_evidence, no_evidence, after_landing] {
        leader.finish();
    }
    without.finish();
    again.finish();
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_value_with_other_tags_is_for_those_that_boarded_before_its_load() {
    let flights = Flights::default();
    let mut leader = lead(&flights, None);
    let early = wait(&flights, Some(1));
    leader.begin(Some(1));
    let late = [(); 2].map(|()| wait(&flights, Some(1)));
    leader.land(Arc::new(7_u32), false);
    // Nor does any other caller board it.
    let next = lead(&flights, Some(1));
    leader.finish();
    assert_eq!(landing(early).await, "value 7");
    for late in late {
        assert_eq!(landing(late).await, "dissolved");
    }
    next.finish();
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn an_attempt_of_a_late_caller_does_not_end_with_a_value_that_has_other_tags() {
    for is_covered in [true, false] {
        let flights = Flights::default();
        let first = lead(&flights, Some(1));
        let waiter = wait(&flights, Some(1));
        drop(first);
        let Landing::Lead(mut late) = waiter.wait(PATIENCE_OF_WAITERS).await else {
            panic!("expected to lead");
        };
        let share = |value: &SharedValue| {
            let value: &dyn std::any::Any = &**value;
            value.downcast_ref::<u32>().copied()
        };
        let (ends, end) = tokio::sync::oneshot::channel();
        let mut load = std::pin::pin!(async { end.await.unwrap_or_default() });
        let mut loading = std::pin::pin!(late.load(load.as_mut(), share));
        let poll = |context: &mut Context<'_>| {
            assert!(loading.as_mut().poll(context).is_pending());
            Poll::Ready(())
        };
        std::future::poll_fn(poll).await;
        lock(&flights.lock(&key()).map[&key()].state).phase = Phase::Landed(LandedValue {
            value: Arc::new(7_u32),
            is_covered,
        });
        ends.send(8_u32).unwrap();
        let expected = if is_covered {
            LoadEnd::Shared(7)
        } else {
            LoadEnd::Loaded(8)
        };
        assert_eq!(loading.await, expected);
    }
}

#[tokio::test]
async fn a_waiter_takes_over_from_a_dropped_leader_with_its_evidence() {
    let flights = Flights::default();
    let leader = lead(&flights, Some(1));
    let waiter = wait(&flights, Some(1));
    drop(leader);
    assert_eq!(landing(waiter).await, "lead with Some(1)");
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_caller_with_the_evidence_takes_over_from_a_dropped_leader() {
    let flights = Flights::default();
    let leader = lead(&flights, Some(1));
    let waiter = wait(&flights, Some(1));
    drop(leader);
    let leader = lead(&flights, Some(1));
    leader.land(Arc::new(7_u32), true);
    leader.finish();
    assert_eq!(landing(waiter).await, "value 7");
}

#[tokio::test]
async fn a_leader_that_is_dropped_before_its_load_dissolves_the_flight() {
    let flights = Flights::default();
    let leader = lead(&flights, None);
    let waiter = wait(&flights, None);
    drop(leader);
    assert_eq!(landing(waiter).await, "dissolved");
    assert!(is_empty(&flights));
}

#[test]
fn a_flight_without_callers_is_removed() {
    let flights = Flights::default();
    drop(lead(&flights, Some(1)));
    assert!(is_empty(&flights));
    let leader = lead(&flights, Some(1));
    let waiter = wait(&flights, Some(1));
    drop(leader);
    drop(waiter);
    assert!(is_empty(&flights));
}

/// Ends the attempt with an error that cannot be shared.
fn fail(leader: Leader<Version>) {
    leader.fail(None);
}

/// The waiters that begin an attempt now; the others go on waiting.
async fn leaders(
    waiters: &mut Vec<Pin<Box<dyn Future<Output = Landing<Version>>>>>,
) -> Vec<Leader<Version>> {
    let mut leaders = Vec::new();
    let mut waiting = Vec::new();
    for mut waiter in waiters.drain(..) {
        match poll_once(waiter.as_mut()).await {
            Poll::Ready(Landing::Lead(leader)) => leaders.push(leader),
            Poll::Ready(other) => panic!("neither waits nor leads: {other:?}"),
            Poll::Pending => waiting.push(waiter),
        }
    }
    *waiters = waiting;
    leaders
}

async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

fn boxed(waiter: Waiter<Version>) -> Pin<Box<dyn Future<Output = Landing<Version>>>> {
    Box::pin(waiter.wait(PATIENCE_OF_WAITERS))
}

#[tokio::test]
async fn waiters_of_a_load_that_fails_load_in_waves() {
    let flights = Flights::default();
    let first = lead(&flights, Some(1));
    let mut waiters: Vec<_> = (0..1000).map(|_| boxed(wait(&flights, Some(1)))).collect();
    assert!(leaders(&mut waiters).await.is_empty());
    fail(first);
    for wave in [8, 64] {
        let attempts = leaders(&mut waiters).await;
        assert_eq!(attempts.len(), wave);
        // A caller that comes meanwhile waits with the others.
        waiters.push(boxed(wait(&flights, Some(1))));
        assert!(leaders(&mut waiters).await.is_empty());
        attempts.into_iter().for_each(fail);
    }
    assert_eq!(waiters.len(), 1000 - 8 - 64 + 2);
    for mut waiter in waiters {
        let landing = poll_once(waiter.as_mut()).await;
        assert!(
            matches!(landing, Poll::Ready(Landing::Alone)),
            "{landing:?}"
        );
    }
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn the_first_success_of_a_wave_serves_all_that_are_left() {
    let flights = Flights::default();
    let first = lead(&flights, Some(1));
    let mut waiters: Vec<_> = (0..100).map(|_| boxed(wait(&flights, Some(1)))).collect();
    assert!(leaders(&mut waiters).await.is_empty());
    fail(first);
    let mut attempts = leaders(&mut waiters).await.into_iter();
    fail(attempts.next().unwrap());
    let mut second = attempts.next().unwrap();
    assert_eq!(second.claim(), Claim::Shared);
    second.land(Arc::new(7_u32), true);
    second.finish();
    for mut late in attempts {
        assert_eq!(late.claim(), Claim::Superseded);
    }
    for mut waiter in waiters {
        let landing = poll_once(waiter.as_mut()).await;
        assert!(
            matches!(landing, Poll::Ready(Landing::Value(_))),
            "{landing:?}"
        );
    }
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn an_error_that_can_be_shared_serves_all_waiters() {
    let flights = Flights::default();
    let leader = lead(&flights, Some(1));
    let waiters = [wait(&flights, Some(1)), wait(&flights, Some(1))];
    leader.fail(Some(Arc::new("no such table")));
    for waiter in waiters {
        assert_eq!(landing(waiter).await, "error");
    }
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_wave_loses_the_waiters_that_leave() {
    let flights = Flights::default();
    let first = lead(&flights, Some(1));
    let waiters = [wait(&flights, Some(1)), wait(&flights, Some(1))];
    fail(first);
    drop(waiters);
    assert!(is_empty(&flights));
}

/// A leader whose work was woken, and is not polled.
async fn set_aside(flights: &Flights<Version>, evidence: Option<Version>) -> Leader<Version> {
    let mut leader = lead(flights, evidence);
    let woken = Notify::new();
    {
        let mut work = pin!(woken.notified());
        let mut follow = pin!(leader.follow(work.as_mut()));
        assert!(poll_once(follow.as_mut()).await.is_pending());
        woken.notify_waiters();
    }
    leader
}

#[tokio::test]
async fn a_waiter_takes_over_from_a_leader_that_is_set_aside() {
    let flights = Flights::default();
    let mut old = set_aside(&flights, Some(1)).await;
    let Landing::Lead(mut new) = wait(&flights, Some(1)).wait(PATIENCE_OF_WAITERS).await else {
        panic!("expected to lead");
    };
    assert_eq!(new.evidence().as_deref(), Some(&1));
    let waiter = wait(&flights, Some(1));
    assert_eq!(new.claim(), Claim::Shared);
    new.land(Arc::new(7_u32), true);
    assert_eq!(old.claim(), Claim::Superseded);
    drop(old);
    new.finish();
    assert_eq!(landing(waiter).await, "value 7");
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_leader_that_was_set_aside_and_ends_first_serves_all() {
    let flights = Flights::default();
    let mut old = set_aside(&flights, Some(1)).await;
    let Landing::Lead(mut new) = wait(&flights, Some(1)).wait(PATIENCE_OF_WAITERS).await else {
        panic!("expected to lead");
    };
    assert_eq!(old.claim(), Claim::Shared);
    old.land(Arc::new(7_u32), true);
    old.finish();
    // The other attempt ends with that value, though its own load does not.
    let mut work = pin!(async {
        tokio::task::yield_now().await;
        std::future::pending::<u32>().await
    });
    let number = |value: &SharedValue| {
        let value: &dyn std::any::Any = &**value;
        value.downcast_ref::<u32>().copied()
    };
    assert_eq!(new.load(work.as_mut(), number).await, LoadEnd::Shared(7));
    assert_eq!(new.claim(), Claim::Superseded);
    drop(new);
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_flight_whose_leader_is_set_aside_while_boarding_is_dissolved() {
    let flights = Flights::default();
    let old = set_aside(&flights, None).await;
    assert_eq!(landing(wait(&flights, None)).await, "dissolved");
    let _new = lead(&flights, None);
    drop(old);
}

#[tokio::test]
async fn a_waiter_repeats_a_load_that_is_not_woken() {
    let flights = Flights::default();
    let mut hung = lead(&flights, Some(1));
    {
        let mut work = pin!(std::future::pending::<()>());
        let mut follow = pin!(hung.follow(work.as_mut()));
        assert!(poll_once(follow.as_mut()).await.is_pending());
    }
    let patience = Patience {
        limit: LONG,
        hedge: Duration::from_millis(10),
    };
    let second = wait(&flights, Some(1)).wait(patience).await;
    assert!(matches!(second, Landing::Lead(_)), "{second:?}");
    // Each hedge adds one load at most.
    assert_eq!(lock(&hung.flight.state).attempts, 2);
}

#[tokio::test]
async fn an_attempt_that_ends_without_a_value_leaves_the_flight_to_the_others() {
    let flights = Flights::default();
    let old = set_aside(&flights, Some(1)).await;
    let Landing::Lead(mut new) = wait(&flights, Some(1)).wait(PATIENCE_OF_WAITERS).await else {
        panic!("expected to lead");
    };
    let waiter = wait(&flights, Some(1));
    fail(old);
    assert_eq!(new.claim(), Claim::Shared);
    // It has claimed the flight, and is dropped before it lands.
    drop(new);
    assert_eq!(landing(waiter).await, "dissolved");
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_call_inside_of_its_own_load_does_not_wait() {
    let flights = Flights::default();
    let mut leader = lead(&flights, Some(1));
    let mut load = pin!(async { landing(wait(&flights, Some(1))).await });
    let ended = leader.load(load.as_mut(), |_| None).await;
    assert_eq!(ended, LoadEnd::Loaded("alone".to_owned()));
}

#[tokio::test]
async fn a_wait_that_would_close_a_circle_does_not_begin() {
    let (one, other) = (Flights::default(), Flights::default());
    let mut of_one = lead(&one, Some(1));
    let mut of_other = lead(&other, Some(1));
    let mut waits_for_other = pin!(async { landing(wait(&other, Some(1))).await });
    let mut load = pin!(of_one.load(waits_for_other.as_mut(), |_| None));
    assert!(poll_once(load.as_mut()).await.is_pending());
    let mut waits_for_one = pin!(async { landing(wait(&one, Some(1))).await });
    let ended = of_other.load(waits_for_one.as_mut(), |_| None).await;
    assert_eq!(ended, LoadEnd::Loaded("alone".to_owned()));
    assert_eq!(of_other.claim(), Claim::Shared);
    of_other.land(Arc::new(7_u32), true);
    of_other.finish();
    assert_eq!(load.await, LoadEnd::Loaded("value 7".to_owned()));
    // No wait is left behind.
    let mut waits_for_one = pin!(async { wait(&one, Some(1)).wait(PATIENCE_OF_WAITERS).await });
    assert!(poll_once(waits_for_one.as_mut()).await.is_pending());
}

#[tokio::test]
async fn a_value_that_has_landed_outlasts_the_flight() {
    let flights = Flights::default();
    for end in [Leader::finish, fail, drop] {
        let mut leader = lead(&flights, Some(1));
        let waiter = wait(&flights, Some(1));
        assert_eq!(leader.claim(), Claim::Shared);
        leader.land(Arc::new(7_u32), true);
        end(leader);
        assert_eq!(landing(waiter).await, "value 7");
        assert!(is_empty(&flights));
    }
}

#[test]
fn a_forgotten_flight_does_not_store() {
    let flights = Flights::default();
    assert_eq!(
        lead(&flights, Some(1)).finish_storing(|| "stored"),
        Some("stored")
    );
    let leader = lead(&flights, Some(1));
    flights.lock(&key()).forget(&key());
    assert_eq!(leader.finish_storing(|| "stored"), None);
    let leader = lead(&flights, Some(1));
    flights.forget_all(|| ());
    assert_eq!(leader.finish_storing(|| "stored"), None);
    // Ending it does not remove the flight that took its place.
    let (first, second) = (lead(&flights, Some(1)), lead(&flights, Some(2)));
    assert_eq!(first.finish_storing(|| "stored"), None);
    assert_eq!(second.finish_storing(|| "stored"), Some("stored"));
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn waiting_ends_at_its_limit() {
    let flights = Flights::default();
    let leader = lead(&flights, Some(1));
    let patience = Patience {
        limit: Duration::from_millis(20),
        hedge: LONG,
    };
    let landing = wait(&flights, Some(1)).wait(patience).await;
    assert!(matches!(landing, Landing::Alone), "{landing:?}");
    assert_eq!(lock(&leader.flight.state).waiters, 0);
}

#[tokio::test]
async fn a_new_flight_waits_for_the_previous_one() {
    let flights = Flights::default();
    let first = lead(&flights, Some(1));
    let mut second = lead(&flights, None);
    let waiter = wait(&flights, None);
    {
        let mut previous = pin!(second.wait_for_previous(LONG));
        assert!(poll_once(previous.as_mut()).await.is_pending());
        first.finish();
        previous.await;
    }
    second.begin(None);
    second.land(Arc::new(7_u32), true);
    second.finish();
    assert_eq!(landing(waiter).await, "value 7");

    let _never_ends = lead(&flights, Some(1));
    let mut next = lead(&flights, None);
    next.wait_for_previous(Duration::from_millis(20)).await;
}

/// A caller whose look is older than the load under way starts a flight in its place, and finds that
/// the slot is taken.
#[tokio::test]
async fn a_flight_that_ends_before_its_load_gives_way_to_the_one_that_it_replaced() {
    let flights = Flights::default();
    let mut loading = lead(&flights, None);
    loading.begin(Some(1));
    lead(&flights, None).finish();
    let waiter = wait(&flights, Some(1));
    // Also where that one was dissolved, and a third took its place.
    let second = set_aside(&flights, None).await;
    assert_eq!(landing(wait(&flights, None)).await, "dissolved");
    let third = lead(&flights, None);
    drop(second);
    third.finish();
    let other = wait(&flights, Some(1));
    assert_eq!(loading.claim(), Claim::Shared);
    loading.land(Arc::new(7_u32), true);
    lead(&flights, None).finish();
    assert_eq!(landing(wait(&flights, Some(1))).await, "value 7");
    loading.finish();
    assert_eq!(landing(waiter).await, "value 7");
    assert_eq!(landing(other).await, "value 7");
    assert!(is_empty(&flights));
    // A flight that is over does not come back.
    let mut loading = lead(&flights, None);
    loading.begin(Some(1));
    let second = lead(&flights, None);
    loading.finish();
    second.finish();
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn an_attempt_that_does_not_move_holds_back_no_error() {
    let flights = Flights::default();
    let old = set_aside(&flights, Some(1)).await;
    let mut waiters: Vec<_> = (0..100).map(|_| boxed(wait(&flights, Some(1)))).collect();
    assert!(leaders(&mut waiters).await.is_empty());
    let first = loop {
        if let Some(leader) = leaders(&mut waiters).await.pop() {
            break leader;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    fail(first);
    let attempts = leaders(&mut waiters).await;
    assert_eq!(attempts.len(), 8);
    // The old attempt ends without a value, and the new ones go on.
    drop(old);
    assert!(leaders(&mut waiters).await.is_empty());
    for attempt in attempts {
        attempt.fail(Some(Arc::new("an error that can be shared")));
    }
    for mut waiter in waiters {
        let landing = poll_once(waiter.as_mut()).await;
        assert!(
            matches!(landing, Poll::Ready(Landing::Error(_))),
            "{landing:?}"
        );
    }
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_takeover_that_is_not_needed_any_more_leaves_nothing_behind() {
    let flights = Flights::default();
    let mut leader = set_aside(&flights, Some(1)).await;
    let mut waiters = vec![boxed(wait(&flights, Some(1)))];
    assert!(leaders(&mut waiters).await.is_empty());
    lock(&leader.flight.state).take_over();
    assert_eq!(leader.claim(), Claim::Shared);
    leader.land(Arc::new(7_u32), true);
    drop(leader);
    assert!(is_empty(&flights));
}

/// A waiter that has taken over, by the check's word.
async fn taken_over(flights: &Flights<Version>, from: &Leader<Version>) -> Leader<Version> {
    let waiter = wait(flights, Some(1));
    lock(&from.flight.state).take_over();
    match waiter.wait(PATIENCE_OF_WAITERS).await {
        Landing::Lead(leader) => leader,
        other => panic!("expected to lead: {other:?}"),
    }
}

#[tokio::test]
async fn a_flight_that_was_taken_over_is_removed_with_its_last_caller() {
    let flights = Flights::default();
    let old = set_aside(&flights, Some(1)).await;
    let new = taken_over(&flights, &old).await;
    drop(new);
    drop(old);
    assert!(is_empty(&flights));
    // A takeover is wanted, and the waiter leaves before it begins.
    let old = lead(&flights, Some(1));
    let waiter = wait(&flights, Some(1));
    lock(&old.flight.state).take_over();
    drop(waiter);
    fail(old);
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn an_attempt_that_moves_beside_one_that_blocks_its_thread_is_not_taken_for_hung() {
    let flights = Flights::default();
    // It was never pending: its first poll has not ended.
    let blocked = lead(&flights, Some(1));
    let mut moving = taken_over(&flights, &blocked).await;
    let woken = Notify::new();
    let mut work = pin!(woken.notified());
    {
        let mut follow = pin!(moving.follow(work.as_mut()));
        assert!(poll_once(follow.as_mut()).await.is_pending());
    }
    let mut state = lock(&blocked.flight.state);
    state.seen_at = 1;
    state.hedge = Duration::from_secs(1);
    assert!(!state.is_hung(clock::real()));
}

#[test]
fn a_wake_during_a_poll_counts_from_the_end_of_the_poll() {
    let progress = Arc::new(Progress::new());
    let context = Context::from_waker(Waker::noop());
    let _: Poll<()> = progress.poll(&context, |context| {
        context.waker().wake_by_ref();
        std::thread::sleep(PATIENCE + Duration::from_millis(30));
        Poll::Pending
    });
    // The clock shows the system's last tick.
    let now = clock::real();
    assert!(!progress.is_set_aside(now, PATIENCE));
    let later = now + clock::millis(PATIENCE);
    assert!(progress.is_set_aside(later, PATIENCE));
}

#[test]
fn a_watch_that_ends_without_an_entry_gives_way_to_the_load_that_it_replaced() {
    let flights = Flights::default();
    let mut loading = lead(&flights, None);
    loading.begin(Some(2));
    let Seat::Lead(watch) = flights.board_watch(&key(), 1) else {
        panic!("expected to watch");
    };
    assert!(watch.is_watch() && !loading.is_watch());
    watch.finish();
    drop(wait(&flights, Some(2)));
    // A watch that becomes a load stays.
    let Seat::Lead(mut watch) = flights.board_watch(&key(), 1) else {
        panic!("expected to watch");
    };
    watch.end_watch();
    watch.finish();
    loading.finish();
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn an_attempt_that_fails_takes_no_value_from_the_waiters() {
    let flights = Flights::default();
    let mut old = set_aside(&flights, Some(1)).await;
    let new = taken_over(&flights, &old).await;
    let waiter = wait(&flights, Some(1));
    assert_eq!(old.claim(), Claim::Shared);
    new.fail(Some(Arc::new("an error")));
    old.land(Arc::new(7_u32), true);
    old.finish();
    assert_eq!(landing(waiter).await, "value 7");
    assert!(is_empty(&flights));
}
