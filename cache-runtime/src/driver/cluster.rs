//! What is known of a cluster, without a client library's types: its nodes, its slots, and which of
//! them a key is in.
//!
//! A *hash slot* is one of the 16,384 parts of a cluster's keys. (A *slot* alone is where an entry is
//! kept: a key on a server.)

use std::fmt;
use std::sync::Arc;

use crate::error::Error;

/// How many hash slots a cluster has.
pub(crate) const HASH_SLOTS: usize = 16_384;

/// Where a node of a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeAddress {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

impl NodeAddress {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.into();
        Self { host, port }
    }

    /// Reads `host:port`, as a node writes it. Without a host, it is the one of the node that answers.
    pub(crate) fn read(text: &str, answering: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        Some(Self::new(known_host(host, answering), port))
    }
}

/// The host that a node names; the one of the node that answers, where it names none.
pub(crate) fn known_host<'a>(named: &'a str, answering: &'a str) -> &'a str {
    let named = named.trim_start_matches('[').trim_end_matches(']');
    if matches!(named, "" | "?") {
        answering
    } else {
        named
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a node does not carry out what is said of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// The hash slot belongs to another node.
    Moved(NodeAddress),
    /// The hash slot is on its way to another node, and this key is there, or nowhere.
    Ask(NodeAddress),
    /// No node carries it out at the moment.
    Nowhere(String),
}

impl Elsewhere {
    /// The error of a request for a key that is elsewhere.
    pub(crate) fn error(&self, address: &str) -> Error {
        let moved_to = match self {
            Self::Moved(node) => Some((node.host.to_string(), node.port)),
            Self::Ask(_) | Self::Nowhere(_) => None,
        };
        Error::elsewhere(address, self, moved_to)
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved(node) => write!(f, "the key's hash slot has moved to {node}"),
            Self::Ask(node) => write!(f, "the key's hash slot is being moved to {node}"),
            Self::Nowhere(why) => f.write_str(why),
        }
    }
}

/// What one node says of the cluster: which primary has which hash slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotRanges {
    /// The cluster's current epoch, as far as the node knows: it grows with each failover. 0 where the
    /// node does not tell it.
    pub(crate) epoch: u64,
    /// Whether the node finds that the cluster is down, and carries out nothing therefore.
    pub(crate) is_down: bool,
    /// The first and the last hash slot, and their primary.
    pub(crate) ranges: Vec<(u16, u16, NodeAddress)>,
    /// The replicas, each of which may become a primary.
    pub(crate) replicas: Vec<NodeAddress>,
}

/// The hash slot of a key: of the part in braces, where there is one.
pub(crate) fn hash_slot(key: &[u8]) -> u16 {
    let tagged = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|&byte| byte == b'}')?;
        (length > 0).then(|| &rest[..length])
    });
    let checksum = tagged.unwrap_or(key).iter().fold(0_u16, |sum, &byte| {
        (sum << 8) ^ CHECKSUMS[usize::from((sum >> 8) ^ u16::from(byte))]
    });
    checksum % 16_384
}

/// The checksums of single bytes: CRC-16 with the polynomial 0x1021, which clusters are defined by. A
/// crate for it would be one more dependency of every program.
static CHECKSUMS: [u16; 256] = {
    let mut checksums = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let mut sum = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            let carry = sum & 0x8000 != 0;
            sum <<= 1;
            if carry {
                sum ^= 0x1021;
            }
            bit += 1;
        }
        checksums[byte] = sum;
        byte += 1;
    }
    checksums
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_the_hash_slot_that_a_server_says() {
        // By `CLUSTER KEYSLOT`.
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("a{foo}{bar}", 12_182),
            ("foo{}{bar}", 8_363),
            ("{foo", 13_308),
            ("", 0),
        ] {
            assert_eq!(hash_slot(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn an_address_without_a_host_is_on_the_host_that_answers() {
        let read = |text| NodeAddress::read(text, "here").map(|node| node.to_string());
        assert_eq!(read("10.0.0.1:7000").as_deref(), Some("10.0.0.1:7000"));
        assert_eq!(read(":7000").as_deref(), Some("here:7000"));
        assert_eq!(read("?:7000").as_deref(), Some("here:7000"));
        assert_eq!(read("::1:7000").as_deref(), Some("[::1]:7000"));
        assert_eq!(read("7000"), None);
    }
}
