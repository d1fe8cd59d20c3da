//! Paths of fields, as tokens show them: the `.config.tenant` of `self.config.tenant`.

use std::fmt;

use proc_macro2::{Delimiter, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;

/// The fields that follow a value.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldPath(Vec<Field>);

/// The name of a field, or its index, with the place where it is read.
#[derive(Clone, Debug)]
struct Field {
    /// The name, or the index, without an `r#`.
    name: String,
    token: TokenTree,
}

impl FieldPath {
    /// The fields at the beginning of these tokens, and how many tokens they are. A method that is
    /// called, and an `.await`, are no fields.
    pub(crate) fn at(tokens: &[TokenTree]) -> (Self, usize) {
        let mut path = Self::default();
        let mut len = 0;
        while let [dot, field, rest @ ..] = &tokens[len..]
            && is_punct(Some(dot), '.')
            && !calls(rest)
        {
            let before = path.0.len();
            match field {
                TokenTree::Ident(name) if name != "await" => path.push_name(name),
                TokenTree::Literal(index) => path.push_indices(index),
                _ => {}
            }
            if path.0.len() == before {
                break;
            }
            len += 2;
        }
        (path, len)
    }

    pub(crate) fn push_name(&mut self, name: &Ident) {
        self.0.push(Field {
            name: name.unraw().to_string(),
            token: name.clone().into(),
        });
    }

    pub(crate) fn push_index(&mut self, index: u32, span: Span) {
        let mut token = Literal::u32_unsuffixed(index);
        token.set_span(span);
        self.0.push(Field {
            name: index.to_string(),
            token: token.into(),
        });
    }

    /// The `0.1` of `self.0.1` is one token, a float.
    fn push_indices(&mut self, literal: &Literal) {
        let text = literal.to_string();
        let indices: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        for index in indices.into_iter().flatten() {
            self.push_index(index, literal.span());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of the last field.
    pub(crate) fn span(&self) -> Span {
        self.0
            .last()
            .map_or_else(Span::call_site, |field| field.token.span())
    }

    /// The path of its first fields.
    pub(crate) fn first(&self, len: usize) -> Self {
        Self(self.0[..len].to_vec())
    }

    /// How many fields it has in common with another path, from the first on.
    pub(crate) fn common_len(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .take_while(|(left, right)| left.name == right.name)
            .count()
    }

    /// Whether this is the other path, or a place inside of it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.common_len(other) == other.len()
    }
}

/// Two paths are the same wherever they are read.
impl PartialEq for FieldPath {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.is_within(other)
    }
}

/// `.config.tenant`
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|field| write!(f, ".{}", field.token))
    }
}

impl ToTokens for FieldPath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        for Field { token, .. } in &self.0 {
            tokens.extend(quote_spanned!(token.span()=> .#token));
        }
    }
}

/// Whether these tokens make a method of the name before them.
fn calls(tokens: &[TokenTree]) -> bool {
    match tokens.first() {
        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
        colon => is_punct(colon, ':') && is_punct(tokens.get(1), ':'),
    }
}

pub(crate) fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}
