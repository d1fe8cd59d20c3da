//! Fences on the server: joined before a body runs, left after it.

use std::time::Duration;

use super::entry;
use super::keyspace::Keyspace;
use super::notice::Notice;
use crate::clock;
use crate::driver::Operation;
use crate::key::Key;
use crate::sabotage;

const FENCE: &str = include_str!("scripts/fence.lua");
const UNFENCE: &str = include_str!("scripts/unfence.lua");

/// How many writers a fence names: those with the latest deadlines. Of all others it keeps the
/// latest deadline only. Most of them have failed, panicked, were dropped or have died; one that is
/// at work can end the fence no earlier than that.
///
/// So a fence has at most 521 bytes, which a reader of a fenced name fetches: its mark of 10, 31 for
/// each writer that it names, and 15 for the others.
const NAMED: u64 = 16;

/// Places a writer in the fence of each name, in its slot and in its version.
///
/// It may be sent twice: a writer is in a fence once, with its last deadline. Each deadline is
/// kept by the server's clock, so no two clocks are compared.
pub(super) fn join(
    keyspace: &Keyspace,
    names: &[Key],
    writer: u64,
    length: Duration,
) -> Vec<Operation> {
    let length = clock::millis(length.min(clock::FOREVER)).max(1);
    let join = |(key, notice)| {
        let join = Operation::script(FENCE, key).with([
            entry::new_fence().as_slice().into(),
            format!("{writer:x}").into(),
            length.into(),
            sabotage::named_writers(NAMED).into(),
        ]);
        keyspace.publishing(join, &notice)
    };
    places(keyspace, names).map(join).collect()
}

/// Takes a writer out of the fences again.
pub(super) fn leave(keyspace: &Keyspace, names: &[Key], writer: u64) -> Vec<Operation> {
    let leave = |(key, _)| {
        Operation::script(UNFENCE, key).with([
            entry::new_fence().as_slice().into(),
            format!("{writer:x}").into(),
        ])
    };
    places(keyspace, names).map(leave).collect()
}

/// The slot and the version of each name, with what is told of each.
fn places(keyspace: &Keyspace, names: &[Key]) -> impl Iterator<Item = (String, Notice)> {
    names.iter().flat_map(|name| {
        let on_server = || name.on_server().into_owned();
        [
            (keyspace.slot(name), Notice::Entry(on_server())),
            (keyspace.version(name), Notice::Tag(on_server())),
        ]
    })
}
