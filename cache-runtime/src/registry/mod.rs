//! Every annotated function of the program, known at link time.
//!
//! A macro sees one function. What goes wrong between two of them — an
//! invalidation whose template no cached function has, two functions that take
//! each other's entries for their own — is found here, by one test:
//!
//! ```standalone_crate
//! # use cache_runtime::{cache_invalidate, cached};
//! #[cached(key = "user:<id>", ttl = 60)]
//! async fn find(id: u64) -> String { format!("user {id}") }
//!
//! #[cache_invalidate("user:<id>")]
//! async fn rename(id: u64, name: &str) { println!("{id} is {name}") }
//!
//! # /*
//! #[test]
//! # */
//! fn annotations_agree() {
//!     cache_runtime::registry::check().unwrap();
//! }
//! # annotations_agree();
//! ```
//!
//! The test has to be in the program, or in a crate that uses all of what it
//! links: a library that nothing is used of may be left out by the linker.

mod check;
pub(crate) mod function;
mod link;

pub use self::check::{Finding, Findings, check};
pub use self::function::{Function, Name, Role};
#[doc(hidden)]
pub use self::link::Node;
use crate::call::site::CallSite;

/// What the attributes, the derives and `key!` say of themselves.
#[doc(hidden)]
#[derive(Debug)]
pub enum Registered {
    Cached(&'static CallSite),
    Function(&'static Function),
    /// A type that derives `CacheTag`, and its template.
    Tag(&'static str, Name),
    /// A type that derives `KeyPart`, and the type it is written like.
    Newtype(&'static str, &'static str),
    /// A template in `key!`.
    ByHand(Name),
}

impl Registered {
    fn function(&self) -> Option<&Function> {
        match self {
            Self::Cached(site) => Some(&site.function),
            Self::Function(function) => Some(function),
            _ => None,
        }
    }
}

/// Every annotated function that is linked into the program, called or not, in no particular order.
///
/// ```
/// for function in cache_runtime::registry::all() {
///     println!("{} ({}:{})", function.path, function.file, function.line);
/// }
/// ```
pub fn all() -> impl Iterator<Item = &'static Function> {
    link::all().filter_map(Registered::function)
}
