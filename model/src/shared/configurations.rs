//! The configurations that are checked: small ones in each test run, large ones on request.

use super::config::{Config, KEY, OTHER_TAG, TAG};

/// The configurations for each test run.
#[expect(clippy::too_many_lines, reason = "a list")]
pub fn small() -> Vec<Config> {
    vec![
        Config::new("one load in one process")
            .readers([0, 0, 0])
            .one_load(),
        Config::new("one load in two processes")
            .readers([0, 0, 1])
            .one_load(),
        Config::new("a key, two writers")
            .tags(0)
            .readers([0, 0])
            .writer(KEY)
            .writer(KEY),
        Config::new("a tag in a cluster, two losses")
            .cluster()
            .readers([0])
            .writer(TAG)
            .writer(KEY | TAG)
            .faults(|faults| faults.losses = 2),
        Config::new("a tag, a loss, a caller that gives up")
            .readers([0, 0])
            .writer(TAG)
            .faults(|faults| {
                faults.losses = 1;
                faults.cancels = 1;
            }),
        Config::new("two processes, and a reader that stops waiting")
            .readers([0, 1])
            .writer(TAG)
            .faults(|faults| {
                faults.losses = 1;
                faults.patience = 1;
            }),
        Config::new("two tags, a loss")
            .tags(2)
            .readers([0, 0])
            .writer(TAG | OTHER_TAG)
            .faults(|faults| faults.losses = 1),
        Config::new("a snapshot")
            .readers([0, 0])
            .writer(TAG)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("a snapshot in a cluster")
            .cluster()
            .readers([0])
            .writer(TAG)
            .writer(KEY)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 2;
            }),
        Config::new("loads that fail")
            .readers([0, 0])
            .writer(KEY)
            .faults(|faults| {
                faults.errors = 1;
                faults.cancels = 1;
            }),
        Config::new("no answers")
            .readers([0, 0])
            .writer(TAG)
            .faults(|faults| faults.outages = 2),
        Config::new("writers that fail")
            .readers([0])
            .failing_writer(KEY)
            .failing_writer(TAG),
        Config::new("two fences, a death, a loss")
            .readers([0])
            .failing_fenced_writer(TAG)
            .fenced_writer(TAG)
            .faults(|faults| {
                faults.crashes = 1;
                faults.losses = 1;
            }),
        Config::new("a fence and readers of one process")
            .readers([0, 0])
            .failing_fenced_writer(TAG)
            .faults(|faults| faults.crashes = 1),
        Config::new("a fence, no answers, a death")
            .readers([0])
            .failing_fenced_writer(KEY | TAG)
            .faults(|faults| {
                faults.outages = 2;
                faults.crashes = 1;
            }),
        Config::new("a fence, a snapshot")
            .readers([0])
            .failing_fenced_writer(KEY | TAG)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
                faults.crashes = 1;
            }),
        Config::new("a value set by hand, a tag, a loss")
            .readers([0, 0])
            .writer(KEY | TAG)
            .setter()
            .faults(|faults| faults.losses = 1),
        Config::new("a value set by hand, a key, two processes")
            .tags(0)
            .readers([0, 1])
            .writer(KEY)
            .setter()
            .faults(|faults| faults.patience = 1),
        Config::new("a value set by hand, a fence, a death")
            .readers([0])
            .failing_fenced_writer(KEY | TAG)
            .setter()
            .faults(|faults| faults.crashes = 1),
        Config::new("a value set by hand, a snapshot")
            .readers([0])
            .writer(TAG)
            .setter()
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("a value set by hand in a cluster, a snapshot")
            .cluster()
            .readers([0])
            .writer(KEY | TAG)
            .setter()
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("a value set by hand in a cluster, a loss, no answers")
            .cluster()
            .readers([0])
            .writer(TAG)
            .setter()
            .faults(|faults| {
                faults.losses = 1;
                faults.outages = 1;
            }),
        Config::new("a fence in a cluster, a death, a loss")
            .cluster()
            .readers([0])
            .failing_fenced_writer(KEY | TAG)
            .faults(|faults| {
                faults.crashes = 1;
                faults.losses = 1;
            }),
        Config::new("parts of a cluster that move back and forth")
            .cluster()
            .readers([0])
            .writer(KEY | TAG)
            .faults(|faults| faults.moves = 4),
        Config::new("parts of a cluster that move, and a move that is given up")
            .cluster()
            .readers([0])
            .writer(KEY)
            .writer(TAG)
            .faults(|faults| {
                faults.moves = 2;
                faults.aborts = 1;
            }),
        Config::new("parts of a cluster that move, a fence, a death")
            .cluster()
            .readers([0])
            .fenced_writer(KEY | TAG)
            .faults(|faults| {
                faults.moves = 2;
                faults.crashes = 1;
            }),
        Config::new("parts of a cluster that move, a value set by hand")
            .cluster()
            .readers([0])
            .writer(KEY)
            .setter()
            .faults(|faults| faults.moves = 2),
        Config::new("one load, of three that do not move or fail")
            .tags(0)
            .readers([0, 0, 0])
            .one_load()
            .faults(|faults| {
                faults.stops = 1;
                faults.hangs = 1;
                faults.errors = 1;
            }),
        Config::new("a reader that is set aside, a tag")
            .readers([0, 0])
            .writer(TAG)
            .faults(|faults| {
                faults.stops = 1;
                faults.losses = 1;
            }),
        Config::new("two readers that are set aside, a key, a caller that gives up")
            .tags(0)
            .readers([0, 0])
            .writer(KEY)
            .faults(|faults| {
                faults.stops = 2;
                faults.cancels = 1;
            }),
        Config::new("a reader that is set aside, another process")
            .readers([0, 1])
            .writer(TAG)
            .faults(|faults| {
                faults.stops = 1;
                faults.patience = 1;
            }),
        Config::new("a load that hangs, no answers")
            .tags(0)
            .readers([0, 0])
            .writer(KEY)
            .faults(|faults| {
                faults.hangs = 1;
                faults.outages = 1;
            }),
        Config::new("a reader that is set aside, a failover")
            .tags(0)
            .readers([0, 1])
            .writer(KEY)
            .faults(|faults| {
                faults.stops = 1;
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("a reader that is set aside, a fence, a death")
            .tags(0)
            .readers([0, 0])
            .fenced_writer(KEY)
            .faults(|faults| {
                faults.stops = 1;
                faults.crashes = 1;
            }),
        Config::new("loads that fail, an error that is shared")
            .tags(0)
            .readers([0, 0, 0])
            .sharing_errors()
            .faults(|faults| {
                faults.errors = 2;
                faults.hangs = 1;
            }),
        Config::new("refresh, a fence, a death")
            .readers([0, 0])
            .refreshing()
            .fenced_writer(TAG)
            .faults(|faults| faults.crashes = 1),
        Config::new("refresh in a cluster, a snapshot")
            .cluster()
            .readers([0, 0])
            .refreshing()
            .writer(TAG)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("refresh, a tag, a loss")
            .readers([0, 0])
            .refreshing()
            .writer(TAG)
            .faults(|faults| faults.losses = 1),
        Config::new("refresh, a key, two writers")
            .tags(0)
            .readers([0, 0])
            .refreshing()
            .writer(KEY)
            .writer(KEY),
        Config::new("tags from the value: two loads in one process")
            .tags_from_the_value([TAG | OTHER_TAG])
            .readers([0, 0, 0])
            .one_load(),
        Config::new("tags from the value: two loads in two processes")
            .tags_from_the_value([TAG])
            .readers([0, 1])
            .one_load(),
        Config::new("tags from the value, which change twice")
            .tags_from_the_value([TAG, OTHER_TAG, TAG | OTHER_TAG])
            .readers([0, 0])
            .writer_of_value()
            .writer_of_value(),
        Config::new("tags from the value, two processes, a loss")
            .tags_from_the_value([TAG, OTHER_TAG])
            .remembering(0, TAG)
            .readers([0, 1])
            .writer_of_value()
            .faults(|faults| faults.losses = 1),
        Config::new("tags from the value, no answers")
            .tags_from_the_value([TAG, OTHER_TAG])
            .remembering(0, TAG)
            .readers([0, 0])
            .writer_of_value()
            .faults(|faults| faults.outages = 1),
        Config::new("tags from the value, a snapshot")
            .tags_from_the_value([TAG, OTHER_TAG])
            .remembering(0, TAG)
            .readers([0, 0])
            .writer_of_value()
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("tags from the value in a cluster, a snapshot")
            .cluster()
            .tags_from_the_value([TAG, OTHER_TAG])
            .remembering(0, TAG)
            .readers([0])
            .writer_of_value()
            .writer_of_value()
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("tags from the value, a reader that is set aside, a key")
            .tags_from_the_value([TAG, OTHER_TAG])
            .remembering(0, TAG)
            .readers([0, 0])
            .writer(KEY)
            .faults(|faults| faults.stops = 1),
        Config::new("tags from the value, a fence, a death")
            .tags_from_the_value([TAG, OTHER_TAG])
            .remembering(0, TAG)
            .readers([0])
            .failing_fenced_writer(TAG | OTHER_TAG)
            .faults(|faults| faults.crashes = 1),
        Config::new("tags from the value, refresh, a loss")
            .tags_from_the_value([TAG, OTHER_TAG])
            .remembering(0, TAG)
            .readers([0])
            .refreshing()
            .writer_of_value()
            .faults(|faults| faults.losses = 1),
    ]
}

/// The configurations that take minutes.
#[expect(clippy::too_many_lines, reason = "a list")]
pub fn large() -> Vec<Config> {
    vec![
        Config::new("three readers in two processes, a loss")
            .readers([0, 0, 1])
            .writer(TAG)
            .faults(|faults| faults.losses = 1),
        Config::new("three readers in one process, a snapshot")
            .readers([0, 0, 0])
            .writer(TAG)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("two processes, two writers, two losses, a reader that stops waiting")
            .readers([0, 1])
            .writer(TAG)
            .writer(KEY)
            .faults(|faults| {
                faults.losses = 2;
                faults.patience = 1;
            }),
        Config::new("two readers, two fenced writers that fail, a death, a loss")
            .readers([0, 0])
            .failing_fenced_writer(TAG)
            .fenced_writer(KEY | TAG)
            .faults(|faults| {
                faults.losses = 1;
                faults.crashes = 1;
            }),
        Config::new("two processes, two writers, no answers, a loss")
            .readers([0, 1])
            .writer(KEY | TAG)
            .writer(TAG)
            .faults(|faults| {
                faults.outages = 2;
                faults.losses = 1;
            }),
        Config::new("a cluster, two readers, a snapshot, a loss")
            .cluster()
            .readers([0, 0])
            .writer(TAG)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
                faults.losses = 1;
            }),
        Config::new("a cluster, two tags, two readers, a loss")
            .cluster()
            .tags(2)
            .readers([0, 0])
            .writer(TAG | OTHER_TAG)
            .faults(|faults| faults.losses = 1),
        Config::new("two fenced writers that fail, no answers, a death, a loss")
            .readers([0])
            .failing_fenced_writer(KEY)
            .failing_fenced_writer(KEY | TAG)
            .faults(|faults| {
                faults.outages = 1;
                faults.crashes = 1;
                faults.losses = 1;
            }),
        Config::new("refresh, a snapshot, a loss, a caller that gives up")
            .readers([0, 0])
            .refreshing()
            .writer(TAG)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
                faults.losses = 1;
                faults.cancels = 1;
            }),
        Config::new("three readers in two processes, two are set aside")
            .tags(0)
            .readers([0, 0, 1])
            .writer(KEY)
            .faults(|faults| faults.stops = 2),
        Config::new("three readers in one process, two are set aside, loads that hang or fail")
            .tags(0)
            .readers([0, 0, 0])
            .writer(KEY)
            .faults(|faults| {
                faults.stops = 2;
                faults.hangs = 1;
                faults.errors = 1;
                faults.cancels = 1;
            }),
        Config::new("three readers, an error that is shared, one is set aside")
            .tags(0)
            .readers([0, 0, 0])
            .sharing_errors()
            .writer(KEY)
            .faults(|faults| {
                faults.errors = 2;
                faults.stops = 1;
            }),
        Config::new("three readers in two processes, one is set aside, no answers")
            .readers([0, 0, 1])
            .writer(TAG)
            .faults(|faults| {
                faults.stops = 1;
                faults.outages = 1;
            }),
        Config::new("three readers in one process, one is set aside, a tag")
            .readers([0, 0, 0])
            .writer(TAG)
            .faults(|faults| faults.stops = 1),
        Config::new("a reader that is set aside, a load that hangs and one that fails, no answers")
            .readers([0, 0])
            .writer(KEY | TAG)
            .faults(|faults| {
                faults.stops = 1;
                faults.hangs = 1;
                faults.errors = 1;
                faults.outages = 1;
                faults.cancels = 1;
            }),
        Config::new("a reader that is set aside, a failover, a loss, a tag")
            .readers([0, 0])
            .writer(TAG)
            .faults(|faults| {
                faults.stops = 1;
                faults.snapshots = 1;
                faults.restarts = 1;
                faults.losses = 1;
            }),
        Config::new("a reader that is set aside in a cluster, a failover")
            .cluster()
            .readers([0, 1])
            .writer(TAG)
            .faults(|faults| {
                faults.stops = 1;
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
        Config::new("a cluster, two processes, a refresh, two writers, a snapshot, a loss")
            .cluster()
            .readers([0, 1])
            .refreshing()
            .writer(TAG)
            .writer(KEY)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
                faults.losses = 1;
            }),
        Config::new("a cluster, two tags, a value set by hand, a loss, no answers")
            .cluster()
            .tags(2)
            .readers([0])
            .writer(TAG | OTHER_TAG)
            .setter()
            .faults(|faults| {
                faults.losses = 1;
                faults.outages = 1;
            }),
        Config::new("a cluster whose parts move back and forth, two readers, two writers")
            .cluster()
            .readers([0, 0])
            .writer(KEY)
            .writer(TAG)
            .faults(|faults| faults.moves = 3),
        Config::new("a cluster whose parts move, two processes, no answers")
            .cluster()
            .readers([0, 1])
            .writer(KEY | TAG)
            .faults(|faults| {
                faults.moves = 2;
                faults.outages = 1;
            }),
        Config::new("a cluster whose parts move, a reader that is set aside, a failover")
            .cluster()
            .readers([0, 0])
            .writer(KEY | TAG)
            .faults(|faults| {
                faults.moves = 2;
                faults.stops = 1;
                faults.restarts = 1;
            }),
        Config::new("a reader that is set aside, fences, a death, a loss")
            .readers([0, 0])
            .failing_fenced_writer(KEY | TAG)
            .faults(|faults| {
                faults.stops = 1;
                faults.crashes = 1;
                faults.losses = 1;
            }),
        Config::new("six kinds of fault at once")
            .readers([0, 0])
            .failing_writer(KEY | TAG)
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
                faults.losses = 1;
                faults.cancels = 1;
                faults.outages = 1;
                faults.errors = 1;
            }),
        Config::new("tags from the value: three readers in two processes, two writers")
            .tags_from_the_value([TAG, OTHER_TAG, TAG | OTHER_TAG])
            .readers([0, 0, 1])
            .writer_of_value()
            .writer_of_value(),
        Config::new("tags from the value: three readers, a loss, a caller that gives up")
            .tags_from_the_value([TAG, TAG | OTHER_TAG])
            .readers([0, 0, 0])
            .writer_of_value()
            .faults(|faults| {
                faults.losses = 1;
                faults.cancels = 1;
            }),
        Config::new("tags from the value: two processes, no answers, a loss")
            .tags_from_the_value([TAG, OTHER_TAG])
            .readers([0, 1])
            .writer_of_value()
            .writer_of_value()
            .faults(|faults| {
                faults.outages = 1;
                faults.losses = 1;
            }),
        Config::new("tags from the value in a cluster: two readers, a snapshot, a loss")
            .cluster()
            .tags_from_the_value([TAG, TAG | OTHER_TAG])
            .readers([0, 0])
            .writer_of_value()
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
                faults.losses = 1;
            }),
        Config::new("tags from the value: two fenced writers that fail, a death, a loss")
            .tags_from_the_value([TAG, OTHER_TAG, TAG | OTHER_TAG])
            .readers([0])
            .failing_fenced_writer(TAG | OTHER_TAG)
            .fenced_writer(TAG | OTHER_TAG)
            .faults(|faults| {
                faults.crashes = 1;
                faults.losses = 1;
            }),
        Config::new(
            "tags from the value: three readers, one is set aside, loads that hang or fail",
        )
        .tags_from_the_value([TAG, OTHER_TAG])
        .readers([0, 0, 0])
        .writer_of_value()
        .faults(|faults| {
            faults.stops = 1;
            faults.hangs = 1;
            faults.errors = 1;
        }),
        Config::new("tags from the value in a cluster: refresh, two processes, a snapshot")
            .cluster()
            .tags_from_the_value([TAG, OTHER_TAG])
            .readers([0, 1])
            .refreshing()
            .writer_of_value()
            .faults(|faults| {
                faults.snapshots = 1;
                faults.restarts = 1;
            }),
    ]
}
