//! `#[cache_invalidate]`: the body as what an invalidation waits for.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use super::{body, cache, in_default_cache, name, setter, shape, transaction};
use crate::attr::{FenceLength, OnErr};
use crate::describe;
use crate::lower::{Fence, InvalidateFn, Output, Root, Tag};
use crate::runtime::Runtime;

pub(crate) fn cache_invalidate(invalidate: InvalidateFn) -> TokenStream {
    let description = describe::invalidate(&invalidate);
    let InvalidateFn {
        runtime,
        function,
        output,
        cache,
        condition,
        on_ok,
        on_err,
        fence,
        from_arguments,
        from_result,
        transactions,
        options: _,
    } = invalidate;
    let path = runtime.path(Span::mixed_site());
    let private = runtime.private(Span::mixed_site());
    let registered = describe::registered(&runtime, &quote!(Function(&SITE)));
    let in_default_cache = in_default_cache(&output, cache.as_ref());
    let cache = self::cache(&runtime, cache);
    let from_arguments = name::tags(&runtime, &from_arguments);
    let only_if =
        condition.map(|condition| quote_spanned!(condition.span()=> .only_if(#condition)));
    let reads_result = on_ok || on_err.is_some() || fence.is_some() || !from_result.is_empty();
    let with_result = reads_result.then(|| with_result(&runtime, &from_result, &output));
    let on_ok = on_ok.then(|| quote_spanned!(Span::mixed_site()=> .on_ok()));
    let on_err = on_err.map(|on_err| self::on_err(&runtime, &on_err));
    let fence = fence.map(|fence| self::fence(&runtime, fence));
    let body = body::body(&runtime, &function, &output);
    let is_failure = (!reads_result).then(|| {
        let is_failure = shape::is_failure(&runtime, &output);
        quote_spanned!(Span::mixed_site()=> #is_failure,)
    });
    let run = body::future(
        &output,
        body,
        |load| quote_spanned!(Span::mixed_site()=> call.run(#is_failure #load)),
    );
    let returned = body::returned(&runtime, &output);
    let site = quote_spanned! {Span::mixed_site()=>
        static SITE: #path::registry::Function = #description;
        #registered
    };
    let (item, given) = match transaction::given(&runtime, &transactions) {
        None => (Some(quote!(const _: () = { #site };)), None),
        Some(given) => (None, Some(quote!(.given({ #site &SITE }, #given)))),
    };
    let statements = quote_spanned! {Span::mixed_site()=>
        #item
        #returned
        #[allow(clippy::used_underscore_binding)]
        let call = #private::InvalidateCall::start(#cache, #from_arguments)
            #in_default_cache
            #given
            #only_if
            #with_result
            #on_ok
            #on_err
            #fence;
        #run
    };
    body::function(&function, &statements)
}

/// An error about the return type points at the option, and one about the answer at the closure.
fn on_err(runtime: &Runtime, on_err: &OnErr) -> TokenStream {
    let OnErr { span, question } = on_err;
    let span = span.resolved_at(Span::mixed_site());
    let private = runtime.private(span);
    // The option takes a closure, also where a method would do.
    let allow = quote!(#[allow(clippy::redundant_closure_for_method_calls)]);
    quote_spanned!(span=> .on_err(#private::ReturnsError::error, #allow #question))
}

/// Errors point at the option, unless they are about the return type.
fn fence(runtime: &Runtime, fence: Fence) -> TokenStream {
    let fenced = match fence.length {
        FenceLength::Fixed(length) => setter("fenced", length),
        FenceLength::Computed(length) => quote_spanned!(length.span()=> .fenced(#length)),
    };
    let required = fence.required.map(|required| {
        let required = required.resolved_at(Span::mixed_site());
        let path = runtime.path(required);
        quote_spanned!(required=> .required(#path::RequiresFence::from_cache_error))
    });
    quote!(#fenced #required)
}

/// The names that need the result. Parts that are arguments are rendered before the body
/// takes the arguments.
fn with_result(runtime: &Runtime, tags: &[Tag], output: &Output) -> TokenStream {
    let shape = shape::shape(runtime, output);
    let mut rendered = Vec::new();
    let statements = tags.iter().map(|tag| {
        let template = match tag {
            Tag::Template(template) => template,
            Tag::Typed(tag) => {
                let result = tag.result.as_ref();
                let tag = name::typed_tag(runtime, tag);
                return quote_spanned! {Span::mixed_site()=> {
                    let #result = result;
                    names.push_tag(#tag);
                }};
            }
        };
        // Errors point at the template, and `result` is the parameter of the closure.
        let span = template.span.resolved_at(Span::mixed_site());
        let parts = template.parts.iter().map(|part| {
            if let Root::Result = part.root {
                return name::part(runtime, part, span);
            }
            let part = name::part(runtime, part, template.span);
            let private = runtime.private(Span::mixed_site());
            let local = format_ident!("part{}", rendered.len(), span = Span::mixed_site());
            rendered.push(quote_spanned! {Span::mixed_site()=>
                let #local = #private::RenderedPart::new(#part);
            });
            quote!(&#local)
        });
        let parts: Vec<_> = parts.collect();
        let name = name::name(runtime, span, &template.literals, &parts);
        quote_spanned!(Span::mixed_site()=> names.push(#name);)
    });
    let statements: Vec<_> = statements.collect();
    if statements.is_empty() {
        return quote_spanned!(Span::mixed_site()=> .with_result(#shape, |_, _| {}));
    }
    quote_spanned! {Span::mixed_site()=>
        .with_result(#shape, {
            #(#rendered)*
            move |result, names| {
                #(#statements)*
            }
        })
    }
}
