//! Checked function to tokens. Nothing can be refused any more.

use std::time::Duration;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprClosure, Type, TypeInfer};

use crate::attr::{FenceLength, Ttl};
use crate::describe;
use crate::lower::{
    self, CachedFn, Fence, Function, InvalidateFn, Name, Output, Part, Root, Step, Tag, TypedTag,
};
use crate::runtime::Runtime;

pub(crate) fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    match lower::cached(args, item.clone()) {
        Ok(cached) => expand_cached(cached),
        Err(error) => error_beside(item, &error),
    }
}

pub(crate) fn cache_invalidate(args: TokenStream, item: TokenStream) -> TokenStream {
    match lower::cache_invalidate(args, item.clone()) {
        Ok(invalidate) => expand_invalidate(invalidate),
        Err(error) => error_beside(item, &error),
    }
}

pub(crate) fn key(template: TokenStream) -> TokenStream {
    match lower::key(template) {
        Ok((name, runtime)) => {
            let private = runtime.private(Span::call_site());
            let by_hand = describe::key(&runtime, &name);
            let name = expand_name(&runtime, &name);
            quote! {{
                #private::register! {
                    #private::Registered::ByHand(#by_hand)
                }
                #private::key(#name)
            }}
        }
        Err(error) => error.to_compile_error(),
    }
}

/// The function stays, so that its callers are not in error too and an editor keeps working.
fn error_beside(item: TokenStream, error: &syn::Error) -> TokenStream {
    let mut tokens = error.to_compile_error();
    tokens.extend(item);
    tokens
}

// Every name below is a `mixed_site` one: a local of the expansion is not
// visible to what the user wrote, and theirs are not shadowed.

fn expand_cached(cached: CachedFn) -> TokenStream {
    let description = describe::cached(&cached);
    let CachedFn {
        runtime,
        function,
        output,
        ttl,
        none_ttl,
        cache,
        condition,
        unless,
        version,
        codec,
        key,
        tags,
        options: _,
    } = cached;
    let private = runtime.private(Span::mixed_site());
    let none_ttl = none_ttl.map(|none_ttl| setter("none_ttl", none_ttl));
    let version = version.map(|version| quote!(.schema(#version)));
    let codec = codec.map(|codec| quote_spanned!(codec.span()=> .codec(|| #codec)));
    let (fixed_ttl, computed_ttl, ttl_of_value) = match ttl {
        None => (None, None, None),
        Some(Ttl::Fixed(ttl)) => (Some(setter("ttl", ttl)), None, None),
        Some(Ttl::Computed(ttl)) => (None, Some(quote_spanned!(ttl.span()=> .ttl(|| #ttl))), None),
        Some(Ttl::OfValue(ttl)) => (None, None, Some(ttl)),
    };
    let cache = expand_cache(&runtime, cache);
    let shape = expand_shape(&runtime, &output);
    let key = expand_name(&runtime, &key);
    let tags = expand_tags(&runtime, &tags);
    let body = expand_body(&runtime, &function, &output);
    // What is there already is looked at when the future is polled, which may be
    // after an invalidation; an `async fn` is not called before that.
    let start = match output {
        Output::Value(_) => quote_spanned!(Span::mixed_site()=> start),
        Output::Future(_) | Output::Boxed(_) => quote_spanned!(Span::mixed_site()=> defer),
    };
    let start = quote_spanned! {Span::mixed_site()=>
        #private::CachedCall::#start(
            {
                static SITE: #private::CallSite =
                    #private::CallSite::new(#description)
                        #fixed_ttl
                        #none_ttl
                        #version;
                #private::register! {
                    #private::Registered::Cached(&SITE)
                }
                &SITE
            },
            #cache,
            #shape,
            #key,
            #tags,
        )
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
    // A type that can't be cached is the return type's fault. In one place, the
    // compiler says so once, and not again for each layer of the call.
    let blame = output.ty().span().resolved_at(Span::mixed_site());
    let call = Ident::new("call", blame);
    let private = runtime.private(blame);
    let keep = expand_keep(&runtime, &output, unless, ttl_of_value);
    let or_load = expand_future(&output, body, |load| match keep {
        None => quote_spanned! {blame=>
            #private::CachedCall::resolve(#call, #load)
        },
        Some(keep) => quote_spanned! {blame=>
            #private::CachedCall::resolve_keeping(#call, #keep, #load)
        },
    });
    let hit = matches!(output, Output::Value(_)).then(|| {
        quote_spanned! {blame=>
            let #call = match #private::CachedCall::answer(#call) {
                ::core::result::Result::Ok(hit) => return hit,
                ::core::result::Result::Err(#call) => #call,
            };
        }
    });
    let returned = expand_returned(&runtime, &output);
    // A statement of its own: what the placeholders made, such as a guard, is
    // gone before the function waits.
    let statements = quote_spanned! {Span::mixed_site()=>
        #returned
        #[allow(clippy::used_underscore_binding)]
        let #call = #start;
        #hit
        #or_load
    };
    expand_function(&function, &statements)
}

/// What the value itself decides: whether it is stored, and for how long.
fn expand_keep(
    runtime: &Runtime,
    output: &Output,
    unless: Option<Expr>,
    ttl: Option<ExprClosure>,
) -> Option<TokenStream> {
    let private = runtime.private(Span::mixed_site());
    let keep = match &ttl {
        None => quote_spanned!(Span::mixed_site()=> #private::Keep::Default),
        Some(ttl) => quote_spanned! {Span::mixed_site()=>
            #private::Keep::For(#private::ask(value, #ttl))
        },
    };
    let keep = match unless {
        None => ttl.map(|_| keep)?,
        Some(unless) => quote_spanned! {Span::mixed_site()=>
            if #private::ask(value, #unless) {
                #private::Keep::Not
            } else {
                #keep
            }
        },
    };
    // A future that is returned takes along what it asks.
    let capture = match output {
        Output::Value(_) => None,
        Output::Future(_) | Output::Boxed(_) => Some(quote_spanned!(Span::mixed_site()=> move)),
    };
    Some(quote_spanned!(Span::mixed_site()=> #capture |value| #keep))
}

fn expand_invalidate(invalidate: InvalidateFn) -> TokenStream {
    let description = describe::invalidate(&invalidate);
    let InvalidateFn {
        runtime,
        function,
        output,
        cache,
        condition,
        on_ok,
        fence,
        from_arguments,
        from_result,
        options: _,
    } = invalidate;
    let path = runtime.path(Span::mixed_site());
    let private = runtime.private(Span::mixed_site());
    let cache = expand_cache(&runtime, cache);
    let from_arguments = expand_tags(&runtime, &from_arguments);
    let only_if =
        condition.map(|condition| quote_spanned!(condition.span()=> .only_if(#condition)));
    let reads_result = on_ok || fence.is_some() || !from_result.is_empty();
    let with_result = reads_result.then(|| expand_with_result(&runtime, &from_result, &output));
    let on_ok = on_ok.then(|| quote_spanned!(Span::mixed_site()=> .on_ok()));
    let fence = fence.map(|fence| expand_fence(&runtime, fence));
    let body = expand_body(&runtime, &function, &output);
    let is_failure = (!reads_result).then(|| {
        let is_failure = expand_is_failure(&runtime, &output);
        quote_spanned!(Span::mixed_site()=> #is_failure,)
    });
    let run = expand_future(
        &output,
        body,
        |load| quote_spanned!(Span::mixed_site()=> call.run(#is_failure #load)),
    );
    let returned = expand_returned(&runtime, &output);
    let statements = quote_spanned! {Span::mixed_site()=>
        const _: () = {
            static SITE: #path::registry::Function = #description;
            #private::register! {
                #private::Registered::Function(&SITE)
            }
        };
        #returned
        #[allow(clippy::used_underscore_binding)]
        let call = #private::InvalidateCall::start(#cache, #from_arguments)
            #only_if
            #with_result
            #on_ok
            #fence;
        #run
    };
    expand_function(&function, &statements)
}

/// What the return type cannot say is blamed on the option, and so is an argument of its own.
fn expand_fence(runtime: &Runtime, fence: Fence) -> TokenStream {
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

/// Parts that are arguments are rendered before the body takes the arguments.
fn expand_with_result(runtime: &Runtime, tags: &[Tag], output: &Output) -> TokenStream {
    let shape = expand_shape(runtime, output);
    let mut rendered = Vec::new();
    let statements = tags.iter().map(|tag| {
        let name = match tag {
            Tag::Name(name) => name,
            Tag::Typed(tag) => {
                let result = tag.result.as_ref();
                let tag = expand_typed_tag(runtime, tag);
                return quote_spanned! {Span::mixed_site()=> {
                    let #result = result;
                    names.push_tag(#tag);
                }};
            }
        };
        // Blamed on the template, but `result` is the closure's.
        let span = name.span.resolved_at(Span::mixed_site());
        let parts = name.parts.iter().map(|part| {
            if let Root::Result = part.root {
                return self::part(runtime, part, span);
            }
            let part = self::part(runtime, part, name.span);
            let private = runtime.private(Span::mixed_site());
            let local = format_ident!("part{}", rendered.len(), span = Span::mixed_site());
            rendered.push(quote_spanned! {Span::mixed_site()=>
                let #local = #private::RenderedPart::new(#part);
            });
            quote!(&#local)
        });
        let parts: Vec<_> = parts.collect();
        let name = self::name(runtime, span, &name.literals, &parts);
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

fn expand_function(function: &Function, statements: &TokenStream) -> TokenStream {
    let Function {
        attrs,
        vis,
        sig,
        inner_attrs,
        ..
    } = function;
    quote! {
        #(#attrs)*
        #vis #sig {
            #(#inner_attrs)*
            #statements
        }
    }
}

/// The user's statements, as a future that nobody has polled yet.
fn expand_body(runtime: &Runtime, function: &Function, output: &Output) -> TokenStream {
    // Where the user's braces are, but not theirs: a body of one line is no
    // block with unnecessary braces.
    let mut block = Group::new(Delimiter::Brace, function.statements.clone());
    block.set_span(function.brace.span.join().resolved_at(Span::mixed_site()));
    let ty = match output {
        Output::Value(ty) => without_impl_trait(ty),
        Output::Future(ty) | Output::Boxed(ty) => {
            let blame = ty.span().resolved_at(Span::mixed_site());
            let private = runtime.private(blame);
            // A closure, so that an early return is one from the body.
            return if let Output::Boxed(_) = output {
                quote_spanned!(blame=> future.load(#private::future_of(move || -> #ty #block)))
            } else {
                quote_spanned!(blame=> #private::future_of(move || #block))
            };
        }
    };
    // The return that never happens makes the signature's type known inside,
    // where `?` and `.into()` need it. It stands outside the user's block, so
    // that an item in there cannot give the type another meaning.
    quote_spanned! {Span::mixed_site()=>
        async move {
            #[allow(
                unreachable_code,
                clippy::diverging_sub_expression,
                clippy::empty_loop,
                clippy::let_unit_value,
                clippy::needless_return,
            )]
            if false {
                let output: #ty = loop {};
                return output;
            }
            #block
        }
    }
}

/// Whether the function returns a boxed future, found by trait rather than by name.
fn expand_returned(runtime: &Runtime, output: &Output) -> Option<TokenStream> {
    let Output::Boxed(ty) = output else {
        return None;
    };
    let blame = ty.span().resolved_at(Span::mixed_site());
    let private = runtime.private(blame);
    Some(quote_spanned! {blame=>
        let future = {
            let returned = #private::Returned::<#ty>::NEW;
            {
                use #private::returned_future::*;
                (&&returned).future()
            }
        };
    })
}

/// The call with the body, as the function gives it.
fn expand_future(
    output: &Output,
    body: TokenStream,
    call_with: impl FnOnce(TokenStream) -> TokenStream,
) -> TokenStream {
    let blame = output.ty().span().resolved_at(Span::mixed_site());
    match output {
        Output::Value(_) => {
            let call = call_with(body);
            quote_spanned!(blame=> #call.await)
        }
        // A block is a future whatever is in it: a body that is none is one error.
        Output::Future(_) => {
            let call = call_with(quote_spanned!(blame=> load));
            quote_spanned! {blame=>
                let load = #body;
                async move { #call.await }
            }
        }
        Output::Boxed(_) => {
            let call = call_with(body);
            quote_spanned!(blame=> future.boxed(::std::boxed::Box::pin(#call)))
        }
    }
}

fn expand_cache(runtime: &Runtime, cache: Option<Expr>) -> TokenStream {
    let span = cache.as_ref().map_or_else(Span::call_site, Spanned::span);
    let private = runtime.private(span);
    cache.map_or_else(
        || quote!(#private::global_cache()),
        |cache| quote_spanned!(span=> #private::as_cache(&(#cache))),
    )
}

/// How the return type holds its value, found by trait rather than by name.
fn expand_shape(runtime: &Runtime, output: &Output) -> TokenStream {
    let private = runtime.private(Span::mixed_site());
    let output = match output {
        Output::Value(ty) | Output::Future(ty) => {
            quote_spanned!(Span::mixed_site()=> #private::ReturnType::<#ty>::NEW)
        }
        Output::Boxed(_) => quote_spanned!(Span::mixed_site()=> future.output()),
    };
    // The type is named outside the block with the import, which could hide a
    // type of the user's.
    quote_spanned! {Span::mixed_site()=>
        {
            let output = #output;
            {
                use #private::return_shape::*;
                (&&&&output).shape()
            }
        }
    }
}

/// Tells a failure, found by trait.
fn expand_is_failure(runtime: &Runtime, output: &Output) -> TokenStream {
    let private = runtime.private(Span::mixed_site());
    let output = match output {
        Output::Value(ty) | Output::Future(ty) => match without_impl_trait(ty) {
            // A type without a name is no `Result`.
            Type::Infer(_) => return quote_spanned!(Span::mixed_site()=> |_| false),
            ty => quote_spanned!(Span::mixed_site()=> #private::ReturnType::<#ty>::NEW),
        },
        Output::Boxed(_) => quote_spanned!(Span::mixed_site()=> future.output()),
    };
    quote_spanned! {Span::mixed_site()=>
        {
            let output = #output;
            {
                use #private::return_failure::*;
                (&&output).failure()
            }
        }
    }
}

fn setter(name: &str, duration: Duration) -> TokenStream {
    let name = Ident::new(name, Span::call_site());
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(.#name(::core::time::Duration::from_millis(#millis)))
}

fn expand_tags(runtime: &Runtime, tags: &[Tag]) -> TokenStream {
    tuple(tags.iter().map(|tag| match tag {
        Tag::Name(name) => (name.span, expand_name(runtime, name)),
        Tag::Typed(tag) => (tag.expr.span(), expand_typed_tag(runtime, tag)),
    }))
}

/// `(a, (b, ()))`: a tuple of any length that a trait can be implemented for.
fn tuple<T: ToTokens>(items: impl DoubleEndedIterator<Item = (Span, T)>) -> TokenStream {
    items.rev().fold(
        quote!(()),
        |rest, (span, item)| quote_spanned!(span=> (#item, #rest)),
    )
}

/// `impl Trait` cannot be written in a `let`; what is in its place is inferred.
fn without_impl_trait(ty: &Type) -> Type {
    struct Infer;
    impl VisitMut for Infer {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if let Type::ImplTrait(found) = ty {
                *ty = Type::Infer(TypeInfer {
                    attrs: Vec::new(),
                    underscore_token: syn::Token![_](found.impl_token.span),
                });
            } else {
                visit_mut::visit_type_mut(self, ty);
            }
        }
    }
    let mut ty = ty.clone();
    Infer.visit_type_mut(&mut ty);
    ty
}

fn expand_name(runtime: &Runtime, name: &Name) -> TokenStream {
    let parts: Vec<_> = name
        .parts
        .iter()
        .map(|part| self::part(runtime, part, name.span))
        .collect();
    self::name(runtime, name.span, &name.literals, &parts)
}

fn expand_typed_tag(runtime: &Runtime, tag: &TypedTag) -> TokenStream {
    let expr = &tag.expr;
    let private = runtime.private(expr.span());
    quote_spanned!(expr.span()=> #private::tag(&(#expr)))
}

/// A name from its parts, blamed on the template: one error, not one for each layer.
pub(crate) fn name(
    runtime: &Runtime,
    span: Span,
    literals: &[String],
    parts: &[TokenStream],
) -> TokenStream {
    let private = runtime.private(span);
    let parts = tuple(parts.iter().map(|part| (span, part)));
    quote_spanned! {span=> #private::Name::new(&[#(#literals),*], #parts) }
}

pub(crate) fn part(runtime: &Runtime, part: &Part, span: Span) -> TokenStream {
    let private = runtime.private(span);
    let root = match &part.root {
        Root::Value(ident) => ident.to_token_stream(),
        Root::Type(ty) => quote_spanned!(span=> #private::TypeName::<#ty>::NEW),
        Root::Result => Ident::new("result", span).to_token_stream(),
    };
    let steps = part.steps.iter().map(|step| match step {
        Step::Field(member) => quote_spanned!(span=> .#member),
        Step::Method(name) => quote_spanned!(span=> .#name()),
    });
    quote_spanned!(span=> #private::part(&#root #(#steps)*))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn pretty(tokens: TokenStream) -> String {
        prettyplease::unparse(&syn::parse2(tokens).unwrap())
    }

    #[track_caller]
    fn assert_expansion(expanded: TokenStream, expected: TokenStream) {
        assert_eq!(pretty(expanded), pretty(expected));
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "an expansion is shown whole")]
    fn a_cached_function_is_one_call() {
        let args = quote! {
            key = "user:<self.tenant>:<id>", ttl = 60, none_ttl = "250ms",
            invalidate_on = ["users", "type:<T>"], skip(T), cache = CACHE
        };
        let function = quote! {
            /// Documentation.
            #[inline]
            pub async fn get<T: Get>(&self, id: u64) -> Result<T, Error> {
                #![allow(unused)]
                let row = self.row(id).await?;
                Ok(row.into())
            }
        };
        assert_expansion(
            cached(args, function),
            quote! {
                /// Documentation.
                #[inline]
                pub async fn get<T: Get>(&self, id: u64) -> Result<T, Error> {
                    #![allow(unused)]
                    #[allow(clippy::used_underscore_binding)]
                    let call = ::cache_runtime::__private::CachedCall::start(
                        {
                            static SITE: ::cache_runtime::__private::CallSite =
                                ::cache_runtime::__private::CallSite::new(
                                    ::cache_runtime::registry::Function::new(
                                        ::core::concat!(::core::module_path!(), "::", "get"),
                                        ::core::file!(),
                                        ::core::line!(),
                                        ::cache_runtime::registry::Role::caches(
                                            ::cache_runtime::registry::Name::template(
                                                "user:<self.tenant>:<id>",
                                                &["_", "u64"],
                                            ),
                                            "_",
                                            &[
                                                ::cache_runtime::registry::Name::template(
                                                    "users",
                                                    &[],
                                                ),
                                                ::cache_runtime::registry::Name::template(
                                                    "type:<T>",
                                                    &["type"],
                                                ),
                                            ],
                                        ),
                                    )
                                    .cache("CACHE")
                                    .options(&[
                                        "ttl = 60",
                                        "none_ttl = \"250ms\"",
                                        "skip (T)",
                                        "cache = CACHE",
                                    ]),
                                )
                                .ttl(::core::time::Duration::from_millis(60000u64))
                                .none_ttl(::core::time::Duration::from_millis(250u64));
                            ::cache_runtime::__private::register! {
                                ::cache_runtime::__private::Registered::Cached(&SITE)
                            }
                            &SITE
                        },
                        ::cache_runtime::__private::as_cache(&(CACHE)),
                        {
                            let output =
                                ::cache_runtime::__private::ReturnType::<Result<T, Error>>::NEW;
                            {
                                use ::cache_runtime::__private::return_shape::*;
                                (&&&&output).shape()
                            }
                        },
                        ::cache_runtime::__private::Name::new(
                            &["user:", ":", ""],
                            (
                                ::cache_runtime::__private::part(&self.tenant),
                                (::cache_runtime::__private::part(&id), ()),
                            ),
                        ),
                        (
                            ::cache_runtime::__private::Name::new(&["users"], ()),
                            (
                                ::cache_runtime::__private::Name::new(
                                    &["type:", ""],
                                    (
                                        ::cache_runtime::__private::part(
                                            &::cache_runtime::__private::TypeName::<T>::NEW
                                        ),
                                        (),
                                    ),
                                ),
                                (),
                            ),
                        ),
                    );
                    let call = match ::cache_runtime::__private::CachedCall::answer(call) {
                        ::core::result::Result::Ok(hit) => return hit,
                        ::core::result::Result::Err(call) => call,
                    };
                    ::cache_runtime::__private::CachedCall::resolve(call, async move {
                        #[allow(
                            unreachable_code,
                            clippy::diverging_sub_expression,
                            clippy::empty_loop,
                            clippy::let_unit_value,
                            clippy::needless_return,
                        )]
                        if false {
                            let output: Result<T, Error> = loop {};
                            return output;
                        }
                        {
                            let row = self.row(id).await?;
                            Ok(row.into())
                        }
                    })
                    .await
                }
            },
        );
    }

    #[test]
    fn names_of_the_result_take_their_arguments_along() {
        let args = quote!("user:<id>", "tenant:<tenant>:user:<result.id>");
        let function = quote! {
            async fn rename(tenant: Tenant, id: u64) -> Result<User, impl Display> {}
        };
        let refused = pretty(cache_invalidate(args.clone(), function));
        assert!(refused.contains("compile_error!"), "{refused}");
        assert!(refused.contains("async fn rename"), "{refused}");

        let function = quote!(
            async fn rename(tenant: Tenant, id: u64) -> User {}
        );
        assert_expansion(
            cache_invalidate(args, function),
            quote! {
                async fn rename(tenant: Tenant, id: u64) -> User {
                    const _: () = {
                        static SITE: ::cache_runtime::registry::Function =
                            ::cache_runtime::registry::Function::new(
                                ::core::concat!(::core::module_path!(), "::", "rename"),
                                ::core::file!(),
                                ::core::line!(),
                                ::cache_runtime::registry::Role::invalidates(&[
                                    ::cache_runtime::registry::Name::template(
                                        "user:<id>",
                                        &["u64"],
                                    ),
                                    ::cache_runtime::registry::Name::template(
                                        "tenant:<tenant>:user:<result.id>",
                                        &["Tenant", "_"],
                                    ),
                                ]),
                            );
                        ::cache_runtime::__private::register! {
                            ::cache_runtime::__private::Registered::Function(&SITE)
                        }
                    };
                    #[allow(clippy::used_underscore_binding)]
                    let call = ::cache_runtime::__private::InvalidateCall::start(
                        ::cache_runtime::__private::global_cache(),
                        (
                            ::cache_runtime::__private::Name::new(
                                &["user:", ""],
                                (::cache_runtime::__private::part(&id), ()),
                            ),
                            (),
                        ),
                    )
                    .with_result(
                        {
                            let output = ::cache_runtime::__private::ReturnType::<User>::NEW;
                            {
                                use ::cache_runtime::__private::return_shape::*;
                                (&&&&output).shape()
                            }
                        },
                        {
                            let part0 = ::cache_runtime::__private::RenderedPart::new(
                                ::cache_runtime::__private::part(&tenant),
                            );
                            move |result, names| {
                                names.push(::cache_runtime::__private::Name::new(
                                    &["tenant:", ":user:", ""],
                                    (&part0, (::cache_runtime::__private::part(&result.id), ())),
                                ));
                            }
                        },
                    );
                    call.run(async move {
                        #[allow(
                            unreachable_code,
                            clippy::diverging_sub_expression,
                            clippy::empty_loop,
                            clippy::let_unit_value,
                            clippy::needless_return,
                        )]
                        if false {
                            let output: User = loop {};
                            return output;
                        }
                        {}
                    })
                    .await
                }
            },
        );
    }

    #[test]
    fn a_fence_knows_how_the_body_ends() {
        let expanded = |args| {
            let function = quote! {
                async fn rename(id: u64, limit: Duration) -> Result<(), Error> {}
            };
            pretty(cache_invalidate(args, function))
        };
        let lines = |code: &str| code.split_whitespace().collect::<String>();

        let fixed = lines(&expanded(quote!("<id>", fence = "1m30s")));
        assert!(fixed.contains(".with_result("), "{fixed}");
        let call = ".fenced(::core::time::Duration::from_millis(90000u64));call.run(";
        assert!(fixed.contains(call), "{fixed}");
        assert!(!fixed.contains(".required("), "{fixed}");
        assert!(
            fixed.contains(r#".options(&["fence=\"1m30s\""])"#),
            "{fixed}"
        );

        let args = quote!("<id>", on = ok, fence_required, fence = limit * 2);
        let computed = lines(&expanded(args));
        let call = "|_,_|{},).on_ok().fenced(limit*2)\
             .required(::cache_runtime::RequiresFence::from_cache_error);call.run(";
        assert!(computed.contains(call), "{computed}");
        let options = r#".options(&["on=ok","fence_required","fence=limit*2"])"#;
        assert!(computed.contains(options), "{computed}");
    }

    #[test]
    fn the_value_decides_in_a_closure() {
        let args = quote! {
            key = "token:<id>", ttl = |token| token.ttl(), unless = Token::is_empty,
            condition = id > 0, codec = codec_of(id)
        };
        let function = quote! {
            async fn token(id: u64) -> Token {
                Token::new(id)
            }
        };
        let options = quote! {
            "ttl = | token | token . ttl ()",
            "unless = Token :: is_empty",
            "condition = id > 0",
            "codec = codec_of (id)"
        };
        let site = site("token", "token:<id>", "Token", &options);
        assert_expansion(
            cached(args, function),
            quote! {
                async fn token(id: u64) -> Token {
                    #[allow(clippy::used_underscore_binding)]
                    let call = if id > 0 {
                        ::cache_runtime::__private::CachedCall::start(
                            #site,
                            ::cache_runtime::__private::global_cache(),
                            {
                                let output = ::cache_runtime::__private::ReturnType::<Token>::NEW;
                                {
                                    use ::cache_runtime::__private::return_shape::*;
                                    (&&&&output).shape()
                                }
                            },
                            ::cache_runtime::__private::Name::new(
                                &["token:", ""],
                                (::cache_runtime::__private::part(&id), ()),
                            ),
                            (),
                        )
                        .codec(|| codec_of(id))
                    } else {
                        ::cache_runtime::__private::CachedCall::bypass({
                            let output = ::cache_runtime::__private::ReturnType::<Token>::NEW;
                            {
                                use ::cache_runtime::__private::return_shape::*;
                                (&&&&output).shape()
                            }
                        })
                    };
                    let call = match ::cache_runtime::__private::CachedCall::answer(call) {
                        ::core::result::Result::Ok(hit) => return hit,
                        ::core::result::Result::Err(call) => call,
                    };
                    ::cache_runtime::__private::CachedCall::resolve_keeping(
                        call,
                        |value| if ::cache_runtime::__private::ask(value, Token::is_empty) {
                            ::cache_runtime::__private::Keep::Not
                        } else {
                            ::cache_runtime::__private::Keep::For(
                                ::cache_runtime::__private::ask(value, |token| token.ttl()),
                            )
                        },
                        async move {
                            #[allow(
                                unreachable_code,
                                clippy::diverging_sub_expression,
                                clippy::empty_loop,
                                clippy::let_unit_value,
                                clippy::needless_return,
                            )]
                            if false {
                                let output: Token = loop {};
                                return output;
                            }
                            { Token::new(id) }
                        },
                    )
                    .await
                }
            },
        );
    }

    #[test]
    fn a_future_is_returned_around_the_one_of_the_body() {
        let function = quote! {
            fn get(&self, id: u64) -> impl Future<Output = User> + Send {
                self.load(id)
            }
        };
        let options = quote!("unless = User :: is_guest");
        let site = site("get", "<id>", "User", &options);
        assert_expansion(
            cached(quote!(key = "<id>", unless = User::is_guest), function),
            quote! {
                fn get(&self, id: u64) -> impl Future<Output = User> + Send {
                    #[allow(clippy::used_underscore_binding)]
                    let call = ::cache_runtime::__private::CachedCall::defer(
                        #site,
                        ::cache_runtime::__private::global_cache(),
                        {
                            let output = ::cache_runtime::__private::ReturnType::<User>::NEW;
                            {
                                use ::cache_runtime::__private::return_shape::*;
                                (&&&&output).shape()
                            }
                        },
                        ::cache_runtime::__private::Name::new(
                            &["", ""],
                            (::cache_runtime::__private::part(&id), ()),
                        ),
                        (),
                    );
                    let load = ::cache_runtime::__private::future_of(move || { self.load(id) });
                    async move {
                        ::cache_runtime::__private::CachedCall::resolve_keeping(
                            call,
                            move |value| if ::cache_runtime::__private::ask(value, User::is_guest) {
                                ::cache_runtime::__private::Keep::Not
                            } else {
                                ::cache_runtime::__private::Keep::Default
                            },
                            load,
                        )
                        .await
                    }
                }
            },
        );
    }

    #[test]
    fn a_boxed_future_is_found_by_trait_and_the_runtime_by_path() {
        let function = quote! {
            fn remove(id: u64) -> BoxFuture<'static, u64> {
                Box::pin(async move { id })
            }
        };
        assert_expansion(
            cache_invalidate(quote!("<id>", on = ok, crate = framework::cache), function),
            quote! {
                fn remove(id: u64) -> BoxFuture<'static, u64> {
                    const _: () = {
                        static SITE: framework::cache::registry::Function =
                            framework::cache::registry::Function::new(
                                ::core::concat!(::core::module_path!(), "::", "remove"),
                                ::core::file!(),
                                ::core::line!(),
                                framework::cache::registry::Role::invalidates(&[
                                    framework::cache::registry::Name::template("<id>", &["u64"])
                                ]),
                            )
                            .options(&["on = ok", "crate = framework :: cache"]);
                        framework::cache::__private::register! {
                            framework::cache::__private::Registered::Function(&SITE)
                        }
                    };
                    let future = {
                        let returned =
                            framework::cache::__private::Returned::<BoxFuture<'static, u64>>::NEW;
                        {
                            use framework::cache::__private::returned_future::*;
                            (&&returned).future()
                        }
                    };
                    #[allow(clippy::used_underscore_binding)]
                    let call = framework::cache::__private::InvalidateCall::start(
                        framework::cache::__private::global_cache(),
                        (
                            framework::cache::__private::Name::new(
                                &["", ""],
                                (framework::cache::__private::part(&id), ()),
                            ),
                            (),
                        ),
                    )
                    .with_result(
                        {
                            let output = future.output();
                            {
                                use framework::cache::__private::return_shape::*;
                                (&&&&output).shape()
                            }
                        },
                        |_, _| {},
                    )
                    .on_ok();
                    future.boxed(::std::boxed::Box::pin(call.run(future.load(
                        framework::cache::__private::future_of(
                            move || -> BoxFuture<'static, u64> { Box::pin(async move { id }) },
                        ),
                    ))))
                }
            },
        );
    }

    /// What a function knows at compile time, without options.
    fn site(name: &str, template: &str, value: &str, options: &TokenStream) -> TokenStream {
        quote! {
            {
                static SITE: ::cache_runtime::__private::CallSite =
                    ::cache_runtime::__private::CallSite::new(
                        ::cache_runtime::registry::Function::new(
                            ::core::concat!(::core::module_path!(), "::", #name),
                            ::core::file!(),
                            ::core::line!(),
                            ::cache_runtime::registry::Role::caches(
                                ::cache_runtime::registry::Name::template(#template, &["u64"]),
                                #value,
                                &[],
                            ),
                        )
                        .options(&[#options]),
                    );
                ::cache_runtime::__private::register! {
                    ::cache_runtime::__private::Registered::Cached(&SITE)
                }
                &SITE
            }
        }
    }

    #[test]
    fn impl_trait_is_inferred_in_the_body() {
        let function = quote!(
            async fn f() -> Result<impl Display, Vec<impl Copy>> {}
        );
        let expanded = pretty(cache_invalidate(quote!("x"), function));
        assert!(
            expanded.contains("let output: Result<_, Vec<_>> = loop {}"),
            "{expanded}"
        );
    }

    #[test]
    fn a_refused_item_stays_as_it_is() {
        let items = [
            quote! {
                /// Documentation.
                #[inline]
                pub(crate) async fn find<T: From<u8>>(&self, mut id: u64) -> Result<T, Error> {
                    #![allow(unused)]
                    self.row(id).await?.into()
                }
            },
            quote!(
                async fn find(&self, id: u64) -> Option<User>;
            ),
            quote!(
                fn find(id: u64) -> impl Future<Output = u64> + Send;
            ),
            quote!(
                struct User(u64);
            ),
            quote!(
                async fn find( -> ) { let x = ; }
            ),
        ];
        let of_cached = [
            quote!(),
            quote!(key),
            quote!(key = ),
            quote!(key = "user:<id>", tt),
        ];
        let of_cache_invalidate = [quote!(), quote!("user:<"), quote!("user:<id>", on = )];
        for item in items {
            let cached = of_cached.clone().map(|args| cached(args, item.clone()));
            let cache_invalidate = of_cache_invalidate
                .clone()
                .map(|args| cache_invalidate(args, item.clone()));
            for expanded in cached.iter().chain(&cache_invalidate) {
                let expanded = expanded.to_string();
                assert!(expanded.contains("compile_error !"), "{expanded}");
                assert!(expanded.ends_with(&item.to_string()), "{expanded}");
            }
        }
    }
}
