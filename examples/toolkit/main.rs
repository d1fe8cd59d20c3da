//! All of the toolkit, first in this process and then on the server that `CACHE_URL` names.
//!
//! ```sh
//! cargo run --example toolkit
//! CACHE_URL=redis://127.0.0.1/ cargo run --example toolkit
//! ```
//!
//! Each tool prints what it did, in one line.

mod commands;
mod output;
mod start;
#[cfg(test)]
mod tests;
mod tools;

use std::error::Error;
use std::io::{IsTerminal as _, Write, stdout};

use cache_runtime::{Cache, CacheBuilder};

use crate::output::Output;

type Done = Result<(), Box<dyn Error>>;

async fn run(cache: &Cache, output: &mut Output<impl Write>) -> Done {
    start::start(cache, output).await?;
    tools::texts(cache, output).await?;
    tools::sessions(cache, output).await?;
    tools::lock(cache, output).await?;
    tools::rate_limit(cache, output).await?;
    tools::budget(cache, output).await?;
    if let Some(raw) = cache.raw() {
        commands::hash(&raw, output).await?;
        commands::leaderboard(&raw, output).await?;
        commands::stream(&raw, output).await?;
    } else {
        output.line("commands: none, since there is no server")?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Done {
    let mut output = Output {
        to: stdout(),
        is_terminal: stdout().is_terminal(),
    };
    output.line("In this process")?;
    run(&Cache::builder().url("memory:").build()?, &mut output).await?;

    let cache = CacheBuilder::from_env()?.namespace("toolkit").build()?;
    if cache.has_server() {
        output.line("\nOn a server")?;
        run(&cache, &mut output).await?;
    } else {
        output.line("\nWith CACHE_URL=redis://127.0.0.1/ it runs on a server, too.")?;
    }
    Ok(())
}
