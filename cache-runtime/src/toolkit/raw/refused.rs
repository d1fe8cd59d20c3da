//! Commands that are not sent: all of a process's requests share one connection.

use super::Command;
use crate::error::Error;

/// Commands that wait at the server. The connection carries nothing else meanwhile.
const WAIT: &[&str] = &[
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "MONITOR",
    "PSYNC",
    "SYNC",
    "WAIT",
    "WAITAOF",
];

/// Commands by which a server sends more than one answer.
const LISTEN: &[&str] = &[
    "PSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "UNSUBSCRIBE",
];

/// Commands of a transaction, in which commands of other callers would be, too.
const TRANSACT: &[&str] = &["DISCARD", "EXEC", "MULTI", "UNWATCH", "WATCH"];

/// Commands that change what the connection is, for all callers.
const CONNECT: &[&str] = &[
    "ASKING",
    "AUTH",
    "HELLO",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SELECT",
];

/// Words behind `CLIENT` that do so.
const CLIENT: &[&str] = &[
    "CACHING",
    "CAPA",
    "IMPORT-SOURCE",
    "NO-EVICT",
    "NO-TOUCH",
    "REPLY",
    "SETINFO",
    "SETNAME",
    "TRACKING",
];

/// Commands, or those behind a word, after which the server does not answer this process for a while, or in another
/// form. The last two are taken for the beginning of a request over HTTP.
const HAZARDS: &[(&str, &str)] = &[
    ("CLIENT", "PAUSE"),
    ("CLUSTER", "SYNCSLOTS"),
    ("DEBUG", "SLEEP"),
    ("SCRIPT", "DEBUG"),
    ("SHUTDOWN", ""),
    ("HOST:", ""),
    ("POST", ""),
];

/// Fails for a command that would be in the way of other requests.
pub(super) fn check(command: &Command) -> Result<(), Error> {
    let word = |at: usize| {
        let word = command.words().get(at)?;
        Some(String::from_utf8_lossy(word).to_ascii_uppercase())
    };
    let Some(first) = word(0) else {
        return Err(Error::config("a command has no name"));
    };
    let is_one_of = |names: &[&str]| names.contains(&&*first);
    let reads_on = matches!(&*first, "XREAD" | "XREADGROUP");
    let is_blocking = reads_on && blocks(command);
    let second = word(1).unwrap_or_default();
    let of_client = first == "CLIENT" && CLIENT.contains(&&*second);
    let is_hazard = HAZARDS.contains(&(&*first, &*second)) || HAZARDS.contains(&(&*first, ""));
    let why = if is_one_of(WAIT) || is_blocking {
        "it waits at the server, and holds up all other requests of this process meanwhile; ask from time to \
         time by a command that does not wait, or open a connection of its own with a client library"
    } else if is_one_of(LISTEN) {
        "its messages would come between the answers to other requests; open a connection of its own with a \
         client library"
    } else if is_one_of(TRANSACT) {
        "commands of other callers would be in the transaction, too; use a script, which runs as one step: \
         see `Raw::script`"
    } else if is_hazard {
        "the server would hold up, or hang up on, all other requests of this process; open a connection of its own \
         with a client library"
    } else if is_one_of(CONNECT) || of_client {
        "it would change the connection for all other requests of this process; write it into the URL of a \
         cache of its own, or open a connection of its own with a client library"
    } else {
        return Ok(());
    };
    Err(Error::config(format!(
        "`{}` is not sent: {why}",
        command.name()
    )))
}

/// Whether an `XREAD` waits: its options stand before the word `STREAMS`.
fn blocks(command: &Command) -> bool {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let mut options = command.words().iter().skip(1);
    while let Some(option) = options.next() {
        if is(option, "STREAMS") {
            return false;
        } else if is(option, "BLOCK") {
            return true;
        } else if is(option, "GROUP") {
            // A group and a consumer may have any name.
            options.nth(1);
        } else if is(option, "COUNT") || is(option, "CLAIM") {
            options.next();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_in_the_way_is_not_sent() {
        let refusal = |command: Command| command.checked().unwrap_err().to_string();
        for (name, part) in [
            ("blpop", "holds up"),
            ("MULTI", "script"),
            ("Select", "URL"),
            ("client  reply", "client library"),
            ("SUBSCRIBE", "messages"),
        ] {
            assert!(
                refusal(Command::new(name).key("a")).contains(part),
                "{name}"
            );
        }
        assert!(refusal(Command::new(" ")).contains("no name"));
        let read = Command::new("XREAD").arg("Block").arg(0).arg("STREAMS");
        assert!(refusal(read.key("a").arg(0)).contains("`XREAD`"));
        let read = Command::new("XREADGROUP")
            .arg("GROUP")
            .arg("streams")
            .arg("c");
        let read = read.arg("BLOCK").arg(0).arg("STREAMS").key("a").arg(">");
        assert!(refusal(read).contains("`XREADGROUP`"));
        for hazard in ["SCRIPT DEBUG", "client pause", "SHUTDOWN", "Host:"] {
            let said = refusal(Command::new(hazard).arg("YES"));
            assert!(said.contains("hang up"), "{said}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_sent() {
        for command in [
            Command::new("XREAD").arg("STREAMS").key("block").arg(0),
            Command::new("CLIENT LIST"),
            Command::new("SCRIPT EXISTS").arg("debug"),
            Command::new("XREADGROUP")
                .arg("GROUP")
                .arg("block")
                .arg("block")
                .arg("STREAMS")
                .key("a")
                .arg(">"),
            Command::new("SET").key("multi").arg("EXEC"),
        ] {
            assert!(command.clone().checked().is_ok(), "{command:?}");
        }
    }
}
