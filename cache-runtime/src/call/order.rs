//! What the next annotated call of a future is to do, rather than what it does otherwise.
//!
//! An attribute on a method can't emit a second item beside it, and a call's key and options are known
//! only where its arguments are. So the API by hand takes the call itself, as a future, and polls it in
//! a context with an *order*. The first annotated call that is polled within takes the order; what its
//! body calls, and what the future calls later, finds none.
//!
//! * [`Order::Refresh`]: the call loads, whatever is stored.
//! * [`Order::Leave`]: the call leaves what is known of it, and stays pending. The future is dropped, and
//!   no body has run.
//!
//! A call without an order does what the [`Mode`] of the scope around it says.

use std::any::type_name;
use std::cell::RefCell;
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use super::compare::Compare;
use super::load::share_outcome;
use super::request::{Keeping, Request, Told};
use super::shape::Shape;
use crate::codec::{Codec, Reason};
use crate::context::mode::{self, Mode};
use crate::context::{self, Open, Slot};
use crate::error::Error;
use crate::key::Key;
use crate::tier::{Encoded, Storable};
use crate::value::{AnyValue, CacheValue, Outcome, SharedValue};
use crate::weigher::Weigher;

thread_local! {
    /// The order to the first annotated call of what this thread polls.
    static CURRENT: RefCell<Option<Order>> = const { RefCell::new(None) };
}

const SLOT: &Slot<Order> = &CURRENT;

/// An order to one call. Clones are one order.
#[derive(Clone)]
enum Order {
    /// Load, whatever is stored. It is true until a call has taken it.
    Refresh(Arc<AtomicBool>),
    Leave(Arc<Mutex<Leave>>),
}

#[derive(Default)]
struct Leave {
    is_taken: bool,
    /// The value that is to be stored, of a type that only the call knows.
    value: Option<AnyValue>,
    left: Option<Left>,
}

/// What a call leaves.
pub(crate) enum Left {
    /// A call that uses the cache, and the value that it was given.
    Call {
        request: Box<Request>,
        given: Option<Given>,
        /// Whether it is of the type of which its site caches values.
        is_cached: bool,
    },
    /// A call that leaves the cache alone: its `condition` is false.
    Bypass,
    /// A call for several keys.
    Batch,
}

/// What a call makes of the value that it was given.
pub(crate) enum Given {
    /// What to store, and for how long; not at all without that.
    Value {
        value: Box<dyn Storable>,
        ttl: Option<Duration>,
        /// The tags that the value told. The call has them, too.
        tags: Vec<Key>,
    },
    /// The value cannot be stored.
    Failed(Error),
    /// The call caches values of this type, and that is another one.
    OtherType(&'static str),
    /// Nothing: the call leaves the cache alone, since it is of another type than its site's first.
    Nothing,
}

/// Why nothing was left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NoCall {
    /// The future has ended.
    Ended,
    /// The future waits for something else first.
    Waits,
}

/// What a call does that has looked for an order.
pub(super) enum Begin {
    /// It goes on. Without a request, it leaves the cache alone.
    On(Option<Box<Request>>),
    /// It stays pending.
    Stay,
}

/// What a call for several keys does that has looked for an order.
pub(super) enum BatchBegin {
    On,
    /// It loads, whatever is stored.
    Refresh,
    /// It leaves the cache alone.
    Bypass,
    /// It stays pending.
    Stay,
}

/// Whether the first call that begins now has an order.
#[cold]
pub(super) fn is_given() -> bool {
    context::current(SLOT).is_some_and(|order| !order.is_taken())
}

/// Takes the order, if there is one, and does what it says. Else it does what the mode says.
#[cold]
pub(super) fn obey<S>(request: Option<Box<Request>>, keep: &impl Keeping<S::Value>) -> Begin
where
    S: Shape<Value: CacheValue>,
{
    let refreshed = |request: Option<Box<Request>>| {
        request.map(|mut request| {
            request.is_refresh = true;
            request
        })
    };
    let Some(order) = context::current(SLOT).filter(Order::take) else {
        return Begin::On(match mode::current() {
            None => request,
            Some(Mode::Refresh) => refreshed(request),
            Some(Mode::Bypass) => None,
        });
    };
    match order {
        Order::Refresh(_) => Begin::On(refreshed(request)),
        Order::Leave(leave) => {
            let given = |value, request: &mut Request| match S::given(value) {
                Some(_) if request.other_type::<S::Value>().is_some() => Given::Nothing,
                Some(outcome) => {
                    let ttl = request.lifetime(&outcome, keep);
                    let Told { mut tags, error } = request.told(&outcome, keep);
                    if let Some(error) = error {
                        return Given::Failed(error);
                    }
                    tags.retain(|tag| !request.query.tags.contains(tag));
                    request.query.tags.extend_from_slice(&tags);
                    let share = share_outcome::<S>;
                    let compare = request.compare;
                    let value = Box::new(Owned {
                        outcome,
                        share,
                        compare,
                    });
                    Given::Value { value, ttl, tags }
                }
                None => Given::OtherType(type_name::<S::Value>()),
            };
            let left = match request {
                None => Left::Bypass,
                Some(mut request) => {
                    let value = lock(&leave).value.take();
                    let given = value.map(|value| given(value, &mut request));
                    Left::Call {
                        is_cached: request.other_type::<S::Value>().is_none(),
                        request,
                        given,
                    }
                }
            };
            lock(&leave).left = Some(left);
            Begin::Stay
        }
    }
}

/// As [`obey`], for a call for several keys, which has no entry to leave.
#[cold]
pub(super) fn begin_batch() -> BatchBegin {
    match context::current(SLOT).filter(Order::take) {
        Some(Order::Refresh(_)) => BatchBegin::Refresh,
        Some(Order::Leave(leave)) => {
            lock(&leave).left = Some(Left::Batch);
            BatchBegin::Stay
        }
        None => match mode::current() {
            None => BatchBegin::On,
            Some(Mode::Refresh) => BatchBegin::Refresh,
            Some(Mode::Bypass) => BatchBegin::Bypass,
        },
    }
}

/// Polls a future whose first annotated call loads, whatever is stored. Returns whether there was one,
/// too.
pub(crate) async fn refresh<F: Future>(future: F) -> (F::Output, bool) {
    let open = Open::new();
    let mut future = pin!(future);
    let given = Arc::new(AtomicBool::new(true));
    let output = poll_fn(|context| {
        // Also once it is taken: it hides an order around this one from what the call's body calls.
        let _entered = open.enter(SLOT, Order::Refresh(given.clone()));
        future.as_mut().poll(context)
    });
    let output = output.await;
    (output, !given.load(Relaxed))
}

/// Polls a future whose calls leave the cache alone.
pub(crate) fn bypass<F: Future>(future: F) -> impl Future<Output = F::Output> {
    mode::within(Mode::Bypass, without_refresh(future))
}

/// Hides an order to refresh from a future: a scope within it decides for its calls.
async fn without_refresh<F: Future>(future: F) -> F::Output {
    let open = Open::new();
    let mut future = pin!(future);
    poll_fn(|context| {
        let is_refresh = |order| matches!(order, Order::Refresh(_));
        let is_ordered = context::current(SLOT).is_some_and(is_refresh);
        let _hidden = is_ordered.then(|| open.hide(SLOT));
        future.as_mut().poll(context)
    })
    .await
}

/// What the first annotated call of a future leaves, with what it makes of a value. The future is
/// polled once, and dropped.
pub(crate) fn leave<F: Future>(future: F, value: Option<AnyValue>) -> Result<Left, NoCall> {
    let leave = Arc::new(Mutex::new(Leave {
        value,
        ..Leave::default()
    }));
    let mut future = pin!(future);
    let polled = {
        let open = Open::new();
        let _entered = open.enter(SLOT, Order::Leave(leave.clone()));
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    };
    let no_call = if polled.is_ready() {
        NoCall::Ended
    } else {
        NoCall::Waits
    };
    // Taken in a statement of its own: a lock in the last expression would outlive `leave`.
    let left = lock(&leave).left.take();
    left.ok_or(no_call)
}

impl Order {
    fn is_taken(&self) -> bool {
        match self {
            Self::Refresh(is_given) => !is_given.load(Relaxed),
            Self::Leave(leave) => lock(leave).is_taken,
        }
    }

    /// False if it was taken before.
    fn take(&self) -> bool {
        match self {
            Self::Refresh(is_given) => is_given.swap(false, Relaxed),
            Self::Leave(leave) => !mem::replace(&mut lock(leave).is_taken, true),
        }
    }
}

/// No code of the user's runs under this lock.
fn lock(leave: &Mutex<Leave>) -> MutexGuard<'_, Leave> {
    leave.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that no load yielded, in both of the forms in which stores keep one.
struct Owned<V> {
    outcome: Outcome<V>,
    share: fn(&Outcome<V>) -> SharedValue,
    compare: Compare,
}

impl<V: CacheValue> Storable for Owned<V> {
    fn share(&self) -> SharedValue {
        (self.share)(&self.outcome)
    }

    fn weigh(&self, weigher: &Weigher) -> usize {
        self.outcome.weigh(weigher)
    }

    fn encode(&self, codec: Codec, is_checked: bool) -> Result<Encoded, Reason> {
        self.outcome
            .encode(codec, is_checked.then_some(self.compare))
    }
}
