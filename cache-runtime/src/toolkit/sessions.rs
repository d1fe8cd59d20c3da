//! Sessions of web applications, for the middleware of `tower-sessions`: each is a text with a ttl.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{OffsetDateTime, UtcOffset};

use super::strings::Strings;
use crate::Cache;
use crate::error::Error;

/// How many ids are drawn for one session. Of 128 random bits, two are the same only where they are not
/// random.
const DRAWN: u32 = 8;

/// A session store for the crate `tower-sessions`, from [`Cache::sessions`]. It implements the trait
/// `SessionStore` of `tower-sessions-core` 0.14 with the feature `tower-sessions-014`, and that of 0.15 with
/// `tower-sessions-015`: choose the one of your `tower-sessions`. Clones are the same store.
///
/// ```ignore
/// use tower_sessions::SessionManagerLayer;
///
/// let sessions = cache.sessions("web").ok_or("sessions need a cache that is on")?;
/// let app = Router::new()
///     .route("/login", post(login))
///     .layer(SessionManagerLayer::new(sessions));
/// ```
///
/// The example `sessions` is such a service, with a log-in and a log-out.
///
/// # What it promises
///
/// * **A session that was deleted stays deleted.** A request may have begun before the log-out, and save its
///   session after it. That save stores nothing, in the same step in which it sees that there is no session.
/// * **Such a save returns `Ok`.** It is no failure of the store, and the middleware would turn an error into
///   an answer of 500. What the request has changed in the session is gone with the session. The cookie
///   that it is answered names no session, so the next request begins without one. The same holds for a
///   session that has expired or was evicted meanwhile.
/// * **A new session replaces no other one.** If its id is taken, another id is drawn.
/// * **A session ends at its `expiry_date`:** by the ttl on the server, or by the clock of the process that
///   loads it, whichever is sooner. To save one whose date has passed removes it.
/// * **Failures are errors,** after the cache's deadline at most. A session that cannot be read is never taken
///   for none, which would log its user out. If the server fails, or refuses, this is `Error::Backend`; if a
///   text is no session, `Error::Decode`; if the year of a date has more than four digits,
///   `Error::Encode`. No error has a session's id or data in its text.
///
/// # What is stored
///
/// A session is the text under its id in [`cache.strings("web")`](Cache::strings):
/// `{"data":{"user":42},"expiry_date":"2027-03-01T09:30:00Z"}`. Both versions of the trait read and write the
/// same, so a service can change from one to the other while users stay logged in.
///
/// * [`Cache::clear`] leaves sessions alone, and so does each invalidation.
/// * In process, with `memory:`, sessions are kept until they end, or the program does.
/// * A server that evicts may evict sessions: their users are logged out. All of them have a ttl, so
///   `volatile-lru` evicts them too. Use a server with `noeviction`, or enough memory.
/// * Where the cache is off, there are no sessions: [`Cache::sessions`] returns `None`. `memory:` is the
///   setting for a program without a server.
/// * In a `CachingSessionStore`, this is the store, and not the cache before one: that is filled by `save`,
///   which stores nothing where there is no session.
///
/// ```
/// # #[cfg(not(feature = "tower-sessions-015"))] fn main() {}
/// # #[cfg(feature = "tower-sessions-015")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_sessions_core_015 as tower_sessions;
/// use cache_runtime::Cache;
/// use tower_sessions::SessionStore as _;
/// use tower_sessions::session::{Id, Record};
///
/// let cache = Cache::builder().url("memory:").build()?;
/// let sessions = cache.sessions("web").expect("the cache is on");
/// let mut session = Record {
///     id: Id::default(),
///     data: [("user".to_owned(), 42.into())].into(),
///     expiry_date: time::OffsetDateTime::now_utc() + time::Duration::days(7),
/// };
/// sessions.create(&mut session).await?;
/// sessions.delete(&session.id).await?;
/// // A request that began before the log-out.
/// sessions.save(&session).await?;
/// assert_eq!(sessions.load(&session.id).await?, None);
/// # Ok(()) }
/// ```
///
/// # Cancellation
///
/// Each of its futures may be dropped. What it was to change may then be changed, or not.
#[derive(Debug, Clone)]
pub struct Sessions {
    texts: Strings,
}

impl Cache {
    /// The sessions of one application, for the middleware of `tower-sessions`. `None` if the cache is
    /// [off](crate::CacheBuilder::url). They are texts of the [store](Self::strings) of this name.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::Cache;
    ///
    /// assert!(Cache::builder().url("memory:").build()?.sessions("web").is_some());
    /// assert!(Cache::builder().url("off:").build()?.sessions("web").is_none());
    /// # Ok(()) }
    /// ```
    pub fn sessions(&self, store: &str) -> Option<Sessions> {
        let texts = self.strings(store)?;
        let texts = texts.with_secret_keys("a session");
        Some(Sessions { texts })
    }
}

/// What the traits of all versions have in a session beside its id.
type Data = HashMap<String, Value>;

/// A session on its way to the store. Its data is sorted, so that equal sessions are equal texts.
///
/// It has a form of its own: how a `Record` is written changes with the features of `time` that a
/// program turns on, so two programs might not read each other's.
#[derive(Serialize)]
struct Written<'a> {
    data: BTreeMap<&'a str, &'a Value>,
    #[serde(with = "time::serde::rfc3339")]
    expiry_date: OffsetDateTime,
}

/// A session as it was stored.
#[derive(Deserialize)]
struct Stored {
    data: Data,
    #[serde(with = "time::serde::rfc3339")]
    expiry_date: OffsetDateTime,
}

/// The errors of the traits of all versions.
enum Failure {
    Encode(String),
    Decode(String),
    Backend(String),
}

impl Failure {
    /// No text of an error has the session's id: with it, a reader of the log could take the session over.
    fn of(error: &Error) -> Self {
        if error.is_codec() {
            Self::Decode("what is stored is no text".to_owned())
        } else {
            Self::Backend(error.to_string())
        }
    }

    /// The words of serde may quote what is stored, so only the place is told.
    fn no_session(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self::Decode(format!(
            "what is stored is no session: line {line}, column {column}"
        ))
    }
}

impl Sessions {
    async fn create_as(
        &self,
        id: &str,
        data: &Data,
        ends: OffsetDateTime,
    ) -> Result<bool, Failure> {
        let (text, ttl) = written(data, ends)?;
        let stored = self.texts.set_if_absent(id, &text, ttl).await;
        stored.map_err(|error| Failure::of(&error))
    }

    /// Stores nothing where there is no session any more, and that is fine.
    async fn save_as(&self, id: &str, data: &Data, ends: OffsetDateTime) -> Result<(), Failure> {
        let (text, ttl) = written(data, ends)?;
        let stored = self.texts.set_if_present(id, &text, ttl).await;
        stored.map(drop).map_err(|error| Failure::of(&error))
    }

    async fn load_of(&self, id: &str) -> Result<Option<Stored>, Failure> {
        let text = self.texts.get(id).await;
        let Some(text) = text.map_err(|error| Failure::of(&error))? else {
            return Ok(None);
        };
        let stored: Stored =
            serde_json::from_str(&text).map_err(|error| Failure::no_session(&error))?;
        let is_over = left_until(stored.expiry_date).is_zero();
        Ok((!is_over).then_some(stored))
    }

    async fn delete_of(&self, id: &str) -> Result<(), Failure> {
        let deleted = self.texts.delete(id).await;
        deleted.map(drop).map_err(|error| Failure::of(&error))
    }
}

/// A session's text, and its ttl. With a ttl of zero, no text is stored.
fn written(data: &Data, ends: OffsetDateTime) -> Result<(String, Duration), Failure> {
    let ttl = left_until(ends);
    if ttl.is_zero() {
        return Ok((String::new(), ttl));
    }
    let too_late = || Failure::Encode("the `expiry_date` is out of range".to_owned());
    let session = Written {
        data: data.iter().map(|(key, value)| (&**key, value)).collect(),
        expiry_date: ends
            .checked_to_offset(UtcOffset::UTC)
            .ok_or_else(too_late)?,
    };
    let text = serde_json::to_string(&session);
    let text = text.map_err(|error| Failure::Encode(error.to_string()))?;
    Ok((text, ttl))
}

/// Zero, if the date has passed.
fn left_until(ends: OffsetDateTime) -> Duration {
    (ends - OffsetDateTime::now_utc())
        .try_into()
        .unwrap_or(Duration::ZERO)
}

/// The trait of one version.
macro_rules! implement {
    ($feature:literal, $core:ident) => {
        #[cfg(feature = $feature)]
        impl From<Failure> for $core::session_store::Error {
            fn from(failure: Failure) -> Self {
                match failure {
                    Failure::Encode(reason) => Self::Encode(reason),
                    Failure::Decode(reason) => Self::Decode(reason),
                    Failure::Backend(reason) => Self::Backend(reason),
                }
            }
        }

        #[cfg(feature = $feature)]
        #[async_trait]
        impl $core::SessionStore for Sessions {
            async fn create(
                &self,
                record: &mut $core::session::Record,
            ) -> $core::session_store::Result<()> {
                for _ in 0..DRAWN {
                    let id = record.id.to_string();
                    if self
                        .create_as(&id, &record.data, record.expiry_date)
                        .await?
                    {
                        return Ok(());
                    }
                    record.id = $core::session::Id::default();
                }
                Err(Failure::Backend("each id that was drawn is taken".to_owned()).into())
            }

            async fn save(
                &self,
                record: &$core::session::Record,
            ) -> $core::session_store::Result<()> {
                let id = record.id.to_string();
                Ok(self.save_as(&id, &record.data, record.expiry_date).await?)
            }

            async fn load(
                &self,
                id: &$core::session::Id,
            ) -> $core::session_store::Result<Option<$core::session::Record>> {
                let stored = self.load_of(&id.to_string()).await?;
                Ok(stored.map(|stored| $core::session::Record {
                    id: *id,
                    data: stored.data,
                    expiry_date: stored.expiry_date,
                }))
            }

            async fn delete(&self, id: &$core::session::Id) -> $core::session_store::Result<()> {
                Ok(self.delete_of(&id.to_string()).await?)
            }
        }
    };
}

implement!("tower-sessions-014", tower_sessions_core_014);
implement!("tower-sessions-015", tower_sessions_core_015);
