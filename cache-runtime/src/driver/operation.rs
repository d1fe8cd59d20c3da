//! What the protocol says to a server, and what comes back, without a client library's types.

use bytes::Bytes;

use super::cluster::Elsewhere;
use super::words::{self, Refused, Words};
use crate::error::Error;

/// One command. Each names at most one key, or keys of one server. So a driver for several servers knows
/// where to send it.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Runs a script on one key, and on further keys that the same server has.
    Script {
        text: &'static str,
        key: String,
        further_keys: Vec<String>,
        arguments: Vec<Argument>,
    },
    /// Runs a script on keys that this server listed itself.
    ScriptOnListed {
        text: &'static str,
        keys: Vec<Vec<u8>>,
    },
    /// Reads one key, by the command that hits are read with.
    Read { key: String },
    /// How long a key still lives, in milliseconds; negative if it is absent or lives for ever.
    Remaining { key: String },
    /// Lists about `count` keys, and of those the ones that match a pattern; `cursor` says where to
    /// go on.
    Scan {
        pattern: String,
        cursor: Vec<u8>,
        count: usize,
    },
    /// Sends a message to all processes that listen on a channel.
    Publish { channel: String, message: Vec<u8> },
    /// Asks for any answer.
    Ping,
    /// Runs a command that a program has written.
    Words(Words),
}

/// An argument of a script.
#[derive(Debug)]
pub(crate) enum Argument {
    Bytes(Vec<u8>),
    Number(u64),
}

impl Operation {
    /// The key that it is about, if it is one.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Script { key, .. } | Self::Read { key } | Self::Remaining { key } => {
                Some(key.as_bytes())
            }
            Self::Words(words) => words.key.as_deref(),
            Self::ScriptOnListed { .. } | Self::Scan { .. } | Self::Publish { .. } | Self::Ping => {
                None
            }
        }
    }

    /// Whether it is about keys that one server has listed.
    pub(crate) fn is_on_listed(&self) -> bool {
        matches!(self, Self::ScriptOnListed { .. })
    }

    /// Whether it may be sent a second time, if the connection breaks meanwhile.
    pub(crate) fn may_be_repeated(&self) -> bool {
        !matches!(self, Self::Words(_))
    }

    /// A script on one key, without arguments.
    pub(crate) fn script(text: &'static str, key: String) -> Self {
        Self::Script {
            text,
            key,
            further_keys: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// A script on several keys of one server, with its arguments.
    pub(crate) fn script_on_all(
        text: &'static str,
        keys: impl IntoIterator<Item = String>,
        arguments: Vec<Argument>,
    ) -> Self {
        let mut keys = keys.into_iter();
        Self::Script {
            text,
            key: keys.next().unwrap_or_default(),
            further_keys: keys.collect(),
            arguments,
        }
    }

    /// Adds the arguments of a script.
    pub(crate) fn with<const N: usize>(mut self, added: [Argument; N]) -> Self {
        if let Self::Script { arguments, .. } = &mut self {
            arguments.extend(added);
        }
        self
    }
}

impl Argument {
    /// As it is sent.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => number.to_string().into_bytes(),
        }
    }
}

impl From<&[u8]> for Argument {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Argument {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<u64> for Argument {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// The answer to one operation.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// It was not carried out: it is up to another node of the cluster.
    Elsewhere(Elsewhere),
    Nil,
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Reply>),
    /// An answer that no [`Operation`] has.
    Unexpected,
    /// The answer to a command that a program has written.
    Words(Result<words::Reply, Refused>),
}

impl Reply {
    pub(crate) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The error that is the answer to a command of a program, and is not about that command: the server
    /// would fail at others, too.
    pub(crate) fn failure(&self) -> Option<&Error> {
        match self {
            Self::Words(Err(Refused(error))) => {
                (error.is_unavailable() || error.is_write_refused()).then_some(error)
            }
            _ => None,
        }
    }
}

/// The answer to a read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answers {
    /// The values, in the order of the keys.
    pub(crate) values: Vec<Option<Bytes>>,
    /// The keys, by their index, that are up to another node of the cluster. They have no values.
    elsewhere: Vec<(usize, Elsewhere)>,
}

impl Answers {
    /// So many keys, all of them absent.
    pub(crate) fn of(keys: usize) -> Self {
        Self {
            values: vec![None; keys],
            elsewhere: Vec::new(),
        }
    }

    /// All of these keys are elsewhere.
    pub(crate) fn elsewhere(keys: usize, elsewhere: &Elsewhere) -> Self {
        let mut answers = Self::of(keys);
        answers.are_elsewhere(0..keys, elsewhere);
        answers
    }

    pub(crate) fn are_elsewhere(
        &mut self,
        keys: impl Iterator<Item = usize>,
        elsewhere: &Elsewhere,
    ) {
        let keys = keys.map(|index| (index, elsewhere.clone()));
        self.elsewhere.extend(keys);
    }

    /// Where one of these keys is, if that is elsewhere.
    pub(crate) fn where_one_is(&self, is_meant: impl Fn(usize) -> bool) -> Option<&Elsewhere> {
        let mut elsewhere = self.elsewhere.iter();
        elsewhere.find_map(|(index, elsewhere)| is_meant(*index).then_some(elsewhere))
    }
}

impl FromIterator<Option<Bytes>> for Answers {
    fn from_iter<T: IntoIterator<Item = Option<Bytes>>>(values: T) -> Self {
        Self {
            values: values.into_iter().collect(),
            elsewhere: Vec::new(),
        }
    }
}
