//! What it means for a cache what its servers have told.

use std::time::Duration;

use super::info::Info;
use super::rights::{LOSSES, RIGHTS, Right, Serves};
use super::{Check, PATIENCE, Severity, Told};
use crate::driver::HASH_SLOTS;
use crate::error::Error;

/// The oldest version of Redis that this library is tested with.
const OLDEST: (u32, u32) = (6, 2);

/// A server that takes longer than this to answer is far away.
const FAR: Duration = Duration::from_millis(5);

/// In percent: how much of what it has a server may use, before it is told.
const NEARLY_ALL: u64 = 90;

/// In percent: how many keys of a server may have no ttl, before it is told.
const A_FEW: u64 = 10;

/// Of the settings of a cache that has a server.
pub(crate) fn check_settings(namespace: &str, is_default: bool) -> Check {
    if is_default {
        let message = format!(
            "its namespace is `{namespace}`, the default: another program with the default on this server \
             shares its entries"
        );
        let mend =
            "set `CACHE_NAMESPACE`, or `CacheBuilder::namespace`, to the name of the program";
        return Check::new("namespace", Severity::Advice, message).mend(mend);
    }
    let message = format!("its keys begin with `{namespace}:`");
    Check::new("namespace", Severity::Fine, message)
}

/// Of a server, or a cluster, that cannot be asked.
pub(crate) fn unanswered(error: &Error) -> Check {
    connection(Some(error))
}

/// All that is said of one server.
pub(crate) fn checks(told: &Told, op_timeout: Duration) -> Vec<Check> {
    let mut checks = vec![
        connection(told.trial.as_ref().err()),
        latency(&told.round_trips, op_timeout),
    ];
    if let Ok(info) = &told.info {
        checks.push(version(info));
        checks.extend(memory(info));
        checks.extend(disk(info, told.trial.is_ok(), op_timeout));
        checks.extend(clients(info));
    }
    checks.extend(told.cluster.as_ref().map(cluster));
    checks.extend(rights(&told.commands));
    checks.extend(keys(&told.keys));
    checks.push(identity(told.is_known));
    checks.push(messages(told.hears.as_ref().err()));
    checks.push(encryption(told.is_exposed));
    checks.extend(access(told.is_open));
    let checks = checks.into_iter();
    checks.map(|check| check.at(&told.address)).collect()
}

fn connection(error: Option<&Error>) -> Check {
    let Some(error) = error else {
        return Check::new("connection", Severity::Fine, "it can be read and written");
    };
    let text = error.to_string();
    let check = Check::new("connection", Severity::Problem, &*text);
    let is_of_credentials = ["WRONGPASS", "NOAUTH", "authentication"];
    if error.is_read_only() {
        check.mend(
            "no call uses it: each loads. Name the primary, which `INFO replication` there tells, or let \
             `redis-sentinel://` or `redis-cluster://` find it",
        )
    } else if error.is_write_refused() {
        check.mend("until it takes writes, entries are served, and nothing new is stored")
    } else if is_of_credentials.iter().any(|word| text.contains(word)) {
        check.mend("write the user and the password into the URL: `redis://user:password@host`")
    } else if text.contains("permission") {
        check.mend(
            "each call loads until it permits that; `rights` says which commands it must permit",
        )
    } else if error.is_refused() {
        check.mend("each call loads until it accepts that")
    } else {
        check.mend("each call loads until it answers; see that it runs, and that this machine may connect to it")
    }
}

fn latency(times: &[Duration], op_timeout: Duration) -> Check {
    let mut times = times.to_vec();
    times.sort_unstable();
    let (Some(&half), Some(&longest)) = (times.get(times.len() / 2), times.last()) else {
        return Check::new("latency", Severity::Problem, "it answers nothing any more");
    };
    let count = times.len();
    let at_least = if longest >= PATIENCE {
        "more than "
    } else {
        ""
    };
    let message = format!(
        "half of {count} answers came within {}, and the last of them after {at_least}{}",
        millis(half),
        millis(longest)
    );
    let check = |severity| Check::new("latency", severity, &*message);
    let late = times.iter().filter(|time| **time >= op_timeout).count();
    if late * 2 > count {
        check(Severity::Problem).mend(format!(
            "a call that is not answered within `op_timeout` ({op_timeout:?}) loads, and these are most: use \
             a server that is nearer, or a longer `CacheBuilder::op_timeout`"
        ))
    } else if late > 0 {
        check(Severity::Advice).mend(format!(
            "a call that is not answered within `op_timeout` ({op_timeout:?}) loads: look for slow commands of \
             other programs (`SLOWLOG GET`) and for forks (`latest_fork_usec` of `INFO`)"
        ))
    } else if half >= FAR {
        check(Severity::Advice).mend(
            "each hit takes that long: use a server in the same zone, or keep copies in the process \
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
    let message = format!("it is {name} {version}");
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let is_old = (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST;
    if is_old {
        let (major, minor) = OLDEST;
        let mend = format!(
            "use Redis {major}.{minor} or newer, or Valkey: nothing was tested with older ones"
        );
        return Check::new("version", Severity::Problem, message).mend(mend);
    }
    Check::new("version", Severity::Fine, message)
}

fn memory(info: &Info) -> Option<Check> {
    const EVICT: &str = "`CONFIG SET maxmemory-policy allkeys-lru`, or a server of the cache's own, if this one \
                         has data that must stay";
    let max = info.number("maxmemory")?;
    let policy = info.field("maxmemory_policy")?;
    let used = info.number("used_memory").unwrap_or(0);
    let check = |severity, message: String| Check::new("memory", severity, message);
    if max == 0 {
        let message = format!("it uses {}, and nothing bounds that", size(used));
        return Some(check(Severity::Advice, message).mend(
            "on a server of the cache's own: `CONFIG SET maxmemory 1gb`, for example, and `CONFIG SET \
             maxmemory-policy allkeys-lru`",
        ));
    }
    let is_nearly_full = used.saturating_mul(100) >= max.saturating_mul(NEARLY_ALL);
    let used_of = format!("it uses {} of {}", size(used), size(max));
    let keys = info.keys();
    let lasting = keys.all.saturating_sub(keys.with_ttl);
    if policy == "noeviction" {
        let message =
            format!("{used_of}, and evicts nothing (`noeviction`): a full one refuses all writes");
        let severity = if is_nearly_full {
            Severity::Problem
        } else {
            Severity::Advice
        };
        return Some(check(severity, message).mend(EVICT));
    }
    if policy.starts_with("volatile") && is_nearly_full && keys.with_ttl * 100 < keys.all * A_FEW {
        let message = format!(
            "{used_of}, and evicts by `{policy}` what has a ttl: {} of its {} keys",
            keys.with_ttl, keys.all
        );
        return Some(check(Severity::Problem, message).mend(EVICT));
    }
    if policy.starts_with("allkeys") && lasting * 100 > keys.all * A_FEW {
        let message = format!(
            "{used_of}, and evicts by `{policy}`, also what has no ttl: {lasting} of its {} keys",
            keys.all
        );
        return Some(check(Severity::Advice, message).mend(
            "if these are data that must stay: `CONFIG SET maxmemory-policy volatile-lru`, since each entry of a \
             cache has a ttl",
        ));
    }
    let evicted = match info.number("evicted_keys") {
        None | Some(0) => String::new(),
        Some(count) => format!("; it has evicted {count} keys since its start"),
    };
    let message = format!("{used_of}, and evicts by `{policy}`{evicted}");
    Some(check(Severity::Fine, message))
}

fn disk(info: &Info, takes_writes: bool, op_timeout: Duration) -> Vec<Check> {
    const WITHOUT: &str = "of a server that only caches, `CONFIG SET save \"\"` and `CONFIG SET appendonly no` \
                           end it until its next start, and the same in its configuration for good";
    let mut checks = Vec::new();
    if info.field("loading") == Some("1") {
        let message = "it loads its data, and answers nothing until then";
        checks.push(Check::new("disk", Severity::Problem, message));
    }
    let fails = |name| info.field(name).is_some_and(|status| status != "ok");
    if fails("rdb_last_bgsave_status")
        || fails("aof_last_write_status")
        || fails("aof_last_bgrewrite_status")
    {
        let message =
            "it could not write its data to its disk; by default it refuses all writes then";
        let severity = if takes_writes {
            Severity::Advice
        } else {
            Severity::Problem
        };
        let mend = format!("its log says why; {WITHOUT}");
        checks.push(Check::new("disk", severity, message).mend(mend));
    }
    let fork = Duration::from_micros(info.number("latest_fork_usec").unwrap_or(0));
    if fork >= op_timeout {
        let message = format!(
            "its last fork, to save its data or to send them to a replica, held up all requests for {}",
            millis(fork)
        );
        let mend = format!("calls that come meanwhile load; {WITHOUT}");
        checks.push(Check::new("disk", Severity::Advice, message).mend(mend));
    }
    checks
}

fn clients(info: &Info) -> Option<Check> {
    const MEND: &str = "raise `maxclients`, or have programs use fewer connections; each runtime of a process with \
                        this library uses one";
    let (connected, most) = (
        info.number("connected_clients")?,
        info.number("maxclients")?,
    );
    let message = format!("{connected} of {most} clients are connected");
    if connected.saturating_mul(100) >= most.saturating_mul(NEARLY_ALL) {
        let message = format!("{message}: it is about to refuse further ones");
        return Some(Check::new("clients", Severity::Problem, message).mend(MEND));
    }
    match info.number("rejected_connections") {
        None | Some(0) => Some(Check::new("clients", Severity::Fine, message)),
        Some(count) => {
            let message = format!("{message}, and {count} were refused since its start");
            Some(Check::new("clients", Severity::Advice, message).mend(MEND))
        }
    }
}

fn cluster(told: &Result<Info, Error>) -> Check {
    let all = HASH_SLOTS as u64;
    let check = |severity, message: String| Check::new("cluster", severity, message);
    let info = match told {
        Ok(info) => info,
        Err(error) => return check(Severity::Advice, format!("its state is not known: {error}")),
    };
    let served = info.number("cluster_slots_ok").unwrap_or(all);
    if info.field("cluster_state") == Some("ok") && served >= all {
        return check(Severity::Fine, "all hash slots are served".to_owned());
    }
    let message = format!("{served} of {all} hash slots are served");
    let mend = "keys of the others are not cached, and of none where the cluster demands all; `redis-cli --cluster \
                check` says what is wrong";
    check(Severity::Problem, message).mend(mend)
}

/// A check for each part of what a cache does that lacks a command, and one for all tools together.
fn rights(commands: &[Result<(), Error>]) -> Vec<Check> {
    let lacking: Vec<_> = RIGHTS.iter().zip(commands).filter_map(lack).collect();
    let mut checks = Vec::new();
    for (serves, loss) in LOSSES {
        let of_it = lacking.iter().filter(|(right, _)| right.serves == serves);
        checks.extend(refused(serves, loss, &of_it.copied().collect::<Vec<_>>()));
    }
    let of_tools = lacking
        .iter()
        .filter(|(right, _)| right.serves == Serves::Tools);
    let names = names_of(of_tools.map(|(right, _)| right.name));
    let message = match (checks.is_empty(), names.is_empty()) {
        (false, _) => return checks,
        (true, true) => "all commands of a cache and its tools are permitted".to_owned(),
        (true, false) => format!(
            "all commands of a cache are permitted; {} not, which only tools need: `Strings::increment`, rate \
             limits in a sliding window, budgets, scripts of `Cache::raw`",
            listed(&names)
        ),
    };
    vec![Check::new("rights", Severity::Fine, message)]
}

/// What is said of commands that are refused, with the words of the server.
fn refused(serves: Serves, loss: &str, lacking: &[(&'static Right, &str)]) -> Option<Check> {
    let &(_, reason) = lacking.first()?;
    let severity = match serves {
        Serves::Caching => Severity::Problem,
        _ => Severity::Advice,
    };
    let names = names_of(lacking.iter().map(|(right, _)| right.name));
    let message = format!("{} refused, so {loss}: {reason}", listed(&names));
    let check = Check::new("rights", severity, message);
    Some(match permission(reason) {
        Some(Permission::Command) => {
            let rights: Vec<_> = names.iter().map(|name| format!("+{name}")).collect();
            check.mend(format!(
                "`ACL SETUSER <user> {}`; the page `operation` has all rights in one line",
                rights.join(" ")
            ))
        }
        Some(Permission::Keys) => check.mend("`ACL SETUSER <user> ~<namespace>:*`"),
        Some(Permission::Channels) => check.mend("`ACL SETUSER <user> &<namespace>:*`"),
        None => check,
    })
}

/// What a user may not.
#[derive(PartialEq)]
enum Permission {
    Command,
    Keys,
    Channels,
}

/// What is not permitted, by the words of a server.
fn permission(reason: &str) -> Option<Permission> {
    if !reason.starts_with("NOPERM") {
        None
    } else if reason.contains("channel") {
        Some(Permission::Channels)
    } else if reason.contains("keys") {
        Some(Permission::Keys)
    } else {
        Some(Permission::Command)
    }
}

/// A command that the server does not permit, or does not have, with what it says.
fn lack<'a>(
    (right, result): (&'static Right, &'a Result<(), Error>),
) -> Option<(&'static Right, &'a str)> {
    // What a command says that was carried out, of a key that is as it is left by the one before.
    const HARMLESS: [&str; 5] = ["WRONGTYPE", "NOSCRIPT", "LFU", "LRU", "not an integer"];
    let reason = result.as_ref().err()?.refusal_of_command()?;
    let is_harmless = HARMLESS.iter().any(|word| reason.contains(word))
        // Whether the channels are permitted that are used, `messages` says.
        || permission(reason) == Some(Permission::Channels);
    (!is_harmless).then_some((right, reason))
}

/// Keys that the user may not touch, of those that begin alike.
fn keys(keys: &[(String, Result<(), Error>)]) -> Option<Check> {
    let is_refused = |result: &Result<(), Error>| {
        let reason = result.as_ref().err().and_then(Error::refusal_of_command);
        reason.and_then(permission) == Some(Permission::Keys)
    };
    let refused = keys.iter().filter(|(_, result)| is_refused(result));
    let names: Vec<_> = refused
        .map(|(beginning, _)| format!("`{beginning}`"))
        .collect();
    if names.is_empty() {
        return None;
    }
    let message = format!(
        "keys that begin with {} may not be used; the page `operation` says what they are for",
        names.join(", ")
    );
    let check = Check::new("rights", Severity::Advice, message);
    Some(check.mend("`ACL SETUSER <user> ~<namespace>:*`"))
}

fn identity(is_known: bool) -> Check {
    if is_known {
        let message = "a restart, a failover or an old snapshot is noticed";
        return Check::new("identity", Severity::Fine, message);
    }
    let message = "it does not say which server it is: after a restart from an old snapshot, old entries may be \
                   served until their ttl ends";
    let mend = "permit `INFO`; where a service has none, or hides its `run_id`, keep ttls short";
    Check::new("identity", Severity::Advice, message).mend(mend)
}

fn messages(error: Option<&Error>) -> Check {
    let Some(error) = error else {
        let message = "what other processes invalidate is heard";
        return Check::new("messages", Severity::Fine, message);
    };
    let message = format!("nothing is heard of what other processes invalidate: {error}");
    let mend = "without it, no copies are kept in the process (`local_ttl`); permit `HELLO` and `SUBSCRIBE`, and \
                the channels `&<namespace>:*`";
    Check::new("messages", Severity::Advice, message).mend(mend)
}

fn encryption(is_exposed: bool) -> Check {
    if !is_exposed {
        let message = "what is sent to it cannot be read on the way";
        return Check::new("encryption", Severity::Fine, message);
    }
    let message = "what is sent to it can be read on the way";
    Check::new("encryption", Severity::Advice, message)
        .mend("write `rediss://`, or keep the network private")
}

fn access(is_open: bool) -> Option<Check> {
    let message = "it asks this machine for no password";
    let mend =
        "give it one (`requirepass`, or a user of `ACL SETUSER`), or keep the network private";
    is_open.then(|| Check::new("access", Severity::Advice, message).mend(mend))
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

/// Each name once.
fn names_of(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `` `GET`, `SET` are``
fn listed(names: &[&str]) -> String {
    let shown = names.iter().map(|name| {
        let command = name.replace('|', " ").to_ascii_uppercase();
        format!("`{command}`")
    });
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", shown.collect::<Vec<_>>().join(", "))
}
