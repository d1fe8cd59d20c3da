//! One verb of a tool, where the tool's data are.

use super::memory::Place;
use crate::core::Core;
use crate::driver::{Argument, Reply};
use crate::error::Error;
use crate::tier::Room;

/// Runs a verb: a function on one place in this process, or a script on one key of a server. `off` says what
/// is wrong if the cache is off.
pub(super) async fn run<R>(
    core: &Core,
    place: &str,
    here: impl FnOnce(&mut Place<'_>) -> Result<R, Error>,
    script: &'static str,
    arguments: Vec<Argument>,
    there: impl FnOnce(Reply) -> Result<R, Error>,
    off: &str,
) -> Result<R, Error> {
    match core.tier.room() {
        Room::InProcess(_) => core.memory.at(place, here),
        Room::Server(server) => {
            let reply = server.run_script(script, place, arguments).await;
            reply.and_then(there)
        }
        Room::None => Err(Error::config(off)),
    }
}

/// The numbers that a script has returned.
pub(super) fn numbers(reply: Reply) -> Vec<u64> {
    let Reply::List(numbers) = reply else {
        return Vec::new();
    };
    let number = |reply| match reply {
        Reply::Number(number) => u64::try_from(number).unwrap_or_default(),
        _ => 0,
    };
    numbers.into_iter().map(number).collect()
}

/// Whether a script has said yes.
pub(super) fn is_one(reply: &Reply) -> bool {
    *reply == Reply::Number(1)
}
