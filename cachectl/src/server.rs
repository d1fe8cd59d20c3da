//! Which cache it is about.

use std::error::Error;
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder};
use clap::Args;

use crate::Failure;

/// A person waits longer than a program, and perhaps farther away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the entries are.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server, such as `redis://host`; without it, that of `CACHE_URL`
    ///
    /// It is written as for a program. A URL with a password is better kept in the environment: what is typed here,
    /// other users of the machine may see.
    #[arg(long, global = true)]
    url: Option<String>,
    /// What the keys on the server begin with; without it, `CACHE_NAMESPACE` or `cache`
    #[arg(long, global = true)]
    namespace: Option<String>,
}

impl Server {
    /// A cache with the deadlines that a program has.
    pub(crate) fn as_the_program(&self) -> Result<Cache, Box<dyn Error>> {
        build(self.builder()?)
    }

    /// A cache that waits as long as a person does.
    pub(crate) fn patient(&self) -> Result<Cache, Box<dyn Error>> {
        let builder = self.builder()?;
        build(builder.op_timeout(PATIENCE).connect_timeout(PATIENCE))
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
}

fn build(builder: CacheBuilder) -> Result<Cache, Box<dyn Error>> {
    let cache = builder.build()?;
    if cache.has_server() {
        return Ok(cache);
    }
    let reason = "no server is named; set CACHE_URL, or write `--url redis://host`. The entries of `memory:` are in \
                  the process of their program: ask its dashboard, by `cachectl functions`";
    Err(Failure(reason.to_owned()).into())
}
