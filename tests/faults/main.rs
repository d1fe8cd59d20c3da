//! The fault suite: what the cache promises, while everything around it fails.
//!
//! `cargo xtask faults` runs it in full and prints a table; within `cargo test` it
//! runs in a short form. Each scenario has a process of its own, so that one that
//! hangs or crashes is a row of the table and not the end of it, and runs once more
//! for each mechanism that its promises stand on, without that mechanism: then its
//! figure must be bad.

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
            let _away = suite::rules_taken_away();
            panics::count();
            suite::run_one(arguments);
            ExitCode::SUCCESS
        }
        Some(peer::COMMAND) => {
            let _away = suite::rules_taken_away();
            panics::count();
            suite::runtime().block_on(peer::serve(arguments));
            ExitCode::SUCCESS
        }
        first => suite::run(first.map(str::to_owned).into_iter().chain(arguments)),
    }
}
