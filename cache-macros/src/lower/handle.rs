//! `handle`: items beside the function, by which its entries are used by hand.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, FnArg, Safety};

use super::output::Output;
use crate::errors::Errors;
use crate::function::Function;

/// The places of the option, and what the items take over from the function.
pub(crate) struct Handle {
    pub(crate) span: Span,
    /// Without these, the function is not there either.
    pub(crate) cfgs: Vec<Attribute>,
}

/// Refuses a function beside which there can't be another item, or which none can call.
pub(super) fn lower(
    span: Span,
    function: &Function,
    output: &Output,
    errors: &mut Errors,
) -> Handle {
    let sig = &function.sig;
    let name = &sig.ident;
    let is_method = matches!(sig.inputs.first(), Some(FnArg::Receiver(_)));
    if is_method || names_self(sig.to_token_stream()) {
        errors.push(
            span,
            format_args!(
                "`handle` on `{name}`, which is in an `impl`: there, no item can stand beside it"
            ),
            format_args!(
                "leave it out, and give the call itself: `CachedEntry::of(x.{name}(…))`, \
                 `refresh(x.{name}(…))`, `prime(x.{name}(…), value)`"
            ),
        );
    } else if let Safety::Unsafe(_) = sig.safety {
        errors.push(
            span,
            format_args!("`handle` on an `unsafe fn`, which it can't call"),
            format_args!(
                "leave it out, and give the call itself: `refresh(unsafe {{ {name}(…) }})`"
            ),
        );
    }
    if let Some(borrow) = output.borrows().first() {
        errors.push(
            *borrow,
            "`handle` can't name a return type that shows a borrow",
            format_args!("leave it out, and give the call itself: `prime({name}(…), value)`"),
        );
    }
    let cfgs = function
        .attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cfg"));
    Handle {
        span,
        cfgs: cfgs.cloned().collect(),
    }
}

fn names_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => names_self(group.stream()),
        TokenTree::Ident(ident) => ident == Ident::new("Self", Span::call_site()),
        _ => false,
    })
}
