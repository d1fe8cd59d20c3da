//! What a function takes from the `#[cache_defaults]` of its block: the options that it leaves out.

use proc_macro2::{Ident, Span};
use syn::visit_mut::VisitMut;
use syn::{Expr, FnArg, Signature};

use super::receiver::has_receiver;
use super::variables::variables;
use crate::attr::{DefaultOf, Ttl};
use crate::errors::Errors;

/// Takes the default of an option that the function has not, and writes it among its options.
pub(super) fn take<T: Value>(
    option: &mut Option<T>,
    default: Option<DefaultOf<T>>,
    sig: &Signature,
    options: &mut Vec<String>,
    errors: &mut Errors,
) {
    let Some(mut default) = default.filter(|_| option.is_none()) else {
        return;
    };
    let name = &sig.ident;
    if default.value.reads_receiver() && !has_receiver(sig) {
        let option = default.option;
        errors.push(
            name.span(),
            format_args!(
                "`{name}` has no receiver, which the `{}` of `#[cache_defaults]` reads",
                default.text
            ),
            format_args!(
                "give `{name}` a `{option} = …` of its own, or move it to another `impl` block"
            ),
        );
        return;
    }
    if let Some(FnArg::Receiver(receiver)) = sig.inputs.first() {
        default.value.read_receiver_at(receiver.self_token.span);
    }
    options.push(default.text);
    *option = Some(default.value);
}

/// The value of an option.
pub(super) trait Value {
    fn reads_receiver(&self) -> bool;

    /// Has `self` in it mean the receiver at this place. A macro may have written the block, and its
    /// caller the function.
    fn read_receiver_at(&mut self, receiver: Span);
}

impl Value for Expr {
    fn reads_receiver(&self) -> bool {
        variables(self).iter().any(|name| name == "self")
    }

    fn read_receiver_at(&mut self, receiver: Span) {
        ReceiverAt(receiver).visit_expr_mut(self);
    }
}

impl Value for Ttl {
    fn reads_receiver(&self) -> bool {
        match self {
            Ttl::Fixed(_) => false,
            Ttl::Computed(ttl) => ttl.reads_receiver(),
            Ttl::OfValue(ttl) => ttl.body.reads_receiver(),
        }
    }

    fn read_receiver_at(&mut self, receiver: Span) {
        match self {
            Ttl::Fixed(_) => {}
            Ttl::Computed(ttl) => ttl.read_receiver_at(receiver),
            Ttl::OfValue(ttl) => ttl.body.read_receiver_at(receiver),
        }
    }
}

struct ReceiverAt(Span);

impl VisitMut for ReceiverAt {
    fn visit_ident_mut(&mut self, ident: &mut Ident) {
        if ident == "self" {
            ident.set_span(ident.span().resolved_at(self.0));
        }
    }
}
