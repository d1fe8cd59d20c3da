//! `Cache::invalidate_on_drop`: names that a body computes are invalidated however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, InvalidateOnDrop, Options, after_commit, cached, key};
use cache_tests::until;

use crate::behaviour::{Recorded, on_every_backend};
use crate::gated::Gate;

on_every_backend! {
    a_caller_that_gives_up_leaves_nothing_stale
    without_the_guard_it_would
    a_body_that_panics_invalidates
    a_body_that_fails_invalidates_once_more_after_settle
    a_body_that_ends_well_invalidates_once
    names_can_be_added
    what_is_cancelled_invalidates_nothing
    an_invalid_name_is_an_error_and_the_others_are_invalidated
    within_after_commit_the_scope_holds_the_names
    an_invalidation_that_is_dropped_goes_on
}

/// Users of one team, of which a body learns only from the database.
struct Team {
    cache: Cache,
    version: AtomicU64,
    changed: Gate,
    may_go_on: Gate,
}

impl Team {
    async fn new(cache: &Cache) -> Arc<Self> {
        let team = Arc::new(Self {
            cache: cache.clone(),
            version: AtomicU64::new(1),
            changed: Gate::new(),
            may_go_on: Gate::new(),
        });
        for id in 0..3 {
            assert_eq!(team.user(id).await, 1);
        }
        team
    }

    #[cached(key = "user:<id>", ttl = 60, cache = self.cache, skip(self))]
    async fn user(&self, id: u64) -> u64 {
        let _ = id;
        self.version.load(SeqCst)
    }

    fn names() -> impl Iterator<Item = cache_runtime::Key> {
        (0..3).map(|id| key!("user:<id>"))
    }

    /// The change, after which the caller may give up.
    async fn change(&self) {
        self.version.store(2, SeqCst);
        self.changed.open();
        self.may_go_on.pass().await;
    }

    async fn guarded_update(&self) -> Result<(), cache_runtime::Error> {
        let due = self.cache.invalidate_on_drop(Self::names());
        self.change().await;
        due.invalidate().await
    }

    async fn unguarded_update(&self) -> Result<(), cache_runtime::Error> {
        self.change().await;
        self.cache.invalidate(Self::names()).await
    }

    async fn panicking_update(&self) {
        let _due = self.cache.invalidate_on_drop(Self::names());
        tokio::task::yield_now().await;
        self.version.store(2, SeqCst);
        panic!("as it should");
    }

    async fn failing_update(&self) -> Result<(), String> {
        let due = self.cache.invalidate_on_drop(Self::names());
        self.version.store(2, SeqCst);
        Err::<(), _>("the connection broke")?;
        due.invalidate().await.map_err(|error| error.to_string())
    }

    async fn is_stale(&self) -> bool {
        for id in 0..3 {
            if self.user(id).await != self.version.load(SeqCst) {
                return true;
            }
        }
        false
    }

    async fn is_fresh_soon(&self) {
        until(async || !self.is_stale().await).await;
    }
}

/// Runs an update whose caller gives up between the change and the invalidation.
async fn give_up<F: Future<Output: Send> + Send + 'static>(team: &Team, update: F) {
    let caller = tokio::spawn(update);
    team.changed.passed().await;
    caller.abort();
    assert!(caller.await.err().unwrap().is_cancelled());
}

async fn a_caller_that_gives_up_leaves_nothing_stale(cache: Cache) {
    let team = Team::new(&cache).await;
    let caller = team.clone();
    give_up(&team, async move { caller.guarded_update().await }).await;
    team.is_fresh_soon().await;
    assert_eq!(cache.health().waiting, 3, "to be repeated");
}

async fn without_the_guard_it_would(Recorded { cache, events }: Recorded) {
    let team = Team::new(&cache).await;
    events.take();
    let caller = team.clone();
    give_up(&team, async move { caller.unguarded_update().await }).await;
    assert!(team.is_stale().await);
    assert_eq!(cache.health().waiting, 0);
    assert_eq!(events.take(), ["hit user:0"]);
}

async fn a_body_that_panics_invalidates(cache: Cache) {
    let team = Team::new(&cache).await;
    let caller = team.clone();
    let panics = tokio::spawn(async move { caller.panicking_update().await });
    assert!(panics.await.unwrap_err().is_panic());
    team.is_fresh_soon().await;
    assert_eq!(cache.health().waiting, 3, "to be repeated");
}

async fn a_body_that_fails_invalidates_once_more_after_settle(builder: CacheBuilder) {
    let settle = Duration::from_millis(200);
    let cache = builder.settle(settle).build().unwrap();
    let team = Team::new(&cache).await;
    team.failing_update().await.unwrap_err();
    team.is_fresh_soon().await;
    // The commit was still under way: what was stored meanwhile is old.
    team.version.store(3, SeqCst);
    team.is_fresh_soon().await;
}

async fn a_body_that_ends_well_invalidates_once(Recorded { cache, events }: Recorded) {
    let team = Team::new(&cache).await;
    team.may_go_on.open();
    events.take();
    team.guarded_update().await.unwrap();
    assert_eq!(events.take(), ["invalidate user:0 user:1 user:2"]);
    assert!(!team.is_stale().await);
    assert_eq!(cache.health().waiting, 0);
}

async fn names_can_be_added(Recorded { cache, events }: Recorded) {
    let mut due: InvalidateOnDrop = cache.invalidate_on_drop(["users"]);
    due.add(["user:1"]);
    due.add(Team::names().skip(2));
    assert_eq!(
        format!("{due:?}"),
        r#"InvalidateOnDrop { names: [Key("users"), Key("user:1"), Key("user:2")], .. }"#
    );
    due.invalidate().await.unwrap();
    assert_eq!(events.take(), ["invalidate users user:1 user:2"]);
}

async fn what_is_cancelled_invalidates_nothing(Recorded { cache, events }: Recorded) {
    cache.invalidate_on_drop(["user:1"]).cancel();
    drop(cache.invalidate_on_drop([""; 0]));
    assert_eq!((events.take(), cache.health().waiting), (Vec::new(), 0));
}

async fn an_invalid_name_is_an_error_and_the_others_are_invalidated(
    Recorded { cache, events }: Recorded,
) {
    let due = cache.invalidate_on_drop(["user:1", "", "user:2"]);
    assert!(due.invalidate().await.unwrap_err().is_key());
    assert_eq!(events.take(), ["invalidate user:1 user:2"]);
}

async fn within_after_commit_the_scope_holds_the_names(Recorded { cache, events }: Recorded) {
    let team = Team::new(&cache).await;
    team.may_go_on.stay_open();
    events.take();
    let transaction = after_commit(async {
        team.guarded_update().await.unwrap();
        drop(cache.invalidate_on_drop(["users"]));
        assert_eq!(events.take(), [""; 0]);
        Ok::<_, ()>(())
    });
    transaction.await.unwrap();
    let invalidated = "invalidate user:0 user:1 user:2 users";
    assert_eq!(events.take(), [invalidated]);
    assert_eq!(cache.health().waiting, 1, "what was dropped is repeated");
}

async fn an_invalidation_that_is_dropped_goes_on(cache: Cache) {
    cache.set("user:1", &1, Options::new()).await.unwrap();
    // Not even polled.
    drop(cache.invalidate_on_drop(["user:1"]).invalidate());
    until(async || !cache.exists("user:1").await.unwrap()).await;
}
