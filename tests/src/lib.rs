//! What the tests stand on: a real server or cluster that a test can kill, freeze and restart; a network
//! between the cache and the server that a test can cut; a second process; a record of what a
//! cache did; and a way to wait for a condition.

mod certificates;
mod cluster;
mod events;
mod messages;
mod patient;
mod peer;
mod pets;
mod poll;
mod port;
mod proxy;
mod random;
mod sentinels;
mod server;
mod stampede;
mod until;
mod upstash;

pub use certificates::{Authority, Certificate, Validity};
pub use cluster::{Move, RedisCluster, RedisClusterBuilder, SharedCluster, slot_of};
pub use events::EventLog;
pub use messages::Messages;
pub use patient::patient;
pub use peer::Peer;
pub use pets::{Cat, Dog, Hamster, Pet, Pets};
pub use poll::poll_once;
pub use proxy::{Proxy, Way};
pub use random::Random;
pub use sentinels::{Sentinels, SentinelsBuilder};
pub use server::{RedisServer, RedisServerBuilder};
pub use stampede::{SlowDatabase, Stampede, stampede};
pub use until::{LIMIT, until, until_blocking};
pub use upstash::{Fault, Upstash};
