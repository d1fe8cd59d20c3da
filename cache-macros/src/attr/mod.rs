//! The syntax of the attributes: `key = "user:<id>", ttl = 60, skip(pool)`.
//!
//! This module refuses what does not have the shape of an option. Whether an option
//! fits the function is decided in `lower`.

mod option;
#[cfg(test)]
mod tests;
mod usage;

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::buffer::Cursor;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Expr, ExprClosure, Lit, LitStr, Pat, Token, parenthesized, token};

use self::option::KnownOptions;
use self::usage::{CACHE_DEFAULTS, CACHE_INVALIDATE, CACHED, CRATE, FENCE_REQUIRED};
use crate::errors::{Errors, error, nearest};
use crate::field_path::FieldPath;
use crate::runtime::Runtime;
use crate::source;

/// `#[cached(…)]`
#[derive(Default)]
pub(crate) struct CachedArgs {
    /// `None` only where there is an error.
    pub(crate) key: Option<LitStr>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) none_ttl: Option<NoneTtl>,
    /// How long a process may keep a copy of what a server holds.
    pub(crate) local_ttl: Option<Duration>,
    /// The place of `local`.
    pub(crate) local: Option<Span>,
    /// For how long callers wait for a load that is not woken.
    pub(crate) hedge: Option<Duration>,
    pub(crate) freshness: FreshnessArgs,
    /// The place of `detach`.
    pub(crate) detach: Option<Span>,
    /// The place of `handle`.
    pub(crate) handle: Option<Span>,
    pub(crate) tags: Vec<TagArgument>,
    /// What the function is called for several elements of.
    pub(crate) each: Vec<Each>,
    /// Whether there is an error in `each`. Then a name that is not known may be its element.
    pub(crate) each_in_doubt: bool,
    /// A closure, or the path of a function: which element a value has.
    pub(crate) by: Option<Expr>,
    pub(crate) skip: Vec<Skip>,
    pub(crate) cache: Option<Expr>,
    pub(crate) condition: Option<Expr>,
    /// A closure, or the path of a function.
    pub(crate) unless: Option<Expr>,
    /// `version = 2`
    pub(crate) schema: Option<u32>,
    pub(crate) codec: Option<Expr>,
    pub(crate) runtime: Runtime,
    pub(crate) defaults: Defaults,
    /// The options other than names, as text: `ttl = 60`.
    pub(crate) options: Vec<String>,
}

/// What the options of `#[cached]` say of old values: each with the place of its name.
#[derive(Default)]
pub(crate) struct FreshnessArgs {
    /// `early_refresh = 1.0`
    pub(crate) early: Option<(Span, f64)>,
    /// `stale_while_revalidate = "30s"`
    pub(crate) revalidate: Option<(Span, Duration)>,
    pub(crate) on_error: Option<StaleIfError>,
    /// `stale_if_slow = "200ms"`
    pub(crate) slow: Option<(Span, Duration)>,
    /// `retry_after = "2s"`
    pub(crate) retry_after: Option<(Span, Duration)>,
}

/// `stale_if_error = "1h"`, or `stale_if_error("1h", if = |error| …)`
pub(crate) struct StaleIfError {
    /// The place of the option's name.
    pub(crate) span: Span,
    pub(crate) window: Duration,
    /// A closure, or the path of a function: whether an old value takes the place of an error.
    pub(crate) excuses: Option<Expr>,
}

/// `#[cache_defaults(…)]`
#[derive(Default)]
pub(crate) struct Defaults {
    pub(crate) cache: Option<DefaultOf<Expr>>,
    pub(crate) ttl: Option<DefaultOf<Ttl>>,
    pub(crate) skip: Vec<Skip>,
    /// Whether there is an error in them.
    pub(crate) in_doubt: bool,
}

/// The value of an option that a function leaves out.
pub(crate) struct DefaultOf<T> {
    pub(crate) option: &'static str,
    /// The option as text: `ttl = 60`.
    pub(crate) text: String,
    pub(crate) value: T,
}

/// The argument that `#[cache_defaults]` adds to the attributes of its block.
pub(crate) const DEFAULTS: &str = "__cache_defaults";

/// What stands in it when there is an error in the defaults.
pub(crate) const IN_DOUBT: &str = "in_doubt";

/// What `skip` names.
pub(crate) enum Skip {
    /// A parameter, or all of `self`.
    Name(Ident),
    /// A field of `self`.
    Field(Ident, FieldPath),
}

/// `each(id in ids)`: names are made for each element of a list.
pub(crate) struct Each {
    pub(crate) element: Pat,
    pub(crate) list: Expr,
}

/// How long an entry may be served.
pub(crate) enum Ttl {
    Fixed(Duration),
    /// An expression over the arguments.
    Computed(Expr),
    /// A closure over the value.
    OfValue(ExprClosure),
}

/// `none_ttl = 5`
#[derive(Clone, Copy)]
pub(crate) struct NoneTtl {
    /// The place of the option's name.
    pub(crate) span: Span,
    pub(crate) length: Duration,
}

/// `#[cache_invalidate(…)]`
#[derive(Default)]
pub(crate) struct InvalidateArgs {
    pub(crate) names: Vec<TagArgument>,
    pub(crate) each: Vec<Each>,
    /// Whether there is an error in `each`. Then a name that is not known may be its element.
    pub(crate) each_in_doubt: bool,
    pub(crate) cache: Option<Expr>,
    pub(crate) condition: Option<Expr>,
    /// `on = ok`
    pub(crate) on_ok: bool,
    pub(crate) on_err: Option<OnErr>,
    pub(crate) fence: Option<FenceOption>,
    /// The place of `fence_required`.
    pub(crate) fence_required: Option<Span>,
    pub(crate) runtime: Runtime,
    pub(crate) defaults: Defaults,
    /// The options, as text: `on = ok`.
    pub(crate) options: Vec<String>,
}

/// `on_err = |error| …`
pub(crate) struct OnErr {
    /// The place of the option's name.
    pub(crate) span: Span,
    /// A closure, or the path of a function: whether something may have been committed.
    pub(crate) question: Expr,
}

/// `fence = "30s"`
pub(crate) struct FenceOption {
    /// The place of the option's name.
    pub(crate) span: Span,
    pub(crate) length: FenceLength,
}

/// The longest that a fence stands.
pub(crate) enum FenceLength {
    Fixed(Duration),
    /// An expression over the arguments.
    Computed(Expr),
}

/// `"user:<id>"` alone, or with `crate = path` after it.
pub(crate) fn parse_template(
    input: ParseStream<'_>,
    subject: &str,
    usage: &str,
) -> syn::Result<(LitStr, Runtime)> {
    let wrong = |span| {
        let what = format_args!("{subject} takes one string literal");
        error(span, what, usage)
    };
    let template = input
        .parse()
        .map_err(|syntax: syn::Error| wrong(syntax.span()))?;
    let mut runtime = Runtime::default();
    if input.peek(Token![,]) && input.peek2(Ident::peek_any) {
        input.parse::<Token![,]>()?;
        runtime = parse_runtime(input)?;
    }
    if input.is_empty() {
        Ok((template, runtime))
    } else {
        Err(wrong(input.span()))
    }
}

/// The arguments of `key!`.
pub(crate) fn parse_key(input: ParseStream<'_>) -> syn::Result<(LitStr, Runtime)> {
    let usage = "name variables in the template: `key!(\"user:<id>\")`";
    parse_template(input, "`key!`", usage)
}

/// The arguments of `#[key_name]`.
pub(crate) fn parse_key_name(input: ParseStream<'_>) -> syn::Result<(LitStr, Runtime)> {
    let usage = "write the name of the type: `#[key_name(\"user\")]`";
    parse_template(input, "`#[key_name]`", usage)
}

/// `crate = path`, where it is the only option.
pub(crate) fn parse_runtime(input: ParseStream<'_>) -> syn::Result<Runtime> {
    KnownOptions::new(&[CRATE], "").next(input)?.runtime(input)
}

/// One tag, as it is written.
pub(crate) enum TagArgument {
    Template(LitStr),
    /// A value of a type that implements `CacheTag`.
    Typed(Expr),
    /// A closure over the value, which yields tags.
    OfValue(ExprClosure),
}

impl CachedArgs {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let mut known = KnownOptions::new(CACHED, "");
        args.options = each_argument(tokens, errors, |input| {
            if input.peek(Lit) {
                known.seen.push("key");
                let key = input.parse::<Lit>()?;
                return Err(error(
                    key.span(),
                    "an argument of `#[cached]` needs a name",
                    format_args!("write `key = {}`", key.to_token_stream()),
                ));
            }
            if let Some(defaults) = Defaults::parse_argument(input)? {
                args.defaults = defaults;
                return Ok(Argument::Name);
            }
            let option = known.next(input)?;
            match option.name {
                "key" => args.key = Some(option.string(input)?),
                "ttl" => args.ttl = Some(option.ttl(input)?),
                "none_ttl" => args.none_ttl = Some(option.none_ttl(input)?),
                "local_ttl" => args.local_ttl = Some(option.fixed(&option.value(input)?)?),
                "local" => args.local = Some(option.alone(input)?),
                "hedge" => args.hedge = Some(option.fixed(&option.value(input)?)?),
                "early_refresh" => {
                    args.freshness.early = Some((option.span, option.beta(input)?));
                }
                "stale_while_revalidate" => {
                    args.freshness.revalidate = Some((option.span, option.duration(input)?));
                }
                "stale_if_error" => args.freshness.on_error = Some(option.stale_if_error(input)?),
                "stale_if_slow" => {
                    args.freshness.slow = Some((option.span, option.duration(input)?));
                }
                "retry_after" => {
                    args.freshness.retry_after = Some((option.span, option.duration(input)?));
                }
                "detach" => args.detach = Some(option.alone(input)?),
                "handle" => args.handle = Some(option.alone(input)?),
                "invalidate_on" => args.tags = option.tags(input)?,
                "each" => {
                    args.each_in_doubt = true;
                    args.each = option.each(input)?;
                    args.each_in_doubt = false;
                }
                "by" => args.by = Some(option.question(input, "value")?),
                "skip" => args.skip = option.skip(input)?,
                "condition" => args.condition = Some(option.value(input)?),
                "unless" => args.unless = Some(option.question(input, "value")?),
                "version" => args.schema = Some(option.schema(input)?),
                "codec" => args.codec = Some(option.value(input)?),
                "crate" => args.runtime = option.runtime(input)?,
                _ => args.cache = Some(option.value(input)?),
            }
            Ok(match option.name {
                "key" | "invalidate_on" => Argument::Name,
                _ => Argument::Option,
            })
        });
        if !known.seen.contains(&"key") {
            errors.push(
                Span::call_site(),
                "`#[cached]` needs a key",
                "name the parameters that the result depends on: `key = \"user:<id>\"`",
            );
        }
        args
    }
}

impl InvalidateArgs {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let mut known = KnownOptions::new(
            CACHE_INVALIDATE,
            "; keys and tags stand alone: `#[cache_invalidate(\"user:<id>\")]`",
        );
        args.options = each_argument(tokens, errors, |input| {
            if let Some(defaults) = Defaults::parse_argument(input)? {
                args.defaults = defaults;
                return Ok(Argument::Name);
            }
            if at_option(input) {
                let option = known.next(input)?;
                match option.name {
                    "each" => {
                        args.each_in_doubt = true;
                        args.each = option.each(input)?;
                        args.each_in_doubt = false;
                    }
                    "fence" => args.fence = Some(option.fence(input)?),
                    FENCE_REQUIRED => args.fence_required = Some(option.alone(input)?),
                    "condition" => args.condition = Some(option.value(input)?),
                    "on" => args.on_ok = option.is_ok(input)?,
                    "on_err" => {
                        args.on_err = Some(OnErr {
                            span: option.span,
                            question: option.question(input, "error")?,
                        });
                    }
                    "crate" => args.runtime = option.runtime(input)?,
                    _ => args.cache = Some(option.value(input)?),
                }
                return Ok(Argument::Option);
            }
            let name = input.parse::<Expr>()?;
            let name = TagArgument::new(name).map_err(|span| {
                error(
                    span,
                    "a name to invalidate is a string literal, or a value of a `CacheTag` type",
                    "write a key or a tag as a template: `\"user:<id>\"`",
                )
            })?;
            if let TagArgument::OfValue(closure) = &name {
                return Err(error(
                    closure.span(),
                    "a name to invalidate is no closure",
                    "name the result in a template, `\"team:<result.id>\"`, or each element of it: \
                     `\"user:<user.id>\", each(user in result)`",
                ));
            }
            args.names.push(name);
            Ok(Argument::Name)
        });
        if args.names.is_empty() && errors.is_empty() {
            errors.push(
                Span::call_site(),
                "`#[cache_invalidate]` names nothing to invalidate",
                "name keys or tags: `#[cache_invalidate(\"user:<id>\")]`",
            );
        }
        args
    }
}

impl Defaults {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut defaults = Self::default();
        let (mut cache, mut ttl) = (None, None);
        let mut known = KnownOptions::new(CACHE_DEFAULTS, "");
        let texts = each_argument(tokens, errors, |input| {
            let option = known.next(input)?;
            match option.name {
                "ttl" => ttl = Some(option.ttl(input)?),
                "skip" => defaults.skip = option.skip(input)?,
                _ => cache = Some(option.value(input)?),
            }
            Ok(Argument::Option)
        });
        if known.seen.is_empty() && errors.is_empty() {
            errors.push(
                Span::call_site(),
                "`#[cache_defaults]` has no option",
                "write what the attributes in the block have in common: \
                 `#[cache_defaults(cache = self.cache)]`",
            );
        }
        defaults.cache = cache.map(|value| DefaultOf::new("cache", &texts, value));
        defaults.ttl = ttl.map(|value| DefaultOf::new("ttl", &texts, value));
        defaults
    }

    /// The argument with the defaults, if it is here. Their errors are reported by
    /// `#[cache_defaults]`.
    fn parse_argument(input: ParseStream<'_>) -> syn::Result<Option<Self>> {
        let fork = input.fork();
        if !fork
            .call(Ident::parse_any)
            .is_ok_and(|name| name == DEFAULTS)
        {
            return Ok(None);
        }
        input.call(Ident::parse_any)?;
        let content;
        parenthesized!(content in input);
        let tokens: TokenStream = content.parse()?;
        if tokens.to_string() == IN_DOUBT {
            return Ok(Some(Self {
                in_doubt: true,
                ..Self::default()
            }));
        }
        let mut errors = Errors::default();
        let defaults = Self::parse(tokens, &mut errors);
        errors.finish(Some(defaults))
    }
}

impl<T> DefaultOf<T> {
    /// `texts` are those of all options.
    fn new(option: &'static str, texts: &[String], value: T) -> Self {
        let text = texts.iter().find(|text| text.starts_with(option));
        Self {
            option,
            text: text.cloned().unwrap_or_default(),
            value,
        }
    }
}

/// `name = …`, `each(…)`, or an option of a fence without a value. Such a word is not taken for a tag.
fn at_option(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    let Ok(name) = fork.call(Ident::parse_any) else {
        return false;
    };
    if fork.peek(Token![=]) && !fork.peek(Token![==]) {
        return true;
    }
    let alone = fork.is_empty() || fork.peek(Token![,]);
    let name = name.to_string();
    if name == "each" && (alone || fork.peek(token::Paren)) {
        return true;
    }
    alone && (name == "fence" || nearest(&name, &[FENCE_REQUIRED]).is_some())
}

/// What an argument of an attribute is.
enum Argument {
    /// A key or a tag.
    Name,
    /// Anything else.
    Option,
}

/// Parses each argument, and returns the options among them as text. When an argument is
/// wrong, parsing resumes after the next comma, so that every mistake is found.
fn each_argument(
    tokens: TokenStream,
    errors: &mut Errors,
    mut argument: impl FnMut(ParseStream<'_>) -> syn::Result<Argument>,
) -> Vec<String> {
    let mut options = Vec::new();
    let arguments = |input: ParseStream<'_>| {
        while !input.is_empty() {
            let begin = input.cursor();
            let parsed = argument(input).and_then(|parsed| {
                if input.is_empty() || input.peek(Token![,]) {
                    Ok(parsed)
                } else {
                    Err(input.error("expected `,`"))
                }
            });
            match parsed {
                Ok(Argument::Name) => {}
                Ok(Argument::Option) => {
                    options.push(source::text(tokens_between(begin, input.cursor())));
                }
                Err(error) => errors.add(error),
            }
            while !input.is_empty() && !input.peek(Token![,]) {
                input.parse::<TokenTree>()?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(error) = arguments.parse2(tokens) {
        errors.add(error);
    }
    options
}

fn tokens_between(begin: Cursor<'_>, end: Cursor<'_>) -> TokenStream {
    let mut at = begin;
    let mut tokens = TokenStream::new();
    while at != end
        && let Some((token, after)) = at.token_tree()
    {
        tokens.extend([token]);
        at = after;
    }
    tokens
}
