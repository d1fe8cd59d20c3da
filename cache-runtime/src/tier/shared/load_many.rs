//! One load for several keys: their looks, their leases and their fills, each in few requests.
//!
//! Each key goes through what [`Shared`] does with one: it is looked at, its flight is boarded, its lease
//! is taken before the versions of its tags are read, and its entry replaces its lease. Only the requests
//! are shared. So what keeps one key from being stored (a fence, another lease, a node that does not
//! answer) keeps no other key from it, unless it is the request that fails.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::board::{Acquired, Decision, seated};
use super::entry::{Encoded, Slot, Version};
use super::hold::{self, Hold, NewEntry};
use super::lease::Lease;
use super::look::ServerLook;
use super::portion::{SLOTS_TOGETHER, fitting};
use super::told::EntryTags;
use super::versions::{numbers, version};
use super::witness::Witness;
use crate::driver::Reply;
use crate::error::Error;
use crate::flight::{Leader, Seat, together};
use crate::join;
use crate::key::Key;
use crate::tier::{Boarded, Evidence, Fill, Filled, Look, MaybeReady, Miss, Query, Store as _};

/// What stands in the place of an answer until the leases were asked for.
const LATER: Boarded = Boarded::LookAgain;

/// A call that leads the flight of its key, and asks for the lease.
struct Boarding<'a> {
    /// Its place among the calls.
    at: usize,
    query: &'a Query,
    look: Box<ServerLook>,
}

/// What becomes of the lease of one key.
struct Ending<'a> {
    /// Its place among the values.
    at: usize,
    evidence: Arc<Evidence>,
    query: &'a Query,
    told: Option<Box<EntryTags>>,
    end: End,
    cost: Duration,
}

enum End {
    /// An entry replaces it.
    Store { value: Encoded, ttl: Duration },
    /// It goes back: the value is not stored.
    GiveBack(Filled),
}

impl Shared {
    /// Looks for the entries of several calls.
    pub(super) async fn look_each(&self, queries: &[&Query]) -> Vec<Look> {
        let heard = self.connector.journal.heard();
        // Where values tell tags, each entry may need a look of its own at further versions.
        if queries.iter().any(|query| query.learns_tags) {
            return join::all(queries.iter().map(|query| self.look(query, None, None))).await;
        }
        let is_trusted = |query: &&&Query| !self.distrusts(&query.key, &query.tags);
        let trusted: Vec<&&Query> = queries.iter().filter(is_trusted).collect();
        let keys = |query: &&&Query| self.keyspace.slot_and_versions(&query.key, &query.tags);
        let keys = trusted.iter().map(keys).collect();
        let mut looked = self.connector.look_each(keys).await.into_iter();
        let mut trusted = trusted.into_iter().peekable();
        let looks = queries.iter().map(|query| {
            let is_it = |it: &&&Query| std::ptr::eq(**it, *query);
            match trusted.next_if(is_it).and_then(|_| looked.next()) {
                Some(looked) => self.looked(query, heard, looked.map(ServerLook::from), None),
                None => self.distrusted(query),
            }
        });
        looks.collect()
    }

    /// Boards for several calls. Those that lead ask for their leases together.
    pub(super) async fn board_each(&self, misses: Vec<(&Query, Miss)>) -> Vec<Boarded> {
        let until = self.connector.deadline_from(None);
        let mut boarded = Vec::with_capacity(misses.len());
        let (mut boarding, mut leaders) = (Vec::new(), Vec::new());
        // Leaders that need no lease: of a further attempt, or of a watch.
        let mut others = Vec::new();
        // Leaders of loads beside old entries.
        let mut besides = Vec::new();
        for (at, (query, miss)) in misses.into_iter().enumerate() {
            boarded.push(match miss {
                Miss::AtServer(look) => {
                    self.note_unreadable(query, &look);
                    match self.decide(query, &look) {
                        Decision::Unstored => Boarded::Unstored,
                        // They are drawn when this call boards alone.
                        Decision::DrawVersions | Decision::LookAgain => Boarded::LookAgain,
                        Decision::Seat(Seat::Lead(leader)) if leader.is_boarding() => {
                            leaders.push(leader);
                            boarding.push(Boarding { at, query, look });
                            LATER
                        }
                        Decision::Seat(Seat::Lead(leader)) => {
                            others.push((at, leader));
                            LATER
                        }
                        Decision::Beside(leader) => {
                            besides.push((at, query, leader, look));
                            LATER
                        }
                        Decision::Seat(seat) => seated(seat),
                    }
                }
                Miss::Boarded(waiter) => Boarded::Wait(waiter),
                _ => Boarded::Unstored,
            });
        }
        let (places, others): (Vec<_>, Vec<_>) = others.into_iter().unzip();
        leaders.extend(others);
        let acquired = pin!(self.acquire_each(&boarding, until));
        let acquired = together::follow(&mut leaders, acquired).await;
        let mut leaders = leaders.into_iter();
        for (Boarding { at, query, .. }, acquired) in boarding.iter().zip(acquired) {
            let Some(mut leader) = leaders.next() else {
                break;
            };
            boarded[*at] = match acquired {
                Ok(Acquired::Taken) => {
                    leader.finish();
                    Boarded::LookAgain
                }
                Ok(Acquired::Lease(evidence)) => {
                    leader.begin(Some(evidence));
                    Boarded::Lead(leader)
                }
                Ok(Acquired::Fenced) => {
                    leader.begin(None);
                    Boarded::Lead(leader)
                }
                Err(error) => {
                    self.degrade(query, &error);
                    leader.begin(None);
                    Boarded::Lead(leader)
                }
            };
        }
        for (at, leader) in places.into_iter().zip(leaders) {
            boarded[at] = seated(Seat::Lead(leader));
        }
        let places: Vec<usize> = besides.iter().map(|(at, ..)| *at).collect();
        let besides = besides
            .into_iter()
            .map(|(_, query, leader, look)| self.lead_beside(query, leader, look, until));
        for (at, beside) in places.into_iter().zip(join::all(besides).await) {
            boarded[at] = beside;
        }
        boarded
    }

    /// As [`acquire`](Shared::acquire), for several calls: all leases of a request are taken before any
    /// version is read.
    async fn acquire_each(
        &self,
        boarding: &[Boarding<'_>],
        until: Instant,
    ) -> Vec<Result<Acquired, Error>> {
        let mut groups: Vec<(Witness, Vec<&Boarding<'_>>)> = Vec::new();
        for boarding in boarding {
            Witness::group(&mut groups, &boarding.look.witness, boarding);
        }
        let mut requests = Vec::with_capacity(groups.len());
        for (witness, members) in &groups {
            for members in members.chunks(SLOTS_TOGETHER) {
                requests.push(self.acquire_some(witness, members, until));
            }
        }
        let acquired = join::all(requests).await.into_iter().flatten();
        let members = groups.iter().flat_map(|(_, members)| members);
        let mut acquired: Vec<_> = members.map(|member| member.at).zip(acquired).collect();
        acquired.sort_by_key(|(at, _)| *at);
        acquired.into_iter().map(|(_, acquired)| acquired).collect()
    }

    async fn acquire_some(
        &self,
        witness: &Witness,
        members: &[&Boarding<'_>],
        until: Instant,
    ) -> Vec<Result<Acquired, Error>> {
        // Dropped if the request fails or is given up: then the leases go back.
        let mut leases = Vec::with_capacity(members.len());
        let mut tags: Vec<Key> = Vec::new();
        let mut places: HashMap<&Key, usize> = HashMap::new();
        for Boarding { query, look, .. } in members {
            if let Slot::Fence = look.slot {
                leases.push(None);
                continue;
            }
            leases.push(Some(self.lease_to_take(query, look)));
            for tag in look.tags(query) {
                places.entry(tag).or_insert_with(|| {
                    tags.push(tag.clone());
                    tags.len() - 1
                });
            }
        }
        let asked: Vec<(&[u8], &Hold)> = members
            .iter()
            .zip(&leases)
            .filter_map(|(it, lease)| Some((it.look.slot.start()?, &lease.as_ref()?.hold)))
            .collect();
        let one_script = self.connector.is_one_server(witness);
        let mut operations = if one_script && !asked.is_empty() {
            vec![hold::take_all(&asked)]
        } else {
            asked.iter().map(|(seen, hold)| hold.taking(seen)).collect()
        };
        let lives = members.iter().map(|it| it.query.longest_life()).max();
        let (asked, taking) = (asked.len(), operations.len());
        operations.extend(self.read_versions(&tags, lives.unwrap_or_default()));
        let replies = self.connector.run_over_until(witness, operations, until);
        let replies = match replies.await {
            Ok(replies) => replies,
            Err(error) => return members.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut replies = replies.into_iter();
        let mut taken = each(replies.by_ref().take(taking), asked).into_iter();
        let versions: Vec<_> = replies.map(version).collect();
        let acquired = members.iter().zip(leases).map(|(member, lease)| {
            let query = member.query;
            let Some(mut lease) = lease else {
                return Ok(Acquired::Fenced);
            };
            if taken.next() != Some(true) {
                lease.hold.settle();
                return Ok(Acquired::Taken);
            }
            let of_tag = |tag| versions.get(*places.get(tag)?).copied();
            let of_tags = lease
                .tags
                .iter()
                .map(|tag| of_tag(tag).unwrap_or(Version::Absent));
            // Behind a fence, the lease is given back.
            let Some(versions) = numbers(of_tags, &query.key)? else {
                return Ok(Acquired::Fenced);
            };
            lease.versions = versions;
            Ok(Acquired::Lease(lease.into_evidence()))
        });
        acquired.collect()
    }

    /// Ends several flights: hands the values to the callers that wait, and stores them.
    pub(super) fn fill_each<'a>(&'a self, fills: Vec<Fill<'a>>) -> MaybeReady<'a, Vec<Filled>> {
        let mut filled = Vec::with_capacity(fills.len());
        let (mut endings, mut leaders) = (Vec::new(), Vec::new());
        for (at, fill) in fills.into_iter().enumerate() {
            let Fill {
                query,
                leader,
                filling,
                ttl,
            } = fill;
            // What is not ended here is replaced below.
            filled.push(Filled::Unstorable);
            let landed = match self.land(query, leader, &filling) {
                Ok(landed) => landed,
                Err(ended) => {
                    filled[at] = ended;
                    continue;
                }
            };
            let end = match (landed.encode(query, &filling), ttl) {
                (Ok(value), Some(ttl)) => End::Store { value, ttl },
                (Ok(_), None) => End::GiveBack(Filled::Unwanted),
                (Err(reason), _) => {
                    let error = Error::unstorable(query.key.as_str(), &reason);
                    End::GiveBack(Filled::Failed(error))
                }
            };
            leaders.push(landed.leader);
            endings.push(Ending {
                at,
                evidence: landed.evidence,
                query,
                told: landed.told,
                end,
                cost: filling.cost,
            });
        }
        if endings.is_empty() {
            return MaybeReady::Ready(Some(filled));
        }
        MaybeReady::Later(Box::pin(async move {
            let ended = pin!(self.end_each(endings));
            for (at, ended) in together::follow(&mut leaders, ended).await {
                filled[at] = ended;
            }
            leaders.into_iter().for_each(Leader::finish);
            filled
        }))
    }

    /// Replaces leases by entries, or gives them back.
    async fn end_each(&self, endings: Vec<Ending<'_>>) -> Vec<(usize, Filled)> {
        let mut groups: Vec<(Witness, Vec<Ending<'_>>)> = Vec::new();
        for ending in endings {
            if let Some(lease) = ending.evidence.lease() {
                let witness = lease.witness.clone();
                Witness::group(&mut groups, &witness, ending);
            }
        }
        let mut ended = Vec::new();
        for (witness, mut rest) in groups {
            while !rest.is_empty() {
                let others = rest.split_off(fitting(&rest, Ending::size));
                ended.extend(self.end_some(&witness, rest).await);
                rest = others;
            }
        }
        ended
    }

    async fn end_some(&self, witness: &Witness, endings: Vec<Ending<'_>>) -> Vec<(usize, Filled)> {
        let mut operations = Vec::with_capacity(endings.len());
        // Before the entries: a version that ends before its entry would cost the entry.
        for ending in &endings {
            if let End::Store { ttl, .. } = ending.end {
                operations.extend(self.extend_versions(ending.query, ending.tags(), ttl));
            }
        }
        let first = operations.len();
        let mut ends = Vec::with_capacity(endings.len());
        for ending in &endings {
            if let Some(lease) = ending.evidence.lease() {
                if let End::Store { value, .. } = &ending.end {
                    self.connector.expect(lease.slot(), value.size());
                }
                ends.push((&lease.hold, ending.entry(lease)));
            }
        }
        let count = ends.len();
        if self.connector.is_one_server(witness) {
            let replaced = endings.iter().filter_map(Ending::replaced_entry);
            let told: Vec<_> = replaced.map(|key| self.keyspace.telling(key)).collect();
            operations.push(hold::end_all(ends));
            operations.extend(told);
        } else {
            let ends = ends.into_iter().zip(&endings);
            operations.extend(ends.map(|((hold, entry), ending)| match entry {
                Some((entry, ttl)) => hold.filling(&ending.query.key, entry, ttl),
                None => hold.giving_back(),
            }));
        }
        let replies = self.connector.run_over(witness, operations).await;
        let mut replaced = match replies {
            Ok(replies) => each(replies.into_iter().skip(first), count).into_iter(),
            Err(error) => {
                let failed = endings.into_iter().map(|ending| match ending.end {
                    End::Store { .. } => (ending.at, Filled::Failed(error.clone())),
                    End::GiveBack(why) => (ending.at, why),
                });
                return failed.collect();
            }
        };
        let ended = endings.into_iter().map(|ending| {
            if let Some(lease) = ending.evidence.lease() {
                lease.hold.settle();
            }
            let is_replaced = replaced.next() == Some(true);
            let is_uncovered = ending.is_uncovered();
            let ended = match ending.end {
                End::Store { .. } if !is_replaced => Filled::Overtaken,
                End::Store { .. } if is_uncovered => Filled::NewTags,
                End::Store { ttl, .. } => Filled::Stored(ttl),
                End::GiveBack(why) => why,
            };
            (ending.at, ended)
        });
        ended.collect()
    }
}

/// Whether each of so many slots was replaced, by the answers of a script for each, or of one for all.
fn each(replies: impl Iterator<Item = Reply>, count: usize) -> Vec<bool> {
    let mut each = Vec::with_capacity(count);
    for reply in replies {
        match reply {
            Reply::Bytes(all) => each.extend(all.iter().map(|one| *one == b'1')),
            one => each.push(one == Reply::Number(1)),
        }
    }
    each
}

impl Ending<'_> {
    /// The entry that replaces the lease.
    fn entry(&self, lease: &Lease) -> Option<NewEntry> {
        match &self.end {
            End::Store { value, ttl } => {
                let told = self.told.as_deref();
                let entry = lease.entry(self.query, value, told, self.cost, *ttl);
                Some((entry, self.query.life(*ttl)))
            }
            End::GiveBack(_) => None,
        }
    }

    /// The key, as servers know it, of an entry that is replaced: processes may have copies of that.
    fn replaced_entry(&self) -> Option<Key> {
        let is_entry = self.evidence.lease()?.hold.is_entry();
        is_entry.then(|| self.query.key.on_server().into_owned())
    }

    fn tags(&self) -> &[Key] {
        self.told
            .as_ref()
            .map_or(&self.query.tags, |told| &told.tags)
    }

    /// Whether its value has told tags whose versions were not read before the load.
    fn is_uncovered(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.is_covered)
    }

    fn size(&self) -> usize {
        match &self.end {
            End::Store { value, .. } => value.size(),
            End::GiveBack(_) => 0,
        }
    }
}
