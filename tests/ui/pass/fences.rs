//! Fences on functions of each shape; `fence_required` where the error takes the cache's.

use std::pin::Pin;
use std::time::Duration;

use cache_runtime::{BoxedFuture, cache_invalidate};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

const LONGEST: Duration = Duration::from_secs(10);

struct Users {
    longest: Duration,
}

impl Users {
    #[cache_invalidate("user:<id>", fence = "1m30s", fence_required)]
    async fn rename(&self, id: u64, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err("no name".into());
        }
        Ok(())
    }

    #[cache_invalidate("user:<id>", "team:<result>", fence = self.longest, on = ok, fence_required)]
    async fn transfer(&self, id: u64) -> Result<u64> {
        Ok(id.checked_add(1).ok_or("too far")?)
    }

    #[cache_invalidate("user:<id>", fence = LONGEST, condition = id > 3)]
    async fn remove(&self, id: u64) {}

    #[cache_invalidate("user:<id>", fence = 30, fence_required)]
    fn boxed(&self, id: u64) -> Pin<Box<dyn Future<Output = Result<u64>> + Send + '_>> {
        Box::pin(async move { Ok(id) })
    }

    #[cache_invalidate("user:<id>", fence = 30, fence_required)]
    fn future(&self, id: u64) -> impl Future<Output = Result<u64>> + Send {
        async move { Ok(id) }
    }
}

#[cache_invalidate("row:<row>", fence = "30s", fence_required)]
async fn generic<E: From<cache_runtime::Error>>(row: u64) -> std::result::Result<u64, E> {
    Ok(row)
}

/// An option of the attribute is no word of the language.
#[cache_invalidate("row:<fence_required>", fence = fence)]
async fn names_of_options(fence_required: u64, fence: Duration) {}

fn is_send<T: Send>(_: &T) {}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    fn is_boxed<F: BoxedFuture>(_: &F) {}

    let users = Users { longest: LONGEST };
    let renaming = users.rename(1, "Grace");
    is_send(&renaming);
    renaming.await.unwrap();
    users.rename(1, "").await.unwrap_err();
    assert_eq!(users.transfer(1).await.unwrap(), 2);
    users.remove(7).await;
    let boxed = users.boxed(7);
    is_boxed(&boxed);
    assert_eq!(boxed.await.unwrap(), 7);
    let future = users.future(7);
    is_send(&future);
    assert_eq!(future.await.unwrap(), 7);
    let row: std::result::Result<_, cache_runtime::Error> = generic(7).await;
    assert_eq!(row.unwrap(), 7);
    names_of_options(7, LONGEST).await;
}
