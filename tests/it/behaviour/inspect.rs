//! What is told of a name: what is stored there, and why it would be served or not.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::{
    BreakerState, Cache, Codec, Holds, Options, ShownValue, StoreKind, TagVersion,
    cache_invalidate, cached,
};
use cache_tests::{RedisServer, until};

use super::{Recorded, Subject, builder, is_in_process, on_every_backend};

on_every_backend! {
    an_entry_is_shown_with_all_that_is_known_of_it
    a_name_that_is_invalidated_is_told_from_one_that_never_was
    leases_and_fences_are_told_apart
    an_entry_past_its_ttl_says_so_and_a_failed_load_too
    a_value_is_replaced_by_json_where_it_is_no_rust_value
}

const MINUTE: Duration = Duration::from_secs(60);

async fn an_entry_is_shown_with_all_that_is_known_of_it(Recorded { cache, events }: Recorded) {
    let options = Options::new()
        .ttl(MINUTE)
        .tag("users")
        .tag("user:'<script>'");
    let name = "it's <script>\u{1f600}\n";
    cache
        .set(name, &vec!["a".to_owned()], options)
        .await
        .unwrap();
    events.take();

    let it = cache.inspect(name).await.unwrap();
    assert_eq!(
        (it.name.as_str(), it.holds, it.would_be_served),
        (name, Holds::Entry, true),
        "{it:?}"
    );
    assert!(
        it.why
            .starts_with("It would be served: it is valid, and fresh for another "),
        "{}",
        it.why
    );
    let entry = it.entry.unwrap();
    let text = "[\n  \"a\"\n]".to_owned();
    assert!(
        matches!(&entry.value, ShownValue::Json { text: shown, .. } if *shown == text),
        "{entry:?}"
    );
    assert!(
        entry
            .remaining
            .is_some_and(|it| it <= MINUTE && it > MINUTE / 2),
        "{entry:?}"
    );
    assert_eq!(entry.size, (!is_in_process(&cache)).then_some(5));
    assert_eq!(entry.schema, 0);
    let tags: Vec<_> = entry
        .tags
        .iter()
        .map(|tag| (tag.name.as_str(), tag.is_valid))
        .collect();
    assert_eq!(tags, [("users", true), ("user:'<script>'", true)]);
    assert!(
        entry
            .tags
            .iter()
            .all(|tag| tag.now == TagVersion::Number(tag.stored))
    );
    assert!(matches!(
        cache.inspect("users").await.unwrap().as_tag,
        Some(TagVersion::Number(_))
    ));

    // Nothing was counted, and the cache's listener heard of nothing.
    assert_eq!(
        (
            cache.stats().hits,
            cache.stats().misses,
            cache.stats().errors
        ),
        (0, 0, 0)
    );
    assert!(events.take().is_empty());

    let state = cache.servers();
    assert_eq!(state.store == StoreKind::InProcess, is_in_process(&cache));
    assert!(
        state
            .nodes
            .iter()
            .any(|node| node.breaker == BreakerState::Closed)
            || is_in_process(&cache)
    );
    assert!(state.status.is_working() && state.journal == 0);
}

async fn a_name_that_is_invalidated_is_told_from_one_that_never_was(cache: Cache) {
    let it = cache.inspect("user:42").await.unwrap();
    assert_eq!((it.holds, it.would_be_served), (Holds::Nothing, false));
    assert_eq!(
        it.why,
        "There is no entry under this name: a call would load."
    );
    assert!(it.entry.is_none() && it.failed.is_none());

    let options = Options::new().tag("users").tag("ones");
    cache.set("user:42", &1, options).await.unwrap();
    cache.invalidate(["ones"]).await.unwrap();
    let it = cache.inspect("user:42").await.unwrap();
    assert_eq!((it.holds, it.would_be_served), (Holds::Entry, false));
    assert_eq!(
        it.why,
        "It would not be served: the tag `ones` was invalidated after it was loaded."
    );
    let tags = it.entry.unwrap().tags;
    assert!(tags[0].is_valid && !tags[1].is_valid);

    cache.invalidate(["user:42"]).await.unwrap();
    assert_eq!(
        cache.inspect("user:42").await.unwrap().holds,
        Holds::Nothing
    );
    assert!(cache.inspect("").await.unwrap_err().is_key());
}

#[cache_invalidate("user:<id>", "users", fence = "60s", cache = cache)]
async fn update(id: u64, cache: &Cache, body: impl Future<Output = ()> + Send) {
    body.await;
}

async fn leases_and_fences_are_told_apart(cache: Cache) {
    let load = async {
        let it = cache.inspect("user:42").await.unwrap();
        assert_eq!(it.holds, Holds::Lease);
        assert_eq!(
            it.why,
            "There is no entry yet: a call of this process is loading it."
        );
        Ok::<_, ()>(1)
    };
    cache
        .get_or_load("user:42", Options::new(), load)
        .await
        .unwrap();
    cache
        .set("user:7", &1, Options::new().tag("users"))
        .await
        .unwrap();
    update(42, &cache, async {
        let it = cache.inspect("user:42").await.unwrap();
        assert!(
            it.why.contains("a writer's fence stands around this name"),
            "{}",
            it.why
        );
        assert!(!it.would_be_served);
        let it = cache.inspect("user:7").await.unwrap();
        assert!(
            it.why
                .contains("a writer's fence stands around the tag `users`"),
            "{}",
            it.why
        );
        assert_eq!(it.entry.unwrap().tags[0].now, TagVersion::Fence);
        assert_eq!(
            cache.inspect("users").await.unwrap().as_tag,
            Some(TagVersion::Fence)
        );
        if is_in_process(&cache) {
            assert_eq!(cache.servers().fences, Some(2));
        }
    })
    .await;
    assert_eq!(cache.inspect("users").await.unwrap().holds, Holds::Nothing);
}

#[cached(
    key = "page", ttl = 60, stale_if_error = "1h", retry_after = "1h", cache = cache, skip(cache, works)
)]
async fn page(cache: &Cache, works: &AtomicBool) -> Result<u32, String> {
    works
        .load(SeqCst)
        .then_some(7)
        .ok_or_else(|| "it is away".to_owned())
}

async fn an_entry_past_its_ttl_says_so_and_a_failed_load_too(Recorded { cache, .. }: Recorded) {
    let works = AtomicBool::new(true);
    page(&cache, &works).await.unwrap();
    let it = cache.inspect("page").await.unwrap();
    assert!(it.would_be_served && it.failed.is_none(), "{it:?}");
    assert!(it.entry.unwrap().age.is_some());

    cache.expire(["page"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let it = cache.inspect("page").await.unwrap();
    assert!(!it.would_be_served && it.holds == Holds::Entry, "{it:?}");
    assert!(
        it.why.contains("its ttl ended") && it.why.contains("in the place of an error"),
        "{}",
        it.why
    );
    assert_eq!(it.entry.unwrap().remaining, Some(Duration::ZERO));

    works.store(false, SeqCst);
    assert_eq!(page(&cache, &works).await, Ok(7));
    until(async || cache.inspect("page").await.unwrap().failed.is_some()).await;
    let failed = cache.inspect("page").await.unwrap().failed.unwrap();
    assert!(failed.is_excused, "{failed:?}");
    assert!(failed.again_in.is_some_and(|it| it > MINUTE), "{failed:?}");
}

async fn a_value_is_replaced_by_json_where_it_is_no_rust_value(
    Recorded { cache, events }: Recorded,
) {
    if is_in_process(&cache) {
        let error = cache
            .set_json("user:1", "1", Options::new())
            .await
            .unwrap_err();
        assert!(
            error.is_codec() && error.to_string().contains("Rust value"),
            "{error}"
        );
        return;
    }
    cache
        .set_json("user:1", " 7 ", Options::new().tag("users").ttl(MINUTE))
        .await
        .unwrap();
    assert_eq!(cache.get::<u32>("user:1").await.unwrap(), Some(7));
    assert_eq!(events.take(), ["fill user:1 ttl=60s", "hit user:1"]);
    // The tags stay.
    cache.set_json("user:1", "8", Options::new()).await.unwrap();
    assert_eq!(cache.get::<u32>("user:1").await.unwrap(), Some(8));
    cache.invalidate(["users"]).await.unwrap();
    assert_eq!(cache.get::<u32>("user:1").await.unwrap(), None);
    assert!(
        cache
            .set_json("user:1", "{", Options::new())
            .await
            .unwrap_err()
            .is_codec()
    );
    let too_large = format!("\"{}\"", "x".repeat(5 << 20));
    assert!(
        cache
            .set_json("user:1", &too_large, Options::new())
            .await
            .unwrap_err()
            .is_codec()
    );
}

fn recorded(url: &str) -> Cache {
    let Recorded { cache, .. } = Subject::new(builder(url));
    cache
}

#[tokio::test]
async fn each_codec_is_shown_as_far_as_it_describes_itself() {
    let server = RedisServer::start();
    let cache = recorded(&server.url());
    let value = vec![(1_u8, "a".repeat(2000))];
    let show = async |codec| {
        let options = Options::new().codec(codec);
        cache.set("a", &value, options).await.unwrap();
        cache.inspect("a").await.unwrap().entry.unwrap().value
    };
    for (codec, name) in [
        (Codec::JSON, "JSON"),
        (Codec::MESSAGE_PACK, "MessagePack"),
        (Codec::JSON.lz4(), "JSON"),
        (Codec::MESSAGE_PACK.zstd(3), "MessagePack"),
    ] {
        let shown = show(codec).await;
        let ShownValue::Json { text, stored_as } = shown else {
            panic!("{shown:?}");
        };
        assert_eq!(stored_as, name);
        assert!(text.starts_with("[\n  [\n    1,\n    \"aaa"), "{text}");
    }
    let shown = show(Codec::POSTCARD).await;
    assert!(
        matches!(&shown, ShownValue::Bytes { preview, length, .. } if preview.len() == 512 && *length == 2004),
        "{shown:?}"
    );
    cache
        .set("a", &vec![1_u8, 255], Options::new())
        .await
        .unwrap();
    let shown = cache.inspect("a").await.unwrap().entry.unwrap().value;
    assert!(
        matches!(&shown, ShownValue::Bytes { preview, .. } if preview == "01ff"),
        "{shown:?}"
    );
    assert!(
        cache
            .set_json("a", "[1]", Options::new())
            .await
            .unwrap_err()
            .is_codec()
    );
    cache.set("a", &None::<u8>, Options::new()).await.unwrap();
    assert_eq!(cache.get::<Option<u8>>("a").await.unwrap(), Some(None));
}

#[tokio::test]
async fn what_only_a_server_can_show_is_told() {
    let server = RedisServer::start();
    let cache = recorded(&server.url());
    cache
        .set("user:1", &1, Options::new().tag("users"))
        .await
        .unwrap();

    let slot = server
        .keys()
        .into_iter()
        .find(|key| key.contains(":e:"))
        .unwrap();
    let version = server
        .keys()
        .into_iter()
        .find(|key| key.contains(":v:"))
        .unwrap();
    let () = server.query(&["DEL", &version]);
    let why = cache.inspect("user:1").await.unwrap().why;
    assert!(
        why.contains("has lost the version of the tag `users`"),
        "{why}"
    );

    let () = server.query(&["SET", &slot, "what is this?"]);
    let it = cache.inspect("user:1").await.unwrap();
    assert_eq!(it.holds, Holds::Unreadable);

    // An invalidation that the server does not carry out.
    cache
        .set("user:1", &1, Options::new().tag("users"))
        .await
        .unwrap();
    server.refuse_writes();
    cache.invalidate(["users"]).await.unwrap_err();
    let it = cache.inspect("user:1").await.unwrap();
    assert!(
        !it.would_be_served
            && it
                .why
                .contains("the invalidation of `users` waits in the journal"),
        "{}",
        it.why
    );
    assert!(cache.servers().journal > 0);
    server.accept_writes();
    cache.flush(Duration::from_secs(30)).await.unwrap();
    assert_eq!(
        cache.stats().errors,
        1,
        "the invalidation, and no inspection"
    );
}

#[tokio::test]
async fn what_was_stored_before_a_restart_is_told() {
    let mut server = RedisServer::start();
    let cache = recorded(&server.url());
    cache.set("user:1", &1, Options::new()).await.unwrap();
    server.save();
    server.restart_from_snapshot();
    until(async || cache.inspect("user:1").await.is_ok()).await;
    let why = cache.inspect("user:1").await.unwrap().why;
    assert!(
        why.contains("it was written through another server, or before this one was restarted"),
        "{why}"
    );

    server.kill();
    assert!(cache.inspect("user:1").await.unwrap_err().is_unavailable());
    assert_eq!(cache.stats().errors, 0, "no inspection is one");
}

#[tokio::test]
async fn a_load_of_another_process_is_told() {
    let server = RedisServer::start();
    let [one, other] = [(); 2].map(|()| recorded(&server.url()));
    let load = async {
        let it = other.inspect("a").await.unwrap();
        assert_eq!(
            it.why,
            "There is no entry yet: a call of another process is loading it."
        );
        Ok::<_, ()>(1)
    };
    one.get_or_load("a", Options::new(), load).await.unwrap();
}
