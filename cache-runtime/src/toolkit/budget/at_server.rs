//! One sweep of a server, by its own commands.

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;

use super::super::raw::{Command, FromReply as _, Raw, Reply, Scan, Script};
use super::ages::Ages;
use super::{Budget, Swept};
use crate::clock;
use crate::error::Error;
use crate::sabotage;

static GIVE_UP: Script = Script::new(include_str!("../scripts/give_up.lua"));

/// How many keys the server looks at for one page of a scan, and how many entries are measured at once: half a
/// millisecond's work.
const PAGE: usize = 100;

/// What a server tells of how recently a key was used.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    /// The seconds since it was used.
    IdleTime,
    /// How often it is used, from 0 to 255: with a `maxmemory-policy` of the kind `lfu`.
    Frequency,
}

/// An entry, or what else is in a slot.
struct Measured {
    key: Vec<u8>,
    bytes: u64,
    age: u64,
}

/// A sweep that is under way.
struct Sweep {
    raw: Raw,
    told: Use,
}

/// The slots of a budget's entries, page by page.
struct Pages {
    keys: ReadyChunks<Scan<Vec<u8>>>,
    /// When the last page was asked for.
    asked: Option<Instant>,
}

pub(super) async fn sweep(budget: &Budget) -> Result<Swept, Error> {
    let mut sweep = Sweep {
        raw: Raw::of(&budget.core),
        told: Use::IdleTime,
    };
    let began = Instant::now();
    let (mut swept, mut ages) = (Swept::default(), Ages::default());
    let mut pages = sweep.pages(budget);
    while let Some(page) = sweep.next(&mut pages).await? {
        for measured in page {
            swept.entries += 1;
            swept.bytes += measured.bytes;
            ages.add(measured.age, measured.bytes);
        }
    }
    let needed = budget.too_much(swept.bytes);
    let mut from = ages.age_that_frees(needed);
    if sweep.told == Use::IdleTime && from > 0 {
        // Each key is by so much older when it is looked at for the second time.
        from += began.elapsed().as_secs();
    }
    let mut pages = sweep.pages(budget);
    while swept.freed < needed
        && let Some(mut page) = sweep.next(&mut pages).await?
    {
        let mut left = needed - swept.freed;
        page.retain(|measured| {
            let goes = measured.age >= from && left > 0;
            left = left.saturating_sub(if goes { measured.bytes } else { 0 });
            goes
        });
        let removed = sweep.give_up(&page, from).await?;
        for (measured, _) in page.iter().zip(removed).filter(|(_, removed)| *removed) {
            swept.removed += 1;
            swept.freed += measured.bytes;
        }
    }
    Ok(swept)
}

impl Sweep {
    fn pages(&self, budget: &Budget) -> Pages {
        let keys = self.raw.scan(&budget.glob()).bytes().count(PAGE);
        Pages {
            keys: keys.ready_chunks(PAGE),
            asked: None,
        }
    }

    /// The next page. The server has as much time for its other callers as the last one has taken.
    async fn next(&mut self, pages: &mut Pages) -> Result<Option<Vec<Measured>>, Error> {
        if let Some(asked) = pages.asked {
            clock::pause(asked.elapsed()).await;
        }
        pages.asked = Some(Instant::now());
        let Some(page) = pages.keys.next().await else {
            return Ok(None);
        };
        let keys = page.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.measure(keys).await.map(Some)
    }

    async fn measure(&mut self, keys: Vec<Vec<u8>>) -> Result<Vec<Measured>, Error> {
        let mut answers = self.ask(&keys).await?;
        let is_of_other_kind = |answer: &Result<Reply, Error>| {
            let error = answer.as_ref().err().map(Error::to_string);
            error.is_some_and(|error| error.contains("LFU"))
        };
        if self.told == Use::IdleTime && answers.iter().any(is_of_other_kind) {
            self.told = Use::Frequency;
            answers = self.ask(&keys).await?;
        }
        let mut answers = answers.into_iter();
        let mut measured = Vec::with_capacity(keys.len());
        for key in keys {
            let (Some(bytes), Some(used)) = (answers.next(), answers.next()) else {
                break;
            };
            let bytes = number("MEMORY", bytes?)?;
            let used = match used {
                // It has expired, or was removed.
                Err(error) if error.to_string().contains("no such key") => None,
                used => number("OBJECT", used?)?,
            };
            if let (Some(bytes), Some(used)) = (bytes, used) {
                let age = self.told.age(used);
                measured.push(Measured { key, bytes, age });
            }
        }
        Ok(measured)
    }

    async fn ask(&self, keys: &[Vec<u8>]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let mut commands = Vec::with_capacity(keys.len() * 2);
        for key in keys {
            commands.push(Command::new("MEMORY").arg("USAGE").key(key));
            commands.push(Command::new("OBJECT").arg(self.told.word()).key(key));
        }
        self.raw.pipeline(commands).await
    }

    /// Removes those of these that are still so old; for each, whether it is removed.
    async fn give_up(&self, old: &[Measured], from: u64) -> Result<Vec<bool>, Error> {
        let commands = old.iter().map(|measured| {
            let run = self.raw.script(&GIVE_UP).key(&measured.key);
            run.arg(self.told.word())
                .arg(self.told.used(from))
                .arg(sabotage::given_up())
                .command()
        });
        let answers = self.raw.pipeline(commands).await?;
        let answers = answers.into_iter().map(|answer| {
            let removed = number("the script", answer?)?;
            Ok(removed == Some(1))
        });
        answers.collect()
    }
}

impl Use {
    fn word(self) -> &'static str {
        match self {
            Self::IdleTime => "IDLETIME",
            Self::Frequency => "FREQ",
        }
    }

    /// The age of a key that is used so.
    fn age(self, used: u64) -> u64 {
        match self {
            Self::IdleTime => used,
            Self::Frequency => 255_u64.saturating_sub(used),
        }
    }

    /// How a key of this age is used.
    fn used(self, age: u64) -> u64 {
        self.age(age)
    }
}

fn number(of: &str, reply: Reply) -> Result<Option<u64>, Error> {
    Option::from_reply(reply).map_err(|mismatch| mismatch.of(of))
}
