//! Functions whose values are never stored, or never read back: each of their calls loads.
//!
//! What is counted here happens on a miss. Whether a function had a hit meanwhile is known from its
//! counter, so a hit does nothing for it.

use std::collections::HashMap;
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::call::site::CallSite;
use crate::error::Error;

/// So many loads in a row fail to be of use before a function is reported. Fewer may be an accident: a
/// few values that are too large, or old entries of a type that has changed.
const IN_A_ROW: u64 = 10;

/// A function whose calls are never answered from the cache, from [`Health`](crate::Health).
///
/// Displays as one line.
///
/// ```
/// # fn show(health: &cache_runtime::Health) {
/// for function in &health.never_hit {
///     println!("{} caches nothing: {}", function.function, function.reason);
/// }
/// # }
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct NeverHit {
    /// The path of the function.
    pub function: &'static str,
    /// The file that it is in.
    pub file: &'static str,
    /// Its line.
    pub line: u32,
    /// How many loads in a row were not stored, or were stored and could not be read.
    pub loads: u64,
    /// Why the last one was not.
    pub reason: String,
}

impl fmt::Display for NeverHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function,
            file,
            line,
            loads,
            reason,
        } = self;
        write!(
            f,
            "{file}:{line}: `{function}` has loaded {loads} times without a hit: {reason}"
        )
    }
}

/// Where loads were of no use, by the address of the call site.
#[derive(Debug, Default)]
pub(super) struct NeverHits {
    sites: Mutex<HashMap<usize, Useless>>,
    /// Whether there are any, for a fill that has nothing to note.
    is_any: AtomicBool,
}

/// Loads of a function, one after the other, that were of no use.
#[derive(Debug)]
struct Useless {
    site: &'static CallSite,
    loads: u64,
    /// Whether what was loaded is stored, and can't be read.
    is_stored: bool,
    /// How many hits the function had before.
    hits: u64,
    reason: String,
}

impl NeverHits {
    /// Notes a value that could not be stored or, where `is_stored`, not be read. So far the function has
    /// had so many hits.
    pub(super) fn note(&self, site: &'static CallSite, hits: u64, is_stored: bool, error: &Error) {
        // Another program has stored what needs a feature. This one replaces it.
        if is_stored && error.lacks_feature().is_some() {
            return;
        }
        let reason = error.to_string();
        let mut sites = self.lock();
        self.is_any.store(true, Relaxed);
        match sites.get_mut(&address(site)) {
            Some(known) if known.hits == hits => {
                known.loads += 1;
                known.is_stored = is_stored;
                known.reason = reason;
            }
            _ => {
                let first = Useless {
                    site,
                    loads: 1,
                    is_stored,
                    hits,
                    reason,
                };
                sites.insert(address(site), first);
            }
        }
    }

    /// Notes that a value was stored. It is of use, unless such values cannot be read.
    #[inline]
    pub(super) fn note_stored(&self, site: Option<&'static CallSite>) {
        if let Some(site) = site
            && self.is_any.load(Relaxed)
        {
            self.forget_unstored(site);
        }
    }

    #[cold]
    fn forget_unstored(&self, site: &'static CallSite) {
        let mut sites = self.lock();
        if sites
            .get(&address(site))
            .is_some_and(|known| !known.is_stored)
        {
            sites.remove(&address(site));
        }
    }

    /// The functions with so many useless loads, and no hit since.
    pub(super) fn list(&self, hits: impl Fn(&'static CallSite) -> u64) -> Vec<NeverHit> {
        let sites = self.lock();
        let never = |it: &&Useless| it.loads >= IN_A_ROW && hits(it.site) == it.hits;
        let mut list: Vec<_> = sites
            .values()
            .filter(never)
            .map(|useless| NeverHit {
                function: useless.site.function.path,
                file: useless.site.function.file,
                line: useless.site.function.line,
                loads: useless.loads,
                reason: useless.reason.clone(),
            })
            .collect();
        list.sort_unstable_by_key(|it| (it.function, it.line));
        list
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Useless>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(site: &'static CallSite) -> usize {
    ptr::from_ref(site).addr()
}
