//! Batched reads, from a source that answers when the test says so.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet, yield_now};

use super::line::{Line, MAX_CALLERS, MAX_SINGLE_READS};
use super::room::Room;
use super::sizes::{LARGE, Size, Sizes};
use super::{BatchedReads, SlotRead, Source, Values};
use crate::driver::{Elsewhere, ReadKeys};
use crate::error::Error;
use crate::tier::shared::entry::Version;

/// A source that answers when the test says so, with a clock of its own.
struct Fake {
    sent: mpsc::UnboundedSender<Sent>,
    begin: Instant,
    clock: Mutex<Clock>,
    /// Counts the callers that have begun, and the commands that were sent.
    moments: AtomicU64,
}

/// A clock that the test sets. Each alarm wakes only the read whose deadline has passed.
#[derive(Default)]
struct Clock {
    /// Milliseconds since the test began.
    now: u64,
    alarms: Vec<(u64, oneshot::Sender<()>)>,
}

/// A command that was sent.
struct Sent {
    keys: Vec<String>,
    until: u64,
    moment: u64,
    reply: oneshot::Sender<Result<Vec<Option<Bytes>>, Error>>,
}

/// A few of these fill the first room.
const MEDIUM: usize = 20 * 1024;

/// More than the most room.
const HUGE: usize = 3 << 20;

/// Milliseconds from when a caller begins to its deadline.
const LIMIT: u64 = 100;

impl Source for Fake {
    type Connection = ();

    async fn read(self: &Arc<Self>, keys: &ReadKeys, until: Instant) -> Values<()> {
        let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
        let keys: Vec<String> = keys.iter().map(text).collect();
        let (reply, answer) = oneshot::channel();
        let _ = self.sent.send(Sent {
            keys,
            until: self.millis(until),
            moment: self.moment(),
            reply,
        });
        let answer = async { answer.await.unwrap_or_else(|_| Err(error("no answer"))) };
        let values = self.within(until, answer).await?;
        Ok((Arc::new(()), values.into_iter().collect()))
    }

    fn deadline(&self) -> Instant {
        self.begin + Duration::from_millis(self.clock.lock().unwrap().now + LIMIT)
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(LIMIT)
    }

    async fn within<T: Send>(
        &self,
        until: Instant,
        future: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let late = self.alarm(self.millis(until));
        tokio::select! {
            biased;
            result = future => result,
            _ = late => Err(error("too late")),
        }
    }

    fn elsewhere(&self, elsewhere: &Elsewhere) -> Error {
        elsewhere.error("fake")
    }

    fn runtime_shut_down(&self) -> Error {
        error("runtime shut down")
    }
}

impl Fake {
    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::Relaxed)
    }

    fn millis(&self, moment: Instant) -> u64 {
        u64::try_from((moment - self.begin).as_millis()).unwrap()
    }

    fn alarm(&self, at: u64) -> oneshot::Receiver<()> {
        let (alarm, rings) = oneshot::channel();
        let mut clock = self.clock.lock().unwrap();
        if clock.now < at {
            clock.alarms.push((at, alarm));
        }
        rings
    }

    fn set_clock(&self, now: u64) {
        let mut clock = self.clock.lock().unwrap();
        clock.now = now;
        let due: Vec<_> = clock.alarms.extract_if(.., |(at, _)| *at <= now).collect();
        drop(clock);
        for (_, alarm) in due {
            let _ = alarm.send(());
        }
    }
}

fn error(text: &str) -> Error {
    Error::config(text)
}

struct Test {
    reads: Arc<BatchedReads<Fake>>,
    sent: mpsc::UnboundedReceiver<Sent>,
}

type Outcome = Result<(Option<String>, Vec<Version>), String>;

/// What a caller got, as text.
fn outcome(found: Result<SlotRead<()>, Error>) -> Outcome {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let found = found.map_err(|error| error.to_string())?;
    Ok((found.slot.map(text), found.versions.to_vec()))
}

/// What a caller gets by [`Sent::answer`].
#[expect(clippy::unnecessary_wraps, reason = "to compare it with an outcome")]
fn found(slot: &str, versions: &[u64]) -> Outcome {
    let versions = versions.iter().copied().map(Version::Number).collect();
    Ok((Some(slot.to_owned()), versions))
}

/// The keys of one read, separated by spaces: a slot, then versions.
fn read_keys(keys: &str) -> ReadKeys {
    let keys = keys.split(' ').map(|key| [key, "", ""]);
    ReadKeys::new(keys)
}

impl Sent {
    fn text(&self) -> String {
        self.keys.join(" ")
    }

    /// Answers: a version `v7` is 7, a slot holds its own key, and some hold much more.
    fn answer(self) {
        let value = |key: &String| {
            let text = match key.strip_prefix('v') {
                Some(number) => number.to_owned(),
                None if key.starts_with("medium") => "x".repeat(MEDIUM),
                None if key.starts_with("large") => "x".repeat(100 * 1024),
                None if key.starts_with("huge") => "x".repeat(HUGE),
                None => key.clone(),
            };
            Some(Bytes::from(text))
        };
        let values = self.keys.iter().map(value).collect();
        self.answer_with(values);
    }

    /// Answers that each value is the moment at which it was read, the earliest possible one.
    fn answer_moment(self) {
        let value = Some(Bytes::from(self.moment.to_string()));
        let values = vec![value; self.keys.len()];
        self.answer_with(values);
    }

    fn answer_with(self, values: Vec<Option<Bytes>>) {
        let _ = self.reply.send(Ok(values));
    }

    fn fail(self, text: &str) {
        let _ = self.reply.send(Err(error(text)));
    }
}

impl Test {
    /// With two single reads at a time.
    fn new() -> Self {
        Self::with_max_single_reads(2)
    }

    fn with_max_single_reads(max: usize) -> Self {
        let (sender, sent) = mpsc::unbounded_channel();
        let source = Arc::new(Fake {
            sent: sender,
            begin: Instant::now(),
            clock: Mutex::default(),
            moments: AtomicU64::new(0),
        });
        let reads = BatchedReads::with_max_single_reads(source, max);
        reads.0.lines.sizes.expect_small();
        Self {
            reads: Arc::new(reads),
            sent,
        }
    }

    /// A caller that has begun when this returns.
    async fn caller(&self, keys: &str) -> JoinHandle<Outcome> {
        let (reads, keys) = (self.reads.clone(), read_keys(keys));
        let caller = tokio::spawn(async move { outcome(reads.read(keys).await) });
        yield_now().await;
        caller
    }

    /// A caller that was polled once, and is then set aside.
    fn set_aside(&self, keys: &str) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let (reads, keys) = (self.reads.clone(), read_keys(keys));
        let mut caller = Box::pin(async move { outcome(reads.read(keys).await) });
        assert!(poll(caller.as_mut()).is_pending());
        caller
    }

    async fn callers(&self, all: &[&str]) -> Vec<JoinHandle<Outcome>> {
        let mut callers = Vec::new();
        for keys in all {
            callers.push(self.caller(keys).await);
        }
        callers
    }

    /// The command that was, or will be, sent next.
    async fn next(&mut self) -> Sent {
        self.sent.recv().await.expect("the source is there")
    }

    /// No further command is sent, once all tasks that can run have run.
    async fn expect_silence(&mut self) {
        for _ in 0..20 {
            yield_now().await;
        }
        if let Ok(sent) = self.sent.try_recv() {
            panic!("sent: {}", sent.text());
        }
    }

    fn set_clock(&self, now: u64) {
        self.reads.0.source.set_clock(now);
    }

    fn waiting(&self) -> usize {
        let lines = self.reads.0.lines.lock();
        lines.iter().map(|line| line.waiting.len()).sum()
    }

    fn expect_small(&self) {
        self.reads.0.lines.sizes.expect_small();
    }

    /// Reads slots, one by one, so that their sizes are known. Others count as small.
    async fn know(&mut self, slots: &[&str]) {
        for slot in slots {
            let caller = self.caller(slot).await;
            self.next().await.answer();
            caller.await.unwrap().unwrap();
        }
        if !slots.iter().any(|slot| slot.starts_with("medium")) {
            self.expect_small();
        }
    }

    fn size(&self, slot: &str) -> Size {
        let sizes = &self.reads.0.lines.sizes;
        Size::of(sizes.expected(sizes.hash(slot.as_bytes())))
    }

    /// No command is sent, and no line and no turn is left.
    async fn expect_nothing_left(&mut self) {
        self.expect_silence().await;
        assert_eq!(self.reads.0.lines.counts(), (0, 0));
    }
}

#[test]
fn keys_come_back_as_they_were_pushed() {
    let pieces = [
        ["ns", ":e:", "user:7"],
        ["ns", ":v:", "größe"],
        ["", "", ""],
    ];
    let mut keys = ReadKeys::new(pieces.into_iter());
    keys.push(b"\0\xff");
    let all: Vec<&[u8]> = keys.iter().collect();
    let version = "ns:v:größe".as_bytes();
    assert_eq!(all, [b"ns:e:user:7", version, b"", b"\0\xff"]);
    assert_eq!((keys.len(), keys.first()), (4, all[0]));
    assert!(keys.packed_len() >= all.concat().len());
}

#[tokio::test]
async fn a_lone_read_is_sent_by_its_first_poll() {
    let mut test = Test::new();
    let reads = test.reads.clone();
    let mut read = pin!(reads.read(read_keys("a v1 v2")));
    assert!(poll(read.as_mut()).is_pending());
    let command = test.sent.try_recv().expect("sent by the first poll");
    assert_eq!(command.text(), "a v1 v2");
    command.answer();
    assert_eq!(outcome(read.await), found("a", &[1, 2]));
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn waiting_callers_share_a_command_in_which_each_key_stands_once() {
    let mut test = Test::new();
    let reads = ["a v1", "b v1", "c v1 v2", "d", "c v1 v2", "c v2"];
    let callers = test.callers(&reads).await;
    let (first, second) = (test.next().await, test.next().await);
    assert_eq!(
        (first.text(), second.text()),
        ("a v1".into(), "b v1".into())
    );
    test.expect_silence().await;
    second.answer();
    let batch = test.next().await;
    assert_eq!(batch.text(), "c v1 v2 d");
    batch.answer();
    first.answer();
    let mut got = Vec::new();
    for caller in callers {
        got.push(caller.await.unwrap());
    }
    let expected = [
        found("a", &[1]),
        found("b", &[1]),
        found("c", &[1, 2]),
        found("d", &[]),
        found("c", &[1, 2]),
        found("c", &[2]),
    ];
    assert_eq!(got, expected);
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn callers_of_a_batch_that_read_the_same_slot_share_a_decode() {
    let mut test = Test::new();
    let _under_way = test.callers(&["a", "b"]).await;
    let (first, _second) = (test.next().await, test.next().await);
    let mut callers = Vec::new();
    for keys in ["c v1", "d", "c"] {
        let (reads, keys) = (test.reads.clone(), read_keys(keys));
        callers.push(tokio::spawn(async move { reads.read(keys).await.unwrap() }));
    }
    yield_now().await;
    first.answer();
    test.next().await.answer();
    let mut shared = Vec::new();
    for caller in callers {
        shared.push(caller.await.unwrap().shared_decode);
    }
    let [Some(one), None, Some(other)] = &shared[..] else {
        panic!("{shared:?}");
    };
    assert!(Arc::ptr_eq(one, other));
}

#[tokio::test]
async fn few_reads_are_sent_singly_and_more_in_two_batches_at_a_time() {
    let mut test = Test::with_max_single_reads(4);
    let few = test.callers(&["a", "b", "c", "d"]).await;
    let mut under_way = VecDeque::new();
    for name in ["a", "b", "c", "d"] {
        let command = test.next().await;
        assert_eq!(command.text(), name);
        under_way.push_back(command);
    }
    let many = test.callers(&["e", "f"]).await;
    test.expect_silence().await;
    under_way.pop_front().unwrap().answer();
    let batch = test.next().await;
    assert_eq!(batch.text(), "e f");
    // A batch and three single reads are under way: more than two, until two of those end.
    let more = test.callers(&["g", "h"]).await;
    for _ in 0..2 {
        under_way.pop_front().unwrap().answer();
        test.expect_silence().await;
    }
    under_way.pop_front().unwrap().answer();
    let second = test.next().await;
    assert_eq!(second.text(), "g h");
    let waiting = test.caller("i").await;
    second.answer();
    test.next().await.answer();
    batch.answer();
    for caller in few.into_iter().chain(many).chain(more).chain([waiting]) {
        caller.await.unwrap().unwrap();
    }
    test.expect_nothing_left().await;
    // With no line, reads are sent singly again.
    let _few = test.callers(&["a", "b", "c", "d"]).await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(test.next().await.text(), name);
    }
}

#[tokio::test]
async fn a_caller_never_joins_a_command_sent_before_it_began() {
    let mut test = Test::new();
    let _under_way = test.callers(&["a", "b"]).await;
    let (first, _second) = (test.next().await, test.next().await);
    let before = test.caller("c").await;
    first.answer();
    let batch = test.next().await;
    assert_eq!(batch.text(), "c");
    // The same slot, but the server may have read it already.
    let after = test.caller("c").await;
    test.expect_silence().await;
    batch.answer();
    assert_eq!(before.await.unwrap(), found("c", &[]));
    let next = test.next().await;
    assert_eq!(next.text(), "c");
    assert!(!after.is_finished());
    next.answer();
    assert_eq!(after.await.unwrap(), found("c", &[]));
}

#[tokio::test]
async fn a_batch_is_limited_and_callers_keep_their_order() {
    let mut test = Test::new();
    let names: Vec<String> = (0..MAX_CALLERS * 2 + 12).map(|n| n.to_string()).collect();
    let callers = test
        .callers(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let _stays = test.next().await;
    test.next().await.answer();
    let mut sent = Vec::new();
    for count in [MAX_CALLERS, MAX_CALLERS, 10] {
        let command = test.next().await;
        assert_eq!(command.keys.len(), count);
        sent.extend(command.keys.clone());
        command.answer();
    }
    assert_eq!(sent, names[2..]);
    for (caller, name) in callers.into_iter().zip(&names).skip(1) {
        assert_eq!(caller.await.unwrap(), found(name, &[]));
    }
}

#[tokio::test]
async fn callers_that_read_again_join_the_next_batch() {
    let mut test = Test::new();
    let _stays = test.caller("a").await;
    let _a = test.next().await;
    let reads = test.reads.clone();
    let mut callers = JoinSet::new();
    for name in ["b", "c", "d"] {
        let reads = reads.clone();
        callers.spawn(async move {
            for _ in 0..3 {
                outcome(reads.read(read_keys(name)).await).unwrap();
            }
        });
    }
    let mut sent = Vec::new();
    while sent.len() < 4 {
        let command = test.next().await;
        sent.push(command.text());
        command.answer();
    }
    // `b` found a turn free; from then on all three share batches.
    assert_eq!(sent, ["b", "c d b", "c d b", "c d"]);
}

#[tokio::test]
async fn an_error_fails_its_whole_batch_and_no_later_one() {
    let mut test = Test::new();
    let callers = test.callers(&["a", "b", "c", "d"]).await;
    let (first, second) = (test.next().await, test.next().await);
    first.fail("broken");
    let batch = test.next().await;
    assert_eq!(batch.text(), "c d");
    let behind = test.caller("e").await;
    batch.fail("broken too");
    test.next().await.answer();
    second.answer();
    let mut got = Vec::new();
    for caller in callers {
        got.push(caller.await.unwrap());
    }
    let expected = [
        Err("broken".to_owned()),
        found("b", &[]),
        Err("broken too".to_owned()),
        Err("broken too".to_owned()),
    ];
    assert_eq!(got, expected);
    assert_eq!(behind.await.unwrap(), found("e", &[]));
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn values_missing_from_an_answer_are_absent() {
    let mut test = Test::new();
    let callers = test.callers(&["a v1", "b", "c v1", "d v2"]).await;
    let (first, _second) = (test.next().await, test.next().await);
    first.answer_with(Vec::new());
    let batch = test.next().await;
    batch.answer_with(vec![Some(Bytes::from("c"))]);
    let mut callers = callers.into_iter();
    assert_eq!(
        callers.next().unwrap().await.unwrap(),
        Ok((None, vec![Version::Absent]))
    );
    let got = callers.nth(1).unwrap().await.unwrap();
    assert_eq!(got, Ok((Some("c".into()), vec![Version::Absent])));
    assert_eq!(
        callers.next().unwrap().await.unwrap(),
        Ok((None, vec![Version::Absent]))
    );
}

#[tokio::test]
async fn a_dropped_caller_fails_no_other() {
    let mut test = Test::new();
    let callers = test.callers(&["a", "b", "c", "d", "e", "f"]).await;
    let [gone1, gone2, third, gone3, gone4, last] = callers.try_into().unwrap();
    let (_first, _second) = (test.next().await, test.next().await);
    gone3.abort();
    test.expect_silence().await;
    // A caller is dropped while its command is under way: its turn sends the line.
    gone1.abort();
    let batch = test.next().await;
    assert_eq!(
        batch.text(),
        "c e f",
        "a caller that has left is not read for"
    );
    // A caller of the batch leaves, and the other turn's owner: the answer still comes.
    gone4.abort();
    gone2.abort();
    test.expect_silence().await;
    batch.answer();
    assert_eq!(third.await.unwrap(), found("c", &[]));
    assert_eq!(last.await.unwrap(), found("f", &[]));
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn no_command_is_sent_for_a_line_whose_callers_have_all_left() {
    let mut test = Test::new();
    let callers = test.callers(&["a", "b", "c", "d"]).await;
    let (first, second) = (test.next().await, test.next().await);
    for caller in &callers[2..] {
        caller.abort();
    }
    test.expect_silence().await;
    first.answer();
    second.answer();
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn callers_that_have_left_are_removed_from_a_long_line() {
    let mut test = Test::new();
    let _under_way = test.callers(&["a", "b"]).await;
    for _ in 0..2_000 {
        test.caller("c").await.abort();
        yield_now().await;
    }
    assert!(
        test.waiting() <= Line::<()>::FIRST_SWEEP,
        "{}",
        test.waiting()
    );
    let still_here = test.caller("d").await;
    let (first, _second) = (test.next().await, test.next().await);
    first.answer();
    let batch = test.next().await;
    assert_eq!(batch.text(), "d");
    batch.answer();
    assert_eq!(still_here.await.unwrap(), found("d", &[]));
}

#[tokio::test]
async fn a_deadline_counts_from_when_its_caller_began() {
    let mut test = Test::new();
    let _under_way = test.callers(&["a", "b"]).await;
    let (first, _second) = (test.next().await, test.next().await);
    test.set_clock(10);
    let old = test.caller("c").await;
    test.set_clock(60);
    let young = test.caller("d").await;
    test.set_clock(90);
    first.answer();
    let batch = test.next().await;
    assert_eq!(batch.until, 60 + LIMIT, "that of the youngest");
    test.set_clock(10 + LIMIT);
    assert_eq!(old.await.unwrap(), Err("too late".into()));
    test.expect_silence().await;
    assert!(!young.is_finished());
    test.set_clock(60 + LIMIT);
    assert_eq!(young.await.unwrap(), Err("too late".into()));
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn a_running_dispatcher_enforces_the_deadlines_of_its_line() {
    let mut test = Test::new();
    let _under_way = test.callers(&["a", "b"]).await;
    let (first, second) = (test.next().await, test.next().await);
    let _before = test.caller("c").await;
    first.answer();
    let batch = test.next().await;
    let before = test.caller("c").await;
    batch.answer();
    // The dispatcher goes on with the callers that came.
    let _not_answered = test.next().await;
    let mut driven = Vec::new();
    for began in [10, 20, 30] {
        test.set_clock(began);
        driven.push((began, test.caller("d").await));
    }
    test.set_clock(90);
    let youngest = test.caller("d").await;
    second.answer();
    let batch = test.next().await;
    // In line behind two batches.
    let behind = test.caller("e").await;
    test.set_clock(LIMIT);
    assert_eq!(before.await.unwrap(), Err("too late".into()));
    let _not_answered = test.next().await;
    for (began, caller) in driven {
        test.set_clock(began + LIMIT - 1);
        test.expect_silence().await;
        assert!(!caller.is_finished());
        test.set_clock(began + LIMIT);
        assert_eq!(caller.await.unwrap(), Err("too late".into()));
    }
    batch.answer();
    assert_eq!(youngest.await.unwrap(), found("d", &[]));
    test.set_clock(90 + LIMIT);
    assert_eq!(behind.await.unwrap(), Err("too late".into()));
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn a_caller_leaves_the_line_at_its_deadline() {
    let mut test = Test::new();
    let _under_way = test.callers(&["a", "b"]).await;
    let waiting = test.caller("c").await;
    test.set_clock(LIMIT);
    assert_eq!(waiting.await.unwrap(), Err("too late".into()));
    let (_first, _second) = (test.next().await, test.next().await);
    // The turns before it end at the same moment, so the line is sent.
    assert_eq!(test.next().await.until, LIMIT);
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn large_values_are_read_in_a_line_of_their_own() {
    let mut test = Test::new();
    let size = |outcome: Outcome| outcome.unwrap().0.unwrap().len();
    // Their size is not known yet.
    let callers = test.callers(&["a", "b", "large1 v1", "c", "large2"]).await;
    let (first, second) = (test.next().await, test.next().await);
    first.answer();
    second.answer();
    let batch = test.next().await;
    assert_eq!(batch.text(), "large1 v1 c large2");
    batch.answer();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    test.expect_nothing_left().await;
    test.expect_small();
    // There is room for two large reads, and small ones do not wait for them.
    let reads = [
        "large1 v1",
        "large2",
        "large1 v2",
        "large2 v3",
        "large1 v4",
        "c",
        "d",
        "e",
    ];
    let callers = test.callers(&reads).await;
    let large = [test.next().await, test.next().await];
    let (c, d) = (test.next().await, test.next().await);
    let sent = [large[0].text(), large[1].text(), c.text(), d.text()];
    assert_eq!(sent, ["large1 v1", "large2", "c", "d"]);
    c.answer();
    let e = test.next().await;
    assert_eq!(e.text(), "e");
    e.answer();
    d.answer();
    test.expect_silence().await;
    // The answers are early, so there is room for more. Callers that want the same slot share a
    // command.
    large.into_iter().for_each(Sent::answer);
    let second = test.next().await;
    assert_eq!(second.text(), "large1 v2 v4");
    let third = test.next().await;
    assert_eq!(third.text(), "large2 v3");
    second.answer();
    third.answer();
    for caller in callers.into_iter().take(5) {
        assert!(size(caller.await.unwrap()) > LARGE);
    }
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn a_value_without_room_is_read_when_no_other_is_under_way() {
    let mut test = Test::new();
    test.know(&["huge", "large"]).await;
    let callers = test.callers(&["large", "huge", "large v1"]).await;
    let large = test.next().await;
    assert_eq!(large.text(), "large");
    test.expect_silence().await;
    large.answer();
    let huge = test.next().await;
    assert_eq!(huge.text(), "huge");
    test.expect_silence().await;
    huge.answer();
    test.next().await.answer();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn a_large_read_whose_caller_is_dropped_takes_room_until_its_answer() {
    let mut test = Test::new();
    test.know(&["huge1", "huge2"]).await;
    drop(test.set_aside("huge1"));
    let first = test.next().await;
    let waiting = test.caller("huge2").await;
    test.expect_silence().await;
    first.answer();
    test.next().await.answer();
    waiting.await.unwrap().unwrap();
    test.expect_nothing_left().await;
    // The same where its deadline passes.
    drop(test.set_aside("huge1"));
    let _not_answered = test.next().await;
    test.set_clock(LIMIT - 1);
    let waiting = test.caller("huge2").await;
    test.expect_silence().await;
    test.set_clock(LIMIT);
    test.next().await.answer();
    waiting.await.unwrap().unwrap();
    test.expect_nothing_left().await;
}

#[test]
fn a_large_read_that_is_dropped_with_its_runtime_leaves_nothing() {
    let test = Test::new();
    test.reads.expect(b"huge", HUGE);
    let runtime = current_thread();
    let entered = runtime.enter();
    let read = test.set_aside("huge");
    drop(entered);
    runtime.shutdown_background();
    drop(read);
    assert!(test.reads.0.lines.lock().is_empty());
}

#[tokio::test]
async fn a_batch_has_as_many_slots_as_there_is_room_for() {
    let mut test = Test::new();
    test.know(&["medium"]).await;
    let names: Vec<String> = (0..40).map(|n| format!("medium{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let callers = test.callers(&names).await;
    let (first, second) = (test.next().await, test.next().await);
    first.answer();
    let batch = test.next().await;
    let room = 256 * 1024 / 2;
    assert_eq!(batch.keys.len(), room / MEDIUM);
    second.answer();
    batch.answer();
    let mut sizes = Vec::new();
    while callers.iter().any(|caller| !caller.is_finished()) {
        match test.sent.try_recv() {
            Ok(command) => {
                sizes.push(command.keys.len());
                command.answer();
            }
            Err(_) => yield_now().await,
        }
    }
    assert!(sizes.iter().any(|size| *size > room / MEDIUM), "{sizes:?}");
}

#[test]
fn unknown_slots_count_as_those_lately_seen_and_as_large_after_a_failure() {
    let sizes = Sizes::default();
    let unknown = || sizes.expected(1 << 20);
    // In an empty cache, no lone caller waits for another one.
    assert!(Size::of(unknown()) == Size::Small);
    assert!(MAX_SINGLE_READS * unknown() <= Room::new().bytes());
    sizes.remember(7 << 40, Some(50_000));
    assert_eq!(unknown(), 50_000);
    for slot in 0..4 {
        sizes.remember(slot << 40, Some(700));
    }
    assert!(unknown() <= 2048, "{}", unknown());
    sizes.expect_large();
    assert!(unknown() > 500_000);
    // An absent slot is a small answer, too.
    for slot in 0..6 {
        sizes.remember(slot << 40, None);
    }
    assert!(unknown() <= 2048, "{}", unknown());
}

#[test]
fn sizes_of_large_slots_are_remembered() {
    let sizes = Sizes::default();
    sizes.expect_small();
    for bytes in [LARGE, 100_000, 4 << 20] {
        sizes.remember(3 << 30, Some(bytes));
        let expected = sizes.expected(3 << 30);
        assert!((bytes..bytes + 16 * 1024).contains(&expected), "{expected}");
    }
    sizes.expect_small();
    assert!(Size::of(sizes.expected(3 << 31)) == Size::Small);
    sizes.remember(3 << 30, None);
    assert!(Size::of(sizes.expected(3 << 30)) == Size::Small);
}

#[tokio::test]
async fn a_slot_that_no_longer_holds_a_large_value_counts_as_unknown() {
    let mut test = Test::new();
    test.know(&["large"]).await;
    assert_eq!(test.size("large"), Size::Large);
    let second = test.caller("large").await;
    test.next().await.answer_with(vec![None]);
    assert_eq!(second.await.unwrap(), Ok((None, vec![])));
    assert_eq!(test.size("large"), Size::Small);
}

#[tokio::test]
async fn a_caller_that_is_set_aside_keeps_no_turn_once_it_is_answered() {
    let mut test = Test::new();
    for _ in 0..3 {
        let aside = ["a", "b"].map(|name| test.set_aside(name));
        let commands = [test.next().await, test.next().await];
        assert_eq!(test.reads.0.lines.counts(), (1, 2));
        commands.into_iter().for_each(Sent::answer);
        test.expect_nothing_left().await;
        // It has its answer, however late it asks for it.
        let [a, _still_aside] = aside;
        assert_eq!(a.await, found("a", &[]));
    }
}

#[tokio::test]
async fn the_line_is_sent_when_callers_that_are_set_aside_are_answered() {
    let mut test = Test::new();
    let _aside = ["a", "b"].map(|name| test.set_aside(name));
    let callers = test.callers(&["c", "d"]).await;
    let in_line = test.set_aside("e");
    let (first, second) = (test.next().await, test.next().await);
    test.expect_silence().await;
    first.answer();
    let batch = test.next().await;
    assert_eq!(batch.text(), "c d e");
    batch.answer();
    for (caller, name) in callers.into_iter().zip(["c", "d"]) {
        assert_eq!(caller.await.unwrap(), found(name, &[]));
    }
    second.answer();
    test.expect_nothing_left().await;
    assert_eq!(in_line.await, found("e", &[]));
}

#[tokio::test]
async fn the_line_is_sent_when_the_deadline_of_a_caller_that_is_set_aside_passes() {
    let mut test = Test::new();
    let [a, b] = ["a", "b"].map(|name| test.set_aside(name));
    let (_not_answered, _nor_this_one) = (test.next().await, test.next().await);
    test.set_clock(60);
    let waiting = test.caller("c").await;
    test.set_clock(LIMIT - 1);
    test.expect_silence().await;
    test.set_clock(LIMIT);
    let batch = test.next().await;
    assert_eq!(batch.text(), "c");
    batch.answer();
    assert_eq!(waiting.await.unwrap(), found("c", &[]));
    test.expect_nothing_left().await;
    assert_eq!(
        (a.await, b.await),
        (Err("too late".into()), Err("too late".into()))
    );
}

#[tokio::test]
async fn a_large_read_that_is_set_aside_delays_no_other() {
    let mut test = Test::new();
    test.know(&["huge1", "huge2"]).await;
    let _answered = test.set_aside("huge1");
    let waiting = test.callers(&["huge2", "huge2 v1"]).await;
    let large = test.next().await;
    test.expect_silence().await;
    large.answer();
    let second = test.next().await;
    assert_eq!(second.text(), "huge2 v1");
    second.answer();
    for caller in waiting {
        caller.await.unwrap().unwrap();
    }
    test.expect_nothing_left().await;
    // The same at its deadline.
    let _too_late = test.set_aside("huge1");
    let _not_answered = test.next().await;
    test.set_clock(60);
    let waiting = test.caller("huge2").await;
    test.set_clock(LIMIT);
    let second = test.next().await;
    assert_eq!(second.text(), "huge2");
    second.answer();
    waiting.await.unwrap().unwrap();
    test.expect_nothing_left().await;
}

#[tokio::test]
async fn a_turn_that_has_ended_does_not_end_again_when_its_caller_does() {
    let mut test = Test::new();
    let [answered, dropped] = ["a", "b"].map(|name| test.set_aside(name));
    test.next().await.answer();
    test.next().await.answer();
    let _under_way = test.callers(&["c", "d"]).await;
    let (_c, _d) = (test.next().await, test.next().await);
    assert_eq!(test.reads.0.lines.counts(), (1, 2));
    drop(dropped);
    assert_eq!(answered.await, found("a", &[]));
    assert_eq!(test.reads.0.lines.counts(), (1, 2));
    let waiting = test.caller("e").await;
    test.expect_silence().await;
    assert!(!waiting.is_finished());
}

/// A waker that counts its calls, and uses the reads each time.
struct Counting {
    reads: Arc<BatchedReads<Fake>>,
    calls: AtomicUsize,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        // Takes the lock of the lines.
        assert!(format!("{:?}", self.reads).contains("turns"));
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_answer_wakes_the_task_that_polled_its_caller_last() {
    let mut test = Test::new();
    let wakers = [(); 2].map(|()| {
        Arc::new(Counting {
            reads: test.reads.clone(),
            calls: AtomicUsize::new(0),
        })
    });
    let reads = test.reads.clone();
    let mut read = pin!(reads.read(read_keys("a")));
    for waker in &wakers {
        let waker = Waker::from(waker.clone());
        let mut context = Context::from_waker(&waker);
        assert!(read.as_mut().poll(&mut context).is_pending());
    }
    test.next().await.answer();
    let calls = wakers.map(|waker| waker.calls.load(Ordering::Relaxed));
    assert_eq!(calls, [0, 1]);
    assert_eq!(test.reads.0.lines.counts(), (0, 0));
    assert_eq!(outcome(read.await), found("a", &[]));
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_runtime_that_does_not_run_delays_no_caller_of_another() {
    let mut test = Test::new();
    let (stopped, other) = (current_thread(), current_thread());
    let _abandoned = stopped.block_on(test.callers(&["a", "b", "c"]));
    other.block_on(async {
        let callers = test.callers(&["d", "e", "f", "g"]).await;
        let mut sent = Vec::new();
        while sent.len() < 5 {
            let command = test.next().await;
            sent.push(command.text());
            command.answer();
        }
        assert_eq!(sent, ["a", "b", "d", "e", "f g"]);
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
    });
    drop(stopped);
    other.block_on(test.expect_nothing_left());
}

#[test]
fn callers_in_line_fail_when_their_runtime_is_shut_down() {
    let mut test = Test::new();
    let runtime = current_thread();
    let reads = test.reads.clone();
    let entered = runtime.enter();
    let mut turns = [
        pin!(reads.read(read_keys("a"))),
        pin!(reads.read(read_keys("b"))),
    ];
    let mut waiting = [
        pin!(reads.read(read_keys("c"))),
        pin!(reads.read(read_keys("d"))),
    ];
    for read in turns.iter_mut().chain(&mut waiting) {
        assert!(poll(read.as_mut()).is_pending());
    }
    drop(entered);
    // Their dispatcher would run on it.
    runtime.shutdown_background();
    test.sent.try_recv().unwrap().answer();
    assert!(poll(turns[0].as_mut()).is_ready());
    for read in &mut waiting {
        let Poll::Ready(got) = poll(read.as_mut()) else {
            panic!("it still waits, and no dispatcher is left to answer it");
        };
        assert_eq!(outcome(got), Err("runtime shut down".into()));
    }
    test.sent.try_recv().unwrap().answer();
    assert!(poll(turns[1].as_mut()).is_ready());
    assert!(reads.0.lines.lock().is_empty());
}

/// Spawns a caller that blocks its thread once it has its answer, until the sender is dropped.
fn block_thread_after(test: &Test, name: &'static str) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel();
    let reads = test.reads.clone();
    tokio::spawn(async move {
        reads.read(read_keys(name)).await.unwrap();
        released.recv().unwrap_err();
    });
    release
}

/// Spawns a task that answers, and blocks its thread until the sender is dropped.
fn answer_and_block_thread(command: Sent) -> std::sync::mpsc::Sender<()> {
    let (release, released) = std::sync::mpsc::channel();
    tokio::spawn(async move {
        command.answer();
        released.recv().unwrap_err();
    });
    release
}

async fn until_waiting(test: &Test, callers: usize) {
    while test.waiting() < callers {
        yield_now().await;
    }
}

/// Runs a test on two threads, with a time limit.
fn on_two_threads(test: impl Future<Output = ()>) {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_time().build().unwrap();
    let limit = Duration::from_secs(20);
    let done = runtime.block_on(async { tokio::time::timeout(limit, test).await });
    done.expect("every caller in line is answered");
}

#[test]
fn a_blocked_thread_does_not_hold_up_a_dispatcher() {
    on_two_threads(async {
        let mut test = Test::with_max_single_reads(1);
        let _a = test.caller("a").await;
        let first = test.next().await;
        let _b = test.caller("b").await;
        until_waiting(&test, 1).await;
        first.answer();
        let second = test.next().await;
        let _c = test.caller("c").await;
        let _under_way = test.next().await;
        let _release = block_thread_after(&test, "d");
        until_waiting(&test, 1).await;
        second.answer();
        let third = test.next().await;
        assert_eq!(third.text(), "d");
        let _e = test.caller("e").await;
        until_waiting(&test, 1).await;
        third.answer();
        assert_eq!(test.next().await.text(), "e");
    });
}

#[test]
fn a_caller_queued_before_a_dispatcher_runs_sets_its_own_timer() {
    on_two_threads(async {
        let mut test = Test::with_max_single_reads(1);
        let _a = test.caller("a").await;
        let first = test.next().await;
        let _b = test.caller("b").await;
        until_waiting(&test, 1).await;
        // The dispatcher is spawned on a thread that is blocked from then on.
        let _release = answer_and_block_thread(first);
        while test.reads.0.lines.lock()[0].dispatchers == 0 {
            yield_now().await;
        }
        // The other turn is taken, until a later deadline than that of the next caller.
        test.set_clock(50);
        let _c = test.set_aside("c");
        test.set_clock(0);
        let waiting = test.caller("d").await;
        until_waiting(&test, 2).await;
        test.set_clock(LIMIT);
        assert_eq!(waiting.await.unwrap(), Err("too late".into()));
    });
}

/// Callers begin, are set aside, leave and are answered in any order: each answer is from after
/// its caller began, its parts are from one moment, and in the end nothing is left.
#[tokio::test]
async fn no_answer_is_older_than_its_caller_in_any_order() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut test = Test::with_max_single_reads(1 + random.below(5));
        let mut callers = Vec::new();
        let mut set_aside = Vec::new();
        let mut under_way = Vec::new();
        for _ in 0..200 {
            let kind = random.below(8);
            match kind {
                0 | 1 | 6 => {
                    let (slot, version) = (random.below(8), random.below(3));
                    let read = read_keys(&format!("slot{slot} version{version}"));
                    let mut caller = Box::pin(is_fresh(test.reads.clone(), read));
                    if kind == 6 {
                        assert!(poll(caller.as_mut()).is_pending());
                        set_aside.push(caller);
                    } else {
                        callers.push(tokio::spawn(caller));
                    }
                }
                7 if !set_aside.is_empty() => {
                    let at = random.below(set_aside.len());
                    let caller = set_aside.swap_remove(at);
                    // Some are polled again.
                    if random.below(2) == 0 {
                        callers.push(tokio::spawn(caller));
                    }
                }
                2 if !callers.is_empty() => {
                    let at = random.below(callers.len());
                    callers.swap_remove(at).abort();
                }
                3 | 4 => {
                    under_way.extend(std::iter::from_fn(|| test.sent.try_recv().ok()));
                    if !under_way.is_empty() {
                        let at = random.below(under_way.len());
                        under_way.swap_remove(at).answer_moment();
                    }
                }
                _ => yield_now().await,
            }
        }
        under_way.into_iter().for_each(Sent::answer_moment);
        let mut rounds = 0;
        while callers.iter().any(|caller| !caller.is_finished()) {
            rounds += 1;
            assert!(
                rounds < 10_000,
                "a caller is not answered, with seed {seed}"
            );
            while let Ok(command) = test.sent.try_recv() {
                command.answer_moment();
            }
            yield_now().await;
        }
        for caller in callers {
            assert!(
                caller.await.expect("an answer"),
                "too old, with seed {seed}"
            );
        }
        while let Ok(command) = test.sent.try_recv() {
            command.answer_moment();
        }
        test.expect_nothing_left().await;
        for caller in set_aside {
            assert!(caller.await, "too old, with seed {seed}");
        }
    }
}

/// Whether what this caller got was read after it began.
async fn is_fresh(reads: Arc<BatchedReads<Fake>>, read: ReadKeys) -> bool {
    let began = reads.0.source.moment();
    let found = reads.read(read).await.unwrap();
    let moment = Version::read(found.slot.as_deref());
    assert_eq!(*found.versions, [moment], "read at one moment");
    moment.number() > Some(began)
}

/// A linear congruential generator: the same sequence everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
