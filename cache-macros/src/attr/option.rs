//! The value of one option: `= "1h"`, `(pool)`, or nothing.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprGroup, ExprLit, ExprPath, Lit, LitStr, Pat, Token, parenthesized, token};

use super::usage::{ELSEWHERE, Usage, Zero};
use super::{Each, FenceLength, FenceOption, NoneTtl, Skip, StaleIfError, TagArgument, Ttl};
use crate::duration;
use crate::errors::{error, nearest, suggest};
use crate::field_path::FieldPath;
use crate::runtime::Runtime;

/// The options that an attribute has, and those that were given so far.
pub(super) struct KnownOptions {
    usages: &'static [Usage],
    /// Further help for an option that is unknown.
    hint: &'static str,
    pub(super) seen: Vec<&'static str>,
}

impl KnownOptions {
    pub(super) fn new(usages: &'static [Usage], hint: &'static str) -> Self {
        Self {
            usages,
            hint,
            seen: Vec::new(),
        }
    }

    pub(super) fn next(&mut self, input: ParseStream<'_>) -> syn::Result<OptionName> {
        let ident = input.call(Ident::parse_any)?;
        let given = ident.to_string();
        let Some(usage) = self.usages.iter().find(|usage| usage.name == given) else {
            let known: Vec<_> = self.usages.iter().map(|usage| usage.name).collect();
            return Err(error(
                ident.span(),
                format_args!("unknown option `{given}`"),
                match known_elsewhere_as(&given, &known) {
                    Some(ours) => format!("did you mean `{ours}`?"),
                    None if nearest(&given, &known).is_some() => suggest(&given, &known, "options"),
                    None => suggest(&given, &known, "options") + self.hint,
                },
            ));
        };
        let name = usage.name;
        if self.seen.contains(&name) {
            return Err(error(
                ident.span(),
                format_args!("option `{name}` is given more than once"),
                "keep one of them",
            ));
        }
        self.seen.push(name);
        Ok(OptionName {
            name,
            usage: usage.help,
            zero: usage.zero,
            span: ident.span(),
        })
    }
}

/// The option that other caches give this name, if the attribute has it.
fn known_elsewhere_as(given: &str, known: &[&str]) -> Option<&'static str> {
    let (_, ours) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == given)?;
    known.contains(ours).then_some(*ours)
}

/// The name of an option, with its value still to be parsed.
pub(super) struct OptionName {
    pub(super) name: &'static str,
    usage: &'static str,
    zero: Zero,
    pub(super) span: Span,
}

impl OptionName {
    pub(super) fn value(&self, input: ParseStream<'_>) -> syn::Result<Expr> {
        let equals: Option<Token![=]> = input.parse()?;
        if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
            return Err(error(
                self.span,
                format_args!("option `{}` needs a value", self.name),
                self.usage,
            ));
        }
        input.parse()
    }

    pub(super) fn string(&self, input: ParseStream<'_>) -> syn::Result<LitStr> {
        let value = self.value(input)?;
        as_string(&value)
            .ok_or_else(|| self.wrong(value.span(), "must be a string literal", self.usage))
    }

    pub(super) fn tags(&self, input: ParseStream<'_>) -> syn::Result<Vec<TagArgument>> {
        let elements = match ungrouped(self.value(input)?) {
            Expr::Array(array) => array.elems.into_iter().collect(),
            single => vec![single],
        };
        let tags = elements.into_iter().map(|element| {
            let tag = TagArgument::new(element)
                .map_err(|span| self.wrong(span, "must be a string literal, or a tag", self.usage))?;
            match &tag {
                TagArgument::OfValue(closure) if closure.inputs.len() != 1 => Err(self.wrong(
                    closure.span(),
                    "takes a closure with one parameter, the value",
                    "write `|page| page.issues.iter().map(|issue| IssueTag(issue.id))`; the closure may \
                     name parameters of the function, too",
                )),
                _ => Ok(tag),
            }
        });
        tags.collect()
    }

    pub(super) fn skip(&self, input: ParseStream<'_>) -> syn::Result<Vec<Skip>> {
        self.in_parentheses(input, Skip::parse, "takes names of parameters")
    }

    pub(super) fn each(&self, input: ParseStream<'_>) -> syn::Result<Vec<Each>> {
        let rule = "takes an element and its list";
        // What is missing has no place, so the error is at the option's name.
        let wrong = || self.wrong(self.span, rule, self.usage);
        let each = self.in_parentheses(input, Each::parse, rule);
        let each = each.map_err(|_| wrong())?;
        if each.is_empty() {
            Err(wrong())
        } else {
            Ok(each)
        }
    }

    fn in_parentheses<T>(
        &self,
        input: ParseStream<'_>,
        parse: fn(ParseStream<'_>) -> syn::Result<T>,
        rule: &str,
    ) -> syn::Result<Vec<T>> {
        let content = |input: ParseStream<'_>| {
            let content;
            parenthesized!(content in input);
            content.parse::<TokenStream>()
        };
        let items = |input: ParseStream<'_>| {
            Punctuated::<T, Token![,]>::parse_terminated_with(input, parse)
        };
        match content(input).and_then(|content| items.parse2(content)) {
            Ok(items) => Ok(items.into_iter().collect()),
            Err(error) => Err(self.wrong(error.span(), rule, self.usage)),
        }
    }

    pub(super) fn is_ok(&self, input: ParseStream<'_>) -> syn::Result<bool> {
        match ungrouped(self.value(input)?) {
            Expr::Path(path) if path.path.is_ident("ok") => Ok(true),
            other => Err(self.wrong(other.span(), "must be `ok`", self.usage)),
        }
    }

    pub(super) fn fence(&self, input: ParseStream<'_>) -> syn::Result<FenceOption> {
        let value = ungrouped(self.value(input)?);
        let length = if is_number_or_text(&value) {
            FenceLength::Fixed(self.fixed(&value)?)
        } else {
            FenceLength::Computed(value)
        };
        Ok(FenceOption {
            span: self.span,
            length,
        })
    }

    pub(super) fn alone(&self, input: ParseStream<'_>) -> syn::Result<Span> {
        if input.peek(Token![=]) {
            return Err(self.wrong(self.span, "takes no value", self.usage));
        }
        Ok(self.span)
    }

    /// A question about the function's value or error.
    pub(super) fn question(&self, input: ParseStream<'_>, subject: &str) -> syn::Result<Expr> {
        let question = ungrouped(self.value(input)?);
        match &question {
            Expr::Closure(closure) if closure.inputs.len() == 1 => Ok(question),
            Expr::Path(_) => Ok(question),
            other => {
                let rule = format!("must be a closure over the {subject}");
                Err(self.wrong(other.span(), &rule, self.usage))
            }
        }
    }

    pub(super) fn schema(&self, input: ParseStream<'_>) -> syn::Result<u32> {
        let value = self.value(input)?;
        let schema = match as_literal(&value) {
            Some(Lit::Int(schema)) => schema.base10_parse().ok(),
            _ => None,
        };
        schema.ok_or_else(|| {
            let rule = "must be an integer from 0 to 4294967295";
            self.wrong(value.span(), rule, self.usage)
        })
    }

    pub(super) fn ttl(&self, input: ParseStream<'_>) -> syn::Result<Ttl> {
        match ungrouped(self.value(input)?) {
            Expr::Closure(closure) if closure.inputs.len() == 1 => Ok(Ttl::OfValue(closure)),
            value if is_number_or_text(&value) => self.fixed(&value).map(Ttl::Fixed),
            value => Ok(Ttl::Computed(value)),
        }
    }

    pub(super) fn runtime(&self, input: ParseStream<'_>) -> syn::Result<Runtime> {
        match ungrouped(self.value(input)?) {
            Expr::Path(ExprPath {
                path, qself: None, ..
            }) => Ok(Runtime::at(path)),
            other => Err(self.wrong(other.span(), "must be a path", self.usage)),
        }
    }

    pub(super) fn duration(&self, input: ParseStream<'_>) -> syn::Result<Duration> {
        self.fixed(&self.value(input)?)
    }

    pub(super) fn beta(&self, input: ParseStream<'_>) -> syn::Result<f64> {
        let value = self.value(input)?;
        let beta = match as_literal(&value) {
            Some(Lit::Float(beta)) if beta.suffix().is_empty() => beta.base10_parse::<f64>().ok(),
            Some(Lit::Int(beta)) if beta.suffix().is_empty() => beta.base10_parse::<f64>().ok(),
            _ => None,
        };
        let beta = beta.filter(|beta| beta.is_finite() && *beta > 0.0);
        beta.ok_or_else(|| self.wrong(value.span(), "must be a number above zero", self.usage))
    }

    /// `= "1h"`, or `("1h", if = |error| …)`.
    pub(super) fn stale_if_error(&self, input: ParseStream<'_>) -> syn::Result<StaleIfError> {
        if !input.peek(token::Paren) {
            return Ok(StaleIfError {
                span: self.span,
                window: self.duration(input)?,
                excuses: None,
            });
        }
        let content;
        parenthesized!(content in input);
        let content = content.parse::<TokenStream>()?;
        // What is left of it after an error is no error of its own.
        let parse = |content: ParseStream<'_>| self.stale_if_error_in(content);
        parse.parse2(content)
    }

    /// What is in its parentheses.
    fn stale_if_error_in(&self, content: ParseStream<'_>) -> syn::Result<StaleIfError> {
        let rule = "takes a duration, and perhaps `if` with a closure over the error";
        let wrong = || self.wrong(self.span, rule, self.usage);
        let window = content.parse::<Expr>().map_err(|_| wrong())?;
        let window = self.fixed(&window)?;
        let mut excuses = None;
        if content.peek(Token![,]) {
            content.parse::<Token![,]>()?;
            if !content.is_empty() {
                content.parse::<Token![if]>().map_err(|_| wrong())?;
                content.parse::<Token![=]>().map_err(|_| wrong())?;
                let question = ungrouped(content.parse().map_err(|_| wrong())?);
                let is_question = match &question {
                    Expr::Closure(closure) => closure.inputs.len() == 1,
                    other => matches!(other, Expr::Path(_)),
                };
                if !is_question {
                    return Err(self.wrong(question.span(), rule, self.usage));
                }
                excuses = Some(question);
                content.parse::<Option<Token![,]>>()?;
            }
        }
        if !content.is_empty() {
            return Err(wrong());
        }
        Ok(StaleIfError {
            span: self.span,
            window,
            excuses,
        })
    }

    pub(super) fn none_ttl(&self, input: ParseStream<'_>) -> syn::Result<NoneTtl> {
        Ok(NoneTtl {
            span: self.span,
            length: self.fixed(&self.value(input)?)?,
        })
    }

    pub(super) fn fixed(&self, value: &Expr) -> syn::Result<Duration> {
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

        let span = value.span();
        let duration = match as_literal(value) {
            Some(Lit::Str(text)) => duration::parse(&text.value()).ok(),
            Some(Lit::Int(seconds)) if seconds.suffix().is_empty() => {
                seconds.base10_parse().ok().map(Duration::from_secs)
            }
            // `60s` is an integer to the compiler, with a suffix that it doesn't know.
            Some(Lit::Int(seconds)) if duration::parse(&seconds.to_string()).is_ok() => {
                let help = format!("write a string: `{} = \"{seconds}\"`", self.name);
                return Err(self.wrong(span, "must be an integer or a string", help));
            }
            _ => None,
        };
        match duration {
            None => Err(self.wrong(span, "must be a duration", self.usage)),
            Some(Duration::ZERO) => match self.zero {
                Zero::Allowed => Ok(Duration::ZERO),
                Zero::Refused(help) => Err(self.wrong(span, "must be longer than zero", help)),
            },
            Some(duration) if duration > LONGEST => {
                Err(self.wrong(span, "must not be longer than 100 years", self.usage))
            }
            Some(duration) => Ok(duration),
        }
    }

    fn wrong(&self, span: Span, rule: &str, help: impl std::fmt::Display) -> syn::Error {
        error(span, format_args!("`{}` {rule}", self.name), help)
    }
}

impl TagArgument {
    /// Refuses, with its place, a literal that is not a string.
    pub(super) fn new(expr: Expr) -> Result<Self, Span> {
        match as_literal(&expr) {
            Some(Lit::Str(template)) => Ok(Self::Template(template.clone())),
            Some(other) => Err(other.span()),
            None => Ok(match ungrouped(expr) {
                Expr::Closure(closure) => Self::OfValue(closure),
                other => Self::Typed(other),
            }),
        }
    }
}

impl Each {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let element = input.call(Pat::parse_single)?;
        input.parse::<Token![in]>()?;
        Ok(Self {
            element,
            list: ungrouped(input.parse()?),
        })
    }
}

impl Skip {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.call(Ident::parse_any)?;
        if name != "self" || input.is_empty() || input.peek(Token![,]) {
            return Ok(Self::Name(name));
        }
        let mut tokens = Vec::new();
        let begin = input.span();
        while !input.is_empty() && !input.peek(Token![,]) {
            tokens.push(input.parse::<TokenTree>()?);
        }
        let (path, len) = FieldPath::at(&tokens);
        if len == tokens.len() {
            Ok(Self::Field(name, path))
        } else {
            Err(syn::Error::new(begin, "expected a field"))
        }
    }
}

/// A literal, also when it comes from a `macro_rules!` variable.
fn as_literal(expr: &Expr) -> Option<&Lit> {
    match expr {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        Expr::Group(ExprGroup { expr, .. }) => as_literal(expr),
        _ => None,
    }
}

/// An expression as it was written, also when it comes from a `macro_rules!` variable.
fn ungrouped(expr: Expr) -> Expr {
    match expr {
        Expr::Group(ExprGroup { expr, .. }) => ungrouped(*expr),
        other => other,
    }
}

/// A literal, or a negative one, which is an expression to the compiler.
fn is_number_or_text(expr: &Expr) -> bool {
    match expr {
        Expr::Group(group) => is_number_or_text(&group.expr),
        Expr::Unary(negative) => as_literal(&negative.expr).is_some(),
        other => as_literal(other).is_some(),
    }
}

fn as_string(expr: &Expr) -> Option<LitStr> {
    match as_literal(expr) {
        Some(Lit::Str(string)) => Some(string.clone()),
        _ => None,
    }
}
