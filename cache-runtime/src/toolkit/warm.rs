//! Loads before they are asked for.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream::{BufferUnordered, StreamExt as _};

/// Runs the loads that a stream yields, at most so many at once, so that the calls that follow find what they
/// ask for: calls of annotated functions, or of [`Cache::get_or_load`](crate::Cache::get_or_load). A call whose
/// entry is there does not load it again, unless it is a [`refresh`](crate::refresh).
///
/// A load that fails is counted, and the others go on. To see its error, log it in the load. With a concurrency
/// of zero, one load runs at once.
///
/// An iterator or a list of loads is made a stream by `futures_util::stream::iter`:
/// `warm(stream::iter((1..=3).map(find)), 8)`.
///
/// The next load is taken from the stream when there is room for it, so the stream may be long. The loads run
/// in the task that awaits, on any executor; a function with [`detach`](macro@crate::cached#detach) runs its
/// body in a task of its own.
///
/// Rows of a database are such a stream. An error of the query is a load that fails:
///
/// ```
/// use std::io::Error;
/// use cache_runtime::{cached, warm};
/// use futures_util::{Stream, StreamExt as _, stream};
///
/// #[cached(key = "user:<id>", ttl = 600)]
/// async fn find(id: u64) -> Result<String, Error> {
///     Ok(format!("user {id}"))
/// }
///
/// // As sqlx's `query_scalar("SELECT id FROM users").fetch(&pool)` is.
/// fn ids() -> impl Stream<Item = Result<u64, Error>> {
///     stream::iter([1, 2, 3].map(Ok))
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let loads = ids().map(|id| async move { find(id?).await });
/// let warmed = warm(loads, 8).progress(|now| println!("{} done, {} failed", now.done, now.failed)).await;
/// assert_eq!((warmed.done, warmed.failed), (3, 0));
///
/// // What is known beforehand, by an iterator.
/// let warmed = warm(stream::iter((1..=3).map(find)), 8).await;
/// assert_eq!(warmed.done, 3);
/// # }
/// ```
///
/// A load returns a `Result`. That of a function without errors is given one:
/// `async { Ok::<_, Infallible>(square(7).await) }`.
///
/// # Panics
///
/// If a load does. The others are dropped then.
///
/// # Cancellation
///
/// If this future is dropped, the loads that run are dropped, and no other begins. What was loaded stays.
pub fn warm<S, F, T, E>(loads: S, concurrency: usize) -> Warm<S>
where
    S: Loads<Item = F>,
    F: Future<Output = Result<T, E>>,
{
    Warm {
        running: Box::pin(loads.buffer_unordered(concurrency.max(1))),
        warmed: Warmed::default(),
        tell: ignore,
    }
}

/// What [`warm`] takes: a stream. `futures_util::stream::iter` makes one of an iterator or a list.
///
/// ```
/// use cache_runtime::Loads;
/// use futures_util::stream;
///
/// fn loads(_: impl Loads) {}
/// loads(stream::iter([7, 8].map(|id| async move { Ok::<_, ()>(id) })));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stream of loads",
    label = "expected a `Stream`",
    note = "of an iterator or a list, `futures_util::stream::iter(…)` makes a stream: `warm(stream::iter(ids.map(find)), 8)`"
)]
pub trait Loads: Stream {}

#[diagnostic::do_not_recommend]
impl<S: Stream> Loads for S {}

fn ignore(_: Warmed) {}

/// How far [`warm`] has got.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use futures_util::stream;
///
/// let loads = [Ok(7), Err("the database is away")].map(|load| async move { load });
/// let warmed = cache_runtime::warm(stream::iter(loads), 1).await;
/// assert_eq!((warmed.done, warmed.failed), (2, 1));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Warmed {
    /// How many loads have ended, with a value or an error.
    pub done: u64,
    /// How many of these have ended with an error.
    pub failed: u64,
}

/// The future of [`warm`]. It yields how many loads there were.
#[must_use = "futures do nothing unless polled"]
pub struct Warm<S, P = fn(Warmed)>
where
    S: Loads<Item: Future>,
{
    running: Pin<Box<BufferUnordered<S>>>,
    warmed: Warmed,
    tell: P,
}

impl<S: Stream<Item: Future>, P> Warm<S, P> {
    /// Has a function called after each load that has ended. It is called in the task that awaits, so it should
    /// not block.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use futures_util::stream;
    ///
    /// let mut done = Vec::new();
    /// let loads = [1, 2].map(|id| async move { Ok::<_, ()>(id) });
    /// cache_runtime::warm(stream::iter(loads), 1).progress(|now| done.push(now.done)).await;
    /// assert_eq!(done, [1, 2]);
    /// # }
    /// ```
    pub fn progress<Q: FnMut(Warmed)>(self, tell: Q) -> Warm<S, Q> {
        Warm {
            running: self.running,
            warmed: self.warmed,
            tell,
        }
    }
}

/// Nothing in it is pinned but the stream, which is in a box.
impl<S: Stream<Item: Future>, P> Unpin for Warm<S, P> {}

impl<S, F, T, E, P> Future for Warm<S, P>
where
    S: Stream<Item = F>,
    F: Future<Output = Result<T, E>>,
    P: FnMut(Warmed),
{
    type Output = Warmed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Warmed> {
        let this = &mut *self;
        while let Some(ended) = std::task::ready!(this.running.as_mut().poll_next(context)) {
            this.warmed.done += 1;
            this.warmed.failed += u64::from(ended.is_err());
            (this.tell)(this.warmed);
        }
        Poll::Ready(this.warmed)
    }
}

impl<S: Stream<Item: Future>, P> fmt::Debug for Warm<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm")
            .field("warmed", &self.warmed)
            .finish_non_exhaustive()
    }
}
