//! Checked function to tokens. Nothing can be refused any more.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, Type, TypeInfer};

use crate::lower::{self, CachedFn, Function, InvalidateFn, Name, Part, Root, Step};

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
        Ok(name) => quote!(::cache_runtime::__private::key(#name)),
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
    let CachedFn {
        function,
        output,
        template,
        ttl,
        none_ttl,
        cache,
        key,
        tags,
    } = cached;
    let name = function.sig.ident.unraw().to_string();
    let ttl = ttl.map(|ttl| setter("ttl", ttl));
    let none_ttl = none_ttl.map(|none_ttl| setter("none_ttl", none_ttl));
    let cache = expand_cache(cache);
    let shape = expand_shape(&output);
    let tags = tuple(&tags);
    let load = expand_body(&function, &output);
    // A statement of its own drops what the placeholders made (a guard, a
    // string) before the function first waits.
    let call = quote_spanned! {Span::mixed_site()=>
        #[allow(clippy::used_underscore_binding)]
        let call = ::cache_runtime::__private::CachedCall::start(
            {
                static SITE: ::cache_runtime::__private::CallSite =
                    ::cache_runtime::__private::CallSite::new(
                        ::core::concat!(::core::module_path!(), "::", #name),
                        ::core::file!(),
                        ::core::line!(),
                        #template,
                    )
                    #ttl
                    #none_ttl;
                &SITE
            },
            #cache,
            #shape,
            #key,
            #tags,
        );
        call.or_load(#load).await
    };
    expand_function(&function, &call)
}

fn expand_invalidate(invalidate: InvalidateFn) -> TokenStream {
    let InvalidateFn {
        function,
        output,
        cache,
        from_arguments,
        from_result,
    } = invalidate;
    let cache = expand_cache(cache);
    let from_arguments = tuple(&from_arguments);
    let with_result = (!from_result.is_empty()).then(|| expand_with_result(from_result, &output));
    let body = expand_body(&function, &output);
    let call = quote_spanned! {Span::mixed_site()=>
        #[allow(clippy::used_underscore_binding)]
        let call = ::cache_runtime::__private::InvalidateCall::start(#cache, #from_arguments)
            #with_result;
        call.run(#body).await
    };
    expand_function(&function, &call)
}

/// Parts that are arguments are rendered before the body takes the arguments.
fn expand_with_result(names: Vec<Name>, output: &Type) -> TokenStream {
    let shape = expand_shape(output);
    let mut rendered = Vec::new();
    let names = names.into_iter().map(|name| {
        let parts = name.parts.into_iter().map(|part| {
            if let Root::Result = part.root {
                return part.to_token_stream();
            }
            let local = format_ident!("part{}", rendered.len(), span = Span::mixed_site());
            rendered.push(quote_spanned! {Span::mixed_site()=>
                let #local = ::cache_runtime::__private::RenderedPart::new(#part);
            });
            quote!(&#local)
        });
        let parts = tuple(&parts.collect::<Vec<_>>());
        let literals = name.literals;
        quote! {
            ::cache_runtime::__private::Name::new(&[#(#literals),*], #parts)
        }
    });
    let names: Vec<_> = names.collect();
    quote_spanned! {Span::mixed_site()=>
        .with_result(#shape, {
            #(#rendered)*
            move |result, names| {
                #(names.push(#names);)*
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
fn expand_body(function: &Function, output: &Type) -> TokenStream {
    let output = without_impl_trait(output);
    let mut block = TokenStream::new();
    function
        .brace
        .surround(&mut block, |block| function.statements.to_tokens(block));
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
                let output: #output = loop {};
                return output;
            }
            #block
        }
    }
}

fn expand_cache(cache: Option<Expr>) -> TokenStream {
    match cache {
        Some(cache) => quote!(::cache_runtime::__private::as_cache(&(#cache))),
        None => quote!(::cache_runtime::__private::global_cache()),
    }
}

/// How the return type holds its value, found by trait rather than by name.
fn expand_shape(output: &Type) -> TokenStream {
    // The type is named outside the block with the import, which could hide a
    // type of the user's.
    quote_spanned! {Span::mixed_site()=>
        {
            let output = ::cache_runtime::__private::ReturnType::<#output>::NEW;
            {
                use ::cache_runtime::__private::return_shape::*;
                (&&&&output).shape()
            }
        }
    }
}

fn setter(name: &str, duration: Duration) -> TokenStream {
    let name = Ident::new(name, Span::call_site());
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quote!(.#name(::core::time::Duration::from_millis(#millis)))
}

/// `(a, (b, ()))`: a tuple of any length that a trait can be implemented for.
fn tuple(items: &[impl ToTokens]) -> TokenStream {
    items
        .iter()
        .rev()
        .fold(quote!(()), |rest, item| quote!((#item, #rest)))
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

impl ToTokens for Name {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let literals = &self.literals;
        let parts = tuple(&self.parts);
        tokens.extend(quote! {
            ::cache_runtime::__private::Name::new(&[#(#literals),*], #parts)
        });
    }
}

impl ToTokens for Part {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let root = match &self.root {
            Root::Value(ident) => ident.to_token_stream(),
            Root::Type(ty) => quote_spanned! {self.span=>
                ::cache_runtime::__private::TypeName::<#ty>::NEW
            },
            // The closure's parameter.
            Root::Result => Ident::new("result", self.span.resolved_at(Span::mixed_site()))
                .to_token_stream(),
        };
        let steps = self.steps.iter().map(|step| match step {
            Step::Field(member) => quote_spanned!(self.span=> .#member),
            Step::Method(name) => quote_spanned!(self.span=> .#name()),
        });
        // All of it is blamed on the template, where the placeholder stands.
        tokens.extend(quote_spanned! {self.span=>
            ::cache_runtime::__private::part(&#root #(#steps)*)
        });
    }
}
