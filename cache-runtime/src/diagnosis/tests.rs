//! What each rule message of what a server has told.

use std::time::Duration;

use super::rules::{checks, unanswered};
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
        is_open: false,
        is_known: true,
        trial: Ok(()),
        hears: Ok(()),
        round_trips: vec![Duration::from_micros(200); 3],
        info: Ok(Info::new(info.to_owned())),
        cluster: None,
        commands: RIGHTS.iter().map(|_| Ok(())).collect(),
        keys: vec![("shop:e:".to_owned(), Ok(()))],
    }
}

/// A server that is well, but for some lines of what it tells.
fn with(lines: &[&str]) -> Told {
    let is_replaced = |line: &str| {
        let name = line.split(':').next();
        lines.iter().any(|other| other.split(':').next() == name)
    };
    let others = WELL.lines().filter(|line| !is_replaced(line));
    let all: Vec<_> = others.chain(lines.iter().copied()).collect();
    told(&all.join("\r\n"))
}

/// What is not fine.
fn found(told: &Told) -> Vec<Check> {
    let checks = checks(told, TIMEOUT).into_iter();
    checks
        .filter(|check| check.severity > Severity::Fine)
        .collect()
}

fn check_finds(told: &Told, subject: &str, severity: Severity, message: &str) {
    let found = found(told);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].subject, found[0].severity), (subject, severity));
    assert!(found[0].message.contains(message), "{}", found[0].message);
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
        "fine    connection of cache:6379: it can be read and written",
        "fine    latency of cache:6379: half of 3 answers came within 0.2 ms, and the last of them after 0.2 ms",
        "fine    version of cache:6379: it is Redis 7.0.15",
        "fine    memory of cache:6379: it uses 500 bytes of 1.0 kB, and evicts by `allkeys-lru`",
        "fine    clients of cache:6379: 3 of 100 clients are connected",
        "fine    rights of cache:6379: all commands of a cache and its tools are permitted",
        "fine    identity of cache:6379: a restart, a failover or an old snapshot is noticed",
        "fine    messages of cache:6379: what other processes invalidate is heard",
        "fine    encryption of cache:6379: what is sent to it cannot be read on the way",
    ];
    assert_eq!(said, expected);
}

#[test]
fn each_line_that_hurts_is_found() {
    use Severity::{Advice, Problem};
    let valkey = "redis_version:10.0.0\r\nvalkey_version:5.1.0";
    for (line, subject, severity, message) in [
        ("redis_version:6.0.9", "version", Problem, "Redis 6.0.9"),
        (valkey, "version", Problem, "Valkey 5.1.0"),
        ("maxmemory:0", "memory", Advice, "500 bytes, and nothing"),
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
            Advice,
            "could not write",
        ),
        (
            "aof_last_write_status:err",
            "disk",
            Advice,
            "could not write",
        ),
        (
            "aof_last_bgrewrite_status:err",
            "disk",
            Advice,
            "could not write",
        ),
        ("latest_fork_usec:2500000", "disk", Advice, "for 2500 ms"),
        ("connected_clients:90", "clients", Problem, "90 of 100"),
        (
            "rejected_connections:7",
            "clients",
            Advice,
            "7 were refused",
        ),
    ] {
        check_finds(&with(&[line]), subject, severity, message);
    }
    // One key of a hundred without a ttl may be the program's own, and so may be evicted ones.
    assert_eq!(
        found(&with(&["db0:keys=100,expires=99", "evicted_keys:7"])),
        []
    );
    assert_eq!(found(&with(&["maxmemory_policy:volatile-lru"])), []);
}

#[test]
fn memory_that_is_nearly_full_is_a_problem_where_nothing_can_be_evicted() {
    let full = "used_memory:900";
    let none = with(&["maxmemory_policy:noeviction", full]);
    check_finds(&none, "memory", Severity::Problem, "900 bytes of 1.0 kB");
    let volatile = with(&[
        "maxmemory_policy:volatile-lru",
        "db0:keys=50,expires=1",
        full,
    ]);
    check_finds(&volatile, "memory", Severity::Problem, "1 of its 50 keys");
    assert_eq!(found(&with(&["maxmemory_policy:volatile-lru", full])), []);
    assert_eq!(found(&with(&[full])), []);
}

#[test]
fn a_disk_that_fails_is_a_problem_where_writes_are_refused() {
    let error = Error::refuses_writes("cache:6379", &"MISCONF\nof several lines");
    let refusing = Told {
        trial: Err(error),
        ..with(&["rdb_last_bgsave_status:err"])
    };
    let found = found(&refusing);
    let subjects: Vec<_> = found.iter().map(|it| (it.subject, it.severity)).collect();
    let expected = [
        ("connection", Severity::Problem),
        ("disk", Severity::Problem),
    ];
    assert_eq!(subjects, expected);
    assert!(found[0].message.ends_with("MISCONF of several lines"));
}

#[test]
fn a_server_that_cannot_be_used_is_told_with_what_mends_that() {
    let cases = [
        (
            Error::is_replica("cache:6379", &"READONLY"),
            "Name the primary",
        ),
        (
            Error::refuses_writes("cache:6379", &"OOM"),
            "until it takes writes",
        ),
        (
            Error::denied("cache:6379", &"WRONGPASS"),
            "redis://user:password@host",
        ),
        (
            Error::denied("cache:6379", &"NoPerm: no permissions"),
            "until it permits that",
        ),
        (Error::timeout("cache:6379", TIMEOUT), "until it answers"),
    ];
    for (error, mend) in cases {
        let check = unanswered(&error);
        let told = check.how_to_mend.as_deref().unwrap_or_default();
        assert!(told.contains(mend), "{check}");
        assert_eq!(check.severity, Severity::Problem);
    }
}

#[test]
fn a_slow_server_is_measured_against_the_deadline() {
    let times = |half: u64, longest: u64| Told {
        round_trips: [half, half, longest].map(Duration::from_millis).to_vec(),
        ..told(WELL)
    };
    assert_eq!(found(&times(4, 99)), []);
    check_finds(&times(5, 20), "latency", Severity::Advice, "within 5.0 ms");
    check_finds(&times(1, 100), "latency", Severity::Advice, "after 100 ms");
    check_finds(
        &times(110, 120),
        "latency",
        Severity::Problem,
        "within 110 ms",
    );
    check_finds(
        &times(1, 2000),
        "latency",
        Severity::Advice,
        "more than 2000 ms",
    );
    let gone = Told {
        round_trips: Vec::new(),
        ..told(WELL)
    };
    check_finds(&gone, "latency", Severity::Problem, "answers nothing");
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
    let told = refusing(
        &["GET", "UNLINK", "SCAN", "OBJECT FREQ"],
        "NOPERM no permission",
    );
    let found = found(&told);
    let subjects: Vec<_> = found.iter().map(|it| (it.subject, it.severity)).collect();
    let expected = [("rights", Severity::Problem), ("rights", Severity::Advice)];
    assert_eq!(subjects, expected);
    let message = &found[0].message;
    assert!(message.starts_with("`GET`, `UNLINK` are refused, so nothing is cached"));
    for (check, mend) in found.iter().zip(["+get +unlink`", "+scan`"]) {
        let told = check.how_to_mend.as_deref().unwrap_or_default();
        assert!(told.contains(mend), "{check}");
    }
}

#[test]
fn rights_of_tools_are_told_and_need_not_be_given() {
    let told = refusing(&["ZADD", "EVALSHA"], "NOPERM no permission");
    assert_eq!(found(&told), []);
    let said = checks(&told, TIMEOUT);
    let rights = said.iter().find(|it| it.subject == "rights");
    let message = &rights.expect("they are checked").message;
    assert!(
        message.contains("`EVALSHA`, `ZADD` are not, which only tools need"),
        "{message}"
    );
}

#[test]
fn a_command_that_is_refused_for_other_reasons_needs_no_right() {
    let unknown = refusing(&["SCAN"], "ERR Unsupported command");
    check_finds(&unknown, "rights", Severity::Advice, "`SCAN` is refused");
    assert_eq!(found(&unknown)[0].how_to_mend, None);
    let keys = refusing(
        &["GET"],
        "NOPERM this user has no permissions to access one of the keys",
    );
    let mend = found(&keys).remove(0).how_to_mend;
    assert_eq!(mend.as_deref(), Some("`ACL SETUSER <user> ~<namespace>:*`"));
    // These were carried out.
    for reason in [
        "ERR An LFU maxmemory policy is not selected",
        "NOSCRIPT",
        "WRONGTYPE",
    ] {
        assert_eq!(found(&refusing(&["GET"], reason)), []);
    }
}

#[test]
fn keys_that_may_not_be_used_are_named() {
    let reason = "NOPERM this user has no permissions to access one of the keys";
    let error = || Error::refused_command("cache:6379", "EXISTS", &reason);
    let told = Told {
        keys: vec![
            ("shop:e:".to_owned(), Ok(())),
            ("shop:s:".to_owned(), Err(error())),
            ("shop:l:".to_owned(), Err(error())),
        ],
        ..told(WELL)
    };
    check_finds(
        &told,
        "rights",
        Severity::Advice,
        "`shop:s:`, `shop:l:` may not",
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
    let open = Told {
        is_open: true,
        ..told(WELL)
    };
    check_finds(&open, "access", Severity::Advice, "no password");
}

#[test]
fn a_cluster_that_is_not_whole_is_a_problem() {
    let cluster = |state: &str, served: u32| Told {
        cluster: Some(Ok(Info::new(format!(
            "cluster_state:{state}\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:{served}\r\n"
        )))),
        ..told(WELL)
    };
    assert_eq!(found(&cluster("ok", 16_384)), []);
    check_finds(
        &cluster("ok", 16_000),
        "cluster",
        Severity::Problem,
        "16000 of 16384",
    );
    check_finds(
        &cluster("fail", 10_923),
        "cluster",
        Severity::Problem,
        "10923 of 16384",
    );
}
