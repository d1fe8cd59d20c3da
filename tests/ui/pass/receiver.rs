//! Receivers whose fields are read: those that could be in the key are there or skipped, and no
//! others are asked about, however they are read.
#![deny(warnings, clippy::all, clippy::pedantic, unused_qualifications)]
#![allow(dead_code)]

use std::fmt::Display;
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use cache_runtime::{KeyPart, cache_invalidate, cached};

struct Pool(f64);

impl Pool {
    async fn fetch(&self, id: u64) -> u64 {
        ready(id).await
    }
}

#[derive(Clone, KeyPart)]
struct Tenant {
    id: u64,
    name: String,
}

struct Config {
    tenant: Tenant,
    url: String,
    pool: Pool,
}

struct Users {
    pool: Pool,
    weights: Vec<f32>,
    count: Mutex<u64>,
    callback: fn(u64) -> u64,
    tenant: u64,
    _limit: u64,
    config: Arc<Config>,
    r#type: u8,
    #[cfg(any())]
    absent: u64,
}

impl Users {
    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn tenant(&self) -> u64 {
        self.tenant
    }

    #[cached(key = "fields-of-other-types:<id>")]
    async fn other_types(&self, id: u64) -> Option<u64> {
        let weight = self.weights.first()?;
        *self.count.lock().unwrap() += (self.callback)(1);
        Some(self.pool.fetch(id).await + self.pool().fetch(id).await + u64::from(weight.to_bits()))
    }

    #[cached(key = "in-key:<self.tenant>:<self.r#type>:<id>")]
    async fn in_key(&self, id: u64) -> u64 {
        let add = |more| more + self.tenant.wrapping_add(1) + u64::from(self.r#type);
        self.pool.fetch(add(id)).await
    }

    #[cached(key = "by-method:<self.tenant()>:<id>")]
    async fn by_method(&self, id: u64) -> u64 {
        self.pool.fetch(id).await + self.tenant
    }

    #[cached(key = "part-in-key:<self.config.tenant.id>:<id>")]
    async fn part_in_key(&self, id: u64) -> String {
        format!("{id} of {}", self.config.tenant.id)
    }

    #[cached(key = "whole-in-key:<self.config.tenant>:<id>", skip(self.config.url))]
    async fn whole_in_key(&self, id: u64) -> String {
        format!("{id} of {} at {}", self.config.tenant.name, self.config.url)
    }

    #[cached(key = "skipped:<id>", skip(self.tenant, self._limit, self.config.tenant))]
    async fn skipped(&self, id: u64) -> u64 {
        #[allow(clippy::used_underscore_binding)]
        let limit = self._limit;
        id + self.tenant + limit + self.config.tenant.id
    }

    #[cached(key = "all-skipped:<id>", skip(self))]
    async fn all_skipped(&self, id: u64) -> u64 {
        id + self.tenant + self.config.tenant.id
    }

    #[cached(key = "rest-skipped:<self.tenant>:<id>", skip(self))]
    async fn rest_skipped(&self, id: u64) -> u64 {
        id + self.tenant + self.config.tenant.id
    }

    #[cached(key = "assigned:<id>")]
    async fn assigned(&mut self, id: u64) -> u64 {
        self.tenant = id;
        id
    }

    #[cached(key = "shared:<self.tenant>:<id>", skip(self.config.url))]
    async fn shared(self: Arc<Self>, id: u64) -> u64 {
        id + self.tenant + self.config.url.len() as u64
    }

    #[cached(key = "by-value:<self.tenant>", skip(self.config.url))]
    async fn by_value(self) -> String {
        let Self { tenant, .. } = self;
        format!("{tenant} {}", self.config.url)
    }

    #[cached(key = "pinned:<self.tenant>")]
    async fn pinned(self: Pin<&mut Self>) -> u64 {
        self.tenant
    }

    #[cached(key = "boxed:<self.tenant>")]
    fn boxed(&self) -> Pin<Box<dyn Future<Output = u64> + Send + '_>> {
        Box::pin(async move { self.tenant })
    }

    #[cached(key = "future:<self.tenant>")]
    fn future(&self) -> impl Future<Output = u64> {
        ready(self.tenant)
    }

    #[cached(key = "another-self")]
    async fn another_self(&self) -> u64 {
        struct Other {
            absent: u64,
        }
        impl Other {
            fn get(&self) -> u64 {
                self.absent
            }
        }
        macro_rules! read {
            ($self:ident) => {
                $self.absent
            };
        }
        let other = Other { absent: 1 };
        let _ = stringify!(self.absent);
        other.get() + read!(other)
    }

    #[cached(key = "left-out")]
    async fn left_out(&self) -> u64 {
        #[cfg(any())]
        return self.absent;
        #[cfg(any())]
        let value = Some(1).map_or_else::<u64, _, _>(|| self.absent, |one| one + self.absent);
        #[cfg(not(any()))]
        let value = match 1 {
            #[cfg(any())]
            0 => self.absent,
            #[cfg(any())]
            2 => {
                println!("two");
                self.absent
            }
            _ => 7,
        };
        #[cfg(any())]
        {
            self.absent
        }
        #[cfg(not(any()))]
        {
            value
        }
    }

    #[cache_invalidate("in-key:<self.tenant>:<id>")]
    async fn invalidate(&self, id: u64) -> u64 {
        id + u64::from(self.r#type)
    }
}

struct Pair((u64, f64), u64);

impl Pair {
    #[cached(key = "pair:<self.1>", skip(self.0.0))]
    async fn sum(&self) -> u64 {
        self.0.0 + self.1 + self.0.1.to_bits()
    }
}

#[repr(C, packed)]
struct Packed {
    small: u8,
    large: f64,
    id: u64,
}

impl Packed {
    #[cached(key = "packed", skip(self.id))]
    async fn get(&self) -> u64 {
        let (large, id) = (self.large, self.id);
        id ^ large.to_bits()
    }
}

struct Unbounded<T> {
    value: T,
    of: PhantomData<T>,
}

impl<T: Display + Sync> Unbounded<T> {
    #[cached(key = "unbounded:<id>")]
    async fn unknown(&self, id: u64) -> String {
        format!("{id} {}", self.value)
    }
}

struct Borrowed<'a> {
    pool: &'a Pool,
    name: &'a str,
}

impl Borrowed<'_> {
    #[cached(key = "borrowed:<self.name>:<id>")]
    async fn get(&self, id: u64) -> String {
        format!("{} {}", self.name, self.pool.fetch(id).await)
    }

    #[cached(key = "detached:<id>", skip(self.name))]
    async fn borrowed(&self, id: u64) -> String {
        format!("{} {}", self.name, self.pool.fetch(id).await)
    }
}

fn main() {}
