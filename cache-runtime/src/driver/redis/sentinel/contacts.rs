//! Connections to the sentinels, which are kept: each is asked again where the primary is when a
//! connection to it is to be made, when the sentinel tells of a failover, and from time to time.
//!
//! So an outage of the primary costs the sentinels questions, and no new connections. A failover that
//! this process would not notice, since the old primary still answers it, ends the connections to that
//! primary.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{self, Handle};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::answers::{Choice, Named, Newest, replacement};
use super::contact::Contact;
use super::either;
use crate::clock;
use crate::driver::redis::address::Address;
use crate::error::Error;
use crate::sabotage::{self, Rule};

/// After so long each sentinel is asked again, or connected to again if it is away.
const PAUSE: Duration = Duration::from_secs(2);

/// For how long the other sentinels are waited for, once one has answered.
const GRACE: Duration = Duration::from_millis(30);

/// The connections to the sentinels that are driven by one runtime. A task for each of them ends when
/// this is dropped.
#[derive(Debug)]
pub(super) struct Contacts {
    runtime: runtime::Id,
    desk: Arc<Desk>,
    tasks: Vec<AbortHandle>,
}

/// What the tasks of the contacts and those that connect to the primary share.
#[derive(Debug)]
struct Desk {
    newest: Arc<Mutex<Newest>>,
    state: Mutex<State>,
    /// The number of the newest question.
    question: watch::Sender<u64>,
    /// How many answers there were.
    answers: watch::Sender<u64>,
}

/// What the lock protects: an answer that ends connections, and a connection that is added.
#[derive(Debug)]
struct State {
    /// What each sentinel has told last.
    told: Vec<Option<Told>>,
    /// The connections to the primary.
    in_use: Vec<InUse>,
}

/// What a sentinel has told, and to which question.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) question: u64,
    pub(super) result: Result<Named, Error>,
}

#[derive(Debug)]
struct InUse {
    choice: Choice,
    connection: AbortHandle,
}

/// What each sentinel has told, or `None` if it has not answered.
pub(super) type Answers = Vec<Option<Result<Named, Error>>>;

impl Told {
    /// The answer to this question or a later one.
    pub(super) fn answer(&self, question: u64) -> Option<&Named> {
        let is_fresh = self.question >= question;
        self.result.as_ref().ok().filter(|_| is_fresh)
    }
}

impl Contacts {
    /// Begins to connect to the sentinels; each attempt and each answer may take `limit`.
    pub(super) fn new(
        sentinels: &[Address],
        service: &Arc<str>,
        newest: Arc<Mutex<Newest>>,
        limit: Duration,
    ) -> Self {
        let told = sentinels.iter().map(|_| None).collect();
        let in_use = Vec::new();
        let desk = Arc::new(Desk {
            newest,
            state: Mutex::new(State { told, in_use }),
            question: watch::Sender::new(0),
            answers: watch::Sender::new(0),
        });
        let runtime = Handle::current();
        let tasks = sentinels.iter().enumerate().map(|(by, sentinel)| {
            let contact = keep(desk.clone(), by, sentinel.clone(), service.clone(), limit);
            runtime.spawn(contact).abort_handle()
        });
        Self {
            runtime: runtime.id(),
            tasks: tasks.collect(),
            desk,
        }
    }

    pub(super) fn runtime(&self) -> runtime::Id {
        self.runtime
    }

    /// Whether the runtime was shut down.
    pub(super) fn is_gone(&self) -> bool {
        self.tasks.iter().all(AbortHandle::is_finished)
    }

    /// Asks all sentinels, and returns the answer to believe: once all have answered, or a moment after
    /// the first answer that may be believed, or at the latest then.
    pub(super) async fn choose(&self, until: Instant) -> Result<Choice, Answers> {
        let mut answers = self.desk.answers.subscribe();
        let question = self.desk.ask();
        let mut until = until;
        let mut has_choice = false;
        loop {
            let choice = self.desk.choose(question);
            if choice.is_some() && !has_choice {
                until = until.min(Instant::now() + GRACE);
                has_choice = true;
            }
            let is_over = self.desk.have_all_answered(question)
                || clock::within_until(until, pin!(answers.changed()))
                    .await
                    .is_none();
            if is_over {
                // There may have been more answers.
                let choice = self.desk.choose(question);
                return choice.ok_or_else(|| self.desk.told(question));
            }
        }
    }

    /// Waits for an answer by which the primary is not the chosen one any more.
    pub(super) async fn replacement(&self, choice: &Choice) -> Choice {
        let mut answers = self.desk.answers.subscribe();
        loop {
            answers.borrow_and_update();
            if let Some(other) = replacement(choice, &self.desk.lock().told) {
                return other;
            }
            // The desk has the sender.
            let _ = answers.changed().await;
        }
    }

    /// Ends a connection to the chosen primary once that has been replaced.
    pub(super) fn end_when_replaced(&self, choice: Choice, connection: AbortHandle) {
        let mut state = self.desk.lock();
        state.in_use.retain(|it| !it.connection.is_finished());
        state.in_use.push(InUse { choice, connection });
        // It may have been replaced meanwhile.
        state.end_replaced();
    }
}

impl Desk {
    fn ask(&self) -> u64 {
        let mut number = 0;
        self.question.send_modify(|question| {
            *question += 1;
            number = *question;
        });
        number
    }

    fn tell(&self, by: usize, question: u64, result: Result<Named, Error>) {
        if let Ok(named) = &result {
            let now = Instant::now();
            self.newest().note(named, now);
        }
        {
            let mut state = self.lock();
            state.told[by] = Some(Told { question, result });
            state.end_replaced();
        }
        self.answers.send_modify(|answers| *answers += 1);
    }

    fn choose(&self, question: u64) -> Option<Choice> {
        let now = Instant::now();
        self.newest().choose(&self.lock().told, question, now)
    }

    fn have_all_answered(&self, question: u64) -> bool {
        let is_fresh = |told: &Option<Told>| {
            let told = told.as_ref();
            told.is_some_and(|told| told.question >= question)
        };
        self.lock().told.iter().all(is_fresh)
    }

    /// What each sentinel has told in answer to this question or a later one.
    fn told(&self, question: u64) -> Answers {
        let state = self.lock();
        let fresh = state.told.iter().map(|told| {
            let told = told.as_ref();
            told.filter(|told| told.question >= question)
        });
        fresh.map(|told| Some(told?.result.clone())).collect()
    }

    /// Nothing panics under these locks.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_replaced(&mut self) {
        if !sabotage::keeps(Rule::LeavesReplaced) {
            return;
        }
        let told = &self.told;
        self.in_use.retain(|it| {
            let is_replaced = replacement(&it.choice, told).is_some();
            if is_replaced {
                it.connection.abort();
            }
            !is_replaced
        });
    }
}

/// The task of one contact: keeps a connection to a sentinel, and asks it.
async fn keep(desk: Arc<Desk>, by: usize, sentinel: Address, service: Arc<str>, limit: Duration) {
    let mut questions = desk.question.subscribe();
    loop {
        let question = *questions.borrow_and_update();
        let (question, error) = match Contact::open(&sentinel, &service, limit).await {
            Ok(contact) => serve(&desk, by, &contact, &mut questions, limit).await,
            Err(error) => (question, error),
        };
        desk.tell(by, question, Err(error));
        let asked = pin!(questions.changed());
        let _ = clock::within(PAUSE, asked).await;
    }
}

/// Asks a sentinel until the connection to it fails. Returns why, and the question that it failed at.
async fn serve(
    desk: &Desk,
    by: usize,
    contact: &Contact,
    questions: &mut watch::Receiver<u64>,
    limit: Duration,
) -> (u64, Error) {
    loop {
        let question = *questions.borrow_and_update();
        match contact.ask(limit).await {
            Ok(answer) => desk.tell(by, question, answer),
            Err(error) => return (question, error),
        }
        let asked = pin!(questions.changed());
        let news = pin!(contact.news());
        let _ = clock::within(PAUSE, pin!(either(asked, news))).await;
    }
}

impl Drop for Contacts {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
