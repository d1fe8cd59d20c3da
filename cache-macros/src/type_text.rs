//! Types as text, for the registry.
//!
//! A static can't name the types of a generic function, so the registry gets types as they
//! are written. The text has `_` for what it leaves open, and the registry takes that for
//! any type.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::visit_mut::{self, VisitMut};
use syn::{
    AssocType, Expr, GenericArgument, GenericParam, Generics, Lifetime, Path, PathArguments,
    PathSegment, ReturnType, Signature, Type, TypeInfer, parse_quote,
};

use crate::source;

/// A type without its references, its lifetimes and the paths to it, none of which makes a
/// difference to a key or a value; and with `_` for what only a caller knows.
pub(crate) fn plain(ty: &Type, generics: &Generics) -> String {
    let mut ty = ty.clone();
    Plain(generics).visit_type_mut(&mut ty);
    source::text_of_type(ty.into_token_stream())
}

struct Plain<'g>(&'g Generics);

impl Plain<'_> {
    fn is_open(&self, path: &Path) -> bool {
        let parameters = self
            .0
            .params
            .iter()
            .filter_map(|parameter| match parameter {
                GenericParam::Type(parameter) => Some(&parameter.ident),
                GenericParam::Const(parameter) => Some(&parameter.ident),
                GenericParam::Lifetime(_) => None,
            });
        path.segments.first().is_some_and(|first| {
            first.ident == "Self" || parameters.into_iter().any(|name| *name == first.ident)
        })
    }
}

impl VisitMut for Plain<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        loop {
            *ty = match ty {
                Type::Reference(reference) => (*reference.elem).clone(),
                Type::Paren(paren) => (*paren.elem).clone(),
                Type::Group(group) => (*group.elem).clone(),
                _ => break,
            };
        }
        let open = match ty {
            Type::ImplTrait(_) | Type::Macro(_) => true,
            Type::Path(path) => path.qself.is_some() || self.is_open(&path.path),
            _ => false,
        };
        if open {
            *ty = Type::Infer(TypeInfer {
                attrs: Vec::new(),
                underscore_token: parse_quote!(_),
            });
        }
        visit_mut::visit_type_mut(self, ty);
    }

    fn visit_path_mut(&mut self, path: &mut Path) {
        if let Some(last) = path.segments.pop() {
            path.leading_colon = None;
            path.segments.clear();
            path.segments.push(last);
        }
        visit_mut::visit_path_mut(self, path);
    }

    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
            arguments.args = std::mem::take(&mut arguments.args)
                .into_iter()
                .filter(|argument| !matches!(argument, GenericArgument::Lifetime(_)))
                .collect();
            if arguments.args.is_empty() {
                segment.arguments = PathArguments::None;
            }
        }
        visit_mut::visit_path_segment_mut(self, segment);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        lifetime.ident = Ident::new("_", lifetime.ident.span());
    }
}

/// The value that a function caches: the `T` of `Result<Option<T>, E>`, inside of what a
/// future yields.
pub(crate) fn value_of(sig: &Signature) -> Type {
    match &sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, output) => value_inside(output),
    }
}

/// This text cannot ask the compiler, so it takes a name like `io::Result` or `BoxFuture` for
/// an alias. Nothing but the registry depends on it.
fn value_inside(output: &Type) -> Type {
    let mut value = awaited(output);
    for is_around in [
        |name: &str| name.ends_with("Future"),
        |name: &str| name.ends_with("Result"),
        |name: &str| name == "Option",
    ] {
        if let Some(inside) = inside(&value, is_around) {
            value = inside;
        }
    }
    value
}

/// The `T` of `impl Future<Output = T>`, boxed or not; any other type is itself.
fn awaited(output: &Type) -> Type {
    struct Search(Option<Type>);
    impl VisitMut for Search {
        fn visit_assoc_type_mut(&mut self, found: &mut AssocType) {
            if found.ident == "Output" && self.0.is_none() {
                self.0 = Some(found.ty.clone());
            }
        }
    }
    let mut search = Search(None);
    search.visit_type_mut(&mut output.clone());
    search.0.unwrap_or_else(|| output.clone())
}

/// The first type argument of a path whose last segment has such a name.
fn inside(ty: &Type, is_such: impl Fn(&str) -> bool) -> Option<Type> {
    let path = match ty {
        Type::Paren(paren) => return inside(&paren.elem, is_such),
        Type::Group(group) => return inside(&group.elem, is_such),
        Type::Path(path) => &path.path,
        _ => return None,
    };
    let last = path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    types.next().filter(|_| is_such(&last.ident.to_string()))
}

/// The type of `TenantUsers(tenant)`, `Tag { … }`, `Tag::new(…)` or `Unit`.
pub(crate) fn type_of_tag(expr: &Expr) -> Option<Ident> {
    let path = match expr {
        Expr::Call(call) => return type_of_tag(&call.func),
        Expr::Reference(reference) => return type_of_tag(&reference.expr),
        Expr::Paren(paren) => return type_of_tag(&paren.expr),
        Expr::Group(group) => return type_of_tag(&group.expr),
        Expr::Struct(literal) => &literal.path,
        Expr::Path(path) => &path.path,
        _ => return None,
    };
    // An associated function is in lower case, and a constant has no lower case.
    let is_type = |ident: &Ident| {
        let name = ident.unraw().to_string();
        name.starts_with(char::is_uppercase)
            && (name.len() == 1 || name.contains(char::is_lowercase))
    };
    let mut names = path.segments.iter().rev().map(|segment| &segment.ident);
    let last = names.next()?;
    let ty = if last.to_string().starts_with(char::is_lowercase) {
        names.next()?
    } else {
        last
    };
    (is_type(ty) && ty != "Self").then(|| ty.clone())
}
