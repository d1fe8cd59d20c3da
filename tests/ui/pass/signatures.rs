//! Generics, lifetimes, `where` clauses, every receiver and every pattern.
#![deny(warnings, clippy::all)]

use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use cache_runtime::{Cache, CacheValue, KeyPart, cache_invalidate, cached};

#[derive(Clone)]
struct Repository {
    tenant: u64,
    cache: Cache,
    log: Vec<u64>,
}

impl Repository {
    #[cached(key = "ref:<self.tenant>:<id>")]
    async fn by_ref(&self, id: u64) -> u64 {
        self.tenant + id
    }

    #[cached(key = "mut:<self.tenant>:<id>", cache = self.cache, skip(self.log))]
    async fn by_mut(&mut self, id: u64) -> u64 {
        self.log.push(id);
        id
    }

    #[cached(key = "value:<self.tenant>:<self.log>", cache = self.cache)]
    async fn by_value(self) -> usize {
        let log = self.log;
        log.len()
    }

    #[cached(key = "mut-value:<self.tenant>:<self.log>", cache = &self.cache)]
    async fn by_mut_value(mut self) -> usize {
        self.log.push(1);
        self.log.len()
    }

    #[cached(key = "arc:<self.tenant>", cache = self.cache.clone())]
    async fn by_arc(self: Arc<Self>) -> u64 {
        let this: Arc<Self> = self;
        this.tenant
    }

    #[cached(key = "rc:<self.tenant>")]
    async fn by_rc(self: Rc<Self>) -> u64 {
        self.tenant
    }

    #[cached(key = "box:<self.tenant>")]
    async fn by_box(self: Box<Self>) -> u64 {
        let this: Self = *self;
        this.tenant
    }

    #[cached(key = "pin:<self.tenant>")]
    async fn by_pin(self: Pin<&mut Self>) -> u64 {
        let this = self.get_mut();
        this.tenant
    }

    #[cached(key = "none:<id>")]
    async fn none(id: u64) -> u64 {
        id
    }

    #[cached(key = "skipped:<id>", skip(self))]
    async fn skipped(&self, id: u64) -> u64 {
        id
    }

    #[cache_invalidate("mut:<self.tenant>:<id>", "log:<self.tenant>:<result>", cache = self.cache)]
    async fn update(&mut self, id: u64) -> u64 {
        self.log.push(id);
        id
    }

    #[cache_invalidate("value:<self.tenant>", cache = self.cache)]
    async fn remove(self) -> Vec<u64> {
        self.log
    }
}

struct Table<T> {
    rows: Vec<T>,
}

impl<T: CacheValue> Table<T> {
    #[cached(key = "row:<Self>:<index>")]
    async fn row(&self, index: usize) -> Option<T> {
        self.rows.get(index).cloned()
    }
}

trait Find {
    async fn find(&self, id: u64) -> Option<u64>;
}

impl Find for Repository {
    #[cached(key = "find:<self.tenant>:<id>")]
    async fn find(&self, id: u64) -> Option<u64> {
        Some(id)
    }
}

#[cached(key = "generic:<T>:<N>:<id>")]
async fn generic<'a, T, const N: usize>(id: &'a str) -> Result<[T; 2], &'a str>
where
    T: Default + CacheValue,
{
    if id.len() > N {
        return Err(id);
    }
    Ok([T::default(), T::default()])
}

#[cached(key = "keyed:<id>", skip(K))]
async fn keyed<K: KeyPart + Display>(id: K) -> String {
    id.to_string()
}

#[cached(key = "impl:<id.to_string()>")]
async fn impl_argument(id: impl Display) -> String {
    id.to_string()
}

#[cached(key = "borrowed:<text>:<list>:<pair>", skip(log))]
async fn borrowed(text: &str, list: &[u64], pair: &(u8, String), log: &mut Vec<String>) -> usize {
    log.push(text.to_owned());
    text.len() + list.len() + pair.1.len()
}

struct Pool<'p> {
    log: &'p mut Vec<String>,
}

#[cached(key = "pooled:<id>", skip(pool))]
async fn pooled<'p>(pool: &mut Pool<'p>, mut id: &'p str) -> usize {
    pool.log.push(id.to_owned());
    id = id.trim();
    id.len()
}

#[cached(key = "moved:<name>:<name.to_lowercase()>")]
async fn moved(mut name: String) -> String {
    name.push('!');
    let closure = move || name;
    closure()
}

struct Page {
    number: u32,
    size: u32,
    _total: u32,
}

#[cached(key = "pattern:<a>:<b>:<number>:<length>:<whole>")]
async fn patterns(
    (a, mut b): (u64, u64),
    Page {
        number,
        size: length,
        ..
    }: Page,
    whole @ [_, _]: [u8; 2],
) -> u64 {
    b += a;
    b + u64::from(number * length) + u64::from(whole[0])
}

#[cached(key = "raw:<type>:<r#match>:<self_.r#fn>")]
async fn r#raw(r#type: u64, r#match: u64, self_: Raw) -> u64 {
    r#type + r#match + self_.r#fn
}

struct Raw {
    r#fn: u64,
}

#[cache_invalidate("keyed:<id>", "type:<T>")]
async fn infers<T>(id: &str) -> impl Iterator<Item = char>
where
    T: Default,
{
    id.chars().collect::<Vec<_>>().into_iter()
}

#[cache_invalidate("keyed:<id>")]
async fn infers_inside(id: &str) -> Result<impl Display, std::num::ParseIntError> {
    let number: u64 = id.parse()?;
    Ok(number)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut repository = Repository {
        tenant: 7,
        cache: Cache::builder().url("memory:").build().unwrap(),
        log: Vec::new(),
    };
    assert_eq!(repository.by_ref(1).await, 8);
    assert_eq!(repository.by_mut(1).await, 1);
    assert_eq!(repository.clone().by_value().await, 1);
    assert_eq!(repository.clone().by_mut_value().await, 2);
    assert_eq!(Arc::new(repository.clone()).by_arc().await, 7);
    assert_eq!(Rc::new(repository.clone()).by_rc().await, 7);
    assert_eq!(Box::new(repository.clone()).by_box().await, 7);
    assert_eq!(Pin::new(&mut repository).by_pin().await, 7);
    assert_eq!(Repository::none(1).await, 1);
    assert_eq!(repository.skipped(1).await, 1);
    assert_eq!(repository.find(1).await, Some(1));
    assert_eq!(repository.update(1).await, 1);
    assert_eq!(repository.remove().await, [1, 1]);
    let table = Table {
        rows: vec!["a".to_owned()],
    };
    assert_eq!(table.row(0).await, Some("a".to_owned()));
    assert_eq!(table.row(1).await, None);

    assert_eq!(generic::<u8, 2>("ab").await, Ok([0, 0]));
    assert_eq!(generic::<u8, 1>("ab").await, Err("ab"));
    assert_eq!(keyed(1).await, "1");
    assert_eq!(impl_argument("a").await, "a");
    assert_eq!(
        borrowed("ab", &[1], &(1, "c".to_owned()), &mut Vec::new()).await,
        4
    );
    let mut log = Vec::new();
    assert_eq!(pooled(&mut Pool { log: &mut log }, "a ").await, 1);
    assert_eq!(log, ["a "]);
    assert_eq!(moved("A".to_owned()).await, "A!");
    let page = Page {
        number: 2,
        size: 3,
        _total: 4,
    };
    assert_eq!(patterns((1, 2), page, [4, 5]).await, 13);
    assert_eq!(r#raw(1, 2, Raw { r#fn: 3 }).await, 6);
    assert_eq!(infers::<u8>("ab").await.count(), 2);
    assert_eq!(infers_inside("12").await.unwrap().to_string(), "12");
}
