//! Types that the registry asks the compiler about.
//!
//! A static in a function can't name the type parameters around it, and an attribute on a
//! method does not see those of its `impl` block: naming one would not compile. So in a function,
//! only a type with a path of modules is asked about, such as `ids::IssueId`: a type parameter has
//! none. A name by itself may be a parameter, and stays text.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Expr, ExprLit, GenericArgument, Lifetime, Path, PathArguments, PathSegment, Type,
    TypeReference, parse_quote,
};

use crate::runtime::Runtime;

/// Types that are found everywhere, by a name that says what they are.
const BUILT_IN: &[&str] = &[
    "bool", "char", "i128", "i16", "i32", "i64", "i8", "isize", "str", "u128", "u16", "u32", "u64",
    "u8", "usize", "String",
];

/// Names of the prelude, which modules do not have.
const PRELUDE: &[&str] = &["Box", "Option", "Result", "Vec"];

/// What the registry is told of a type with this text.
pub(crate) struct NamedType {
    text: String,
    ty: Option<Type>,
}

/// Where a type is named.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// In a function, which may be in an `impl` block.
    Function,
    /// Beside a type that has no type parameters.
    Module,
}

impl NamedType {
    /// A type whose text is `text`; `_` in it stands for what is not known.
    pub(crate) fn new(text: String, ty: Option<&Type>, place: Place) -> Self {
        let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let is_known = BUILT_IN.contains(&&*text) || words.any(|word| word == "_");
        let ty = ty.filter(|_| !is_known).and_then(|ty| nameable(ty, place));
        Self { text, ty }
    }

    /// Whether the text says less than the compiler does.
    pub(crate) fn is_nameable(&self) -> bool {
        self.ty.is_some()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn tokens(&self, runtime: &Runtime) -> TokenStream {
        let path = runtime.path(Span::mixed_site());
        let text = &self.text;
        let asked = self
            .ty
            .as_ref()
            .map(|ty| quote!(#path::registry::NamedType::of::<#ty>(#text)));
        asked.unwrap_or_else(|| quote!(#path::registry::NamedType::written(#text)))
    }
}

/// A type as it can be named in an expression.
fn nameable(ty: &Type, place: Place) -> Option<Type> {
    let mut ty = ty.clone();
    let mut search = Search {
        place,
        refused: false,
    };
    search.visit_type_mut(&mut ty);
    (!search.refused).then_some(ty)
}

struct Search {
    place: Place,
    refused: bool,
}

impl VisitMut for Search {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match ty {
            Type::Path(path) if path.qself.is_none() => {}
            Type::Array(array) => {
                // A name may be that of a parameter.
                let is_number = matches!(array.len, Expr::Lit(ExprLit { .. }));
                self.refused |= !is_number;
            }
            Type::Group(_)
            | Type::Paren(_)
            | Type::Reference(_)
            | Type::Slice(_)
            | Type::Tuple(_) => {}
            _ => self.refused = true,
        }
        visit_mut::visit_type_mut(self, ty);
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference.lifetime = None;
        self.visit_type_mut(&mut reference.elem);
    }

    /// As the macro's own tokens, they get no lints, such as the one about elided lifetimes.
    fn visit_ident_mut(&mut self, ident: &mut Ident) {
        // Its span says which crate it is.
        if ident != "$crate" {
            ident.set_span(ident.span().resolved_at(Span::mixed_site()));
        }
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        *lifetime = parse_quote!('_);
    }

    fn visit_path_mut(&mut self, path: &mut Path) {
        visit_mut::visit_path_mut(self, path);
        let Some(first) = path.segments.first() else {
            return;
        };
        let name = first.ident.to_string();
        let is_path_of_modules = path.leading_colon.is_some()
            || path.segments.len() > 1 && !name.starts_with(char::is_uppercase);
        let is_found_everywhere = PRELUDE.contains(&&*name) || BUILT_IN.contains(&&*name);
        self.refused |=
            self.place == Place::Function && !is_path_of_modules && !is_found_everywhere;
    }

    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        match &mut segment.arguments {
            PathArguments::None => {}
            PathArguments::Parenthesized(_) => self.refused = true,
            PathArguments::AngleBracketed(arguments) => {
                let all = std::mem::take(&mut arguments.args);
                // The compiler finds out the lifetimes, and an alias has none.
                arguments.args = all
                    .into_iter()
                    .filter(|argument| !matches!(argument, GenericArgument::Lifetime(_)))
                    .collect();
                for argument in &arguments.args {
                    self.refused |= !is_type(argument);
                }
                if arguments.args.is_empty() {
                    segment.arguments = PathArguments::None;
                }
            }
        }
        visit_mut::visit_path_segment_mut(self, segment);
    }
}

/// Whether an argument is a type. In capitals, it may be a constant too.
fn is_type(argument: &GenericArgument) -> bool {
    match argument {
        GenericArgument::Type(Type::Path(path)) => path
            .path
            .get_ident()
            .is_none_or(|name| name.to_string().contains(char::is_lowercase)),
        GenericArgument::Type(_) => true,
        _ => false,
    }
}
