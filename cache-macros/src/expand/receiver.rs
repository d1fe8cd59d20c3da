//! The error for a field of `self` that is not in the key and could be: whether its type is a
//! `KeyPart` is found by trait.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use crate::lower::UnnamedField;
use crate::runtime::Runtime;

/// Code that never runs, and that does not compile if one of these fields could be in a key.
pub(super) fn check(runtime: &Runtime, fields: &[UnnamedField]) -> Option<TokenStream> {
    if fields.is_empty() {
        return None;
    }
    let checks = fields.iter().map(|field| self::field(runtime, field));
    Some(quote_spanned! {Span::mixed_site()=>
        #[allow(deprecated, clippy::used_underscore_binding)]
        if false {
            #(#checks)*
        }
    })
}

/// The message names the field, so the trait that has it is made for the field.
fn field(runtime: &Runtime, field: &UnnamedField) -> TokenStream {
    let UnnamedField {
        receiver,
        path,
        outer,
    } = field;
    let message = format!(
        "`self{path}` is read by the body and is not in the cache key, so values of `self` with \
         different `self{path}` would share an entry\n\
         help: add `<self{path}>` to the key, or say that it does not matter: `skip(self{path})`"
    );
    let begin = receiver.span().resolved_at(Span::mixed_site());
    let end = path.span().resolved_at(Span::mixed_site());
    let private = runtime.private(begin);
    let answer = |len| {
        let place = path.first(len);
        let asked =
            quote_spanned!(begin=> (&#private::ReceiverField::of(&raw const #receiver #place)));
        quote_spanned!(end=> #asked.answer())
    };
    let outer = outer.clone().map(|len| {
        let outer = answer(len);
        quote_spanned!(end=> .inside_of(#outer))
    });
    let answer = answer(path.len());
    let private = runtime.private(Span::mixed_site());
    // The coercion has the span of the field, and the compiler has less to add to it than to a call.
    let asked = quote_spanned!(begin=> &#answer);
    quote_spanned! {Span::mixed_site()=>
        {
            #[diagnostic::on_unimplemented(message = #message, label = "a `KeyPart` that the key leaves out")]
            trait NeedNotBeInKey {}
            impl NeedNotBeInKey for #private::OtherField {}
            use #private::receiver_field::*;
            let _: &dyn NeedNotBeInKey = #asked #(#outer)*;
        }
    }
}

/// What the call says of the type of its receiver.
pub(super) fn of_call(runtime: &Runtime, is_asked: bool) -> TokenStream {
    let private = runtime.private(Span::mixed_site());
    if is_asked {
        quote_spanned!(Span::mixed_site()=> #private::Receiver::of::<Self>())
    } else {
        quote_spanned!(Span::mixed_site()=> #private::Receiver::UNASKED)
    }
}
