//! A command of words.

use std::borrow::Cow;
use std::fmt;

use crate::driver::words::Words;
use crate::error::Error;

/// A command for [`Raw`](super::Raw), of words.
///
/// Its keys are marked by [`key`](Self::key). In a cluster, they say which node the command is for. A command
/// without a key goes to one node, always the same while the cluster stays as it is.
///
/// ```
/// use cache_runtime::raw::Command;
///
/// let command = Command::new("ZADD").key("board").arg(10).arg("ada");
/// assert_eq!(format!("{command:?}"), r#"Command("ZADD", 3 more words)"#);
/// ```
#[derive(Clone)]
pub struct Command {
    name: String,
    words: Vec<Vec<u8>>,
    /// Which of the words are keys.
    keys: Vec<usize>,
}

impl Command {
    /// A command by its name, in upper or lower case. The name may have two words, as `OBJECT ENCODING` has.
    ///
    /// ```
    /// let command = cache_runtime::raw::Command::new("OBJECT ENCODING").key("board");
    /// # let _ = command;
    /// ```
    #[must_use]
    pub fn new(name: &str) -> Self {
        let words = name.split_ascii_whitespace();
        Self {
            name: name.to_owned(),
            words: words.map(|word| word.as_bytes().to_vec()).collect(),
            keys: Vec::new(),
        }
    }

    /// Adds a key, as it is: see [`Raw::name`](super::Raw::name).
    ///
    /// ```
    /// let command = cache_runtime::raw::Command::new("GET").key("greeting");
    /// # let _ = command;
    /// ```
    #[must_use]
    pub fn key(mut self, key: impl Argument) -> Self {
        self.keys.push(self.words.len());
        self.arg(key)
    }

    /// Adds an argument that is no key.
    ///
    /// ```
    /// use cache_runtime::raw::Command;
    ///
    /// let command = Command::new("SET").key("greeting").arg("hello").arg("EX").arg(60);
    /// # let _ = command;
    /// ```
    #[must_use]
    pub fn arg(mut self, argument: impl Argument) -> Self {
        self.words.push(argument.to_argument().into_owned());
        self
    }

    /// Adds arguments that are no keys.
    ///
    /// ```
    /// let command = cache_runtime::raw::Command::new("HMGET").key("user").args(["name", "age"]);
    /// # let _ = command;
    /// ```
    #[must_use]
    pub fn args(self, arguments: impl IntoIterator<Item = impl Argument>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn words(&self) -> &[Vec<u8>] {
        &self.words
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let keys = self.keys.iter();
        keys.filter_map(|&key| self.words.get(key).map(Vec::as_slice))
    }

    /// The same command with a word more: behind its first key, or behind its name.
    pub(super) fn with_cursor(&self, cursor: &[u8]) -> Self {
        let mut command = self.clone();
        let name = self.name.split_ascii_whitespace().count();
        let behind = self.keys.first().map_or(name, |key| key + 1);
        command.words.insert(behind, cursor.to_vec());
        for key in &mut command.keys {
            *key += usize::from(*key >= behind);
        }
        command
    }

    /// As a driver sends it. Fails if it would be in the way of other requests.
    pub(super) fn checked(self) -> Result<Words, Error> {
        super::refused::check(&self)?;
        let key = self.keys().next().map(<[u8]>::to_vec);
        Ok(Words {
            key,
            name: self.name,
            all: self.words,
        })
    }
}

/// Without the arguments, which may be secret.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = self.words.len() - self.name.split_ascii_whitespace().count();
        write!(f, "Command({:?}, {more} more words)", self.name)
    }
}

/// What can be a word of a [`Command`]: texts, bytes and numbers.
///
/// ```
/// use cache_runtime::raw::Argument;
///
/// assert_eq!(*7.to_argument(), *b"7");
/// assert_eq!(*0.5.to_argument(), *b"0.5");
/// assert_eq!(*"ada".to_argument(), *b"ada");
/// assert_eq!(*[0_u8, 255].to_argument(), [0, 255]);
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is no word of a command",
    note = "texts, bytes and numbers are; write a value of another type as one of these, for example by `to_string`"
)]
pub trait Argument {
    /// The bytes of the word.
    fn to_argument(&self) -> Cow<'_, [u8]>;
}

#[diagnostic::do_not_recommend]
impl<T: Argument + ?Sized> Argument for &T {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        (**self).to_argument()
    }
}

impl Argument for str {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        self.as_bytes().into()
    }
}

impl Argument for String {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        self.as_bytes().into()
    }
}

impl Argument for Cow<'_, str> {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        self.as_bytes().into()
    }
}

impl Argument for [u8] {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        self.into()
    }
}

impl Argument for Vec<u8> {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        self.into()
    }
}

impl<const N: usize> Argument for [u8; N] {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        self.as_slice().into()
    }
}

impl Argument for bytes::Bytes {
    fn to_argument(&self) -> Cow<'_, [u8]> {
        (&**self).into()
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Argument for $number {
            fn to_argument(&self) -> Cow<'_, [u8]> {
                self.to_string().into_bytes().into()
            }
        })*
    };
}

numbers! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64 }

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<&str> {
        let words = command.words().iter();
        words.map(|word| str::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn a_cursor_stands_behind_the_key_or_the_name() {
        let scan = Command::new("SCAN").arg("COUNT").arg(10);
        assert_eq!(words(&scan.with_cursor(b"7")), ["SCAN", "7", "COUNT", "10"]);
        let scan = Command::new("hscan").key("user").arg("NOVALUES");
        let scan = scan.with_cursor(b"7");
        assert_eq!(words(&scan), ["hscan", "user", "7", "NOVALUES"]);
        assert_eq!(scan.keys().collect::<Vec<_>>(), [b"user"]);
    }

    #[test]
    fn the_first_key_says_where_a_command_goes() {
        let command = Command::new("COPY").key("a").arg("x").key("b");
        assert_eq!(words(&command), ["COPY", "a", "x", "b"]);
        let words = command.checked().unwrap();
        assert_eq!(words.key.as_deref(), Some(&b"a"[..]));
    }
}
