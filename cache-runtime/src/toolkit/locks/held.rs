//! The state of one lock, and the three verbs that change it: in this process, or as scripts on a server.

use std::time::{Duration, SystemTime};

use super::super::memory::Place;
use super::super::verb::{self, is_one, numbers};
use crate::clock::{self, Moment};
use crate::core::Core;
use crate::error::Error;
use crate::sabotage::{self, Rule};

const LOCK: &str = include_str!("../scripts/lock.lua");
const EXTEND: &str = include_str!("../scripts/extend_lock.lua");
const UNLOCK: &str = include_str!("../scripts/unlock.lua");

/// For how long the last token of a lock is remembered that is not held.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

pub(super) const OFF: &str = "the cache is off, so it has no locks; give it a server, or `memory:`";

/// What an attempt to take a lock showed.
pub(super) enum Taken {
    /// It is held from now on, with this token.
    By(u64),
    /// Another owner holds it, at most for so long.
    Not(Duration),
}

/// The owner of a lock.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// No other attempt has its name. So what is held by it was taken by an earlier request of this attempt, whose
    /// answer was lost.
    Unique(&'a str),
    /// A value of the program: several callers may have it, and one of them gets the lock.
    Value(&'a str),
}

impl<'a> Owner<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Unique(name) | Self::Value(name) => name,
        }
    }

    fn is_unique(self) -> bool {
        matches!(self, Self::Unique(_))
    }
}

/// Takes a lock for an owner, unless it is held.
pub(super) async fn take(
    core: &Core,
    place: &str,
    owner: Owner<'_>,
    ttl: Duration,
) -> Result<Taken, Error> {
    let here = |place: &mut Place<'_>| Ok(take_here(place, owner, ttl));
    let taken = |reply| match numbers(reply)[..] {
        [1, token] => Ok(Taken::By(token)),
        [0, left] => Ok(Taken::Not(Duration::from_millis(left))),
        _ => Err(Error::codec(place, "locked", &"its answer makes no sense")),
    };
    let name = owner.name().as_bytes().to_vec();
    let is_unique = u8::from(owner.is_unique()).to_string().into_bytes();
    let arguments = [name, millis(ttl), millis(REMEMBERED), is_unique];
    let arguments = arguments.map(Into::into).into();
    let script = sabotage::lock_script(LOCK);
    verb::run(core, place, here, script, arguments, taken, OFF).await
}

/// Lets a lock end after `ttl` from now on, if this owner holds it; whether it does.
pub(super) async fn extend(
    core: &Core,
    place: &str,
    owner: &str,
    ttl: Duration,
) -> Result<bool, Error> {
    let here = |place: &mut Place<'_>| {
        let held = held_by(place, owner);
        let extended = held.map(|token| hold(place, token, owner, ttl));
        Ok(extended.is_some())
    };
    let arguments = [owner.as_bytes().to_vec(), millis(ttl), millis(REMEMBERED)];
    let arguments = arguments.map(Into::into).into();
    verb::run(
        core,
        place,
        here,
        EXTEND,
        arguments,
        |reply| Ok(is_one(&reply)),
        OFF,
    )
    .await
}

/// Releases a lock, if this owner holds it; whether it did.
pub(super) async fn release(core: &Core, place: &str, owner: &str) -> Result<bool, Error> {
    let here = |place: &mut Place<'_>| Ok(release_here(place, owner));
    let arguments = [owner.as_bytes().to_vec(), millis(REMEMBERED)];
    let arguments = arguments.map(Into::into).into();
    let script = if sabotage::keeps(Rule::LockOwner) {
        UNLOCK
    } else {
        super::super::UNLINK
    };
    verb::run(
        core,
        place,
        here,
        script,
        arguments,
        |reply| Ok(is_one(&reply)),
        OFF,
    )
    .await
}

/// In this process, what `lock.lua` does.
fn take_here(place: &mut Place<'_>, owner: Owner<'_>, ttl: Duration) -> Taken {
    let (last, ends, holder) = place.text().and_then(parse).unwrap_or((0, 0, ""));
    let left = ends.saturating_sub(place.now());
    let is_own = owner.is_unique() && holder == owner.name();
    if left > 0 && !is_own {
        return Taken::Not(Duration::from_millis(left));
    }
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = since_1970.map_or(0, |since| since.as_micros());
    let token = (last + 1).max(u64::try_from(micros).unwrap_or_default());
    hold(place, token, owner.name(), ttl);
    Taken::By(token)
}

/// In this process, what `unlock.lua` does.
pub(super) fn release_here(place: &mut Place<'_>, owner: &str) -> bool {
    let held = held_by(place, owner);
    if let Some(token) = held {
        place.set(&format!("{token} 0 "), Some(REMEMBERED));
    }
    held.is_some()
}

/// The token of a lock that this owner holds.
fn held_by(place: &Place<'_>, owner: &str) -> Option<u64> {
    let (token, ends, holder) = place.text().and_then(parse)?;
    (holder == owner && ends > place.now()).then_some(token)
}

fn hold(place: &mut Place<'_>, token: u64, owner: &str, ttl: Duration) {
    let ends: Moment = place.end_of(ttl);
    place.set(&format!("{token} {ends} {owner}"), Some(ttl + REMEMBERED));
}

/// The last token, when the lock ends, and its owner.
fn parse(text: &str) -> Option<(u64, Moment, &str)> {
    let mut parts = text.splitn(3, ' ');
    let token = parts.next()?.parse().ok()?;
    let ends = parts.next()?.parse().ok()?;
    Some((token, ends, parts.next()?))
}

fn millis(duration: Duration) -> Vec<u8> {
    clock::millis(duration).to_string().into_bytes()
}
