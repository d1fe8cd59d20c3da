//! The variables that patterns make, and that expressions read.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprPath, Macro, Pat, PatIdent};

/// The variables that a pattern makes.
pub(super) fn bindings(pattern: &Pat) -> Vec<Ident> {
    struct Bindings(Vec<Ident>);
    impl VisitMut for Bindings {
        fn visit_pat_ident_mut(&mut self, binding: &mut PatIdent) {
            // Alternatives, `A(x) | B(x)`, bind the same names.
            if !self.0.contains(&binding.ident) {
                self.0.push(binding.ident.clone());
            }
            visit_mut::visit_pat_ident_mut(self, binding);
        }
    }
    let mut bindings = Bindings(Vec::new());
    bindings.visit_pat_mut(&mut pattern.clone());
    bindings.0
}

/// The variables that an expression reads, also within macros.
pub(super) fn variables(expr: &Expr) -> Vec<Ident> {
    struct Variables(Vec<Ident>);
    impl Variables {
        fn add_tokens(&mut self, tokens: TokenStream) {
            let mut after_dot = false;
            for token in tokens {
                match &token {
                    TokenTree::Ident(ident) if !after_dot => self.0.push(ident.clone()),
                    TokenTree::Group(group) => self.add_tokens(group.stream()),
                    _ => {}
                }
                after_dot = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '.');
            }
        }
    }
    impl VisitMut for Variables {
        fn visit_expr_path_mut(&mut self, path: &mut ExprPath) {
            self.0.extend(path.path.get_ident().cloned());
        }

        fn visit_macro_mut(&mut self, invocation: &mut Macro) {
            self.add_tokens(invocation.tokens.clone());
        }
    }
    let mut variables = Variables(Vec::new());
    variables.visit_expr_mut(&mut expr.clone());
    variables.0
}
