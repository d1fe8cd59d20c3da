//! The question whether a transaction is among the arguments.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

use crate::runtime::Runtime;

/// What the call is given of transactions, where an argument may be one.
pub(super) fn given(runtime: &Runtime, candidates: &[Ident]) -> Option<TokenStream> {
    if candidates.is_empty() {
        return None;
    }
    let private = runtime.private(Span::mixed_site());
    Some(quote_spanned! {Span::mixed_site()=> {
        use #private::argument_transaction::*;
        static ASKED: #private::AskedTypes = #private::AskedTypes::new();
        ASKED.given(
            &(#(&#candidates,)*),
            || [#((&&&&#private::Argument::of(&#candidates)).described(),)*],
        )
    }})
}
