//! One connection to a sentinel: what it is asked, and what its answers mean.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, FromRedisValue as _, Pipeline, ProtocolVersion, PushInfo,
    RedisError, Value,
};
use tokio::sync::Notify;

use super::answers::Named;
use crate::clock;
use crate::driver::redis::address::Address;
use crate::driver::redis::explain::{
    explain, explain_greeting, may_want_older_protocol, wants_older_protocol,
};
use crate::driver::redis::stream::Stage;
use crate::driver::redis::{Pump, greet};
use crate::error::Error;

/// What a sentinel publishes when it has promoted a replica, and when it has heard of that.
const NEWS: [&str; 2] = ["+promoted-slave", "+switch-master"];

pub(super) struct Contact {
    redis: MultiplexedConnection,
    address: Arc<str>,
    service: Arc<str>,
    /// Notified of each failover, and when the connection ends.
    news: Arc<Notify>,
    _pump: Pump,
}

impl Contact {
    pub(super) async fn open(
        sentinel: &Address,
        service: &Arc<str>,
        limit: Duration,
    ) -> Result<Self, Error> {
        let stage = Stage::default();
        let opened = clock::within(limit, pin!(open(sentinel, &stage))).await;
        let (redis, news, pump) =
            opened.unwrap_or_else(|| Err(stage.timeout(sentinel.shown(), limit)))?;
        Ok(Self {
            redis,
            address: sentinel.shown().clone(),
            service: service.clone(),
            news,
            _pump: pump,
        })
    }

    /// Waits for news: of a failover, or of the end of this connection. News that came before are
    /// returned at once.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Asks where the primary is. The outer error is one of the connection, which is of no use then.
    pub(super) async fn ask(&self, limit: Duration) -> Result<Result<Named, Error>, Error> {
        // Not one command for both: while a failover is under way, only the first one names the new
        // primary, and only the second one has the number of the failover.
        let mut ask = Pipeline::new();
        ask.ignore_errors();
        ask.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME");
        ask.arg(&*self.service);
        ask.cmd("SENTINEL").arg("MASTER").arg(&*self.service);
        let [place, details] = self.run::<2>(&ask, limit).await?;
        let place = match place.extract_error() {
            Err(error) => return Ok(Err(self.refused(&error))),
            Ok(place) => <Option<(String, u16)>>::from_redis_value(place).unwrap_or_default(),
        };
        let Some((host, port)) = place else {
            return Ok(Err(self.unknown_service(limit).await?));
        };
        Ok(Ok(Named {
            host,
            port,
            config_epoch: config_epoch(details),
        }))
    }

    async fn unknown_service(&self, limit: Duration) -> Result<Error, Error> {
        let mut ask = Pipeline::new();
        ask.ignore_errors();
        ask.cmd("SENTINEL").arg("MASTERS");
        let [services] = self.run::<1>(&ask, limit).await?;
        let names = services.extract_error().map(names).unwrap_or_default();
        let known = match names.as_slice() {
            [] => "it names no other".to_owned(),
            names => format!("it knows {}", names.join(", ")),
        };
        let reason = format!(
            "it knows no service `{}`; {known}; write the name of one behind the hosts",
            self.service
        );
        Ok(Error::denied(&self.address, &reason))
    }

    async fn run<const N: usize>(
        &self,
        ask: &Pipeline,
        limit: Duration,
    ) -> Result<[Value; N], Error> {
        let mut redis = self.redis.clone();
        let asked = ask.query_async::<Vec<Value>>(&mut redis);
        let answers = match clock::within(limit, pin!(asked)).await {
            Some(Ok(answers)) => answers,
            Some(Err(error)) => return Err(explain(&self.address, &error)),
            None => return Err(Error::timeout(&self.address, limit)),
        };
        answers.try_into().map_err(|_| {
            let reason = "it did not answer as a sentinel does";
            Error::unavailable(&self.address, &reason)
        })
    }

    fn refused(&self, error: &RedisError) -> Error {
        let text = error.to_string();
        let reason = if text.contains("unknown command") {
            "it is no sentinel; write the hosts and ports of sentinels, or `redis://` for this server \
             itself"
                .to_owned()
        } else if error.code() == Some("NOAUTH") {
            format!("{text}; {WRITE_CREDENTIALS}")
        } else {
            text
        };
        Error::denied(&self.address, &reason)
    }
}

const WRITE_CREDENTIALS: &str = "those of the server are not sent to sentinels, whose own are \
                                 `?sentinel_user=…&sentinel_password=…` in the URL";

/// Connects, and listens to what the sentinel publishes, if it may.
async fn open(
    sentinel: &Address,
    stage: &Stage,
) -> Result<(MultiplexedConnection, Arc<Notify>, Pump), Error> {
    let news = Arc::new(Notify::new());
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let listening = config.clone().set_push_sender({
        let news = news.clone();
        move |_: PushInfo| {
            news.notify_one();
            Ok::<(), ()>(())
        }
    });
    let explained = |error: &RedisError| {
        let is_of_credentials = error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"))
            || error.to_string().contains("AUTH ");
        if is_of_credentials {
            let reason = format!("{error}; {WRITE_CREDENTIALS}");
            return Error::denied(sentinel.shown(), &reason);
        }
        explain_greeting(sentinel, error)
    };
    match greet(sentinel, ProtocolVersion::RESP3, listening, stage).await? {
        Ok((mut redis, pump)) => {
            // A user that may not listen has its answers to questions all the same.
            if let Err(error) = redis.subscribe(NEWS.as_slice()).await {
                tracing::debug!(%error, sentinel = %sentinel.shown(), "it is not listened to");
            }
            Ok((redis, news, pump))
        }
        Err(error) if !wants_older_protocol(&error) && !may_want_older_protocol(&error) => {
            Err(explained(&error))
        }
        Err(_) => {
            let greeted = greet(sentinel, ProtocolVersion::RESP2, config, stage).await?;
            let (redis, pump) = greeted.map_err(|error| explained(&error))?;
            Ok((redis, news, pump))
        }
    }
}

/// The number of the failover in the answer to `SENTINEL MASTER`; 0 if it is not told.
fn config_epoch(details: Value) -> u64 {
    let details = details.extract_error().ok();
    let find = |details| field(details, "config-epoch");
    let epoch = details.and_then(find).and_then(|epoch| epoch.parse().ok());
    epoch.unwrap_or(0)
}

/// The names in the answer to `SENTINEL MASTERS`.
fn names(services: Value) -> Vec<String> {
    let services = <Vec<Value>>::from_redis_value(services).unwrap_or_default();
    let names = services
        .into_iter()
        .filter_map(|service| field(service, "name"));
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.sort();
    names
}

/// A field of a list of names and values, or, in the newer protocol, a map.
fn field(fields: Value, name: &str) -> Option<String> {
    let mut fields = <HashMap<String, Value>>::from_redis_value(fields).ok()?;
    String::from_redis_value(fields.remove(name)?).ok()
}
