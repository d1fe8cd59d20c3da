//! What is wrong with a cache and its servers, and how to mend it, for people.

use super::Cache;
use crate::diagnosis::{self, Check, Diagnosis, Severity};
use crate::tier::Room;

impl Cache {
    /// Asks each server what matters to a cache, and says what is wrong and how to mend it: whether it can be reached,
    /// read and written, how long it takes to answer, its version, what it does when its memory is full, whether
    /// its disk fails, its clients, whether its cluster is whole, which commands and keys it does not permit, whether it
    /// says which server it is, whether what other processes invalidate is heard, and whether others can
    /// read what is sent to it. The page [operation](crate::operation) lists it all. It is for a person:
    /// `cachectl doctor` shows it, and a program may log it when it starts. For a health check take
    /// [`health`](Self::health), which asks for nothing.
    ///
    /// Each server is asked over a connection that is made for it, all at once: what fails here changes
    /// nothing for the calls of this cache. It takes a second, and a few more if servers do not answer. On each
    /// server it writes keys `<namespace>:t:…`, which no other part of a cache has, and removes them at
    /// once. Commands that the user may not run are in the server's `ACL LOG` afterwards.
    ///
    /// What fails is a check that says so, and no error.
    ///
    /// # Cancellation
    ///
    /// It may be dropped at any point. The request that writes a key removes it, too.
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
    /// assert!(problem.expect("it is not there").message.contains("127.0.0.1:1"));
    /// println!("{diagnosis}");
    /// # }
    /// # }
    /// ```
    pub async fn diagnose(&self) -> Diagnosis {
        let server = match self.core.tier.room() {
            Room::Server(server) => server,
            Room::InProcess(_) => {
                let message = "entries are in this process: each process has its own, and none hears what another \
                            one invalidates";
                return found([Check::new("store", Severity::Fine, message)]);
            }
            Room::None => {
                let message = "the cache is off: each call loads";
                return found([Check::new("store", Severity::Advice, message)]);
            }
        };
        let namespace = server.namespace();
        let is_default = namespace == super::builder::DEFAULT_NAMESPACE;
        let mut checks = vec![diagnosis::check_settings(namespace, is_default)];
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
