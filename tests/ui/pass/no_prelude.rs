//! Every path of an expansion is absolute: it needs no prelude, and the user's
//! types may be called like those of the standard library.
#![no_implicit_prelude]
#![deny(warnings, clippy::all, clippy::pedantic)]

use ::cache_runtime::{cache_invalidate, cached, key};
use ::core::clone::Clone;

#[derive(Clone, ::serde::Serialize, ::serde::Deserialize)]
struct Result {
    id: u64,
}
#[derive(Clone, ::serde::Serialize, ::serde::Deserialize)]
struct Option;
#[derive(Clone, ::serde::Serialize, ::serde::Deserialize)]
struct String;
/// A user's own.
pub struct Some;
/// A user's own.
pub struct None;
/// A user's own.
pub struct Ok;
/// A user's own.
pub struct Err;
/// A user's own.
pub struct Vec;
/// A user's own.
pub struct Box;
/// A user's own.
pub trait Send {}
/// A user's own.
pub trait Sync {}
/// A user's own.
pub trait Future {}
mod core {}
mod std {}
mod cache_runtime {}

#[cached(key = "result:<id>", ttl = 60, invalidate_on = ["results", "id:<id>"])]
async fn get(id: u64) -> Result {
    Result { id }
}

#[cached(key = "option")]
async fn option() -> Option {
    Option
}

#[cached(key = "none", none_ttl = "5s")]
async fn none() -> ::core::option::Option<Option> {
    ::core::option::Option::None
}

#[cached(key = "string")]
async fn string() -> String {
    String
}

#[cached(key = "future:<id>", unless = |future| future.id == 0)]
fn future(id: u64) -> impl ::core::future::Future<Output = Result> + ::core::marker::Send {
    async move { Result { id } }
}

type Boxed<'a, T> = ::core::pin::Pin<
    ::std::boxed::Box<dyn ::core::future::Future<Output = T> + ::core::marker::Send + 'a>,
>;

#[cached(key = "boxed:<id>")]
fn boxed(id: &u64) -> Boxed<'_, Result> {
    ::std::boxed::Box::pin(async move { Result { id: *id } })
}

#[cache_invalidate("future:<id>", "boxed:<result.id>")]
fn update_future(id: &u64) -> Boxed<'_, Result> {
    ::std::boxed::Box::pin(async move { Result { id: *id } })
}

#[cache_invalidate("result:<result.id>", "id:<id>")]
async fn update(id: u64) -> Result {
    Result { id }
}

fn main() {
    let id = 7;
    ::std::assert_eq!(key!("result:<id>").as_str(), "result:7");
    let run = async || {
        get(1).await;
        option().await;
        none().await;
        string().await;
        future(1).await;
        boxed(&1).await;
        update_future(&1).await;
        update(1).await;
    };
    ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(run());
}
