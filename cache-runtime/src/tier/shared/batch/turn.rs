//! A caller's turn, and the waker that ends it.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::Handle;

use super::Reads;
use super::dispatcher::Dispatcher;
use super::line::{Charge, LineId};
use super::source::Source;
use crate::sabotage::{self, Rule};

/// A caller's right to have one command under way.
///
/// The caller's read is polled with a waker of its own. The turn ends when the read is woken, which
/// its answer and its deadline both do, or when the caller is dropped. So the turn of a caller that
/// is set aside (neither polled nor dropped) is free again when its answer comes or its deadline
/// passes.
///
/// Something else may wake the read earlier: an attempt to connect that has ended, room in the
/// connection's queue, or a task that Tokio makes give way. Then one more command is under way than
/// there are turns, which does no harm.
pub(super) struct CallerTurn<S: Source>(Arc<Turn<S>>);

struct Turn<S: Source> {
    reads: Arc<Reads<S>>,
    line: LineId,
    charge: Charge,
    has_ended: AtomicBool,
    /// The waker that the caller was last polled with.
    caller: Mutex<Waker>,
}

impl<S: Source> CallerTurn<S> {
    pub(super) fn new(reads: &Arc<Reads<S>>, line: LineId, charge: Charge) -> Self {
        Self(Arc::new(Turn {
            reads: reads.clone(),
            line,
            charge,
            has_ended: AtomicBool::new(false),
            caller: Mutex::new(Waker::noop().clone()),
        }))
    }

    /// Awaits the caller's read. The turn is over when this returns, before the value is decoded:
    /// the line need not wait for that.
    pub(super) async fn run<F: Future>(self, mut read: Pin<Box<F>>) -> F::Output {
        let waker = Waker::from(self.0.clone());
        poll_fn(|context| self.poll(read.as_mut(), &waker, context)).await
    }

    fn poll<F: Future>(
        &self,
        read: Pin<&mut F>,
        waker: &Waker,
        context: &mut Context<'_>,
    ) -> Poll<F::Output> {
        // Before the poll: if the answer comes during it, this waker is the one to wake.
        self.0.set_caller(context.waker());
        read.poll(&mut Context::from_waker(waker))
    }

    /// As [`run`](Self::run), for a large read. Its answer comes also if the caller is dropped before, and
    /// its bytes are under way until then: else callers that are dropped, one after the other, could make the
    /// server keep any number of answers for one connection. So a task awaits the answer.
    pub(super) async fn run_to_the_end<F>(self, runtime: Handle, read: Pin<Box<F>>) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let waker = Waker::from(self.0.clone());
        let mut under_way = UnderWay {
            runtime,
            read: Some((self, read)),
        };
        let output = poll_fn(|context| match &mut under_way.read {
            Some((turn, read)) => turn.poll(read.as_mut(), &waker, context),
            None => Poll::Pending,
        })
        .await;
        under_way.read = None;
        output
    }
}

/// A large read, which a task awaits if this is dropped before its answer comes.
struct UnderWay<S: Source, F>
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime: Handle,
    /// `None` once it is answered.
    read: Option<(CallerTurn<S>, Pin<Box<F>>)>,
}

impl<S: Source, F> Drop for UnderWay<S, F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        // A turn that has ended was woken by the answer or at the deadline.
        if let Some((turn, read)) = self.read.take()
            && !turn.0.has_ended.load(Ordering::Relaxed)
            && !std::thread::panicking()
        {
            // Not to the end again: a runtime that is shut down drops the task at once.
            self.runtime.spawn(async move {
                turn.run(read).await;
            });
        }
    }
}

impl<S: Source> Drop for CallerTurn<S> {
    fn drop(&mut self) {
        if let Some(dispatcher) = self.0.end() {
            dispatcher.spawn();
        }
    }
}

impl<S: Source> Turn<S> {
    /// Ends the turn, unless it has ended. If callers wait, the dispatcher that is returned has
    /// taken it over.
    fn end(&self) -> Option<Dispatcher<S>> {
        if self.has_ended.swap(true, Ordering::Relaxed) {
            return None;
        }
        let runtime = self
            .reads
            .lines
            .turn_into_dispatcher(self.line, self.charge)?;
        Some(Dispatcher::new(&self.reads, self.line, runtime))
    }

    fn set_caller(&self, waker: &Waker) {
        let mut caller = self.lock();
        if !caller.will_wake(waker) {
            let old = mem::replace(&mut *caller, waker.clone());
            drop(caller);
            // After the lock: dropping a waker may run any code.
            drop(old);
        }
    }

    /// Held for moments. No waker is woken or dropped under it.
    fn lock(&self) -> std::sync::MutexGuard<'_, Waker> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called by the task that drives the connection, by a timer, or by a runtime that is shut down:
/// none of them holds a lock that spawning a task or waking another one needs.
impl<S: Source> Wake for Turn<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let dispatcher = sabotage::keeps(Rule::TurnEnds)
            .then(|| self.end())
            .flatten();
        let caller = self.lock().clone();
        // The caller first: if it reads again at once, the dispatcher reads for it too.
        caller.wake();
        if let Some(dispatcher) = dispatcher {
            dispatcher.spawn();
        }
    }
}
