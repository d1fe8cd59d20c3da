//! The user's statements as a future, and the function around them.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Type, TypeInfer};

use crate::function::Function;
use crate::lower::Output;
use crate::runtime::Runtime;

/// The function, with other statements.
pub(super) fn function(function: &Function, statements: &TokenStream) -> TokenStream {
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

/// The user's statements, as a future that is not polled yet.
pub(super) fn body(runtime: &Runtime, function: &Function, output: &Output) -> TokenStream {
    let block = match output {
        Output::Value(ty) => typed(function, ty),
        Output::Future(ty) => {
            let blame = ty.span().resolved_at(Span::mixed_site());
            let private = runtime.private(blame);
            // In a closure, an early return leaves the body only.
            let block = block(function);
            return quote_spanned!(blame=> #private::future_of(move || #block));
        }
        Output::Boxed(ty) => {
            let blame = ty.span().resolved_at(Span::mixed_site());
            let boxed = boxed(runtime, function, ty);
            return quote_spanned!(blame=> future.load(#boxed));
        }
    };
    quote_spanned!(Span::mixed_site()=> async move { #block })
}

/// The user's statements as those of an `async` block that may run more than once, and so borrows what it
/// can.
pub(super) fn borrowing(runtime: &Runtime, function: &Function, output: &Output) -> TokenStream {
    match output {
        Output::Value(ty) => typed(function, ty),
        Output::Future(ty) | Output::Boxed(ty) => {
            let blame = ty.span().resolved_at(Span::mixed_site());
            let private = runtime.private(blame);
            let block = block(function);
            // In a closure, an early return leaves the body only.
            quote_spanned!(blame=> #private::future_of(|| #block).await)
        }
    }
}

/// The user's statements in an `async` block, which yields what the signature says.
fn typed(function: &Function, ty: &Type) -> TokenStream {
    let ty = without_impl_trait(ty);
    let block = block(function);
    // The return that never runs tells the block the type of the signature, which `?` and
    // `.into()` need. It is outside the user's block, so that an item in that block cannot
    // give the type another meaning.
    quote_spanned! {Span::mixed_site()=>
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

/// The user's statements, as a boxed future of this type.
pub(super) fn boxed(runtime: &Runtime, function: &Function, ty: &Type) -> TokenStream {
    let blame = ty.span().resolved_at(Span::mixed_site());
    let private = runtime.private(blame);
    let block = block(function);
    quote_spanned!(blame=> #private::future_of(move || -> #ty #block))
}

/// The user's statements in new braces at the place of the user's: the user's own would be linted
/// as unnecessary around one expression.
fn block(function: &Function) -> Group {
    let mut block = Group::new(Delimiter::Brace, function.statements.clone());
    block.set_span(function.brace.span.join().resolved_at(Span::mixed_site()));
    block
}

/// Whether the function returns a boxed future, found by trait rather than by name.
pub(super) fn returned(runtime: &Runtime, output: &Output) -> Option<TokenStream> {
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

/// The call with the body, in the way that the function gives its value.
pub(super) fn future(
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
        // An `async` block is a future even if the body is none, so that mistake is one error.
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

/// `impl Trait` cannot be written in a `let`; the compiler infers what is in its place.
pub(super) fn without_impl_trait(ty: &Type) -> Type {
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
