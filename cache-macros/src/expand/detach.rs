//! `detach`: the body as a load that owns what it uses.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::visit_mut::VisitMut;
use syn::{BoundLifetimes, Lifetime, Type};

use super::body;
use super::keep::Keep;
use crate::function::Function;
use crate::lower::{Copied, Detach, Output};
use crate::runtime::Runtime;

/// A closure that copies what the function borrows, and returns the load, which owns the copies.
pub(super) fn load(
    runtime: &Runtime,
    function: &Function,
    output: &Output,
    detach: &Detach,
) -> TokenStream {
    let copies = detach.copied.iter().map(|Copied { ident, name, .. }| {
        let blame = ident.span().resolved_at(Span::mixed_site());
        let private = runtime.private(blame);
        quote_spanned! {blame=>
            let #name = {
                #[allow(clippy::used_underscore_binding)]
                let argument = #private::Argument::of(#ident);
                {
                    use #private::argument_copy::*;
                    (&&argument).copied()
                }
            };
        }
    });
    let moves = detach.moved.iter().map(|ident| {
        let blame = ident.span().resolved_at(Span::mixed_site());
        let private = runtime.private(blame);
        quote_spanned! {blame=>
            #[allow(clippy::used_underscore_binding)]
            #private::owned_by_task(&#ident);
        }
    });
    let borrows = detach.copied.iter().map(|copied| {
        let Copied {
            name, mutability, ..
        } = copied;
        let blame = name.span().resolved_at(Span::mixed_site());
        quote_spanned! {blame=>
            #[allow(unused_variables)]
            let #mutability #name = #name.get();
        }
    });
    let body = match output {
        Output::Value(_) | Output::Future(_) => body::body(runtime, function, output),
        Output::Boxed(ty) => body::boxed(runtime, function, &with_inferred_lifetimes(ty)),
    };
    quote_spanned! {Span::mixed_site()=>
        move || {
            #(#copies)*
            async move {
                #(#moves)*
                #(#borrows)*
                #body.await
            }
        }
    }
}

/// The call with the load, in the way that the function gives its value.
pub(super) fn future(
    runtime: &Runtime,
    output: &Output,
    detach: &Detach,
    keep: Keep,
    load: TokenStream,
) -> TokenStream {
    let Keep {
        lifetime: keep,
        tags,
        excuses,
    } = keep;
    let keep = keep.unwrap_or_else(|| Keep::default(runtime));
    // What keeps the load from being sent to a task is an error at the option.
    let blame = detach.span.resolved_at(Span::mixed_site());
    let private = runtime.private(blame);
    let call = Ident::new("call", blame);
    let resolved = match (tags, excuses) {
        (None, Some(excuses)) => quote_spanned! {blame=>
            #private::CachedCall::resolve_detached_fresh(#call, #keep, #excuses, #load)
        },
        (Some(tags), Some(excuses)) => quote_spanned! {blame=>
            #private::CachedCall::resolve_detached_fresh_telling(
                #call, #keep, #tags, #excuses, #load
            )
        },
        (None, None) => quote_spanned! {blame=>
            #private::CachedCall::resolve_detached(#call, #keep, #load)
        },
        (Some(tags), None) => quote_spanned! {blame=>
            #private::CachedCall::resolve_detached_telling(#call, #keep, #tags, #load)
        },
    };
    match output {
        Output::Value(_) => quote_spanned!(blame=> #resolved.await),
        Output::Future(_) => quote_spanned!(blame=> async move { #resolved.await }),
        Output::Boxed(_) => {
            quote_spanned!(blame=> future.boxed(::std::boxed::Box::pin(#resolved)))
        }
    }
}

/// A type in which the compiler finds each lifetime: a future in a task borrows from the task.
fn with_inferred_lifetimes(ty: &Type) -> Type {
    struct Infer;
    impl VisitMut for Infer {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                lifetime.ident = Ident::new("_", lifetime.ident.span());
            }
        }

        // These are parameters of a type, and not its own.
        fn visit_bound_lifetimes_mut(&mut self, _: &mut BoundLifetimes) {}
    }
    let mut ty = ty.clone();
    Infer.visit_type_mut(&mut ty);
    ty
}
