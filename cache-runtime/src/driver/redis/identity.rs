//! Which server a connection has reached.

use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue as _, Pipeline, Value};

use super::explain::{IS_NODE, explain};
use crate::clock::{self, Moment};
use crate::driver::{ServerClock, field};
use crate::error::Error;
use crate::sabotage::{self, Rule};

/// What a server says of itself when a connection is made.
pub(super) struct Identity {
    /// Which server it is, hashed; 0 where it does not say.
    pub(super) epoch: u64,
    pub(super) clock: ServerClock,
}

/// Which server this is, and what time it has. Where `INFO` is denied, or does not say, a restart from an old snapshot goes
/// unnoticed, and only the ttl bounds what such a snapshot brings back.
pub(super) async fn identity(
    redis: &mut MultiplexedConnection,
    address: &str,
    in_cluster: bool,
) -> Result<Identity, Error> {
    let mut ask = Pipeline::new();
    ask.ignore_errors();
    // A server that still loads its data answers `PING` with an error, and `INFO` without one. So
    // does one that takes no writes for a while; that one can be read.
    ask.cmd("PING").cmd("INFO").arg("server");
    ask.cmd("INFO").arg("replication");
    let asked = clock::monotonic();
    let replies: Vec<Value> = ask
        .query_async(redis)
        .await
        .map_err(|error| explain(address, &error))?;
    let mut info = String::new();
    for (nth, reply) in replies.into_iter().enumerate() {
        match reply.extract_error() {
            Ok(reply) => info += &String::from_redis_value(reply).unwrap_or_default(),
            // The `PING`.
            Err(error) if nth == 0 && error.code() == Some("NOPERM") => continue,
            Err(error)
                if explain(address, &error).is_write_refused()
                    && sabotage::keeps(Rule::ReadsWhileRefused) =>
            {
                continue;
            }
            Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => {
                warn_of_no_epoch(address, &error);
                return Ok(Identity {
                    epoch: 0,
                    clock: ServerClock::UNTOLD,
                });
            }
            // It may be told later.
            Err(error) => return Err(explain(address, &error)),
        }
        info.push('\n');
    }
    if !in_cluster && field(&info, "redis_mode") == Some("cluster") {
        return Err(Error::denied(address, &IS_NODE));
    }
    if field(&info, "role") == Some("slave") {
        return Err(Error::is_replica(
            address,
            &"it is a replica, and takes no writes",
        ));
    }
    let clock = clock_of(&info, asked);
    if !sabotage::keeps(Rule::Epoch) {
        return Ok(Identity { epoch: 0, clock });
    }
    let epoch = epoch(&info);
    if epoch == 0 {
        warn_of_no_epoch(address, &"its `INFO` has no `run_id`");
    }
    Ok(Identity { epoch, clock })
}

fn warn_of_no_epoch(address: &str, why: &dyn fmt::Display) {
    tracing::warn!(
        server = address,
        %why,
        "the cache server does not say which server it is: if it restarts from an old snapshot, old \
         entries may be served until their ttl ends"
    );
}

/// The clock of a server that was asked at this moment.
fn clock_of(info: &str, asked: Moment) -> ServerClock {
    let shown = field(info, "server_time_usec").and_then(|micros| micros.parse().ok());
    shown.map_or(ServerClock::UNTOLD, |micros| {
        ServerClock::showed(micros, asked)
    })
}

/// The epoch of a server: its `run_id`, and the replication history that it had when it was
/// promoted. Its current replication id is left out: that changes when its first replica
/// comes, and then processes would not agree on the epoch.
fn epoch(info: &str) -> u64 {
    let history = ["master_replid2", "second_repl_offset"].map(|name| field(info, name));
    let history = history.into_iter().flatten().map(fnv1a);
    field(info, "run_id").map_or(0, |run_id| {
        history.fold(fnv1a(run_id), |hash, part| hash.rotate_left(7) ^ part)
    })
}

/// A hash that is the same in every process: FNV-1a. Its input is random already.
pub(super) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_tells_servers_and_their_histories_apart() {
        let info = |run_id: &str, replid2: &str, offset: &str| {
            format!(
                "# Server\r\nrun_id:{run_id}\r\n# Replication\r\nrole:master\r\n\
                 master_replid2:{replid2}\r\nsecond_repl_offset:{offset}\r\n"
            )
        };
        let first = epoch(&info("a", "0", "-1"));
        assert_eq!(first, epoch(&info("a", "0", "-1")));
        assert_ne!(first, 0);
        assert_ne!(first, epoch(&info("b", "0", "-1")), "another server");
        assert_ne!(first, epoch(&info("a", "c", "-1")), "promoted");
        assert_ne!(first, epoch(&info("a", "0", "77")), "promoted later");
        // Its first replica came: the epoch stays.
        let with_replica = info("a", "0", "-1") + "master_replid:d\r\nconnected_slaves:1\r\n";
        assert_eq!(first, epoch(&with_replica));
        assert_eq!(epoch("# Server\r\n"), 0, "not told");
    }

    #[test]
    fn a_server_tells_its_time() {
        let info = "# Server\r\nserver_time_usec:1700000000123456\r\n";
        let clock = clock_of(info, clock::monotonic());
        assert!((1_700_000_000_123..1_700_000_060_000).contains(&clock.now()));
        assert_eq!(clock_of("# Server\r\n", 0), ServerClock::UNTOLD);
    }
}
