//! A server that takes no writes for a while is still read, by processes that connect meanwhile too.

use cache_runtime::{Cache, Options, Status};
use cache_tests::{RedisServer, patient, until};

fn cache(server: &RedisServer) -> Cache {
    patient(&server.url()).namespace("test").build().unwrap()
}

/// Checks that a cache that is made once the server refuses writes gets the hits of before, and
/// that it writes once they are no longer refused.
async fn check_serves_hits(server: &RedisServer, refuse: impl FnOnce(), accept: impl FnOnce()) {
    let before = cache(server);
    before.set("seven", &7, Options::new()).await.unwrap();
    refuse();
    let cache = cache(server);
    let load = async { Ok::<_, ()>(8) };
    assert_eq!(
        cache.get_or_load("seven", Options::new(), load).await,
        Ok(7)
    );
    assert_eq!((cache.stats().hits, cache.stats().loads), (1, 0));
    assert!(cache.invalidate(["seven"]).await.unwrap_err().is_refused());
    assert!(matches!(cache.health().status, Status::WritesRefused(_)));
    assert_eq!(before.get::<i32>("seven").await.unwrap(), None);
    accept();
    until(async || cache.health().waiting == 0 && cache.health().status.is_working()).await;
    assert!(!server.keys().contains(&"test:e:seven".to_owned()));
}

/// Then even `PING` is refused, with `MISCONF`.
#[tokio::test]
async fn hits_are_served_while_the_server_cannot_save() {
    let server = RedisServer::builder().protected_configs().start();
    check_serves_hits(
        &server,
        || server.refuse_to_save(),
        || server.accept_writes(),
    )
    .await;
}

#[tokio::test]
async fn hits_are_served_while_the_server_lacks_replicas() {
    let server = RedisServer::start();
    check_serves_hits(
        &server,
        || server.refuse_writes(),
        || server.accept_writes(),
    )
    .await;
}
