//! Values of two types under one key: two functions in two processes, and one generic function.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cache_runtime::{Cache, cached};
use cache_tests::{Cat, Dog, Pet, RedisServer};

use crate::figure::Figure;
use crate::rows::patient;
use crate::suite::Size;

pub(crate) const OTHER: &str = "values of another type";
pub(crate) const LOADS: &str = "loads of the type that is cached";

const ROWS: u64 = 20;

#[cached(key = "pet-of-two:<id>", ttl = 600, cache = cache, skip(cache))]
async fn dog(cache: &Cache, id: u64) -> Dog {
    Dog::make(id)
}

#[cached(key = "pet-of-two:<id>", ttl = 600, cache = cache, skip(cache))]
async fn cat(cache: &Cache, id: u64) -> Cat {
    Cat::make(id)
}

struct Pets<T> {
    cache: Cache,
    loads: AtomicU64,
    row: PhantomData<fn() -> T>,
}

impl<T: Pet> Pets<T> {
    fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            loads: AtomicU64::new(0),
            row: PhantomData,
        }
    }

    #[cached(key = "pet:<id>", ttl = 600, cache = self.cache)]
    async fn get(&self, id: u64) -> T {
        self.loads.fetch_add(1, Relaxed);
        T::make(id)
    }
}

pub(crate) async fn on_the_server(_size: Size) -> Vec<Figure> {
    let server = RedisServer::start();
    // Two caches on one server know as little of each other as two processes do.
    let (here, there) = (patient(&server.url()), patient(&server.url()));
    let mut others = 0;
    for id in 0..ROWS {
        others += u64::from(dog(&there, id).await.sound() != Dog::make(id).sound());
        others += u64::from(cat(&here, id).await.sound() != Cat::make(id).sound());
    }
    let (dogs, cats) = (Pets::<Dog>::new(&here), Pets::<Cat>::new(&here));
    for _ in 0..2 {
        for id in 0..ROWS {
            others += u64::from(dogs.get(id).await.sound() != Dog::make(id).sound());
            others += u64::from(cats.get(id).await.sound() != Cat::make(id).sound());
        }
    }
    vec![
        Figure::none(OTHER, others).of(ROWS * 6),
        Figure::at_most(LOADS, dogs.loads.into_inner(), ROWS),
    ]
}
