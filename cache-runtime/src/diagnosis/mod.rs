//! What is wrong with a cache's servers, and how to mend it, for people.
//!
//! [`told`] is what a server was asked, and has answered; [`rules`] says what that means.

mod info;
mod rights;
mod rules;
#[cfg(test)]
mod tests;
mod told;

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

pub(crate) use self::info::Info;
pub(crate) use self::rights::RIGHTS;
pub(crate) use self::rules::{check_settings, checks, unanswered};
pub(crate) use self::told::{PATIENCE, Told};

/// What is wrong with a cache and its servers, and what is not, from [`Cache::diagnose`](crate::Cache::diagnose).
///
/// It is shown as a line for each check, and below it what mends it. It is serialized as its `worst` and its
/// `checks`. Neither shows a password.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// use cache_runtime::{Cache, Severity};
///
/// let diagnosis = Cache::builder().url("memory:").build()?.diagnose().await;
/// assert_eq!(diagnosis.worst(), Severity::Fine);
/// println!("{diagnosis}");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What was checked: first the cache, then each of its servers.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// The gravest of what was found.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # #[cfg(feature = "redis")] {
    /// use cache_runtime::{Cache, Severity};
    ///
    /// // Nothing listens on port 1.
    /// let cache = Cache::builder().url("redis://127.0.0.1:1").build().unwrap();
    /// assert_eq!(cache.diagnose().await.worst(), Severity::Problem);
    /// # }
    /// # }
    /// ```
    pub fn worst(&self) -> Severity {
        let found = self.checks.iter().map(|check| check.severity);
        found.max().unwrap_or(Severity::Fine)
    }
}

impl Serialize for Diagnosis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_struct("Diagnosis", 2)?;
        shown.serialize_field("worst", &self.worst())?;
        shown.serialize_field("checks", &self.checks)?;
        shown.end()
    }
}

/// One line for each check, and one for what mends it.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, check) in self.checks.iter().enumerate() {
            if nth > 0 {
                writeln!(f)?;
            }
            write!(f, "{check}")?;
        }
        Ok(())
    }
}

/// What one check has found.
///
/// ```
/// # fn show(check: &cache_runtime::Check) {
/// if let Some(how_to_mend) = &check.how_to_mend {
///     println!("{} ({}): {how_to_mend}", check.subject, check.severity);
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What it is about, in a word, such as `memory`.
    pub subject: &'static str,
    /// The address of the server, without credentials. `None` if it is about the cache.
    pub server: Option<String>,
    /// How grave it is.
    pub severity: Severity,
    /// What was found, in words.
    pub message: String,
    /// What mends it, if there is something to mend, and something that mends it.
    pub how_to_mend: Option<String>,
}

impl Check {
    pub(crate) fn new(subject: &'static str, severity: Severity, message: impl AsRef<str>) -> Self {
        // An error may have several lines.
        let words: Vec<_> = message.as_ref().split_whitespace().collect();
        Self {
            subject,
            server: None,
            severity,
            message: words.join(" "),
            how_to_mend: None,
        }
    }

    pub(crate) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.how_to_mend = Some(mend.into());
        self
    }

    pub(crate) fn at(mut self, server: &str) -> Self {
        self.server = Some(server.to_owned());
        self
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject, message, ..
        } = self;
        write!(f, "{:<8}{subject}", self.severity.to_string())?;
        if let Some(server) = &self.server {
            write!(f, " of {server}")?;
        }
        write!(f, ": {message}")?;
        match &self.how_to_mend {
            Some(mend) => write!(f, "\n        → {mend}"),
            None => Ok(()),
        }
    }
}

/// How grave it is what a check has found. The graver one is the greater one.
///
/// ```
/// use cache_runtime::Severity;
///
/// assert!(Severity::Problem > Severity::Advice);
/// assert_eq!(serde_json::to_value(Severity::Advice).unwrap(), "advice");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// It is as it should be.
    Fine,
    /// The cache works. Something may hurt one day, or a part of what a cache can do is missing.
    Advice,
    /// The cache does not work, or is about to fail.
    Problem,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::Advice => "advice",
            Self::Problem => "problem",
        })
    }
}
