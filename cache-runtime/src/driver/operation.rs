//! What the protocol says to a server, and what comes back, without a client library's types.

/// One command. Each names at most one key, or keys that one server listed. So a driver for several
/// servers knows where to send it.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Runs a script on one key.
    Script {
        text: &'static str,
        key: String,
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
}

/// An argument of a script.
#[derive(Debug)]
pub(crate) enum Argument {
    Bytes(Vec<u8>),
    Number(u64),
}

impl Operation {
    /// A script on one key, without arguments.
    pub(crate) fn script(text: &'static str, key: String) -> Self {
        Self::Script {
            text,
            key,
            arguments: Vec::new(),
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
    Nil,
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Reply>),
    /// An answer that no [`Operation`] has.
    Unexpected,
}

impl Reply {
    pub(crate) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}
