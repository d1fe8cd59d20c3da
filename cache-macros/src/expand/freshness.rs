//! What the options say of old values.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::setter;
use crate::lower::Freshness;
use crate::runtime::Runtime;

/// The setter of the call site.
pub(super) fn of_site(runtime: &Runtime, freshness: &Freshness) -> TokenStream {
    let private = runtime.private(Span::mixed_site());
    let early = freshness.early.map(|beta| quote!(.early(#beta)));
    let setters = [
        early,
        freshness.revalidate.map(|it| setter("revalidate", it)),
        freshness
            .on_error
            .as_ref()
            .map(|it| setter("on_error", it.window)),
        freshness.slow.map(|it| setter("slow", it)),
        freshness.retry_after.map(|it| setter("retry_after", it)),
    ];
    let setters = setters.into_iter().flatten();
    quote_spanned!(Span::mixed_site()=> .fresh(#private::Freshness::NONE #(#setters)*))
}

/// Whether an old value may be served in the place of what was returned.
pub(super) fn excuses(runtime: &Runtime, is_owned: bool, freshness: &Freshness) -> TokenStream {
    let Some(on_error) = &freshness.on_error else {
        return quote_spanned!(Span::mixed_site()=> |_| false);
    };
    // An error about the return type points at the option, and one about the answer at the closure.
    let blame = on_error.span.resolved_at(Span::mixed_site());
    let private = runtime.private(blame);
    let question = if let Some(question) = &on_error.excuses {
        quote_spanned! {question.span()=>
            #[allow(clippy::redundant_closure_for_method_calls)]
            #question
        }
    } else {
        quote!(|_| true)
    };
    let capture = is_owned.then(|| quote_spanned!(Span::mixed_site()=> move));
    quote_spanned!(blame=> #capture |returned| #private::may_fail(returned, #question))
}
