//! What a server tells of itself by `INFO`.

use crate::driver::field;

/// The lines of an answer, such as `maxmemory:0`.
#[derive(Debug, Clone)]
pub(crate) struct Info(String);

/// How many keys the databases of a server have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) all: u64,
    pub(super) with_ttl: u64,
}

impl Info {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        field(&self.0, name)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// The sum over all databases: `db0:keys=3,expires=2,avg_ttl=0`.
    pub(super) fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        for line in self.0.lines() {
            let database = line
                .strip_prefix("db")
                .and_then(|rest| rest.split_once(':'));
            let Some((number, counts)) = database else {
                continue;
            };
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            for count in counts.trim_end().split(',') {
                match count.split_once('=') {
                    Some(("keys", count)) => keys.all += count.parse().unwrap_or(0),
                    Some(("expires", count)) => keys.with_ttl += count.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_databases_are_added() {
        let info = "# Keyspace\r\ndb0:keys=3,expires=2,avg_ttl=9\r\ndb11:keys=4,expires=0,avg_ttl=0\r\ndbs:keys=1\r\n";
        let keys = Info::new(info.to_owned()).keys();
        assert_eq!(
            keys,
            Keys {
                all: 7,
                with_ttl: 2
            }
        );
    }
}
