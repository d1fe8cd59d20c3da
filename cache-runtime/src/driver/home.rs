//! The runtime that drives a connection.

use std::future;

use tokio::runtime::{self, Handle};
use tokio::task::AbortHandle;

/// The runtime that a connection was made on. A task of that runtime reads and writes the
/// connection: while the runtime does not run, no request over the connection is answered.
#[derive(Debug)]
pub(crate) struct Home {
    runtime: runtime::Id,
    /// A task that waits until it is aborted. A runtime that is shut down drops its tasks, and this
    /// one tells that apart from a runtime that does not run at the moment.
    resident: AbortHandle,
}

#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "without a driver, there is no connection")
)]
impl Home {
    /// The runtime that this task runs on.
    pub(super) fn here() -> Self {
        let runtime = Handle::current();
        Self {
            runtime: runtime.id(),
            resident: runtime.spawn(future::pending::<()>()).abort_handle(),
        }
    }

    pub(crate) fn runtime(&self) -> runtime::Id {
        self.runtime
    }

    /// Whether the runtime was shut down.
    pub(crate) fn is_gone(&self) -> bool {
        self.resident.is_finished()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.resident.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_gone_once_it_is_shut_down_and_not_while_it_does_not_run() {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let home = runtime.block_on(async { Home::here() });
        assert_eq!(home.runtime(), runtime.handle().id());
        assert!(!home.is_gone());
        drop(runtime);
        assert!(home.is_gone());
    }

    #[tokio::test]
    async fn no_task_is_left_of_a_connection_that_is_dropped() {
        let metrics = Handle::current().metrics();
        let before = metrics.num_alive_tasks();
        let home = Home::here();
        assert_eq!(metrics.num_alive_tasks(), before + 1);
        drop(home);
        tokio::task::yield_now().await;
        assert_eq!(metrics.num_alive_tasks(), before);
    }
}
