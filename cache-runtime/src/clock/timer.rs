//! A timer of the library's own: one thread, which wakes tasks of any executor.
//!
//! Tokio's timers panic on a runtime that has not enabled them, and a runtime does not say whether
//! it has. Outside of Tokio there are none.
//!
//! The time is real: a paused clock of a Tokio runtime does not touch it.
//!
//! * **An alarm that does not go off costs one insertion and one removal.** The thread is notified
//!   only of an alarm that is earlier than its next look, and never of a removal. So it may wake up
//!   for nothing, at most once for each time it planned.
//! * **No code of others runs under the lock:** wakers are called, cloned and dropped outside of
//!   it. A waker may set alarms. Its panic is caught, and the thread goes on.
//! * **The thread is replaced if it is lost.** A forked child has none, and a waker may block it.
//!   So each new alarm checks that the thread is not [late](LATE), and now and then that this is
//!   the process that started it. A thread that finds itself replaced ends.
//! * **If the thread cannot be started,** alarms do not go off: what waits for them waits without a
//!   limit. The first alarm that is set [later](LATE) tries again.
//!
//! (A fork while another thread holds the lock leaves it locked in the child, as with every lock.)

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use std::{io, mem, process, thread};

static TIMER: Timer = Timer::new();

/// A thread that has not looked this long after its time is taken to be lost.
const LATE: Duration = Duration::from_millis(100);

/// Within this time of the last check, the process is taken to be the same. The check is a system
/// call.
const SAME_PROCESS: Duration = Duration::from_millis(1);

/// Calls `waker` once, at the moment `at` or soon after, on the timer's thread. May be called under
/// a lock, also one that `waker` takes.
pub(crate) fn wake_at(at: Instant, waker: Waker) {
    let _ = TIMER.set(at, Instant::now(), waker);
}

/// An alarm that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Alarm(AlarmId);

impl Alarm {
    /// Calls `waker` at the moment `at` or soon after, unless this is dropped before.
    pub(crate) fn set(at: Instant, waker: Waker) -> Self {
        let (number, _) = TIMER.set(at, Instant::now(), waker);
        Self((at, number))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        TIMER.remove(self.0);
    }
}

/// Is ready from a moment on. Sets its alarm when it is first polled, and removes it when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Sleep {
    at: Instant,
    /// The alarm's number, and its waker: a later poll sees by it whether the task has changed.
    alarm: Option<(u64, Waker)>,
}

impl Sleep {
    pub(crate) fn until(at: Instant) -> Self {
        Self { at, alarm: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (at, now) = (self.at, Instant::now());
        if now >= at {
            return Poll::Ready(());
        }
        let waker = context.waker();
        match &mut self.alarm {
            None => {
                let (number, started) = TIMER.set(at, now, waker.clone());
                // Logged only here: alarms of other kinds are set under locks, and whatever collects
                // the log is code of others.
                if let Err(error) = started {
                    tracing::warn!(%error, "the cache has no timer: its limits are not enforced");
                }
                self.alarm = Some((number, waker.clone()));
            }
            Some((_, current)) if current.will_wake(waker) => {}
            Some((number, current)) => {
                current.clone_from(waker);
                // It went off since `now`, and woke the task that was polled before.
                if !TIMER.replace((at, *number), waker.clone()) {
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((number, _)) = self.alarm {
            TIMER.remove((self.at, number));
        }
    }
}

struct Timer {
    alarms: Mutex<Alarms>,
    /// Notified when the thread is to look earlier than it planned.
    changed: Condvar,
}

/// When an alarm goes off, and a number that tells it from others of that moment.
type AlarmId = (Instant, u64);

struct Alarms {
    wakers: BTreeMap<AlarmId, Waker>,
    /// How many alarms there have been.
    set: u64,
    thread: Option<TimerThread>,
}

struct TimerThread {
    /// How many threads came before it.
    generation: u64,
    /// The process that started it.
    process: u32,
    /// When that was last found to be this process.
    process_checked: Instant,
    /// When it looks at the alarms next. `None` until it is notified.
    looks_at: Option<Instant>,
}

/// What a new alarm asks for.
#[derive(Debug, PartialEq)]
enum Need {
    Nothing,
    Notification,
    Thread,
}

impl Timer {
    const fn new() -> Self {
        Self {
            alarms: Mutex::new(Alarms {
                wakers: BTreeMap::new(),
                set: 0,
                thread: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Sets an alarm. The error is that of a thread that was needed and could not be started.
    fn set(&'static self, at: Instant, now: Instant, waker: Waker) -> (u64, io::Result<()>) {
        let mut alarms = self.lock();
        let number = alarms.add(at, waker);
        let started = match alarms.need(at, now, process::id) {
            Need::Nothing => Ok(()),
            Need::Notification => {
                drop(alarms);
                // All, since a thread that was replaced may wait too.
                self.changed.notify_all();
                Ok(())
            }
            Need::Thread => self.start_thread(&mut alarms, now),
        };
        (number, started)
    }

    /// Replaces the waker of an alarm. False if the alarm has gone off.
    fn replace(&self, id: AlarmId, waker: Waker) -> bool {
        let mut alarms = self.lock();
        let current = alarms.wakers.get_mut(&id);
        let replaced = current.map(|current| mem::replace(current, waker));
        drop(alarms);
        replaced.is_some()
    }

    fn remove(&self, id: AlarmId) {
        let removed = self.lock().wakers.remove(&id);
        // After the lock: this may be the last handle of a task.
        drop(removed);
    }

    /// Starts a thread in the place of the one there is. If that fails, it is as if the new thread
    /// were late.
    fn start_thread(&'static self, alarms: &mut Alarms, now: Instant) -> io::Result<()> {
        let previous = alarms.thread.as_ref();
        let generation = previous.map_or(0, |previous| previous.generation + 1);
        alarms.thread = Some(TimerThread {
            generation,
            process: process::id(),
            process_checked: now,
            looks_at: Some(now),
        });
        let thread = thread::Builder::new().name("cache-timer".to_owned());
        thread.spawn(move || self.run(generation)).map(drop)
    }

    /// The thread: lets alarms go off until another thread takes its place.
    fn run(&self, generation: u64) {
        let mut alarms = self.lock();
        while alarms.has_thread(generation) {
            let now = Instant::now();
            if let Some(waker) = alarms.take_due(now) {
                // While a waker runs, new alarms need no notification.
                alarms.plan(Some(now));
                drop(alarms);
                wake(waker);
                alarms = self.lock();
                continue;
            }
            let next = alarms.next();
            alarms.plan(next);
            alarms = if let Some(at) = next {
                let waited = self.changed.wait_timeout(alarms, at - now);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = self.changed.wait(alarms);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alarms {
    fn add(&mut self, at: Instant, waker: Waker) -> u64 {
        let number = self.set;
        self.set += 1;
        self.wakers.insert((at, number), waker);
        number
    }

    /// Takes the first alarm whose moment has come. One at a time: if its waker blocks the thread,
    /// the others are left for the thread that takes its place.
    fn take_due(&mut self, now: Instant) -> Option<Waker> {
        let first = self.wakers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next(&self) -> Option<Instant> {
        let (&(at, _), _) = self.wakers.first_key_value()?;
        Some(at)
    }

    /// What an alarm needs that was added `now`, in this process.
    fn need(&mut self, at: Instant, now: Instant, this_process: impl FnOnce() -> u32) -> Need {
        let Some(thread) = &mut self.thread else {
            return Need::Thread;
        };
        if thread.looks_at.is_some_and(|looks| looks + LATE < now) {
            return Need::Thread;
        }
        let is_earlier = thread.looks_at.is_none_or(|looks| at < looks);
        if is_earlier || thread.process_checked + SAME_PROCESS < now {
            thread.process_checked = now;
            if this_process() != thread.process {
                return Need::Thread;
            }
        }
        if !is_earlier {
            return Need::Nothing;
        }
        // Further alarms need no notification, and the thread is late if it does not hear this one.
        thread.looks_at = Some(now);
        Need::Notification
    }

    fn has_thread(&self, generation: u64) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| thread.generation == generation)
    }

    /// Notes when the thread looks next.
    fn plan(&mut self, looks_at: Option<Instant>) {
        if let Some(thread) = &mut self.thread {
            thread.looks_at = looks_at;
        }
    }
}

fn wake(waker: Waker) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        // Its `Drop` may panic again.
        mem::forget(panic);
        tracing::error!("a waker panicked on the cache's timer thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Wake;

    const SECOND: Duration = Duration::from_secs(1);
    const THIS: u32 = 7;

    fn timer() -> &'static Timer {
        Box::leak(Box::new(Timer::new()))
    }

    /// A waker that runs a function.
    fn calls(function: impl Fn() + Send + Sync + 'static) -> Waker {
        struct Calls<F>(F);
        impl<F: Fn() + Send + Sync + 'static> Wake for Calls<F> {
            fn wake(self: Arc<Self>) {
                (self.0)();
            }
        }
        Arc::new(Calls(function)).into()
    }

    /// A waker that sends a text.
    fn sends(sender: &Sender<&'static str>, text: &'static str) -> Waker {
        let sender = sender.clone();
        calls(move || {
            let _ = sender.send(text);
        })
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn next(heard: &Receiver<&'static str>) -> &'static str {
        heard.recv_timeout(SECOND * 60).expect("an alarm")
    }

    #[test]
    fn alarms_are_due_at_their_moment_and_in_order() {
        let Timer { alarms, .. } = Timer::new();
        let mut alarms = alarms.into_inner().unwrap();
        let (sender, heard) = channel();
        let now = Instant::now();
        for (text, at) in [("c", 2), ("a", 1), ("d", 3), ("b", 1)] {
            alarms.add(now + SECOND * at, sends(&sender, text));
        }
        assert_eq!(alarms.next(), Some(now + SECOND));
        assert!(alarms.take_due(now).is_none());
        while let Some(waker) = alarms.take_due(now + SECOND * 2) {
            waker.wake();
        }
        assert_eq!(heard.try_iter().collect::<String>(), "abc");
        assert_eq!(alarms.next(), Some(now + SECOND * 3));
    }

    #[test]
    fn the_thread_is_notified_only_of_an_alarm_before_its_next_look() {
        let timer = timer();
        let now = Instant::now();
        let (later, earlier) = (now + SECOND * 2, now + SECOND);
        let mut alarms = timer.lock();
        let mut need = |at| alarms.need(at, now, || THIS);
        assert_eq!(need(later), Need::Thread);
        alarms.thread = Some(TimerThread {
            generation: 0,
            process: THIS,
            process_checked: now,
            looks_at: None,
        });
        let mut need = |at| alarms.need(at, now, || THIS);
        // It waits until it is notified, once.
        assert_eq!(need(later), Need::Notification);
        assert_eq!(need(earlier), Need::Nothing);
        alarms.plan(Some(later));
        let mut need = |at| alarms.need(at, now, || THIS);
        assert_eq!(need(later), Need::Nothing);
        assert_eq!(need(earlier), Need::Notification);
        assert_eq!(need(earlier), Need::Nothing);
    }

    #[test]
    fn a_thread_that_is_late_or_of_another_process_is_replaced() {
        let timer = timer();
        let start = Instant::now();
        let mut alarms = timer.lock();
        alarms.thread = Some(TimerThread {
            generation: 0,
            process: THIS,
            process_checked: start,
            looks_at: Some(start + SECOND),
        });
        let at = start + SECOND * 9;
        let mut need = |now, process| alarms.need(at, now, || process);
        assert_eq!(need(start + SAME_PROCESS, THIS + 1), Need::Nothing);
        assert_eq!(need(start + SAME_PROCESS * 2, THIS + 1), Need::Thread);
        assert_eq!(need(start + SECOND + LATE, THIS), Need::Nothing);
        assert_eq!(need(start + SECOND + LATE * 2, THIS), Need::Thread);
        // One that was notified, and did not hear it.
        alarms.plan(None);
        let mut need = |now| alarms.need(at, now, || THIS);
        assert_eq!(need(start), Need::Notification);
        assert_eq!(need(start + LATE * 2), Need::Thread);
    }

    #[test]
    fn an_alarm_goes_off_although_a_waker_panicked() {
        let timer = timer();
        let (sender, heard) = channel();
        let now = Instant::now();
        let _ = timer.set(now, now, calls(|| panic!("a waker that panics")));
        let _ = timer.set(now, now, sends(&sender, "after"));
        assert_eq!(next(&heard), "after");
    }

    #[test]
    fn a_waker_may_set_an_alarm() {
        let timer = timer();
        let (sender, heard) = channel();
        let second = sends(&sender, "second");
        let first = calls(move || {
            let now = Instant::now();
            let _ = timer.set(now + LATE / 50, now, second.clone());
        });
        let now = Instant::now();
        let _ = timer.set(now, now, first);
        assert_eq!(next(&heard), "second");
    }

    #[test]
    fn a_thread_that_a_waker_blocks_is_replaced_and_ends() {
        let timer = timer();
        let (sender, heard) = channel();
        let (unblock, blocked) = channel::<()>();
        let blocked = Mutex::new(blocked);
        let blocks = {
            let sender = sender.clone();
            calls(move || {
                let _ = sender.send("blocked");
                let _ = blocked.lock().unwrap().recv();
                let _ = sender.send("unblocked");
            })
        };
        let now = Instant::now();
        let _ = timer.set(now, now, blocks);
        let _ = timer.set(now, now, sends(&sender, "behind"));
        assert_eq!(next(&heard), "blocked");
        while timer.lock().has_thread(0) {
            assert_eq!(heard.try_recv().ok(), None);
            thread::sleep(LATE / 10);
            let now = Instant::now();
            let _ = timer.set(now + SECOND * 600, now, Waker::noop().clone());
        }
        assert_eq!(next(&heard), "behind");
        drop(unblock);
        assert_eq!(next(&heard), "unblocked");
        // This returns at once.
        timer.run(0);
        assert!(!timer.lock().has_thread(0));
    }

    #[test]
    fn a_sleep_wakes_the_task_that_polled_it_last() {
        let mut sleep = Sleep::until(Instant::now() + LATE);
        let (first, last) = (Arc::<Wakes>::default(), Arc::<Wakes>::default());
        let mut poll = |wakes: &Arc<Wakes>| {
            let waker = wakes.clone().into();
            Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker))
        };
        assert!(poll(&first).is_pending() && poll(&last).is_pending());
        while last.0.load(SeqCst) == 0 {
            thread::sleep(LATE / 10);
        }
        assert!(poll(&last).is_ready());
        assert_eq!((first.0.load(SeqCst), last.0.load(SeqCst)), (0, 1));
    }

    #[test]
    fn a_sleep_keeps_no_alarm_when_it_is_dropped() {
        let task = Arc::<Wakes>::default();
        let waker = task.clone().into();
        let at = Instant::now() + SECOND * 600;
        let mut sleep = Sleep::until(at);
        assert_eq!(Arc::strong_count(&task), 2);
        let poll = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        assert_eq!(Arc::strong_count(&task), 4);
        let id = (at, sleep.alarm.as_ref().expect("an alarm").0);
        assert!(TIMER.lock().wakers.contains_key(&id));
        drop(sleep);
        assert_eq!(Arc::strong_count(&task), 2);
        assert!(!TIMER.lock().wakers.contains_key(&id));
    }
}
