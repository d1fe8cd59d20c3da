//! Upstash's HTTP interface: what is served over it, what holds while its replicas lag, and what is said
//! where it fails.

use std::convert::Infallible;
use std::pin::pin;
use std::process::Command;
use std::time::{Duration, Instant};

use cache_runtime::sabotage::{self, Rule};
use cache_runtime::{Cache, CacheBuilder, Error, Options, Status};
use cache_tests::{Fault, LIMIT, RedisServer, Upstash, patient, poll_once, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::gated::Row;

fn cache(emulator: &Upstash) -> Cache {
    builder(emulator).build().unwrap()
}

fn builder(emulator: &Upstash) -> CacheBuilder {
    patient(&emulator.url()).namespace("test").jitter(0.0)
}

/// A cache whose calls give up soon, and not on a busy machine.
fn impatient(emulator: &Upstash) -> Cache {
    let soon = Duration::from_secs(1);
    builder(emulator).op_timeout(soon).build().unwrap()
}

async fn load(cache: &Cache, value: u64) -> u64 {
    let load = async { Ok::<_, Infallible>(value) };
    let options = Options::new().tag("rows");
    let Ok(value) = cache.get_or_load("row", options, load).await;
    value
}

#[tokio::test]
async fn names_and_values_of_any_length_come_back_as_they_were() {
    let emulator = Upstash::start();
    let cache = cache(&emulator);
    let key = "it's \"quoted\" \\ \u{1f600} größe \u{0} \n\t";
    let value = "\u{1f600}\"\\\u{0}".repeat(200_000);
    let options = || Options::new().tag(key);
    cache.set(key, &value, options()).await.unwrap();
    assert_eq!(cache.get::<String>(key).await.unwrap(), Some(value));
    let bytes: Vec<u8> = (0..=255).collect();
    cache.set(key, &bytes, options()).await.unwrap();
    assert_eq!(cache.get::<Vec<u8>>(key).await.unwrap(), Some(bytes));
    cache.invalidate([key]).await.unwrap();
    assert!(!cache.exists(key).await.unwrap());
}

#[tokio::test]
async fn it_works_over_tls() {
    let emulator = Upstash::start_with_tls();
    let cache = cache(&emulator);
    assert_eq!(load(&cache, 1).await, 1);
    assert_eq!(load(&cache, 2).await, 1);
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!(load(&cache, 3).await, 3);
    assert!(cache.health().status.is_working());
}

#[tokio::test]
async fn a_hit_is_one_command_and_a_miss_a_few_more() {
    let emulator = Upstash::start();
    let cache = cache(&emulator);
    cache.ping().await.unwrap();
    let mut before = (emulator.requests(), emulator.commands());
    let mut costs = || {
        let now = (emulator.requests(), emulator.commands());
        let costs = (now.0 - before.0, now.1 - before.1);
        before = now;
        costs
    };
    load(&cache, 1).await;
    assert_eq!(costs(), (3, 4), "look, lease and version, fill");
    load(&cache, 1).await;
    assert_eq!(costs(), (1, 1));
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!(costs(), (1, 2));
}

#[tokio::test]
async fn a_process_sees_what_it_wrote_while_replicas_lag() {
    let emulator = Upstash::start();
    let cache = cache(&emulator);
    emulator.lag();
    assert_eq!(load(&cache, 1).await, 1);
    assert_eq!(load(&cache, 2).await, 1, "a hit");
    emulator.lag();
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!(load(&cache, 3).await, 3);
    emulator.lag();
    cache.set("row", &4_u64, Options::new()).await.unwrap();
    assert_eq!(cache.get("row").await.unwrap(), Some(4_u64));
    cache.delete("row").await.unwrap();
    assert!(!cache.exists("row").await.unwrap());
    assert_eq!(cache.ttl("row").await.unwrap(), None);
    cache.set("row", &5_u64, Options::new()).await.unwrap();
    emulator.lag();
    cache.clear().await.unwrap();
    assert_eq!(cache.get::<u64>("row").await.unwrap(), None);
}

/// A replica would not list it.
#[tokio::test]
async fn clear_removes_what_no_replica_shows_yet() {
    let emulator = Upstash::start();
    let (one, other) = (cache(&emulator), cache(&emulator));
    emulator.lag();
    other.set("row", &1, Options::new()).await.unwrap();
    one.clear().await.unwrap();
    for cache in [one, other] {
        assert_eq!(cache.get::<i32>("row").await.unwrap(), None);
    }
}

/// In a process of its own, since the mechanism is taken away from all caches of a process.
#[test]
fn without_the_token_a_process_reads_what_it_has_invalidated() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "--ignored",
        "upstash::in_a_process_without_the_token",
    ]);
    let output = command.output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(output.contains("1 passed"), "{output}");
}

#[tokio::test]
#[ignore = "takes a mechanism away: the test above runs it in a process of its own"]
async fn in_a_process_without_the_token() {
    let emulator = Upstash::start();
    let cache = cache(&emulator);
    load(&cache, 1).await;
    let _without = sabotage::without(Rule::SyncToken);
    emulator.lag();
    cache.invalidate(["rows"]).await.unwrap();
    assert_eq!(load(&cache, 2).await, 1);
}

/// What is documented: another process may read what was invalidated, until its replica has caught up,
/// and at most until the ttl ends.
#[tokio::test]
async fn another_process_may_read_what_was_invalidated_until_its_ttl_ends() {
    let emulator = Upstash::start();
    let (writer, reader) = (cache(&emulator), cache(&emulator));
    let ttl = Duration::from_secs(3);
    let read = async |cache: &Cache, value: u64| {
        let options = Options::new().tag("rows").ttl(ttl);
        let load = async { Ok::<_, Infallible>(value) };
        let Ok(value) = cache.get_or_load("row", options, load).await;
        value
    };
    assert_eq!(read(&writer, 1).await, 1);
    let stored = Instant::now();
    emulator.lag();
    writer.invalidate(["rows"]).await.unwrap();
    assert_eq!(read(&writer, 2).await, 2);
    assert_eq!(read(&reader, 3).await, 1, "the replica shows the old entry");
    until(async || read(&reader, 3).await == 2).await;
    assert!(stored.elapsed() >= ttl / 2 && stored.elapsed() < ttl + LIMIT / 2);

    // A replica that catches up ends it sooner.
    emulator.lag();
    writer.invalidate(["rows"]).await.unwrap();
    emulator.lag();
    assert_eq!(read(&reader, 4).await, 4);
}

/// What is stored is right whichever replica a load began from: scripts run where all writes are.
#[tokio::test]
async fn nothing_stale_is_stored_by_a_process_whose_replica_lags() {
    let emulator = Upstash::start();
    let (writer, reader) = (cache(&emulator), cache(&emulator));
    let row = Row::new(&reader);
    emulator.lag();
    let reading = row.reader();
    row.load_started().await;
    row.set_silently(2);
    writer.invalidate(["row"]).await.unwrap();
    row.end_loads();
    // It may return what it read before the write, and must not store it.
    reading.await.unwrap();
    row.set_silently(3);
    assert_eq!(writer.get::<u64>("row").await.unwrap(), None);
}

#[tokio::test]
async fn a_writer_that_hangs_holds_others_up_for_one_deadline() {
    let emulator = Upstash::start();
    let cache = impatient(&emulator);
    cache.set("a", &1, Options::new()).await.unwrap();
    emulator.set_fault(Some(Fault::HangWrites));
    let begun = Instant::now();
    let hung = cache.set("b", &2, Options::new()).await.unwrap_err();
    assert!(hung.is_timeout(), "{hung}");
    assert!(begun.elapsed() < LIMIT / 2);
    emulator.set_fault(None);
    until(async || cache.set("c", &3, Options::new()).await.is_ok()).await;
    assert_eq!(cache.get("a").await.unwrap(), Some(1));
}

#[tokio::test]
async fn reads_go_on_beside_a_write_that_hangs() {
    let emulator = Upstash::start();
    let cache = cache(&emulator);
    cache.set("a", &1, Options::new()).await.unwrap();
    emulator.set_fault(Some(Fault::HangWrites));
    let mut hung = pin!(cache.set("b", &2, Options::new()));
    let mut reads = 0;
    until(async || {
        assert!(poll_once(hung.as_mut()).is_pending());
        assert_eq!(cache.get("a").await.unwrap(), Some(1));
        reads += 1;
        reads == 20
    })
    .await;
}

/// It was polled once, and neither polled again nor dropped.
#[tokio::test]
async fn a_writer_that_is_set_aside_holds_nobody_up() {
    let emulator = Upstash::start();
    let cache = impatient(&emulator);
    cache.set("a", &1, Options::new()).await.unwrap();
    emulator.set_fault(Some(Fault::HangWrites));
    let mut aside = pin!(cache.set("b", &2, Options::new()));
    let requests = emulator.requests();
    until(async || {
        assert!(poll_once(aside.as_mut()).is_pending());
        emulator.requests() > requests
    })
    .await;
    // The emulator goes on to keep that request.
    until(async || {
        emulator.set_fault(None);
        let set = cache.set("c", &3, Options::new()).await;
        set.is_ok()
    })
    .await;
    assert_eq!(cache.get("c").await.unwrap(), Some(3));
}

#[tokio::test]
async fn an_invalidation_whose_answer_is_lost_is_repeated() {
    let emulator = Upstash::start();
    let cache = impatient(&emulator);
    load(&cache, 1).await;
    emulator.set_fault(Some(Fault::LoseAnswersOfWrites));
    cache.invalidate(["rows"]).await.unwrap_err();
    assert_eq!(cache.health().waiting, 1);
    assert_eq!(load(&cache, 2).await, 2);
    emulator.set_fault(None);
    cache.flush(LIMIT).await.unwrap();
    until(async || {
        load(&cache, 3).await;
        cache.get::<u64>("row").await.unwrap() == Some(3)
    })
    .await;
}

#[tokio::test]
async fn connections_that_were_closed_while_idle_are_replaced() {
    let emulator = Upstash::start();
    let cache = cache(&emulator);
    load(&cache, 1).await;
    for value in 1..20 {
        emulator.close_connections();
        cache.set("a", &value, Options::new()).await.unwrap();
        emulator.close_connections();
        assert_eq!(cache.get("a").await.unwrap(), Some(value));
    }
    assert_eq!(cache.stats().errors, 0);
    assert!(cache.health().status.is_working());
}

#[tokio::test]
async fn nothing_is_left_of_a_cache_that_is_dropped() {
    let emulator = Upstash::start();
    let cache = cache(&emulator);
    load(&cache, 1).await;
    assert!(emulator.open_connections() > 0);
    drop(cache);
    until(async || emulator.open_connections() == 0).await;
}

#[test]
fn a_runtime_that_stands_still_with_a_write_under_way_holds_up_no_other() {
    let emulator = Upstash::start();
    let cache = impatient(&emulator);
    let runtime = || Builder::new_current_thread().build().unwrap();
    let [one, other] = [runtime(), runtime()];
    one.block_on(load(&cache, 1));
    other.block_on(load(&cache, 1));
    let mut stood_still = 0;
    for value in 2..20 {
        let mut writing = Box::pin(cache.set("a", &value, Options::new()));
        let is_pending = one.block_on(async { poll_once(writing.as_mut()).is_pending() });
        // If this thread was held up, the answer may be there.
        stood_still += u64::from(is_pending);
        let set = cache.set("b", &value, Options::new());
        other.block_on(set).unwrap();
        assert_eq!(other.block_on(cache.get("b")).unwrap(), Some(value));
        drop(writing);
    }
    assert!(stood_still > 9, "{stood_still}");
    assert_eq!(cache.stats().errors, 0);
}

/// What another program, or a connection that carries bytes, has left there.
#[tokio::test]
async fn what_is_not_of_this_driver_is_replaced_or_left_alone_and_never_served() {
    let emulator = Upstash::start();
    let over_http = cache(&emulator);
    let over_tcp = patient(&emulator.server().url())
        .namespace("test")
        .build()
        .unwrap();
    let set = |cache: Cache, value: u64| async move {
        cache.set("row", &value, Options::new()).await.unwrap();
    };
    set(over_tcp.clone(), 1).await;
    assert_eq!(load(&over_http, 2).await, 2);
    assert_eq!(load(&over_http, 3).await, 2, "a hit");
    assert_eq!(load(&over_tcp, 4).await, 4);
    assert_eq!(load(&over_http, 5).await, 5);
    over_tcp.invalidate(["row"]).await.unwrap();
    assert_eq!(over_http.get::<u64>("row").await.unwrap(), None);

    let mut connection = emulator.server().connection();
    let foreign: &[u8] = b"\xff\xfe of another program";
    let mut put = redis::cmd("SET");
    put.arg("test:e:row").arg(foreign);
    put.exec(&mut connection).unwrap();
    let begun = Instant::now();
    assert_eq!(load(&over_http, 6).await, 6);
    assert!(begun.elapsed() < LIMIT, "it looks no further");
    set(over_http.clone(), 7).await;
    assert_eq!(over_http.get("row").await.unwrap(), Some(7_u64));
}

/// What a cache says that cannot use its server. Its calls are misses.
async fn complaint(builder: CacheBuilder) -> Error {
    let cache = builder.build().unwrap();
    assert_eq!(load(&cache, 7).await, 7);
    let error = cache.ping().await.unwrap_err();
    match cache.health().status {
        Status::Denied(_) => assert!(error.is_refused(), "{error}"),
        _ => assert!(error.is_unavailable(), "{error}"),
    }
    assert!(!format!("{error} {error:?} {cache:?}").contains("s3cret"));
    error
}

async fn check_complaint(builder: CacheBuilder, part: &str) -> Error {
    let error = complaint(builder).await;
    let text = error.to_string();
    assert!(text.contains(part), "`{part}` is not in: {text}");
    error
}

#[tokio::test]
async fn a_wrong_token_is_told() {
    let emulator = Upstash::start();
    let url = emulator.url().replace("AXs3cret", "AXs3cret2");
    let error = check_complaint(patient(&url), "WRONGPASS").await;
    assert!(error.is_refused(), "{error}");
}

#[tokio::test]
async fn what_a_server_answers_that_is_none_of_upstash_is_told() {
    for (status, body, location, part, is_refused) in [
        (
            200,
            "<html>Hello</html>",
            "/",
            "`<html>Hello</html>`",
            false,
        ),
        (
            308,
            "",
            "https://other.example.com",
            "https://other.example.com",
            false,
        ),
        (404, "", "/", "404 Not Found", false),
        (500, r#"{"error":"on fire"}"#, "/", "on fire", false),
        (429, r#"{"error":"slow down"}"#, "/", "slow down", true),
        (403, "AXs3cret=", "/", "the token is not accepted", true),
        (
            200,
            r#"[{"error":"LOADING data"}]"#,
            "/",
            "BusyLoading",
            false,
        ),
    ] {
        let emulator = Upstash::start();
        emulator.set_fault(Some(Fault::Answer {
            status,
            body,
            location,
        }));
        let error = check_complaint(builder(&emulator), part).await;
        assert_eq!(error.is_refused(), is_refused, "{error}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_hangs_or_is_away_is_told() {
    let emulator = Upstash::start();
    emulator.set_fault(Some(Fault::Close));
    check_complaint(builder(&emulator), "if it expects TLS").await;
    emulator.set_fault(Some(Fault::Hang));
    let soon = Duration::from_millis(50);
    let hung = builder(&emulator).op_timeout(soon).connect_timeout(soon);
    assert!(complaint(hung).await.is_timeout());
    check_complaint(patient("upstash+http://AXs3cret@127.0.0.1:1"), "refused").await;
    check_complaint(
        patient("upstash://AXs3cret@no-such-host.invalid"),
        "no-such-host",
    )
    .await;
}

#[tokio::test]
async fn a_scheme_that_is_not_that_of_the_port_is_told() {
    let encrypted = Upstash::start_with_tls();
    let (url, token) = encrypted.rest_url_and_token();
    let plain = url.replace("https://", &format!("upstash+http://{token}@"));
    check_complaint(patient(&plain), "if it expects TLS, write `upstash://`").await;
    let untrusted = url.replace("https://", &format!("upstash://{token}@"));
    check_complaint(
        patient(&untrusted),
        "not signed by an authority that is trusted",
    )
    .await;

    let plain = Upstash::start();
    let url = plain.url().replace("upstash+http", "upstash");
    let error = complaint(patient(&url).connect_timeout(Duration::from_secs(1))).await;
    assert!(error.to_string().contains("`upstash+http://`"), "{error}");

    let redis = RedisServer::start();
    let url = format!("upstash+http://AXs3cret@127.0.0.1:{}", redis.port());
    check_complaint(patient(&url), "does not answer as an HTTP server does").await;
}

/// An answer has no end, or a length that no program can have room for.
#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("upstash+http://AXs3cret@{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let spaces = vec![b' '; 1 << 16];
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    sent = stream.write_all(&spaces).await;
                }
            });
        }
    });
    check_complaint(patient(&url), "longer than 64 MiB").await;
}
