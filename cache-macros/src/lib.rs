//! The attributes and derives of `cache-runtime`, which re-exports them: depend on that crate.
//!
//! An attribute goes through one pipeline, like a small compiler:
//!
//! 1. **parse**: `attr` parses its arguments, with `duration` and `template` for what is
//!    inside of strings and `field_path` for fields of `self`, and `function` parses the
//!    function under it;
//! 2. **lower**: `lower` checks the arguments against the function, and collects every mistake;
//! 3. **expand**: `expand` writes the function, and `describe` what the registry records of it.
//!
//! Each phase knows only those before it. `cache_tag`, `key_part`, `key_name` and `cache_defaults`
//! are small: each holds all three phases.

mod attr;
mod cache_defaults;
mod cache_tag;
mod describe;
mod duration;
mod errors;
mod expand;
mod field_path;
mod function;
mod generics;
mod key_name;
mod key_part;
mod lower;
mod runtime;
mod source;
mod template;
mod type_name;
mod type_text;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use syn::parse::Parser;

use crate::attr::{CachedArgs, InvalidateArgs};
use crate::errors::Errors;
use crate::function::Function;

/// Caches what an async function returns, under a key made from its arguments.
///
#[doc = include_str!("../docs/cached.md")]
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    keep_item(try_cached, args.into(), item.into()).into()
}

/// Invalidates keys and tags after an async function has run.
///
#[doc = include_str!("../docs/cache_invalidate.md")]
#[proc_macro_attribute]
pub fn cache_invalidate(args: TokenStream, item: TokenStream) -> TokenStream {
    keep_item(try_cache_invalidate, args.into(), item.into()).into()
}

/// Options that the attributes in an `impl` block have in common.
///
#[doc = include_str!("../docs/cache_defaults.md")]
#[proc_macro_attribute]
pub fn cache_defaults(args: TokenStream, item: TokenStream) -> TokenStream {
    cache_defaults::expand(args.into(), item.into()).into()
}

/// Implements `CacheTag` for a struct: a tag with a type of its own.
///
/// The trait of the same name has the contract. The template names every field, since two
/// values that differ in another field only are one tag. A field that does not matter has
/// `#[cache_tag(skip)]`; a `PhantomData` needs nothing.
#[proc_macro_derive(CacheTag, attributes(cache_tag))]
pub fn cache_tag(input: TokenStream) -> TokenStream {
    or_error(cache_tag::derive(input.into())).into()
}

/// Implements `KeyPart` for a struct or an enum: one value in a key.
///
/// The trait of the same name has the contract.
#[proc_macro_derive(KeyPart, attributes(key_part))]
pub fn key_part(input: TokenStream) -> TokenStream {
    or_error(key_part::derive(input.into())).into()
}

/// A name for a type, which keys and entries have in the place of its path.
///
#[doc = include_str!("../docs/key_name.md")]
#[proc_macro_attribute]
pub fn key_name(args: TokenStream, item: TokenStream) -> TokenStream {
    key_name::expand(args.into(), item.into()).into()
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
    or_error(try_key(template.into())).into()
}

fn try_cached(args: Tokens, item: Tokens) -> syn::Result<Tokens> {
    let mut errors = Errors::default();
    let function = Function::parse_item(item)?;
    let args = CachedArgs::parse(args, &mut errors);
    lower::cached(args, function, errors).map(expand::cached)
}

fn try_cache_invalidate(args: Tokens, item: Tokens) -> syn::Result<Tokens> {
    let mut errors = Errors::default();
    let function = Function::parse_item(item)?;
    let args = InvalidateArgs::parse(args, &mut errors);
    lower::cache_invalidate(args, function, errors).map(expand::cache_invalidate)
}

fn try_key(template: Tokens) -> syn::Result<Tokens> {
    let (literal, runtime) = attr::parse_key.parse2(template)?;
    let key = lower::key(&literal)?;
    Ok(expand::key(&runtime, &key))
}

/// On an error the function stays, so that its callers are not errors too and an editor
/// keeps working.
fn keep_item(
    expand: fn(Tokens, Tokens) -> syn::Result<Tokens>,
    args: Tokens,
    item: Tokens,
) -> Tokens {
    expand(args, item.clone()).unwrap_or_else(|error| {
        let mut tokens = error.to_compile_error();
        tokens.extend(item);
        tokens
    })
}

fn or_error(expanded: syn::Result<Tokens>) -> Tokens {
    expanded.unwrap_or_else(|error| error.to_compile_error())
}
