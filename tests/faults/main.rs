//! The fault suite: whether the cache keeps its promises while servers, networks and processes
//! fail.
//!
//! `cargo xtask faults` runs it in full and prints a table; `cargo test` runs a short form. Each
//! scenario has a process of its own, so that a scenario that hangs or crashes is one row of the
//! table and does not end the suite. Each scenario also runs once more without each mechanism
//! that its promises stand on: then its figure must be bad.

mod copies;
mod database;
mod fake;
mod figure;
mod panics;
mod peer;
mod rows;
mod scenarios;
mod suite;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(suite::COMMAND) => {
            let _away = suite::take_rules_away();
            panics::count();
            suite::run_one(arguments);
            ExitCode::SUCCESS
        }
        Some(peer::COMMAND) => {
            let _away = suite::take_rules_away();
            panics::count();
            suite::runtime().block_on(peer::serve(arguments));
            ExitCode::SUCCESS
        }
        // Without a runtime: a process with threads may not fork.
        Some(scenarios::forked::COMMAND) => {
            let _away = suite::take_rules_away();
            scenarios::forked::serve(arguments);
            ExitCode::SUCCESS
        }
        first => suite::run(first.map(str::to_owned).into_iter().chain(arguments)),
    }
}
