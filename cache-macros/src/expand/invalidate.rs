//! `#[cache_invalidate]`: the body as what an invalidation waits for.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned;

use super::{body, cache, in_default_cache, name, setter, shape, transaction};
use crate::attr::{FenceLength, OnErr};
use crate::describe;
use crate::lower::{Fence, InvalidateFn, List, Output, Root, Tag};
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
        lists,
        transactions,
        options: _,
    } = invalidate;
    let path = runtime.path(Span::mixed_site());
    let private = runtime.private(Span::mixed_site());
    let registered = describe::registered(&runtime, &quote!(Function(&SITE)));
    let in_default_cache = in_default_cache(&output, cache.as_ref());
    let cache = self::cache(&runtime, cache);
    let (listed, alone): (Vec<_>, Vec<_>) = from_arguments
        .into_iter()
        .partition(|tag| !tag.lists().is_empty());
    let from_arguments = name::tags(&runtime, &alone);
    let from_lists = from_lists(&runtime, &listed, &lists);
    let only_if =
        condition.map(|condition| quote_spanned!(condition.span()=> .only_if(#condition)));
    let reads_result = on_ok || on_err.is_some() || fence.is_some() || !from_result.is_empty();
    let with_result = reads_result.then(|| with_result(&runtime, &from_result, &lists, &output));
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
            #from_lists
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
        FenceLength::Computed(length) => {
            let private = runtime.private(length.span());
            quote_spanned!(length.span()=> .fenced(#private::duration(#length)))
        }
    };
    let required = fence.required.map(|required| {
        let required = required.resolved_at(Span::mixed_site());
        let path = runtime.path(required);
        quote_spanned!(required=> .required(#path::RequiresFence::from_cache_error))
    });
    quote!(#fenced #required)
}

/// The names that the elements of arguments make.
fn from_lists(runtime: &Runtime, tags: &[Tag], lists: &[List]) -> Option<TokenStream> {
    if tags.is_empty() {
        return None;
    }
    let statements = tags.iter().map(|tag| {
        let push = match tag {
            Tag::Template(template) => {
                let name = name::template(runtime, template);
                quote_spanned!(Span::mixed_site()=> names.push(#name);)
            }
            Tag::Typed(tag) => {
                let tag = name::typed_tag(runtime, tag);
                quote_spanned!(Span::mixed_site()=> names.push_tag(#tag);)
            }
        };
        for_each(&tag.lists(), lists, push)
    });
    Some(quote_spanned! {Span::mixed_site()=>
        .with_names(|names| {
            #(#statements)*
        })
    })
}

/// A statement for each element of these lists, and of those that they are in.
fn for_each(named: &[usize], lists: &[List], statement: TokenStream) -> TokenStream {
    let is_around = |list: &usize| {
        named
            .iter()
            .any(|it| it == list || lists[*it].outer.contains(list))
    };
    let around = (0..lists.len()).filter(is_around);
    around.rev().fold(statement, |statement, list| {
        let List {
            element,
            source,
            result,
            ..
        } = &lists[list];
        let span = source.span();
        // A place has elements that can be read by reference. Anything else is what it yields.
        let elements = match source {
            Expr::Path(_) | Expr::Field(_) => quote_spanned!(span=> (#source).iter()),
            _ => source.to_token_stream(),
        };
        let result = result
            .as_ref()
            .map(|result| quote_spanned!(Span::mixed_site()=> let #result = result;));
        // A name may need only a part of the element.
        quote_spanned! {Span::mixed_site()=> {
            #result
            #[allow(unused_variables, clippy::explicit_iter_loop)]
            for #element in #elements {
                #statement
            }
        }}
    })
}

/// The names that need the result. Parts that are arguments are rendered before the body
/// takes the arguments.
fn with_result(runtime: &Runtime, tags: &[Tag], lists: &[List], output: &Output) -> TokenStream {
    let shape = shape::shape(runtime, output);
    let mut rendered = Vec::new();
    let statements = tags.iter().map(|tag| {
        let template = match tag {
            Tag::Template(template) => template,
            Tag::Typed(typed) => {
                let result = typed.result.as_ref();
                let result =
                    result.map(|result| quote_spanned!(Span::mixed_site()=> let #result = result;));
                let typed = name::typed_tag(runtime, typed);
                let push = quote_spanned! {Span::mixed_site()=> {
                    #result
                    names.push_tag(#typed);
                }};
                return for_each(&tag.lists(), lists, push);
            }
        };
        // Errors point at the template, and `result` is the parameter of the closure.
        let span = template.span.resolved_at(Span::mixed_site());
        let parts = template.parts.iter().map(|part| {
            match part.root {
                Root::Result => return name::part(runtime, part, span),
                Root::Element(..) => return name::part(runtime, part, template.span),
                Root::Value(_) | Root::Type(_) => {}
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
        let push = quote_spanned!(Span::mixed_site()=> names.push(#name););
        for_each(&tag.lists(), lists, push)
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
