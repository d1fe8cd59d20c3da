//! The scenarios. Each has one idea.

mod abandoned;
mod abandoned_fence;
mod announced;
mod bad_server;
mod budgets;
mod cluster;
mod copies;
mod dead_lease;
mod detached;
mod failing;
mod failover;
pub(crate) mod forked;
mod freshness;
mod killed_writer;
mod large_values;
mod late;
mod lists;
mod liveness;
mod loader;
pub(crate) mod locks;
mod long_lived;
mod lost_data;
mod many_failures;
mod many_scopes;
mod mixed;
mod no_memory;
mod other_types;
mod outage;
mod partition;
mod patterns;
mod races;
mod restored;
mod sentinels;
mod slow_link;
mod slow_reads;
mod tied;
mod transaction;
mod unsaved;
mod upstash;

use std::pin::Pin;
use std::time::Duration;

use cache_runtime::sabotage::Rule;

use self::copies::Channel;
use crate::fake::Manner;
use crate::figure::Figure;
use crate::suite::Size;

/// What happens to the cache, and what is measured meanwhile.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The mechanisms that the promises stand on, each with the figures that are bad without it.
    /// Where one mechanism makes up for another, both are taken away together.
    pub(crate) guards: &'static [Guard],
    pub(crate) run: fn(Size) -> Running,
}

type Running = Pin<Box<dyn Future<Output = Vec<Figure>>>>;

/// Mechanisms, and the figures that are bad without them.
type Guard = (&'static [Rule], &'static [&'static str]);

impl Scenario {
    const fn new(name: &'static str, guards: &'static [Guard], run: fn(Size) -> Running) -> Self {
        Self { name, guards, run }
    }

    /// A server that answers wrongly: its failures must not reach a caller.
    const fn bad_server(name: &'static str, run: fn(Size) -> Running) -> Self {
        Self::new(name, &[(&[Rule::Degrade], &[bad_server::BROKEN])], run)
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "races, in process",
        &[
            (&[Rule::CompareAndFill], &[races::STUCK]),
            (&[Rule::VersionsBeforeLoad], &[races::STUCK]),
        ],
        |size| Box::pin(races::in_process(size)),
    ),
    Scenario::new(
        "races, on the server",
        &[(&[Rule::CompareAndFill], &[races::STUCK])],
        |size| Box::pin(races::on_the_server(size)),
    ),
    Scenario::new(
        "races of lists, in process",
        &[
            (&[Rule::TagsBeforeLoad], &[races::STUCK]),
            (&[Rule::LateWaiter], &[mixed::STALE]),
        ],
        |size| Box::pin(lists::in_process(size)),
    ),
    Scenario::new(
        "races of lists, on the server",
        &[
            (&[Rule::TagsBeforeLoad], &[races::STUCK]),
            (&[Rule::LateWaiter], &[mixed::STALE]),
        ],
        |size| Box::pin(lists::on_the_server(size)),
    ),
    Scenario::new(
        "steady, two processes",
        &[
            (&[Rule::Boarding], &[mixed::STALE]),
            (&[Rule::CompareAndFill], &[mixed::STALE]),
        ],
        |size| Box::pin(mixed::two_processes(size)),
    ),
    Scenario::new(
        "copies, steady, two processes",
        &[
            (&[Rule::CopyGeneration], &[mixed::STALE]),
            (&[Rule::PublishedByScript], &[mixed::STALE]),
            (&[Rule::PublishedByScript, Rule::OwnCopies], &[mixed::STALE]),
        ],
        |size| Box::pin(copies::steady(size)),
    ),
    Scenario::new(
        "copies, nothing is heard",
        &[(&[Rule::TrustEnds], &[mixed::STALE])],
        |size| Box::pin(copies::through(Channel::Dead, size)),
    ),
    Scenario::new(
        "a fence while a function asks whose values never leave the process",
        &[(&[Rule::CopyGeneration], &[tied::STALE])],
        |_| Box::pin(tied::fence()),
    ),
    Scenario::new("copies, no request arrives", &[], |size| {
        Box::pin(copies::through(Channel::HalfDead, size))
    }),
    Scenario::new(
        "copies, what is heard is late",
        &[(&[Rule::TrustEnds], &[mixed::STALE])],
        |size| Box::pin(copies::through(Channel::Slow, size)),
    ),
    Scenario::new(
        "copies, too much is heard",
        &[(&[Rule::TrustEnds], &[mixed::STALE])],
        |size| Box::pin(copies::through(Channel::Flooded, size)),
    ),
    Scenario::new(
        "copies, a process is stopped and goes on",
        &[(&[Rule::TrustEnds], &[mixed::STALE])],
        |size| Box::pin(copies::stopped(size)),
    ),
    Scenario::new(
        "copies, a cluster, two processes",
        &[
            (&[Rule::CopyGeneration], &[mixed::STALE]),
            (&[Rule::PublishedByScript], &[mixed::STALE]),
        ],
        |size| Box::pin(copies::in_a_cluster(size)),
    ),
    Scenario::new(
        "copies, a cluster, one node is not heard",
        &[(&[Rule::TrustEnds], &[mixed::STALE])],
        |size| Box::pin(copies::one_node_unheard(size)),
    ),
    Scenario::new("copies, a cluster, hash slots move", &[], |size| {
        Box::pin(copies::hash_slots_move(size))
    }),
    Scenario::new(
        "Upstash, one process, replicas that lag",
        &[
            (&[Rule::SyncToken], &[mixed::STALE]),
            (&[Rule::CompareAndFill], &[mixed::STALE]),
        ],
        |size| Box::pin(upstash::lagging_replicas(size)),
    ),
    Scenario::new(
        "versions deleted at random",
        &[
            (&[Rule::AbsentVersion], &[mixed::STALE]),
            (&[Rule::RandomVersion], &[mixed::STALE]),
        ],
        |size| Box::pin(lost_data::versions_deleted(size)),
    ),
    Scenario::new(
        "memory full, least used evicted",
        &[(&[Rule::AbsentVersion], &[mixed::STALE])],
        |size| Box::pin(lost_data::evicted(size)),
    ),
    Scenario::new(
        "`FLUSHALL`, again and again",
        &[(
            &[Rule::CompareAndFill, Rule::RandomVersion],
            &[mixed::STALE],
        )],
        |size| Box::pin(lost_data::flushed(size)),
    ),
    Scenario::new(
        "killed, back empty",
        &[(&[Rule::Reconnect], &[lost_data::HITS_AGAIN])],
        |size| Box::pin(lost_data::killed(size)),
    ),
    Scenario::new(
        "killed, back from an old snapshot",
        &[(&[Rule::Epoch], &[restored::STALE])],
        |size| Box::pin(restored::from_a_snapshot(size)),
    ),
    Scenario::new(
        "failover to a replica that lost writes",
        &[(&[Rule::Epoch], &[restored::STALE])],
        |size| Box::pin(failover::to_a_replica(size)),
    ),
    Scenario::new(
        "failover by sentinels, primary killed",
        &[
            (&[Rule::Epoch, Rule::Journal], &[outage::STALE_HERE]),
            (&[Rule::Reconnect], &[sentinels::HITS_AGAIN]),
        ],
        |size| Box::pin(sentinels::killed(size)),
    ),
    Scenario::new(
        "failover by sentinels, primary frozen",
        &[(&[Rule::Deadline], &[outage::LONGEST])],
        |size| Box::pin(sentinels::frozen(size)),
    ),
    Scenario::new(
        "failover by sentinels, primary cut off from them",
        &[(&[Rule::LeavesReplaced], &[sentinels::LEFT])],
        |size| Box::pin(sentinels::cut_off(size)),
    ),
    Scenario::new(
        "network cut, 3 s",
        &[(&[Rule::Journal], &[outage::LOST])],
        |size| Box::pin(outage::cut(outage::three_seconds(size))),
    ),
    Scenario::new(
        "network cut, 12 s",
        &[(&[Rule::Journal], &[outage::LOST])],
        |size| {
            Box::pin(outage::cut(
                size.pick(Duration::from_secs(12), Duration::from_secs(2)),
            ))
        },
    ),
    Scenario::new(
        "a pattern while the server is away",
        &[(&[Rule::Journal], &[outage::LOST])],
        |size| Box::pin(patterns::cut(outage::three_seconds(size))),
    ),
    Scenario::new("a pattern among a million entries", &[], |size| {
        Box::pin(patterns::a_million(size))
    }),
    Scenario::new(
        "nothing comes through, 3 s",
        &[(&[Rule::Journal], &[outage::LOST])],
        |size| Box::pin(outage::black_hole(outage::three_seconds(size))),
    ),
    Scenario::new(
        "no answer comes back, 3 s",
        &[(&[Rule::Journal], &[outage::LOST])],
        |size| Box::pin(outage::no_answers(outage::three_seconds(size))),
    ),
    Scenario::new(
        "server frozen, 3 s",
        &[
            (&[Rule::Journal], &[outage::LOST]),
            (&[Rule::Deadline], &[outage::LONGEST]),
        ],
        |size| Box::pin(outage::frozen(outage::three_seconds(size))),
    ),
    Scenario::new(
        "server frozen, breaker open",
        &[(&[Rule::Breaker], &[outage::SLOW])],
        |_| Box::pin(outage::breaker()),
    ),
    Scenario::new(
        "writes refused, two processes",
        &[
            (&[Rule::Publish], &[partition::LATE]),
            (&[Rule::Distrust], &[partition::LATE, partition::LATE_HERE]),
        ],
        |size| Box::pin(partition::writes_refused(size)),
    ),
    Scenario::new(
        "writer killed after its commit, with a fence",
        &[(&[Rule::Fence], &[restored::STALE])],
        |size| Box::pin(killed_writer::with_a_fence(size)),
    ),
    Scenario::new(
        "update dropped at every await point",
        &[(&[Rule::RunOnDrop], &[abandoned::STALE])],
        |size| Box::pin(abandoned::dropped(size)),
    ),
    Scenario::new(
        "update dropped while its commit is under way",
        &[(&[Rule::SecondInvalidation], &[abandoned::STALE])],
        |size| Box::pin(abandoned::dropped_committing(size)),
    ),
    Scenario::new(
        "update fails while its commit is under way",
        &[(&[Rule::SecondInvalidation], &[abandoned::STALE])],
        |size| Box::pin(abandoned::fails_committing(size)),
    ),
    Scenario::new(
        "update panics while its commit is under way",
        &[(&[Rule::SecondInvalidation], &[abandoned::STALE])],
        |size| Box::pin(abandoned::panics_committing(size)),
    ),
    Scenario::new(
        "invalidation in a transaction, `after_commit`",
        &[(&[Rule::AfterCommit], &[restored::STALE])],
        |size| Box::pin(transaction::after_commit(size)),
    ),
    Scenario::new(
        "a transaction that is rolled back, `after_commit`",
        &[(&[Rule::Uncommitted], &[transaction::GHOSTS])],
        |size| Box::pin(transaction::rolled_back(size)),
    ),
    Scenario::new(
        "values of two types under one key",
        &[
            (&[Rule::TypeInEntry], &[other_types::OTHER]),
            (&[Rule::FirstType], &[other_types::LOADS]),
        ],
        |size| Box::pin(other_types::on_the_server(size)),
    ),
    Scenario::new(
        "one of two processes cut off",
        &[(&[Rule::Journal], &[outage::LOST])],
        |size| Box::pin(partition::writer_cut_off(size)),
    ),
    Scenario::new(
        "journal overflow",
        &[(&[Rule::Overflow], &[outage::LOST])],
        |size| Box::pin(outage::overflow(outage::three_seconds(size))),
    ),
    Scenario::new(
        "a slow link",
        &[(
            &[Rule::FitsDeadline],
            &[slow_link::WAITING, slow_link::FAILED],
        )],
        |size| Box::pin(slow_link::many_names(size)),
    ),
    Scenario::new(
        "a process connects while the server cannot save",
        &[(&[Rule::ReadsWhileRefused], &[unsaved::LOADED])],
        |_| Box::pin(unsaved::cannot_save()),
    ),
    Scenario::new(
        "hits over a slow link after an outage",
        &[(&[Rule::FitsDeadline], &[slow_reads::EMPTIED])],
        |_| Box::pin(slow_reads::outage_ends()),
    ),
    Scenario::new(
        "hits over a slow link, 500 names invalidated",
        &[(&[Rule::FitsDeadline], &[slow_reads::WAITING])],
        |_| Box::pin(slow_reads::many_names()),
    ),
    Scenario::new(
        "`clear` over a slow link",
        &[(&[Rule::FitsDeadline], &[slow_reads::LEFT])],
        |_| Box::pin(slow_reads::clear()),
    ),
    Scenario::new(
        "updates keep failing, in process",
        &[(
            &[Rule::BacklogRoom, Rule::Buckets],
            &[many_failures::MISSED],
        )],
        |size| Box::pin(many_failures::in_process(size)),
    ),
    Scenario::new(
        "updates keep failing, on the server",
        &[(
            &[Rule::BacklogRoom, Rule::Buckets],
            &[many_failures::MISSED],
        )],
        |size| Box::pin(many_failures::on_the_server(size)),
    ),
    Scenario::new(
        "too many updates fail, in process",
        &[
            (&[Rule::Buckets], &[many_failures::MISSED]),
            (&[Rule::Overflow], &[restored::STALE]),
        ],
        |size| Box::pin(many_failures::overflow_in_process(size)),
    ),
    Scenario::new(
        "too many updates fail, on the server",
        &[
            (&[Rule::Buckets], &[many_failures::MISSED]),
            (&[Rule::Overflow], &[restored::STALE]),
        ],
        |size| Box::pin(many_failures::overflow_on_the_server(size)),
    ),
    Scenario::new(
        "too many invalidations fail",
        &[
            (&[Rule::Buckets], &[many_failures::MISSED]),
            (&[Rule::Overflow], &[outage::LOST]),
        ],
        |_| Box::pin(many_failures::journal_overflow()),
    ),
    Scenario::new(
        "many scopes of `after_commit`, in process",
        &[(&[Rule::OkIsSettled], &[many_scopes::WAITING])],
        |size| Box::pin(many_scopes::in_process(size)),
    ),
    Scenario::new(
        "many scopes of `after_commit`, on the server",
        &[(&[Rule::OkIsSettled], &[many_scopes::WAITING])],
        |size| Box::pin(many_scopes::on_the_server(size)),
    ),
    Scenario::new(
        "a scope that changes 200,000 rows, in process",
        &[(
            &[Rule::BacklogRoom, Rule::Buckets],
            &[many_failures::MISSED],
        )],
        |size| Box::pin(many_scopes::large_in_process(size)),
    ),
    Scenario::new(
        "a scope that changes 200,000 rows, on the server",
        &[(
            &[Rule::BacklogRoom, Rule::Buckets],
            &[many_failures::MISSED],
        )],
        |size| Box::pin(many_scopes::large_on_the_server(size)),
    ),
    Scenario::new(
        "a user who may run no script, among others",
        &[(
            &[Rule::AnnounceOnce, Rule::Acknowledge],
            &[announced::MISSED],
        )],
        |size| Box::pin(announced::among_others(size)),
    ),
    Scenario::new(
        "writes refused, announced by eight processes",
        &[(&[Rule::AnnounceOnce], &[announced::MESSAGES])],
        |size| Box::pin(announced::all(size)),
    ),
    Scenario::new(
        "memory full, nothing evicted",
        &[(&[Rule::UnlinkWhenFull], &[no_memory::LATE])],
        |size| Box::pin(no_memory::no_eviction(size)),
    ),
    Scenario::new(
        "the loader is cancelled",
        &[(
            &[Rule::HandOver],
            &[loader::IN_PROCESS, loader::ON_THE_SERVER],
        )],
        |size| Box::pin(loader::cancelled(size)),
    ),
    Scenario::new(
        "the loader panics",
        &[(
            &[Rule::HandOver],
            &[loader::IN_PROCESS, loader::ON_THE_SERVER],
        )],
        |size| Box::pin(loader::panics(size)),
    ),
    Scenario::new(
        "the loader hangs",
        &[(
            &[Rule::WaiterBound],
            &[loader::IN_PROCESS, loader::ON_THE_SERVER],
        )],
        |size| Box::pin(loader::hangs(size)),
    ),
    Scenario::new(
        "a caller is set aside",
        &[(
            &[Rule::SetAside],
            &[liveness::IN_PROCESS, liveness::ON_THE_SERVER],
        )],
        |_| Box::pin(liveness::set_aside(1)),
    ),
    Scenario::new(
        "eight callers are set aside",
        &[(
            &[Rule::SetAside],
            &[liveness::IN_PROCESS, liveness::ON_THE_SERVER],
        )],
        |_| Box::pin(liveness::set_aside(8)),
    ),
    Scenario::new(
        "a caller is set aside at every await point",
        &[(
            &[Rule::SetAside],
            &[liveness::IN_PROCESS, liveness::ON_THE_SERVER],
        )],
        |_| Box::pin(liveness::set_aside_anywhere()),
    ),
    Scenario::new(
        "… while another process loads",
        &[(&[Rule::SetAside], &[liveness::ON_THE_SERVER])],
        |_| Box::pin(liveness::set_aside_watching()),
    ),
    Scenario::new(
        "callers are set aside one after the other",
        &[(&[Rule::SetAside], &[liveness::IN_PROCESS])],
        |_| Box::pin(liveness::leaders_set_aside()),
    ),
    Scenario::new(
        "a load calls its own key",
        &[(
            &[Rule::Circle],
            &[liveness::IN_PROCESS, liveness::ON_THE_SERVER],
        )],
        |size| Box::pin(liveness::reentrant(size)),
    ),
    Scenario::new(
        "two loads need each other",
        &[(
            &[Rule::Circle],
            &[liveness::IN_PROCESS, liveness::ON_THE_SERVER],
        )],
        |size| Box::pin(liveness::crossed(size)),
    ),
    Scenario::new(
        "a load waits for a transaction that reads",
        &[(
            &[Rule::Uncommitted],
            &[liveness::IN_PROCESS, liveness::ON_THE_SERVER],
        )],
        |size| Box::pin(liveness::in_a_transaction(size)),
    ),
    Scenario::new(
        "the first load hangs",
        &[(
            &[Rule::Hedge],
            &[liveness::IN_PROCESS, liveness::ON_THE_SERVER],
        )],
        |size| Box::pin(liveness::first_hangs(size)),
    ),
    Scenario::new(
        "a thousand callers, all loads fail",
        &[(
            &[Rule::Waves],
            &[failing::SECOND_WAVE, failing::SECOND_WAVE_ON_THE_SERVER],
        )],
        |size| Box::pin(failing::all_fail(size)),
    ),
    Scenario::new(
        "a thousand callers, the first load fails",
        &[(
            &[Rule::Waves],
            &[failing::LOADS, failing::LOADS_ON_THE_SERVER],
        )],
        |size| Box::pin(failing::first_fails(size)),
    ),
    Scenario::new(
        "a thousand callers, an error that can be cloned",
        &[],
        |size| Box::pin(failing::error_for_all(size)),
    ),
    Scenario::new(
        "commands held back while loads run",
        &[
            (&[Rule::DeadLease, Rule::GiveBackLater], &[dead_lease::HERE]),
            (&[Rule::GiveBackLater], &[dead_lease::ELSEWHERE]),
        ],
        |size| Box::pin(dead_lease::commands_held(size)),
    ),
    Scenario::new(
        "answers held back while leases are taken",
        &[
            (&[Rule::DeadLease, Rule::GiveBackLater], &[dead_lease::HERE]),
            (&[Rule::GiveBackLater], &[dead_lease::ELSEWHERE]),
        ],
        |size| Box::pin(dead_lease::answers_held(size)),
    ),
    Scenario::new(
        "failover to a replica while loads run",
        &[(
            &[Rule::DeadLease],
            &[
                dead_lease::HERE,
                dead_lease::ELSEWHERE,
                dead_lease::WATCHING,
            ],
        )],
        |size| Box::pin(dead_lease::failover(size)),
    ),
    Scenario::new(
        "writes paused, callers give up",
        &[(&[Rule::WaitsAddUp], &[liveness::STAYS])],
        |size| Box::pin(liveness::writes_paused(size)),
    ),
    Scenario::new(
        "eight reads are set aside",
        &[(
            &[Rule::TurnEnds],
            &[liveness::MISSED, liveness::LONGEST_HIT],
        )],
        |_| Box::pin(liveness::reads_set_aside(8, 10)),
    ),
    Scenario::new(
        "eighty reads are set aside",
        &[(
            &[Rule::TurnEnds],
            &[liveness::MISSED, liveness::LONGEST_HIT],
        )],
        |_| Box::pin(liveness::reads_set_aside(80, 10)),
    ),
    Scenario::new(
        "eight reads of large values are set aside",
        &[(
            &[Rule::TurnEnds],
            &[liveness::MISSED, liveness::LONGEST_HIT],
        )],
        |_| Box::pin(liveness::reads_set_aside(8, 1 << 17)),
    ),
    Scenario::new(
        "large values, hundreds of callers",
        &[(&[Rule::Room], &[large_values::MISSED, large_values::FAILED])],
        |size| Box::pin(large_values::read_at_once(size)),
    ),
    Scenario::new(
        "callers give up, with `detach`",
        &[(
            &[Rule::Detach],
            &[
                detached::LOADS,
                detached::LOADS_ON_THE_SERVER,
                detached::UNSERVED,
                detached::UNSERVED_ON_THE_SERVER,
            ],
        )],
        |size| Box::pin(detached::callers_give_up(size)),
    ),
    Scenario::new(
        "a ttl ends in two processes",
        &[
            (&[Rule::CompareAndFill], &[restored::STALE]),
            (&[Rule::RefreshLock], &[freshness::AT_ONCE]),
        ],
        |size| Box::pin(freshness::ttl_ends(size)),
    ),
    Scenario::new(
        "a crowd comes as a ttl ends",
        &[(&[Rule::RefreshLock], &[freshness::MORE_LOADS])],
        |size| Box::pin(freshness::crowd_at_expiry(size)),
    ),
    Scenario::new(
        "the database is away, old values are there",
        &[
            (&[Rule::OldForError], &[freshness::ERRORS]),
            (&[Rule::RetryAfter], &[freshness::LOADS]),
        ],
        |size| Box::pin(freshness::database_is_away(size)),
    ),
    Scenario::new(
        "forked workers",
        &[(
            &[Rule::Forks],
            &[forked::STALE, forked::LOADS, forked::LOCKS],
        )],
        |_| Box::pin(async { forked::workers() }),
    ),
    Scenario::new(
        "a `set` whose command is held back",
        &[(&[Rule::CompareAndFill], &[restored::STALE])],
        |size| Box::pin(late::sets(size)),
    ),
    Scenario::new(
        "a ttl from the value, with tags",
        &[(&[Rule::VersionsOutlive], &[long_lived::MISSED])],
        |size| Box::pin(long_lived::ttl_from_the_value(size)),
    ),
    Scenario::new(
        "a fence that many abandon",
        &[(
            &[Rule::ShortFence],
            &[abandoned_fence::BYTES, abandoned_fence::TIME],
        )],
        |size| Box::pin(abandoned_fence::failing_updates(size)),
    ),
    Scenario::new(
        "races, in a cluster",
        &[(&[Rule::CompareAndFill], &[races::STUCK])],
        |size| Box::pin(cluster::races(size)),
    ),
    Scenario::new(
        "steady in a cluster, two processes",
        &[
            (&[Rule::Boarding], &[mixed::STALE]),
            (&[Rule::CompareAndFill], &[mixed::STALE]),
        ],
        |size| Box::pin(cluster::steady(size)),
    ),
    Scenario::new(
        "slots of a cluster move back and forth",
        &[(&[Rule::Moved], &[cluster::KEPT])],
        |size| Box::pin(cluster::moving(size)),
    ),
    Scenario::new(
        "a slot with all keys moves back and forth",
        &[(&[Rule::Moved], &[cluster::KEPT])],
        |size| Box::pin(cluster::moving_together(size)),
    ),
    Scenario::new(
        "a primary of a cluster is killed",
        &[(&[Rule::Journal, Rule::Epoch], &[outage::LOST])],
        |size| Box::pin(cluster::killed(size)),
    ),
    Scenario::new(
        "a primary of a cluster is frozen",
        &[
            (&[Rule::Journal], &[outage::LOST]),
            (&[Rule::Deadline], &[outage::LONGEST]),
        ],
        |size| Box::pin(cluster::frozen(size)),
    ),
    Scenario::new(
        "… until its replica has taken its place",
        &[
            (&[Rule::Journal, Rule::Epoch], &[outage::LOST]),
            (&[Rule::Deadline], &[outage::LONGEST]),
        ],
        |size| Box::pin(cluster::replaced_while_frozen(size)),
    ),
    Scenario::new(
        "one node of a cluster is cut off",
        &[(&[Rule::Journal], &[outage::LOST])],
        |size| Box::pin(cluster::cut_off(size)),
    ),
    Scenario::new(
        "only a primary that was replaced can be reached",
        &[(&[Rule::MapEpoch], &[cluster::SPLIT])],
        |size| Box::pin(cluster::split(size)),
    ),
    Scenario::new(
        "one node of a cluster is back from an old snapshot",
        &[
            (&[Rule::Epoch], &[restored::STALE]),
            (&[Rule::ClusterEpochs], &[restored::STALE]),
        ],
        |size| Box::pin(cluster::from_a_snapshot(size)),
    ),
    Scenario::new(
        "`FLUSHALL` on one node of a cluster after the other",
        &[(
            &[Rule::CompareAndFill, Rule::RandomVersion],
            &[mixed::STALE],
        )],
        |size| Box::pin(cluster::flushed(size)),
    ),
    Scenario::new("512 callers of one node of a cluster", &[], |size| {
        Box::pin(cluster::throughput(size))
    }),
    Scenario::new(
        "locks, a thousand contenders",
        &[(&[Rule::LockHeld], &[locks::TOGETHER])],
        |size| Box::pin(locks::contenders(size)),
    ),
    Scenario::new(
        "locks, a holder is killed",
        &[(&[Rule::LockHeld], &[locks::TOGETHER])],
        |size| Box::pin(locks::holder_is_killed(size)),
    ),
    Scenario::new(
        "locks, a holder is stopped and goes on",
        &[
            (&[Rule::LockOwner], &[locks::TOGETHER]),
            (&[Rule::LockLost], &[locks::LATE]),
        ],
        |size| Box::pin(locks::holder_is_stopped(size)),
    ),
    Scenario::new(
        "locks, the server restarts empty",
        &[(&[Rule::LockToken], &[locks::TOKENS])],
        |size| Box::pin(locks::server_restarts_empty(size)),
    ),
    Scenario::new(
        "locks, a replica that has not heard of them takes over",
        &[(&[Rule::LockToken], &[locks::TOKENS])],
        |size| Box::pin(locks::failover(size)),
    ),
    Scenario::new(
        "a budget that is filled ten times over",
        &[(&[Rule::EntriesOnly], &[budgets::OTHERS])],
        |size| Box::pin(budgets::overfilled(size)),
    ),
    Scenario::bad_server("wrong password", |_| Box::pin(bad_server::wrong_password())),
    Scenario::bad_server("no permission (`NOPERM`)", |_| {
        Box::pin(bad_server::no_permission())
    }),
    Scenario::bad_server("a replica (`READONLY`)", |_| {
        Box::pin(bad_server::read_only())
    }),
    Scenario::bad_server("a value too large for the server", |_| {
        Box::pin(bad_server::too_large_a_value())
    }),
    Scenario::bad_server("a value of 512 MB", |size| {
        Box::pin(bad_server::half_a_gigabyte(size))
    }),
    Scenario::bad_server("foreign and truncated values", |_| {
        Box::pin(bad_server::foreign_values())
    }),
    Scenario::bad_server("the server is loading (`LOADING`)", |_| {
        Box::pin(bad_server::fake(Manner::Says(
            b"-LOADING Redis is loading the dataset in memory\r\n".to_vec(),
        )))
    }),
    Scenario::bad_server("a protocol error", |_| {
        Box::pin(bad_server::fake(Manner::Says(b"*1\r\n$x\r\n".to_vec())))
    }),
    Scenario::bad_server("answers of the wrong type", |_| {
        Box::pin(bad_server::fake(Manner::Says(b":1\r\n".to_vec())))
    }),
    Scenario::bad_server("an answer that claims to be endless", |_| {
        Box::pin(bad_server::fake(Manner::Says(
            b"$9223372036854775807\r\n".to_vec(),
        )))
    }),
    Scenario::bad_server("an answer of arrays in arrays", |_| {
        Box::pin(bad_server::fake(Manner::Floods(b"*1\r\n".repeat(1024))))
    }),
    Scenario::bad_server("another protocol", |_| {
        Box::pin(bad_server::fake(Manner::SaysFromTheStart(
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        )))
    }),
    Scenario::bad_server("a flood of garbage", |_| {
        Box::pin(bad_server::fake(Manner::Floods((0..=255).collect())))
    }),
    Scenario::new(
        "a server that listens only",
        &[
            (&[Rule::Degrade], &[bad_server::BROKEN]),
            (&[Rule::Deadline], &[outage::LONGEST]),
        ],
        |_| Box::pin(bad_server::fake(Manner::Listens)),
    ),
    Scenario::bad_server("a server that hangs up", |_| {
        Box::pin(bad_server::fake(Manner::HangsUp))
    }),
];
