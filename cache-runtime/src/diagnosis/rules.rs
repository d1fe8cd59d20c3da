//! What it means for a cache what its servers have told.

use std::time::Duration;

use super::info::Info;
use super::rights::{RIGHTS, Right, Serves};
use super::{Check, Severity, Told};
use crate::error::Error;

/// The oldest version of Redis that this library is tested with.
const OLDEST: (u32, u32) = (6, 2);

/// A server that takes longer than this to answer is far away.
const FAR: Duration = Duration::from_millis(5);

/// Of a hundred parts of its memory, or of its clients, so many are nearly all.
const NEARLY_ALL: u64 = 90;

/// Of the settings of a cache that has a server.
pub(crate) fn check_settings(namespace: &str, is_default: bool) -> Check {
    if is_default {
        let says = format!(
            "its namespace is `{namespace}`, the default: another program with the default on this server \
             shares its entries"
        );
        let mend =
            "set `CACHE_NAMESPACE`, or `CacheBuilder::namespace`, to the name of the program";
        return Check::new("namespace", Severity::Advice, says).mend(mend);
    }
    let says = format!("its keys begin with `{namespace}:`");
    Check::new("namespace", Severity::Fine, says)
}

/// Of a server that does not answer.
pub(crate) fn unanswered(error: &Error) -> Check {
    let check = Check::new("connection", Severity::Problem, error.to_string());
    if error.is_write_refused() {
        check.mend("until it takes writes, entries are served, and nothing new is stored")
    } else {
        check.mend("until it is there, each call loads; `Status` in `Cache::health` says the same")
    }
}

/// All that is said of one server.
pub(crate) fn checks(told: &Told, op_timeout: Duration) -> Vec<Check> {
    let mut checks = vec![round_trip(&told.round_trips, op_timeout)];
    match &told.info {
        Ok(info) => {
            checks.push(version(info));
            checks.extend(memory(info));
            checks.extend(persistence(info, op_timeout));
            checks.extend(clients(info));
        }
        Err(error) => checks.push(Check::new(
            "information",
            Severity::Advice,
            format!("its version, its memory and its disk are not known: {error}"),
        )),
    }
    checks.extend(told.cluster.as_ref().map(cluster));
    checks.extend(rights(&told.commands));
    checks.push(identity(told.is_known));
    checks.push(hearing(told.hears.as_ref().err()));
    checks.push(encryption(told.is_exposed));
    let checks = checks.into_iter();
    checks.map(|check| check.at(&told.address)).collect()
}

fn round_trip(times: &[Duration], op_timeout: Duration) -> Check {
    let mut times = times.to_vec();
    times.sort_unstable();
    let (Some(&median), Some(&longest)) = (times.get(times.len() / 2), times.last()) else {
        return Check::new("latency", Severity::Advice, "it was not measured");
    };
    let says = format!(
        "it answers within {} (median of {}; the longest took {})",
        millis(median),
        times.len(),
        millis(longest)
    );
    let check = |severity| Check::new("latency", severity, says.clone());
    if median >= op_timeout / 2 {
        check(Severity::Problem).mend(format!(
            "it needs more than half of `op_timeout` ({op_timeout:?}): many calls time out, and load; use a \
             server that is nearer, or a longer `CacheBuilder::op_timeout`"
        ))
    } else if longest >= op_timeout / 2 {
        check(Severity::Advice).mend(format!(
            "a call that is not answered within `op_timeout` ({op_timeout:?}) loads; look for slow commands of \
             other programs (`SLOWLOG GET`) and for forks (`latest_fork_usec` of `INFO`)"
        ))
    } else if median >= FAR {
        check(Severity::Advice).mend(
            "each hit takes that long; use a server in the same zone, or keep copies in the process \
             (`local_ttl`)",
        )
    } else {
        check(Severity::Fine)
    }
}

fn version(info: &Info) -> Check {
    let valkey = info.field("valkey_version").map(|it| ("Valkey", it));
    let redis = || info.field("redis_version").map(|it| ("Redis", it));
    let Some((name, version)) = valkey.or_else(redis) else {
        return Check::new("version", Severity::Advice, "it does not say its version");
    };
    let says = format!("it is {name} {version}");
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let is_old = (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST;
    if is_old {
        let (major, minor) = OLDEST;
        let mend =
            format!("use Redis {major}.{minor} or newer, or Valkey: older ones were not tested");
        return Check::new("version", Severity::Problem, says).mend(mend);
    }
    Check::new("version", Severity::Fine, says)
}

fn memory(info: &Info) -> Option<Check> {
    let max = info.number("maxmemory")?;
    let used = info.number("used_memory").unwrap_or(0);
    let policy = info.field("maxmemory_policy").unwrap_or("unknown");
    let check = |severity, says: String| Some(Check::new("memory", severity, says));
    if max == 0 {
        let says = format!("it uses {}, and nothing bounds that", size(used));
        let mend = "on a server of the cache's own: `CONFIG SET maxmemory 1gb`, for example, and `CONFIG SET \
                    maxmemory-policy allkeys-lru`";
        return Some(check(Severity::Advice, says)?.mend(mend));
    }
    let (used_of, keys) = (format!("{} of {}", size(used), size(max)), info.keys());
    if policy == "noeviction" {
        let says = format!(
            "it uses {used_of}, and evicts nothing (`noeviction`): once that is full, it refuses all writes"
        );
        let is_full = used.saturating_mul(100) >= max.saturating_mul(NEARLY_ALL);
        let severity = if is_full {
            Severity::Problem
        } else {
            Severity::Advice
        };
        let mend = "`CONFIG SET maxmemory-policy allkeys-lru`, or a server of the cache's own, if this one has \
                    data that must stay";
        return Some(check(severity, says)?.mend(mend));
    }
    let lasting = keys.all.saturating_sub(keys.with_ttl);
    if policy.starts_with("allkeys") && lasting > 0 {
        let says = format!(
            "it uses {used_of}, and evicts by `{policy}`, also what has no ttl: {lasting} of its {} keys",
            keys.all
        );
        let mend = "if these are data that must stay: `CONFIG SET maxmemory-policy volatile-lru`; each entry \
                    of a cache has a ttl";
        return Some(check(Severity::Advice, says)?.mend(mend));
    }
    check(
        Severity::Fine,
        format!("it uses {used_of}, and evicts by `{policy}`"),
    )
}

fn persistence(info: &Info, op_timeout: Duration) -> Vec<Check> {
    let mut checks = Vec::new();
    if info.field("loading") == Some("1") {
        let says = "it loads its data, and answers nothing until then";
        checks.push(Check::new("disk", Severity::Problem, says));
    }
    let fails = |name| info.field(name).is_some_and(|status| status != "ok");
    if fails("rdb_last_bgsave_status") || fails("aof_last_write_status") {
        let says =
            "it could not write its data to its disk, and may refuse all writes because of that";
        let mend = "its log says why; of a server that only caches, `CONFIG SET save \"\"` and `CONFIG SET \
                    appendonly no` end it";
        checks.push(Check::new("disk", Severity::Problem, says).mend(mend));
    }
    let fork = Duration::from_micros(info.number("latest_fork_usec").unwrap_or(0));
    if fork >= op_timeout {
        let says = format!(
            "its last fork, to save its data, held up all requests for {}",
            millis(fork)
        );
        let mend = "calls that come meanwhile load; of a server that only caches, `CONFIG SET save \"\"` ends it";
        checks.push(Check::new("disk", Severity::Advice, says).mend(mend));
    }
    checks
}

fn clients(info: &Info) -> Option<Check> {
    let (connected, most) = (
        info.number("connected_clients")?,
        info.number("maxclients")?,
    );
    let says = format!("{connected} of {most} clients are connected");
    let check = |severity| Check::new("clients", severity, says.clone());
    if connected.saturating_mul(100) < most.saturating_mul(NEARLY_ALL) {
        return Some(check(Severity::Fine));
    }
    let mend = "it refuses further connections: raise `maxclients`, or have programs use fewer; this library \
                uses two for each runtime of a process at most";
    Some(check(Severity::Problem).mend(mend))
}

fn cluster(told: &Result<Info, Error>) -> Check {
    let check = |severity, says: String| Check::new("cluster", severity, says);
    let info = match told {
        Ok(info) => info,
        Err(error) => {
            let says = format!("its state is not known: {error}");
            return check(Severity::Advice, says);
        }
    };
    let assigned = info.number("cluster_slots_assigned").unwrap_or(0);
    if info.field("cluster_state") == Some("ok") {
        return check(Severity::Fine, "it is whole".to_owned());
    }
    let says = format!("it is not whole: {assigned} of 16384 hash slots are assigned");
    let mend = "keys of the other hash slots are not cached; `redis-cli --cluster check` says what is wrong";
    check(Severity::Problem, says).mend(mend)
}

/// A check for each part of what a cache does that lacks a command.
fn rights(commands: &[Result<(), Error>]) -> Vec<Check> {
    let tried = || RIGHTS.iter().zip(commands);
    let mut checks = Vec::new();
    for serves in Serves::ALL {
        let of_it = tried().filter(|(right, _)| right.serves == serves);
        let lacking: Vec<_> = of_it.filter_map(lack).collect();
        let Some((_, first)) = lacking.first() else {
            continue;
        };
        let severity = match serves {
            Serves::Caching => Severity::Problem,
            _ => Severity::Advice,
        };
        let mut names: Vec<_> = lacking.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        let says = format!(
            "{} is refused, so {}: {first}",
            listed(&names),
            serves.loss()
        );
        let check = Check::new("rights", severity, says);
        checks.push(if first.starts_with("NOPERM") {
            let rights = names.iter().map(|name| format!("+{name}"));
            let rights = rights.collect::<Vec<_>>().join(" ");
            let mend = format!(
                "`ACL SETUSER <user> {rights}`; the page `operation` has all rights in one line"
            );
            check.mend(mend)
        } else {
            check
        });
    }
    if checks.is_empty() {
        let says = "all commands of the cache and its toolkit are permitted";
        checks.push(Check::new("rights", Severity::Fine, says));
    }
    checks
}

/// A command that is not permitted, or that the server does not have, with what it says.
fn lack<'a>(
    (right, result): (&'static Right, &'a Result<(), Error>),
) -> Option<(&'static str, &'a str)> {
    let refusal = result.as_ref().err()?.refusal_of_command()?;
    let is_lack = refusal.starts_with("NOPERM") || refusal.contains("unknown");
    is_lack.then_some((right.name, refusal))
}

fn identity(is_known: bool) -> Check {
    if is_known {
        let says = "a restart, a failover or an old snapshot is noticed";
        return Check::new("identity", Severity::Fine, says);
    }
    let says = "it does not say which server it is: after a restart from an old snapshot, old entries may be \
                served until their ttl ends";
    Check::new("identity", Severity::Advice, says)
        .mend("permit `INFO`; where a service hides its `run_id`, keep ttls short")
}

fn hearing(error: Option<&Error>) -> Check {
    match error {
        None => {
            let says = "what other processes invalidate is heard";
            Check::new("messages", Severity::Fine, says)
        }
        Some(error) => {
            let says = format!("nothing is heard of what other processes invalidate: {error}");
            let mend = "without it, no copies are kept in the process (`local_ttl`); permit `HELLO` and \
                        `SUBSCRIBE`, and the channels of the namespace";
            Check::new("messages", Severity::Advice, says).mend(mend)
        }
    }
}

fn encryption(is_exposed: bool) -> Check {
    if !is_exposed {
        let says = "what is sent to it cannot be read on the way";
        return Check::new("encryption", Severity::Fine, says);
    }
    let says = "what is sent to it, the password too, can be read on the way";
    Check::new("encryption", Severity::Advice, says)
        .mend("write `rediss://`, or keep the network private")
}

/// `12.3 ms`
fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        _ => format!("{millis:.0} ms"),
    }
}

/// `1.5 GB`
#[expect(clippy::cast_precision_loss, reason = "one decimal place is shown")]
fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut units = ["bytes", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if amount < 1000.0 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    let digits = usize::from(unit != "bytes");
    format!("{amount:.digits$} {unit}")
}

/// `` `GET`, `SET` ``
fn listed(names: &[&str]) -> String {
    let shown = names.iter().map(|name| {
        let command = name.replace('|', " ").to_ascii_uppercase();
        format!("`{command}`")
    });
    shown.collect::<Vec<_>>().join(", ")
}
