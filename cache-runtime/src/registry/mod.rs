//! Every annotated function of the program, known at link time.
//!
//! A macro sees one function. Some mistakes are between two functions: an invalidation whose
//! template no cached function has, or two functions that take each other's entries for
//! their own. One test finds them:
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
//! The test has to be in the program, or in a crate that uses every library it links: the
//! linker may leave out a library that is not used. A test in `tests/` of the library `my_crate`
//! begins with this line:
//!
//! ```ignore
//! use my_crate as _;
//! ```
//!
//! A program without any annotated function is a finding. A second library that is left out is
//! not noticed, so write the line for each.

mod check;
mod finding;
mod form;
pub(crate) mod function;
mod link;
mod own_name;
mod placeholder;
#[cfg(test)]
mod tests;

pub use self::check::check;
pub use self::finding::{Finding, Findings};
#[doc(hidden)]
pub use self::function::NamedType;
pub use self::function::{Function, Role, Template};
#[doc(hidden)]
pub use self::link::Node;
pub(crate) use self::link::has_own_names;
#[doc(hidden)]
pub use self::own_name::OwnName;
use crate::call::site::CallSite;

/// What an attribute, a derive or `key!` records.
#[doc(hidden)]
#[derive(Debug)]
pub enum Registered {
    Cached(&'static CallSite),
    Function(&'static Function),
    /// A type that derives `CacheTag`, and its template.
    Tag(&'static str, Template),
    /// A type that derives `KeyPart` around one value, and the type of that value.
    Newtype(NamedType, NamedType),
    /// A template in `key!`.
    ByHand(Template),
    /// A type with a name of its own.
    OwnName(OwnName),
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

/// Every type with a name of its own.
pub(crate) fn own_names() -> impl Iterator<Item = &'static OwnName> {
    link::all().filter_map(|registered| match registered {
        Registered::OwnName(own) => Some(own),
        _ => None,
    })
}
