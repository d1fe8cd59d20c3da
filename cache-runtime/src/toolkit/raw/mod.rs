//! All else that the server of a cache can do: commands, pipelines, scripts and scans, by
//! [`Cache::raw`](crate::Cache::raw).

mod command;
mod refused;
mod reply;
mod scan;
mod script;

use std::fmt;
use std::sync::Arc;

pub use self::command::{Argument, Command};
pub use self::reply::{FromReply, Mismatch};
pub use self::scan::Scan;
pub use self::script::{Script, ScriptRun};
use crate::Cache;
use crate::core::Core;
pub use crate::driver::words::Reply;
use crate::error::Error;
use crate::tier::Room;
use crate::tier::shared::Shared;

/// The server of a cache, for commands that a program writes itself: hashes, sorted sets, streams and whatever
/// else the server knows. From [`Cache::raw`]. Clones are the same.
///
/// Commands use the cache's own connections, with its deadline
/// ([`op_timeout`](crate::CacheBuilder::op_timeout)) and its breaker: while the server is away, they
/// fail at once. A command that the server refuses is an error of that command alone. It changes nothing for
/// the cache, unless the server says that it fails at others, too: it is a replica, has no memory left, or is
/// loading its data.
///
/// Keys are as the program writes them, on the same server or database as the cache's own, which begin with
/// its namespace. [`name`](Self::name) makes a key that no part of the cache has.
///
/// ```
/// # async fn show(cache: cache_runtime::Cache) -> Result<(), cache_runtime::Error> {
/// use cache_runtime::raw::Command;
///
/// let raw = cache.raw().expect("the cache has a server");
/// let board = raw.name("board");
/// raw.query::<()>(Command::new("ZADD").key(&board).arg(36.5).arg("ada")).await?;
/// let best: Vec<(String, f64)> = raw
///     .query(Command::new("ZREVRANGE").key(&board).arg(0).arg(9).arg("WITHSCORES"))
///     .await?;
/// # let _ = best;
/// # Ok(()) }
/// ```
///
/// # What is not sent
///
/// All requests of a process share a connection. A command that would hold them up, or change the connection
/// for them, is an error ([`Error::is_config`]), and is not sent: `BLPOP` and the like, `XREAD … BLOCK`,
/// `WAIT`, `SUBSCRIBE`, `MONITOR`, `MULTI` and `WATCH`, `SELECT`, `AUTH`, `CLIENT REPLY`. What runs as one step
/// is a [`script`](Self::script). For the others, open a connection of its own with a client library.
///
/// # What happens once
///
/// A command is sent at most once, also when its connection breaks: it may have been carried out, and its error
/// does not tell.
///
/// # Upstash
///
/// Over HTTP, commands and answers are JSON, and so text. An argument that is no UTF-8 is an error; in an
/// answer, U+FFFD stands for each byte that is part of no text. Commands of a process are sent one after the
/// other, as what writes is, and those that come meanwhile share the next request.
#[derive(Clone)]
pub struct Raw {
    core: Arc<Core>,
}

impl Cache {
    /// The server of this cache, for commands that a program writes itself. `None` without a server: in process,
    /// or off.
    ///
    /// ```
    /// # fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::Cache;
    ///
    /// assert!(Cache::builder().url("memory:").build()?.raw().is_none());
    /// # #[cfg(feature = "redis")]
    /// assert!(Cache::builder().url("redis://127.0.0.1").build()?.raw().is_some());
    /// # Ok(()) }
    /// ```
    pub fn raw(&self) -> Option<Raw> {
        let has_server = matches!(self.core().tier.room(), Room::Server(_));
        has_server.then(|| Raw::of(self.core()))
    }
}

impl Raw {
    /// Of a cache with a server.
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self { core: core.clone() }
    }

    /// A key of the cache's namespace for what a program keeps by its own commands: `<namespace>:x:<name>`.
    /// [`Cache::clear`] and invalidations leave it alone.
    ///
    /// In a cluster, keys with the same part in braces are on one node: `name("{user:7}:posts")` and
    /// `name("{user:7}:likes")`.
    ///
    /// ```
    /// # #[cfg(feature = "redis")] {
    /// # use cache_runtime::Cache;
    /// let cache = Cache::builder().url("redis://127.0.0.1").namespace("shop").build()?;
    /// let raw = cache.raw().expect("the cache has a server");
    /// assert_eq!(raw.name("board"), "shop:x:board");
    /// # }
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        match self.core.tier.room() {
            Room::Server(server) => server.own_key(name),
            Room::InProcess(_) | Room::None => name.to_owned(),
        }
    }

    /// Runs a command, and reads its answer as a `T`: see [`FromReply`] for the types.
    ///
    /// # Errors
    ///
    /// * If the server cannot be reached or does not answer in time ([`Error::is_unavailable`]). The command
    ///   may have been carried out.
    /// * If the server refuses the command ([`Error::is_refused`]): `WRONGTYPE`, an unknown command, no
    ///   permission. The error has the server's words.
    /// * If the answer is no `T` ([`Error::is_codec`]). The command was carried out.
    /// * If it is a command that is [not sent](Self#what-is-not-sent), or if its keys are in several hash slots
    ///   of a cluster ([`Error::is_config`]).
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, the command may have been carried out.
    ///
    /// ```
    /// # async fn show(raw: &cache_runtime::raw::Raw) -> Result<(), cache_runtime::Error> {
    /// use std::collections::HashMap;
    /// use cache_runtime::raw::Command;
    ///
    /// let user = raw.name("user:7");
    /// raw.query::<()>(Command::new("HSET").key(&user).arg("name").arg("ada").arg("age").arg(36)).await?;
    /// let fields: HashMap<String, String> = raw.query(Command::new("HGETALL").key(&user)).await?;
    /// let age: Option<u8> = raw.query(Command::new("HGET").key(&user).arg("age")).await?;
    /// # let _ = (fields, age);
    /// # Ok(()) }
    /// ```
    pub async fn query<T: FromReply>(&self, command: Command) -> Result<T, Error> {
        let name = command.name().to_owned();
        let answer = self.ask(command).await;
        self.read(&format!("`{name}`"), answer)
    }

    /// Runs commands in one round trip, and returns the answer to each, in their order. In a cluster, each goes
    /// to the node of its key, and all nodes are asked at once.
    ///
    /// It is no transaction: commands of other callers may come between, and one that is refused does not keep
    /// the next from being carried out. Commands with one key are carried out in their order.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query). If one of the commands is not sent, none is. If the only server fails, that
    /// is the error of all. Else each command has a result of its own; [`FromReply`] reads what it was
    /// answered.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, the commands may have been carried out.
    ///
    /// ```
    /// # async fn show(raw: &cache_runtime::raw::Raw) -> Result<(), Box<dyn std::error::Error>> {
    /// use cache_runtime::raw::{Command, FromReply};
    ///
    /// let visits = ["a", "b", "c"].map(|page| Command::new("INCR").key(raw.name(page)));
    /// for answer in raw.pipeline(visits).await? {
    ///     println!("{} visits", u64::from_reply(answer?)?);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn pipeline(
        &self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        let commands = commands.into_iter().collect();
        self.core.failed(self.send(commands).await)
    }

    /// A run of a script: add its keys and arguments, and [`run`](ScriptRun::run) it.
    ///
    /// ```
    /// # async fn show(raw: &cache_runtime::raw::Raw) -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::raw::Script;
    ///
    /// static ADD: Script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    /// let sum: i64 = raw.script(&ADD).key(raw.name("sum")).arg(7).run().await?;
    /// # let _ = sum;
    /// # Ok(()) }
    /// ```
    pub fn script<'a>(&'a self, script: &'a Script) -> ScriptRun<'a> {
        ScriptRun::new(self, script)
    }

    /// The keys that match a pattern, as the server's `SCAN` reads it (`*`, `?`, `[a-c]`), of all nodes of a
    /// cluster, as a stream. What it promises is said at [`Scan`]. A key that is no text ends it with an error
    /// ([`Error::is_codec`]): see [`bytes`](Scan::bytes).
    ///
    /// The server looks at all of its keys, whatever the pattern.
    ///
    /// ```
    /// # async fn show(raw: &cache_runtime::raw::Raw) -> Result<(), cache_runtime::Error> {
    /// use futures_util::TryStreamExt as _;
    ///
    /// let mut keys = raw.scan(&raw.name("user:*")).count(500);
    /// while let Some(key) = keys.try_next().await? {
    ///     println!("{key}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn scan(&self, pattern: &str) -> Scan<String> {
        let command = Command::new("SCAN").arg("MATCH").arg(pattern);
        Scan::new(self.clone(), command)
    }

    /// What is under one key, by `HSCAN`, `SSCAN` or `ZSCAN`, as a stream. The command is written without its
    /// cursor. What it promises is said at [`Scan`].
    ///
    /// ```
    /// # async fn show(raw: &cache_runtime::raw::Raw) -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::raw::Command;
    /// use futures_util::TryStreamExt as _;
    ///
    /// let board = Command::new("ZSCAN").key(raw.name("board"));
    /// let mut members = raw.scan_of::<(String, f64)>(board);
    /// while let Some((member, score)) = members.try_next().await? {
    ///     println!("{member}: {score}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn scan_of<T: FromReply>(&self, command: Command) -> Scan<T> {
        Scan::new(self.clone(), command)
    }

    fn server(&self) -> Result<&Shared, Error> {
        match self.core.tier.room() {
            Room::Server(server) => Ok(server),
            Room::InProcess(_) | Room::None => Err(Error::config("the cache has no server")),
        }
    }

    /// The answer to one command.
    async fn ask(&self, command: Command) -> Result<Reply, Error> {
        let answer = self.send(vec![command]).await?.into_iter().next();
        answer.unwrap_or_else(|| Err(Error::config("a command has no answer")))
    }

    async fn send(&self, commands: Vec<Command>) -> Result<Vec<Result<Reply, Error>>, Error> {
        let server = self.server()?;
        let mut checked = Vec::with_capacity(commands.len());
        for command in commands {
            if !server.may_be_together(command.keys()) {
                return Err(Error::config(format!(
                    "the keys of `{}` are in several hash slots of the cluster; give them a part in braces in \
                     common, such as `{{user:7}}:posts`",
                    command.name()
                )));
            }
            checked.push(command.checked()?);
        }
        server.run_words(checked).await
    }

    /// Reads an answer, and reports an error.
    fn read<T: FromReply>(&self, of: &str, answer: Result<Reply, Error>) -> Result<T, Error> {
        let read = |reply| T::from_reply(reply).map_err(|mismatch| mismatch.of(of));
        self.core.failed(answer.and_then(read))
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").finish_non_exhaustive()
    }
}
