//! Scopes: the keys that begin alike.

use cache_runtime::{Cache, Options, cached};

use super::on_every_backend;

on_every_backend! {
    a_scope_is_a_prefix
    a_scope_is_cleared_alone
    no_name_of_a_scope_widens_what_is_cleared
}

async fn set(cache: &Cache, keys: &[&str]) {
    for key in keys {
        cache.set(*key, &7, Options::new()).await.unwrap();
    }
}

async fn a_scope_is_a_prefix(cache: Cache) {
    #[cached(key = "reports:<id>", cache = cache, skip(cache))]
    async fn report(cache: &Cache, id: u64) -> u64 {
        id * 2
    }
    let reports = cache.scope("reports");
    report(&cache, 7).await;
    assert_eq!(reports.get::<u64>("7").await.unwrap(), Some(14));
    reports.set("8", &1_u64, Options::new()).await.unwrap();
    assert_eq!(report(&cache, 8).await, 1);
    assert!(reports.exists("8").await.unwrap());
    assert!(reports.ttl("8").await.unwrap().is_some());
    cache.invalidate(["reports:7"]).await.unwrap();
    assert!(!reports.exists("7").await.unwrap());
    reports.invalidate(["8"]).await.unwrap();
    assert_eq!(report(&cache, 8).await, 16);
    assert!(reports.delete("8").await.unwrap());
    let load = async { Ok::<_, ()>(3_u64) };
    assert_eq!(reports.get_or_load("9", Options::new(), load).await, Ok(3));
    assert_eq!(report(&cache, 9).await, 3);
    let eu = reports.scope("eu");
    eu.set("1", &5, Options::new()).await.unwrap();
    assert_eq!(cache.get::<i32>("reports:eu:1").await.unwrap(), Some(5));
}

async fn a_scope_is_cleared_alone(cache: Cache) {
    set(&cache, &["a:1", "a:b:1", "a", "ab:1", "b:a:1"]).await;
    assert_eq!(cache.scope("a").scope("b").clear().await.unwrap(), 1);
    assert_eq!(cache.scope("a").clear().await.unwrap(), 1);
    for (key, is_left) in [("a:1", false), ("a", true), ("ab:1", true), ("b:a:1", true)] {
        assert_eq!(cache.exists(key).await.unwrap(), is_left, "{key}");
    }
}

async fn no_name_of_a_scope_widens_what_is_cleared(cache: Cache) {
    set(&cache, &["a:1", "ab:1", "'*':1", "x:1"]).await;
    for name in ["*", "'*'", "a*", "\\*", "'", "a'*'", "%2A"] {
        let scope = cache.scope(name);
        scope.set("1", &1, Options::new()).await.unwrap();
        assert!(scope.exists("1").await.unwrap(), "{name}");
        assert_eq!(scope.clear().await.unwrap(), 1, "{name}");
        assert!(!scope.exists("1").await.unwrap(), "{name}");
    }
    for key in ["a:1", "ab:1", "'*':1", "x:1"] {
        assert!(cache.exists(key).await.unwrap(), "{key}");
    }
}
