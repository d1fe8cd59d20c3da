//! Operations as commands, and answers as replies.

use bytes::Bytes;
use redis::{Cmd, RedisError, Value};

use crate::driver::operation::Argument;
use crate::driver::words;
use crate::driver::{Operation, Reply};

/// Reads one key. Its answer takes less to parse than that of an `MGET`, which is a list.
pub(super) fn get(key: &[u8]) -> Cmd {
    let mut get = Cmd::with_capacity(2, "GET".len() + key.len());
    get.arg("GET").arg(key);
    get
}

/// The values that a [`get`] or an [`mget`] was answered. A key that holds no string has none: an
/// `MGET` says so by itself, and a `GET` by an error.
pub(super) fn values(answer: Value) -> Result<Vec<Option<Bytes>>, RedisError> {
    let value = |value| bytes(value).map(Bytes::from);
    match answer.extract_error() {
        Ok(Value::Array(values)) => Ok(values.into_iter().map(value).collect()),
        Ok(answer) => Ok(vec![value(answer)]),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(vec![None]),
        Err(error) => Err(error),
    }
}

/// Reads so many keys, of so many bytes.
pub(super) fn mget<'a>(keys: impl Iterator<Item = &'a [u8]>, count: usize, bytes: usize) -> Cmd {
    let mut mget = Cmd::with_capacity(1 + count, "MGET".len() + bytes);
    mget.arg("MGET");
    for key in keys {
        mget.arg(key);
    }
    mget
}

pub(super) fn command(operation: &Operation) -> Cmd {
    let mut command = Cmd::new();
    match operation {
        // With its text each time: a restart or a failover can lose no script.
        Operation::Script {
            text,
            key,
            further_keys,
            arguments,
        } => {
            let keys = 1 + further_keys.len();
            command.arg("EVAL").arg(text).arg(keys).arg(key);
            command.arg(further_keys);
            for argument in arguments {
                match argument {
                    Argument::Bytes(bytes) => command.arg(bytes),
                    Argument::Number(number) => command.arg(number),
                };
            }
        }
        Operation::ScriptOnListed { text, keys } => {
            command.arg("EVAL").arg(text).arg(keys.len()).arg(keys);
        }
        Operation::Read { key } => {
            command.arg("MGET").arg(key);
        }
        Operation::Remaining { key } => {
            command.arg("PTTL").arg(key);
        }
        Operation::Scan {
            pattern,
            cursor,
            count,
        } => {
            command.arg("SCAN").arg(cursor).arg("MATCH").arg(pattern);
            command.arg("COUNT").arg(count);
        }
        Operation::Publish { channel, message } => {
            command.arg("PUBLISH").arg(channel).arg(message);
        }
        Operation::Ping => {
            command.arg("PING");
        }
        Operation::Words(words) => {
            command.arg(&words.all);
        }
    }
    command
}

pub(super) fn reply(value: Value) -> Result<Reply, RedisError> {
    Ok(match value {
        Value::ServerError(error) => return Err(error.into()),
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Number(number),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::Array(values) => {
            let replies: Result<_, _> = values.into_iter().map(reply).collect();
            Reply::List(replies?)
        }
        other => bytes(other).map_or(Reply::Unexpected, Reply::Bytes),
    })
}

/// The answer to a command of a program. An error in it is an error.
pub(super) fn answer(value: Value) -> Result<words::Reply, RedisError> {
    use words::Reply;
    let all = |values: Vec<Value>| values.into_iter().map(answer).collect::<Result<_, _>>();
    Ok(match value {
        Value::ServerError(error) => return Err(error.into()),
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Number(number),
        Value::Double(number) => Reply::Double(number),
        Value::Boolean(is_so) => Reply::Bool(is_so),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => {
            Reply::Bytes(text.into_bytes())
        }
        Value::Array(values) | Value::Set(values) | Value::Push { data: values, .. } => {
            Reply::List(all(values)?)
        }
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            let pairs = pairs.map(|(key, value)| Ok((answer(key)?, answer(value)?)));
            Reply::Map(pairs.collect::<Result<_, RedisError>>()?)
        }
        Value::Attribute { data, .. } => answer(*data)?,
        // What no command answers: a number of any length, from a script, or one that a later version of the
        // client library knows.
        other => Reply::Bytes(format!("{other:?}").into_bytes()),
    })
}

/// A user that may not send `PING` has its answer all the same.
pub(super) fn pong(value: Value) -> Result<Reply, RedisError> {
    match reply(value) {
        Err(error) if error.code() == Some("NOPERM") => Ok(Reply::Nil),
        answer => answer,
    }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    #[test]
    fn operations_become_commands() {
        let packed = |operation: Operation| {
            let packed = command(&operation).get_packed_command();
            String::from_utf8(packed).unwrap().replace("\r\n", " ")
        };
        let script = Operation::script("return 1", "k".to_owned());
        assert_eq!(
            packed(script.with([7_u64.into(), vec![b'x'].into()])),
            "*6 $4 EVAL $8 return 1 $1 1 $1 k $1 7 $1 x "
        );
        let keys = vec![b"a".to_vec(), b"b".to_vec()];
        let text = "return 1";
        assert_eq!(
            packed(Operation::ScriptOnListed { text, keys }),
            "*5 $4 EVAL $8 return 1 $1 2 $1 a $1 b "
        );
        let key = "k".to_owned();
        assert_eq!(packed(Operation::Read { key }), "*2 $4 MGET $1 k ");
        assert_eq!(packed(Operation::Ping), "*1 $4 PING ");
    }

    #[test]
    fn replies_are_neutral_and_an_error_in_one_is_an_error() {
        let list = Value::Array(vec![Value::Int(1), Value::BulkString(b"x".to_vec())]);
        let expected = Reply::List(vec![Reply::Number(1), Reply::Bytes(b"x".to_vec())]);
        assert_eq!(reply(list).unwrap(), expected);
        assert_eq!(reply(Value::Nil).unwrap(), Reply::Nil);
        assert_eq!(reply(Value::Double(0.5)).unwrap(), Reply::Unexpected);
        let error = parse_redis_value(b"-OOM no memory\r\n").unwrap();
        assert!(reply(Value::Array(vec![Value::Okay, error])).is_err());
    }

    #[test]
    fn a_key_that_holds_no_string_has_no_value() {
        let read = |answer: &[u8]| values(parse_redis_value(answer).unwrap());
        let value = Some(Bytes::from_static(b"x"));
        assert_eq!(read(b"$1\r\nx\r\n").unwrap(), vec![value.clone()]);
        assert_eq!(read(b"$-1\r\n").unwrap(), [None]);
        assert_eq!(read(b"-WRONGTYPE a list\r\n").unwrap(), [None]);
        assert_eq!(read(b"*2\r\n$-1\r\n$1\r\nx\r\n").unwrap(), [None, value]);
        assert!(read(b"-MOVED 7 :7001\r\n").is_err());
    }
}
