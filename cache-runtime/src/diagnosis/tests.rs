//! What each rule says of what a server has told.

use std::time::Duration;

use super::rules::checks;
use super::{Check, Info, RIGHTS, Severity, Told};
use crate::error::Error;

const TIMEOUT: Duration = Duration::from_millis(100);

/// A server that has nothing wrong.
const WELL: &str = "redis_version:7.0.15\r\nconnected_clients:3\r\nmaxclients:100\r\nused_memory:500\r\n\
    maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\nloading:0\r\nrdb_last_bgsave_status:ok\r\n\
    aof_last_write_status:ok\r\nlatest_fork_usec:900\r\ndb0:keys=5,expires=5\r\n";

fn told(info: &str) -> Told {
    Told {
        address: "cache:6379".to_owned(),
        is_exposed: false,
        is_known: true,
        hears: Ok(()),
        round_trips: vec![Duration::from_micros(200); 3],
        info: Ok(Info::new(info.to_owned())),
        cluster: None,
        commands: RIGHTS.iter().map(|_| Ok(())).collect(),
    }
}

/// A server that is well, but for one line of what it tells.
fn with(line: &str) -> Told {
    let (name, _) = line.split_once(':').expect("a field");
    let others = WELL.lines().filter(|other| !other.starts_with(name));
    let lines: Vec<_> = others.chain([line]).collect();
    told(&lines.join("\r\n"))
}

/// What is not fine.
fn found(told: &Told) -> Vec<Check> {
    let checks = checks(told, TIMEOUT).into_iter();
    checks
        .filter(|check| check.severity > Severity::Fine)
        .collect()
}

fn check_finds(told: &Told, subject: &str, severity: Severity, says: &str) {
    let found = found(told);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].subject, found[0].severity), (subject, severity));
    assert!(found[0].says.contains(says), "{}", found[0].says);
    assert_eq!(found[0].server.as_deref(), Some("cache:6379"));
}

#[test]
fn a_server_that_is_well_is_fine() {
    let told = told(WELL);
    assert_eq!(found(&told), []);
    let said: Vec<_> = checks(&told, TIMEOUT)
        .iter()
        .map(Check::to_string)
        .collect();
    let expected = [
        "fine    latency of cache:6379: it answers within 0.2 ms (median of 3; the longest took 0.2 ms)",
        "fine    version of cache:6379: it is Redis 7.0.15",
        "fine    memory of cache:6379: it uses 500 bytes of 1.0 kB, and evicts by `allkeys-lru`",
        "fine    clients of cache:6379: 3 of 100 clients are connected",
        "fine    rights of cache:6379: all commands of the cache and its toolkit are permitted",
        "fine    identity of cache:6379: a restart, a failover or an old snapshot is noticed",
        "fine    messages of cache:6379: what other processes invalidate is heard",
        "fine    encryption of cache:6379: what is sent to it cannot be read on the way",
    ];
    assert_eq!(said, expected);
}

#[test]
fn each_line_that_hurts_is_found() {
    use Severity::{Advice, Problem};
    for (line, subject, severity, says) in [
        ("redis_version:6.0.9", "version", Problem, "Redis 6.0.9"),
        (
            "redis_version:10.0.0\r\nvalkey_version:5.1.0",
            "version",
            Problem,
            "Valkey 5.1.0",
        ),
        (
            "maxmemory:0",
            "memory",
            Advice,
            "500 bytes, and nothing bounds that",
        ),
        (
            "maxmemory_policy:noeviction",
            "memory",
            Advice,
            "evicts nothing",
        ),
        ("db0:keys=5,expires=2", "memory", Advice, "3 of its 5 keys"),
        ("loading:1", "disk", Problem, "it loads its data"),
        (
            "rdb_last_bgsave_status:err",
            "disk",
            Problem,
            "could not write",
        ),
        (
            "aof_last_write_status:err",
            "disk",
            Problem,
            "could not write",
        ),
        ("latest_fork_usec:2500000", "disk", Advice, "for 2500 ms"),
        ("connected_clients:90", "clients", Problem, "90 of 100"),
    ] {
        check_finds(&with(line), subject, severity, says);
    }
}

#[test]
fn a_server_that_evicts_nothing_is_a_problem_once_it_is_nearly_full() {
    let full = with("maxmemory_policy:noeviction\r\nused_memory:900");
    let lines: Vec<_> = WELL
        .lines()
        .filter(|line| !line.starts_with("used_memory"))
        .collect();
    let full = Told {
        info: Ok(Info::new(
            lines.join("\n").replace("allkeys-lru", "noeviction") + "\nused_memory:900\n",
        )),
        ..full
    };
    check_finds(&full, "memory", Severity::Problem, "900 bytes of 1.0 kB");
    // Where only what has a ttl is evicted, other data stay.
    let volatile = with("maxmemory_policy:volatile-lru");
    assert_eq!(found(&volatile), []);
}

#[test]
fn a_slow_server_is_measured_against_the_deadline() {
    let times = |median: u64, longest: u64| Told {
        round_trips: [median, median, longest]
            .map(Duration::from_millis)
            .to_vec(),
        ..told(WELL)
    };
    assert_eq!(found(&times(4, 49)), []);
    check_finds(&times(5, 20), "latency", Severity::Advice, "within 5.0 ms");
    check_finds(&times(1, 50), "latency", Severity::Advice, "took 50 ms");
    check_finds(&times(50, 60), "latency", Severity::Problem, "within 50 ms");
}

/// The server refuses these commands.
fn refusing(names: &[&str], reason: &str) -> Told {
    let commands = RIGHTS.iter().map(|right| {
        let name = right.command("k", "c").name;
        if names.contains(&&*name) {
            Err(Error::refused_command("cache:6379", &name, &reason))
        } else {
            Ok(())
        }
    });
    Told {
        commands: commands.collect(),
        ..told(WELL)
    }
}

#[test]
fn rights_that_are_missing_are_named_with_what_they_serve() {
    let told = refusing(&["GET", "UNLINK", "OBJECT FREQ"], "NOPERM no permission");
    let found = found(&told);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[0].severity, Severity::Problem);
    assert!(
        found[0]
            .says
            .starts_with("`GET`, `UNLINK` is refused, so nothing is cached")
    );
    let mend = found[0].mend.as_deref();
    assert!(
        mend.is_some_and(|it| it.starts_with("`ACL SETUSER <user> +get +unlink`")),
        "{mend:?}"
    );
    assert_eq!(found[1].severity, Severity::Advice);
    let mend = found[1].mend.as_deref();
    assert!(
        mend.is_some_and(|it| it.contains("+object|freq`")),
        "{mend:?}"
    );
}

#[test]
fn a_command_that_a_server_does_not_have_needs_no_right() {
    let told = refusing(&["MEMORY USAGE"], "ERR unknown command 'MEMORY'");
    check_finds(
        &told,
        "rights",
        Severity::Advice,
        "`MEMORY USAGE` is refused",
    );
    assert_eq!(found(&told)[0].mend, None);
    // It has the command, and refuses what was asked.
    assert_eq!(
        found(&refusing(
            &["OBJECT FREQ"],
            "ERR An LFU maxmemory policy is not selected"
        )),
        []
    );
}

#[test]
fn what_a_connection_lacks_is_advice() {
    let deaf = Told {
        hears: Err(Error::denied("cache:6379", &"no `HELLO`")),
        ..told(WELL)
    };
    check_finds(&deaf, "messages", Severity::Advice, "no `HELLO`");
    let unknown = Told {
        is_known: false,
        ..told(WELL)
    };
    check_finds(&unknown, "identity", Severity::Advice, "which server it is");
    let exposed = Told {
        is_exposed: true,
        ..told(WELL)
    };
    check_finds(&exposed, "encryption", Severity::Advice, "can be read");
}

#[test]
fn a_cluster_that_is_not_whole_is_a_problem() {
    let cluster = |state: &str| Told {
        cluster: Some(Ok(Info::new(format!(
            "cluster_state:{state}\r\ncluster_slots_assigned:16000\r\n"
        )))),
        ..told(WELL)
    };
    assert_eq!(found(&cluster("ok")), []);
    check_finds(
        &cluster("fail"),
        "cluster",
        Severity::Problem,
        "16000 of 16384",
    );
}
