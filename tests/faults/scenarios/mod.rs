//! The scenarios: one idea each.

mod abandoned;
mod bad_server;
mod failover;
mod killed_writer;
mod loader;
mod lost_data;
mod mixed;
mod no_memory;
mod outage;
mod partition;
mod races;
mod restored;
mod transaction;

use std::pin::Pin;
use std::time::Duration;

use cache_runtime::sabotage::Rule;

use crate::fake::Manner;
use crate::figure::Figure;
use crate::suite::Size;

/// What happens to the cache, and what is measured meanwhile.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The mechanisms that its promises stand on, each with the figures that are bad
    /// without it; or without several, where one would make up for the other.
    pub(crate) guards: &'static [(&'static [Rule], &'static [&'static str])],
    /// What the runtime lacks that would keep the promises. It is run, and shown, and
    /// not counted.
    pub(crate) awaits: Option<&'static str>,
    pub(crate) run: fn(Size) -> Running,
}

type Running = Pin<Box<dyn Future<Output = Vec<Figure>>>>;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "races, in process",
        guards: &[
            (&[Rule::CompareAndFill], &[races::STUCK]),
            (&[Rule::VersionsBeforeLoad], &[races::STUCK]),
        ],
        awaits: None,
        run: |size| Box::pin(races::in_process(size)),
    },
    Scenario {
        name: "races, on the server",
        guards: &[(&[Rule::CompareAndFill], &[races::STUCK])],
        awaits: None,
        run: |size| Box::pin(races::on_the_server(size)),
    },
    Scenario {
        name: "steady, two processes",
        guards: &[
            (&[Rule::Boarding], &[mixed::STALE]),
            (&[Rule::CompareAndFill], &[mixed::STALE]),
        ],
        awaits: None,
        run: |size| Box::pin(mixed::two_processes(size)),
    },
    Scenario {
        name: "versions deleted at random",
        guards: &[
            (&[Rule::AbsentVersion], &[mixed::STALE]),
            (&[Rule::RandomVersion], &[mixed::STALE]),
        ],
        awaits: None,
        run: |size| Box::pin(lost_data::versions_deleted(size)),
    },
    Scenario {
        name: "memory full, least used evicted",
        guards: &[(&[Rule::AbsentVersion], &[mixed::STALE])],
        awaits: None,
        run: |size| Box::pin(lost_data::evicted(size)),
    },
    Scenario {
        name: "`FLUSHALL`, again and again",
        guards: &[(
            &[Rule::CompareAndFill, Rule::RandomVersion],
            &[mixed::STALE],
        )],
        awaits: None,
        run: |size| Box::pin(lost_data::flushed(size)),
    },
    Scenario {
        name: "killed, back empty",
        guards: &[(&[Rule::Reconnect], &[lost_data::HITS_AGAIN])],
        awaits: None,
        run: |size| Box::pin(lost_data::killed(size)),
    },
    Scenario {
        name: "killed, back from an old snapshot",
        guards: &[(&[Rule::Epoch], &[restored::STALE])],
        awaits: None,
        run: |size| Box::pin(restored::from_a_snapshot(size)),
    },
    Scenario {
        name: "failover to a replica that lost writes",
        guards: &[(&[Rule::Epoch], &[restored::STALE])],
        awaits: None,
        run: |size| Box::pin(failover::to_a_replica(size)),
    },
    Scenario {
        name: "network cut, 3 s",
        guards: &[(&[Rule::Journal], &[outage::LOST])],
        awaits: None,
        run: |size| Box::pin(outage::cut(outage::three_seconds(size))),
    },
    Scenario {
        name: "network cut, 12 s",
        guards: &[(&[Rule::Journal], &[outage::LOST])],
        awaits: None,
        run: |size| {
            Box::pin(outage::cut(
                size.pick(Duration::from_secs(12), Duration::from_secs(2)),
            ))
        },
    },
    Scenario {
        name: "nothing comes through, 3 s",
        guards: &[(&[Rule::Journal], &[outage::LOST])],
        awaits: None,
        run: |size| Box::pin(outage::black_hole(outage::three_seconds(size))),
    },
    Scenario {
        name: "no answer comes back, 3 s",
        guards: &[(&[Rule::Journal], &[outage::LOST])],
        awaits: None,
        run: |size| Box::pin(outage::no_answers(outage::three_seconds(size))),
    },
    Scenario {
        name: "server frozen, 3 s",
        guards: &[
            (&[Rule::Journal], &[outage::LOST]),
            (&[Rule::Deadline], &[outage::LONGEST]),
        ],
        awaits: None,
        run: |size| Box::pin(outage::frozen(outage::three_seconds(size))),
    },
    Scenario {
        name: "server frozen, breaker open",
        guards: &[(&[Rule::Breaker], &[outage::SLOW])],
        awaits: None,
        run: |_| Box::pin(outage::breaker()),
    },
    Scenario {
        name: "writes refused, two processes",
        guards: &[
            (&[Rule::Publish], &[partition::LATE]),
            (&[Rule::Distrust], &[partition::LATE, partition::LATE_HERE]),
        ],
        awaits: None,
        run: |size| Box::pin(partition::writes_refused(size)),
    },
    Scenario {
        name: "writer killed after its commit, with a fence",
        guards: &[(&[Rule::Fence], &[restored::STALE])],
        awaits: None,
        run: |size| Box::pin(killed_writer::with_a_fence(size)),
    },
    Scenario {
        name: "update dropped at every await point",
        guards: &[(&[Rule::RunOnDrop], &[abandoned::STALE])],
        awaits: None,
        run: |size| Box::pin(abandoned::dropped(size)),
    },
    Scenario {
        name: "update dropped while its commit is under way",
        guards: &[(&[Rule::SecondInvalidation], &[abandoned::STALE])],
        awaits: None,
        run: |size| Box::pin(abandoned::dropped_committing(size)),
    },
    Scenario {
        name: "update fails while its commit is under way",
        guards: &[(&[Rule::SecondInvalidation], &[abandoned::STALE])],
        awaits: None,
        run: |size| Box::pin(abandoned::fails_committing(size)),
    },
    Scenario {
        name: "update panics while its commit is under way",
        guards: &[(&[Rule::SecondInvalidation], &[abandoned::STALE])],
        awaits: None,
        run: |size| Box::pin(abandoned::panics_committing(size)),
    },
    Scenario {
        name: "invalidation in a transaction, `after_commit`",
        guards: &[(&[Rule::AfterCommit], &[restored::STALE])],
        awaits: None,
        run: |size| Box::pin(transaction::after_commit(size)),
    },
    Scenario {
        name: "one of two processes cut off",
        guards: &[(&[Rule::Journal], &[outage::LOST])],
        awaits: None,
        run: |size| Box::pin(partition::writer_cut_off(size)),
    },
    Scenario {
        name: "journal overflow",
        guards: &[(&[Rule::Overflow], &[outage::LOST])],
        awaits: None,
        run: |size| Box::pin(outage::overflow(outage::three_seconds(size))),
    },
    Scenario {
        name: "memory full, nothing evicted",
        guards: &[(&[Rule::UnlinkWhenFull], &[no_memory::LATE])],
        awaits: None,
        run: |size| Box::pin(no_memory::no_eviction(size)),
    },
    Scenario {
        name: "the loader is cancelled",
        guards: &[(
            &[Rule::HandOver],
            &[loader::IN_PROCESS, loader::ON_THE_SERVER],
        )],
        awaits: None,
        run: |size| Box::pin(loader::cancelled(size)),
    },
    Scenario {
        name: "the loader panics",
        guards: &[(
            &[Rule::HandOver],
            &[loader::IN_PROCESS, loader::ON_THE_SERVER],
        )],
        awaits: None,
        run: |size| Box::pin(loader::panics(size)),
    },
    Scenario {
        name: "the loader hangs",
        guards: &[(
            &[Rule::WaiterBound],
            &[loader::IN_PROCESS, loader::ON_THE_SERVER],
        )],
        awaits: None,
        run: |size| Box::pin(loader::hangs(size)),
    },
    Scenario {
        name: "wrong password",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::wrong_password()),
    },
    Scenario {
        name: "no permission (`NOPERM`)",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::no_permission()),
    },
    Scenario {
        name: "a replica (`READONLY`)",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::read_only()),
    },
    Scenario {
        name: "a value too large for the server",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::too_large_a_value()),
    },
    Scenario {
        name: "a value of 512 MB",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |size| Box::pin(bad_server::half_a_gigabyte(size)),
    },
    Scenario {
        name: "foreign and truncated values",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::foreign_values()),
    },
    Scenario {
        name: "the server is loading (`LOADING`)",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| {
            Box::pin(bad_server::fake(Manner::Says(
                b"-LOADING Redis is loading the dataset in memory\r\n".to_vec(),
            )))
        },
    },
    Scenario {
        name: "a protocol error",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::fake(Manner::Says(b"*1\r\n$x\r\n".to_vec()))),
    },
    Scenario {
        name: "answers of the wrong type",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::fake(Manner::Says(b":1\r\n".to_vec()))),
    },
    Scenario {
        name: "an answer that claims to be endless",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| {
            Box::pin(bad_server::fake(Manner::Says(
                b"$9223372036854775807\r\n".to_vec(),
            )))
        },
    },
    Scenario {
        name: "an answer of arrays in arrays",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::fake(Manner::Floods(b"*1\r\n".repeat(1024)))),
    },
    Scenario {
        name: "another protocol",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| {
            Box::pin(bad_server::fake(Manner::SaysFromTheStart(
                b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            )))
        },
    },
    Scenario {
        name: "a flood of garbage",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::fake(Manner::Floods((0..=255).collect()))),
    },
    Scenario {
        name: "a server that listens only",
        guards: &[
            (&[Rule::Degrade], &[bad_server::BROKEN]),
            (&[Rule::Deadline], &[outage::LONGEST]),
        ],
        awaits: None,
        run: |_| Box::pin(bad_server::fake(Manner::Listens)),
    },
    Scenario {
        name: "a server that hangs up",
        guards: &[(&[Rule::Degrade], &[bad_server::BROKEN])],
        awaits: None,
        run: |_| Box::pin(bad_server::fake(Manner::HangsUp)),
    },
];
