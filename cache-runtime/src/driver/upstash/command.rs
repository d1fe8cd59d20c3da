//! Operations as JSON, and answers as replies.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::explain::{command_refusal, refusal};
use super::text::{from_text, to_text};
use crate::driver::operation::Argument;
use crate::driver::words::{self, Refused, Words};
use crate::driver::{Operation, ReadKeys, Reply};
use crate::error::Error;

/// Lists keys where all writes are carried out, as all scripts are run there. A replica would not list
/// what another process has just stored, and it would not be removed.
const SCAN: &str = "return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])";

/// Commands that are sent together.
#[derive(Debug)]
pub(super) struct Commands {
    /// Each as a list of texts, with commas between them.
    pub(super) json: Vec<u8>,
    pub(super) count: usize,
    /// Whether one of them may write.
    pub(super) writes: bool,
    /// Whether all of them may be carried out twice.
    pub(super) may_repeat: bool,
}

/// Bytes that are not ours, and no text: they were read where an entry or a lease belongs.
#[derive(Debug)]
pub(super) struct NotText {
    /// The command of a program that they were to be sent with.
    pub(super) command: Option<String>,
}

impl NotText {
    const OURS: Self = Self { command: None };
}

impl Commands {
    fn new() -> Self {
        Self {
            json: Vec::new(),
            count: 0,
            writes: false,
            may_repeat: true,
        }
    }

    pub(super) fn ping() -> Self {
        let mut commands = Self::new();
        commands.begin("PING");
        commands.end();
        commands
    }

    pub(super) fn mget(keys: &ReadKeys) -> Result<Self, NotText> {
        let mut commands = Self::new();
        commands.begin("MGET");
        for key in keys.iter() {
            commands.bytes(key)?;
        }
        commands.end();
        Ok(commands)
    }

    pub(super) fn of(operations: &[Operation]) -> Result<Self, NotText> {
        let mut commands = Self::new();
        for operation in operations {
            commands.may_repeat &= operation.may_be_repeated();
            commands.add(operation)?;
        }
        Ok(commands)
    }

    fn add(&mut self, operation: &Operation) -> Result<(), NotText> {
        match operation {
            Operation::Script {
                text,
                key,
                further_keys,
                arguments,
            } => {
                self.writes = true;
                self.begin("EVAL");
                self.text(text);
                self.text(&(1 + further_keys.len()).to_string());
                self.text(key);
                for key in further_keys {
                    self.text(key);
                }
                for argument in arguments {
                    match argument {
                        Argument::Bytes(bytes) => self.bytes(bytes)?,
                        Argument::Number(number) => self.text(&number.to_string()),
                    }
                }
            }
            Operation::ScriptOnListed { text, keys } => {
                self.writes = true;
                self.begin("EVAL");
                self.text(text);
                self.text(&keys.len().to_string());
                for key in keys {
                    self.bytes(key)?;
                }
            }
            Operation::Read { key } => {
                self.begin("MGET");
                self.text(key);
            }
            Operation::Remaining { key } => {
                self.begin("PTTL");
                self.text(key);
            }
            Operation::Scan {
                pattern,
                cursor,
                count,
            } => {
                self.writes = true;
                self.begin("EVAL");
                self.text(SCAN);
                self.text("0");
                self.bytes(cursor)?;
                self.text(pattern);
                self.text(&count.to_string());
            }
            Operation::Publish { channel, message } => {
                self.writes = true;
                self.begin("PUBLISH");
                self.text(channel);
                self.bytes(message)?;
            }
            Operation::Ping => self.begin("PING"),
            Operation::Words(words) => self.add_words(words)?,
        }
        self.end();
        Ok(())
    }

    /// It may write, so it goes where writes go: one after the other.
    fn add_words(&mut self, words: &Words) -> Result<(), NotText> {
        self.writes = true;
        let texts = words.all.iter().map(|word| str::from_utf8(word));
        let texts = texts.collect::<Result<Vec<_>, _>>();
        let texts = texts.map_err(|_| NotText {
            command: Some(words.name.clone()),
        })?;
        let mut texts = texts.into_iter();
        self.begin(texts.next().unwrap_or_default());
        for text in texts {
            self.text(text);
        }
        Ok(())
    }

    fn begin(&mut self, command: &str) {
        let bracket: &[u8] = if self.count == 0 { b"[" } else { b",[" };
        self.json.extend_from_slice(bracket);
        self.count += 1;
        self.quoted(command);
    }

    fn end(&mut self) {
        self.json.push(b']');
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), NotText> {
        self.text(&to_text(bytes).ok_or(NotText::OURS)?);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.json.push(b',');
        self.quoted(text);
    }

    fn quoted(&mut self, text: &str) {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.json, text);
    }

    /// The body of a request with the commands of all these.
    pub(super) fn body<'a>(all: impl Iterator<Item = &'a Self>) -> Bytes {
        let mut body = b"[".to_vec();
        for commands in all {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(&commands.json);
        }
        body.push(b']');
        body.into()
    }
}

/// The answer to one command.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<String>,
}

impl Answer {
    fn result(self, address: &str) -> Result<Value, Error> {
        match self.error {
            None => Ok(self.result),
            Some(error) => Err(refusal(address, &error)),
        }
    }

    /// The values of a list; no values if it is anything else.
    pub(super) fn list(self, address: &str) -> Result<Vec<Value>, Error> {
        match self.result(address)? {
            Value::Array(values) => Ok(values),
            _ => Ok(Vec::new()),
        }
    }
}

/// A value that was read; `None` if it is no string.
pub(super) fn value(value: Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(from_text(text).into()),
        _ => None,
    }
}

pub(super) fn reply(address: &str, operation: &Operation, answer: Answer) -> Result<Reply, Error> {
    match (operation, &answer.error) {
        // A user that may not send `PING` has its answer all the same.
        (Operation::Ping, Some(error)) if error.starts_with("NOPERM") => Ok(Reply::Nil),
        (Operation::Words(words), Some(error)) => {
            let error = command_refusal(address, &words.name, error);
            Ok(Reply::Words(Err(Refused(error))))
        }
        (Operation::Words(_), None) => Ok(Reply::Words(Ok(told(answer.result)))),
        _ => answer.result(address).map(neutral),
    }
}

fn neutral(value: Value) -> Reply {
    match value {
        Value::Null => Reply::Nil,
        Value::Number(number) => number.as_i64().map_or(Reply::Unexpected, Reply::Number),
        Value::String(text) => Reply::Bytes(from_text(text)),
        Value::Array(values) => Reply::List(values.into_iter().map(neutral).collect()),
        Value::Bool(_) | Value::Object(_) => Reply::Unexpected,
    }
}

/// The answer to a command of a program. Its texts are as they are: they are not ours.
fn told(value: Value) -> words::Reply {
    use words::Reply;
    match value {
        Value::Null => Reply::Nil,
        Value::Bool(is_so) => Reply::Bool(is_so),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Reply::Number(number),
            (None, Some(number)) => Reply::Double(number),
            (None, None) => Reply::Bytes(number.to_string().into_bytes()),
        },
        Value::String(text) => Reply::Bytes(text.into_bytes()),
        Value::Array(values) => Reply::List(values.into_iter().map(told).collect()),
        Value::Object(pairs) => {
            let pairs = pairs.into_iter();
            let pairs = pairs.map(|(key, value)| (Reply::Bytes(key.into_bytes()), told(value)));
            Reply::Map(pairs.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(operations: &[Operation]) -> String {
        let commands = Commands::of(operations).unwrap();
        let body = Commands::body([&commands].into_iter());
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn operations_become_commands() {
        let script = Operation::script("return 1", "k:\"1\" \u{1f600}".to_owned());
        let script = script.with([7_u64.into(), b"L\x01abcdefgh\xff".to_vec().into()]);
        let read = Operation::Read {
            key: "k".to_owned(),
        };
        assert_eq!(
            body(&[script, read, Operation::Ping]),
            "[[\"EVAL\",\"return 1\",\"1\",\"k:\\\"1\\\" \u{1f600}\",\"7\",\"L\\u0001abcdefgh/w==\"],\
             [\"MGET\",\"k\"],[\"PING\"]]"
        );
        let list = Operation::Scan {
            pattern: "c:*".to_owned(),
            cursor: b"0".to_vec(),
            count: 10,
        };
        assert_eq!(
            body(&[list]),
            format!(r#"[["EVAL","{SCAN}","0","0","c:*","10"]]"#)
        );
    }

    #[test]
    fn an_argument_that_is_no_text_is_refused() {
        let script = Operation::script("return 1", "k".to_owned());
        let script = script.with([vec![0xff].into()]);
        assert!(Commands::of(&[script]).is_err());
    }

    #[test]
    fn scripts_write_and_reads_do_not() {
        let key = "k".to_owned();
        let reads = [Operation::Read { key: key.clone() }, Operation::Ping];
        assert!(!Commands::of(&reads).unwrap().writes);
        let writes = [Operation::Ping, Operation::script("return 1", key)];
        assert!(Commands::of(&writes).unwrap().writes);
    }

    #[test]
    fn answers_are_neutral_and_an_error_in_one_is_an_error() {
        let parse = |json: &str| {
            let answer: Answer = serde_json::from_str(json).unwrap();
            reply("server", &Operation::Ping, answer)
        };
        let list = Reply::List(vec![Reply::Number(1), Reply::Bytes(b"x".to_vec())]);
        assert_eq!(parse(r#"{"result":[1,"x"]}"#).unwrap(), list);
        assert_eq!(parse(r#"{"result":null}"#).unwrap(), Reply::Nil);
        assert_eq!(parse(r#"{"result":0.5}"#).unwrap(), Reply::Unexpected);
        let error = parse(r#"{"error":"OOM command not allowed"}"#).unwrap_err();
        assert!(error.is_write_refused(), "{error}");
        assert_eq!(parse(r#"{"error":"NOPERM no"}"#).unwrap(), Reply::Nil);
    }
}
