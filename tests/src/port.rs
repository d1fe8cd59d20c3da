//! Ports for servers that are restarted on the port they had.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A free port on the loopback address, below the range from which the system takes the ports
/// of outgoing connections.
///
/// A server that is restarted needs its port back. If the port were in that range, the system
/// could give a client that connects meanwhile the very port that the client connects to: the
/// client would then talk to itself.
pub(crate) fn free() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side begin to look at ports far apart.
    let start = std::process::id().wrapping_mul(7_919);
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("below 32,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
