//! Keys and tags, from their parts.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::lower::{Access, LoweredTemplate, Part, Root, Tag, TypedTag};
use crate::runtime::Runtime;

pub(super) fn tags(runtime: &Runtime, tags: &[Tag]) -> TokenStream {
    tuple(tags.iter().map(|tag| match tag {
        Tag::Template(tag) => (tag.span, template(runtime, tag)),
        Tag::Typed(tag) => (tag.expr.span(), typed_tag(runtime, tag)),
    }))
}

/// `(a, (b, ()))`: a tuple of any length that a trait can be implemented for.
fn tuple<T: ToTokens>(items: impl DoubleEndedIterator<Item = (Span, T)>) -> TokenStream {
    items.rev().fold(
        quote!(()),
        |rest, (span, item)| quote_spanned!(span=> (#item, #rest)),
    )
}

/// The name that a template makes of the variables in scope.
pub(super) fn template(runtime: &Runtime, template: &LoweredTemplate) -> TokenStream {
    let span = template.span;
    let parts = template
        .parts
        .iter()
        .map(|part| self::part(runtime, part, span));
    name(
        runtime,
        span,
        &template.literals,
        &parts.collect::<Vec<_>>(),
    )
}

/// The setter of a call site whose key names a type.
pub(super) fn names_type(key: &LoweredTemplate) -> Option<TokenStream> {
    let is_type = |part: &Part| matches!(part.root, Root::Type(_));
    key.parts.iter().any(is_type).then(|| quote!(.names_type()))
}

pub(super) fn typed_tag(runtime: &Runtime, tag: &TypedTag) -> TokenStream {
    let expr = &tag.expr;
    let private = runtime.private(expr.span());
    quote_spanned!(expr.span()=> #private::tag(&(#expr)))
}

/// A name from its parts. All of it has the span of the template, so that a mistake is one
/// error and not one for each layer.
pub(crate) fn name(
    runtime: &Runtime,
    span: Span,
    literals: &[String],
    parts: &[TokenStream],
) -> TokenStream {
    let private = runtime.private(span);
    let parts = tuple(parts.iter().map(|part| (span, part)));
    quote_spanned! {span=> #private::Name::new(&[#(#literals),*], #parts) }
}

/// One part of a name.
pub(crate) fn part(runtime: &Runtime, part: &Part, span: Span) -> TokenStream {
    let private = runtime.private(span);
    let reference = reference(runtime, part, span);
    quote_spanned!(span=> #private::part(#reference))
}

/// A reference to what a placeholder names.
pub(crate) fn reference(runtime: &Runtime, part: &Part, span: Span) -> TokenStream {
    let private = runtime.private(span);
    let root = match &part.root {
        Root::Value(ident) | Root::Element(ident, _) => ident.to_token_stream(),
        Root::Type(ty) => quote_spanned!(span=> #private::TypeName::<#ty>::NEW),
        Root::Result => Ident::new("result", span).to_token_stream(),
    };
    let accesses = part.accesses.iter().map(|access| match access {
        Access::Field(member) => quote_spanned!(span=> .#member),
        Access::Method(name) => quote_spanned!(span=> .#name()),
    });
    quote_spanned!(span=> &#root #(#accesses)*)
}
