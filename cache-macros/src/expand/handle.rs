//! `handle`: an empty enum of the function's name, whose functions take the function's arguments.
//!
//! A function is a value and an enum is a type, so both may have one name. Each function of the enum
//! makes the call and passes it on, but for `key`, which needs no call.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, Pat, PatIdent, PatType, Type, parse_quote};

use super::name;
use crate::function::Function;
use crate::lower::{Handle, LoweredTemplate, Output};
use crate::runtime::Runtime;

pub(super) fn handle(
    runtime: &Runtime,
    function: &Function,
    output: &Output,
    key: &LoweredTemplate,
    handle: &Handle,
) -> TokenStream {
    let Function { vis, sig, .. } = function;
    let Handle { span, cfgs } = handle;
    let ident = &sig.ident;
    let path = runtime.path(Span::call_site());
    let private = runtime.private(Span::call_site());
    let (parameters, arguments) = named(&sig.inputs);
    let patterns = &sig.inputs;
    let generics = &sig.generics;
    let clause = &generics.where_clause;
    let mut of_prime = generics.clone();
    of_prime
        .params
        .push(parse_quote!(__Value: #path::CacheValue));
    let returned: Type = match output {
        Output::Value(ty) | Output::Future(ty) => ty.clone(),
        Output::Boxed(ty) => parse_quote!(<#ty as ::core::future::Future>::Output),
    };
    let where_prime = of_prime.make_where_clause();
    let blame = returned.span();
    where_prime.predicates.push(
        syn::parse2(quote_spanned!(blame=> #returned: #path::Yields<__Value>)).expect("a bound"),
    );
    let where_prime = where_prime.clone();
    let types = generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(parameter.ident.to_token_stream()),
            GenericParam::Const(parameter) => Some(parameter.ident.to_token_stream()),
            GenericParam::Lifetime(_) => None,
        });
    let types: Vec<_> = types.collect();
    let turbofish = (!types.is_empty()).then(|| quote!(::<#(#types),*>));
    let call = quote!(#ident #turbofish (#(#arguments),*));
    let key = name::template(runtime, key);
    // A parameter of the user's may have this name.
    let value = Ident::new("value", Span::mixed_site());
    let error = quote!(::core::result::Result<(), #path::Error>);
    let docs = format!(
        "The entries of [`{ident}`](fn@{ident}), by hand: each function takes the arguments of a call."
    );
    let item = quote_spanned!(*span=> enum);
    quote! {
        #(#cfgs)*
        #[doc = #docs]
        #[allow(dead_code, non_camel_case_types)]
        #vis #item #ident {}

        #(#cfgs)*
        #[allow(dead_code, unused_mut, unused_variables, clippy::all, clippy::pedantic)]
        impl #ident {
            /// The key of the entry.
            #vis fn key #generics (#patterns) -> #path::Key #clause {
                #private::key(#key)
            }

            /// The entry, as `CachedEntry::of` makes it of the call.
            #vis fn entry #generics (#(#parameters),*)
                -> ::core::result::Result<#path::CachedEntry, #path::Error>
            #clause {
                #path::CachedEntry::of(#call)
            }

            /// Runs the body whatever is cached, stores what it yields, and returns it, as `refresh`.
            #vis async fn refresh #generics (#(#parameters),*) -> #returned #clause {
                #path::refresh(#call).await
            }

            /// Stores a value as the function would, as `prime`.
            #vis async fn prime #of_prime (#(#parameters,)* #value: __Value) -> #error #where_prime {
                #path::prime(#call, #value).await
            }

            /// Invalidates the key, as `CachedEntry::invalidate`.
            #vis async fn invalidate #generics (#(#parameters),*) -> #error #clause {
                let entry = #path::CachedEntry::of(#call)?;
                entry.invalidate().await
            }
        }
    }
}

/// The parameters, each with a name instead of a pattern, and these names.
fn named<'a>(inputs: impl IntoIterator<Item = &'a FnArg>) -> (Vec<TokenStream>, Vec<Ident>) {
    let typed = inputs.into_iter().filter_map(|input| match input {
        FnArg::Typed(input) => Some(input),
        FnArg::Receiver(_) => None,
    });
    let named = typed.enumerate().map(|(i, PatType { pat, ty, .. })| {
        let name = match &**pat {
            Pat::Ident(PatIdent {
                ident,
                subpat: None,
                ..
            }) => ident.clone(),
            _ => format_ident!("argument{i}"),
        };
        (quote!(#name: #ty), name)
    });
    named.unzip()
}
