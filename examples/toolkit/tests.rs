//! What the example prints.

use cache_runtime::Cache;
use cache_tests::{RedisServer, patient};

use super::run;
use crate::output::Output;

const BOTH: &str = "\
GET /ready: 503 not ready
connect: the cache can be read and written
██████████████████████████████ 100 of 100
warm: 99 pages are loaded, 1 failed
GET /ready: 200 ready
the first request: 1 hit
texts: a token is taken once: Some(\"8f14e45f\"), then None
texts: 3 visits are counted
sessions: \"ada\" is logged in
sessions: after the log-out, the session stays away
lock: held by worker 1, so for others it is free: false
lock: worker 2 wrote: Some(true), worker 1 with its older token: false
lock: the report is by worker 2
rate limit: after three exports, [2, 1, 0] more were allowed
rate limit: the fourth is refused, for another * minutes
budget: of 100 reports, * are left; they take 30 kB at most: true
";

const IN_PROCESS: &str = "\
commands: none, since there is no server
";

const ON_A_SERVER: &str = "\
hash: {\"age\": \"37\", \"name\": \"ada\"}
leaderboard: [(\"alan\", 30.0), (\"ada\", 12.5)]
stream: [\"tea\", \"milk\"]
";

async fn output(cache: &Cache, is_terminal: bool) -> String {
    let mut output = Output {
        to: Vec::new(),
        is_terminal,
    };
    run(cache, &mut output).await.unwrap();
    String::from_utf8(output.to).unwrap()
}

/// Compares line by line. A `*` stands for a number, which is not the same in each run.
fn check(printed: &str, expected: &str) {
    assert_eq!(
        printed.lines().count(),
        expected.lines().count(),
        "{printed}"
    );
    for (printed, expected) in printed.lines().zip(expected.lines()) {
        let Some((before, after)) = expected.split_once('*') else {
            assert_eq!(printed, expected);
            continue;
        };
        let number = printed.strip_prefix(before);
        let number = number.and_then(|rest| rest.strip_suffix(after));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        assert!(number.is_some_and(|number| number > 0), "{printed}");
    }
}

#[tokio::test]
async fn the_toolkit_in_the_process() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    check(&output(&cache, false).await, &format!("{BOTH}{IN_PROCESS}"));
}

#[tokio::test]
async fn the_toolkit_on_a_server_and_once_more() {
    let server = RedisServer::start();
    let cache = patient(&server.url()).build().unwrap();
    for _ in 0..2 {
        check(
            &output(&cache, false).await,
            &format!("{BOTH}{ON_A_SERVER}"),
        );
    }
}

#[tokio::test]
async fn in_a_terminal_the_bar_grows() {
    let cache = Cache::builder().url("memory:").build().unwrap();
    let printed = output(&cache, true).await;
    let bars: Vec<_> = printed.split('\r').skip(1).collect();
    assert_eq!(bars.len(), 100);
    assert!(bars[0].ends_with("░ 1 of 100"), "{}", bars[0]);
    assert!(bars[49].ends_with("░ 50 of 100"), "{}", bars[49]);
    assert!(bars[99].contains("█ 100 of 100\n"), "{}", bars[99]);
}
