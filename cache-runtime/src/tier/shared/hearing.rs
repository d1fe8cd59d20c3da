//! The task that makes a connection hear what is invalidated, for the copies that this process keeps.
//!
//! It begins when the first copy is to be kept that the connection has read, and ends when none is left.
//! While calls ask the server, their answers show that the connection hears. The task asks when they do
//! not. In a cluster it always asks: only the node itself tells whether it still has the hash slots that it
//! had. While a node gives hash slots away, or takes some, no copy of what it has is kept.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock;
use crate::driver::{Connection, Hearing, Trust};
use crate::error::Error;
use crate::observe::Event;

/// How often a connection shows that it hears: several times within the half second that a copy is trusted.
const PAUSE: Duration = Duration::from_millis(100);

/// For how many pauses there is no copy, before the task ends.
const IDLE: u32 = 20;

/// What hears.
pub(super) trait Hears: Send + Sync + 'static {
    /// The channel of notices.
    fn channel(&self) -> String;

    /// How long a request may take.
    fn limit(&self) -> Duration;

    /// A key for trials that the server of this connection has.
    fn trial_key(&self, connection: &Connection) -> String;

    fn observe(&self, event: Event<'_>);
}

/// Makes a connection hear, unless it does, or a task is at it.
pub(super) fn begin<H: Hears>(owner: &Arc<H>, connection: &Arc<Connection>) {
    let Some(hearing) = connection.hearing() else {
        return;
    };
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    // A task of the runtime that drives the connection ends with it.
    if runtime.id() == connection.home().runtime() && hearing.begin_to_keep() {
        let keeping = Keeping {
            owner: Arc::downgrade(owner),
            connection: Arc::downgrade(connection),
        };
        runtime.spawn(keeping.run());
    }
}

/// Both may be dropped meanwhile.
struct Keeping<H> {
    owner: Weak<H>,
    connection: Weak<Connection>,
}

/// Why the task ends.
enum End {
    /// There is no copy, or the connection fails: another task may begin.
    Paused,
    /// The server does not let it hear.
    Refused,
    /// The connection was dropped.
    Gone,
}

impl<H: Hears> Keeping<H> {
    async fn run(self) {
        let end = match self.listen().await {
            Ok(()) => self.keep().await,
            Err(end) => end,
        };
        let connection = self.connection.upgrade();
        let Some(hearing) = connection.as_ref().and_then(|it| it.hearing()) else {
            return;
        };
        match end {
            End::Paused => hearing.stop_keeping(),
            End::Refused => hearing.refuse(),
            End::Gone => {}
        }
    }

    async fn listen(&self) -> Result<(), End> {
        let (owner, connection) = self.both()?;
        let (channel, limit) = (owner.channel(), owner.limit());
        match connection.listen(&channel, limit).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_refused() => {
                owner.observe(Event::CopiesUnheard { error: &error });
                Err(End::Refused)
            }
            Err(_) => Err(End::Paused),
        }
    }

    /// One trust after the other, until there is no copy.
    async fn keep(&self) -> End {
        loop {
            let sent = clock::monotonic();
            // Before the question: what the node loses later, it tells later.
            let trust = Arc::new(Trust::new());
            let told = match self.ask().await {
                Ok(told) => told,
                Err(Asked::Gone) => return End::Gone,
                Err(Asked::Failed) => return End::Paused,
                Err(Asked::Moving) => {
                    clock::pause(PAUSE).await;
                    continue;
                }
            };
            trust.answered(sent);
            if let Err(end) = self.install(&trust) {
                return end;
            }
            if let Some(end) = self.keep_one(&trust, told).await {
                return end;
            }
            if let Err(end) = self.uninstall() {
                return end;
            }
        }
    }

    /// Until the server has other hash slots, which is `None`.
    async fn keep_one(&self, trust: &Arc<Trust>, told: u64) -> Option<End> {
        /// This task's, and the one that further copies are tied to.
        const OWN: usize = 2;
        let mut idle = 0;
        while idle < IDLE {
            clock::pause(PAUSE).await;
            idle = if Arc::strong_count(trust) > OWN {
                0
            } else {
                idle + 1
            };
            // A node of a cluster is always asked.
            if told == 0 && trust.was_answered_within(PAUSE) {
                continue;
            }
            let sent = clock::monotonic();
            match self.ask().await {
                Ok(now) if now == told => trust.answered(sent),
                Ok(_) | Err(Asked::Moving) => return None,
                // If it lasts, the trust ends by itself.
                Err(Asked::Failed) => {}
                Err(Asked::Gone) => return Some(End::Gone),
            }
        }
        Some(End::Paused)
    }

    /// What the server says of itself, which stays the same while it has the same hash slots.
    async fn ask(&self) -> Result<u64, Asked> {
        let (owner, connection) = self.both().map_err(|_| Asked::Gone)?;
        let trial = owner.trial_key(&connection);
        let asked = connection.tell_hash_slots(&trial, owner.limit());
        match asked.await {
            Ok(Some(told)) => Ok(told),
            Ok(None) => Err(Asked::Moving),
            Err(_) => Err(Asked::Failed),
        }
    }

    fn install(&self, trust: &Arc<Trust>) -> Result<(), End> {
        self.replace(Some(trust.clone()))
    }

    fn uninstall(&self) -> Result<(), End> {
        self.replace(None)
    }

    fn replace(&self, trust: Option<Arc<Trust>>) -> Result<(), End> {
        let connection = self.connection.upgrade().ok_or(End::Gone)?;
        let hearing = connection.hearing().ok_or(End::Gone)?;
        hearing.replace_trust(trust);
        Ok(())
    }

    fn both(&self) -> Result<(Arc<H>, Arc<Connection>), End> {
        let both = self.owner.upgrade().zip(self.connection.upgrade());
        both.ok_or(End::Gone)
    }
}

enum Asked {
    /// Hash slots are on their way to the node, or from it.
    Moving,
    Failed,
    Gone,
}

impl Connection {
    /// A request was answered that was sent then. In a cluster, that does not show that the node still has
    /// its hash slots.
    pub(super) fn note_answer(&self, sent: std::time::Instant) {
        if let Some(trust) = self.hearing().and_then(Hearing::trust)
            && !self.is_of_cluster()
        {
            let ago = clock::millis_rounded_up(sent.elapsed());
            trust.answered(clock::monotonic().saturating_sub(ago));
        }
    }

    async fn tell_hash_slots(&self, trial: &str, limit: Duration) -> Result<Option<u64>, Error> {
        match clock::within(limit, std::pin::pin!(self.hash_slots_told(trial))).await {
            Some(told) => told.map_err(|failure| failure.error),
            None => Err(Error::timeout(self.address(), limit)),
        }
    }
}
