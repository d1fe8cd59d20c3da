//! Concurrent reads of a process share round trips.
//!
//! A read is an `MGET` of a slot and of the versions that its entry must agree with. While
//! few are under way ([`CALM`]), each that comes leaves at once, as it is. Who comes then
//! waits in a line; when one of those turns ends, a task, the driver, sends the whole line
//! as one `MGET`, in which each name stands once, and shares the answer out. From then on,
//! until nobody waits any more, there are two turns ([`GATHERING`]): while the server answers
//! one batch, this process makes use of the other's answer, and those who come meanwhile
//! are the next.
//!
//! ```text
//! read ──> a turn is free ──> MGET, on its own ─────────────┐ the turn ends:
//!   └────> none is ──> wait in line ──> one MGET for many <─┘ the next who wait go
//! ```
//!
//! Few commands take less time each on its own than together: those who gather wait for the
//! batches before theirs, and for one task more to be woken. Measured with a server on the
//! same machine, the two are alike with eight callers; further away, waiting costs more.
//!
//! What must hold:
//!
//! * **No caller gets what was read before it began.** A caller joins a line, never a
//!   batch: the line is taken, under the lock, before its `MGET` is sent, and who comes
//!   after that is in the next one.
//! * **A caller's slot and versions are read by one command,** over one connection, whose
//!   epoch goes with the answer to each.
//! * **Each caller's deadline counts from when it began,** in line or under way. A batch
//!   has that of its youngest caller, and the others leave it at theirs. If it fails, it
//!   fails for all of its callers, and the connection is judged once.
//! * **Somebody has a clock for everyone,** but not each one's own: to set it takes as long
//!   as the line does. Drivers have those of their batches. What a driver waits for began
//!   before whoever is in line now, so it ends by their deadlines; then it takes those who
//!   have waited longest, and it ends only when nobody waits. Like a clock, it needs one
//!   thread of the runtime that is free. But a task that was only just spawned, or that
//!   yields in Tokio's way, needs the thread that it is on: so a driver counts, and takes
//!   anybody out of line, only once it runs, and it yields in another way. Who comes before
//!   that has a clock of its own, and so has who wants a large value, for which others may
//!   go first.
//! * **A turn ends however its owner does:** answered, failed, dropped or panicked. While
//!   anybody waits, somebody has a turn; so whoever waits is called.
//! * **Runtimes do not mix.** Each has lines of its own, driven by tasks of its own: one
//!   that is shut down, or that nobody drives, keeps nobody waiting but its own callers.
//! * **A large value does not hold up small ones for long.** Those that were [`LARGE`](sizes::LARGE) when
//!   they were last read are read in a line of their own, one at a time. So what a small
//!   read waits behind is at most one of them, and, before its size is known, a batch that
//!   has it, once.
//!
//! A line is as long as there are callers who wait in it: those who left are swept out
//! before it doubles.

mod batch;
mod sizes;
mod wanted;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use self::batch::Batch;
use self::sizes::{Size, Sizes};
pub(crate) use self::wanted::Wanted;
use crate::entry::{Company, Version};
use crate::error::Error;

/// So many commands of one caller each may be under way where nobody has to wait.
const CALM: usize = 8;

/// And so many, of one caller or many, once somebody has.
const GATHERING: usize = 2;

/// At most so many callers share a command, and so at most so many times [`LARGE`](sizes::LARGE) bytes
/// come before the answer to the first of them is whole.
const MOST_CALLERS: usize = 256;

/// Where reads go. In tests, something that answers when it is told to.
pub(crate) trait Source: Send + Sync + 'static {
    type Connection: Send + Sync + 'static;

    /// Sends an `MGET`; its values come over the connection named.
    fn read(
        self: &Arc<Self>,
        mget: &Cmd,
        until: Instant,
    ) -> impl Future<Output = Answer<Self::Connection>> + Send;

    /// The deadline of a read that begins now.
    fn deadline(&self) -> Instant;

    /// Waits for something, at most until then.
    fn within<T: Send>(
        &self,
        until: Instant,
        waiting: impl Future<Output = Result<T, Error>> + Send,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// What a caller gets whose runtime ends before there is an answer.
    fn cut_short(&self) -> Error;
}

type Answer<C> = Result<(Arc<C>, Vec<Value>), Error>;

/// What a slot and some versions held at one moment after the caller began.
#[derive(Debug)]
pub(crate) struct Found<C> {
    /// Which connection told, and so which server.
    pub(crate) connection: Arc<C>,
    pub(crate) slot: Option<Bytes>,
    /// Those who were told the same slot.
    pub(crate) company: Option<Company>,
    /// As asked.
    pub(crate) versions: Arc<[Version]>,
}

/// The reads of one process from one source.
pub(crate) struct Gather<S: Source>(Arc<Reads<S>>);

struct Reads<S: Source> {
    source: Arc<S>,
    /// Those in use. In most programs there is one runtime, and so one or two.
    lines: Mutex<Vec<Line<S::Connection>>>,
    sizes: Sizes,
    /// [`CALM`], unless a test has less patience.
    calm: usize,
}

/// The reads of one runtime, of one size.
struct Line<C> {
    of: LineId,
    runtime: Handle,
    /// How many turns are taken. At least one, if anybody waits.
    turns: usize,
    /// How many of them are drivers'.
    drivers: usize,
    /// Whether one of those has shown that it runs, and goes on until nobody waits.
    is_driven: bool,
    waiting: VecDeque<Caller<C>>,
    /// At this length, those who left are swept out.
    sweep_at: usize,
}

type LineId = (runtime::Id, Size);

/// A caller in line.
struct Caller<C> {
    read: Read,
    until: Instant,
    telling: Telling<C>,
}

type Telling<C> = oneshot::Sender<Result<Found<C>, Error>>;

struct Read {
    wanted: Wanted,
    /// The slot's name, hashed.
    slot: u64,
}

/// The right to have one command under way.
struct Turn<S: Source> {
    reads: Arc<Reads<S>>,
    line: LineId,
    /// Whether this is the turn of a task that sends what waits, and not of a caller.
    drives: bool,
    ended: bool,
}

enum Entered<S: Source> {
    Turn(Turn<S>, Read),
    Line {
        answer: Answered<S::Connection>,
        /// Whether a driver has the clock for it.
        is_driven: bool,
    },
}

type Answered<C> = oneshot::Receiver<Result<Found<C>, Error>>;

impl<S: Source> Gather<S> {
    pub(crate) fn new(source: Arc<S>) -> Self {
        Self::with_turns(source, CALM)
    }

    fn with_turns(source: Arc<S>, calm: usize) -> Self {
        Self(Arc::new(Reads {
            source,
            lines: Mutex::default(),
            sizes: Sizes::default(),
            calm,
        }))
    }

    /// Reads a slot and versions, alone or with others.
    pub(crate) async fn read(&self, wanted: Wanted) -> Result<Found<S::Connection>, Error> {
        let reads = &self.0;
        let until = reads.source.deadline();
        let read = Read {
            slot: reads.sizes.hash(wanted.slot()),
            wanted,
        };
        // Without a runtime, the source says what it thinks of that.
        let Ok(runtime) = Handle::try_current() else {
            return Box::pin(reads.read(&read, until)).await;
        };
        match Reads::enter(reads, runtime, read, until) {
            Entered::Turn(turn, read) => {
                let found = Box::pin(reads.read(&read, until)).await;
                // Who waits is on the way before this value is decoded.
                drop(turn);
                found
            }
            Entered::Line { answer, is_driven } => {
                let answer = async {
                    let answer = answer.await;
                    answer.unwrap_or_else(|_| Err(reads.source.cut_short()))
                };
                if is_driven {
                    answer.await
                } else {
                    Box::pin(reads.source.within(until, answer)).await
                }
            }
        }
    }
}

impl<S: Source> Reads<S> {
    /// Takes a turn if there is one, or else a place in line.
    fn enter(self: &Arc<Self>, runtime: Handle, read: Read, until: Instant) -> Entered<S> {
        let of = (runtime.id(), self.sizes.of(read.slot));
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.of == of);
        let at = at.unwrap_or_else(|| {
            lines.push(Line::new(of, runtime));
            lines.len() - 1
        });
        let line = &mut lines[at];
        if line.turns < line.most_turns(self.calm) {
            line.turns += 1;
            drop(lines);
            return Entered::Turn(Turn::new(self, of, false), read);
        }
        let (telling, answer) = oneshot::channel();
        line.wait(Caller {
            read,
            until,
            telling,
        });
        Entered::Line {
            answer,
            // For a large value, others may go first.
            is_driven: line.is_driven && of.1 == Size::Small,
        }
    }

    /// A read that leaves on its own.
    async fn read(&self, read: &Read, until: Instant) -> Result<Found<S::Connection>, Error> {
        let (connection, values) = self.source.read(&read.wanted.mget(), until).await?;
        let mut values = values.into_iter();
        let slot = values.next().and_then(bytes);
        self.sizes.remember(read.slot, slot.as_ref());
        let versions = 1..read.wanted.names().count();
        Ok(Found {
            connection,
            slot,
            company: None,
            versions: versions.map(|_| version(values.next())).collect(),
        })
    }

    /// Reads for many, and tells each in time what it wants to know.
    async fn read_for(&self, mut callers: Vec<Caller<S::Connection>>) {
        // Only now it is known who still waits.
        callers.retain(|caller| !caller.telling.is_closed());
        let Some(until) = callers.iter().map(|caller| caller.until).max() else {
            return;
        };
        if callers.len() == 1 {
            for caller in callers {
                let _ = caller.telling.send(self.read(&caller.read, until).await);
            }
            return;
        }
        let (mut batch, mget) = Batch::new(callers);
        match self.read_batch(&mut batch, &mget, until).await {
            Ok((connection, values)) => batch.tell(&connection, values, &self.sizes),
            Err(error) => batch.fail(&error),
        }
    }

    /// Sends for a batch, until the deadline of its youngest caller. The others leave it at
    /// their own: they have no other clock.
    async fn read_batch(
        &self,
        batch: &mut Batch<S::Connection>,
        mget: &Cmd,
        until: Instant,
    ) -> Answer<S::Connection> {
        let mut answer = pin!(self.source.read(mget, until));
        while let Some(next) = batch.next_deadline()
            && next < until
        {
            let in_time = async { Ok(answer.as_mut().await) };
            match self.source.within(next, in_time).await {
                Ok(answer) => return answer,
                Err(too_late) => batch.leave_behind(next, &too_late),
            }
        }
        // It ends by itself, and it is judged how.
        answer.await
    }

    /// Makes a caller's turn a driver's, if anybody waits, or ends it.
    fn pass_on(&self, of: LineId) -> Option<Handle> {
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.of == of)?;
        let line = &mut lines[at];
        // The others who still have a turn from calmer times pass theirs on, or are drivers.
        let enough = line.drivers > 0 && line.turns > GATHERING;
        if line.waiting.is_empty() || enough {
            Self::end_turn(&mut lines, at, false);
            return None;
        }
        line.drivers += 1;
        Some(line.runtime.clone())
    }

    /// Whom a driver sends for next; its turn ends if nobody waits.
    fn next(&self, of: LineId) -> Option<Vec<Caller<S::Connection>>> {
        let mut lines = self.lock();
        let at = lines.iter().position(|line| line.of == of)?;
        let line = &mut lines[at];
        if line.waiting.is_empty() {
            Self::end_turn(&mut lines, at, true);
            return None;
        }
        line.is_driven = true;
        Some(line.next())
    }

    fn end_turn(lines: &mut Vec<Line<S::Connection>>, at: usize, is_drivers: bool) {
        let line = &mut lines[at];
        line.turns -= 1;
        if is_drivers {
            line.drivers -= 1;
            // The other driver says so again, if there is one.
            line.is_driven = false;
        }
        if line.turns == 0 {
            lines.swap_remove(at);
        }
    }

    /// Ends a turn whose runtime can't pass it on; who waits there is told.
    fn abandon(&self, of: LineId) {
        let mut lines = self.lock();
        let Some(at) = lines.iter().position(|line| line.of == of) else {
            return;
        };
        let waiting = mem::take(&mut lines[at].waiting);
        Self::end_turn(&mut lines, at, true);
        drop(lines);
        // After the lock: this wakes them, and a waker may be anybody's.
        drop(waiting);
    }

    /// Held for moments, never across an await; nothing panics under it, and nobody is woken.
    fn lock(&self) -> MutexGuard<'_, Vec<Line<S::Connection>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Line<C> {
    const FIRST_SWEEP: usize = 64;

    fn new(of: LineId, runtime: Handle) -> Self {
        Self {
            of,
            runtime,
            turns: 0,
            drivers: 0,
            is_driven: false,
            waiting: VecDeque::new(),
            sweep_at: Self::FIRST_SWEEP,
        }
    }

    fn most_turns(&self, calm: usize) -> usize {
        match self.of.1 {
            Size::Large => 1,
            Size::Small if self.drivers > 0 => GATHERING,
            Size::Small => calm,
        }
    }

    fn wait(&mut self, caller: Caller<C>) {
        if self.waiting.len() >= self.sweep_at {
            // Dropping these wakes nobody: who would be woken is gone.
            self.waiting.retain(|caller| !caller.telling.is_closed());
            self.sweep_at = (2 * self.waiting.len()).max(Self::FIRST_SWEEP);
        }
        self.waiting.push_back(caller);
    }

    /// Who goes next: those who have waited longest, and for a large value all who want that one.
    fn next(&mut self) -> Vec<Caller<C>> {
        let first = self.waiting.front().map(|caller| caller.read.slot);
        if let (Size::Large, Some(slot)) = (self.of.1, first) {
            let waiting = mem::take(&mut self.waiting);
            let (next, others): (Vec<_>, _) = waiting
                .into_iter()
                .partition(|caller| caller.read.slot == slot);
            self.waiting = others.into();
            return next;
        }
        let most = self.waiting.len().min(MOST_CALLERS);
        self.waiting.drain(..most).collect()
    }
}

impl<S: Source> Turn<S> {
    fn new(reads: &Arc<Reads<S>>, line: LineId, drives: bool) -> Self {
        Self {
            reads: reads.clone(),
            line,
            drives,
            ended: false,
        }
    }

    /// Sends what waits, one batch after the other, until nobody does. Nobody is taken out of
    /// line before it runs, since others, who do run, may take them meanwhile.
    async fn drive(mut self) {
        while let Some(callers) = self.reads.next(self.line) {
            self.reads.read_for(callers).await;
            // Those who were just told may have more to ask: let them come, and not one of
            // them leave on its own, ahead of the others.
            let_others_run().await;
        }
        self.ended = true;
    }
}

/// Puts a task behind those that are ready to run, where any thread of the runtime finds it.
/// (What `yield_now` puts off is kept by its thread, which others may hold up.)
async fn let_others_run() {
    let mut is_behind = false;
    poll_fn(|context| {
        if mem::replace(&mut is_behind, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A caller's turn ends, whether it got its answer or was dropped before: who waits is sent
/// by a task of their runtime, which no caller's end can end.
///
/// A driver that is dropped on the way, or panics: its runtime is shut down, or something
/// is very wrong. Who waits is told, rather than sent on by yet another task, which would
/// be dropped on the spot, within this drop, and so on for each batch.
impl<S: Source> Drop for Turn<S> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.drives {
            self.reads.abandon(self.line);
        } else if let Some(runtime) = self.reads.pass_on(self.line) {
            let driver = Turn::new(&self.reads, self.line, true);
            runtime.spawn(driver.drive());
        }
    }
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into_bytes().into()),
        _ => None,
    }
}

fn version(value: Option<Value>) -> Version {
    match &value {
        Some(Value::BulkString(bytes)) => Version::read(Some(bytes)),
        _ => Version::Absent,
    }
}

impl<S: Source> fmt::Debug for Gather<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lock();
        f.debug_struct("Gather")
            .field("lines", &lines.len())
            .field("turns", &lines.iter().map(|line| line.turns).sum::<usize>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Waker};
    use std::time::Duration;

    use redis::Arg;
    use tokio::runtime::Builder;
    use tokio::sync::{mpsc, watch};
    use tokio::task::{JoinHandle, JoinSet, yield_now};

    use super::sizes::LARGE;
    use super::*;

    /// A source that answers when the test says so, with a clock of its own.
    struct Fake {
        asked: mpsc::UnboundedSender<Asked>,
        begin: Instant,
        /// Milliseconds since then.
        now: watch::Sender<u64>,
        /// How many callers have begun, and commands were sent.
        moments: AtomicU64,
    }

    /// An `MGET` that was sent.
    struct Asked {
        names: Vec<String>,
        until: u64,
        moment: u64,
        answer: oneshot::Sender<Result<Vec<Value>, Error>>,
    }

    const LIMIT: u64 = 100;

    impl Source for Fake {
        type Connection = ();

        async fn read(self: &Arc<Self>, mget: &Cmd, until: Instant) -> Answer<()> {
            let (answer, answered) = oneshot::channel();
            let names = mget.args_iter().skip(1).map(|name| match name {
                Arg::Simple(name) => String::from_utf8_lossy(name).into_owned(),
                _ => panic!("not a name"),
            });
            let until_ms = (until - self.begin).as_millis();
            let _ = self.asked.send(Asked {
                names: names.collect(),
                until: u64::try_from(until_ms).unwrap(),
                moment: self.moment(),
                answer,
            });
            let answered = async { answered.await.unwrap_or_else(|_| Err(error("no answer"))) };
            let values = self.within(until, answered).await?;
            Ok((Arc::new(()), values))
        }

        fn deadline(&self) -> Instant {
            self.begin + Duration::from_millis(*self.now.borrow() + LIMIT)
        }

        async fn within<T: Send>(
            &self,
            until: Instant,
            waiting: impl Future<Output = Result<T, Error>> + Send,
        ) -> Result<T, Error> {
            let mut now = self.now.subscribe();
            let late = now.wait_for(|now| self.begin + Duration::from_millis(*now) >= until);
            tokio::select! {
                biased;
                answer = waiting => answer,
                _ = late => Err(error("too late")),
            }
        }

        fn cut_short(&self) -> Error {
            error("cut short")
        }
    }

    impl Fake {
        fn moment(&self) -> u64 {
            self.moments.fetch_add(1, Ordering::Relaxed)
        }
    }

    fn error(text: &str) -> Error {
        Error::config(text)
    }

    struct Test {
        gather: Arc<Gather<Fake>>,
        asked: mpsc::UnboundedReceiver<Asked>,
    }

    type Outcome = Result<(Option<String>, Vec<Version>), String>;

    /// What a caller got, as text.
    fn shown(found: Result<Found<()>, Error>) -> Outcome {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let found = found.map_err(|error| error.to_string())?;
        Ok((found.slot.map(text), found.versions.to_vec()))
    }

    /// What a caller gets of [`Asked::tell`].
    #[expect(clippy::unnecessary_wraps, reason = "to compare it with an outcome")]
    fn told(slot: &str, versions: &[u64]) -> Outcome {
        let versions = versions.iter().copied().map(Version::Number).collect();
        Ok((Some(slot.to_owned()), versions))
    }

    fn wanted(names: &str) -> Wanted {
        let mut names = names.split(' ').map(|name| [name, "", ""]);
        Wanted::new(names.next().unwrap(), names)
    }

    impl Asked {
        fn text(&self) -> String {
            self.names.join(" ")
        }

        /// Answers: a version `v7` is 7, a slot holds its own name, and `large` ones much more.
        fn tell(self) {
            let value = |name: &String| {
                let text = match name.strip_prefix('v') {
                    Some(number) => number.to_owned(),
                    None if name.starts_with("large") => "x".repeat(LARGE),
                    None => name.clone(),
                };
                Value::BulkString(text.into_bytes())
            };
            let values = self.names.iter().map(value).collect();
            let _ = self.answer.send(Ok(values));
        }

        /// Answers that everything is the moment at which it was read: as early as can be.
        fn tell_moment(self) {
            let value = Value::BulkString(self.moment.to_string().into_bytes());
            let _ = self.answer.send(Ok(vec![value; self.names.len()]));
        }
    }

    impl Test {
        /// Where two are many already.
        fn new() -> Self {
            Self::with_turns(2)
        }

        fn with_turns(turns: usize) -> Self {
            let (sender, asked) = mpsc::unbounded_channel();
            let source = Arc::new(Fake {
                asked: sender,
                begin: Instant::now(),
                now: watch::Sender::new(0),
                moments: AtomicU64::new(0),
            });
            Self {
                gather: Arc::new(Gather::with_turns(source, turns)),
                asked,
            }
        }

        /// A caller, which has come when this returns.
        async fn caller(&self, names: &str) -> JoinHandle<Outcome> {
            let (gather, wanted) = (self.gather.clone(), wanted(names));
            let caller = tokio::spawn(async move { shown(gather.read(wanted).await) });
            yield_now().await;
            caller
        }

        async fn callers(&self, all: &[&str]) -> Vec<JoinHandle<Outcome>> {
            let mut callers = Vec::new();
            for names in all {
                callers.push(self.caller(names).await);
            }
            callers
        }

        /// The command that was, or will be, sent next.
        async fn next(&mut self) -> Asked {
            self.asked.recv().await.expect("there is a source")
        }

        /// Nothing more is sent, once all that can run has run.
        async fn expect_silence(&mut self) {
            for _ in 0..20 {
                yield_now().await;
            }
            if let Ok(asked) = self.asked.try_recv() {
                panic!("sent: {}", asked.text());
            }
        }

        fn set_clock(&self, now: u64) {
            self.gather.0.source.now.send_replace(now);
        }

        fn waiting(&self) -> usize {
            self.gather
                .0
                .lock()
                .iter()
                .map(|line| line.waiting.len())
                .sum()
        }

        /// Whoever came is gone, and so is every trace of it.
        async fn expect_nothing_left(&mut self) {
            self.expect_silence().await;
            assert!(self.gather.0.lock().is_empty(), "{:?}", self.gather);
        }
    }

    #[tokio::test]
    async fn a_lone_read_leaves_at_once_and_as_it_is() {
        let mut test = Test::new();
        let gather = test.gather.clone();
        let mut read = pin!(gather.read(wanted("a v1 v2")));
        assert!(poll(read.as_mut()).is_pending());
        let asked = test.asked.try_recv().expect("sent by the first poll");
        assert_eq!(asked.text(), "a v1 v2");
        asked.tell();
        assert_eq!(shown(read.await), told("a", &[1, 2]));
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn those_who_wait_leave_together_and_name_each_name_once() {
        let mut test = Test::new();
        let names = ["a v1", "b v1", "c v1 v2", "d", "c v1 v2", "c v2"];
        let callers = test.callers(&names).await;
        let (first, second) = (test.next().await, test.next().await);
        assert_eq!(
            (first.text(), second.text()),
            ("a v1".into(), "b v1".into())
        );
        test.expect_silence().await;
        second.tell();
        let gathered = test.next().await;
        assert_eq!(gathered.text(), "c v1 v2 d");
        gathered.tell();
        first.tell();
        let mut got = Vec::new();
        for caller in callers {
            got.push(caller.await.unwrap());
        }
        let expected = [
            told("a", &[1]),
            told("b", &[1]),
            told("c", &[1, 2]),
            told("d", &[]),
            told("c", &[1, 2]),
            told("c", &[2]),
        ];
        assert_eq!(got, expected);
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn a_few_leave_at_once_and_many_gather_in_two_batches() {
        let mut test = Test::with_turns(4);
        let few = test.callers(&["a", "b", "c", "d"]).await;
        let mut under_way = VecDeque::new();
        for name in ["a", "b", "c", "d"] {
            let asked = test.next().await;
            assert_eq!(asked.text(), name);
            under_way.push_back(asked);
        }
        let many = test.callers(&["e", "f"]).await;
        test.expect_silence().await;
        under_way.pop_front().unwrap().tell();
        let gathered = test.next().await;
        assert_eq!(gathered.text(), "e f");
        // A batch and three others are under way: more than two, until two of those end.
        let more = test.callers(&["g", "h"]).await;
        for _ in 0..2 {
            under_way.pop_front().unwrap().tell();
            test.expect_silence().await;
        }
        under_way.pop_front().unwrap().tell();
        let second = test.next().await;
        assert_eq!(second.text(), "g h");
        let waiting = test.caller("i").await;
        second.tell();
        test.next().await.tell();
        gathered.tell();
        for caller in few.into_iter().chain(many).chain(more).chain([waiting]) {
            caller.await.unwrap().unwrap();
        }
        test.expect_nothing_left().await;
        // Calm again.
        let _few = test.callers(&["a", "b", "c", "d"]).await;
        for name in ["a", "b", "c", "d"] {
            assert_eq!(test.next().await.text(), name);
        }
    }

    #[tokio::test]
    async fn a_caller_never_joins_what_was_sent_before_it_came() {
        let mut test = Test::new();
        let _under_way = test.callers(&["a", "b"]).await;
        let (first, _second) = (test.next().await, test.next().await);
        let before = test.caller("c").await;
        first.tell();
        let gathered = test.next().await;
        assert_eq!(gathered.text(), "c");
        // The same slot, but what was sent may have been read already.
        let after = test.caller("c").await;
        test.expect_silence().await;
        gathered.tell();
        assert_eq!(before.await.unwrap(), told("c", &[]));
        let next = test.next().await;
        assert_eq!(next.text(), "c");
        assert!(!after.is_finished());
        next.tell();
        assert_eq!(after.await.unwrap(), told("c", &[]));
    }

    #[tokio::test]
    async fn first_come_first_served_so_many_at_a_time() {
        let mut test = Test::new();
        let names: Vec<String> = (0..MOST_CALLERS * 2 + 12).map(|n| n.to_string()).collect();
        let callers = test
            .callers(&names.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
        let _stays = test.next().await;
        test.next().await.tell();
        let mut sent = Vec::new();
        for count in [MOST_CALLERS, MOST_CALLERS, 10] {
            let asked = test.next().await;
            assert_eq!(asked.names.len(), count);
            sent.extend(asked.names.clone());
            asked.tell();
        }
        assert_eq!(sent, names[2..]);
        for (caller, name) in callers.into_iter().zip(&names).skip(1) {
            assert_eq!(caller.await.unwrap(), told(name, &[]));
        }
    }

    #[tokio::test]
    async fn who_comes_while_answers_are_handed_out_leaves_with_the_others() {
        let mut test = Test::new();
        let _stays = test.caller("a").await;
        let _a = test.next().await;
        let gather = test.gather.clone();
        let mut callers = JoinSet::new();
        for name in ["b", "c", "d"] {
            let gather = gather.clone();
            callers.spawn(async move {
                for _ in 0..3 {
                    shown(gather.read(wanted(name)).await).unwrap();
                }
            });
        }
        let mut sent = Vec::new();
        while sent.len() < 4 {
            let asked = test.next().await;
            sent.push(asked.text());
            asked.tell();
        }
        // `b` found a turn; from then on all three keep company.
        assert_eq!(sent, ["b", "c d b", "c d b", "c d"]);
    }

    #[tokio::test]
    async fn an_error_is_everyones_and_those_behind_go_on() {
        let mut test = Test::new();
        let callers = test.callers(&["a", "b", "c", "d"]).await;
        let (first, second) = (test.next().await, test.next().await);
        let _ = first.answer.send(Err(error("broken")));
        let gathered = test.next().await;
        assert_eq!(gathered.text(), "c d");
        let behind = test.caller("e").await;
        let _ = gathered.answer.send(Err(error("broken too")));
        test.next().await.tell();
        second.tell();
        let mut got = Vec::new();
        for caller in callers {
            got.push(caller.await.unwrap());
        }
        let expected = [
            Err("broken".to_owned()),
            told("b", &[]),
            Err("broken too".to_owned()),
            Err("broken too".to_owned()),
        ];
        assert_eq!(got, expected);
        assert_eq!(behind.await.unwrap(), told("e", &[]));
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn an_answer_that_is_too_short_is_nothing_found() {
        let mut test = Test::new();
        let callers = test.callers(&["a v1", "b", "c v1", "d v2"]).await;
        let (first, _second) = (test.next().await, test.next().await);
        let _ = first.answer.send(Ok(Vec::new()));
        let gathered = test.next().await;
        let only = vec![Value::BulkString(b"c".to_vec())];
        let _ = gathered.answer.send(Ok(only));
        let mut callers = callers.into_iter();
        assert_eq!(
            callers.next().unwrap().await.unwrap(),
            Ok((None, vec![Version::Absent]))
        );
        let gathered = callers.nth(1).unwrap().await.unwrap();
        assert_eq!(gathered, Ok((Some("c".into()), vec![Version::Absent])));
        assert_eq!(
            callers.next().unwrap().await.unwrap(),
            Ok((None, vec![Version::Absent]))
        );
    }

    #[tokio::test]
    async fn whoever_leaves_takes_nobody_along() {
        let mut test = Test::new();
        let callers = test.callers(&["a", "b", "c", "d", "e", "f"]).await;
        let [gone1, gone2, third, gone3, gone4, last] = callers.try_into().unwrap();
        let (_first, _second) = (test.next().await, test.next().await);
        gone3.abort();
        test.expect_silence().await;
        // The turn of one that is dropped while under way goes to those who wait.
        gone1.abort();
        let gathered = test.next().await;
        assert_eq!(gathered.text(), "c e f", "nobody asks for one who has left");
        // One of the batch leaves, and the other turn's owner: the answer still comes.
        gone4.abort();
        gone2.abort();
        test.expect_silence().await;
        gathered.tell();
        assert_eq!(third.await.unwrap(), told("c", &[]));
        assert_eq!(last.await.unwrap(), told("f", &[]));
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn nothing_is_sent_for_a_line_that_all_have_left() {
        let mut test = Test::new();
        let callers = test.callers(&["a", "b", "c", "d"]).await;
        let (first, second) = (test.next().await, test.next().await);
        for caller in &callers[2..] {
            caller.abort();
        }
        test.expect_silence().await;
        first.tell();
        second.tell();
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn those_who_left_do_not_pile_up() {
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
        first.tell();
        let gathered = test.next().await;
        assert_eq!(gathered.text(), "d");
        gathered.tell();
        assert_eq!(still_here.await.unwrap(), told("d", &[]));
    }

    #[tokio::test]
    async fn each_deadline_counts_from_when_its_caller_began() {
        let mut test = Test::new();
        let _under_way = test.callers(&["a", "b"]).await;
        let (first, _second) = (test.next().await, test.next().await);
        test.set_clock(10);
        let old = test.caller("c").await;
        test.set_clock(60);
        let young = test.caller("d").await;
        test.set_clock(90);
        first.tell();
        let gathered = test.next().await;
        assert_eq!(gathered.until, 60 + LIMIT, "that of the youngest");
        test.set_clock(10 + LIMIT);
        assert_eq!(old.await.unwrap(), Err("too late".into()));
        test.expect_silence().await;
        assert!(!young.is_finished());
        test.set_clock(60 + LIMIT);
        assert_eq!(young.await.unwrap(), Err("too late".into()));
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn a_driver_has_the_clock_of_those_who_come_while_it_is_at_work() {
        let mut test = Test::new();
        let _under_way = test.callers(&["a", "b"]).await;
        let (first, second) = (test.next().await, test.next().await);
        let _before = test.caller("c").await;
        first.tell();
        let gathered = test.next().await;
        let before = test.caller("c").await;
        gathered.tell();
        // The driver goes on with those who came.
        let _not_answered = test.next().await;
        let mut driven = Vec::new();
        for began in [10, 20, 30] {
            test.set_clock(began);
            driven.push((began, test.caller("d").await));
        }
        test.set_clock(90);
        let youngest = test.caller("d").await;
        second.tell();
        let gathered = test.next().await;
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
        gathered.tell();
        assert_eq!(youngest.await.unwrap(), told("d", &[]));
        test.set_clock(90 + LIMIT);
        assert_eq!(behind.await.unwrap(), Err("too late".into()));
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn who_waits_in_line_too_long_leaves_it() {
        let mut test = Test::new();
        let _under_way = test.callers(&["a", "b"]).await;
        let waiting = test.caller("c").await;
        test.set_clock(LIMIT);
        assert_eq!(waiting.await.unwrap(), Err("too late".into()));
        let (_first, _second) = (test.next().await, test.next().await);
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn what_was_large_is_read_on_its_own_beside_the_others() {
        let mut test = Test::new();
        let size = |outcome: Outcome| outcome.unwrap().0.unwrap().len();
        // Nobody knows yet.
        let callers = test.callers(&["a", "b", "large1 v1", "c", "large2"]).await;
        let (first, second) = (test.next().await, test.next().await);
        first.tell();
        second.tell();
        let gathered = test.next().await;
        assert_eq!(gathered.text(), "large1 v1 c large2");
        gathered.tell();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        test.expect_nothing_left().await;
        // Now they wait for each other, and nobody for them.
        let names = [
            "large1 v1",
            "large2",
            "large1 v2",
            "large2 v3",
            "c",
            "d",
            "e",
        ];
        let mut callers = test.callers(&names).await.into_iter();
        let large = test.next().await;
        let (c, d) = (test.next().await, test.next().await);
        let sent = [large.text(), c.text(), d.text()];
        assert_eq!(sent, ["large1 v1", "c", "d"]);
        c.tell();
        let e = test.next().await;
        assert_eq!(e.text(), "e");
        e.tell();
        d.tell();
        test.expect_silence().await;
        // All who want the same one share it.
        large.tell();
        let second = test.next().await;
        assert_eq!(second.text(), "large2 v3");
        second.tell();
        let again = test.next().await;
        assert_eq!(again.text(), "large1 v2");
        again.tell();
        for caller in callers.by_ref().take(4) {
            assert_eq!(size(caller.await.unwrap()), LARGE);
        }
        test.expect_nothing_left().await;
    }

    #[tokio::test]
    async fn a_value_that_was_large_once_is_not_so_for_ever() {
        let mut test = Test::new();
        let first = test.caller("large").await;
        test.next().await.tell();
        first.await.unwrap().unwrap();
        let slot = test.gather.0.sizes.hash(b"large");
        assert_eq!(test.gather.0.sizes.of(slot), Size::Large);
        let second = test.caller("large").await;
        let _ = test.next().await.answer.send(Ok(vec![Value::Nil]));
        assert_eq!(second.await.unwrap(), Ok((None, vec![])));
        assert_eq!(test.gather.0.sizes.of(slot), Size::Small);
    }

    fn on_a_runtime() -> runtime::Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_runtime_that_nobody_drives_keeps_nobody_of_another_waiting() {
        let mut test = Test::new();
        let (stopped, other) = (on_a_runtime(), on_a_runtime());
        let _abandoned = stopped.block_on(test.callers(&["a", "b", "c"]));
        other.block_on(async {
            let callers = test.callers(&["d", "e", "f", "g"]).await;
            let mut sent = Vec::new();
            while sent.len() < 5 {
                let asked = test.next().await;
                sent.push(asked.text());
                asked.tell();
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
    fn whoever_outlives_the_runtime_is_told() {
        let mut test = Test::new();
        let runtime = on_a_runtime();
        let gather = test.gather.clone();
        let entered = runtime.enter();
        let mut turns = [
            pin!(gather.read(wanted("a"))),
            pin!(gather.read(wanted("b"))),
        ];
        let mut waiting = [
            pin!(gather.read(wanted("c"))),
            pin!(gather.read(wanted("d"))),
        ];
        for read in turns.iter_mut().chain(&mut waiting) {
            assert!(poll(read.as_mut()).is_pending());
        }
        drop(entered);
        // The driver of the others would run there.
        runtime.shutdown_background();
        test.asked.try_recv().unwrap().tell();
        assert!(poll(turns[0].as_mut()).is_ready());
        for read in &mut waiting {
            let Poll::Ready(got) = poll(read.as_mut()) else {
                panic!("nobody is left to answer it");
            };
            assert_eq!(shown(got), Err("cut short".into()));
        }
        test.asked.try_recv().unwrap().tell();
        assert!(poll(turns[1].as_mut()).is_ready());
        assert!(gather.0.lock().is_empty());
    }

    /// A caller that holds up its thread once it has its answer, until it is released.
    fn holds_up_its_thread(test: &Test, name: &'static str) -> std::sync::mpsc::Sender<()> {
        let (release, released) = std::sync::mpsc::channel();
        let gather = test.gather.clone();
        tokio::spawn(async move {
            gather.read(wanted(name)).await.unwrap();
            released.recv().unwrap_err();
        });
        release
    }

    async fn until_waiting(test: &Test, callers: usize) {
        while test.waiting() < callers {
            yield_now().await;
        }
    }

    /// On two threads, and not for ever.
    fn on_two_threads(test: impl Future<Output = ()>) {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_time().build().unwrap();
        let limit = Duration::from_secs(20);
        let done = runtime.block_on(async { tokio::time::timeout(limit, test).await });
        done.expect("whoever waits is called");
    }

    #[test]
    fn a_driver_is_not_held_up_with_the_thread_it_was_on() {
        on_two_threads(async {
            let mut test = Test::with_turns(1);
            let _a = test.caller("a").await;
            let first = test.next().await;
            let _b = test.caller("b").await;
            until_waiting(&test, 1).await;
            first.tell();
            let second = test.next().await;
            let _c = test.caller("c").await;
            let _under_way = test.next().await;
            let _release = holds_up_its_thread(&test, "d");
            until_waiting(&test, 1).await;
            second.tell();
            let third = test.next().await;
            assert_eq!(third.text(), "d");
            let _e = test.caller("e").await;
            until_waiting(&test, 1).await;
            third.tell();
            assert_eq!(test.next().await.text(), "e");
        });
    }

    #[test]
    fn who_comes_before_a_driver_runs_has_a_clock() {
        on_two_threads(async {
            let mut test = Test::with_turns(1);
            let _release = holds_up_its_thread(&test, "a");
            let first = test.next().await;
            let _b = test.caller("b").await;
            until_waiting(&test, 1).await;
            // The driver is spawned on the thread that is held up then.
            first.tell();
            while test.gather.0.lock()[0].drivers == 0 {
                yield_now().await;
            }
            // Has the other turn, and is not polled any more.
            let mut c = pin!(test.gather.read(wanted("c")));
            assert!(poll(c.as_mut()).is_pending());
            let waiting = test.caller("d").await;
            until_waiting(&test, 2).await;
            test.set_clock(LIMIT);
            assert_eq!(waiting.await.unwrap(), Err("too late".into()));
        });
    }

    /// Callers who come, leave and are answered in any order: each answer is from after its
    /// caller began, its parts from one moment, and in the end nothing is left.
    #[tokio::test]
    async fn in_any_order() {
        for seed in 0..200 {
            let mut random = Random(seed);
            let mut test = Test::with_turns(1 + random.below(5));
            let mut callers = Vec::new();
            let mut under_way = Vec::new();
            for _ in 0..200 {
                match random.below(6) {
                    0 | 1 => {
                        let (slot, version) = (random.below(8), random.below(3));
                        let read = wanted(&format!("slot{slot} version{version}"));
                        callers.push(tokio::spawn(dated(test.gather.clone(), read)));
                    }
                    2 if !callers.is_empty() => {
                        let at = random.below(callers.len());
                        callers.swap_remove(at).abort();
                    }
                    3 | 4 => {
                        under_way.extend(std::iter::from_fn(|| test.asked.try_recv().ok()));
                        if !under_way.is_empty() {
                            let at = random.below(under_way.len());
                            under_way.swap_remove(at).tell_moment();
                        }
                    }
                    _ => yield_now().await,
                }
            }
            under_way.into_iter().for_each(Asked::tell_moment);
            while callers.iter().any(|caller| !caller.is_finished()) {
                while let Ok(asked) = test.asked.try_recv() {
                    asked.tell_moment();
                }
                yield_now().await;
            }
            for caller in callers {
                assert!(
                    caller.await.expect("an answer"),
                    "too old, with seed {seed}"
                );
            }
            while let Ok(asked) = test.asked.try_recv() {
                asked.tell_moment();
            }
            test.expect_nothing_left().await;
        }
    }

    /// Whether what this caller got was read after it began.
    async fn dated(gather: Arc<Gather<Fake>>, read: Wanted) -> bool {
        let began = gather.0.source.moment();
        let found = gather.read(read).await.unwrap();
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
}
