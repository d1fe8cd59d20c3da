//! What errors mean for a cache.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use super::address::{Address, Place};
use crate::error::Error;

/// What is said of a node of a cluster that a URL names as a single server.
pub(super) const IS_NODE: &str = "it is a node of a cluster, or leads to one, and carries out only what \
    concerns its own keys; write `redis-cluster://` in the place of `redis://`";

/// Whether `HELLO` failed, because it is unknown or not allowed.
pub(super) fn wants_older_protocol(error: &RedisError) -> bool {
    let is_unknown = |error: &RedisError| error.to_string().contains("unknown command");
    error.kind() == ErrorKind::RESP3NotSupported
        || matches!(error.code(), Some("NOPROTO" | "NOPERM"))
        || error.code() == Some("ERR") && is_unknown(error)
}

/// Whether `HELLO` may be what failed: proxies refuse it in many words, and some by hanging up.
pub(super) fn may_want_older_protocol(error: &RedisError) -> bool {
    match error.code() {
        // Each of these says what is wrong, and it is not `HELLO`.
        Some("WRONGPASS" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY") => false,
        Some(_) => true,
        None => error.is_connection_dropped() && !error.is_connection_refusal(),
    }
}

/// The code of a server's error. Redis before 7 puts an error inside of a script into another one:
/// `ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't …`.
fn code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    let detail = error.detail().unwrap_or_default();
    let is_of_script = code == "ERR" && detail.starts_with("Error running script");
    let inner = is_of_script.then(|| detail.rsplit_once(": ")?.1.split(' ').next());
    let inner = inner.flatten().map(|word| word.trim_start_matches('-'));
    let is_code =
        |word: &&str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    Some(inner.filter(is_code).unwrap_or(code))
}

/// What an error of the server, or of the connection to it, means for a cache.
pub(in crate::driver) fn explain(address: &str, error: &RedisError) -> Error {
    match code(error) {
        // These pass by themselves.
        Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "TRYAGAIN") => {
            Error::unavailable(address, error)
        }
        Some("READONLY") => Error::is_replica(address, error),
        Some("NOREPLICAS" | "OOM" | "MISCONF") => Error::refuses_writes(address, error),
        Some("WRONGTYPE") => Error::foreign(address),
        Some("CROSSSLOT" | "MOVED" | "ASK") => {
            Error::denied(address, &format!("{error}: {IS_NODE}"))
        }
        Some(_) => Error::denied(address, error),
        None if error.kind() == ErrorKind::AuthenticationFailed => Error::denied(address, error),
        None => Error::unavailable(address, error),
    }
}

/// What the error means that a command of a program was answered. Where the server would fail at other
/// commands, too, it means what it means for a cache; else the server refuses this command.
pub(in crate::driver) fn explain_command(address: &str, name: &str, error: &RedisError) -> Error {
    let meaning = explain(address, error);
    if meaning.is_unavailable() || meaning.is_write_refused() {
        return meaning;
    }
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    let reason = match error.code() {
        Some("CROSSSLOT") => format!(
            "{text}; in a cluster, the keys of one command must be in one hash slot: give them a part in \
             braces in common, such as `{{user:7}}:name`"
        ),
        Some("MOVED" | "ASK") => format!("{text}: {IS_NODE}"),
        _ => text,
    };
    Error::refused_command(address, name, &reason)
}

/// What an error means that came instead of the first answer. An answer that is none of Redis may be
/// one of TLS, and a server that hangs up may have waited for a TLS handshake.
pub(super) fn explain_greeting(address: &Address, error: &RedisError) -> Error {
    let shown = address.shown();
    let no_answer = error.kind() == ErrorKind::Parse || error.is_connection_dropped();
    if error.code().is_some() {
        return explain(shown, error);
    }
    let advice = match &address.tls {
        None if no_answer && matches!(address.place, Place::Tcp { .. }) => {
            &format!("if it expects TLS, write `{}`", address.encrypted_scheme())
        }
        None => return explain(shown, error),
        Some(tls) => match io_error(error).and_then(|error| tls.explain(shown, error)) {
            Some(explained) => return explained,
            None if no_answer => {
                "if it requires a client certificate, name its files by \
                 `?cert=/path/to/cert.pem&key=/path/to/key.pem` in the URL"
            }
            None => return explain(shown, error),
        },
    };
    Error::unavailable(
        shown,
        &format!("it did not answer as Redis does ({error}); {advice}"),
    )
}

/// The error of the connection that an error of redis-rs wraps.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    error.source()?.downcast_ref::<Shared>()?.downcast_ref()
}

#[cfg(test)]
mod tests;
