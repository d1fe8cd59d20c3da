//! `detach`: what the task of a load owns. It outlives the call, so it can't borrow an argument.

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::{Expr, FnArg, Pat, PatIdent, PatType, Receiver, ReceiverKind, Token, Type};

use super::borrows::borrow_in;
use super::output::{Output, ungrouped};
use super::variables::{bindings, variables};
use crate::errors::Errors;
use crate::function::Function;

/// The arguments that the task of a load takes with it.
pub(crate) struct Detach {
    /// The place of the option.
    pub(crate) span: Span,
    /// Those that are borrowed. The task has a copy of each.
    pub(crate) copied: Vec<Copied>,
    /// Those that are not.
    pub(crate) moved: Vec<Ident>,
}

/// A borrowed argument, of which the task has a copy.
pub(crate) struct Copied {
    pub(crate) ident: Ident,
    /// The name that the body has for it: another one for `self`, which can't be a variable.
    pub(crate) name: Ident,
    pub(crate) mutability: Option<Token![mut]>,
}

const TASK: &str = "`detach` runs the load in a task of its own";

/// `closures` are those that the attribute has over the value.
pub(super) fn lower(
    span: Span,
    function: &mut Function,
    output: &Output,
    closures: &[Expr],
    errors: &mut Errors,
) -> Detach {
    let mut detach = Detach {
        span,
        copied: Vec::new(),
        moved: Vec::new(),
    };
    for input in &mut function.sig.inputs {
        match input {
            FnArg::Receiver(receiver) => detach.receiver(receiver, errors),
            FnArg::Typed(input) => detach.parameter(input, errors),
        }
    }
    for borrow in output.borrows() {
        errors.push(
            borrow,
            format_args!("{TASK}, which can't return what it borrows"),
            "return a value that owns its data, or leave `detach` out",
        );
    }
    for closure in closures {
        detach.check_closure(closure, errors);
    }
    if detach.copied.iter().any(Copied::is_receiver) {
        let statements = std::mem::take(&mut function.statements);
        function.statements = rename_self(statements, false, errors);
    }
    detach
}

impl Detach {
    fn receiver(&mut self, receiver: &Receiver, errors: &mut Errors) {
        let ident = Ident::new("self", receiver.self_token.span);
        let (is_copied, is_borrowed) = match &receiver.kind {
            ReceiverKind::Reference(_, _, mutability) => (mutability.is_none(), true),
            ReceiverKind::Typed(_, ty) => (is_copied(ty), borrow_in(ty).is_some()),
            _ => (false, false),
        };
        if is_copied {
            self.copied.push(Copied {
                name: this(ident.span()),
                ident,
                mutability: None,
            });
        } else if is_borrowed {
            errors.push(
                ident.span(),
                format_args!("{TASK}, which can't borrow `self` like this"),
                "take `&self`, `self` or `self: Arc<Self>`, or leave `detach` out",
            );
        } else {
            self.moved.push(ident);
        }
    }

    fn parameter(&mut self, input: &mut PatType, errors: &mut Errors) {
        if let Pat::Ident(PatIdent {
            by_ref: None,
            mutability,
            ident,
            subpat: None,
            ..
        }) = &mut *input.pat
        {
            if is_copied(&input.ty) {
                self.copied.push(Copied {
                    ident: ident.clone(),
                    name: ident.clone(),
                    // The copy is what the body changes.
                    mutability: mutability.take(),
                });
            } else if borrow_in(&input.ty).is_some() {
                errors.push(
                    ident.span(),
                    format_args!("{TASK}, which can't borrow `{ident}`"),
                    "take a value that owns its data, or leave `detach` out",
                );
            } else {
                self.moved.push(ident.clone());
            }
            return;
        }
        if borrow_in(&input.ty).is_some() || has_ref(&input.pat) {
            errors.push(
                input.pat.span(),
                format_args!("{TASK}, which can't borrow what this pattern names"),
                "name the parameter and take it apart in the body, or leave `detach` out",
            );
        } else {
            self.moved.extend(bindings(&input.pat));
        }
    }

    /// A closure over the value runs in the task, too.
    fn check_closure(&self, closure: &Expr, errors: &mut Errors) {
        let named = variables(closure);
        let borrowed = |name: &&Ident| self.copied.iter().any(|copied| copied.ident == **name);
        if let Some(name) = named.iter().find(borrowed) {
            errors.push(
                name.span(),
                format_args!("{TASK}, where a closure over the value can't borrow `{name}`"),
                "decide by the value alone, or leave `detach` out",
            );
        }
    }
}

impl Copied {
    pub(crate) fn is_receiver(&self) -> bool {
        self.ident == "self"
    }
}

/// The name that the body has for a receiver that is copied.
fn this(span: Span) -> Ident {
    Ident::new("this", span.resolved_at(Span::mixed_site()))
}

/// Whether a type is a shared reference to what owns its data. A copy is made of that.
fn is_copied(ty: &Type) -> bool {
    match ungrouped(ty) {
        Type::Reference(reference) => {
            let is_static = reference
                .lifetime
                .as_ref()
                .is_some_and(|lifetime| lifetime.ident == "static");
            !is_static && reference.mutability.is_none() && borrow_in(&reference.elem).is_none()
        }
        _ => false,
    }
}

/// Whether a pattern has a `ref`.
fn has_ref(pattern: &Pat) -> bool {
    use syn::visit_mut::{self, VisitMut};
    struct Search(bool);
    impl VisitMut for Search {
        fn visit_pat_ident_mut(&mut self, binding: &mut PatIdent) {
            self.0 |= binding.by_ref.is_some();
            visit_mut::visit_pat_ident_mut(self, binding);
        }
    }
    let mut search = Search(false);
    search.visit_pat_mut(&mut pattern.clone());
    search.0
}

/// The statements, with another name for `self`. A function among them has a `self` of its own.
fn rename_self(statements: TokenStream, in_macro: bool, errors: &mut Errors) -> TokenStream {
    /// What is left as it is.
    #[derive(PartialEq)]
    enum Within {
        Nothing,
        /// A function, up to its body.
        Function,
        /// An import, up to its semicolon.
        Import,
    }
    let mut within = Within::Nothing;
    let mut renamed = TokenStream::new();
    let mut before = None;
    let mut tokens = statements.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let next = tokens.peek();
        let ends = match &token {
            TokenTree::Group(group) => {
                within == Within::Function && group.delimiter() == Delimiter::Brace
            }
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        let token = match token {
            _ if within != Within::Nothing => token,
            TokenTree::Ident(ident)
                if ident == "fn" && matches!(next, Some(TokenTree::Ident(_))) =>
            {
                within = Within::Function;
                ident.into()
            }
            TokenTree::Ident(ident) if ident == "use" && !is_punct(next, '<') => {
                within = Within::Import;
                ident.into()
            }
            // Not the path `self::`, nor the variable `$self` of a macro.
            TokenTree::Ident(ident)
                if ident == "self" && !is_path(next) && !is_punct(before.as_ref(), '$') =>
            {
                this(ident.span()).into()
            }
            TokenTree::Group(group) if !is_ident(before.as_ref(), "pub") => {
                let in_macro = in_macro || is_punct(before.as_ref(), '!');
                let stream = rename_self(group.stream(), in_macro, errors);
                let mut inside = Group::new(group.delimiter(), stream);
                inside.set_span(group.span());
                inside.into()
            }
            TokenTree::Literal(literal) if in_macro => {
                let text = literal.to_string();
                if text.contains("{self}") || text.contains("{self:") {
                    errors.push(
                        literal.span(),
                        "`detach` can't see `self` within a string",
                        "write `{}` in the string, and `self` after it",
                    );
                }
                literal.into()
            }
            other => other,
        };
        if ends {
            within = Within::Nothing;
        }
        before = Some(token.clone());
        renamed.extend([token]);
    }
    renamed
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// Whether this is the beginning of a `::`.
fn is_path(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct))
        if punct.as_char() == ':' && punct.spacing() == Spacing::Joint)
}

fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == name)
}
