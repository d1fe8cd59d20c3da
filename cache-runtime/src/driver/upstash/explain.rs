//! What errors mean for a cache.

use hyper::StatusCode;
use redis::{RedisError, Value};
use serde::Deserialize;

use super::address::Address;
use super::http::Response;
use crate::driver::redis::explain::{explain, explain_command};
use crate::error::Error;

/// So many characters of an answer that makes no sense are shown.
const SHOWN: usize = 60;

/// What the error of a command means.
pub(super) fn refusal(address: &str, text: &str) -> Error {
    let has = |words: &str| text.contains(words);
    if has("max request size exceeded") || has("max single record size exceeded") {
        return Error::too_long(address, &text);
    }
    if has("DB capacity quota exceeded") {
        return Error::refuses_writes(address, &text);
    }
    if text.starts_with("WRONGPASS") || text.starts_with("NOAUTH") {
        return wrong_token(address, text);
    }
    match redis_error(text) {
        Some(error) => explain(address, &error),
        None => Error::denied(address, &text),
    }
}

/// What the error means that a command of a program was answered.
pub(super) fn command_refusal(address: &str, name: &str, text: &str) -> Error {
    let of_server = refusal(address, text);
    let is_too_long = of_server.is_codec() && !text.contains("WRONGTYPE");
    if is_too_long || of_server.is_write_refused() {
        return of_server;
    }
    match redis_error(text) {
        Some(error) => explain_command(address, name, &error),
        None => Error::refused_command(address, name, &text),
    }
}

fn wrong_token(address: &str, text: &str) -> Error {
    let reason = format!("{text}; write the token of the HTTP interface, and not the password");
    Error::denied(address, &reason)
}

/// The error as the Redis protocol has it: with a code.
fn redis_error(text: &str) -> Option<RedisError> {
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => Some(error.into()),
        Ok(_) => None,
        Err(error) => Some(error),
    }
}

/// What an answer means that is no list of results.
pub(super) fn unexpected(address: &Address, response: &Response) -> Error {
    #[derive(Deserialize)]
    struct Told {
        error: String,
    }
    let told = serde_json::from_slice::<Told>(&response.body).ok();
    let told = told.map(|told| address.without_token(&told.error));
    let status = response.status;
    let shown = address.shown();
    let reason = match (status, told) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, told) => {
            let told = told.unwrap_or_else(|| format!("the token is not accepted ({status})"));
            return wrong_token(shown, &told);
        }
        (StatusCode::TOO_MANY_REQUESTS, told) => {
            let told = told.unwrap_or_else(|| "too many requests".to_owned());
            let reason = format!("the limit of the rate of requests is reached: {told}");
            return Error::denied(shown, &reason);
        }
        (StatusCode::PAYLOAD_TOO_LARGE, _) => {
            return Error::too_long(shown, &status);
        }
        (status, Some(told)) if status.is_client_error() => return refusal(shown, &told),
        (status, Some(told)) => format!("it answers {status}: {told}"),
        (status, None) if status.is_redirection() => match &response.location {
            Some(location) => {
                let location = address.without_token(location);
                let location = location.split(['?', '#']).next().unwrap_or_default();
                format!("it answers that the database is elsewhere; write the host of {location}")
            }
            None => format!("it answers {status}"),
        },
        (status, None) => {
            // Cut before the token is taken out, the text could end within the token.
            let text = address.without_token(&String::from_utf8_lossy(&response.body));
            let start: String = text.chars().take(SHOWN).collect();
            let start = start.escape_debug();
            format!("it does not answer as Upstash's HTTP interface does ({status}: `{start}`)")
        }
    };
    Error::unavailable(shown, &reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Tls;
    use bytes::Bytes;

    fn meaning(status: u16, body: &str) -> Error {
        let address = Address::parse("upstash+http://s3cret@host", &Tls::default()).unwrap();
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            sync_token: None,
            location: Some("https://other.example.com/pipeline?x".to_owned()),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let error = unexpected(&address, &response);
        assert!(!error.to_string().contains("s3cret"), "{error}");
        error
    }

    #[test]
    fn a_token_that_is_not_accepted_and_a_rate_that_is_too_high_are_refusals() {
        let wrong = r#"{"error":"WRONGPASS invalid or missing auth token s3cret"}"#;
        for (status, body, part) in [
            (401, wrong, "WRONGPASS"),
            (403, "", "the token is not accepted (403 Forbidden)"),
            (429, "", "too many requests"),
            (400, r#"{"error":"NOPERM this user"}"#, "this user"),
        ] {
            let error = meaning(status, body);
            assert!(error.is_refused(), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_shown() {
        for (status, body, part) in [
            (
                200,
                "<html>Welcome</html>",
                "(200 OK: `<html>Welcome</html>`)",
            ),
            (502, "s3cret", "(502 Bad Gateway: `…`)"),
            (
                500,
                r#"{"error":"wait"}"#,
                "it answers 500 Internal Server Error: wait",
            ),
            (
                308,
                "",
                "write the host of https://other.example.com/pipeline",
            ),
        ] {
            let error = meaning(status, body);
            assert!(error.is_unavailable(), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn the_errors_of_commands_mean_what_they_mean_on_other_servers() {
        assert!(refusal("host", "READONLY You can't write").is_read_only());
        assert!(refusal("host", "ERR DB capacity quota exceeded").is_write_refused());
        assert!(refusal("host", "LOADING data").is_unavailable());
        assert!(refusal("host", "ERR max requests limit exceeded").is_refused());
        let too_long = refusal("host", "ERR max request size exceeded. Limit: 10 bytes");
        assert!(too_long.is_codec(), "{too_long}");
        assert!(refusal("host", "in no words of Redis").is_refused());
    }
}
