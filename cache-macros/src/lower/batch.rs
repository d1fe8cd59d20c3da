//! `each` on `#[cached]`: a call for several keys, one for each element of an argument.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, FnArg, GenericArgument, Pat, PatIdent, PathArguments, Signature, Token, Type};

use super::each::List;
use super::output::ungrouped;
use super::template::LoweredTemplate;
use crate::attr::CachedArgs;
use crate::errors::Errors;
use crate::function::Function;
use crate::type_text::value_of;

/// A function that is called for several keys.
pub(crate) struct Batch {
    pub(crate) list: List,
    /// The argument with the elements.
    pub(crate) argument: Argument,
    /// A closure, or the path of a function: which element a value has.
    pub(crate) by: Option<Expr>,
    /// The type of a value, where the signature shows it.
    pub(crate) value: Option<Type>,
}

/// The argument that the body gets with other elements.
pub(crate) struct Argument {
    pub(crate) mutability: Option<Token![mut]>,
    pub(crate) ident: Ident,
    pub(crate) kind: ArgumentKind,
}

/// What the body gets.
pub(crate) enum ArgumentKind {
    /// `&[Id]`
    Slice,
    /// A reference to a collection of this type.
    Borrowed(Type),
    /// A collection of this type.
    Owned(Type),
    /// Something that can be iterated over, whose type has no name here: a `Vec`.
    Iterated,
}

const ONE_LIST: &str = "write one: `key = \"user:<id>\", each(id in ids)`";

/// The argument that `each` names, if it is one. It is to be called before a template is lowered.
pub(super) fn argument(
    args: &CachedArgs,
    function: &mut Function,
    errors: &mut Errors,
) -> Option<Argument> {
    let each = match &*args.each {
        [] => return None,
        [each] => each,
        [_, second, ..] => {
            errors.push(
                second.element.span(),
                "`each` of `#[cached]` names more than one list",
                format_args!("{ONE_LIST}; elements that belong together can be pairs: `each((a, b) in pairs)`"),
            );
            return None;
        }
    };
    let argument = match &each.list {
        Expr::Path(path) => path.path.get_ident().cloned(),
        _ => None,
    };
    let argument = argument.and_then(|name| take(&name, function, errors));
    if argument.is_none() && errors.is_empty() {
        errors.push(
            each.list.span(),
            "`each` of `#[cached]` needs the name of a parameter of the function",
            "the body gets that parameter with the elements that are not cached: \
             `each(id in ids)` for `ids: &[u64]`",
        );
    }
    argument
}

/// The parameter of this name, which is not `mut` any more: the body gets another one.
fn take(name: &Ident, function: &mut Function, errors: &mut Errors) -> Option<Argument> {
    let generics = function.sig.generics.clone();
    for input in &mut function.sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        let Pat::Ident(PatIdent {
            by_ref: None,
            mutability,
            ident,
            subpat: None,
            ..
        }) = &mut *input.pat
        else {
            continue;
        };
        if ident.unraw() != name.unraw() {
            continue;
        }
        let is_generic = |ty: &Type| match ungrouped(ty) {
            Type::ImplTrait(_) => true,
            Type::Path(path) => generics
                .type_params()
                .any(|parameter| path.path.is_ident(&parameter.ident)),
            _ => false,
        };
        let kind = match ungrouped(&input.ty) {
            Type::Reference(reference) if reference.mutability.is_some() => {
                errors.push(
                    input.ty.span(),
                    format_args!(
                        "`{ident}` is borrowed mutably, and a hit would leave it as it is"
                    ),
                    format_args!("take a shared reference: `{ident}: &[…]`"),
                );
                return None;
            }
            Type::Reference(reference) => match ungrouped(&reference.elem) {
                Type::Slice(_) => ArgumentKind::Slice,
                collection => ArgumentKind::Borrowed(collection.clone()),
            },
            ty if is_generic(ty) => ArgumentKind::Iterated,
            ty => ArgumentKind::Owned(ty.clone()),
        };
        return Some(Argument {
            mutability: mutability.take(),
            ident: ident.clone(),
            kind,
        });
    }
    None
}

/// `list` is the one that the parameters have added.
pub(super) fn lower(
    args: &CachedArgs,
    argument: Argument,
    list: List,
    key: &LoweredTemplate,
    sig: &Signature,
    errors: &mut Errors,
) -> Batch {
    let freshness = &args.freshness;
    for (option, span) in [
        ("detach", args.detach),
        ("handle", args.handle),
        ("stale_if_slow", freshness.slow.map(|(span, _)| span)),
    ] {
        if let Some(span) = span {
            errors.push(
                span,
                format_args!("`{option}` beside `each`"),
                format_args!("leave `{option}` out, or write a function for one element"),
            );
        }
    }
    if key.lists().next().is_none() && errors.is_empty() {
        let element = &list.bindings()[0];
        errors.push(
            element.span(),
            format_args!(
                "the cache key does not name `{element}`, so all elements would share an entry"
            ),
            format_args!("add `<{element}>` to the key"),
        );
    }
    Batch {
        value: value(&value_of(sig), args.by.is_some()),
        by: args.by.clone(),
        list,
        argument,
    }
}

/// Refuses `by` where there are no elements.
pub(super) fn check_by(args: &CachedArgs, errors: &mut Errors) {
    if let Some(by) = &args.by
        && args.each.is_empty()
        && errors.is_empty()
    {
        errors.push(
            by.span(),
            "`by` without `each`",
            "`by` tells which element a value has, where a function is called for several: \
             `each(user_id in ids), by = |user| user.id`",
        );
    }
}

/// The type of a value in a collection of this type, by the collection's type arguments.
fn value(collection: &Type, is_bare: bool) -> Option<Type> {
    let Type::Path(path) = ungrouped(collection) else {
        return None;
    };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    let (first, second) = (types.next()?, types.next());
    match (ungrouped(first), second) {
        (_, _) if is_bare => Some(first.clone()),
        (Type::Tuple(pair), None) => pair.elems.iter().nth(1).cloned(),
        (_, second) => second.cloned(),
    }
}

/// The place of an argument's name, for the elements that the body gets.
impl Argument {
    pub(crate) fn span(&self) -> Span {
        self.ident.span()
    }
}
