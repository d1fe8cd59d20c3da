//! What a cache says of its servers, to people.

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Check, Options, Severity};
use cache_tests::{Proxy, RedisCluster, RedisServer, Sentinels, Upstash, patient, until};

const PAGE: &str = include_str!("../../cache-runtime/docs/operation.md");

/// What is not fine, as a word and its sentence.
async fn found(builder: CacheBuilder) -> Vec<Check> {
    let cache = builder.namespace("shop").build().unwrap();
    let errors = cache.stats().errors;
    let checks = cache.diagnose().await.checks.into_iter();
    assert_eq!(cache.stats().errors, errors);
    checks
        .filter(|check| check.severity > Severity::Fine)
        .collect()
}

fn subjects(checks: &[Check]) -> Vec<(&str, Severity)> {
    let subjects = checks.iter().map(|check| (check.subject, check.severity));
    subjects.collect()
}

/// A server of its own, which a cache likes.
fn well() -> RedisServer {
    let server = RedisServer::start();
    server.configure("maxmemory", "100mb");
    server.configure("maxmemory-policy", "allkeys-lru");
    server
}

#[tokio::test]
async fn a_server_that_is_well_is_fine_and_is_left_as_it_was() {
    let server = well();
    let cache = patient(&server.url()).namespace("shop").build().unwrap();
    cache.set("user:7", &7, Options::new()).await.unwrap();
    let before = server.keys();
    let diagnosis = cache.diagnose().await;
    assert_eq!(diagnosis.worst(), Severity::Fine, "{diagnosis}");
    let expected = [
        "namespace",
        "connection",
        "latency",
        "version",
        "memory",
        "clients",
        "rights",
        "identity",
        "messages",
        "encryption",
    ];
    let subjects: Vec<_> = diagnosis.checks.iter().map(|it| it.subject).collect();
    assert_eq!(subjects, expected, "{diagnosis}");
    for subject in subjects.iter().chain(&["disk", "cluster"]) {
        assert!(PAGE.contains(&format!("\n| `{subject}`")), "{subject}");
    }
    assert_eq!(server.keys(), before);
    assert!(cache.health().status.is_working());
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.loads, stats.errors), (0, 0, 0));
}

#[tokio::test]
async fn a_server_of_a_queue_and_the_default_namespace_are_told() {
    let server = RedisServer::start();
    server.configure("maxmemory", "100mb");
    server.configure("maxmemory-policy", "noeviction");
    let cache = patient(&server.url()).build().unwrap();
    let diagnosis = cache.diagnose().await;
    let found: Vec<_> = diagnosis
        .checks
        .iter()
        .filter(|it| it.severity > Severity::Fine)
        .map(|it| it.subject)
        .collect();
    assert_eq!(found, ["namespace", "memory"], "{diagnosis}");
    assert_eq!(diagnosis.worst(), Severity::Advice);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_problem_and_no_error() {
    let found = found(patient("redis://:s3cret@127.0.0.1:1")).await;
    assert_eq!(subjects(&found), [("connection", Severity::Problem)]);
    assert!(
        found[0].message.contains("127.0.0.1:1"),
        "{}",
        found[0].message
    );
    assert!(!found[0].message.contains("s3cret"));
}

#[tokio::test]
async fn a_wrong_password_is_a_problem() {
    let server = RedisServer::start();
    server.set_user("shop", &["on", ">right", "~*", "&*", "+@all"]);
    let url = format!("redis://shop:wrong@127.0.0.1:{}", server.port());
    let found = found(patient(&url)).await;
    assert_eq!(subjects(&found), [("connection", Severity::Problem)]);
    assert!(
        found[0].message.contains("WRONGPASS"),
        "{}",
        found[0].message
    );
}

#[tokio::test]
async fn writes_that_are_refused_and_a_broken_disk_are_problems() {
    let server = RedisServer::builder().protected_configs().start();
    server.configure("maxmemory", "100mb");
    server.configure("maxmemory-policy", "allkeys-lru");
    server.refuse_to_save();
    let found = found(patient(&server.url())).await;
    let expected = [
        ("connection", Severity::Problem),
        ("disk", Severity::Problem),
    ];
    assert_eq!(subjects(&found), expected, "{found:#?}");
    assert!(found[0].message.contains("MISCONF"), "{}", found[0].message);
}

/// The rules of the page's `ACL SETUSER`, and those that its tools need.
fn rules() -> (Vec<&'static str>, Vec<&'static str>) {
    let line = |start| {
        PAGE.lines()
            .find_map(|line| line.strip_prefix(start))
            .unwrap()
    };
    let rules = line("ACL SETUSER shop ").split(' ').collect();
    let codes = line("For [`Cache::strings`]").split('`');
    let codes = codes.filter(|code| code.starts_with('+'));
    (rules, codes.flat_map(|code| code.split(' ')).collect())
}

#[tokio::test]
async fn the_rights_of_the_page_are_all_that_is_tried() {
    let server = well();
    let (rules, of_tools) = rules();
    server.set_user("shop", &rules);
    server.set_user("shop", &of_tools);
    let url = format!("redis://shop:password@127.0.0.1:{}/1", server.port());
    assert_eq!(found(patient(&url)).await, []);
}

#[tokio::test]
async fn each_right_that_is_missing_is_named() {
    let server = well();
    let (rules, of_tools) = rules();
    let url = format!("redis://shop:password@127.0.0.1:{}", server.port());
    let rights = rules.iter().filter(|rule| rule.starts_with('+'));
    for &right in rights.filter(|right| !matches!(**right, "+hello" | "+select" | "+subscribe")) {
        server.set_user("shop", &["reset"]);
        let others: Vec<_> = rules
            .iter()
            .copied()
            .filter(|rule| *rule != right)
            .collect();
        server.set_user("shop", &others);
        server.set_user("shop", &of_tools);
        let found = found(patient(&url)).await;
        let mends = |check: &&Check| {
            let mend = check.how_to_mend.as_deref().unwrap_or_default();
            check.subject == "rights" && mend.contains(&format!("{right}`"))
        };
        let named = found.iter().find(mends);
        let severity = match right {
            "+scan" | "+publish" | "+info" => Severity::Advice,
            _ => Severity::Problem,
        };
        let named = named.unwrap_or_else(|| panic!("{right}: {found:#?}"));
        assert_eq!(named.severity, severity, "{right}");
    }
}

#[tokio::test]
async fn rights_that_only_tools_need_may_be_missing() {
    let server = well();
    let (rules, _) = rules();
    server.set_user("shop", &rules);
    let url = format!("redis://shop:password@127.0.0.1:{}", server.port());
    assert_eq!(found(patient(&url)).await, []);
}

#[tokio::test]
async fn keys_and_channels_that_are_not_permitted_are_told() {
    let server = well();
    let (rules, of_tools) = rules();
    let url = format!("redis://shop:password@127.0.0.1:{}", server.port());
    for (own, subject, message) in [
        (
            &["resetkeys", "~shop:[^l]:*"][..],
            "rights",
            "`shop:l:` may not be used",
        ),
        (
            &["resetchannels", "&shop:0:i"],
            "messages",
            "nothing is heard",
        ),
    ] {
        server.set_user("shop", &["reset"]);
        server.set_user("shop", &[&rules[..], &of_tools, own].concat());
        let found = found(patient(&url)).await;
        assert_eq!(
            subjects(&found),
            [(subject, Severity::Advice)],
            "{found:#?}"
        );
        assert!(found[0].message.contains(message), "{}", found[0].message);
    }
}

#[tokio::test]
async fn a_replica_is_told_as_what_no_call_uses() {
    let (primary, replica) = (well(), well());
    replica.replicate(primary.port());
    let found = found(patient(&replica.url())).await;
    assert_eq!(subjects(&found), [("connection", Severity::Problem)]);
    let mend = found[0].how_to_mend.as_deref().unwrap();
    assert!(mend.contains("Name the primary"), "{mend}");
}

#[tokio::test]
async fn a_server_that_is_farther_away_than_the_deadline_is_measured() {
    let server = well();
    let proxy = Proxy::start(server.port()).await;
    proxy.delay(Duration::from_millis(60));
    let builder = Cache::builder()
        .url(proxy.url())
        .op_timeout(Duration::from_millis(100))
        .connect_timeout(Duration::from_secs(10));
    let found = found(builder).await;
    assert_eq!(
        subjects(&found),
        [("latency", Severity::Problem)],
        "{found:#?}"
    );
}

/// How many connections the server has; one of them is that of this question.
fn clients(server: &RedisServer) -> usize {
    let list: String = server.query(&["CLIENT", "LIST"]);
    list.lines().count()
}

#[tokio::test]
async fn what_fails_here_changes_nothing_for_the_cache() {
    let server = well();
    let cache = patient(&server.url()).namespace("shop").build().unwrap();
    cache.ping().await.unwrap();
    let connected = clients(&server);
    server.freeze();
    let diagnosis = cache.diagnose().await;
    server.thaw();
    assert_eq!(diagnosis.worst(), Severity::Problem, "{diagnosis}");
    assert!(cache.health().status.is_working());
    cache.ping().await.unwrap();
    until(async || clients(&server) == connected).await;
}

#[tokio::test]
async fn a_user_that_may_not_listen_hears_nothing() {
    let server = well();
    let (rules, of_tools) = rules();
    server.set_user("shop", &rules);
    server.set_user("shop", &[&of_tools[..], &["-subscribe"]].concat());
    let url = format!("redis://shop:password@127.0.0.1:{}", server.port());
    let found = found(patient(&url)).await;
    assert_eq!(subjects(&found), [("messages", Severity::Advice)]);
}

#[tokio::test]
async fn each_primary_of_a_cluster_is_asked() {
    let cluster = RedisCluster::start();
    let cache = patient(&cluster.url()).namespace("shop").build().unwrap();
    let before = cluster.keys();
    let diagnosis = cache.diagnose().await;
    assert!(diagnosis.worst() < Severity::Problem, "{diagnosis}");
    let of = |subject: &str| {
        let checks = diagnosis.checks.iter().filter(|it| it.subject == subject);
        checks
            .map(|it| it.server.clone().unwrap())
            .collect::<Vec<_>>()
    };
    let whole = of("cluster");
    assert_eq!(whole.len(), cluster.primaries().len(), "{diagnosis}");
    assert_eq!(of("rights"), whole);
    assert!(
        diagnosis
            .checks
            .iter()
            .filter(|it| matches!(it.subject, "rights" | "cluster"))
            .all(|it| it.severity == Severity::Fine),
        "{diagnosis}"
    );
    assert_eq!(cluster.keys(), before);
}

#[tokio::test]
async fn one_node_of_a_cluster_that_is_away_does_not_hide_the_others() {
    let cluster = RedisCluster::start();
    let cache = patient(&cluster.url()).namespace("shop").build().unwrap();
    cache.ping().await.unwrap();
    cluster.forbid_promotion();
    let gone = cluster.primaries()[0];
    cluster.freeze(gone);
    let diagnosis = cache.diagnose().await;
    cluster.thaw(gone);
    let of = |subject: &str, severity: Severity| {
        let checks = diagnosis.checks.iter();
        checks
            .filter(|it| it.subject == subject && it.severity == severity)
            .count()
    };
    let others = cluster.primaries().len() - 1;
    assert_eq!(of("connection", Severity::Problem), 1, "{diagnosis}");
    assert_eq!(of("version", Severity::Fine), others, "{diagnosis}");
}

#[tokio::test]
async fn the_primary_that_sentinels_name_is_asked() {
    let sentinels = Sentinels::start();
    let cache = patient(&sentinels.url()).namespace("shop").build().unwrap();
    let diagnosis = cache.diagnose().await;
    assert!(diagnosis.worst() < Severity::Problem, "{diagnosis}");
    let rights = diagnosis
        .checks
        .iter()
        .find(|it| it.subject == "rights")
        .unwrap();
    assert_eq!(rights.severity, Severity::Fine);
}

#[tokio::test]
async fn over_http_what_is_not_heard_and_not_known_is_told() {
    let upstash = Upstash::start();
    let found = found(patient(&upstash.url())).await;
    let subjects = subjects(&found);
    assert!(
        subjects.contains(&("messages", Severity::Advice)),
        "{found:#?}"
    );
    assert!(
        subjects.contains(&("identity", Severity::Advice)),
        "{found:#?}"
    );
    assert!(
        found.iter().all(|it| it.severity == Severity::Advice),
        "{found:#?}"
    );
}

#[tokio::test]
async fn a_cache_without_a_server_says_where_it_is() {
    for (url, severity) in [("memory:", Severity::Fine), ("off:", Severity::Advice)] {
        let cache = Cache::builder().url(url).build().unwrap();
        let diagnosis = cache.diagnose().await;
        let [store] = &diagnosis.checks[..] else {
            panic!("{diagnosis}");
        };
        assert_eq!((store.subject, store.severity), ("store", severity));
    }
}
