//! Commands that a program writes itself: on each kind of server the same.

use std::collections::{HashMap, HashSet};

use cache_runtime::raw::{Command, FromReply as _, Raw, Reply, Script};
use cache_runtime::{Cache, Options};
use futures_util::TryStreamExt as _;

use super::on_backends;

macro_rules! on_every_server {
    ($($behaviour:ident)+) => {
        on_backends! {
            [$($behaviour)+]
            on_redis: cache_tests::RedisServer::start(), |builder, server| builder.url(server.url());
            with_the_older_protocol: cache_tests::RedisServer::start(), |builder, server| {
                builder.url(format!("{}?protocol=resp2", server.url()))
            };
            through_sentinels: cache_tests::Sentinels::shared(), |builder, set| {
                builder.url(set.url()).namespace($crate::behaviour::own_namespace())
            };
            over_tls: cache_tests::RedisServer::start_with_tls(), |builder, server| builder.url(server.url());
            in_a_cluster: cache_tests::RedisCluster::shared(), |builder, cluster| {
                builder.url(cluster.url()).namespace(cluster.namespace())
            };
            on_upstash: cache_tests::Upstash::start(), |builder, emulator| builder.url(emulator.url());
        }
    };
}

on_every_server! {
    a_hash
    a_leaderboard
    a_stream
    numbers_and_texts_come_back_as_they_were
    a_pipeline_has_a_result_for_each_command
    a_script_runs_also_after_the_server_has_forgotten_it
    a_script_that_fails_is_an_error
    a_scan_finds_all_keys
    a_scan_finds_what_is_under_a_key
    an_error_of_a_command_changes_nothing_for_the_cache
    an_answer_of_another_kind_is_an_error
    what_would_be_in_the_way_is_not_sent
    clearing_and_invalidating_leave_keys_alone
}

fn raw(cache: &Cache) -> Raw {
    assert!(cache.has_server());
    cache.raw().unwrap()
}

async fn a_hash(cache: Cache) {
    let raw = raw(&cache);
    let user = raw.name("user:7");
    let set = Command::new("HSET").key(&user);
    let set = set.arg("name").arg("Ada").arg("age").arg(36);
    assert_eq!(raw.query::<u32>(set).await.unwrap(), 2);
    let all = || Command::new("HGETALL").key(&user);
    let fields: HashMap<String, String> = raw.query(all()).await.unwrap();
    assert_eq!(fields.len(), 2);
    assert_eq!(fields["age"], "36");
    let pairs: Vec<(String, String)> = raw.query(all()).await.unwrap();
    assert_eq!(pairs.into_iter().collect::<HashMap<_, _>>(), fields);
    let some = Command::new("HMGET").key(&user).args(["age", "height"]);
    let some: Vec<Option<u8>> = raw.query(some).await.unwrap();
    assert_eq!(some, [Some(36), None]);
    let exists = Command::new("HEXISTS").key(&user).arg("age");
    assert!(raw.query::<bool>(exists).await.unwrap());
    let absent = Command::new("HGETALL").key(raw.name("user:8"));
    let none: HashMap<String, String> = raw.query(absent).await.unwrap();
    assert!(none.is_empty());
}

async fn a_leaderboard(cache: Cache) {
    let raw = raw(&cache);
    let board = raw.name("board");
    for (name, score) in [("ada", 36.5), ("grace", 85.0), ("alan", -1.25)] {
        let add = Command::new("ZADD").key(&board).arg(score).arg(name);
        assert!(raw.query::<bool>(add).await.unwrap());
    }
    let best = Command::new("ZREVRANGE").key(&board).arg(0).arg(1);
    let best: Vec<(String, f64)> = raw.query(best.arg("WITHSCORES")).await.unwrap();
    assert_eq!(best, [("grace".to_owned(), 85.0), ("ada".to_owned(), 36.5)]);
    let score = |name| Command::new("ZSCORE").key(&board).arg(name);
    assert_eq!(
        raw.query::<Option<f64>>(score("alan")).await.unwrap(),
        Some(-1.25)
    );
    assert_eq!(raw.query::<Option<f64>>(score("eve")).await.unwrap(), None);
    let add = Command::new("ZINCRBY").key(&board).arg(0.25).arg("alan");
    assert_eq!(raw.query::<Option<f64>>(add).await.unwrap(), Some(-1.0));
    let rank = Command::new("ZRANK").key(&board).arg("alan");
    assert_eq!(raw.query::<Option<u64>>(rank).await.unwrap(), Some(0));
}

async fn a_stream(cache: Cache) {
    type Entries = Vec<(String, HashMap<String, String>)>;
    let raw = raw(&cache);
    let stream = raw.name("events");
    let mut ids = Vec::new();
    for n in 0..3 {
        let add = Command::new("XADD").key(&stream).arg("*");
        ids.push(raw.query::<String>(add.arg("n").arg(n)).await.unwrap());
    }
    let range = Command::new("XRANGE").key(&stream).arg("-").arg("+");
    let entries: Entries = raw.query(range).await.unwrap();
    let got: Vec<_> = entries.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(got, ids);
    assert_eq!(entries[2].1["n"], "2");
    let read = |from: &str| {
        let read = Command::new("XREAD").arg("COUNT").arg(10);
        read.arg("STREAMS").key(&stream).arg(from)
    };
    let read_on: HashMap<String, Entries> = raw.query(read(&ids[0])).await.unwrap();
    assert_eq!(read_on[&stream].len(), 2);
    let nothing: Option<HashMap<String, Entries>> = raw.query(read(&ids[2])).await.unwrap();
    assert!(nothing.is_none());
}

async fn numbers_and_texts_come_back_as_they_were(cache: Cache) {
    let raw = raw(&cache);
    let key = raw.name("text");
    for text in [
        "",
        "Ada",
        "ä \u{1F600} \0 \r\n\"",
        "L\u{1}abcdefgh and more",
        "E\u{2}abcdefghij",
    ] {
        let set = Command::new("SET").key(&key).arg(text);
        raw.query::<()>(set).await.unwrap();
        let got: String = raw.query(Command::new("GET").key(&key)).await.unwrap();
        assert_eq!(got, text);
        let length: usize = raw.query(Command::new("STRLEN").key(&key)).await.unwrap();
        assert_eq!(length, text.len());
    }
    for number in [0, -1, i64::MAX, i64::MIN] {
        let set = Command::new("SET").key(&key).arg(number);
        assert!(raw.query::<bool>(set).await.unwrap());
        let got: i64 = raw.query(Command::new("get").key(&key)).await.unwrap();
        assert_eq!(got, number);
    }
}

async fn a_pipeline_has_a_result_for_each_command(cache: Cache) {
    let raw = raw(&cache);
    let names: Vec<String> = (0..20).map(|n| raw.name(&format!("counter:{n}"))).collect();
    let add = |(n, name): (usize, &String)| Command::new("INCRBY").key(name).arg(n);
    let mut commands: Vec<Command> = names.iter().enumerate().map(add).collect();
    commands.insert(10, Command::new("HGET").key(&names[3]).arg("field"));
    commands.push(Command::new("PING"));
    let mut answers = raw.pipeline(commands).await.unwrap();
    assert_eq!(answers.len(), 22);
    assert_eq!(
        answers.pop().unwrap().unwrap(),
        Reply::Bytes(b"PONG".to_vec())
    );
    let refused = answers.remove(10).unwrap_err();
    assert!(refused.is_refused(), "{refused}");
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(usize::from_reply(answer.unwrap()).unwrap(), n);
    }
    assert!(raw.pipeline([]).await.unwrap().is_empty());
}

static ADD: Script = Script::new(
    "local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
     return {sum, redis.call('INCRBY', KEYS[2], 1), ARGV[2]}",
);

async fn a_script_runs_also_after_the_server_has_forgotten_it(cache: Cache) {
    let raw = raw(&cache);
    let (sum, runs) = (raw.name("{tally}:sum"), raw.name("{tally}:runs"));
    let run = async || {
        let run = raw.script(&ADD).key(&sum).key(&runs).arg(5).arg("word");
        run.run::<(i64, u32, String)>().await.unwrap()
    };
    assert_eq!(run().await, (5, 1, "word".to_owned()));
    assert_eq!(run().await, (10, 2, "word".to_owned()));
    // In a cluster, this is said to one node, which need not be that of the script.
    let flush = raw.name("{tally}:sum");
    raw.query::<()>(Command::new("SCRIPT FLUSH")).await.unwrap();
    assert_eq!(run().await, (15, 3, "word".to_owned()));
    let command = raw.script(&ADD).key(&flush).key(&runs).arg(1).arg("");
    let answers = raw.pipeline([command.command()]).await.unwrap();
    assert!(answers[0].is_ok(), "{answers:?}");
}

async fn a_script_that_fails_is_an_error(cache: Cache) {
    let raw = raw(&cache);
    let wrong = Script::from("return redis.error_reply('NOT THAT')".to_owned());
    let error = raw.script(&wrong).key("a").run::<()>().await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("NOT THAT"), "{error}");
    let wrong = Script::new("this is no Lua");
    let error = raw.script(&wrong).key("a").run::<()>().await.unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(cache.health().status.is_working());
}

async fn a_scan_finds_all_keys(cache: Cache) {
    const KEYS: usize = 10_000;
    let raw = raw(&cache);
    let name = |n: usize| raw.name(&format!("user:{n}"));
    for chunk in (0..KEYS).collect::<Vec<_>>().chunks(1_000) {
        let set = |&n: &usize| Command::new("SET").key(name(n)).arg(n);
        for answer in raw.pipeline(chunk.iter().map(set)).await.unwrap() {
            answer.unwrap();
        }
    }
    raw.query::<()>(Command::new("SET").key(raw.name("other")).arg(1))
        .await
        .unwrap();
    let scan = raw.scan(&raw.name("user:*")).count(1_000);
    let found: HashSet<String> = scan.try_collect().await.unwrap();
    let expected: HashSet<String> = (0..KEYS).map(name).collect();
    assert!(found == expected, "{} of {KEYS}", found.len());
    let mut bytes = raw.scan(&raw.name("user:77?7")).bytes().count(5_000);
    let mut found = HashSet::new();
    while let Some(key) = bytes.try_next().await.unwrap() {
        found.insert(key);
    }
    assert_eq!(found.len(), 10);
    let none: Vec<String> = raw
        .scan(&raw.name("nothing:*"))
        .count(5_000)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(none, [""; 0]);
}

async fn a_scan_finds_what_is_under_a_key(cache: Cache) {
    let raw = raw(&cache);
    let (board, set) = (raw.name("board"), raw.name("set"));
    for n in 0..1_000 {
        let add = Command::new("ZADD").key(&board).arg(n).arg(format!("m{n}"));
        let insert = Command::new("SADD").key(&set).arg(format!("m{n}"));
        for answer in raw.pipeline([add, insert]).await.unwrap() {
            answer.unwrap();
        }
    }
    let scan = raw.scan_of::<(String, f64)>(Command::new("ZSCAN").key(&board));
    let scores: HashMap<String, f64> = scan.try_collect().await.unwrap();
    assert_eq!(scores.len(), 1_000);
    assert_eq!(scores.get("m77"), Some(&77.0));
    let scan = raw
        .scan_of::<String>(Command::new("SSCAN").key(&set))
        .count(100);
    let members: HashSet<String> = scan.try_collect().await.unwrap();
    assert_eq!(members.len(), 1_000);
    let wrong = raw.scan_of::<String>(Command::new("SSCAN").key(&board));
    let mut wrong = Box::pin(wrong);
    assert!(wrong.try_next().await.unwrap_err().is_refused());
    assert_eq!(wrong.try_next().await.unwrap(), None);
}

async fn an_error_of_a_command_changes_nothing_for_the_cache(cache: Cache) {
    let raw = raw(&cache);
    cache.set("a", &1, Options::new()).await.unwrap();
    let key = raw.name("text");
    raw.query::<()>(Command::new("SET").key(&key).arg("text"))
        .await
        .unwrap();
    for _ in 0..20 {
        for (command, words) in [
            (Command::new("HGET").key(&key).arg("field"), "WRONGTYPE"),
            (Command::new("NOSUCHCOMMAND").key(&key), "unknown command"),
            (
                Command::new("GET").key(&key).arg("more"),
                "wrong number of arguments",
            ),
            (Command::new("INCR").key(&key), "not an integer"),
        ] {
            let error = raw.query::<()>(command).await.unwrap_err();
            assert!(error.is_refused(), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    assert!(cache.health().status.is_working());
    assert_eq!(cache.get::<i32>("a").await.unwrap(), Some(1));
}

async fn an_answer_of_another_kind_is_an_error(cache: Cache) {
    let raw = raw(&cache);
    let key = raw.name("text");
    raw.query::<()>(Command::new("SET").key(&key).arg("secret"))
        .await
        .unwrap();
    let error = raw.query::<u64>(Command::new("GET").key(&key)).await;
    let error = error.unwrap_err();
    assert!(error.is_codec(), "{error}");
    let text = "the answer to `GET` cannot be read as a whole number of this size: it is a text of 6 bytes";
    assert_eq!(error.to_string(), text);
    let error = raw.query::<String>(Command::new("GET").key(raw.name("absent")));
    assert!(error.await.unwrap_err().to_string().contains("nothing"));
}

async fn what_would_be_in_the_way_is_not_sent(cache: Cache) {
    let raw = raw(&cache);
    let key = raw.name("list");
    let push = || Command::new("RPUSH").key(&key).arg(1);
    for command in [
        Command::new("BLPOP").key(&key).arg(0),
        Command::new("SELECT").arg(1),
        Command::new("MULTI"),
    ] {
        let error = raw.pipeline([push(), command]).await.unwrap_err();
        assert!(error.is_config(), "{error}");
    }
    let length: u64 = raw.query(Command::new("LLEN").key(&key)).await.unwrap();
    assert_eq!(length, 0);
}

async fn clearing_and_invalidating_leave_keys_alone(cache: Cache) {
    let raw = raw(&cache);
    let key = raw.name("a");
    raw.query::<()>(Command::new("SET").key(&key).arg(1))
        .await
        .unwrap();
    cache.set("a", &1, Options::new()).await.unwrap();
    cache.invalidate(["a", "x:a"]).await.unwrap();
    cache.invalidate_matching("*").await.unwrap();
    cache.clear().await.unwrap();
    assert!(!cache.exists("a").await.unwrap());
    assert_eq!(
        raw.query::<u8>(Command::new("GET").key(&key))
            .await
            .unwrap(),
        1
    );
}
