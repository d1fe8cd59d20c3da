//! Scripts of the toolkit: on one key each, which is no slot and no version.

use super::Shared;
use crate::driver::words::{self, Words};
use crate::driver::{Argument, Reply};
use crate::error::Error;

impl Shared {
    /// Runs a script on the key of this namespace that has this name, at most once: what counts or locks must not
    /// do so twice. One that the server refuses, since a user has no right to it, says nothing of the cache.
    pub(crate) async fn run_script(
        &self,
        text: &'static str,
        name: &str,
        arguments: Vec<Argument>,
    ) -> Result<Reply, Error> {
        let key = self.keyspace.plain(name).into_bytes();
        let mut all = vec![b"EVAL".to_vec(), text.into(), b"1".to_vec(), key.clone()];
        all.extend(arguments.into_iter().map(Argument::into_bytes));
        let script = Words {
            name: "EVAL".to_owned(),
            all,
            key: Some(key),
        };
        let answer = self.run_words(vec![script]).await?.into_iter().next();
        answer.unwrap_or_else(|| Err(self.no_answer())).map(reply)
    }
}

/// What a script has returned: one of ours returns texts, numbers and lists.
fn reply(reply: words::Reply) -> Reply {
    match reply {
        words::Reply::Nil => Reply::Nil,
        words::Reply::Number(number) => Reply::Number(number),
        words::Reply::Bytes(bytes) => Reply::Bytes(bytes),
        words::Reply::List(replies) => Reply::List(replies.into_iter().map(self::reply).collect()),
        words::Reply::Double(_) | words::Reply::Bool(_) | words::Reply::Map(_) => Reply::Unexpected,
    }
}
