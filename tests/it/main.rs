//! What only shows with a real server, a broken network and a second process.

mod after_commit;
mod bad_input;
mod behaviour;
mod codecs;
mod connecting;
mod fences;
mod fixture_works;
mod gated;
mod gathered;
mod health;
mod hygiene;
mod joining;
mod journal;
mod keys;
mod leases;
mod mistakes;
mod outage;
mod races;
mod real_code;
mod restart;
mod shutdown;
mod stampede;
mod ui;
