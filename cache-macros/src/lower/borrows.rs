//! What a type borrows, as far as its tokens show.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Generics, Lifetime, ParenthesizedGenericArguments, TraitBound, Type, TypeFnPtr, TypeParam,
    TypeParamBound, TypeReference, WherePredicate,
};

/// The first place in a type that shows a borrow: a reference or a lifetime other than `'static`.
pub(super) fn borrow_in(ty: &Type) -> Option<Span> {
    struct Search(Option<Span>);
    impl VisitMut for Search {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            if reference.lifetime.is_none() {
                self.0.get_or_insert(reference.and_token.span());
            }
            visit_mut::visit_type_reference_mut(self, reference);
        }

        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                self.0.get_or_insert(lifetime.span());
            }
        }

        // These lifetimes are the parameters of a function, and not in its type.
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
        fn visit_parenthesized_generic_arguments_mut(
            &mut self,
            _: &mut ParenthesizedGenericArguments,
        ) {
        }
        fn visit_trait_bound_mut(&mut self, bound: &mut TraitBound) {
            if bound.lifetimes.is_none() {
                visit_mut::visit_trait_bound_mut(self, bound);
            }
        }
    }
    let mut search = Search(None);
    search.visit_type_mut(&mut ty.clone());
    search.0
}

/// Whether a bound in the signature says that a type parameter borrows nothing.
pub(super) fn is_static(parameter: &TypeParam, generics: &Generics) -> bool {
    let mut of_where = generics
        .where_clause
        .iter()
        .flat_map(|clause| &clause.predicates)
        .filter_map(|predicate| match predicate {
            WherePredicate::Type(predicate) => match &predicate.bounded_ty {
                Type::Path(path) if path.path.is_ident(&parameter.ident) => Some(&predicate.bounds),
                _ => None,
            },
            _ => None,
        })
        .flatten();
    let says_static = |bound: &TypeParamBound| matches!(bound, TypeParamBound::Lifetime(lifetime) if lifetime.ident == "static");
    parameter.bounds.iter().any(says_static) || of_where.any(says_static)
}
