//! What the value itself decides: whether it is stored, for how long, and under which further tags.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{Expr, ExprClosure};

use crate::runtime::Runtime;

/// What the value itself decides.
pub(super) struct Keep {
    /// Whether it is stored, and for how long.
    pub(super) lifetime: Option<TokenStream>,
    /// Which further tags its entry has.
    pub(super) tags: Option<TokenStream>,
    /// Whether an old value takes the place of an error, where the options say something of old values.
    pub(super) excuses: Option<TokenStream>,
}

impl Keep {
    pub(super) fn new(
        runtime: &Runtime,
        (is_owned, is_local): (bool, bool),
        unless: Option<Expr>,
        ttl: Option<ExprClosure>,
        tags: &[ExprClosure],
    ) -> Self {
        Self {
            lifetime: lifetime(runtime, is_owned, is_local, unless, ttl),
            tags: tags_of_value(runtime, is_owned, tags),
            excuses: None,
        }
    }

    /// As if the value decided nothing.
    pub(super) fn default(runtime: &Runtime) -> TokenStream {
        let private = runtime.private(Span::mixed_site());
        quote_spanned!(Span::mixed_site()=> |_| #private::Keep::Default)
    }
}

/// The tags that the value tells.
fn tags_of_value(
    runtime: &Runtime,
    is_owned: bool,
    closures: &[ExprClosure],
) -> Option<TokenStream> {
    if closures.is_empty() {
        return None;
    }
    let tell = closures.iter().map(|closure| {
        let blame = closure.span();
        let private = runtime.private(blame);
        // In the names of the expansion, and blamed on the closure.
        let [tags, value] = ["tags", "value"].map(|name| Ident::new(name, Span::mixed_site()));
        // A method in the place of the closure would be taken for a tag.
        quote_spanned! {blame=>
            #[allow(clippy::redundant_closure, clippy::redundant_closure_for_method_calls)]
            #private::tell(&mut #tags, #value, #closure);
        }
    });
    let capture = is_owned.then(|| quote_spanned!(Span::mixed_site()=> move));
    Some(quote_spanned! {Span::mixed_site()=>
        #capture |value| {
            let mut tags = ::std::vec::Vec::new();
            #(#tell)*
            tags
        }
    })
}

/// Whether the value is stored, and for how long.
fn lifetime(
    runtime: &Runtime,
    is_owned: bool,
    is_local: bool,
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
    // The closures are about the value itself, and not what it is wrapped in.
    let keep = if is_local {
        quote_spanned! {Span::mixed_site()=> {
            let value = &value.0;
            #keep
        }}
    } else {
        keep
    };
    // A future that is returned owns what the closures use. So does a task.
    let capture = is_owned.then(|| quote_spanned!(Span::mixed_site()=> move));
    Some(quote_spanned!(Span::mixed_site()=> #capture |value| #keep))
}
