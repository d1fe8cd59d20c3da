//! Futures that are awaited together.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Awaits all of these futures at once, in this task, and returns their outputs in their order.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut outputs = Vec::new();
    until(futures, |index, output, _| {
        outputs.push((index, output));
        false
    })
    .await;
    outputs.sort_by_key(|(index, _)| *index);
    outputs.into_iter().map(|(_, output)| output).collect()
}

/// Awaits these futures at once, in this task, until one of their outputs `is_end` or all have ended.
/// Returns the outputs that there are by then, each with the index of its future; the other futures are
/// dropped. What is ready at the same poll as the last output is among them.
pub(crate) async fn up_to<F: Future>(
    futures: impl IntoIterator<Item = F>,
    is_end: impl Fn(&F::Output) -> bool,
) -> Vec<(usize, F::Output)> {
    let mut pending: Vec<(usize, Pin<Box<F>>)> =
        futures.into_iter().map(Box::pin).enumerate().collect();
    let mut outputs = Vec::with_capacity(pending.len());
    poll_fn(|context| {
        let mut has_ended = false;
        pending.retain_mut(|(index, future)| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(output) => {
                has_ended |= is_end(&output);
                outputs.push((*index, output));
                false
            }
        });
        if has_ended || pending.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outputs
}

/// Awaits these futures at once, in this task. Each output is handed to `enough`, with the index of its
/// future and how many are still to come; once `enough` is true, the others are dropped.
pub(crate) async fn until<F: Future>(
    futures: impl IntoIterator<Item = F>,
    mut enough: impl FnMut(usize, F::Output, usize) -> bool,
) {
    let mut pending: Vec<(usize, Pin<Box<F>>)> =
        futures.into_iter().map(Box::pin).enumerate().collect();
    poll_fn(|context| {
        let mut at = 0;
        while let Some((index, future)) = pending.get_mut(at) {
            match future.as_mut().poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(output) => {
                    let index = *index;
                    drop(pending.remove(at));
                    if enough(index, output, pending.len()) {
                        return Poll::Ready(());
                    }
                }
            }
        }
        if pending.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::task::yield_now;

    #[tokio::test]
    async fn all_outputs_come_in_the_order_of_their_futures() {
        let futures = (0..4).map(|number| async move {
            for _ in number..4 {
                yield_now().await;
            }
            number
        });
        assert_eq!(all(futures).await, [0, 1, 2, 3]);
        assert!(all(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_ready_with_the_last_output_is_returned_too() {
        let futures: [Pin<Box<dyn Future<Output = u8>>>; 4] = [
            Box::pin(pending()),
            Box::pin(ready(1)),
            Box::pin(ready(2)),
            Box::pin(ready(3)),
        ];
        let outputs = up_to(futures, |output| *output == 2).await;
        assert_eq!(outputs, [(1, 1), (2, 2), (3, 3)]);
        let none = up_to(Vec::<std::future::Ready<()>>::new(), |()| false);
        assert!(none.await.is_empty());
    }

    #[tokio::test]
    async fn the_others_are_dropped_once_there_is_enough() {
        let futures: [Pin<Box<dyn Future<Output = u8>>>; 3] =
            [Box::pin(pending()), Box::pin(ready(1)), Box::pin(ready(2))];
        let mut seen = Vec::new();
        until(futures, |index, output, left| {
            seen.push((index, output, left));
            output == 2
        })
        .await;
        assert_eq!(seen, [(1, 1, 2), (2, 2, 1)]);
    }
}
