//! Expansion: what was lowered becomes tokens. Nothing is refused any more.
//!
//! Locals of an expansion have `mixed_site` spans: the user's code does not see them, and they
//! do not shadow the user's. Other tokens have the span of what the user wrote, so that the
//! compiler points there.

mod batch;
mod body;
mod cached;
mod detach;
mod freshness;
mod handle;
mod invalidate;
mod keep;
mod name;
mod receiver;
mod shape;
mod site;
#[cfg(test)]
mod tests;
mod transaction;

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned;

pub(crate) use self::cached::cached;
pub(crate) use self::invalidate::cache_invalidate;
pub(crate) use self::name::{name, part, reference};
use crate::describe;
use crate::lower::{LoweredTemplate, Output};
use crate::runtime::Runtime;

/// `key!("user:<id>")`
pub(crate) fn key(runtime: &Runtime, key: &LoweredTemplate) -> TokenStream {
    let private = runtime.private(Span::call_site());
    let registered = describe::key(runtime, key);
    let name = name::template(runtime, key);
    quote! {{
        #registered
        #private::key(#name)
    }}
}

fn cache(runtime: &Runtime, cache: Option<Expr>) -> TokenStream {
    let span = cache.as_ref().map_or_else(Span::call_site, Spanned::span);
    let private = runtime.private(span);
    cache.map_or_else(
        || quote!(&#private::default_cache()),
        |cache| quote_spanned!(span=> #private::as_cache(&(#cache))),
    )
}

/// A function that returns a future is called before that is polled. Where it names no cache, the first
/// poll decides.
fn in_default_cache(output: &Output, cache: Option<&Expr>) -> Option<TokenStream> {
    let is_deferred = !matches!(output, Output::Value(_));
    (is_deferred && cache.is_none()).then(|| quote!(.in_default_cache()))
}

/// The setter of a ttl that an expression over the arguments yields.
fn computed_ttl(runtime: &Runtime, ttl: &Expr) -> TokenStream {
    let private = runtime.private(ttl.span());
    quote_spanned!(ttl.span()=> .ttl(|| #private::duration(#ttl)))
}

fn setter(name: &str, duration: Duration) -> TokenStream {
    let name = Ident::new(name, Span::call_site());
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(.#name(::core::time::Duration::from_millis(#millis)))
}
