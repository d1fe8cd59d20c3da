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

/// How many keys the server looks at for one page of a scan, and how many entries are measured at once: about a
/// millisecond's work, in commands of which each takes far less.
const PAGE: usize = 500;

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
    began: Instant,
    /// Known once one entry was measured.
    told: Option<Use>,
}

/// The slots of a budget's entries, page by page.
type Pages = ReadyChunks<Scan<Vec<u8>>>;

pub(super) async fn sweep(budget: &Budget) -> Result<Swept, Error> {
    let mut sweep = Sweep {
        raw: Raw::of(&budget.core),
        began: Instant::now(),
        told: None,
    };
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
    let from = ages.age_that_frees(needed);
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
        keys.gently().ready_chunks(PAGE)
    }

    /// The next page. After it, the server has as much time for its other callers as it has taken.
    async fn next(&mut self, pages: &mut Pages) -> Result<Option<Vec<Measured>>, Error> {
        let Some(page) = pages.next().await else {
            return Ok(None);
        };
        let keys = page.into_iter().collect::<Result<Vec<_>, _>>()?;
        let asked = Instant::now();
        let measured = self.measure(keys).await?;
        clock::pause(asked.elapsed()).await;
        Ok(Some(measured))
    }

    async fn measure(&mut self, keys: Vec<Vec<u8>>) -> Result<Vec<Measured>, Error> {
        let mut told = self.told.unwrap_or(Use::IdleTime);
        let mut answers = self.ask(&keys, told).await?;
        let tells_the_other = |answer: &Result<Reply, Error>| {
            let error = answer.as_ref().err().map(Error::to_string);
            error.is_some_and(|error| error.contains("LFU"))
        };
        if answers.iter().any(tells_the_other) {
            if self.told.is_some() {
                return Err(Error::config(
                    "the nodes of the cluster tell different things of how entries are used, idle times and \
                     frequencies; give all of them one kind of `maxmemory-policy`",
                ));
            }
            told = Use::Frequency;
            answers = self.ask(&keys, told).await?;
        }
        self.told = Some(told);
        // A key that was used since is of age zero, whenever it is looked at.
        let began = match told {
            Use::IdleTime => self.began.elapsed().as_secs(),
            Use::Frequency => 0,
        };
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
                let age = told.age(used).saturating_sub(began);
                measured.push(Measured { key, bytes, age });
            }
        }
        Ok(measured)
    }

    async fn ask(&self, keys: &[Vec<u8>], told: Use) -> Result<Vec<Result<Reply, Error>>, Error> {
        let mut commands = Vec::with_capacity(keys.len() * 2);
        for key in keys {
            commands.push(Command::new("MEMORY").arg("USAGE").key(key));
            commands.push(Command::new("OBJECT").arg(told.word()).key(key));
        }
        self.raw.pipeline(commands).await
    }

    /// Removes those of these that are still so old; for each, whether it is removed.
    async fn give_up(&self, old: &[Measured], from: u64) -> Result<Vec<bool>, Error> {
        let told = self.told.unwrap_or(Use::IdleTime);
        let used = match told {
            Use::IdleTime if from > 0 => from + self.began.elapsed().as_secs(),
            told => told.used(from),
        };
        let run = |measured: &Measured| {
            let run = self.raw.script(&GIVE_UP).key(&measured.key);
            run.arg(told.word()).arg(used).arg(sabotage::given_up())
        };
        // By its digest: the text of the script is longer than an entry may be.
        let known: Vec<_> = old.iter().map(|one| run(one).known_command()).collect();
        let mut removed = Vec::with_capacity(old.len());
        for (answer, measured) in self.raw.pipeline(known).await?.into_iter().zip(old) {
            let answer = match answer {
                // From now on, this server knows it.
                Err(error) if error.is_unknown_script() => run(measured).run().await?,
                answer => number("the script", answer?)?,
            };
            removed.push(answer == Some(1));
        }
        Ok(removed)
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
