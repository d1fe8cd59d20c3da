//! What a server was asked, and has answered.

use std::time::Duration;

use super::info::Info;
use crate::error::Error;

/// How long a server may take to answer. It is longer than the deadline of a call: how far away a server is shall
/// be seen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What one server has told. Each part is asked for itself: one that fails leaves the others.
#[derive(Debug)]
pub(crate) struct Told {
    /// Without credentials.
    pub(crate) address: String,
    /// Whether others may read what is sent to it: it is not encrypted, and leaves this machine.
    pub(crate) is_exposed: bool,
    /// Whether it was reached without a password, from another machine.
    pub(crate) is_open: bool,
    /// Whether it says which server it is.
    pub(crate) is_known: bool,
    /// Whether it can be read and written.
    pub(crate) trial: Result<(), Error>,
    /// Whether what it publishes is heard.
    pub(crate) hears: Result<(), Error>,
    /// How long it took to answer, each time that it was asked for nothing; at most [`PATIENCE`].
    pub(crate) round_trips: Vec<Duration>,
    pub(crate) info: Result<Info, Error>,
    /// What it says of its cluster, if it is a node of one.
    pub(crate) cluster: Option<Result<Info, Error>>,
    /// By [`RIGHTS`](super::RIGHTS), whether it has carried out the command.
    pub(crate) commands: Vec<Result<(), Error>>,
    /// What keys begin with, and whether such a key may be asked for.
    pub(crate) keys: Vec<(String, Result<(), Error>)>,
}
