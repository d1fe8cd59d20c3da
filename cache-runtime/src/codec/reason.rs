//! Why a value cannot be encoded or decoded.

use std::fmt::{self, Display};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(crate) enum Reason {
    /// This program was built without the feature.
    #[allow(dead_code, reason = "with all features, nothing is lacking")]
    Lacks(&'static str),
    Other(String),
    /// What would come back is not what went in.
    #[allow(
        dead_code,
        reason = "the fuzzer, which includes this module, compares no values"
    )]
    Altered(String),
}

impl Reason {
    pub(super) fn new(reason: impl Display) -> Self {
        Self::Other(reason.to_string())
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(feature) => write!(
                f,
                "it is written with `{feature}`, and cache-runtime was built without that feature"
            ),
            Self::Other(reason) | Self::Altered(reason) => f.write_str(reason),
        }
    }
}

/// Whether this is the first report in this process that `feature` is lacking. There may be
/// many entries that need it, and each would give the same warning.
pub(crate) fn is_first_report(feature: &'static str) -> bool {
    static REPORTED: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = !reported.contains(&feature);
    if is_first {
        reported.push(feature);
    }
    is_first
}
