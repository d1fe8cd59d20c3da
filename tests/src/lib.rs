//! What the tests stand on: a real server that can be killed, frozen and
//! restarted, a network between it and the cache that can be cut, and what a
//! second process does.

mod port;
mod proxy;
mod server;
mod stampede;

pub use proxy::{Proxy, Way};
pub use server::{RedisServer, RedisServerBuilder};
pub use stampede::{SlowDatabase, Stampede, stampede};
