//! How the return type holds its value, found by trait rather than by name.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Type;

use super::body::without_impl_trait;
use crate::lower::Output;
use crate::runtime::Runtime;

/// The shape of the return type.
pub(super) fn shape(runtime: &Runtime, output: &Output) -> TokenStream {
    let private = runtime.private(Span::mixed_site());
    let output = return_type(runtime, output, Span::mixed_site());
    // The type is named outside of the block with the import, which could hide a type of
    // the user's.
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

/// The shape of a call whose value borrows nothing, as far as the return type's text shows. A value that
/// borrows is one error at the return type, the place to blame.
pub(super) fn owning(
    runtime: &Runtime,
    blame: Span,
    shape: TokenStream,
    borrowing: &[Option<Type>; 3],
) -> TokenStream {
    if borrowing.iter().all(Option::is_none) {
        return shape;
    }
    let private = runtime.private(blame);
    let none = quote_spanned!(blame=> #private::NoBorrow);
    let borrowing = borrowing
        .iter()
        .map(|ty| ty.as_ref().map_or(none.clone(), ToTokens::to_token_stream));
    quote_spanned! {blame=>
        {
            let borrowing = #private::Borrowing::<_, #(#borrowing),*>::of(#shape);
            {
                use #private::borrowing_shape::*;
                (&&&borrowing).owning()
            }
        }
    }
}

/// The shape of a call whose value can be cached or, if it is local, be kept in the process.
pub(super) fn of_call(
    runtime: &Runtime,
    blame: Span,
    shape: TokenStream,
    is_local: bool,
    may_share_errors: bool,
) -> TokenStream {
    let private = runtime.private(blame);
    let shape = if is_local {
        quote_spanned! {blame=>
            {
                let shape = #shape;
                {
                    use #private::local_shape::*;
                    (&&shape).in_process()
                }
            }
        }
    } else {
        shape
    };
    cacheable(runtime, blame, &shape, may_share_errors)
}

/// The shape of a return type whose value can be cached. If it can't, that is one error at
/// the return type, the place to blame, and nothing else in the expansion is. Where its errors may be
/// shared, the compiler finds out whether they can be.
pub(super) fn cacheable(
    runtime: &Runtime,
    blame: Span,
    shape: &TokenStream,
    may_share_errors: bool,
) -> TokenStream {
    let private = runtime.private(blame);
    let answers = if may_share_errors {
        "error_sharing_shape"
    } else {
        "cacheable_shape"
    };
    let answers = Ident::new(answers, blame);
    quote_spanned! {blame=>
        {
            let shape = #shape;
            {
                use #private::#answers::*;
                (&&&&shape).cacheable()
            }
        }
    }
}

/// A statement that does not compile where the function can't return `None`.
pub(super) fn check_none(runtime: &Runtime, output: &Output, option: Span) -> TokenStream {
    let blame = option.resolved_at(Span::mixed_site());
    let private = runtime.private(blame);
    let output = return_type(runtime, output, blame);
    quote_spanned!(blame=> #private::returns_none(&#output);)
}

/// A function that tells a failure.
pub(super) fn is_failure(runtime: &Runtime, output: &Output) -> TokenStream {
    let private = runtime.private(Span::mixed_site());
    let output = match output {
        Output::Value(ty) | Output::Future(ty) => match without_impl_trait(ty) {
            // A type without a name is no `Result`.
            Type::Infer(_) => return quote_spanned!(Span::mixed_site()=> |_| false),
            ty => quote_spanned!(Span::mixed_site()=> #private::ReturnType::<#ty>::NEW),
        },
        Output::Boxed(_) => return_type(runtime, output, Span::mixed_site()),
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

/// The statement that finds out, by trait, how values of a call are compared with what would come back.
pub(super) fn compared(runtime: &Runtime, call: &Ident, kind: &str) -> TokenStream {
    let private = runtime.private(call.span());
    let kind = Ident::new(kind, call.span());
    quote_spanned! {call.span()=>
        let #call = {
            let values = #private::#kind::values(&#call);
            let compare = {
                use #private::comparison::*;
                (&&&&values).comparison()
            };
            #private::#kind::compared(#call, compare)
        };
    }
}

/// The return type as a value, to ask traits about.
fn return_type(runtime: &Runtime, output: &Output, span: Span) -> TokenStream {
    let private = runtime.private(span);
    match output {
        Output::Value(ty) | Output::Future(ty) => {
            quote_spanned!(span=> #private::ReturnType::<#ty>::NEW)
        }
        Output::Boxed(_) => {
            let future = Ident::new("future", span);
            quote_spanned!(span=> #future.output())
        }
    }
}
