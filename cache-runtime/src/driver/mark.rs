//! The first bytes of what the protocol writes: what a driver knows of the bytes that it carries.
//!
//! A driver that carries text leaves the first ten bytes of a lease and of an entry as they are,
//! since scripts compare them, and writes what follows as text. All ten are ASCII.

/// With which bytes a lease, an entry and a fence begin. The eight bytes that follow differ for each
/// that is ever written.
pub(crate) const LEASE: [u8; 2] = [b'L', 1];
pub(crate) const ENTRY: [u8; 2] = [b'E', 2];
pub(crate) const FENCE: [u8; 2] = [b'F', 1];

/// The first bytes of a lease, an entry or a fence. No other lease or entry has the same.
pub(crate) type Mark = [u8; 10];

/// The bits of a random number that a mark has: seven of each byte, so that the byte is ASCII. 56 bits are
/// enough: two marks are compared only where both were written to one slot.
pub(crate) const ASCII: u64 = 0x7f7f_7f7f_7f7f_7f7f;
