//! Generics, lifetimes and patterns; parameters with names that an expansion could use.

use std::fmt::Display;
use std::marker::PhantomData;

use cache_runtime::{Cache, CacheValue, KeyPart, cache_invalidate, cached};

use super::{counts, miss_hit_invalidate, on_every_backend};

on_every_backend! {
    a_generic_function_is_cached
    a_method_of_a_generic_type_is_cached
    a_method_of_a_generic_trait_is_cached
    a_function_with_an_impl_trait_argument_is_cached
    a_function_with_borrowed_arguments_is_cached
    a_function_with_patterns_as_parameters_is_cached
    parameters_may_have_the_names_that_an_expansion_could_use
    types_may_hide_those_of_the_prelude
    the_body_need_not_use_its_parameters
}

#[cached(key = "generic:<T>:<N>:<id>", cache = cache, skip(cache, K))]
fn generic<'a, T, K, const N: usize>(
    cache: &'a Cache,
    id: &'a K,
) -> impl Future<Output = Option<[T; 2]>> + Send + use<'a, T, K, N>
where
    T: CacheValue + From<u8>,
    K: KeyPart + Sync + ?Sized,
{
    async move { (N > 0).then(|| [T::from(1), T::from(2)]) }
}

#[cache_invalidate("generic:<T>:<N>:<id>", cache = cache)]
async fn change_generic<T, K: KeyPart + ?Sized, const N: usize>(cache: &Cache, id: &K) {}

async fn a_generic_function_is_cached(cache: Cache) {
    miss_hit_invalidate!(
        cache,
        generic::<u64, _, 1>(&cache, "a"),
        Some([1, 2]),
        change_generic::<u64, _, 1>(&cache, "a")
    );
    assert_eq!(generic::<u32, _, 1>(&cache, "a").await, Some([1, 2]));
    assert_eq!(generic::<u64, _, 0>(&cache, "a").await, None);
    assert_eq!(counts(&cache), [1, 4, 4]);
}

struct Table<'c, T> {
    cache: &'c Cache,
    row: PhantomData<T>,
}

impl<T: CacheValue + Default> Table<'_, T> {
    #[cached(key = "row:<Self>:<index>", cache = self.cache)]
    async fn row(&self, index: usize) -> Result<T, String> {
        Ok(T::default())
    }

    #[cache_invalidate("row:<Self>:<index>", cache = self.cache)]
    async fn change_row(&self, index: usize) -> &Self {
        self
    }
}

async fn a_method_of_a_generic_type_is_cached(cache: Cache) {
    let table = Table {
        cache: &cache,
        row: PhantomData::<bool>,
    };
    miss_hit_invalidate!(cache, table.row(1), Ok(false), table.change_row(1));
}

struct Database<'c>(&'c Cache);

trait Sizes<T> {
    async fn size(&self) -> usize;
    async fn size_of_any(&self) -> usize;
    async fn change_size(&self);
}

/// Its `Self` is one type for each `T`.
impl<T> Sizes<T> for Database<'_> {
    #[cached(key = "size:<Self>:<T>", cache = self.0)]
    async fn size(&self) -> usize {
        size_of::<T>()
    }

    #[cached(key = "size-of-any:<T>", cache = self.0, skip(Self))]
    async fn size_of_any(&self) -> usize {
        size_of::<T>()
    }

    #[cache_invalidate("size:<Self>:<T>", cache = self.0)]
    async fn change_size(&self) {}
}

async fn a_method_of_a_generic_trait_is_cached(cache: Cache) {
    let database = Database(&cache);
    miss_hit_invalidate!(
        cache,
        Sizes::<u8>::size(&database),
        1,
        Sizes::<u8>::change_size(&database)
    );
    assert_eq!(Sizes::<u16>::size(&database).await, 2);
    assert_eq!(Sizes::<u8>::size_of_any(&database).await, 1);
    assert_eq!(Sizes::<u16>::size_of_any(&database).await, 2);
}

#[cached(key = "impl:<id.to_string()>", cache = cache, skip(cache))]
async fn impl_argument(cache: &Cache, id: impl Display) -> String {
    id.to_string()
}

#[cache_invalidate("impl:<id.to_string()>", cache = cache)]
async fn change_impl_argument(cache: &Cache, id: impl Display) {}

async fn a_function_with_an_impl_trait_argument_is_cached(cache: Cache) {
    miss_hit_invalidate!(
        cache,
        impl_argument(&cache, 'a'),
        "a",
        change_impl_argument(&cache, "a")
    );
}

struct Pool<'p> {
    log: Vec<&'p str>,
}

#[cached(key = "borrowed:<names>:<last>", cache = cache, skip(cache, pool))]
async fn borrowed(
    cache: &Cache,
    pool: &mut Pool<'_>,
    mut names: &[&str],
    last: Option<&'static str>,
) -> usize {
    pool.log.extend(last);
    let mut count = 0;
    while let [_, rest @ ..] = names {
        names = rest;
        count += 1;
    }
    count
}

#[cache_invalidate("borrowed:<names>:<last>", cache = cache)]
async fn change_borrowed<'p>(
    cache: &Cache,
    pool: &mut Pool<'p>,
    names: &[&str],
    last: Option<&'p str>,
) {
    pool.log.extend(last);
}

async fn a_function_with_borrowed_arguments_is_cached(cache: Cache) {
    let mut pool = Pool { log: Vec::new() };
    let mut changing = Pool { log: Vec::new() };
    let names = ["a", "b"];
    miss_hit_invalidate!(
        cache,
        borrowed(&cache, &mut pool, &names, Some("z")),
        2,
        change_borrowed(&cache, &mut changing, &names, Some("z"))
    );
    assert_eq!(pool.log, ["z", "z"]);
    assert_eq!(changing.log, ["z"]);
}

struct Page {
    number: u32,
    size: u32,
}

#[cached(key = "page:<a>:<b>:<number>:<each>:<whole>", cache = cache, skip(cache))]
fn page(
    cache: &Cache,
    (a, mut b): (u32, u32),
    Page { number, size: each }: Page,
    whole @ [_, _]: [u8; 2],
) -> impl Future<Output = u32> + Send + '_ {
    b += a;
    async move { b + number * each + u32::from(whole[1]) }
}

#[cache_invalidate("page:<a>:<b>:<number>:<size>:<whole>", cache = cache)]
async fn change_page(
    cache: &Cache,
    (a, b): (u32, u32),
    Page { number, size }: Page,
    whole @ [_, _]: [u8; 2],
) {
}

async fn a_function_with_patterns_as_parameters_is_cached(cache: Cache) {
    let of = |size| Page { number: 2, size };
    miss_hit_invalidate!(
        cache,
        page(&cache, (1, 2), of(3), [4, 5]),
        14,
        change_page(&cache, (1, 2), of(3), [4, 5])
    );
}

#[expect(
    clippy::too_many_arguments,
    reason = "one for each name that an expansion could use"
)]
#[cached(key = "names:<key>:<result>:<self_>:<call>:<load>:<output>:<value>", cache = cache, skip(cache))]
async fn names(
    cache: &Cache,
    key: u8,
    result: u8,
    self_: u8,
    call: u8,
    load: u8,
    output: u8,
    value: u8,
) -> u8 {
    key + result + self_ + call + load + output + value
}

#[expect(
    clippy::too_many_arguments,
    reason = "one for each name that an expansion could use"
)]
#[cached(
    key = "names-of-a-future:<key>:<result>:<self_>:<call>:<load>:<output>:<value>",
    unless = |sum| *sum == value,
    cache = cache,
    skip(cache)
)]
fn names_of_a_future(
    cache: &Cache,
    key: u8,
    result: u8,
    self_: u8,
    call: u8,
    load: u8,
    output: u8,
    value: u8,
) -> impl Future<Output = u8> + Send {
    async move { key + result + self_ + call + load + output + value }
}

#[cache_invalidate("names:<call>:<key>:<load>:<output>:<names>:<part0>:<result>", cache = cache)]
async fn change_names(
    cache: &Cache,
    call: u8,
    key: u8,
    load: u8,
    output: u8,
    names: u8,
    part0: u8,
) -> u8 {
    call + key + load + output + names - part0
}

async fn parameters_may_have_the_names_that_an_expansion_could_use(cache: Cache) {
    miss_hit_invalidate!(
        cache,
        names(&cache, 1, 2, 3, 4, 5, 6, 9),
        30,
        change_names(&cache, 1, 2, 3, 4, 5, 6)
    );
    for _ in 0..2 {
        let sum = names_of_a_future(&cache, 1, 2, 3, 4, 5, 6, 9);
        assert_eq!(sum.await, 30);
    }
    assert_eq!(counts(&cache), [2, 3, 3]);
}

mod hidden {
    use cache_runtime::{Cache, cache_invalidate, cached};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct Result(pub(super) u64);
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct Option(pub(super) u64);
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct String(pub(super) u64);
    #[expect(dead_code, reason = "an expansion could take it for the prelude's")]
    pub(super) trait Send {}

    #[cached(key = "result:<id>", cache = cache, skip(cache))]
    pub(super) async fn result(cache: &Cache, id: u64) -> Result {
        Result(id)
    }

    #[cached(key = "option:<id>", cache = cache, skip(cache))]
    pub(super) fn option(cache: &Cache, id: u64) -> impl Future<Output = Option> {
        async move { Option(id) }
    }

    #[cached(key = "string:<id>", cache = cache, skip(cache))]
    pub(super) fn string(
        cache: &Cache,
        id: u64,
    ) -> std::pin::Pin<Box<dyn Future<Output = String> + '_>> {
        Box::pin(async move { String(id) })
    }

    #[cache_invalidate("<result.0.to_string()>:<id>", cache = cache)]
    pub(super) async fn change(cache: &Cache, name: &str, id: u64) -> Name {
        Name(name.to_owned())
    }

    pub(super) struct Name(pub(super) std::string::String);
}

async fn types_may_hide_those_of_the_prelude(cache: Cache) {
    use hidden::{Option, Result, String, change, option, result, string};

    let forget = async |name: &str| {
        assert_eq!(change(&cache, name, 1).await.0, name);
        let key = format!("{name}:1");
        cache.invalidate([key.as_str()]).await.unwrap();
    };
    miss_hit_invalidate!(cache, result(&cache, 1), Result(1), forget("result"));
    miss_hit_invalidate!(cache, option(&cache, 1), Option(1), forget("option"));
    miss_hit_invalidate!(cache, string(&cache, 1), String(1), forget("string"));
}

#[cached(key = "unused:<id>:<_also>", cache = cache, skip(cache, _context))]
async fn unused(cache: &Cache, id: u64, _also: u64, _context: &str) -> u64 {
    1
}

#[cache_invalidate("unused:<id>:<_also>", cache = cache)]
fn change_unused(cache: &Cache, id: u64, _also: u64, _: &str) -> impl Future<Output = ()> + Send {
    async {}
}

async fn the_body_need_not_use_its_parameters(cache: Cache) {
    miss_hit_invalidate!(
        cache,
        unused(&cache, 1, 2, "a"),
        1,
        change_unused(&cache, 1, 2, "b")
    );
}
