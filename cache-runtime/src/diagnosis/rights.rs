//! The commands that a cache sends, and what they serve. The page `operation` has them as a table.

use crate::driver::words::Words;

/// A command, and how it is tried.
#[derive(Debug)]
pub(crate) struct Right {
    /// As `ACL SETUSER` spells it, behind the `+`.
    pub(super) name: &'static str,
    /// The command, with [`KEY`] and [`CHANNEL`] in the places of these. It does nothing that stays.
    words: &'static [&'static str],
    pub(super) serves: Serves,
}

/// What a command serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    Caching,
    Patterns,
    Copies,
    Restarts,
    Tools,
}

/// Stands for a key on the server that is asked.
const KEY: &str = "<key>";
/// Stands for a channel that no process listens to.
const CHANNEL: &str = "<channel>";

impl Right {
    /// The command that tries it, on a key on which nothing depends.
    pub(crate) fn command(&self, key: &str, channel: &str) -> Words {
        let word = |word: &'static str| match word {
            KEY => key.as_bytes().to_vec(),
            CHANNEL => channel.as_bytes().to_vec(),
            word => word.as_bytes().to_vec(),
        };
        Words {
            name: self.name.replace('|', " ").to_ascii_uppercase(),
            all: self.words.iter().copied().map(word).collect(),
            key: None,
        }
    }
}

/// What belongs to a cache itself, and what is missing without it. The rest is tools.
pub(super) const LOSSES: [(Serves, &str); 4] = [
    (Serves::Caching, "nothing is cached"),
    (
        Serves::Patterns,
        "`Cache::clear`, `invalidate_matching` and `count_matching` return an error",
    ),
    (
        Serves::Copies,
        "other processes do not hear what this one invalidates: their copies are served until their `local_ttl` \
         ends",
    ),
    (
        Serves::Restarts,
        "after a restart from an old snapshot, old entries may be served until their ttl ends",
    ),
];

const fn right(name: &'static str, words: &'static [&'static str], serves: Serves) -> Right {
    Right {
        name,
        words,
        serves,
    }
}

/// In the order in which they are tried. What one leaves under the key, the next ones end: so some are there more
/// than once.
pub(crate) const RIGHTS: &[Right] = &[
    right("unlink", &["UNLINK", KEY], Serves::Caching),
    right("mget", &["MGET", KEY], Serves::Caching),
    right("get", &["GET", KEY], Serves::Caching),
    right("getrange", &["GETRANGE", KEY, "0", "0"], Serves::Caching),
    right("strlen", &["STRLEN", KEY], Serves::Caching),
    right("exists", &["EXISTS", KEY], Serves::Caching),
    right("pttl", &["PTTL", KEY], Serves::Caching),
    right("time", &["TIME"], Serves::Caching),
    right("set", &["SET", KEY, "1", "PX", "1000"], Serves::Caching),
    right("incr", &["INCR", KEY], Serves::Caching),
    right("pexpire", &["PEXPIRE", KEY, "1000"], Serves::Caching),
    right("eval", &["EVAL", "return 1", "1", KEY], Serves::Caching),
    right("scan", &["SCAN", "0", "COUNT", "1"], Serves::Patterns),
    right("publish", &["PUBLISH", CHANNEL, ""], Serves::Copies),
    right("info", &["INFO", "server"], Serves::Restarts),
    right("incrby", &["INCRBY", KEY, "1"], Serves::Tools),
    right("memory|usage", &["MEMORY", "USAGE", KEY], Serves::Tools),
    right(
        "object|idletime",
        &["OBJECT", "IDLETIME", KEY],
        Serves::Tools,
    ),
    right("object|freq", &["OBJECT", "FREQ", KEY], Serves::Tools),
    right(
        "evalsha",
        &["EVALSHA", "0000000000000000000000000000000000000000", "0"],
        Serves::Tools,
    ),
    right("unlink", &["UNLINK", KEY], Serves::Caching),
    right("zadd", &["ZADD", KEY, "1", "one"], Serves::Tools),
    right("pexpire", &["PEXPIRE", KEY, "1000"], Serves::Caching),
    right("zcard", &["ZCARD", KEY], Serves::Tools),
    right("zrange", &["ZRANGE", KEY, "0", "0"], Serves::Tools),
    right(
        "zremrangebyscore",
        &["ZREMRANGEBYSCORE", KEY, "0", "1"],
        Serves::Tools,
    ),
    right("unlink", &["UNLINK", KEY], Serves::Caching),
];
