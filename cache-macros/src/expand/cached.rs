//! `#[cached]`: the body as the load of a call.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::keep::Keep;
use super::{
    body, cache, computed_ttl, detach, freshness, handle, in_default_cache, name, receiver, shape,
    site, transaction,
};
use crate::attr::Ttl;
use crate::describe;
use crate::function::Function;
use crate::lower::{CachedFn, Detach, Output};
use crate::runtime::Runtime;

pub(crate) fn cached(mut cached: CachedFn) -> TokenStream {
    if let Some(batch) = cached.batch.take() {
        return super::batch::batch(cached, batch);
    }
    let by_hand = cached.handle.as_ref().map(|by_hand| {
        let CachedFn {
            runtime,
            function,
            output,
            key,
            ..
        } = &cached;
        handle::handle(runtime, function, output, key, by_hand)
    });
    let function = function(cached);
    quote!(#function #by_hand)
}

/// The function, with its body as the load of a call.
fn function(cached: CachedFn) -> TokenStream {
    let site = site::site(&cached, &describe::cached(&cached));
    let CachedFn {
        runtime,
        function,
        output,
        may_share_errors,
        ttl,
        none_ttl,
        is_local,
        freshness,
        detach: detached,
        cache,
        condition,
        unless,
        codec,
        key,
        tags,
        tags_of_value,
        unnamed_fields,
        transactions,
        asks_receiver,
        ..
    } = cached;
    let private = runtime.private(Span::mixed_site());
    let may_be_none = none_ttl.map(|option| shape::check_none(&runtime, &output, option.span));
    let codec = codec.map(|codec| quote_spanned!(codec.span()=> .codec(|| #codec)));
    let (computed_ttl, ttl_of_value) = match ttl {
        Some(Ttl::Computed(ttl)) => (Some(computed_ttl(&runtime, &ttl)), None),
        Some(Ttl::OfValue(ttl)) => (None, Some(ttl)),
        Some(Ttl::Fixed(_)) | None => (None, None),
    };
    let in_default_cache = in_default_cache(&output, cache.as_ref());
    let cache = self::cache(&runtime, cache);
    let blame = output.ty().span().resolved_at(Span::mixed_site());
    let shape = shape::shape(&runtime, &output);
    let shape = shape::owning(&runtime, blame, shape, &output.borrowing_values());
    let shape = shape::of_call(&runtime, blame, shape, is_local, may_share_errors);
    let key = name::template(&runtime, &key);
    let mut tags = name::tags(&runtime, &tags);
    if !tags_of_value.is_empty() {
        tags = quote_spanned!(Span::mixed_site()=> #private::AndOfValue(#tags));
    }
    let receiver = receiver::of_call(&runtime, asks_receiver);
    let given = transaction::given(&runtime, &transactions);
    let start = start(&output, freshness.is_some(), given.is_some());
    let start = quote_spanned! {Span::mixed_site()=>
        #private::CachedCall::#start(
            #site,
            #cache,
            #shape,
            #key,
            #tags,
            #receiver,
            #given
        )
        #in_default_cache
        #computed_ttl
        #codec
    };
    let start = match condition {
        None => start,
        Some(condition) => quote_spanned! {Span::mixed_site()=>
            if #condition {
                #start
            } else {
                #private::CachedCall::bypass(#shape)
            }
        },
    };
    let call = Ident::new("call", blame);
    let is_owned = detached.is_some() || !matches!(output, Output::Value(_));
    let excuses = freshness.map(|it| freshness::excuses(&runtime, is_owned, &it));
    let keep = Keep {
        excuses,
        ..Keep::new(
            &runtime,
            (is_owned, is_local),
            unless,
            ttl_of_value,
            &tags_of_value,
        )
    };
    let resolve = resolve(&runtime, &function, &output, detached.as_ref(), keep);
    let answer = answer(&runtime, &output, &call);
    // A value that is never written does not come back as another one.
    let compared = (!is_local).then(|| shape::compared(&runtime, &call, "CachedCall"));
    let returned = body::returned(&runtime, &output);
    let unnamed_fields = receiver::check(&runtime, &unnamed_fields);
    // A statement of its own drops the temporaries of the placeholders, such as a guard,
    // before the function waits.
    let statements = quote_spanned! {Span::mixed_site()=>
        #unnamed_fields
        #returned
        #may_be_none
        #[allow(clippy::used_underscore_binding)]
        let #call = #start;
        #answer
        #compared
        #resolve
    };
    body::function(&function, &statements)
}

/// The statement that returns a hit of the local tier.
fn answer(runtime: &Runtime, output: &Output, call: &Ident) -> Option<TokenStream> {
    if !matches!(output, Output::Value(_)) {
        return None;
    }
    let blame = call.span();
    let private = runtime.private(blame);
    Some(quote_spanned! {blame=>
        let #call = match #private::CachedCall::answer(#call) {
            ::core::result::Result::Ok(answer) => {
                return #private::Answer::into_return(answer);
            }
            ::core::result::Result::Err(#call) => #call,
        };
    })
}

/// The function that begins the call. A future that is returned looks at the cache when it is polled,
/// which may be after an invalidation. An `async fn` is not called before it is polled.
fn start(output: &Output, is_fresh: bool, is_given: bool) -> Ident {
    let name = match (output, is_given) {
        (Output::Value(_), false) if is_fresh => "start_fresh",
        (Output::Value(_), true) if is_fresh => "start_fresh_given",
        (Output::Value(_), false) => "start",
        (Output::Value(_), true) => "start_given",
        (Output::Future(_) | Output::Boxed(_), false) => "defer",
        (Output::Future(_) | Output::Boxed(_), true) => "defer_given",
    };
    Ident::new(name, Span::mixed_site())
}

/// The rest of the call, with the body as its load.
fn resolve(
    runtime: &Runtime,
    function: &Function,
    output: &Output,
    detached: Option<&Detach>,
    keep: Keep,
) -> TokenStream {
    let blame = output.ty().span().resolved_at(Span::mixed_site());
    let call = Ident::new("call", blame);
    let private = runtime.private(blame);
    if let Some(detached) = detached {
        let load = detach::load(runtime, function, output, detached);
        detach::future(runtime, output, detached, keep, load)
    } else {
        let load = body::body(runtime, function, output);
        body::future(output, load, |load| match keep {
            Keep {
                lifetime: keep,
                tags,
                excuses: Some(excuses),
            } => {
                let keep = keep.unwrap_or_else(|| Keep::default(runtime));
                match tags {
                    None => quote_spanned! {blame=>
                        #private::CachedCall::resolve_fresh(#call, #keep, #excuses, #load)
                    },
                    Some(tags) => quote_spanned! {blame=>
                        #private::CachedCall::resolve_fresh_telling(
                            #call, #keep, #tags, #excuses, #load
                        )
                    },
                }
            }
            Keep {
                lifetime: None,
                tags: None,
                excuses: None,
            } => quote_spanned! {blame=>
                #private::CachedCall::resolve(#call, #load)
            },
            Keep {
                lifetime: Some(keep),
                tags: None,
                excuses: None,
            } => quote_spanned! {blame=>
                #private::CachedCall::resolve_keeping(#call, #keep, #load)
            },
            Keep {
                lifetime: keep,
                tags: Some(tags),
                excuses: None,
            } => {
                let keep = keep.unwrap_or_else(|| Keep::default(runtime));
                quote_spanned! {blame=>
                    #private::CachedCall::resolve_telling(#call, #keep, #tags, #load)
                }
            }
        })
    }
}
