//! The API by hand for several keys at once.

use std::collections::HashMap;

use super::{Cache, SetValue};
use crate::call::scope;
use crate::clock;
use crate::error::Error;
use crate::key::{Key, Keys};
use crate::missed::MissReason;
use crate::observe::{Event, NotFilledReason};
use crate::tier::{Filled, Filling, Query, Store as _};
use crate::value::CacheValue;

use super::options::Options;
use std::time::Duration;

impl Cache {
    /// Returns the value under each of these keys, in their order: what [`get`](Self::get) returns for
    /// each, in few round trips to a server. One for the entries and, where entries have tags, one for the
    /// versions of all of those; more for more than 200 keys, and for large values. A key may be named
    /// twice.
    ///
    /// Each key counts as a hit or a miss.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), for the first key that fails: no value is returned then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("user:1", &"Ada".to_owned(), Options::new()).await?;
    /// let users = cache.get_many::<String>(["user:1", "user:2"]).await?;
    /// assert_eq!(users, [Some("Ada".to_owned()), None]);
    /// # Ok(()) }
    /// ```
    pub async fn get_many<T: CacheValue>(&self, keys: impl Keys) -> Result<Vec<Option<T>>, Error> {
        let keys = valid_keys(keys)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let found = if scope::is_uncommitted() {
            keys.iter().map(|_| None).collect()
        } else {
            match self.core.tier.get_many(&keys).await {
                Ok(found) => found,
                Err(error) => {
                    let observer = &self.core.observer;
                    let why = MissReason::Unavailable;
                    for key in &keys {
                        observer.observe(None, Event::Miss { key, why });
                    }
                    observer.observe(None, Event::Fail { error: &error });
                    return Err(error);
                }
            }
        };
        let read = keys.iter().zip(found);
        // Each of them counts, also after one that cannot be decoded.
        let read: Vec<_> = read
            .map(|(key, found)| self.read::<T>(key, Ok(found)))
            .collect();
        read.into_iter().collect()
    }

    /// Stores a value under each key, in the place of any other: what [`set`](Self::set) does with each,
    /// and all that is said there holds for each. On a server, this takes two round trips; more for more
    /// than 200 values, or for more than 1 MiB. Of several values for one key, the last is stored.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set). If a name is invalid or a value cannot be encoded, no value is stored on a
    /// server. After another failure, any of the values may have been stored.
    ///
    /// # Concurrent calls
    ///
    /// As [`set`](Self::set). The values are not stored at one moment: another caller may see some of them
    /// before the others.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options, key};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// let users = [(1, "Ada".to_owned()), (2, "Grace".to_owned())];
    /// let entries = users.iter().map(|(id, name)| (key!("user:<id>"), name));
    /// cache.set_many(entries, Options::new().tag("users")).await?;
    /// assert_eq!(cache.get::<String>("user:2").await?.as_deref(), Some("Grace"));
    /// # Ok(()) }
    /// ```
    pub async fn set_many<'a, K: Into<Key>, T: CacheValue>(
        &self,
        entries: impl IntoIterator<Item = (K, &'a T)>,
        options: Options,
    ) -> Result<(), Error> {
        let (keys, values) = last_of_each(entries);
        keys.iter().try_for_each(Key::check)?;
        options.check()?;
        let (core, settings) = (&self.core, &self.core.settings);
        let not_filled = |key, why| core.observer.observe(None, Event::NotFilled { key, why });
        // As in `set`.
        if scope::is_uncommitted() {
            scope::hold_names(core, &keys);
            for key in &keys {
                not_filled(key, NotFilledReason::Uncommitted);
            }
            return Ok(());
        }
        let ttl = options.ttl.unwrap_or(settings.default_ttl);
        let codec = options.codec.unwrap_or(settings.codec);
        let values: Vec<SetValue<'_, T>> = values.into_iter().map(SetValue).collect();
        let set: Vec<(Query, Filling<'_>, Duration)> = keys
            .into_iter()
            .zip(&values)
            .map(|(key, value)| {
                let query = Query {
                    fresh: options.fresh,
                    ..Query::by_hand(key, options.tags.clone(), ttl)
                };
                let filling = Filling {
                    value,
                    tags: &[],
                    cost: Duration::ZERO,
                    codec,
                    is_checked: settings.check_values,
                };
                (query, filling, clock::jittered(ttl, settings.jitter))
            })
            .collect();
        let filled = core.failed(core.tier.set_many(&set).await)?;
        for ((query, ..), filled) in set.iter().zip(filled) {
            let key = &query.key;
            match filled {
                Filled::Stored(ttl) => core.observer.observe(None, Event::Fill { key, ttl }),
                Filled::Overtaken => not_filled(key, NotFilledReason::Overtaken),
                Filled::TooHeavy => not_filled(key, NotFilledReason::TooHeavy),
                _ => not_filled(key, NotFilledReason::Unstorable),
            }
        }
        Ok(())
    }

    /// Removes the entry under each of these keys, and returns for each whether there was one, in their
    /// order: what [`delete`](Self::delete) does with each, in one round trip to a server, or one for each
    /// 200 keys.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete). If a key is invalid, no entry is removed. After another failure, any
    /// of the entries may have been removed.
    ///
    /// # Concurrent calls
    ///
    /// A load of one of these keys that is under way does not store its value.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
    /// use cache_runtime::{Cache, Options};
    ///
    /// let cache = Cache::builder().url("memory:").build()?;
    /// cache.set("user:1", &1, Options::new()).await?;
    /// assert_eq!(cache.delete_many(["user:1", "user:2"]).await?, [true, false]);
    /// # Ok(()) }
    /// ```
    pub async fn delete_many(&self, keys: impl Keys) -> Result<Vec<bool>, Error> {
        let keys = valid_keys(keys)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        scope::hold_names(&self.core, &keys);
        let deleted = self.core.failed(self.core.tier.delete_many(&keys).await)?;
        for (key, &existed) in keys.iter().zip(&deleted) {
            let event = Event::Delete { key, existed };
            self.core.observer.observe(None, event);
        }
        Ok(deleted)
    }
}

/// The keys, if all of them are valid.
fn valid_keys(keys: impl Keys) -> Result<Vec<Key>, Error> {
    let keys: Vec<Key> = keys.into_iter().map(Into::into).collect();
    keys.iter().try_for_each(Key::check)?;
    Ok(keys)
}

/// Each key once, in the order in which they first come, with the last of its values.
fn last_of_each<K: Into<Key>, T>(entries: impl IntoIterator<Item = (K, T)>) -> (Vec<Key>, Vec<T>) {
    let mut places: HashMap<Key, usize> = HashMap::new();
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for (key, value) in entries {
        let key = key.into();
        if let Some(&at) = places.get(&key) {
            values[at] = value;
            continue;
        }
        places.insert(key.clone(), keys.len());
        keys.push(key);
        values.push(value);
    }
    (keys, values)
}
