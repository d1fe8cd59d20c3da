//! The bounds that a derived implementation needs.

use proc_macro2::Ident;
use syn::visit_mut::{self, VisitMut};
use syn::{Generics, Path, Type};

/// Whether a type depends on a type parameter. Another type needs no bound: it has the trait,
/// or the error is clearer at the field.
pub(crate) fn mentions_parameter(ty: &Type, generics: &Generics) -> bool {
    generics
        .type_params()
        .any(|parameter| mentions(ty, &parameter.ident))
}

/// Whether a type contains a name, or a path that begins with it.
pub(crate) fn mentions(ty: &Type, name: &Ident) -> bool {
    struct Search<'n> {
        name: &'n Ident,
        found: bool,
    }
    impl VisitMut for Search<'_> {
        fn visit_path_mut(&mut self, path: &mut Path) {
            self.found |= path
                .segments
                .first()
                .is_some_and(|root| root.ident == *self.name);
            visit_mut::visit_path_mut(self, path);
        }
    }
    let mut search = Search { name, found: false };
    search.visit_type_mut(&mut ty.clone());
    search.found
}
