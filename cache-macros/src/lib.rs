//! The attributes of `cache-runtime`, which re-exports them: depend on that crate.
//!
//! An attribute goes through the phases of a small compiler, one module each:
//! `attr` parses its arguments, with `template` and `duration` for what is
//! inside of strings; `lower` checks them against the function, and collects
//! every mistake; `expand` writes the function, for where `runtime` finds the
//! rest, and `describe` tells the registry about it. A derive is a module of its own.

mod attr;
mod cache_tag;
mod describe;
mod duration;
mod errors;
mod expand;
mod generics;
mod key_part;
mod lower;
mod runtime;
mod template;

use proc_macro::TokenStream;

/// Caches what an async function returns, under a key made from its arguments.
///
#[doc = include_str!("../docs/cached.md")]
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cached(args.into(), item.into()).into()
}

/// Invalidates keys and tags after an async function has run.
///
#[doc = include_str!("../docs/cache_invalidate.md")]
#[proc_macro_attribute]
pub fn cache_invalidate(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cache_invalidate(args.into(), item.into()).into()
}

/// Implements `CacheTag` for a struct: a tag with a type of its own.
///
/// The trait of the same name has the contract.
#[proc_macro_derive(CacheTag, attributes(cache_tag))]
pub fn cache_tag(input: TokenStream) -> TokenStream {
    cache_tag::derive(input.into()).into()
}

/// Implements `KeyPart` for a struct or an enum: one value in a key.
///
/// The trait of the same name has the contract.
#[proc_macro_derive(KeyPart, attributes(key_part))]
pub fn key_part(input: TokenStream) -> TokenStream {
    key_part::derive(input.into()).into()
}

/// The key that a template makes of the variables in scope.
///
/// ```
/// use cache_runtime::key;
///
/// struct User { id: u64 }
///
/// let user = User { id: 42 };
/// let login = "octocat";
/// assert_eq!(key!("user:<user.id>").as_str(), "user:42");
/// assert_eq!(key!("login:<login>").as_str(), "login:'octocat'");
/// ```
///
/// With the template of a [`macro@cached`] function, and variables with the values
/// of its arguments, this is the key of its entry. `<T>` is not a type here.
#[proc_macro]
pub fn key(template: TokenStream) -> TokenStream {
    expand::key(template.into()).into()
}
