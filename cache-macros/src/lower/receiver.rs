//! The fields of `self` that a body reads, and the rule that the key or `skip` names each that
//! could be in a key. Whether its type could be is found by the compiler: see `expand::receiver`.
//!
//! The statements are not parsed. So a field is seen where its tokens are: in a closure and in the
//! arguments of a macro too, and not behind a variable, a pattern, a method or an index.

use proc_macro2::{Delimiter, Ident, Spacing, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::{FnArg, Member, Signature};

use super::template::{Access, LoweredTemplate, Root};
use crate::attr::Skip;
use crate::errors::{Errors, nearest};
use crate::field_path::{FieldPath, is_punct};
use crate::function::Function;

/// A field of `self` that the body reads, and that neither the key nor `skip` names.
pub(crate) struct UnnamedField {
    /// The receiver, where the field is read.
    pub(crate) receiver: Ident,
    pub(crate) path: FieldPath,
    /// How many fields at the beginning of the path have a place of their own before this one.
    /// Only the outermost that could be in a key is reported.
    pub(crate) outer: std::ops::Range<usize>,
}

/// One place where the body reads a field.
struct Read {
    receiver: Ident,
    path: FieldPath,
    /// Whether it stands under a `#[cfg(…)]`. Then the field may not exist.
    is_conditional: bool,
}

/// Refuses what `skip` says of `self` without need, and returns the fields that nothing names.
/// `defaults` are what is skipped in all functions of a block, where they read it.
pub(super) fn unnamed_fields(
    function: &Function,
    key: &LoweredTemplate,
    skip: &[Skip],
    defaults: &[Skip],
    errors: &mut Errors,
) -> Vec<UnnamedField> {
    let reads = reads(function);
    let in_key = in_key(key);
    let mut skips_all = false;
    let mut skipped = Vec::new();
    for name in skip {
        match name {
            Skip::Field(receiver, path) => {
                check_skip(function, &reads, &in_key, receiver, path, errors);
                skipped.push(path);
            }
            Skip::Name(name) if name == "self" => {
                skips_all = true;
                if in_key.iter().any(FieldPath::is_empty) {
                    errors.push(
                        name.span(),
                        "`self` is skipped, and it is in the cache key",
                        "remove it from `skip`, or `<self>` from the key",
                    );
                }
            }
            Skip::Name(_) => {}
        }
    }
    for name in defaults {
        match name {
            Skip::Field(_, path) => skipped.push(path),
            Skip::Name(name) => skips_all |= name == "self",
        }
    }
    if skips_all {
        return Vec::new();
    }
    let mut unnamed: Vec<UnnamedField> = Vec::new();
    for read in reads.iter().filter(|read| !read.is_conditional) {
        let Read { receiver, path, .. } = read;
        let is_within = |named: &FieldPath| path.is_within(named);
        if in_key.iter().any(is_within) || skipped.iter().copied().any(is_within) {
            continue;
        }
        // Of a field that the key names a part of, only what is beside that part is left.
        let in_key = in_key.iter().map(|in_key| path.common_len(in_key)).max();
        let begin = in_key.unwrap_or(0);
        for len in begin + 1..=path.len() {
            let path = path.first(len);
            if unnamed.iter().all(|field| field.path != path) {
                unnamed.push(UnnamedField {
                    receiver: receiver.clone(),
                    path,
                    outer: begin + 1..len,
                });
            }
        }
    }
    unnamed
}

fn check_skip(
    function: &Function,
    reads: &[Read],
    in_key: &[FieldPath],
    receiver: &Ident,
    path: &FieldPath,
    errors: &mut Errors,
) {
    let name = &function.sig.ident;
    if !has_receiver(&function.sig) {
        errors.push(
            receiver.span(),
            format_args!("`skip` names `self{path}`, and `{name}` has no receiver"),
            "remove it from `skip`",
        );
    } else if let Some(in_key) = in_key.iter().find(|in_key| path.is_within(in_key)) {
        errors.push(
            path.span(),
            format_args!("`self{path}` is skipped, and it is in the cache key"),
            format_args!("remove it from `skip`, or `<self{in_key}>` from the key"),
        );
    } else if !reads.iter().any(|read| read.path.is_within(path)) {
        let read: Vec<_> = reads.iter().map(|read| read.path.to_string()).collect();
        let help = nearest(&path.to_string(), &read).map_or_else(
            || "remove it from `skip`: what other methods read needs none".to_owned(),
            |nearest| format!("did you mean `self{nearest}`?"),
        );
        errors.push(
            path.span(),
            format_args!("`skip` names `self{path}`, which the body of `{name}` does not read"),
            help,
        );
    }
}

/// The paths from `self` that a key names. A method counts as the field of its name: `self.tenant`
/// is in the key as `<self.tenant()>` too.
fn in_key(key: &LoweredTemplate) -> Vec<FieldPath> {
    let parts = key.parts.iter();
    let of_receiver =
        parts.filter(|part| matches!(&part.root, Root::Value(ident) if ident == "self"));
    let paths = of_receiver.map(|part| {
        let mut path = FieldPath::default();
        for access in &part.accesses {
            match access {
                Access::Field(Member::Named(name)) | Access::Method(name) => path.push_name(name),
                Access::Field(Member::Unnamed(index)) => path.push_index(index.index, index.span),
            }
        }
        path
    });
    paths.collect()
}

pub(super) fn has_receiver(sig: &Signature) -> bool {
    matches!(sig.inputs.first(), Some(FnArg::Receiver(_)))
}

/// The places where the body reads a field of `self`.
fn reads(function: &Function) -> Vec<Read> {
    let Some(FnArg::Receiver(receiver)) = function.sig.inputs.first() else {
        return Vec::new();
    };
    let under_async_trait = function
        .sig
        .generics
        .lifetimes()
        .any(|parameter| parameter.lifetime.ident == "async_trait");
    let mut search = Search {
        receiver: receiver.self_token.span,
        under_async_trait,
        reads: Vec::new(),
    };
    search.tokens(function.statements.clone(), false);
    search.reads
}

/// Macros whose arguments are tokens, and no expressions.
const OPAQUE: &[&str] = &["quote", "quote_spanned", "parse_quote", "stringify"];

struct Search {
    /// The place of the receiver, where `self` has its meaning.
    receiver: Span,
    /// Whether `#[async_trait]` has given `self` another name within the body.
    under_async_trait: bool,
    reads: Vec<Read>,
}

impl Search {
    fn tokens(&mut self, tokens: TokenStream, is_conditional: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut conditional_until = 0;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let rest = &tokens[at + 1..];
            let is_conditional = is_conditional || at < conditional_until;
            at += 1;
            match token {
                TokenTree::Ident(ident)
                    if self.is_receiver(ident, tokens.get(at.wrapping_sub(2))) =>
                {
                    let (path, len) = FieldPath::at(rest);
                    if !path.is_empty() && !is_assigned(&rest[len..]) {
                        let span = ident.span().resolved_at(self.receiver);
                        self.reads.push(Read {
                            receiver: Ident::new("self", span),
                            path,
                            is_conditional,
                        });
                    }
                    at += len;
                }
                TokenTree::Ident(ident) => at += opaque_len(ident, rest),
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    if let Some(TokenTree::Group(attribute)) = rest.first()
                        && attribute.delimiter() == Delimiter::Bracket
                    {
                        at += 1;
                        if is_cfg(attribute.stream()) {
                            conditional_until = at + conditional_len(&tokens[at..]);
                        }
                    }
                }
                TokenTree::Group(group) => self.tokens(group.stream(), is_conditional),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Whether this is `self`, and not the variable `$self` of a macro.
    fn is_receiver(&self, ident: &Ident, before: Option<&TokenTree>) -> bool {
        let is_named = ident == "self" || self.under_async_trait && ident == "__self";
        is_named && !is_punct(before, '$')
    }
}

/// Whether the place before these tokens is written, and not read.
fn is_assigned(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Punct(equals), next, ..] if equals.as_char() == '=' => {
            let is_longer = is_punct(Some(next), '=') || is_punct(Some(next), '>');
            equals.spacing() == Spacing::Alone || !is_longer
        }
        _ => false,
    }
}

/// How many of the tokens after this name have another `self`, or none.
fn opaque_len(ident: &Ident, rest: &[TokenTree]) -> usize {
    if ident == "fn" && matches!(rest.first(), Some(TokenTree::Ident(_))) {
        return rest.iter().take_while(|token| !ends_item(token)).count() + 1;
    }
    if !is_punct(rest.first(), '!') {
        return 0;
    }
    if ident == "macro_rules" {
        return 3;
    }
    let name = ident.unraw().to_string();
    if OPAQUE.contains(&name.as_str()) {
        2
    } else {
        0
    }
}

fn ends_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_punct(Some(token), ';'),
    }
}

fn is_cfg(attribute: TokenStream) -> bool {
    let name = attribute.into_iter().next();
    matches!(name, Some(TokenTree::Ident(name)) if name == "cfg")
}

/// How many tokens a `#[cfg(…)]` before them is about: one statement, arm or argument. It is better
/// to take too many than too few, since the field of one that is left out may not exist.
fn conditional_len(tokens: &[TokenTree]) -> usize {
    let is_let = is_let(tokens);
    let mut angles = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let next = tokens.get(at + 1);
        let ends = match token {
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' => true,
                ',' => angles == 0,
                '<' => {
                    angles += 1;
                    false
                }
                '>' if !is_punct(before, '-') && !is_punct(before, '=') => {
                    angles = angles.saturating_sub(1);
                    false
                }
                _ => false,
            },
            TokenTree::Group(group) => {
                let goes_on = match next {
                    Some(TokenTree::Ident(next)) => next == "else" || next == "as",
                    Some(TokenTree::Punct(next)) => next.as_char() != '#',
                    _ => false,
                };
                group.delimiter() == Delimiter::Brace && !is_let && !goes_on
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        if ends {
            return at + 1;
        }
    }
    tokens.len()
}

/// Whether a `let` stands here, after further attributes.
fn is_let(mut tokens: &[TokenTree]) -> bool {
    while let [hash, TokenTree::Group(_), rest @ ..] = tokens
        && is_punct(Some(hash), '#')
    {
        tokens = rest;
    }
    matches!(tokens.first(), Some(TokenTree::Ident(ident)) if ident == "let")
}
