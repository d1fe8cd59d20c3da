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
