//! No function serves a value of another type, and what a type is called in keys.
//!
//! Without the rule `FirstType`, those about one function of several types fail. Without
//! `TypeInEntry`, those about another process do.

use std::future::pending;
use std::marker::PhantomData;
use std::process::Command;
use std::sync::Arc;

use cache_runtime::{
    Cache, CachedEntry, Options, cache_invalidate, cached, key_name, prime, refresh,
};
use cache_tests::{Cat, Dog, EventLog, Hamster, Peer, Pet, Pets, RedisServer, poll_once, until};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::behaviour::{Recorded, Subject as _, builder, on_every_backend};

on_every_backend! {
    a_function_whose_key_names_no_type_caches_one_type
    a_load_is_not_shared_with_a_caller_of_another_type
    a_detached_load_is_not_shared_with_a_caller_of_another_type
    a_method_whose_key_names_no_type_caches_for_one_receiver
    a_receiver_that_is_skipped_may_be_of_any_type
    entries_by_hand_of_a_call_leave_another_receiver_alone
    an_error_is_not_shared_with_a_caller_of_another_type
    a_function_whose_key_names_its_type_caches_all_types
    an_invalidation_by_an_own_name_meets_the_read
}

mod moved {
    use cache_runtime::key_name;
    use serde::{Deserialize, Serialize};

    #[key_name("tests.moved")]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(super) struct Moved(pub(super) String);
}

const DOG: &str = "cache_tests::pets::Dog";
const CAT: &str = "cache_tests::pets::Cat";

/// The events of values of other types.
fn told(events: &EventLog) -> Vec<String> {
    let mut lines = events.take();
    lines.retain(|line| line.starts_with("other type"));
    lines
}

async fn a_function_whose_key_names_no_type_caches_one_type(recorded: Recorded) {
    // Each test has a function of its own, of which this is the first type.
    struct Rows<T>(Cache, PhantomData<T>);
    impl<T: Pet> Rows<T> {
        #[cached(key = "row:<id>", ttl = 60, cache = self.0)]
        async fn get(&self, id: u64) -> Option<T> {
            Some(T::make(id))
        }
    }
    impl<T> Rows<T> {
        fn new(cache: &Cache) -> Self {
            Self(cache.clone(), PhantomData)
        }
    }
    let Recorded { cache, events } = recorded;
    let (dogs, cats) = (Rows::<Dog>::new(&cache), Rows::<Cat>::new(&cache));
    for _ in 0..2 {
        assert_eq!(dogs.get(1).await, Some(Dog::make(1)));
        assert_eq!(cats.get(1).await, Some(Cat::make(1)));
    }
    assert_eq!(cats.get(2).await, Some(Cat::make(2)));
    assert_eq!(
        events.take(),
        [
            "miss row:1".to_owned(),
            "load row:1".to_owned(),
            "fill row:1 ttl=60s".to_owned(),
            format!("other type row:1: {CAT}, not {DOG}"),
            "miss row:1".to_owned(),
            "load row:1".to_owned(),
            "not filled row:1: other type".to_owned(),
            "hit row:1".to_owned(),
            "miss row:1".to_owned(),
            "load row:1".to_owned(),
            "not filled row:1: other type".to_owned(),
            "miss row:2".to_owned(),
            "load row:2".to_owned(),
            "not filled row:2: other type".to_owned(),
        ]
    );
}

async fn a_load_is_not_shared_with_a_caller_of_another_type(recorded: Recorded) {
    #[cached(key = "slow", ttl = 60, cache = cache, skip(cache, go, T))]
    async fn slow<T: Pet>(cache: &Cache, go: Option<&Notify>) -> T {
        if let Some(go) = go {
            go.notified().await;
        }
        T::make(1)
    }
    let Recorded { cache, events } = recorded;
    let go = Notify::new();
    let mut dog = std::pin::pin!(slow::<Dog>(&cache, Some(&go)));
    while cache.stats().loads == 0 {
        assert!(poll_once(dog.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    // While the dog is loaded, a cat waits for nothing.
    assert_eq!(slow::<Cat>(&cache, None).await, Cat::make(1));
    go.notify_one();
    assert_eq!(dog.await, Dog::make(1));
    assert_eq!(slow::<Cat>(&cache, None).await, Cat::make(1));
    assert_eq!(slow::<Dog>(&cache, None).await, Dog::make(1));
    assert_eq!(cache.stats().loads, 3);
    let waits = |line: &String| line.starts_with("wait ");
    assert!(!events.take().iter().any(waits));
}

async fn a_detached_load_is_not_shared_with_a_caller_of_another_type(recorded: Recorded) {
    #[cached(key = "detached", detach, ttl = 60, cache = cache, skip(cache, go, T))]
    async fn slow<T: Pet>(cache: Cache, go: Option<Arc<Notify>>) -> T {
        if let Some(go) = go {
            go.notified().await;
        }
        T::make(1)
    }
    let Recorded { cache, events } = recorded;
    let go = Arc::new(Notify::new());
    let dog = tokio::spawn(slow::<Dog>(cache.clone(), Some(go.clone())));
    until(async || cache.stats().loads == 1).await;
    let cat = slow::<Cat>(cache.clone(), None).await;
    assert_eq!(cat, Cat::make(1));
    go.notify_one();
    assert_eq!(dog.await.unwrap(), Dog::make(1));
    assert_eq!(slow::<Cat>(cache.clone(), None).await, Cat::make(1));
    assert_eq!(slow::<Dog>(cache.clone(), None).await, Dog::make(1));
    assert_eq!(cache.stats().loads, 3);
    let waits = |line: &String| line.starts_with("wait ");
    assert!(!events.take().iter().any(waits));
}

/// Values of one type, that are another for each type of `T`.
struct Sounds<T>(Cache, PhantomData<T>);

impl<T> Sounds<T> {
    fn new(cache: &Cache) -> Self {
        Self(cache.clone(), PhantomData)
    }
}

impl<T: Pet> Sounds<T> {
    #[cached(key = "sound:<id>", ttl = 60, cache = self.0)]
    async fn get(&self, id: u64) -> String {
        T::make(id).sound().to_owned()
    }

    #[cached(key = "slow-sound:<id>", ttl = 60, cache = self.0, skip(go))]
    async fn wait(&self, id: u64, go: Option<&Notify>) -> String {
        if let Some(go) = go {
            go.notified().await;
        }
        T::make(id).sound().to_owned()
    }

    #[cached(key = "same:<id>", ttl = 60, cache = self.0, skip(Self))]
    async fn same(&self, id: u64) -> String {
        format!("rows {id}")
    }

    #[cached(key = "by-hand-sound:<id>", ttl = 60, cache = self.0)]
    async fn of(&self, id: u64) -> String {
        T::make(id).sound().to_owned()
    }
}

async fn a_method_whose_key_names_no_type_caches_for_one_receiver(recorded: Recorded) {
    let Recorded { cache, events } = recorded;
    let (dogs, cats) = (Sounds::<Dog>::new(&cache), Sounds::<Cat>::new(&cache));
    for _ in 0..2 {
        assert_eq!(dogs.get(1).await, "woof 1");
        assert_eq!(cats.get(1).await, "meow 1");
    }
    let sounds = |row| format!("it::types::Sounds<{row}>");
    assert_eq!(
        told(&events),
        [format!(
            "other type sound:1: {}, not {}",
            sounds(CAT),
            sounds(DOG)
        )]
    );
    assert_eq!((cache.stats().hits, cache.stats().loads), (1, 3));

    // While a dog is asked, a cat waits for nothing.
    let go = Notify::new();
    let mut dog = std::pin::pin!(dogs.wait(1, Some(&go)));
    while cache.stats().loads == 3 {
        assert!(poll_once(dog.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(cats.wait(1, None).await, "meow 1");
    go.notify_one();
    assert_eq!(dog.await, "woof 1");
    assert_eq!(cats.wait(1, None).await, "meow 1");
    assert_eq!(dogs.wait(1, None).await, "woof 1");
}

async fn a_receiver_that_is_skipped_may_be_of_any_type(recorded: Recorded) {
    let Recorded { cache, events } = recorded;
    assert_eq!(Sounds::<Dog>::new(&cache).same(1).await, "rows 1");
    assert_eq!(Sounds::<Cat>::new(&cache).same(1).await, "rows 1");
    assert_eq!((cache.stats().hits, cache.stats().loads), (1, 1));
    assert_eq!(told(&events), [""; 0]);
}

async fn entries_by_hand_of_a_call_leave_another_receiver_alone(recorded: Recorded) {
    let Recorded { cache, .. } = recorded;
    let (dogs, cats) = (Sounds::<Dog>::new(&cache), Sounds::<Cat>::new(&cache));
    assert_eq!(dogs.of(1).await, "woof 1");
    prime(cats.of(1), "a lie".to_owned()).await.unwrap();
    let cat = CachedEntry::of(cats.of(1)).unwrap();
    assert_eq!(cat.get::<String>().await.unwrap(), None);
    assert_eq!(refresh(cats.of(1)).await, "meow 1");
    let dog = CachedEntry::of(dogs.of(1)).unwrap();
    let found = dog.get::<String>().await.unwrap();
    assert_eq!(found.as_deref(), Some("woof 1"));
    prime(dogs.of(1), "wuff".to_owned()).await.unwrap();
    assert_eq!(dogs.of(1).await, "wuff");
}

/// Two functions with one key have a call site each, so a caller of the one may wait for a load of
/// the other. This fails if an error does not say of which type its load was.
async fn an_error_is_not_shared_with_a_caller_of_another_type(recorded: Recorded) {
    #[cached(key = "either", ttl = 60, cache = cache, skip(cache, go))]
    async fn dog(cache: &Cache, go: &Notify) -> Result<Dog, String> {
        go.notified().await;
        Err("no dog".to_owned())
    }
    #[cached(key = "either", ttl = 60, cache = cache, skip(cache))]
    async fn cat(cache: &Cache) -> Result<Cat, String> {
        Ok(Cat::make(1))
    }
    let Recorded { cache, events } = recorded;
    let go = Notify::new();
    let mut dog = std::pin::pin!(dog(&cache, &go));
    while cache.stats().loads == 0 {
        assert!(poll_once(dog.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    let mut cat = std::pin::pin!(cat(&cache));
    while !events.lines().contains(&"wait either".to_owned()) {
        assert!(poll_once(cat.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    go.notify_one();
    assert_eq!(dog.await, Err("no dog".to_owned()));
    assert_eq!(cat.await, Ok(Cat::make(1)));
}

async fn a_function_whose_key_names_its_type_caches_all_types(recorded: Recorded) {
    #[cached(key = "of:<T>", ttl = 60, cache = cache, skip(cache))]
    async fn of<T: Pet>(cache: &Cache) -> T {
        T::make(1)
    }
    let Recorded { cache, events } = recorded;
    for _ in 0..2 {
        assert_eq!(of::<Dog>(&cache).await, Dog::make(1));
        assert_eq!(of::<Cat>(&cache).await, Cat::make(1));
    }
    assert_eq!(cache.stats().loads, 2);
    assert_eq!(told(&events), [""; 0]);
}

fn recorded(server: &RedisServer) -> Recorded {
    Recorded::new(builder(&server.url()).namespace("test"))
}

fn peer(server: &RedisServer) -> Peer {
    let mut peer = Peer::start(Command::new(env!("CARGO_BIN_EXE_peer")).arg("types").args([
        "--url",
        &server.url(),
        "--namespace",
        "test",
    ]));
    assert_eq!(peer.answer(), "ready");
    peer
}

fn ask(peer: &mut Peer, order: &str) -> String {
    peer.tell(order);
    peer.answer()
}

#[tokio::test]
async fn another_process_is_not_served_another_type() {
    let server = RedisServer::start();
    let mut peer = peer(&server);
    assert_eq!(ask(&mut peer, "dog"), "woof 1");
    // Nothing is known of dogs in this process.
    let Recorded { cache, events } = recorded(&server);
    let cats = Pets::<Cat>::new(&cache);
    assert_eq!(cats.get(1).await, Some(Cat::make(1)));
    assert_eq!(told(&events), [format!("other type pet:1: not {CAT}")]);
    // The entry was replaced.
    assert_eq!(cats.get(1).await, Some(Cat::make(1)));
    assert_eq!(cache.stats().hits, 1);
    // So is that of this process.
    assert_eq!(ask(&mut peer, "dog"), "woof 1");
    assert_eq!(cats.get(1).await, Some(Cat::make(1)));
    assert_eq!(ask(&mut peer, "cat"), "meow 1");
    assert_eq!((cache.stats().hits, cache.stats().loads), (1, 2));
    assert_eq!(told(&events), [""; 0]);
}

#[tokio::test]
async fn another_process_is_not_served_what_another_receiver_returned() {
    let server = RedisServer::start();
    let mut peer = peer(&server);
    assert_eq!(ask(&mut peer, "sound of dogs"), "woof 1");
    // Nothing is known of dogs in this process.
    let Recorded { cache, events } = recorded(&server);
    let cats = Pets::<Cat>::new(&cache);
    for _ in 0..2 {
        assert_eq!(cats.sound().await, "meow 1");
    }
    assert_eq!(
        told(&events),
        ["other type pets:sound: not alloc::string::String"]
    );
    assert_eq!(ask(&mut peer, "sound of dogs"), "woof 1");
    assert_eq!((cache.stats().hits, cache.stats().loads), (1, 1));
}

#[tokio::test]
async fn a_type_with_a_name_of_its_own_may_move() {
    #[cached(key = "moved:<id>", ttl = 60, cache = cache, skip(cache))]
    async fn moved(cache: &Cache, id: u64) -> moved::Moved {
        moved::Moved(format!("here {id}"))
    }
    #[cached(key = "moved:<T>:<id>", ttl = 60, cache = cache, skip(cache))]
    async fn by_type<T>(cache: &Cache, id: u64) -> String {
        format!("here {id}")
    }
    let server = RedisServer::start();
    let mut peer = peer(&server);
    let Recorded { cache, .. } = recorded(&server);
    for order in ["moved", "key"] {
        assert_eq!(ask(&mut peer, order), "peer 1");
    }
    assert_eq!(moved(&cache, 1).await.0, "peer 1");
    assert_eq!(by_type::<Vec<moved::Moved>>(&cache, 1).await, "peer 1");
    let keys = server.keys();
    let by_type = "test:e:moved:'alloc::vec::Vec<tests.moved>':1".to_owned();
    assert!(keys.contains(&by_type), "{keys:?}");
}

/// Two caches on one server know as little of each other as two processes do.
#[tokio::test]
async fn a_caller_that_watches_another_process_is_not_served_another_type() {
    #[cached(key = "watched", ttl = 60, cache = cache, skip(cache, go))]
    async fn dog(cache: &Cache, go: &Notify) -> Dog {
        go.notified().await;
        Dog::make(1)
    }
    #[cached(key = "watched", ttl = 60, cache = cache, skip(cache))]
    async fn cat(cache: &Cache) -> Cat {
        Cat::make(1)
    }
    let server = RedisServer::start();
    let (there, here) = (recorded(&server), recorded(&server));
    let go = Notify::new();
    let both = async {
        let waiting = async {
            here.events.until("watch watched").await;
            go.notify_one();
        };
        let cat = async {
            there.events.until("load watched").await;
            cat(&here.cache).await
        };
        tokio::join!(dog(&there.cache, &go), cat, waiting)
    };
    let (dog, cat, ()) = both.await;
    assert_eq!((dog, cat), (Dog::make(1), Cat::make(1)));
    assert_eq!(
        told(&here.events),
        [format!("other type watched: not {CAT}")]
    );
}

#[tokio::test]
async fn two_functions_with_one_key_in_one_process_serve_their_own_types() {
    #[cached(key = "shared", ttl = 60, cache = cache, skip(cache))]
    async fn dog(cache: &Cache) -> Dog {
        Dog::make(1)
    }
    #[cached(key = "shared", ttl = 60, cache = cache, skip(cache))]
    async fn cat(cache: &Cache) -> Cat {
        Cat::make(1)
    }
    let Recorded { cache, events } = Recorded::new(builder("memory:"));
    for _ in 0..2 {
        assert_eq!(dog(&cache).await, Dog::make(1));
        assert_eq!(cat(&cache).await, Cat::make(1));
    }
    assert_eq!(cache.stats().hits, 1);
    assert_eq!(told(&events), [format!("other type shared: not {CAT}")]);
}

#[tokio::test]
async fn entries_by_hand_do_not_say_their_type() {
    #[cached(key = "by-hand", ttl = 60, cache = cache, skip(cache))]
    async fn dog(cache: &Cache) -> Dog {
        pending().await
    }
    #[cached(key = "cat", ttl = 60, cache = cache, skip(cache))]
    async fn cat(cache: &Cache) -> Cat {
        Cat::make(1)
    }
    let server = RedisServer::start();
    let Recorded { cache, events } = recorded(&server);
    let options = Options::new;
    cache
        .set("by-hand", &Dog::make(7), options())
        .await
        .unwrap();
    assert_eq!(dog(&cache).await, Dog::make(7));
    // And ask for none.
    assert_eq!(cat(&cache).await, Cat::make(1));
    let as_dog: Dog = cache.get("cat").await.unwrap().unwrap();
    assert_eq!(as_dog.sound(), "meow 1");
    assert_eq!(told(&events), [""; 0]);
}

async fn an_invalidation_by_an_own_name_meets_the_read(cache: Cache) {
    #[key_name("tests.rows")]
    struct Rows<T>(Cache, PhantomData<T>);
    impl<T: Send + Sync> Rows<T> {
        #[cached(key = "row:<Self>:<id>", ttl = 60, cache = self.0)]
        async fn get(&self, id: u64) -> u64 {
            id
        }

        #[cache_invalidate("row:<Self>:<id>", cache = self.0)]
        async fn change(&self, id: u64) {
            let _ = id;
        }
    }
    // Other bounds are in scope here, and the type is named from another place.
    #[cache_invalidate("row:<T>:<id>", cache = cache)]
    async fn change_any<T>(cache: &Cache, id: u64) {
        let _ = (cache, id);
    }

    let rows = Rows::<Hamster<Dog>>(cache.clone(), PhantomData);
    let key = format!("row:'tests.rows<tests.hamster<{DOG}>>':1");
    rows.get(1).await;
    assert!(cache.exists(key.as_str()).await.unwrap());
    rows.change(1).await;
    assert!(!cache.exists(key.as_str()).await.unwrap());
    rows.get(1).await;
    change_any::<Rows<Hamster<Dog>>>(&cache, 1).await;
    assert!(!cache.exists(key.as_str()).await.unwrap());
}

#[tokio::test]
async fn own_names_stand_in_the_place_of_paths() {
    #[key_name("tests.enum")]
    enum Enum {}
    #[key_name("tests.union")]
    union Union {
        _byte: u8,
    }
    #[key_name("tests.raw")]
    #[allow(non_camel_case_types)]
    enum r#type {}
    #[key_name("tests.generic")]
    struct Generic<'a, T: ?Sized, const N: usize>(PhantomData<(&'a [u8; N], Box<T>)>)
    where
        T: Send;
    trait Method {
        fn local() -> fn(&Cache) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
    }
    impl Method for Generic<'_, u8, 1> {
        fn local() -> fn(&Cache) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
            #[key_name("tests.local")]
            enum Local {}
            |cache| Box::pin(name::<Local>(cache))
        }
    }
    #[cached(key = "named:<T>", ttl = 60, cache = cache, skip(cache))]
    async fn name<T: ?Sized>(cache: &Cache) {}

    #[derive(Serialize, Deserialize)]
    struct Unnamed;

    let cache = builder("memory:").build().unwrap();
    name::<(Enum, Union)>(&cache).await;
    name::<[r#type]>(&cache).await;
    name::<Generic<'_, Enum, 3>>(&cache).await;
    name::<Unnamed>(&cache).await;
    Generic::<u8, 1>::local()(&cache).await;
    for name in [
        "(tests.enum, tests.union)",
        "[tests.raw]",
        "tests.local",
        "it::types::own_names_stand_in_the_place_of_paths::Unnamed",
    ] {
        // The body of an `async fn` is a closure's.
        let key = format!("named:'{name}'");
        let key = key.replace("paths::", "paths::%7B%7Bclosure%7D%7D::");
        assert!(cache.exists(key.as_str()).await.unwrap(), "{key}");
    }
    let generic = |lifetime| format!("named:'tests.generic<{lifetime}tests.enum, 3>'");
    let generic = [generic(""), generic("%27_, ")];
    let mut is_there = false;
    for key in generic {
        is_there |= cache.exists(key.as_str()).await.unwrap();
    }
    assert!(is_there);
}

/// The compiler gives types in two blocks of one function one name.
#[tokio::test]
async fn two_local_types_of_one_name_share_a_key_and_no_value() {
    #[cached(key = "made:<T>", ttl = 60, cache = cache, skip(cache))]
    async fn made<T: cache_runtime::CacheValue + Default>(cache: &Cache) -> T {
        T::default()
    }
    let cache = builder("memory:").build().unwrap();
    macro_rules! make {
        ($value:expr) => {{
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            struct T(u8);
            impl Default for T {
                fn default() -> Self {
                    Self($value)
                }
            }
            assert_eq!(made::<T>(&cache).await, T($value));
            std::any::type_name::<T>()
        }};
    }
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(make!(1));
        names.push(make!(2));
    }
    assert_eq!(names, [names[0]; 4]);
    // The first is cached, and the second is loaded each time.
    assert_eq!([cache.stats().hits, cache.stats().loads], [1, 3]);
}
