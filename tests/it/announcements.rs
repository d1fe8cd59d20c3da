//! What one process may not invalidate, others learn of, once.

use std::convert::Infallible;
use std::time::Duration;

use cache_runtime::{Cache, Key, Options};
use cache_tests::{Messages, RedisServer, patient, until};

const HOT: usize = 50;
/// Several times the keeper's pause while the server refuses.
const A_WHILE: Duration = Duration::from_secs(4);

fn cache(url: &str) -> Cache {
    patient(url).namespace("test").build().unwrap()
}

/// A cache whose user may run no script, so that none of its invalidations is carried out.
fn denied(server: &RedisServer) -> Cache {
    server.set_user("ann", &["on", ">secret", "~*", "&*", "+@all", "-eval"]);
    let port = server.port();
    cache(&format!("redis://ann:secret@127.0.0.1:{port}"))
}

async fn read_hot(cache: &Cache) {
    for i in 0..HOT {
        let load = async { Ok::<_, Infallible>(i) };
        let Ok(read) = cache
            .get_or_load(format!("hot:{i}"), Options::new(), load)
            .await;
        assert_eq!(read, i);
    }
}

/// Reads for a while; how often the caches missed.
async fn misses_while_reading(caches: &[Cache]) -> u64 {
    let misses = || caches.iter().map(|cache| cache.stats().misses).sum::<u64>();
    let before = misses();
    let begun = std::time::Instant::now();
    while begun.elapsed() < A_WHILE {
        for cache in caches {
            read_hot(cache).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    misses() - before
}

#[tokio::test]
async fn a_process_that_may_not_invalidate_costs_the_others_its_own_names_only() {
    let server = RedisServer::start();
    let others: Vec<Cache> = (0..4).map(|_| cache(&server.url())).collect();
    for other in &others {
        read_hot(other).await;
    }
    let denied = denied(&server);
    let announced = Messages::on(&server, "test:0:i");
    let named: Vec<Key> = (0..500).map(|i| format!("cold:{i}").into()).collect();
    assert!(denied.invalidate(&named).await.unwrap_err().is_refused());
    assert_eq!(misses_while_reading(&others).await, 0);
    // The others have carried it out, and have said so.
    for cache in others.iter().chain([&denied]) {
        until(async || cache.health().waiting == 0).await;
    }
    // At most an announcement, and an acknowledgement from each process, for each part of it.
    let published = announced.count();
    assert!(published < 150, "{published} messages");
    // And it is not repeated.
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(announced.count(), published);
}

#[tokio::test]
async fn names_that_did_not_fit_are_announced_as_buckets_of_names() {
    let server = RedisServer::start();
    let others: Vec<Cache> = (0..2).map(|_| cache(&server.url())).collect();
    for other in &others {
        read_hot(other).await;
    }
    server.set_user("ann", &["on", ">secret", "~*", "&*", "+@all", "-eval"]);
    let url = format!("redis://ann:secret@127.0.0.1:{}", server.port());
    let tiny = patient(&url).namespace("test").backlog_room(1_000);
    let denied = tiny.build().unwrap();
    let named: Vec<Key> = (0..300).map(|i| format!("cold:{i}").into()).collect();
    others[0].set("cold:299", &1, Options::new()).await.unwrap();
    assert!(denied.invalidate(&named).await.unwrap_err().is_refused());
    assert!(denied.health().overflowed);
    assert_eq!(others[1].get::<i32>("cold:299").await.unwrap(), None);
    // A bucket has one name of sixteen million.
    assert!(misses_while_reading(&others).await <= 1);
    until(async || others.iter().all(|cache| cache.health().waiting == 0)).await;
    until(async || !others.iter().any(|cache| cache.health().overflowed)).await;
    let left = server.keys();
    assert!(!left.contains(&"test:e:cold:299".to_owned()), "{left:?}");
}
