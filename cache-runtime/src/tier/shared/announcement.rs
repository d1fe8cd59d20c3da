//! What processes tell each other of invalidations that a server refuses, and how it is written.

use crate::key::{Key, Pattern, on_server};

/// What one process says to all others that use the same keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// What could not be invalidated.
    Kept {
        origin: Origin,
        announced: Announced,
    },
    /// These names of an announcement were invalidated after it was heard.
    Done { origin: Origin, names: Vec<Key> },
    /// A process begins to listen, and asks for what was announced before.
    Ask { from: u64 },
}

/// An announcement: the process that it is from, and how often that process had kept something by
/// then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(super) from: u64,
    pub(super) number: u64,
}

/// Names, as servers know them, buckets of names, or patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) names: Vec<Key>,
    pub(crate) buckets: Vec<u32>,
    /// In an announcement of their own: a process that does not know patterns cannot read it, and its log
    /// says so.
    pub(crate) patterns: Vec<Pattern>,
}

impl Announced {
    /// Whether it may be about one of these names. Buckets may be about any.
    pub(super) fn is_about(&self, key: &Key, tags: &[Key]) -> bool {
        let (key, tags) = (&*key.on_server(), &*on_server(tags));
        let is_meant = |name: &Key| name == key || tags.contains(name);
        let matches = |pattern: &Pattern| {
            let mut names = tags.iter().chain([key]);
            names.any(|name| pattern.matches_bytes(name.bytes()))
        };
        !self.buckets.is_empty()
            || self.names.iter().any(is_meant)
            || self.patterns.iter().any(matches)
    }
}

/// As JSON: the kind, the process, its number, names and buckets.
type Written<'a> = (&'a str, u64, u64, Vec<&'a str>, &'a [u32]);
type Read = (String, u64, u64, Vec<String>, Vec<u32>);

const KEPT: &str = "kept";
const MATCHING: &str = "matching";
const DONE: &str = "done";
const ASK: &str = "ask";

impl Message {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let written: Written<'_> = match self {
            Self::Kept { origin, announced } if !announced.patterns.is_empty() => {
                let patterns = announced.patterns.iter().map(Pattern::as_str);
                let (from, number) = (origin.from, origin.number);
                (MATCHING, from, number, patterns.collect(), &[])
            }
            Self::Kept { origin, announced } => {
                let Announced { names, buckets, .. } = announced;
                (KEPT, origin.from, origin.number, texts(names), buckets)
            }
            Self::Done { origin, names } => (DONE, origin.from, origin.number, texts(names), &[]),
            Self::Ask { from } => (ASK, *from, 0, Vec::new(), &[]),
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// `None` if no version of this library that is known here has written it.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, from, number, names, buckets): Read = serde_json::from_slice(bytes).ok()?;
        let origin = Origin { from, number };
        let names: Vec<Key> = names.into_iter().map(Key::from).collect();
        match &*kind {
            KEPT => Some(Self::Kept {
                origin,
                announced: Announced {
                    names,
                    buckets,
                    patterns: Vec::new(),
                },
            }),
            MATCHING => Some(Self::Kept {
                origin,
                announced: Announced {
                    patterns: names.into_iter().map(Pattern::from).collect(),
                    ..Announced::default()
                },
            }),
            DONE => Some(Self::Done { origin, names }),
            ASK => Some(Self::Ask { from }),
            _ => None,
        }
    }
}

fn texts(names: &[Key]) -> Vec<&str> {
    names.iter().map(Key::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_read_as_it_was_written() {
        let origin = Origin {
            from: u64::MAX,
            number: 7,
        };
        let names = vec![Key::from("user:'\"'"), Key::from("users")];
        for message in [
            Message::Kept {
                origin,
                announced: Announced {
                    names: names.clone(),
                    buckets: vec![0, 1 << 23],
                    patterns: Vec::new(),
                },
            },
            Message::Kept {
                origin,
                announced: Announced {
                    patterns: vec!["user:'*':*".into(), "*".into()],
                    ..Announced::default()
                },
            },
            Message::Done { origin, names },
            Message::Ask { from: 3 },
        ] {
            assert_eq!(Message::from_bytes(&message.to_bytes()), Some(message));
        }
        assert_eq!(Message::from_bytes(b"[\"user:7\"]"), None);
        assert_eq!(Message::from_bytes(b"[\"later\",1,2,[],[]]"), None);
    }
}
