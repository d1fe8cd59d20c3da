//! One load for several keys: an attempt of each key's flight, whose work is the same future.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::circle::{Polling, Waiting};
use super::progress::Progress;
use super::{Leader, lock};
use crate::clock;
use crate::value::SharedValue;

/// Does a part of the work of these leaders in a way that shows whether it moves, as
/// [`Leader::follow`] does for one.
pub(crate) async fn follow<Evidence, F: Future>(
    leaders: &mut [Leader<Evidence>],
    mut work: Pin<&mut F>,
) -> F::Output {
    std::future::poll_fn(|context| {
        poll(leaders.iter_mut(), context, |context| {
            work.as_mut().poll(context)
        })
    })
    .await
}

/// Awaits these futures at once, and returns their outputs in their order. The leaders that some of them
/// yield are followed while the others are awaited.
pub(crate) async fn gather<Evidence, F: Future>(
    futures: impl IntoIterator<Item = F>,
    leader_of: impl Fn(&mut F::Output) -> Option<&mut Leader<Evidence>>,
) -> Vec<F::Output> {
    let mut pending: Vec<(usize, Pin<Box<F>>)> =
        futures.into_iter().map(Box::pin).enumerate().collect();
    let mut outputs: Vec<(usize, F::Output)> = Vec::with_capacity(pending.len());
    std::future::poll_fn(|context| {
        loop {
            let mut new = Vec::new();
            let leaders = outputs.iter_mut().map(|(_, output)| output);
            let ended = poll(leaders.filter_map(&leader_of), context, |context| {
                pending.retain_mut(|(index, future)| match future.as_mut().poll(context) {
                    Poll::Pending => true,
                    Poll::Ready(output) => {
                        new.push((*index, output));
                        false
                    }
                });
                if pending.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
            // Once more with the new ones: what wakes the others shows that these move, too.
            let has_new = !new.is_empty();
            outputs.append(&mut new);
            if ended.is_ready() || !has_new {
                return ended;
            }
        }
    })
    .await;
    outputs.sort_by_key(|(index, _)| *index);
    outputs.into_iter().map(|(_, output)| output).collect()
}

/// Waits, at most for `limit`, until the flights that these have replaced are over, as
/// [`Leader::wait_for_previous`] does for one.
pub(crate) async fn wait_for_previous<Evidence>(leaders: &mut [Leader<Evidence>], limit: Duration) {
    let previous: Vec<_> = leaders.iter().filter_map(Leader::previous).collect();
    if previous.is_empty() {
        return;
    }
    let ended = pin!(async {
        for flight in previous {
            // That load may not end before this caller does.
            if let Some(_waiting) = Waiting::begin(flight.id()) {
                flight.ended().await;
            }
        }
    });
    let ended = pin!(clock::within(limit, ended));
    follow(leaders, ended).await;
}

/// Loads for these leaders. `None` if other attempts have landed for each of them, with values that
/// the caller can use: then the load is not needed any more.
pub(crate) async fn load<Evidence, F: Future>(
    leaders: &mut [Leader<Evidence>],
    mut load: Pin<&mut F>,
    is_usable: impl Fn(&SharedValue) -> bool,
) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        if is_needless(leaders, &is_usable) {
            return Poll::Ready(None);
        }
        let flights: Vec<_> = leaders.iter().map(|leader| leader.flight.id()).collect();
        let loaded = poll(leaders.iter_mut(), context, |context| {
            // What the load calls is inside of the loads of all these keys.
            let _polling: Vec<_> = flights.iter().copied().map(Polling::begin).collect();
            load.as_mut().poll(context)
        });
        loaded.map(Some)
    })
    .await
}

/// Whether other attempts have landed for all of these leaders.
fn is_needless<Evidence>(
    leaders: &[Leader<Evidence>],
    is_usable: impl Fn(&SharedValue) -> bool,
) -> bool {
    let has_landed = |leader: &Leader<Evidence>| {
        // The first attempt of a flight, at its first poll, has no other beside it.
        let may_have_others = leader.progress.is_some() || leader.generation > 0;
        may_have_others && leader.landed().is_some_and(|landed| is_usable(&landed))
    };
    !leaders.is_empty() && leaders.iter().all(has_landed)
}

/// As [`Leader::poll`]: what is ready at its first poll costs nothing more.
fn poll<'a, Evidence: 'a, T>(
    leaders: impl Iterator<Item = &'a mut Leader<Evidence>>,
    context: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let leaders: Vec<_> = leaders.collect();
    if leaders.is_empty() {
        return poll(context);
    }
    let noted = leaders.iter().find_map(|leader| leader.progress.clone());
    if noted.is_none()
        && let Poll::Ready(output) = poll(context)
    {
        return Poll::Ready(output);
    }
    let progress = noted.unwrap_or_else(|| Arc::new(Progress::new()));
    for leader in leaders {
        leader.note_progress(&progress);
    }
    progress.poll(context, poll)
}

impl<Evidence> Leader<Evidence> {
    /// The value that another attempt of the flight has landed with.
    pub(crate) fn landed(&self) -> Option<SharedValue> {
        self.flight.landed_for(self.is_late)
    }

    /// From now on, this is the progress of this attempt.
    fn note_progress(&mut self, progress: &Arc<Progress>) {
        let is_it = |it: &Arc<Progress>| Arc::ptr_eq(it, progress);
        if self.progress.as_ref().is_some_and(is_it) {
            return;
        }
        let replaced = self.progress.replace(progress.clone());
        let mut state = lock(&self.flight.state);
        if let Some(replaced) = replaced {
            state.pending.retain(|(_, it)| !Arc::ptr_eq(it, &replaced));
        }
        state.pending.push((self.generation, progress.clone()));
    }
}
