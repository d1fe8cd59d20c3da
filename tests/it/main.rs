//! Tests that need a real server, a broken network or a second process.

mod after_commit;
mod bad_input;
mod batched;
mod behaviour;
mod codecs;
mod connecting;
mod fences;
mod fixture_works;
mod gated;
mod health;
mod hygiene;
mod joining;
mod journal;
mod keys;
mod leases;
mod listener;
mod mistakes;
mod outage;
mod races;
mod real_code;
mod restart;
mod runtimes;
mod shutdown;
mod stampede;
mod two_runtimes;
mod ui;
