//! What the check of a program finds, and what a program leaves out of it.

use std::error::Error;
use std::fmt;

/// What [`check`](super::check()) found. Its `Display` is a report, and so is its `Debug`, for
/// `unwrap`.
///
/// ```
/// if let Err(findings) = cache_runtime::registry::check() {
///     for finding in findings.iter() {
///         eprintln!("{finding}");
///     }
/// }
/// ```
pub struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn or_nothing(found: Vec<Finding>) -> Result<(), Self> {
        if found.is_empty() {
            Ok(())
        } else {
            Err(Self(found))
        }
    }

    /// Each of them.
    ///
    /// ```standalone_crate
    /// # #[cache_runtime::cached(key = "user:<id>", ttl = 60)]
    /// # async fn find(id: u64) -> String { format!("user {id}") }
    /// # let result = cache_runtime::registry::check();
    /// let count = result.map_or_else(|findings| findings.iter().count(), |()| 0);
    /// assert_eq!(count, 0);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Leaves out the findings with these [ids](Finding::id), such as a tag that is invalidated
    /// by hand. Another finding about the same template is still one.
    ///
    /// # Errors
    ///
    /// The other findings, if there are any.
    ///
    /// ```standalone_crate
    /// use cache_runtime::{cached, registry};
    ///
    /// #[cached(key = "user:<id>", ttl = 60, invalidate_on = "users")]
    /// async fn find(id: u64) -> String { format!("user {id}") }
    ///
    /// registry::check().or_else(|findings| findings.except(&["unused tag users"]))?;
    /// # Ok::<_, registry::Findings>(())
    /// ```
    pub fn except(self, ids: &[&str]) -> Result<(), Self> {
        let is_left = |finding: &Finding| !ids.contains(&finding.id());
        Self::or_nothing(self.0.into_iter().filter(is_left).collect())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{finding}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n\n{self}\n")
    }
}

impl Error for Findings {}

/// A disagreement between annotations. Its `Display` says what it is, where, how to mend it, and
/// by which id to leave it out.
///
/// ```
/// # fn show(findings: cache_runtime::registry::Findings) {
/// for finding in findings.iter() {
///     println!("about `{}`: {finding}", finding.name());
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub(super) name: &'static str,
    pub(super) id: String,
    pub(super) what: String,
    pub(super) places: Vec<String>,
    pub(super) help: String,
}

impl Finding {
    /// The template or the tag type of this finding; empty for a program without annotations.
    ///
    /// ```
    /// # fn show(finding: cache_runtime::registry::Finding) {
    /// println!("{}", finding.name());
    /// # }
    /// ```
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What [`Findings::except`] takes to leave out this finding: what it is, about which
    /// template, and the functions that differ from the others.
    ///
    /// It has no file and no line, so it stays the same while code moves within a module. It
    /// changes when another function joins the disagreement.
    ///
    /// ```
    /// # fn show(finding: cache_runtime::registry::Finding) {
    /// // "parameter types user:<id> app::users::rename"
    /// println!("{}", finding.id());
    /// # }
    /// ```
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for place in &self.places {
            write!(f, "\n  --> {place}")?;
        }
        write!(f, "\n  help: {}\n  id: {}", self.help, self.id)
    }
}
