//! What the environment says of the cache's server.

use std::process::Command;

use cache_tests::{Peer, RedisServer, Upstash};

/// What a process with these variables says, up to its last line.
fn said(variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.arg("environment").env_clear();
    command.envs(variables.iter().copied());
    let mut peer = Peer::start(&mut command);
    let mut lines = Vec::new();
    loop {
        let line = peer.answer();
        let is_last = !line.starts_with("INFO") && !line.starts_with("WARN");
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}

fn with(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

#[test]
fn the_variable_that_names_the_server_is_logged_without_the_password() {
    let server = RedisServer::builder().password("s3cret").start();
    for variable in ["CACHE_URL", "VALKEY_URL", "REDIS_URL"] {
        let lines = said(&[(variable, &server.url())]);
        let line = format!(
            "INFO message=the URL of the cache is from the environment variable=\"{variable}\""
        );
        assert_eq!(with(&lines, &line), 2, "once for each cache: {lines:?}");
        assert_eq!(with(&lines, "s3cret"), 0, "{lines:?}");
        assert_eq!(lines.last().unwrap(), "ok");
    }
}

#[test]
fn a_server_that_evicts_nothing_is_warned_of_once_if_other_programs_may_use_it() {
    let server = RedisServer::start();
    let url = server.url();
    let warned = |variable| {
        with(
            &said(&[(variable, &url)]),
            "`maxmemory-policy` is `noeviction`",
        )
    };
    assert_eq!(warned("REDIS_URL"), 1);
    assert_eq!(warned("VALKEY_URL"), 1);
    assert_eq!(warned("CACHE_URL"), 0);
    server.configure("maxmemory-policy", "allkeys-lru");
    assert_eq!(warned("REDIS_URL"), 0);
}

#[test]
fn a_server_that_does_not_say_what_it_evicts_is_used() {
    let server = RedisServer::start();
    server.set_user("default", &["-info"]);
    let lines = said(&[("REDIS_URL", &server.url())]);
    assert_eq!(with(&lines, "maxmemory-policy"), 0, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "ok");
}

#[test]
fn the_variables_of_services_name_a_database_behind_http() {
    let emulator = Upstash::start();
    let (url, token) = emulator.rest_url_and_token();
    for [url_variable, token_variable] in [
        ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"],
        ["KV_REST_API_URL", "KV_REST_API_TOKEN"],
        ["REDIS_REST_URL", "REDIS_REST_TOKEN"],
    ] {
        let lines = said(&[(url_variable, &url), (token_variable, token)]);
        assert_eq!(lines.last().unwrap(), "ok", "{lines:?}");
        assert_eq!(with(&lines, &format!("variable=\"{url_variable}\"")), 2);
        assert_eq!(with(&lines, "AXs3cret"), 0, "{lines:?}");
        assert_eq!(with(&lines, "reached over HTTP"), 2, "once for each cache");
        assert_eq!(with(&lines, "not heard"), 0, "{lines:?}");
        for (set, missing, value) in [
            (url_variable, token_variable, url.as_str()),
            (token_variable, url_variable, token),
        ] {
            let told = format!("`{set}` is set, and `{missing}` is not");
            let lines = said(&[(set, value)]);
            assert!(lines.last().unwrap().contains(&told), "{lines:?}");
        }
    }
}

#[test]
fn a_server_that_speaks_redis_is_preferred() {
    let (server, emulator) = (RedisServer::start(), Upstash::start());
    let (url, token) = emulator.rest_url_and_token();
    let lines = said(&[
        ("UPSTASH_REDIS_REST_URL", &url),
        ("UPSTASH_REDIS_REST_TOKEN", token),
        ("REDIS_URL", &server.url()),
    ]);
    assert_eq!(with(&lines, "variable=\"REDIS_URL\""), 3, "{lines:?}");
    assert_eq!(emulator.requests(), 0);
}
