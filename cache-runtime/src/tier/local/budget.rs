//! A sweep of the entries whose keys begin alike, down to what they may weigh together.

use super::table::MAX_USES;
use super::{Local, Ordering, PLACE};
use crate::clock;
use crate::toolkit::Swept;

impl Local {
    /// From now on, what is stored is weighed.
    pub(crate) fn weigh_from_now_on(&self) {
        self.weighs.store(true, Ordering::Relaxed);
    }

    /// Weighs the entries whose keys begin with `prefix`. If too much of that is to go, those go first that were
    /// used the least since the last sweeps: each sweep forgets one use of an entry.
    pub(crate) async fn sweep_to_budget(
        &self,
        prefix: &str,
        too_much: impl Fn(u64) -> u64,
    ) -> Swept {
        let mut swept = Swept::default();
        let is_meant = |key: &[u8]| key.starts_with(prefix.as_bytes());
        for shard in 0..self.entries.shards() {
            self.entries.visit_in(shard, |key, weight| {
                let is_meant = is_meant(key);
                if is_meant {
                    swept.entries += 1;
                    swept.bytes += weighed(key, weight);
                }
                is_meant
            });
            clock::let_others_run().await;
        }
        let needed = too_much(swept.bytes);
        for uses in 0..=MAX_USES {
            for shard in 0..self.entries.shards() {
                if swept.freed >= needed {
                    return swept;
                }
                self.entries.give_up_in(shard, uses, |key, weight| {
                    let goes = is_meant(key) && swept.freed < needed;
                    if goes {
                        swept.removed += 1;
                        swept.freed += weighed(key, weight);
                    }
                    goes
                });
                clock::let_others_run().await;
            }
        }
        swept
    }
}

/// What an entry weighs: at least its key and its place, if it was stored before entries were weighed.
fn weighed(key: &[u8], weight: u64) -> u64 {
    weight.max((PLACE + key.len()) as u64)
}
