//! `cachectl`: a cache of `cache-runtime` from a terminal.
//!
//! It is one more process with the cache: what it invalidates is invalidated for all programs on the server.
//! What only a program knows, such as the hit rate of its functions, it asks of the program's dashboard.

mod arguments;
mod dashboard;
mod doctor;
mod functions;
mod inspect;
mod names;
mod output;
mod server;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Command};

/// How a command ends that has done what it was asked to do.
enum End {
    /// All is well.
    Well,
    /// What was looked at is not well.
    Unwell,
}

/// What went wrong, and how to mend it.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

type Ended = Result<End, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(End::Well) => ExitCode::SUCCESS,
        Ok(End::Unwell) => ExitCode::from(1),
        Err(error) => {
            output::warn(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Ended {
    let Arguments {
        server,
        json,
        command,
    } = arguments;
    match command {
        Command::Doctor => doctor::run(&server.as_the_program()?, json).await,
        Command::Inspect { names } => inspect::run(&server.patient()?, &names, json).await,
        Command::Count { pattern } => names::count(&server.patient()?, &pattern, json).await,
        Command::Invalidate { names, matching } => {
            let cache = server.patient()?;
            match matching {
                Some(pattern) => names::invalidate_matching(&cache, pattern, json).await,
                None => names::invalidate(&cache, names, json).await,
            }
        }
        Command::Expire { keys } => names::expire(&server.patient()?, keys, json).await,
        Command::Clear { yes } => names::clear(&server.patient()?, yes, json).await,
        Command::Functions { dashboard } => functions::run(&dashboard, json),
    }
}
