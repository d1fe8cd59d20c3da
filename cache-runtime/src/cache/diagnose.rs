//! What is found of a cache and its servers that helps or hurts, for people.

use super::Cache;
use crate::diagnosis::{self, Check, Diagnosis, Severity};
use crate::tier::{Room, Store as _};

impl Cache {
    /// Asks each server what matters to a cache, and says what that means, and how to mend it: whether it can be
    /// read and written, how long it takes to answer, its version, what it does when its memory is full, whether
    /// its disk fails, its clients, the state of its cluster, which commands it does not permit, whether it says
    /// which server it is, whether what other processes invalidate is heard, and whether others can read
    /// what is sent to it. It is for a person: `cachectl doctor` shows it, and a program may log it
    /// when it starts. For a health check take [`health`](Self::health), which asks for nothing.
    ///
    /// It is asked over the cache's own connections, with its deadlines; in a cluster, all primaries at once. That
    /// takes about 60 round trips, and little more than a second at most if the servers answer. It writes and
    /// removes one key of the namespace on each server, which no entry has. Nothing is counted.
    ///
    /// What fails is a check that says so, and no error.
    ///
    /// # Cancellation
    ///
    /// It may be dropped at any point. The key that it writes lives for a second.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # #[cfg(feature = "redis")] {
    /// use cache_runtime::{Cache, Severity};
    ///
    /// // Nothing listens on port 1.
    /// let cache = Cache::builder().url("redis://127.0.0.1:1").build().unwrap();
    /// let diagnosis = cache.diagnose().await;
    /// let problem = diagnosis.checks.iter().find(|check| check.severity == Severity::Problem);
    /// assert!(problem.expect("it is not there").says.contains("127.0.0.1:1"));
    /// println!("{diagnosis}");
    /// # }
    /// # }
    /// ```
    pub async fn diagnose(&self) -> Diagnosis {
        let server = match self.core.tier.room() {
            Room::Server(server) => server,
            Room::InProcess(_) => {
                let says = "entries are in this process: each process has its own, and none hears what another \
                            one invalidates";
                return found([Check::new("store", Severity::Fine, says)]);
            }
            Room::None => {
                let says = "the cache is off: each call loads";
                return found([Check::new("store", Severity::Advice, says)]);
            }
        };
        let namespace = server.namespace();
        let is_default = namespace == super::builder::DEFAULT_NAMESPACE;
        let mut checks = vec![diagnosis::check_settings(namespace, is_default)];
        // It asks also where the breaker is open.
        let reached = self.core.tier.ping().await;
        if let Err(error) = &reached {
            checks.push(diagnosis::unanswered(error));
        }
        if reached
            .as_ref()
            .is_err_and(|error| !error.is_write_refused())
        {
            return found(checks);
        }
        match server.ask_servers().await {
            Ok(servers) => {
                for (address, told) in servers {
                    match told {
                        Ok(told) => {
                            let timeout = self.core.settings.op_timeout;
                            checks.append(&mut diagnosis::checks(&told, timeout));
                        }
                        Err(error) => checks.push(diagnosis::unanswered(&error).at(&address)),
                    }
                }
            }
            Err(error) => checks.push(diagnosis::unanswered(&error)),
        }
        found(checks)
    }
}

fn found(checks: impl IntoIterator<Item = Check>) -> Diagnosis {
    Diagnosis {
        checks: checks.into_iter().collect(),
    }
}
