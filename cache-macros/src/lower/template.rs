//! A template whose placeholders are resolved to Rust names.

use proc_macro2::{Ident, Span};
use syn::{Index, LitStr, Member};

use crate::errors::Errors;
use crate::template::{Placeholder, Step, Template};

/// A key or a tag: literal text around parts, one piece more than parts.
pub(crate) struct LoweredTemplate {
    /// The template as it is written.
    pub(crate) source: String,
    pub(crate) span: Span,
    pub(crate) literals: Vec<String>,
    pub(crate) parts: Vec<Part>,
}

/// What a placeholder stands for. Every identifier in it is located at the template.
pub(crate) struct Part {
    pub(crate) root: Root,
    pub(crate) accesses: Vec<Access>,
}

pub(crate) enum Root {
    Value(Ident),
    /// The name of this type.
    Type(Ident),
    /// What the function returned.
    Result,
    /// An element of this list.
    Element(Ident, usize),
}

/// What is read from the value before it.
pub(crate) enum Access {
    Field(Member),
    Method(Ident),
}

impl LoweredTemplate {
    /// A substitute for a template that was refused.
    pub(crate) fn empty(span: Span) -> Self {
        Self {
            source: String::new(),
            span,
            literals: Vec::new(),
            parts: Vec::new(),
        }
    }

    pub(super) fn reads_result(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part.root, Root::Result))
    }

    /// The lists whose elements it names.
    pub(super) fn lists(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().filter_map(|part| match part.root {
            Root::Element(_, list) => Some(list),
            _ => None,
        })
    }
}

/// Parses the template of a key or a tag; its faults are errors at the literal.
pub(crate) fn parse_template(literal: &LitStr, errors: &mut Errors) -> Option<Template> {
    let template = parse_pattern(literal, errors)?;
    if let Some(fault) = template.check_wildcards() {
        errors.push(literal.span(), fault.what, fault.help);
        return None;
    }
    Some(template)
}

/// Parses the template in `key!`, of which a pattern may be made: `key!("user:<id>:*")`.
pub(super) fn parse_pattern(literal: &LitStr, errors: &mut Errors) -> Option<Template> {
    let parsed = Template::parse(&literal.value());
    parsed
        .map_err(|faults| {
            for fault in faults {
                errors.push(literal.span(), fault.what, fault.help);
            }
        })
        .ok()
}

/// Resolves the placeholders of a template. `resolve` finds what a root is.
pub(crate) fn lower_parts(
    template: Template,
    span: Span,
    errors: &mut Errors,
    mut resolve: impl FnMut(&Placeholder, &mut Errors) -> Option<Root>,
) -> LoweredTemplate {
    let mut parts = Vec::new();
    for placeholder in &template.placeholders {
        let root = resolve(placeholder, errors);
        let accesses = placeholder.steps.iter().map(|step| {
            Some(match step {
                Step::Field(name) => Access::Field(name_of(name, span, errors)?.into()),
                Step::Index(index) => Access::Field(
                    Index {
                        index: *index,
                        span,
                    }
                    .into(),
                ),
                Step::Method(name) => Access::Method(name_of(name, span, errors)?),
            })
        });
        let accesses = accesses.collect::<Option<_>>();
        if let (Some(root), Some(accesses)) = (root, accesses) {
            parts.push(Part { root, accesses });
        }
    }
    LoweredTemplate {
        source: template.source,
        span,
        literals: template.literals,
        parts,
    }
}

/// A piece of a placeholder as a Rust name.
pub(super) fn name_of(text: &str, span: Span, errors: &mut Errors) -> Option<Ident> {
    if text == "self" {
        return Some(Ident::new(text, span));
    }
    if let Ok(mut name) = syn::parse_str::<Ident>(text) {
        name.set_span(span);
        return Some(name);
    }
    let help = if text.starts_with(|c: char| c.is_ascii_digit()) {
        "only `#[cache_tag]` has placeholders for fields without names".to_owned()
    } else {
        format!("a name that is also a keyword is written `r#{text}`")
    };
    errors.push(
        span,
        format_args!("`{text}` in the template is not a name"),
        help,
    );
    None
}
