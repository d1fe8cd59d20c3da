//! `on_err` finds the error by trait, however the function says that it returns one.
#![deny(warnings)]

use std::fmt::Debug;
use std::pin::Pin;

use cache_runtime::cache_invalidate;

#[derive(Debug)]
struct Failure(u16);

impl Failure {
    fn may_have_committed(&self) -> bool {
        self.0 >= 500
    }
}

type Updated<T, E = Failure> = Result<T, E>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cache_invalidate("a:<id>", on_err = |error| error.0 >= 500)]
async fn alias(id: u64) -> Updated<()> {
    Err(Failure(u16::try_from(id).unwrap_or_default()))
}

#[cache_invalidate("b:<id>", on_err = Failure::may_have_committed, fence = "30s")]
fn returned_future(id: u64) -> impl Future<Output = Updated<u64>> + Send {
    async move { Ok(id) }
}

#[cache_invalidate("c:<id>:<result>", on_err = |error| error.may_have_committed())]
fn boxed<'a>(id: u64, name: &'a str) -> BoxFuture<'a, Updated<u64>> {
    Box::pin(async move {
        println!("{name}");
        Ok(id)
    })
}

#[cache_invalidate("d:<id>", on_err = |Failure(status)| *status >= lowest)]
async fn reads_a_parameter(id: u64, lowest: u16) -> Result<Option<u64>, Failure> {
    Ok((lowest > 0).then_some(id))
}

#[cache_invalidate("e:<id>", on_err = |error| format!("{error:?}").is_empty())]
async fn generic<E: Debug + Send>(id: u64, error: E) -> Result<(), E> {
    let _ = id;
    Err(error)
}

fn is_send<F: Send>(_: F) {}

fn main() {
    is_send(alias(1));
    is_send(returned_future(1));
    is_send(boxed(1, "a"));
    is_send(reads_a_parameter(1, 2));
    is_send(generic(1, "e"));
}
