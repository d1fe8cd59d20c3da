//! A command that a program writes itself, and its answer, without a client library's types.

use crate::error::Error;

/// A command as a program writes it. It is sent at most once, since only the program knows what it would
/// do a second time.
#[derive(Debug)]
pub(crate) struct Words {
    /// The command's name, for messages.
    pub(crate) name: String,
    /// All of its words, the name too.
    pub(crate) all: Vec<Vec<u8>>,
    /// The key that says which node of a cluster it is for.
    pub(crate) key: Option<Vec<u8>>,
}

/// The error that is the answer to one command. Other commands of the same request have other answers.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Error);

/// Two say the same.
impl PartialEq for Refused {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

/// What a server answers to a [`Command`](crate::raw::Command).
///
/// A server speaks one of two versions of its protocol, and the older one, which Upstash has too, knows no
/// doubles, booleans and maps: there, a double is a text, a boolean is a number, and a map is a list of keys and
/// values in turn. [`FromReply`](crate::raw::FromReply) reads both alike, so prefer that to a `match`.
///
/// ```
/// use cache_runtime::raw::{FromReply, Reply};
///
/// let newer = Reply::Map(vec![(Reply::Bytes(b"ada".to_vec()), Reply::Double(36.5))]);
/// let older = Reply::List(vec![Reply::Bytes(b"ada".to_vec()), Reply::Bytes(b"36.5".to_vec())]);
/// for reply in [newer, older] {
///     assert_eq!(Vec::<(String, f64)>::from_reply(reply).unwrap(), [("ada".to_owned(), 36.5)]);
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// There is nothing: an absent key, for example.
    Nil,
    /// A whole number.
    Number(i64),
    /// Any other number.
    Double(f64),
    /// Yes or no.
    Bool(bool),
    /// Text or other bytes; `OK`, too.
    Bytes(Vec<u8>),
    /// A list, or a set.
    List(Vec<Reply>),
    /// Keys with their values.
    Map(Vec<(Reply, Reply)>),
}
