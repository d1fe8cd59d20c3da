//! A thread for work that must be done where no runtime is left to do it: outside of a runtime,
//! and on one that is shut down.
//!
//! The thread has a runtime of its own. It is started when there is such work, and ends when there
//! is none any more, so there is at most one.

use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::JoinSet;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The work that the thread has not taken up yet, and whether there is a thread.
#[derive(Default)]
struct Waiting {
    work: Vec<Work>,
    /// The process that has a thread for it. A forked process has none of its parent's.
    process: Option<u32>,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    work: Vec::new(),
    process: None,
});

/// Notified when work was added.
static ADDED: Notify = Notify::const_new();

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the thread. Its runtime ends with the work that is run here: not with what that
/// work spawns.
pub(crate) fn is_here() -> bool {
    IS_HERE.get()
}

/// Runs a future to its end on the thread. If there is no thread to be had, it is dropped; whether
/// it is run.
pub(crate) fn run(work: impl Future<Output = ()> + Send + 'static) -> bool {
    let mut waiting = lock();
    waiting.work.push(Box::pin(work));
    let here = Some(process::id());
    if mem::replace(&mut waiting.process, here) == here {
        drop(waiting);
        ADDED.notify_one();
        return true;
    }
    // Under the lock, so that the last work is still this one. The thread waits for the lock.
    let named = thread::Builder::new().name("cache-fallback".to_owned());
    if named.spawn(work_off).is_ok() {
        return true;
    }
    waiting.process = None;
    let work = waiting.work.pop();
    drop(waiting);
    // After the lock: what is dropped may add other work. The work of others waits for the next thread:
    // the caller may hold a lock that they take when they are dropped.
    drop(work);
    false
}

fn work_off() {
    IS_HERE.set(true);
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        let mut waiting = lock();
        waiting.process = None;
        let work = mem::take(&mut waiting.work);
        drop(waiting);
        return drop(work);
    };
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        loop {
            let work = {
                let mut waiting = lock();
                // Under the lock: work that comes later starts another thread.
                if waiting.work.is_empty() && tasks.is_empty() {
                    waiting.process = None;
                    return;
                }
                mem::take(&mut waiting.work)
            };
            for work in work {
                tasks.spawn(work);
            }
            // A panic of one task ends that task only.
            let mut added = pin!(ADDED.notified());
            poll_fn(|context| match tasks.poll_join_next(context) {
                Poll::Ready(Some(_)) => Poll::Ready(()),
                _ => added.as_mut().poll(context),
            })
            .await;
        }
    });
}

/// No work is run or dropped under this lock.
fn lock() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_is_done_without_a_runtime_and_a_panic_of_one_ends_no_other() {
        let (done, ends) = mpsc::channel();
        for i in 0..10 {
            let done = done.clone();
            assert!(run(async move {
                tokio::task::yield_now().await;
                assert!(i != 3, "of a test");
                done.send(i).unwrap();
            }));
        }
        drop(done);
        let mut ended: Vec<_> = ends.iter().collect();
        ended.sort_unstable();
        assert_eq!(ended, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    }
}
