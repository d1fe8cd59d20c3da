//! No store: every look is a miss, and every other verb does nothing.

use std::time::{Duration, Instant};

use super::{
    About, Beside, Boarded, Evidence, Fill, Filled, Filling, Found, Look, Mark, MaybeReady, Miss,
    Query, Store,
};
use crate::backlog::Buckets;
use crate::codec::Payload;
use crate::error::Error;
use crate::flight::{Leader, Seat};
use crate::freshness::Age;
use crate::inspection::{Holds, Inspection, StoreKind, StoreState, Verdict};
use crate::key::{Key, Pattern};
use crate::removal::Removal;

#[derive(Debug)]
pub(crate) struct Off;

impl Store for Off {
    fn name(&self) -> &'static str {
        "off"
    }

    async fn look(
        &self,
        _query: &Query,
        _undecodable: Option<Mark>,
        _asking_since: Option<Instant>,
    ) -> Look {
        Look::Miss(Miss::Off)
    }

    fn board<'a>(
        &'a self,
        _query: &'a Query,
        _miss: Miss,
        _asking_since: Option<Instant>,
    ) -> MaybeReady<'a, Boarded> {
        MaybeReady::Ready(Some(Boarded::Alone))
    }

    fn board_refresh<'a>(&'a self, _query: &'a Query) -> MaybeReady<'a, Boarded> {
        MaybeReady::Ready(Some(Boarded::Alone))
    }

    fn age(&self, _query: &Query, _found: &Found) -> Option<Age> {
        None
    }

    fn board_beside<'a>(&'a self, _query: &'a Query, _found: &'a Found) -> MaybeReady<'a, Beside> {
        MaybeReady::Ready(Some(Beside::Skip))
    }

    fn find_old<'a>(&'a self, _query: &'a Query) -> MaybeReady<'a, Option<Found>> {
        MaybeReady::Ready(Some(None))
    }

    fn note_failure(&self, _evidence: &Evidence, _pause: Duration, _excused: bool) -> bool {
        false
    }

    async fn find_at_any_age(&self, _key: &Key) -> Result<Option<(Found, About)>, Error> {
        Ok(None)
    }

    async fn inspect(&self, key: &Key) -> Result<Inspection, Error> {
        Ok(Inspection::without_entry(
            key.as_str(),
            Holds::Nothing,
            &Verdict::Off,
        ))
    }

    async fn set_encoded(
        &self,
        _key: &Key,
        _payload: Payload,
        _tags: &[Key],
        _ttl: Duration,
    ) -> Result<Filled, Error> {
        Ok(Filled::Unstorable)
    }

    fn servers(&self) -> StoreState {
        StoreState::without_server(StoreKind::Off, 0)
    }

    async fn expire(&self, _keys: &[Key]) -> Result<(), Error> {
        Ok(())
    }

    fn board_unstored(&self, _key: &Key) -> Option<Seat<Evidence>> {
        None
    }

    fn fill<'a>(
        &'a self,
        _query: &'a Query,
        leader: Leader<Evidence>,
        _filling: &Filling<'_>,
        _ttl: &dyn Fn() -> Option<Duration>,
    ) -> MaybeReady<'a, Filled> {
        leader.finish();
        MaybeReady::Ready(Some(Filled::Unstorable))
    }

    fn fill_many<'a>(&'a self, fills: Vec<Fill<'a>>) -> MaybeReady<'a, Vec<Filled>> {
        let filled = fills.into_iter().map(|fill| {
            fill.leader.finish();
            Filled::Unstorable
        });
        MaybeReady::Ready(Some(filled.collect()))
    }

    async fn get(&self, _key: &Key) -> Result<Option<Found>, Error> {
        Ok(None)
    }

    async fn remaining(&self, _key: &Key, _found: &Found) -> Result<Option<Duration>, Error> {
        Ok(None)
    }

    async fn set(
        &self,
        _query: &Query,
        _filling: &Filling<'_>,
        _ttl: Duration,
    ) -> Result<Filled, Error> {
        Ok(Filled::Unstorable)
    }

    async fn delete(&self, _key: &Key) -> Result<bool, Error> {
        Ok(false)
    }

    async fn invalidate(&self, _names: &[Key]) -> Result<(), Error> {
        Ok(())
    }

    fn invalidate_now(&self, _names: &[Key]) -> bool {
        true
    }

    fn invalidate_later(&self, _names: &[Key]) {}

    fn invalidate_buckets_later(&self, _buckets: Buckets) {}

    async fn invalidate_matching(
        &self,
        _pattern: &Pattern,
        _removal: &Removal<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn invalidate_matching_later(&self, _pattern: &Pattern) {}

    async fn clear(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn fence(&self, _names: &[Key], _writer: u64, _length: Duration) -> Result<(), Error> {
        Ok(())
    }

    async fn unfence(&self, _names: &[Key], _writer: u64) -> Result<(), Error> {
        Ok(())
    }

    fn unfence_now(&self, _names: &[Key], _writer: u64) -> bool {
        true
    }
}
