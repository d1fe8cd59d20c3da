//! How a function gives its value: directly, or by a future that it returns.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    AssocType, GenericArgument, Generics, PathArguments, ReturnType, Signature, Type,
    TypeImplTrait, TypeParamBound, TypePath, parse_quote,
};

use super::borrows::{borrow_in, is_static};
use crate::errors::Errors;
use crate::generics::mentions;

/// How a function gives its value.
pub(crate) enum Output {
    /// `async fn … -> T`
    Value(Type),
    /// `-> impl Future<Output = T>`
    Future(Type),
    /// `-> Pin<Box<dyn Future<Output = T>>>`, or an alias of it. The compiler finds the `T`.
    Boxed(Type),
}

impl Output {
    /// Refuses a function that could not wait for a cache.
    pub(crate) fn of(sig: &Signature, errors: &mut Errors) -> Self {
        let name = &sig.ident;
        let ty = match &sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => ungrouped(ty).clone(),
        };
        if let Some(variadic) = &sig.variadic {
            errors.push(
                variadic.dots.spans[0],
                format_args!("`{name}` takes any number of arguments"),
                "take a slice instead",
            );
        }
        if let Some(token) = &sig.constness {
            errors.push(
                token.span,
                format_args!("`{name}` is a `const fn`, and a cache is only there at run time"),
                format_args!("write `async fn {name}`"),
            );
        } else if sig.asyncness.is_none() {
            match &ty {
                Type::ImplTrait(found) => {
                    return Self::Future(output_of(found).unwrap_or_else(|| {
                        if is_stream(found) {
                            errors.push(found.span(), STREAM, COLLECT);
                        } else {
                            errors.push(
                                found.span(),
                                format_args!("`{name}` does not say which value its future yields"),
                                "write `impl Future<Output = …>`",
                            );
                        }
                        parse_quote!(())
                    }));
                }
                Type::Path(_) | Type::Macro(_) => {
                    for found in impl_traits(&ty) {
                        errors.push(
                            found,
                            "a boxed `impl Future` cannot be named",
                            "return `impl Future<Output = …>`, or box a `dyn Future<Output = …>`",
                        );
                    }
                    return Self::Boxed(ty);
                }
                _ => errors.push(
                    sig.fn_token.span,
                    format_args!("`{name}` is not an `async fn`"),
                    format_args!("write `async fn {name}`: a cache may have to wait for a server"),
                ),
            }
        }
        Self::Value(ty)
    }

    pub(crate) fn ty(&self) -> &Type {
        match self {
            Self::Value(ty) | Self::Future(ty) | Self::Boxed(ty) => ty,
        }
    }

    /// Whether the compiler may be asked, by trait, if an error of the function can be shared.
    ///
    /// The compiler answers without regard to lifetimes, and then refuses an error that is not
    /// `'static`. So it is not asked about an error that shows a lifetime, or a type parameter
    /// which may have one. A cached value has none.
    pub(crate) fn may_share_errors(&self, generics: &Generics) -> bool {
        let open: Vec<_> = generics
            .type_params()
            .filter(|parameter| !is_static(parameter, generics))
            .map(|parameter| &parameter.ident)
            .collect();
        let is_open = |error: &Type| open.iter().any(|parameter| mentions(error, parameter));
        self.yielded()
            .iter()
            .all(|ty| borrow_in(ty).is_none() && !type_arguments(ty).iter().skip(1).any(is_open))
    }

    /// The places where the return type shows a borrow.
    pub(super) fn borrows(&self) -> Vec<Span> {
        self.yielded().iter().filter_map(borrow_in).collect()
    }

    /// The types that the value may be, of those in the return type that show a borrow: all of it, what is
    /// in a `Result` or an `Option`, and what is in both. The compiler decides which of them the value is.
    pub(crate) fn borrowing_values(&self) -> [Option<Type>; 3] {
        let first = |ty: &Type| type_arguments(ty).into_iter().next();
        let all = self.yielded().into_iter().next();
        let inner = all.as_ref().and_then(first);
        let innermost = inner.as_ref().and_then(first);
        let shows_borrow = |ty: &Type| borrow_in(ty).is_some() && !names_associated_type(ty);
        [all, inner, innermost].map(|ty| ty.filter(shows_borrow))
    }

    /// What the future yields, or the types in which that is.
    fn yielded(&self) -> Vec<Type> {
        struct Search(Vec<Type>);
        impl VisitMut for Search {
            fn visit_assoc_type_mut(&mut self, assoc: &mut AssocType) {
                if assoc.ident == "Output" {
                    self.0.push(assoc.ty.clone());
                }
            }
        }
        match self {
            Self::Value(ty) | Self::Future(ty) => vec![ty.clone()],
            Self::Boxed(ty) => {
                let mut search = Search(Vec::new());
                search.visit_type_mut(&mut ty.clone());
                if search.0.is_empty() {
                    // An alias, such as `BoxFuture<'a, Result<T, E>>`.
                    search.0 = type_arguments(ty);
                }
                search.0
            }
        }
    }

    /// Refuses a value whose type has no name.
    pub(crate) fn check_nameable(&self, errors: &mut Errors) {
        if let Self::Boxed(_) = self {
            return;
        }
        if let Type::ImplTrait(found) = ungrouped(self.ty())
            && is_stream(found)
        {
            errors.push(found.span(), STREAM, COLLECT);
            return;
        }
        for found in impl_traits(self.ty()) {
            errors.push(
                found,
                "a value of type `impl Trait` cannot be cached",
                "name the type: the cache has to know what it stores",
            );
        }
    }
}

/// The `T` and `E` of a `Result<T, E>`.
fn type_arguments(ty: &Type) -> Vec<Type> {
    let Type::Path(path) = ungrouped(ty) else {
        return Vec::new();
    };
    match path.path.segments.last().map(|last| &last.arguments) {
        Some(PathArguments::AngleBracketed(arguments)) => arguments
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a type has an associated type in it. The lifetime of one, as in `Self::Row<'_>`, need not be in
/// what it stands for.
fn names_associated_type(ty: &Type) -> bool {
    struct Search(bool);
    impl VisitMut for Search {
        fn visit_type_path_mut(&mut self, path: &mut TypePath) {
            let first = path.path.segments.first();
            let is_type =
                first.is_some_and(|first| first.ident.to_string().starts_with(char::is_uppercase));
            self.0 |= path.qself.is_some() || path.path.segments.len() > 1 && is_type;
            visit_mut::visit_type_path_mut(self, path);
        }
    }
    let mut search = Search(false);
    search.visit_type_mut(&mut ty.clone());
    search.0
}

/// The places of `impl Trait` in a type.
fn impl_traits(ty: &Type) -> Vec<Span> {
    struct Search(Vec<Span>);
    impl VisitMut for Search {
        fn visit_type_impl_trait_mut(&mut self, found: &mut TypeImplTrait) {
            self.0.push(found.impl_token.span);
        }
    }
    let mut search = Search(Vec::new());
    search.visit_type_mut(&mut ty.clone());
    search.0
}

const STREAM: &str = "a stream cannot be cached";
const COLLECT: &str =
    "cache a function that returns a list, such as one page of it: `async fn page(…) -> Vec<T>`";

/// Whether this is an `impl Stream`. It is an error in any case; the name decides what is said of it.
fn is_stream(ty: &TypeImplTrait) -> bool {
    ty.bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => bound
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "Stream"),
        _ => false,
    })
}

/// The `T` of `impl Future<Output = T>`.
fn output_of(future: &TypeImplTrait) -> Option<Type> {
    future.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return None;
        };
        let output = arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(assoc.ty.clone()),
            _ => None,
        });
        output.filter(|_| last.ident == "Future")
    })
}

/// A type as it was written, also when it comes from a `macro_rules!` variable.
pub(super) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        other => other,
    }
}
