//! The arguments that may be a transaction. What they are, the compiler and the runtime find: see
//! `call/transaction.rs` there.

use proc_macro2::Ident;
use syn::{FnArg, Signature, Type};

use super::output::ungrouped;
use super::template::{LoweredTemplate, Root};
use super::variables::bindings;

/// Types of data, which need not be asked about.
const DATA: &[&str] = &[
    "String", "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str",
    "u8", "u16", "u32", "u64", "u128", "usize",
];

/// The arguments that may be a transaction: not those that a template names as a whole, since a
/// transaction is no `KeyPart`.
pub(super) fn candidates<'t>(
    sig: &Signature,
    templates: impl Iterator<Item = &'t LoweredTemplate> + Clone,
) -> Vec<Ident> {
    let is_named = |ident: &Ident| {
        let mut parts = templates.clone().flat_map(|template| &template.parts);
        parts.any(|part| {
            part.accesses.is_empty() && matches!(&part.root, Root::Value(root) if root == ident)
        })
    };
    let mut candidates = Vec::new();
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                candidates.push(Ident::new("self", receiver.self_token.span));
            }
            // An attribute, such as a `cfg`, may take the parameter away.
            FnArg::Typed(input) if input.attrs.is_empty() && !is_data(&input.ty) => {
                candidates.extend(bindings(&input.pat));
            }
            FnArg::Typed(_) => {}
        }
    }
    candidates.retain(|ident| !is_named(ident));
    candidates
}

fn is_data(ty: &Type) -> bool {
    match ungrouped(ty) {
        Type::Reference(reference) => is_data(&reference.elem),
        Type::Path(path) => path
            .path
            .get_ident()
            .is_some_and(|ident| DATA.iter().any(|data| ident == data)),
        _ => false,
    }
}
