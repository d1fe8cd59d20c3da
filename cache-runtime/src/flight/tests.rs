use super::*;
use std::cell::Cell;
use std::time::Instant;

const LIMIT: Duration = Duration::from_secs(60);
/// For tests of what happens at the limit.
const SHORT_LIMIT: Duration = Duration::from_millis(20);

/// The evidence of these tests: the version that a caller saw.
type Version = u32;

fn key() -> Key {
    Key::from("user:1")
}

fn lead(flights: &Flights<Version>, evidence: Option<Version>) -> Leader<'_, Version> {
    match flights.board(&key(), evidence) {
        Seat::Lead(leader) => leader,
        Seat::Wait(waiter) => panic!("expected to lead: {waiter:?}"),
    }
}

fn wait(flights: &Flights<Version>, evidence: Option<Version>) -> Waiter<'_, Version> {
    match flights.board(&key(), evidence) {
        Seat::Wait(waiter) => waiter,
        Seat::Lead(leader) => panic!("expected to wait: {leader:?}"),
    }
}

async fn landing(waiter: Waiter<'_, Version>) -> String {
    landing_within(LIMIT, waiter).await
}

async fn landing_within(limit: Duration, waiter: Waiter<'_, Version>) -> String {
    match waiter.wait(limit).await {
        Landing::Value(value) => {
            let value: &dyn std::any::Any = &*value;
            format!("value {}", value.downcast_ref::<u32>().expect("a number"))
        }
        Landing::Lead(leader) => format!("lead with {:?}", leader.evidence()),
        Landing::Failed => "failed".to_owned(),
        Landing::Dissolved => "dissolved".to_owned(),
    }
}

fn is_empty(flights: &Flights<Version>) -> bool {
    flights.shards.iter().all(|shard| lock(shard).is_empty())
}

#[tokio::test]
async fn any_caller_boards_a_flight_whose_load_has_not_begun() {
    let flights = Flights::default();
    let mut leader = lead(&flights, None);
    let (with, without) = (wait(&flights, Some(1)), wait(&flights, None));
    leader.begin(Some(2));
    leader.land(Arc::new(7_u32));
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
    no_evidence.land(Arc::new(7_u32));
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
    leader.land(Arc::new(7_u32));
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

#[tokio::test]
async fn a_failed_load_is_not_shared() {
    let flights = Flights::default();
    let leader = lead(&flights, Some(1));
    let waiter = wait(&flights, Some(1));
    leader.fail();
    assert_eq!(landing(waiter).await, "failed");
    assert!(is_empty(&flights));
}

#[tokio::test]
async fn a_value_that_has_landed_outlasts_the_flight() {
    let flights = Flights::default();
    for end in [Leader::finish, Leader::fail, drop] {
        let leader = lead(&flights, Some(1));
        let waiter = wait(&flights, Some(1));
        leader.land(Arc::new(7_u32));
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
    let start = Instant::now();
    let waiter = wait(&flights, Some(1));
    assert_eq!(landing_within(SHORT_LIMIT, waiter).await, "failed");
    assert!(start.elapsed() >= SHORT_LIMIT);
    assert!(!leader.has_waiters());
}

#[tokio::test]
async fn a_new_flight_waits_for_the_previous_one() {
    let flights = Flights::default();
    let first = lead(&flights, Some(1));
    let mut second = lead(&flights, None);
    let waiter = wait(&flights, None);
    let has_ended = Cell::new(false);
    let end = async {
        tokio::task::yield_now().await;
        has_ended.set(true);
        first.finish();
    };
    let wait_for_end = async {
        second.wait_for_previous(LIMIT).await;
        assert!(has_ended.get());
    };
    tokio::join!(wait_for_end, end);
    second.begin(None);
    second.land(Arc::new(7_u32));
    second.finish();
    assert_eq!(landing(waiter).await, "value 7");

    let _never_ends = lead(&flights, Some(1));
    let start = Instant::now();
    lead(&flights, None).wait_for_previous(SHORT_LIMIT).await;
    assert!(start.elapsed() >= SHORT_LIMIT);
}
