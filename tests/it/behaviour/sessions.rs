//! Sessions for the middleware of `tower-sessions`: the contract of its store, in each version of its trait.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cache_runtime::{Cache, Sessions};
use cache_tests::{LIMIT, RedisServer, patient, until};
use serde_json::{Value, json};
use time::{OffsetDateTime, PrimitiveDateTime};

/// What a `Record` is in each version.
#[derive(Debug, Clone, PartialEq)]
struct Session {
    id: i128,
    data: HashMap<String, Value>,
    expiry_date: OffsetDateTime,
}

/// What an error is in each version.
#[derive(Debug)]
enum Failure {
    Encode,
    Decode(String),
    Backend(String),
}

/// The trait `SessionStore` of one version.
trait Version {
    fn new_id() -> i128;
    /// As it is in the cookie.
    fn shown(id: i128) -> String;
    async fn create(sessions: &Sessions, session: &mut Session) -> Result<(), Failure>;
    async fn save(sessions: &Sessions, session: &Session) -> Result<(), Failure>;
    async fn load(sessions: &Sessions, id: i128) -> Result<Option<Session>, Failure>;
    async fn delete(sessions: &Sessions, id: i128) -> Result<(), Failure>;
}

/// Runs each behaviour with each version, on each backend.
macro_rules! in_each_version {
    ($($behaviour:ident)+) => {
        in_each_version! { version_014 tower_sessions_core_014 [$($behaviour)+] }
        in_each_version! { version_015 tower_sessions_core_015 [$($behaviour)+] }
    };
    ($version:ident $core:ident [$($behaviour:ident)+]) => {
        mod $version {
            use $core::session::{Id, Record};
            use $core::session_store::Error;
            use $core::SessionStore as _;
            use cache_runtime::{Cache, Sessions};

            use super::{Failure, Session};

            pub(super) struct Version;

            impl From<Error> for Failure {
                fn from(error: Error) -> Self {
                    match error {
                        Error::Encode(_) => Self::Encode,
                        Error::Decode(reason) => Self::Decode(reason),
                        Error::Backend(reason) => Self::Backend(reason),
                    }
                }
            }

            impl From<Session> for Record {
                fn from(session: Session) -> Self {
                    let Session { id, data, expiry_date } = session;
                    Self { id: Id(id), data, expiry_date }
                }
            }

            impl From<Record> for Session {
                fn from(record: Record) -> Self {
                    let Record { id, data, expiry_date } = record;
                    Self { id: id.0, data, expiry_date }
                }
            }

            impl super::Version for Version {
                fn new_id() -> i128 {
                    Id::default().0
                }

                fn shown(id: i128) -> String {
                    Id(id).to_string()
                }

                async fn create(sessions: &Sessions, session: &mut Session) -> Result<(), Failure> {
                    let mut record = session.clone().into();
                    let created = sessions.create(&mut record).await;
                    *session = record.into();
                    Ok(created?)
                }

                async fn save(sessions: &Sessions, session: &Session) -> Result<(), Failure> {
                    Ok(sessions.save(&session.clone().into()).await?)
                }

                async fn load(sessions: &Sessions, id: i128) -> Result<Option<Session>, Failure> {
                    Ok(sessions.load(&Id(id)).await?.map(Session::from))
                }

                async fn delete(sessions: &Sessions, id: i128) -> Result<(), Failure> {
                    Ok(sessions.delete(&Id(id)).await?)
                }
            }

            $(async fn $behaviour(cache: Cache) {
                super::$behaviour::<Version>(cache).await;
            })+

            $crate::behaviour::on_every_backend! { $($behaviour)+ }

            #[tokio::test]
            async fn without_its_server_a_store_fails() {
                super::without_its_server_a_store_fails::<Version>().await;
            }

            #[tokio::test]
            async fn a_server_that_hangs_fails_in_time() {
                super::a_server_that_hangs_fails_in_time::<Version>().await;
            }
        }
    };
}

in_each_version! {
    a_session_comes_back_as_it_was_saved
    an_id_that_is_taken_is_drawn_anew
    a_session_that_was_deleted_does_not_come_back
    a_session_ends_with_its_date
    a_date_that_has_passed_removes
    what_is_no_session_is_an_error
}

fn sessions(cache: &Cache) -> Sessions {
    cache.sessions("web").unwrap()
}

fn in_an_hour() -> OffsetDateTime {
    OffsetDateTime::now_utc() + time::Duration::HOUR
}

fn session<V: Version>(user: u64) -> Session {
    Session {
        id: V::new_id(),
        data: HashMap::from([("user".to_owned(), json!(user))]),
        expiry_date: in_an_hour(),
    }
}

async fn load<V: Version>(sessions: &Sessions, session: &Session) -> Option<Session> {
    V::load(sessions, session.id).await.unwrap()
}

async fn a_session_comes_back_as_it_was_saved<V: Version>(cache: Cache) {
    let sessions = sessions(&cache);
    let mut first = session::<V>(7);
    assert_eq!(load::<V>(&sessions, &first).await, None);
    let id = first.id;
    V::create(&sessions, &mut first).await.unwrap();
    assert_eq!(first.id, id, "an id that is free stays");
    cache.clear().await.unwrap();
    assert_eq!(load::<V>(&sessions, &first).await, Some(first.clone()));

    first.data = HashMap::from([
        ("z".to_owned(), json!(null)),
        ("a:\"ä\n".to_owned(), json!([1.5, "\0", {"b": i64::MIN}])),
    ]);
    // Middleware saturates: this is the latest date that there is.
    first.expiry_date = PrimitiveDateTime::MAX.assume_utc();
    V::save(&sessions, &first).await.unwrap();
    assert_eq!(load::<V>(&sessions, &first).await, Some(first.clone()));

    // In another offset it is the same date, and what is stored can be read.
    let east = time::UtcOffset::from_hms(14, 0, 0).unwrap();
    let date = PrimitiveDateTime::new(
        time::Date::from_calendar_date(2999, time::Month::March, 1).unwrap(),
        time::Time::from_hms_micro(9, 30, 0, 250_000).unwrap(),
    );
    first.expiry_date = date.assume_utc().to_offset(east);
    V::save(&sessions, &first).await.unwrap();
    assert_eq!(load::<V>(&sessions, &first).await, Some(first.clone()));
    let text = cache.strings("web").unwrap().get(&V::shown(first.id)).await;
    let expected = r#"{"data":{"a:\"ä\n":[1.5,"\u0000",{"b":-9223372036854775808}],"z":null},"expiry_date":"2999-03-01T09:30:00.25Z"}"#;
    assert_eq!(text.unwrap().as_deref(), Some(expected));

    V::delete(&sessions, first.id).await.unwrap();
    assert_eq!(load::<V>(&sessions, &first).await, None);
    V::delete(&sessions, first.id).await.unwrap();
}

async fn an_id_that_is_taken_is_drawn_anew<V: Version>(cache: Cache) {
    let sessions = sessions(&cache);
    let first = session::<V>(0);
    let mut all = Vec::new();
    for user in 0..10 {
        all.push(Session {
            id: first.id,
            ..session::<V>(user)
        });
    }
    // Some at the same moment.
    let (now, later) = all.split_at_mut(3);
    let [one, two, three] = now else {
        unreachable!("these are three")
    };
    let (one, two, three) = tokio::join!(
        V::create(&sessions, one),
        V::create(&sessions, two),
        V::create(&sessions, three),
    );
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    for session in later {
        V::create(&sessions, session).await.unwrap();
    }
    let ids: HashSet<i128> = all.iter().map(|session| session.id).collect();
    assert!(ids.len() == 10 && ids.contains(&first.id));
    for session in all {
        assert_eq!(load::<V>(&sessions, &session).await, Some(session));
    }
}

/// A request that began before the user logged out saves the session.
async fn a_session_that_was_deleted_does_not_come_back<V: Version>(cache: Cache) {
    let sessions = sessions(&cache);
    for user in 0..20 {
        let mut session = session::<V>(user);
        V::create(&sessions, &mut session).await.unwrap();
        let mut later = load::<V>(&sessions, &session).await.unwrap();
        later.data.insert("seen".to_owned(), json!(true));
        let (saved, deleted) =
            tokio::join!(V::save(&sessions, &later), V::delete(&sessions, session.id));
        // It is no failure to save it too late.
        saved.unwrap();
        deleted.unwrap();
        assert_eq!(load::<V>(&sessions, &session).await, None);
        V::save(&sessions, &later).await.unwrap();
        assert_eq!(load::<V>(&sessions, &session).await, None);
    }
}

async fn a_session_ends_with_its_date<V: Version>(cache: Cache) {
    let sessions = sessions(&cache);
    let mut short = Session {
        expiry_date: OffsetDateTime::now_utc() + Duration::from_millis(100),
        ..session::<V>(7)
    };
    V::create(&sessions, &mut short).await.unwrap();
    until(async || load::<V>(&sessions, &short).await.is_none()).await;
    // The store itself has removed it.
    let texts = cache.strings("web").unwrap();
    let id = V::shown(short.id);
    until(async || texts.get(&id).await.unwrap().is_none()).await;
    let later = Session {
        expiry_date: in_an_hour(),
        ..short
    };
    V::save(&sessions, &later).await.unwrap();
    assert_eq!(load::<V>(&sessions, &later).await, None);

    // Its date counts, whatever ttl its text was given.
    let past = r#"{"data":{"user":7},"expiry_date":"2001-03-01T09:30:00Z"}"#;
    texts.set(&id, past, None).await.unwrap();
    assert_eq!(load::<V>(&sessions, &later).await, None);
}

async fn a_date_that_has_passed_removes<V: Version>(cache: Cache) {
    let sessions = sessions(&cache);
    for past in [
        OffsetDateTime::now_utc(),
        OffsetDateTime::UNIX_EPOCH,
        PrimitiveDateTime::MIN.assume_utc(),
    ] {
        let mut session = session::<V>(7);
        V::create(&sessions, &mut session).await.unwrap();
        session.expiry_date = past;
        V::save(&sessions, &session).await.unwrap();
        assert_eq!(load::<V>(&sessions, &session).await, None);
        V::create(&sessions, &mut session).await.unwrap();
        assert_eq!(load::<V>(&sessions, &session).await, None);
        let text = cache.strings("web").unwrap();
        let text = text.get(&V::shown(session.id)).await.unwrap();
        assert_eq!(text, None);
    }
}

async fn what_is_no_session_is_an_error<V: Version>(cache: Cache) {
    let sessions = sessions(&cache);
    let texts = cache.strings("web").unwrap();
    let secret = session::<V>(7);
    let id = V::shown(secret.id);
    for text in [
        "",
        "secret",
        r#""secret""#,
        r#"{"data":{"user":"secret"}}"#,
        r#"{"data":"secret","expiry_date":"2999-03-01T09:30:00Z"}"#,
        r#"{"data":{},"expiry_date":"secret"}"#,
    ] {
        texts.set(&id, text, None).await.unwrap();
        let failed = V::load(&sessions, secret.id).await;
        let Err(Failure::Decode(reason)) = failed else {
            panic!("{text}: {failed:?}")
        };
        assert!(
            !reason.contains("secret") && !reason.contains(&id),
            "{reason}"
        );
        // No new session replaces it.
        let mut other = secret.clone();
        V::create(&sessions, &mut other).await.unwrap();
        assert_ne!(other.id, secret.id);
        assert_eq!(texts.get(&id).await.unwrap().as_deref(), Some(text));
    }
    V::delete(&sessions, secret.id).await.unwrap();
    assert_eq!(load::<V>(&sessions, &secret).await, None);
}

/// Each verb fails as the backend's failure, and its error does not tell the session's id.
async fn fails<V: Version>(sessions: &Sessions, session: &Session) {
    let mut new = session.clone();
    let all = [
        V::load(sessions, session.id).await.map(drop),
        V::save(sessions, session).await,
        V::create(sessions, &mut new).await,
        V::delete(sessions, session.id).await,
    ];
    assert_eq!(new, *session);
    for failed in all {
        let Err(Failure::Backend(reason)) = failed else {
            panic!("{failed:?}")
        };
        assert!(!reason.contains(&V::shown(session.id)), "{reason}");
    }
}

async fn without_its_server_a_store_fails<V: Version>() {
    let mut server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    let sessions = sessions(&cache);
    let mut session = session::<V>(7);
    V::create(&sessions, &mut session).await.unwrap();
    server.kill();
    fails::<V>(&sessions, &session).await;
}

async fn a_server_that_hangs_fails_in_time<V: Version>() {
    let server = RedisServer::start();
    let cache = patient(&server.url());
    let cache = cache.op_timeout(Duration::from_millis(200)).build();
    let sessions = sessions(&cache.unwrap());
    let session = session::<V>(7);
    // On a busy machine, the first answer may come later than the deadline.
    until(async || V::load(&sessions, session.id).await.is_ok()).await;
    server.freeze();
    let failed = tokio::time::timeout(LIMIT, fails::<V>(&sessions, &session)).await;
    failed.expect("each verb ends by the deadline");
}

/// A service may change from one version to the other while users are logged in.
#[tokio::test]
async fn each_version_reads_what_the_other_wrote() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let sessions = sessions(&cache);
    let mut old = session::<version_014::Version>(7);
    version_014::Version::create(&sessions, &mut old)
        .await
        .unwrap();
    let mut new = load::<version_015::Version>(&sessions, &old).await.unwrap();
    assert_eq!(new, old);
    new.data.clear();
    version_015::Version::save(&sessions, &new).await.unwrap();
    assert_eq!(
        load::<version_014::Version>(&sessions, &old).await,
        Some(new)
    );
}
