//! The call site: what is known of a cached function at compile time.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{freshness, name, setter};
use crate::attr::Ttl;
use crate::describe;
use crate::lower::CachedFn;

/// A reference to the call site, with this description for the registry.
pub(super) fn site(cached: &CachedFn, description: &TokenStream) -> TokenStream {
    let private = cached.runtime.private(Span::mixed_site());
    let ttl = match &cached.ttl {
        Some(Ttl::Fixed(ttl)) => Some(setter("ttl", *ttl)),
        Some(Ttl::Computed(_) | Ttl::OfValue(_)) | None => None,
    };
    let none_ttl = cached.none_ttl;
    let setters = [
        ttl,
        none_ttl.map(|option| setter("none_ttl", option.length)),
        cached
            .local_ttl
            .map(|local_ttl| setter("local_ttl", local_ttl)),
        cached.is_local.then(|| quote!(.local())),
        cached.hedge.map(|hedge| setter("hedge", hedge)),
        cached
            .freshness
            .as_ref()
            .map(|it| freshness::of_site(&cached.runtime, it)),
        cached.schema.map(|schema| quote!(.schema(#schema))),
        name::names_type(&cached.key),
    ];
    let setters = setters.into_iter().flatten();
    let registered = describe::registered(&cached.runtime, &quote!(Cached(&SITE)));
    quote_spanned! {Span::mixed_site()=>
        {
            static SITE: #private::CallSite =
                #private::CallSite::new(#description) #(#setters)*;
            #registered
            &SITE
        }
    }
}
