//! Ports for servers that are restarted on the port they had.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// From the port of a cluster's node to its bus port, on which nodes speak to each other. (Redis 6.2
/// takes no other one.)
pub(crate) const TO_THE_BUS: u16 = 10_000;

/// A free port on the loopback address, below the range from which the system takes the ports
/// of outgoing connections.
///
/// A server that is restarted needs its port back. If the port were in that range, the system
/// could give a client that connects meanwhile the very port that the client connects to: the
/// client would then talk to itself.
pub(crate) fn free() -> u16 {
    first_that(is_free)
}

/// A free port whose bus port is free too. No other function here returns a bus port.
pub(crate) fn free_with_bus() -> u16 {
    first_that(|port| is_free(port) && is_free(port + TO_THE_BUS))
}

/// The next port that `fits`. None is returned twice.
fn first_that(fits: impl Fn(u16) -> bool) -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = TO_THE_BUS as u32;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side begin to look at ports far apart.
    let start = std::process::id().wrapping_mul(7_919);
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("below 20,000");
        if fits(port) {
            return port;
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
