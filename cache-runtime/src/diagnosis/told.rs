//! What a server was asked, and has answered.

use std::time::Duration;

use super::info::Info;
use crate::error::Error;

/// What one server has told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Without credentials.
    pub(crate) address: String,
    /// Whether others may read what is sent to it: it is not encrypted, and leaves this machine.
    pub(crate) is_exposed: bool,
    /// Whether it says which server it is.
    pub(crate) is_known: bool,
    /// Whether what it publishes is heard.
    pub(crate) hears: Result<(), Error>,
    /// How long it took to answer, each time that it was asked for nothing.
    pub(crate) round_trips: Vec<Duration>,
    pub(crate) info: Result<Info, Error>,
    /// What it says of its cluster, if it is a node of one.
    pub(crate) cluster: Option<Result<Info, Error>>,
    /// By [`RIGHTS`](super::RIGHTS), whether it has carried out the command.
    pub(crate) commands: Vec<Result<(), Error>>,
}
