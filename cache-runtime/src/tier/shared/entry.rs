//! What is stored in a slot of the shared tier, byte by byte.
//!
//! ```text
//! lease   'L' format stamp[8]  owner[8] epoch[8]
//! entry   'E' format stamp[8]  codec compression flags schema[4] type[4] created[8] ttl[8] cost[4]
//!         epoch[8] tags[2]  (version[8] length[2] name)*  (length[4] key)?  payload
//! fence   'F' format nonce[8]  writer:deadline separated by spaces
//! ```
//!
//! Numbers are little-endian. The first ten bytes, the [`Mark`], differ for each lease and each
//! entry that is ever written. So a script compares them to find out whether a slot still holds
//! what a caller saw. Stamps and nonces are ASCII, of 56 random bits, so that a server that carries
//! text only can keep and compare a mark as it is (see `driver/upstash`). The format of an entry is 2,
//! that of a lease and of a fence is 1.
//!
//! The type is FNV-1a, of 32 bits, of the name of the value's type as [`type_name`](crate::type_name)
//! gives it: without lifetimes, and with the names that `#[key_name]` gives. Where the hash would
//! be 0, it is 1. A value that was set by hand has 0, and may be read as any type.
//!
//! A name of more than [`Key::MAX_LEN`] bytes is called otherwise on a server, so two names may have one
//! slot. The entry of such a key has a flag, and the whole key. Tags have the names that servers know.
//!
//! Where only the value tells some of its tags, those follow the others. Such an entry has a flag. So has
//! one that only remembers the tags of a value, which was not stored: it has no payload, and no versions.
//!
//! An entry that its slot keeps for longer than its ttl, since a function's options let it be served then,
//! has a flag. A process with a release before takes it for unreadable, and replaces it.
//!
//! A fence stands in versions too, where all else is a decimal number. Its writers are hexadecimal
//! numbers (`0` stands for all that it does not name), and its deadlines are milliseconds of the
//! server's clock.

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::millis;
use crate::codec::{Form, Payload, Reason};
pub(crate) use crate::driver::Mark;
use crate::driver::{ASCII, Connection, ENTRY, FENCE, LEASE, Trusts};
use crate::error::Error;
use crate::key::{Key, on_server};
use crate::tier::Query;
use crate::unique;
use crate::value::{CacheValue, Outcome, SharedValue, into_outcome};

/// The flag of an entry that holds a `None`.
const NONE: u8 = 1;
/// The flag of an entry that has its key.
const KEY: u8 = 2;
/// The flag of an entry that only remembers the tags of a value.
const REMEMBERS: u8 = 4;
/// The flag of an entry whose tags include those that its value told.
const OF_VALUE: u8 = 8;
/// The flag of an entry that its slot keeps for longer than its ttl.
const OUTLIVES: u8 = 16;
/// The type in an entry that does not say of which type its value is.
pub(crate) const ANY_TYPE: u32 = 0;

/// A mark that a [unique](unique) number tells from all others.
fn new_mark(kind_and_format: [u8; 2], number: u64) -> Mark {
    let mut mark = [0; 10];
    mark[..2].copy_from_slice(&kind_and_format);
    mark[2..].copy_from_slice(&(number & ASCII).to_le_bytes());
    mark
}

/// Another mark for the entry with this one.
pub(crate) fn new_mark_of(entry: Mark) -> Mark {
    new_mark([entry[0], entry[1]], unique::number())
}

/// What a slot holds while a caller loads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LeaseToken {
    pub(crate) mark: Mark,
    /// The cache, in one process, whose caller loads; 0 for a value that is set by hand.
    pub(crate) owner: u64,
    /// The epoch of the server that gave the lease; 0 if it was not known.
    pub(crate) epoch: u64,
}

impl LeaseToken {
    const LEN: usize = size_of::<Mark>() + 16;

    /// With a [unique](unique) number.
    pub(crate) fn new(owner: u64, epoch: u64, number: u64) -> Self {
        let mark = new_mark(LEASE, number);
        Self { mark, owner, epoch }
    }

    /// For a value that is set by hand. No flight has this lease, and it is no dead lease for that:
    /// so it has no owner, and callers in this process watch it as those elsewhere do. Which server
    /// gives it is known only from the answer.
    pub(crate) fn by_hand(number: u64) -> Self {
        Self::new(0, 0, number)
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..10].copy_from_slice(&self.mark);
        bytes[10..18].copy_from_slice(&self.owner.to_le_bytes());
        bytes[18..].copy_from_slice(&self.epoch.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mark: Mark = take(&mut rest)?;
        let owner = u64::from_le_bytes(take(&mut rest)?);
        let epoch = u64::from_le_bytes(take(&mut rest)?);
        let is_lease = mark[..2] == LEASE && rest.is_empty();
        is_lease.then_some(Self { mark, owner, epoch })
    }
}

/// The first bytes of a fence. Each write of a fence has a nonce of its own.
pub(crate) fn new_fence() -> Mark {
    new_mark(FENCE, unique::number())
}

/// Whether these bytes, of a slot or a version, are a fence.
fn is_fence(bytes: &[u8]) -> bool {
    bytes.starts_with(&FENCE)
}

/// What the server holds as the version of a tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Version {
    Number(u64),
    /// Writers are at work. Until they are done, nothing is stored.
    Fence,
    /// There is nothing, or something that is no number.
    Absent,
}

impl Version {
    pub(crate) fn read(bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) if is_fence(bytes) => Self::Fence,
            Some(bytes) => {
                let text = str::from_utf8(bytes).ok();
                let number = text.and_then(|text| text.parse().ok());
                number.map_or(Self::Absent, Self::Number)
            }
            None => Self::Absent,
        }
    }

    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Fence | Self::Absent => None,
        }
    }
}

/// What a slot was seen to hold.
#[derive(Debug)]
pub(crate) enum Slot {
    Absent,
    Lease(LeaseToken),
    Entry(Entry),
    /// Writers are at work. Until they are done, nothing is stored.
    Fence,
    /// None of these: a foreign, truncated or future format. Its first bytes are kept: only if the
    /// slot still begins with them is it replaced.
    Unreadable(Box<[u8]>),
}

impl Slot {
    /// The bytes that a lease is to replace, none for an absent slot; `None` for a fence.
    pub(super) fn start(&self) -> Option<&[u8]> {
        match self {
            Self::Absent => Some(&[]),
            Self::Entry(entry) => Some(&entry.mark),
            Self::Lease(token) => Some(&token.mark),
            Self::Unreadable(start) => Some(start),
            Self::Fence => None,
        }
    }
}

/// An entry as it was read: its header is decoded, its payload is not.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) mark: Mark,
    pub(crate) header: DecodedHeader,
    /// All bytes of the slot. Readers of one batch share them.
    bytes: Bytes,
    /// What the clock of the slot's server showed when it was looked at, if the call asks for its age.
    pub(crate) seen_at: u64,
    /// The place of the decoded value, if several readers of one batch share it.
    pub(crate) shared_decode: Option<SharedDecode>,
    /// From where it was read, for a call that may keep a copy.
    pub(crate) source: Option<Box<Source>>,
}

/// From where an entry was read.
#[derive(Debug)]
pub(crate) struct Source {
    /// How long it may still be served.
    pub(crate) left: Duration,
    /// What a copy is tied to. Where it is not heard what is invalidated, the connection that never hears, if
    /// it is of such a kind.
    pub(crate) trusts: Result<Trusts, Option<Arc<Connection>>>,
}

/// Readers of one batch share a decoded value; the last takes it without a clone.
pub(crate) type SharedDecode = Arc<OnceLock<SharedValue>>;

/// The fields of a header.
#[derive(Debug)]
pub(crate) struct DecodedHeader {
    /// The form of the payload.
    pub(crate) form: Form,
    /// Whether the entry holds a `None`.
    pub(crate) none: bool,
    /// Whether its tags include those that its value told.
    pub(crate) told: ToldTags,
    /// Whether the slot keeps it for longer than its ttl. Else its ttl ends with the slot.
    pub(crate) outlives: bool,
    /// The schema version of the value.
    pub(crate) schema: u32,
    /// The hash of the name of the value's type, or [`ANY_TYPE`].
    pub(crate) value_type: u32,
    /// When it was created, in milliseconds since 1970, by the clock of the slot's server.
    pub(crate) created: u64,
    /// How long it is fresh from then on, in milliseconds.
    pub(crate) ttl: u64,
    /// How long its load took, in microseconds.
    pub(crate) cost: u32,
    /// The epoch of the server that gave the lease.
    pub(crate) epoch: u64,
    /// How many tags follow.
    tags: u16,
    /// Where the key begins. It is empty in most entries.
    key_at: usize,
    /// Where the payload begins.
    payload_at: usize,
}

/// Whether a value was asked for its tags.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ToldTags {
    /// It was not: all tags were known before the load.
    No,
    /// The entry has all of its tags.
    Carried,
    /// The entry has them, and not the value: their versions were not read before the load.
    Remembered,
}

/// Where the schema version of an entry is.
const SCHEMA_AT: usize = size_of::<Mark>() + 3;

/// Where its ttl is.
const TTL_AT: usize = SCHEMA_AT + 16;

/// The schema version of the entry that begins with these bytes, if it is one.
pub(super) fn schema_of(start: &[u8]) -> Option<u32> {
    let schema = start.get(SCHEMA_AT..)?.first_chunk()?;
    start
        .starts_with(&ENTRY)
        .then(|| u32::from_le_bytes(*schema))
}

/// Where the first tag of an entry begins.
const TAGS_AT: usize = size_of::<Mark>() + 41;

impl Entry {
    /// The tags, each with the version that it had before the load began. The names are not copied:
    /// a hit only compares versions.
    pub(crate) fn tags(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        let mut rest = self.bytes.get(TAGS_AT..).unwrap_or_default();
        // Decoding the header has shown that all tags are there.
        (0..self.header.tags).map(move |_| take_tag(&mut rest).unwrap_or_default())
    }

    /// Whether it has these tags.
    pub(crate) fn has_tags(&self, tags: &[Key]) -> bool {
        let tags = on_server(tags);
        self.tags()
            .map(|(tag, _)| tag)
            .eq(tags.iter().map(Key::as_str))
    }

    /// Whether it has the tags that a call knows before its load. Where the value tells further ones,
    /// they follow those.
    pub(crate) fn suits(&self, tags: &[Key], learns_tags: bool) -> bool {
        if !learns_tags {
            return self.has_tags(tags);
        }
        let known = on_server(tags);
        let first = self.tags().map(|(tag, _)| tag).take(known.len());
        self.header.told != ToldTags::No && first.eq(known.iter().map(Key::as_str))
    }

    /// Whether its ttl has ended, though its slot keeps it.
    pub(super) fn is_past(&self, now: u64) -> bool {
        self.header.outlives && self.left(now).is_zero()
    }

    /// The part of its mark that differs for each entry.
    pub(super) fn stamp(&self) -> u64 {
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&self.mark[2..]);
        u64::from_le_bytes(stamp)
    }

    /// The same entry with another mark, as it would be if its ttl ended now.
    pub(super) fn expired(&self, now: u64) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        bytes[..size_of::<Mark>()].copy_from_slice(&new_mark_of(self.mark));
        let ttl = millis(self.age(now)).min(self.header.ttl);
        bytes[TTL_AT..TTL_AT + 8].copy_from_slice(&ttl.to_le_bytes());
        bytes
    }

    /// How old it is when the clock of its slot's server shows `now`, in milliseconds since 1970.
    pub(crate) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.header.created))
    }

    /// How long it is still fresh then; zero if its ttl has ended.
    pub(crate) fn left(&self, now: u64) -> Duration {
        Duration::from_millis(self.header.ttl).saturating_sub(self.age(now))
    }

    /// Whether it has no value, and only remembers the tags of one.
    pub(crate) fn only_remembers(&self) -> bool {
        self.header.told == ToldTags::Remembered
    }

    /// Whether it is the entry of this key. Only where a key is long may the slot have another's.
    pub(crate) fn is_of(&self, key: &Key) -> bool {
        let own = self.key();
        if own.is_empty() {
            return !key.is_long();
        }
        own == key.bytes()
    }

    /// Its key, if that is long; else nothing.
    pub(super) fn key(&self) -> &[u8] {
        let DecodedHeader {
            key_at, payload_at, ..
        } = self.header;
        self.bytes.get(key_at..payload_at).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(self.header.payload_at..).unwrap_or_default()
    }

    /// The outcome that the payload holds. This reader decodes it, or takes what another reader of
    /// its batch has decoded. `share` makes the copy for the other readers.
    pub(crate) fn outcome<V: CacheValue>(
        &mut self,
        key: &Key,
        share: impl FnOnce(&Outcome<V>) -> SharedValue,
    ) -> Result<Outcome<V>, Error> {
        if let Some(outcome) = self.decoded_by_another() {
            return Ok(outcome);
        }
        let outcome = self.decode(key)?;
        // Not by `get_or_init`, which holds other readers up while the user's `Clone` runs. So two
        // readers may both make a copy, of which one is kept.
        if let Some(shared_decode) = &self.shared_decode
            && shared_decode.get().is_none()
        {
            let _ = shared_decode.set(share(&outcome));
        }
        Ok(outcome)
    }

    /// The value that another reader of the batch has decoded, if it is of this type. The last
    /// reader takes it without a clone.
    fn decoded_by_another<V: Any + Clone + Send + Sync>(&mut self) -> Option<Outcome<V>> {
        let shared_decode = self
            .shared_decode
            .take_if(|shared_decode| shared_decode.get().is_some())?;
        let value = match Arc::try_unwrap(shared_decode) {
            Ok(last) => last.into_inner()?,
            Err(shared_decode) => shared_decode.get()?.clone(),
        };
        into_outcome(value)
    }

    fn decode<V: CacheValue>(&self, key: &Key) -> Result<Outcome<V>, Error> {
        if self.header.none {
            return Ok(Outcome::None);
        }
        let decoded = self.header.form.decode(self.payload());
        decoded.map(Outcome::Value).map_err(|reason| match reason {
            Reason::Lacks(feature) => Error::lacks(key.as_str(), feature, &reason),
            reason => Error::codec(key.as_str(), "decoded", &reason),
        })
    }
}

/// A value in the form in which it is stored, or a `None`.
#[derive(Debug)]
pub(crate) enum Encoded {
    Value(Payload),
    None,
}

impl Encoded {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Value(payload) => payload.form,
            Self::None => Form::NONE,
        }
    }

    /// About so many bytes does an entry take: those of its payload.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Value(payload) => payload.bytes.len(),
            Self::None => 0,
        }
    }

    /// The bytes of an entry: the header, and then the payload.
    pub(crate) fn after(&self, header: &Header<'_>) -> Vec<u8> {
        let mut entry = header.encode();
        if let Self::Value(payload) = self {
            entry.extend_from_slice(&payload.bytes);
        }
        entry
    }
}

/// The header of an entry that is about to be written.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    /// A [unique](unique) number, for its mark.
    pub(crate) number: u64,
    pub(crate) form: Form,
    pub(crate) none: bool,
    pub(crate) told: ToldTags,
    pub(crate) schema: u32,
    pub(crate) value_type: u32,
    /// The present, in milliseconds since 1970, by the clock of the slot's server.
    pub(crate) now: u64,
    pub(crate) ttl: Duration,
    /// Whether the slot keeps it for longer.
    pub(crate) outlives: bool,
    /// How long the load took.
    pub(crate) cost: Duration,
    pub(crate) epoch: u64,
    pub(crate) tags: &'a [Key],
    pub(crate) versions: &'a [u64],
    /// Whose entry it is. Only a long key is written.
    pub(crate) key: Option<&'a Key>,
}

impl Header<'_> {
    /// Encodes the header. The caller appends the payload.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend(new_mark(ENTRY, self.number));
        out.extend(self.form.to_bytes());
        let key = self.key.filter(|key| key.is_long());
        let flag = |flag, is_set| if is_set { flag } else { 0 };
        let told = match self.told {
            ToldTags::No => 0,
            ToldTags::Carried => OF_VALUE,
            ToldTags::Remembered => OF_VALUE | REMEMBERS,
        };
        out.push(
            flag(NONE, self.none) | flag(KEY, key.is_some()) | flag(OUTLIVES, self.outlives) | told,
        );
        out.extend(self.schema.to_le_bytes());
        out.extend(self.value_type.to_le_bytes());
        out.extend(self.now.to_le_bytes());
        out.extend(millis(self.ttl).to_le_bytes());
        let cost = u32::try_from(self.cost.as_micros()).unwrap_or(u32::MAX);
        out.extend(cost.to_le_bytes());
        out.extend(self.epoch.to_le_bytes());
        // Both numbers fit: a function has few tags, a value a bounded number of them, and on a server a
        // name has at most `Key::MAX_LEN` bytes.
        let count = u16::try_from(self.tags.len()).unwrap_or(u16::MAX);
        out.extend(count.to_le_bytes());
        for (tag, version) in self.tags.iter().zip(self.versions) {
            let name = tag.as_str().as_bytes();
            let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
            out.extend(version.to_le_bytes());
            out.extend(length.to_le_bytes());
            out.extend(name);
        }
        if let Some(key) = key {
            let length = u32::try_from(key.bytes().len()).unwrap_or(u32::MAX);
            out.extend(length.to_le_bytes());
            out.extend(key.bytes());
        }
        out
    }
}

/// Reads a slot. Any bytes are one of its cases.
pub(crate) fn decode(bytes: Option<impl Into<Bytes>>) -> Slot {
    let Some(bytes) = bytes.map(Into::into) else {
        return Slot::Absent;
    };
    if let Some(token) = LeaseToken::from_bytes(&bytes) {
        return Slot::Lease(token);
    }
    match bytes.first_chunk::<10>() {
        Some(&mark) if mark[..2] == ENTRY => {
            if let Some(header) = decode_header(&bytes) {
                return Slot::Entry(Entry {
                    mark,
                    header,
                    bytes,
                    seen_at: 0,
                    shared_decode: None,
                    source: None,
                });
            }
        }
        _ if is_fence(&bytes) => return Slot::Fence,
        _ => {}
    }
    let seen = bytes.len().min(size_of::<Mark>());
    Slot::Unreadable(bytes[..seen].into())
}

fn decode_header(bytes: &[u8]) -> Option<DecodedHeader> {
    let mut rest = bytes.get(size_of::<Mark>()..)?;
    // Of this length: the compiler checks the bounds of none of the fields in it.
    let fields: [u8; TAGS_AT - size_of::<Mark>()] = take(&mut rest)?;
    let mut fields = fields.as_slice();
    let form = Form::from_bytes(take(&mut fields)?)?;
    let [flags] = take(&mut fields)?;
    if flags & !(NONE | KEY | REMEMBERS | OF_VALUE | OUTLIVES) != 0 {
        return None;
    }
    let schema = u32::from_le_bytes(take(&mut fields)?);
    let value_type = u32::from_le_bytes(take(&mut fields)?);
    let created = u64::from_le_bytes(take(&mut fields)?);
    let ttl = u64::from_le_bytes(take(&mut fields)?);
    let cost = u32::from_le_bytes(take(&mut fields)?);
    let epoch = u64::from_le_bytes(take(&mut fields)?);
    let tags = u16::from_le_bytes(take(&mut fields)?);
    for _ in 0..tags {
        take_tag(&mut rest)?;
    }
    let mut key_at = bytes.len() - rest.len();
    let mut payload_at = key_at;
    if flags & KEY != 0 {
        let length = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
        let (key, _) = rest.split_at_checked(length)?;
        str::from_utf8(key).ok().filter(|key| !key.is_empty())?;
        key_at += size_of::<u32>();
        payload_at = key_at + length;
    }
    Some(DecodedHeader {
        form,
        none: flags & NONE != 0,
        told: if flags & REMEMBERS != 0 {
            ToldTags::Remembered
        } else if flags & OF_VALUE != 0 {
            ToldTags::Carried
        } else {
            ToldTags::No
        },
        outlives: flags & OUTLIVES != 0,
        schema,
        value_type,
        created,
        ttl,
        cost,
        epoch,
        tags,
        key_at,
        payload_at,
    })
}

fn take_tag<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, u64)> {
    let version = u64::from_le_bytes(take(rest)?);
    let length = u16::from_le_bytes(take(rest)?);
    let (name, after) = rest.split_at_checked(length.into())?;
    *rest = after;
    Some((str::from_utf8(name).ok()?, version))
}

/// The type that a call says in its entry.
pub(super) fn value_type(query: &Query) -> u32 {
    query
        .value_type
        .map_or(ANY_TYPE, |value_type| value_type.hash)
}

/// Encodes an entry, for the chore that counts the instructions of that.
pub fn encode_entry(tags: &[Key], versions: &[u64], payload: &[u8]) -> Vec<u8> {
    let header = Header {
        number: unique::number(),
        form: Form::NONE,
        none: false,
        told: ToldTags::No,
        schema: 0,
        value_type: ANY_TYPE,
        now: 1_700_000_000_000,
        ttl: Duration::from_secs(60),
        outlives: false,
        cost: Duration::from_millis(3),
        epoch: 7,
        tags,
        versions,
        key: None,
    };
    let mut bytes = header.encode();
    bytes.extend_from_slice(payload);
    bytes
}

/// Decodes an entry, for the chore that counts the instructions of that. False if it is none.
pub fn decode_entry(bytes: Vec<u8>) -> bool {
    matches!(decode(Some(bytes)), Slot::Entry(_))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(tags: &[Key], versions: &[u64]) -> Vec<u8> {
        encoded_for(None, tags, versions)
    }

    fn encoded_for(key: Option<&Key>, tags: &[Key], versions: &[u64]) -> Vec<u8> {
        let header = Header {
            number: 1,
            form: Form::NONE,
            none: false,
            told: ToldTags::No,
            schema: 2,
            value_type: 5,
            now: 1_000,
            ttl: Duration::from_secs(60),
            outlives: false,
            cost: Duration::from_millis(3),
            epoch: 7,
            tags,
            versions,
            key,
        };
        let mut bytes = header.encode();
        bytes.extend(b"{}");
        bytes
    }

    #[test]
    fn an_entry_reads_back_as_written() {
        let tags = [Key::from("users"), Key::from("größe")];
        let Slot::Entry(entry) = decode(Some(encoded(&tags, &[1, 2]))) else {
            panic!("not an entry");
        };
        let header = &entry.header;
        assert_eq!((header.none, header.schema, header.epoch), (false, 2, 7));
        assert_eq!(header.value_type, 5);
        assert_eq!((header.created, header.cost), (1_000, 3_000));
        for (now, age, left) in [
            (500, 0, 60_000),
            (1_000, 0, 60_000),
            (60_999, 59_999, 1),
            (90_000, 89_000, 0),
        ] {
            assert_eq!(entry.age(now), Duration::from_millis(age));
            assert_eq!(entry.left(now), Duration::from_millis(left));
        }
        let Slot::Entry(expired) = decode(Some(entry.expired(11_000))) else {
            panic!("not an entry");
        };
        assert_ne!(expired.mark, entry.mark);
        assert_eq!(
            (expired.header.created, expired.header.ttl),
            (1_000, 10_000)
        );
        assert_eq!(
            (expired.header.cost, expired.payload()),
            (3_000, &b"{}"[..])
        );
        let Slot::Entry(as_before) = decode(Some(entry.expired(90_000))) else {
            panic!("not an entry");
        };
        assert_eq!(as_before.header.ttl, 60_000);
        let tags: Vec<_> = entry.tags().collect();
        assert_eq!(tags, [("users", 1), ("größe", 2)]);
        assert_eq!(entry.payload(), b"{}");
    }

    #[test]
    fn an_entry_says_whether_its_value_told_its_tags() {
        let tags = [Key::from("users"), Key::from("user:1")];
        for (told, suits, only_remembers) in [
            (ToldTags::No, false, false),
            (ToldTags::Carried, true, false),
            (ToldTags::Remembered, true, true),
        ] {
            let header = Header {
                number: 1,
                form: Form::NONE,
                none: false,
                told,
                schema: 2,
                value_type: 5,
                now: 1_000,
                ttl: Duration::from_secs(60),
                outlives: false,
                cost: Duration::ZERO,
                epoch: 7,
                tags: &tags,
                versions: &[1, 2],
                key: None,
            };
            let Slot::Entry(entry) = decode(Some(header.encode())) else {
                panic!("not an entry");
            };
            assert_eq!(entry.header.told, told);
            assert_eq!(entry.only_remembers(), only_remembers);
            for known in [&tags[..0], &tags[..1], &tags] {
                assert_eq!(entry.suits(known, true), suits);
            }
            assert!(!entry.suits(&tags[1..], true));
            assert!(entry.suits(&tags, false) && !entry.suits(&tags[..1], false));
        }
    }

    #[test]
    fn an_entry_with_a_truncated_header_is_unreadable() {
        let tags = [Key::from("users")];
        let long = Key::from("x".repeat(Key::MAX_LEN + 1));
        for key in [None, Some(&long)] {
            let whole = encoded_for(key, &tags, &[1]);
            let header = whole.len() - 2;
            for cut in (0..header).filter(|cut| *cut < 100 || header - cut < 100) {
                let slot = decode(Some(whole[..cut].to_vec()));
                assert!(
                    matches!(slot, Slot::Unreadable(_)),
                    "cut at {cut}: {slot:?}"
                );
            }
        }
    }

    #[test]
    fn an_entry_has_its_key_if_that_is_long_and_is_of_no_other_key() {
        let name = "é".repeat(Key::MAX_LEN);
        let (long, other) = (Key::from(name.as_str()), Key::from(name + "é"));
        let short = Key::from("user:7");
        let tags = [other.on_server().into_owned()];
        for (key, others) in [
            (&long, [&other, &short, &*long.on_server()]),
            (&short, [&long, &other, &*other.on_server()]),
        ] {
            let Slot::Entry(entry) = decode(Some(encoded_for(Some(key), &tags, &[1]))) else {
                panic!("not an entry");
            };
            assert!(entry.is_of(key));
            assert_eq!(entry.payload(), b"{}");
            assert!(entry.has_tags(&tags) && entry.has_tags(std::slice::from_ref(&other)));
            let is_taken_for_another = others[..2].iter().any(|other| entry.is_of(other));
            assert!(!is_taken_for_another);
            // An entry without a key may be of any name that is not long: only one has its slot.
            assert_eq!(entry.is_of(others[2]), !key.is_long());
        }
    }

    #[test]
    fn no_two_leases_have_the_same_mark() {
        let (one, other) = (LeaseToken::new(1, 2, 3), LeaseToken::new(1, 2, 4));
        assert_ne!(one.mark, other.mark);
        let read = decode(Some(one.to_bytes().to_vec()));
        assert!(matches!(read, Slot::Lease(read) if read == one), "{read:?}");
        let cut = decode(Some(one.to_bytes()[..25].to_vec()));
        assert!(matches!(cut, Slot::Unreadable(_)), "{cut:?}");
    }

    #[test]
    fn a_mark_is_ascii() {
        for _ in 0..100 {
            let entry = *encoded(&[], &[]).first_chunk().unwrap();
            let marks = [
                LeaseToken::new(1, 2, unique::number()).mark,
                new_mark_of(entry),
                entry,
                new_fence(),
            ];
            assert!(marks.iter().all(|mark| mark.is_ascii()), "{marks:?}");
        }
    }

    #[test]
    fn a_fence_is_neither_an_entry_nor_a_number() {
        let mut fence = new_fence().to_vec();
        fence.extend(b"2a:1712345678901");
        assert!(
            str::from_utf8(&fence)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .is_none()
        );
        assert!(matches!(decode(Some(fence)), Slot::Fence));
        assert!(matches!(decode(Some(b"F".to_vec())), Slot::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_does_not_panic(bytes: Vec<u8>, entry_like: bool) {
            let mut bytes = bytes;
            if entry_like {
                bytes.splice(0..0, ENTRY);
            }
            let _ = decode(Some(bytes));
        }

        #[test]
        fn an_entry_with_one_wrong_byte_is_read_within_its_bounds(
            tags in proptest::collection::vec("[a-z:é]{0,12}", 0..4),
            at: prop::sample::Index,
            change in 1..=u8::MAX,
        ) {
            let keys: Vec<Key> = tags.iter().map(|tag| Key::from(tag.as_str())).collect();
            let versions: Vec<u64> = (1..).take(keys.len()).collect();
            let mut bytes = encoded(&keys, &versions);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            if let Slot::Entry(entry) = decode(Some(bytes.clone())) {
                // Its tags may be others now, and it may have a key. They and the payload make up the
                // whole entry.
                let tags: usize = entry.tags().map(|(tag, _)| 10 + tag.len()).sum();
                let key = if entry.key().is_empty() { 0 } else { 4 + entry.key().len() };
                prop_assert_eq!(entry.header.payload_at, TAGS_AT + tags + key);
                prop_assert!(bytes.ends_with(entry.payload()));
            }
        }
    }
}
