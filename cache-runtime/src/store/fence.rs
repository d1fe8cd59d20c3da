//! Fences on the server: joined before a body runs, left after it.

use std::time::Duration;

use super::{Shared, commands, script};
use crate::clock;
use crate::entry;
use crate::error::Error;
use crate::key::Key;

const FENCE: &str = include_str!("fence.lua");
const UNFENCE: &str = include_str!("unfence.lua");

impl Shared {
    /// Puts a writer behind the fence of each name, in its slot and in its version. After an
    /// error, some of them may stand.
    ///
    /// It bears to be sent twice: a writer is in a fence once, with its last deadline. Each
    /// deadline is the server's, by its own clock, so no two clocks are compared.
    pub(crate) async fn fence(
        &self,
        names: &[Key],
        writer: u64,
        length: Duration,
    ) -> Result<(), Error> {
        let length = u64::try_from(length.min(clock::FOREVER).as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let mut fence = commands();
        for place in self.places(names) {
            script(&mut fence, FENCE, &place)
                .arg(&entry::new_fence())
                .arg(format!("{writer:x}"))
                .arg(length);
        }
        self.connector.send(&fence).await.map(drop)
    }

    /// Takes a writer out of the fences again. Where that fails, they expire.
    pub(crate) async fn unfence(&self, names: &[Key], writer: u64) -> Result<(), Error> {
        let mut unfence = commands();
        for place in self.places(names) {
            script(&mut unfence, UNFENCE, &place)
                .arg(&entry::new_fence())
                .arg(format!("{writer:x}"));
        }
        self.connector.send(&unfence).await.map(drop)
    }

    fn places(&self, names: &[Key]) -> impl Iterator<Item = String> {
        names
            .iter()
            .flat_map(|name| [self.slot(name), self.version(name)])
    }
}
