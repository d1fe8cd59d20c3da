//! What only shows with a real server, a broken network and a second process.

mod bad_input;
mod behaviour;
mod fixture_works;
mod gated;
mod joining;
mod keys;
mod outage;
mod races;
mod restart;
mod stampede;
mod ui;
