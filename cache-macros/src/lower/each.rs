//! `each`: names for each element of a list.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    AssocType, Expr, FnArg, GenericArgument, Pat, PathArguments, Signature, Type, TypeParamBound,
};

use super::Tag;
use super::output::ungrouped;
use super::variables::{bindings, variables};
use crate::attr::Each;
use crate::errors::Errors;
use crate::type_text::value_of;

/// A list, and what its elements are called.
pub(crate) struct List {
    pub(crate) element: Pat,
    /// What has the elements.
    pub(crate) source: Expr,
    /// The type of an element, where the signature shows it.
    pub(crate) element_type: Option<Type>,
    /// The user's word for what the function returned, if the list reads it.
    pub(crate) result: Option<Ident>,
    /// The lists before this one whose elements it reads, itself or by another.
    pub(crate) outer: Vec<usize>,
    bindings: Vec<Ident>,
    /// Whether the list, or one that it is in, reads what the function returned.
    reads_result: bool,
}

impl List {
    /// `parameters` are the names of the function's.
    pub(super) fn new(
        each: Each,
        before: &[List],
        sig: &Signature,
        parameters: &[String],
        errors: &mut Errors,
    ) -> Self {
        let Each { element, list } = each;
        let bindings = bindings(&element);
        for binding in &bindings {
            let is_it = |other: &Ident| other.unraw() == binding.unraw();
            let taken = if parameters
                .iter()
                .any(|name| binding.unraw() == name.as_str())
            {
                "a parameter"
            } else if before.iter().any(|list| list.bindings.iter().any(is_it)) {
                "the element of another list"
            } else {
                continue;
            };
            errors.push(
                binding.span(),
                format_args!("`each` names `{binding}`, which is {taken}, too"),
                "give the element another name",
            );
        }
        if bindings.is_empty() {
            errors.push(
                element.span(),
                "`each` names no element",
                "give it a name: `each(id in ids)`",
            );
        }
        let mut outer = Vec::new();
        let mut result = None;
        for variable in variables(&list) {
            if let Some(at) = find(before, &variable) {
                outer.extend(before[at].outer.iter().copied().chain([at]));
            } else if variable == "result" && !parameters.iter().any(|name| name == "result") {
                result = Some(variable);
            }
        }
        outer.sort_unstable();
        outer.dedup();
        Self {
            element_type: element_type(&element, &list, sig),
            reads_result: result.is_some() || outer.iter().any(|at| before[*at].reads_result),
            element,
            source: list,
            result,
            outer,
            bindings,
        }
    }

    pub(super) fn reads_result(&self) -> bool {
        self.reads_result
    }

    pub(super) fn bindings(&self) -> &[Ident] {
        &self.bindings
    }
}

/// The list with an element of this name.
pub(super) fn find(lists: &[List], name: &Ident) -> Option<usize> {
    let name = name.unraw();
    let is_it = |list: &List| list.bindings.iter().any(|binding| binding.unraw() == name);
    lists.iter().position(is_it)
}

/// Refuses a list that no name uses.
pub(super) fn check_used(lists: &[List], names: &[Tag], errors: &mut Errors) {
    let used: Vec<_> = names.iter().flat_map(Tag::lists).collect();
    // What an error leaves out may have named it.
    if !errors.is_empty() {
        return;
    }
    for (at, list) in lists.iter().enumerate() {
        let is_outer = |other: &usize| lists[*other].outer.contains(&at);
        if used.contains(&at) || used.iter().any(is_outer) {
            continue;
        }
        if let Some(element) = list.bindings.first() {
            errors.push(
                element.span(),
                format_args!("no name to invalidate names `{element}`, the element of `each`"),
                format_args!("name it in a template: `\"user:<{element}>\"`"),
            );
        }
    }
}

/// The type of an element, if it has one name, and is that of an argument or of the result.
fn element_type(element: &Pat, source: &Expr, sig: &Signature) -> Option<Type> {
    let (Pat::Ident(_), Expr::Path(path)) = (element, source) else {
        return None;
    };
    let name = path.path.get_ident()?;
    let declared = sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(input) => match input.pat.as_ref() {
            Pat::Ident(pat) if pat.ident.unraw() == name.unraw() => Some((*input.ty).clone()),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    let ty = declared.or_else(|| (name == "result").then(|| value_of(sig)))?;
    element_of(&ty)
}

/// The `T` of a slice of `T`, of a collection of it, or of what it is borrowed or shared by.
pub(super) fn element_of(ty: &Type) -> Option<Type> {
    match ungrouped(ty) {
        Type::Reference(reference) => element_of(&reference.elem),
        Type::Slice(slice) => Some((*slice.elem).clone()),
        Type::Array(array) => Some((*array.elem).clone()),
        Type::ImplTrait(found) => found.bounds.iter().find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => item_of(&bound.path.segments.last()?.arguments),
            _ => None,
        }),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            let mut types = arguments.args.iter().filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            let first = types.next()?;
            match last.ident.to_string().as_str() {
                "Vec" | "VecDeque" | "HashSet" | "BTreeSet" | "Option" => Some(first.clone()),
                "Box" | "Arc" | "Rc" => element_of(first),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The `T` of `IntoIterator<Item = T>`.
fn item_of(arguments: &PathArguments) -> Option<Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(AssocType { ident, ty, .. }) if ident == "Item" => {
            Some(ty.clone())
        }
        _ => None,
    })
}
