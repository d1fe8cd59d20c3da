//! A server that is found through sentinels.

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Error, Options, Status, Tls};
use cache_tests::{Authority, RedisServer, Sentinels, Validity, until, until_blocking};
use tokio::runtime::{self, Runtime};

fn builder(url: &str) -> CacheBuilder {
    // An attempt to connect to a server that stands still ends soon.
    Cache::builder()
        .url(url)
        .op_timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(2))
}

fn cache(url: &str) -> Cache {
    builder(url).build().unwrap()
}

/// Checks that a cache loads, serves and invalidates.
async fn check_serves(cache: &Cache) {
    cache.ping().await.unwrap();
    for _ in 0..2 {
        let load = async { Ok::<_, ()>(7) };
        let options = Options::new().tag("numbers");
        assert_eq!(cache.get_or_load("seven", options, load).await, Ok(7));
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.loads, stats.errors), (1, 1, 0));
    cache.invalidate(["numbers"]).await.unwrap();
    assert_eq!(cache.get::<i32>("seven").await.unwrap(), None);
    assert!(cache.health().status.is_working());
}

/// Reads a number through a cache until it is a hit.
async fn until_hit(cache: &Cache) {
    let before = cache.stats().hits;
    until(async || {
        let load = async { Ok::<_, ()>(7) };
        let loaded = cache.get_or_load("hit", Options::new(), load).await;
        assert_eq!(loaded, Ok(7));
        cache.stats().hits > before
    })
    .await;
}

fn check_message(error: &Error, parts: &[&str]) {
    let error = error.to_string();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

async fn complaint(url: &str) -> (Error, Status) {
    let cache = cache(url);
    let error = cache.ping().await.unwrap_err();
    (error, cache.health().status)
}

#[tokio::test]
async fn a_cache_works_through_sentinels() {
    let set = Sentinels::start();
    let url = set.url();
    check_serves(&cache(&url)).await;
    for scheme in ["valkey-sentinel", "redis+sentinel"] {
        check_serves(&cache(&url.replace("redis-sentinel", scheme))).await;
    }
    let other_database = cache(&format!("{url}/3"));
    other_database.set("a", &1, Options::new()).await.unwrap();
    let [primary, _] = set.servers();
    let info: String = primary.query(&["INFO", "keyspace"]);
    assert!(info.contains("db3:"), "{info}");
}

#[tokio::test]
async fn servers_and_sentinels_have_passwords_of_their_own() {
    let set = Sentinels::builder()
        .password("servers")
        .sentinel_password("sentinels")
        .start();
    let url = set.url();
    check_serves(&cache(&url)).await;
    let user = format!("{url}&sentinel_user=default");
    check_serves(&cache(&user)).await;

    let (error, status) = complaint(&url.replace("=sentinels", "=wrong")).await;
    check_message(
        &error,
        &["WRONGPASS", "sentinel 127.0.0.1:", "`?sentinel_user="],
    );
    assert!(matches!(status, Status::Denied(_)), "{status:?}");
    // The password of the servers is not tried.
    let (error, status) = complaint(url.split('?').next().unwrap()).await;
    check_message(
        &error,
        &["NOAUTH", "sentinel 127.0.0.1:", "`?sentinel_user="],
    );
    assert!(matches!(status, Status::Denied(_)), "{status:?}");

    let (error, status) = complaint(&url.replace(":servers@", ":wrong@")).await;
    check_message(&error, &["WRONGPASS", " (main) refused"]);
    assert!(!error.to_string().contains("sentinel"), "{error}");
    assert!(matches!(status, Status::Denied(_)), "{status:?}");
}

#[tokio::test]
async fn a_user_of_sentinels_that_may_only_ask_for_the_address_is_enough() {
    let set = Sentinels::start();
    for sentinel in set.each() {
        let rules = [
            "on",
            ">secret",
            "-@all",
            "+auth",
            "+sentinel|get-master-addr-by-name",
        ];
        sentinel.set_user("asks", &rules);
    }
    let url = format!("{}?sentinel_user=asks&sentinel_password=secret", set.url());
    let cache = cache(&url);
    check_serves(&cache).await;
    set.fail_over();
    until_hit(&cache).await;
}

#[tokio::test]
async fn servers_and_sentinels_speak_tls() {
    let authority = Authority::new();
    let set = Sentinels::builder().tls(authority.sign_local()).start();
    let cache = cache(&set.url());
    check_serves(&cache).await;
    set.fail_over();
    until_hit(&cache).await;
}

#[tokio::test]
async fn sentinels_may_speak_no_tls_though_the_servers_do() {
    let set = Sentinels::builder()
        .tls(Authority::new().sign_local())
        .sentinels_without_tls()
        .start();
    check_serves(&cache(&set.url())).await;
}

#[tokio::test]
async fn a_tls_certificate_is_for_the_host_that_is_connected_to_or_for_the_name_that_is_set() {
    let authority = Authority::new();
    let certificate = authority.sign(&["cache.example.com"], Validity::Now);
    let set = Sentinels::builder().tls(certificate).start();
    let (error, _) = complaint(&set.url()).await;
    let parts = [
        "sentinel 127.0.0.1:",
        "and not for `127.0.0.1`",
        "`Tls::server_name`",
    ];
    check_message(&error, &parts);
    let named = Tls::new().server_name("cache.example.com");
    check_serves(&builder(&set.url()).tls(named).build().unwrap()).await;
}

#[tokio::test]
async fn a_service_that_the_sentinels_do_not_know_is_told() {
    let set = Sentinels::start();
    let (error, status) = complaint(&set.url().replace("/main", "/mian")).await;
    let parts = [
        "knows no service `mian`",
        "it knows `main`",
        "/mian refused",
    ];
    check_message(&error, &parts);
    assert!(matches!(status, Status::Denied(_)), "{status:?}");
}

#[tokio::test]
async fn a_server_that_is_no_sentinel_is_told() {
    let server = RedisServer::start();
    let url = format!("redis-sentinel://127.0.0.1:{}/main", server.port());
    let (error, _) = complaint(&url).await;
    check_message(&error, &["it is no sentinel", "`redis://`"]);
}

#[tokio::test]
async fn sentinels_that_are_away_are_told_and_found_again() {
    let mut set = Sentinels::start();
    let url = set.url();
    for sentinel in set.each_mut() {
        sentinel.kill();
    }
    let cache = cache(&url);
    let error = cache.ping().await.unwrap_err();
    check_message(
        &error,
        &["no primary is known", "refused", &set.hosts(1..2)],
    );
    let status = cache.health().status;
    assert!(matches!(status, Status::Unreachable(_)), "{status:?}");
    set.each_mut()[2].restart();
    until(async || cache.ping().await.is_ok()).await;
}

#[tokio::test]
async fn a_cache_works_while_its_sentinels_are_away() {
    let mut set = Sentinels::start();
    let cache = cache(&set.url());
    cache.ping().await.unwrap();
    for sentinel in set.each_mut() {
        sentinel.kill();
    }
    check_serves(&cache).await;
}

/// The limits are those that a program has by default.
#[tokio::test]
async fn a_sentinel_that_stands_still_delays_no_connection() {
    let set = Sentinels::start();
    set.each()[0].freeze();
    let cache = Cache::builder().url(set.url()).build().unwrap();
    until_hit(&cache).await;
    set.each()[1].freeze();
    let [primary, _] = set.servers();
    let () = primary.query(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until_hit(&cache).await;
}

#[tokio::test]
async fn a_cache_goes_on_with_the_replica_that_is_promoted() {
    let set = Sentinels::start();
    let cache = cache(&set.url());
    check_serves(&cache).await;
    let [first, second] = set.servers();
    set.fail_over();
    until_hit(&cache).await;
    assert!(set.name(second), "{:?}", second.port());
    set.fail_over();
    assert!(set.name(first));
    until_hit(&cache).await;
}

#[tokio::test]
async fn a_cache_goes_on_after_the_primary_was_killed() {
    let soon = Duration::from_millis(500);
    let mut set = Sentinels::builder().down_after(soon).start();
    set.until_ready();
    let cache = Cache::builder().url(set.url()).build().unwrap();
    until_hit(&cache).await;
    set.servers_mut()[0].kill();
    until(async || set.name(&set.servers()[1])).await;
    until_hit(&cache).await;
}

/// A sentinel that was cut off, and an old primary that does not know of the failover either.
struct Stale {
    set: Sentinels,
    cut_off: Sentinels,
}

impl Stale {
    fn start() -> Self {
        let set = Sentinels::start();
        set.fail_over();
        let cut_off = Sentinels::start();
        Self { set, cut_off }
    }

    fn url(&self) -> String {
        let hosts = format!("{},{}", self.cut_off.hosts(0..1), self.set.hosts(0..2));
        self.set.url_of(&hosts)
    }

    async fn until_stored_on_the_new(&self, cache: &Cache) {
        let new = &self.set.servers()[1];
        until(async || {
            // It fails if its connection ends meanwhile.
            let _ = cache.set("a", &1, Options::new()).await;
            new.keys().contains(&"cache:e:a".to_owned())
        })
        .await;
    }
}

#[tokio::test]
async fn a_sentinel_that_was_cut_off_is_not_believed() {
    let stale = Stale::start();
    let old = &stale.cut_off.servers()[0];
    let cache = cache(&stale.url());
    // On a busy machine, the others may answer late at first.
    stale.until_stored_on_the_new(&cache).await;
    old.flush_all();
    for i in 0..10 {
        let () = stale.set.servers()[1].query(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let key = format!("{i}");
        until(async || cache.set(&*key, &1, Options::new()).await.is_ok()).await;
    }
    assert_eq!(old.keys(), [""; 0]);
}

#[tokio::test]
async fn a_process_does_not_go_back_to_an_old_primary() {
    let mut stale = Stale::start();
    let cache = cache(&stale.url());
    stale.until_stored_on_the_new(&cache).await;
    stale.cut_off.servers()[0].flush_all();
    for sentinel in stale.set.each_mut() {
        sentinel.kill();
    }
    let () = stale.set.servers()[1].query(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let error = cache.ping().await.unwrap_err();
    check_message(&error, &["which has been replaced"]);
    assert!(cache.set("a", &1, Options::new()).await.is_err());
    assert_eq!(stale.cut_off.servers()[0].keys(), [""; 0]);
    stale.set.each_mut()[1].restart();
    until(async || cache.ping().await.is_ok()).await;
}

/// An old primary that does not know that it was replaced goes on to answer. No request shows the failover.
#[tokio::test]
async fn a_connection_to_a_primary_that_was_replaced_ends() {
    let stale = Stale::start();
    let url = stale.set.url_of(&format!(
        "{},{}",
        stale.cut_off.hosts(0..1),
        stale.set.hosts(0..1)
    ));
    // Nothing but the sentinel that was cut off answers at first.
    stale.set.each()[0].freeze();
    let cache = cache(&url);
    cache.set("a", &1, Options::new()).await.unwrap();
    let old = &stale.cut_off.servers()[0];
    assert!(old.keys().contains(&"cache:e:a".to_owned()));
    stale.set.each()[0].thaw();
    stale.until_stored_on_the_new(&cache).await;
}

/// Connections to sentinels are kept, and belong to the runtime that made them.
#[test]
fn each_runtime_has_contacts_of_its_own() {
    let set = Sentinels::start();
    let cache = cache(&set.url());
    let clients = || {
        let list: String = set.each()[0].query(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        list.lines().count()
    };
    let before = clients();
    for _ in 0..3 {
        runtime().block_on(check_pings(&cache));
    }
    until_blocking(|| clients() == before);
    let runtime = runtime();
    runtime.block_on(check_pings(&cache));
    assert_eq!(clients(), before + 1);
    drop(cache);
    runtime.block_on(until(async || clients() == before));
}

fn runtime() -> Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

async fn check_pings(cache: &Cache) {
    for _ in 0..3 {
        cache.ping().await.unwrap();
    }
}

#[test]
fn mistakes_in_a_url_say_what_to_write() {
    for (url, parts) in [
        (
            "redis-sentinel://h1,h2",
            ["names no service", "/service/database`"],
        ),
        (
            "redis-sentinel://h1,,h2/main",
            ["`` is no host", "host1:26379"],
        ),
        (
            "redis-sentinel://h1:x,h2/main",
            ["`h1:x` is no host", "host1:26379"],
        ),
        (
            "redis-sentinel://::1/main",
            ["`::1` is no host", "host1:26379"],
        ),
        (
            "redis-sentinel:h1/main",
            ["it has no `//`", "redis-sentinel://"],
        ),
        (
            "redis-sentinel://h1/main/x",
            ["`x` is no number", "/database`"],
        ),
        (
            "redis-sentinel://h1/ma in",
            ["the name of a service", "/service/"],
        ),
        (
            "redis-sentinel://:a/s3cret@h1/main",
            ["`%2F`", "redis-sentinel://"],
        ),
        (
            "redis-sentinel://h1/0#main",
            ["nothing behind a `#`", "/service/"],
        ),
        (
            "redis-sentinel://h1/main?ca=/ca.pem",
            ["for TLS", "`rediss-sentinel://`"],
        ),
        (
            "redis-sentinel://h1/main?sentinel_pass=s3cret",
            ["`sentinel_pass` is no", "`sentinel_password`"],
        ),
        (
            "redis-sentinel://h1/main?sentinel_user=a",
            ["`sentinel_password` too", "`sentinel_user`"],
        ),
        (
            "redis-sentinel://h1/main?sentinel_tls=yes",
            ["`rediss-sentinel://`", "sentinel_tls"],
        ),
        (
            "redis-sentinel://h1/main?sentinel_tls=on",
            ["`yes` or `no`", "sentinel_tls"],
        ),
    ] {
        let error = Cache::builder().url(url).build().unwrap_err();
        assert!(error.is_config(), "{error}");
        check_message(&error, &parts);
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    for url in [
        "redis-sentinel://h1,h2:7000,[::1],[::1]:7000/main",
        "rediss+sentinel://ann:p%40ss@h1/my.main-2_x/3?sentinel_tls=no",
    ] {
        Cache::builder().url(url).build().unwrap();
    }
}
