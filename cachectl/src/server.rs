//! Which cache it is about.

use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder};
use clap::Args;

use crate::Failure;

/// A person waits longer than a program, and perhaps farther away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the entries are.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server, as a program names it: `redis://host`, `rediss-cluster://host`, and so on. A URL with a
    /// password is better kept in the environment, as `CACHE_URL`, which is used without this
    #[arg(long, global = true)]
    url: Option<String>,
    /// What the keys on the server begin with; without it, `CACHE_NAMESPACE` or `cache`
    #[arg(long, global = true)]
    namespace: Option<String>,
}

impl Server {
    /// A cache with the deadlines that a program has.
    pub(crate) fn as_the_program(&self) -> Result<Cache, Box<dyn std::error::Error>> {
        self.build(self.builder()?)
    }

    /// A cache that waits as long as a person does.
    pub(crate) fn patient(&self) -> Result<Cache, Box<dyn std::error::Error>> {
        let builder = self.builder()?;
        self.build(builder.op_timeout(PATIENCE).connect_timeout(PATIENCE))
    }

    fn builder(&self) -> Result<CacheBuilder, cache_runtime::Error> {
        let mut builder = CacheBuilder::from_env()?;
        if let Some(url) = &self.url {
            builder = builder.url(url);
        }
        if let Some(namespace) = &self.namespace {
            builder = builder.namespace(namespace);
        }
        Ok(builder)
    }

    #[expect(clippy::unused_self, reason = "of this server")]
    fn build(&self, builder: CacheBuilder) -> Result<Cache, Box<dyn std::error::Error>> {
        let cache = builder.build()?;
        if cache.has_server() {
            return Ok(cache);
        }
        let reason = "no server is named; set CACHE_URL, or write `--url redis://host`. The entries of \
                      `memory:` are in the process of their program: ask its dashboard, by `cachectl functions`";
        Err(Failure(reason.to_owned()).into())
    }
}
