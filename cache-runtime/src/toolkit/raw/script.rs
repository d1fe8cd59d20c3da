//! Scripts of a program.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use super::{Argument, Command, FromReply, Raw};
use crate::error::Error;

/// A script in Lua, which a server runs as one step. Make it once, as a `static`.
///
/// ```
/// use cache_runtime::raw::Script;
///
/// static TAKE_SEAT: Script = Script::new(
///     "if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
///      return redis.call('SADD', KEYS[1], ARGV[2])",
/// );
/// # let _ = &TAKE_SEAT;
/// ```
pub struct Script {
    text: Cow<'static, str>,
    digest: OnceLock<String>,
}

impl Script {
    /// A script of this text.
    ///
    /// ```
    /// static ONE: cache_runtime::raw::Script = cache_runtime::raw::Script::new("return 1");
    /// # let _ = &ONE;
    /// ```
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            digest: OnceLock::new(),
        }
    }

    /// By which servers know it.
    fn digest(&self) -> &str {
        let digest = || sha1_smol::Sha1::from(&*self.text).digest().to_string();
        self.digest.get_or_init(digest)
    }
}

/// A script whose text is known only now. Each text stays in the memory of the server, so give what differs
/// from call to call as an argument.
///
/// ```
/// let script = cache_runtime::raw::Script::from(format!("return {}", 1 + 1));
/// # let _ = script;
/// ```
impl From<String> for Script {
    fn from(text: String) -> Self {
        Self {
            text: Cow::Owned(text),
            digest: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.text).finish()
    }
}

/// One run of a [`Script`], from [`Raw::script`].
#[must_use = "it does nothing until it is run"]
pub struct ScriptRun<'a> {
    raw: &'a Raw,
    script: &'a Script,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl<'a> ScriptRun<'a> {
    pub(super) fn new(raw: &'a Raw, script: &'a Script) -> Self {
        Self {
            raw,
            script,
            keys: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Adds a key: the next of `KEYS`. In a cluster, all keys of a run must be in one hash slot: give them a
    /// part in braces in common.
    ///
    /// ```
    /// # fn show(raw: &cache_runtime::raw::Raw, script: &cache_runtime::raw::Script) {
    /// let run = raw.script(script).key("{show:7}:seats").key("{show:7}:log");
    /// # drop(run); }
    /// ```
    pub fn key(mut self, key: impl Argument) -> Self {
        self.keys.push(key.to_argument().into_owned());
        self
    }

    /// Adds an argument: the next of `ARGV`.
    ///
    /// ```
    /// # fn show(raw: &cache_runtime::raw::Raw, script: &cache_runtime::raw::Script) {
    /// let run = raw.script(script).key("seats").arg(100).arg("ada");
    /// # drop(run); }
    /// ```
    pub fn arg(mut self, argument: impl Argument) -> Self {
        self.arguments.push(argument.to_argument().into_owned());
        self
    }

    /// Runs the script, and reads its answer as a `T`. The script is named by its digest; a server that does
    /// not know it gets its text.
    ///
    /// # Errors
    ///
    /// As [`Raw::query`]. If keys are in several hash slots of a cluster ([`Error::is_config`]), it is not
    /// run.
    ///
    /// # Cancellation
    ///
    /// If this future is dropped, the script may have run.
    ///
    /// ```
    /// # async fn show(raw: &cache_runtime::raw::Raw) -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::raw::Script;
    ///
    /// static RAISE: Script = Script::new(
    ///     "if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
    ///        redis.call('SET', KEYS[1], ARGV[1])
    ///      end
    ///      return redis.call('GET', KEYS[1])",
    /// );
    /// let highest: u64 = raw.script(&RAISE).key(raw.name("highest")).arg(7).run().await?;
    /// # let _ = highest;
    /// # Ok(()) }
    /// ```
    pub async fn run<T: FromReply>(self) -> Result<T, Error> {
        let answer = match self.raw.ask(self.known_command()).await {
            Err(error) if error.is_unknown_script() => self.raw.ask(self.command()).await,
            answer => answer,
        };
        self.raw.read("the script", answer)
    }

    /// The run as a command, with the text of the script: for a [`pipeline`](Raw::pipeline).
    ///
    /// ```
    /// # async fn show(raw: &cache_runtime::raw::Raw) -> Result<(), cache_runtime::Error> {
    /// # use cache_runtime::raw::Script;
    /// static ONE: Script = Script::new("return 1");
    /// let ones = [raw.script(&ONE).key("a").command(), raw.script(&ONE).key("b").command()];
    /// let answers = raw.pipeline(ones).await?;
    /// # let _ = answers;
    /// # Ok(()) }
    /// ```
    pub fn command(&self) -> Command {
        self.command_by("EVAL", &self.script.text)
    }

    /// The run as a command that names the script by its digest: a server that does not know it refuses.
    pub(in crate::toolkit) fn known_command(&self) -> Command {
        self.command_by("EVALSHA", self.script.digest())
    }

    fn command_by(&self, name: &str, script: &str) -> Command {
        let command = Command::new(name).arg(script).arg(self.keys.len());
        let command = self.keys.iter().fold(command, Command::key);
        command.args(&self.arguments)
    }
}

/// Without the arguments, which may be secret.
impl fmt::Debug for ScriptRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, arguments) = (self.keys.len(), self.arguments.len());
        write!(f, "ScriptRun({keys} keys, {arguments} arguments)")
    }
}
