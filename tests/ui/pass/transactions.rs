//! Whether an argument is a transaction can be asked of every kind of argument.
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]

use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use cache_runtime::{Transaction, cache_invalidate, cached};

struct Tx<'c, Db>(&'c mut Db);

impl<Db> Transaction for Tx<'_, Db> {}

struct Repo<T>(T);

impl<T: Debug> Repo<T> {
    #[cached(key = "<Self>:<id>", skip(tx))]
    async fn find(&self, id: u64, tx: &mut Tx<'_, T>) -> u64 {
        let _ = &tx.0;
        id
    }

    #[cache_invalidate("<id>")]
    async fn change<Db>(&mut self, id: u64, tx: Tx<'_, Db>, name: &str) -> Option<u64> {
        let _ = (&mut self.0, tx.0, name);
        Some(id)
    }

    #[cache_invalidate("<id>")]
    async fn end(self, id: u64, Tx(db): Tx<'_, T>) {
        let _ = (id, db, self.0);
    }

    #[cache_invalidate("<id>")]
    async fn shared(self: Arc<Self>, id: u64, _tx: Option<Arc<Tx<'_, T>>>) {
        let _ = id;
    }
}

trait Reads {
    #[cache_invalidate("<id>")]
    async fn touch(&self, id: u64, #[cfg(any())] absent: Absent, slice: &[Cell<u8>]) {
        let _ = (id, slice);
    }
}

impl Reads for str {}

#[cache_invalidate("<id>")]
async fn anything<T: ?Sized + Display>(id: u64, shown: &T, run: impl FnOnce(), raw: &dyn Debug) {
    let _ = (id, shown.to_string(), raw);
    run();
}

#[cached(key = "<id>", skip(tx))]
fn later(id: u64, tx: &mut Tx<'_, u8>) -> impl Future<Output = u64> {
    *tx.0 += 1;
    async move { id }
}

#[cache_invalidate("<id>")]
fn boxed<'a>(id: u64, tx: &'a Tx<'_, u8>) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        let _ = (id, &tx.0);
    })
}

// The body's own items have their names.
#[cache_invalidate("<id>")]
async fn names(id: u64, tx: &mut Tx<'_, u8>) -> u64 {
    const SITE: u64 = 1;
    const ASKED: u64 = 2;
    tx.0.clone_from(&1);
    id + SITE + ASKED
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut repo = Repo(1_u8);
    let mut db = 1_u8;
    assert_eq!(repo.find(7, &mut Tx(&mut db)).await, 7);
    repo.change(7, Tx(&mut db), "").await;
    Repo(1).end(7, Tx(&mut 2)).await;
    Arc::new(Repo(1))
        .shared(7, Some(Arc::new(Tx(&mut 2))))
        .await;
    "".touch(7, &[]).await;
    anything(7, "shown", || {}, &1).await;
    let mut tx = Tx(&mut db);
    assert_eq!(later(7, &mut tx).await, 7);
    boxed(7, &tx).await;
    assert_eq!(names(7, &mut tx).await, 10);
}
