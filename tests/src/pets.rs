//! A generic repository whose keys do not name its type: the mistake that must not serve one type's
//! value as another's.

use std::marker::PhantomData;

use cache_runtime::{Cache, CacheValue, cache_invalidate, cached, key_name};
use serde::{Deserialize, Serialize};

/// A row of a table. Each is written alike.
pub trait Pet: CacheValue {
    /// A row that is made up.
    fn make(id: u64) -> Self;
    /// What it says.
    fn sound(&self) -> &str;
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dog {
    sound: String,
}

/// Another row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cat {
    sound: String,
}

/// A type with a name of its own, which only generic code of other crates uses.
#[key_name("tests.hamster")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hamster<T>(pub T);

impl Pet for Dog {
    fn make(id: u64) -> Self {
        let sound = format!("woof {id}");
        Self { sound }
    }

    fn sound(&self) -> &str {
        &self.sound
    }
}

impl Pet for Cat {
    fn make(id: u64) -> Self {
        let sound = format!("meow {id}");
        Self { sound }
    }

    fn sound(&self) -> &str {
        &self.sound
    }
}

/// The rows of a table.
#[derive(Debug, Clone)]
pub struct Pets<T> {
    cache: Cache,
    row: PhantomData<fn() -> T>,
}

impl<T: Pet> Pets<T> {
    /// The rows that this cache has.
    pub fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            row: PhantomData,
        }
    }

    /// A row. Its key does not name its type.
    #[cached(key = "pet:<id>", ttl = 60, invalidate_on = "pets", cache = self.cache)]
    pub async fn get(&self, id: u64) -> Option<T> {
        Some(T::make(id))
    }

    /// Changes all rows.
    #[cache_invalidate("pets", cache = self.cache)]
    pub async fn change(&self) {}

    /// What the first row says: of all types of rows, a value of one type. Its key does not name the row.
    #[cached(key = "pets:sound", ttl = 60, cache = self.cache)]
    pub async fn sound(&self) -> String {
        T::make(1).sound().to_owned()
    }
}
