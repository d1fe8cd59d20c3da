//! The syntax of the attributes: `key = "user:<id>", ttl = 60, skip(pool)`.
//!
//! This module refuses what does not have the shape of an option. Whether an option
//! fits the function is decided in `lower`.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::buffer::Cursor;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Expr, ExprClosure, ExprGroup, ExprLit, ExprPath, Lit, LitStr, Pat, Token, parenthesized, token,
};

use crate::duration;
use crate::errors::{Errors, error, nearest, suggest};
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

/// The name of an option, and the help that shows how to write it.
type Usage = (&'static str, &'static str);

const CACHED: &[Usage] = &[
    ("key", "write a string: `key = \"user:<id>\"`"),
    TTL,
    (
        "none_ttl",
        "write seconds, `none_ttl = 5`, or a string with units of `d`, `h`, `m`, `s`, `ms`: \
         `none_ttl = \"1m30s\"`",
    ),
    (
        "local_ttl",
        "write how long a process may keep a copy, `local_ttl = 10`, or a string with units of `d`, `h`, \
         `m`, `s`, `ms`: `local_ttl = \"500ms\"`; with `0` it keeps none",
    ),
    ("local", "write it alone: `key = \"rules:<tenant>\", local`"),
    (
        "hedge",
        "write longer than a load waits for an answer: seconds, `hedge = 2`, or a string with units \
         of `d`, `h`, `m`, `s`, `ms`: `hedge = \"500ms\"`",
    ),
    (
        "early_refresh",
        "write how eagerly entries are refreshed before their ttl ends, above zero: `early_refresh = 1.0`",
    ),
    (
        "stale_while_revalidate",
        "write for how long after the ttl: seconds, `stale_while_revalidate = 30`, or a string with units \
         of `d`, `h`, `m`, `s`, `ms`: `stale_while_revalidate = \"1m30s\"`",
    ),
    (
        "stale_if_error",
        "write for how long after the ttl, `stale_if_error = \"1h\"`, and perhaps for which errors: \
         `stale_if_error(\"1h\", if = |error| !error.is_not_found())`",
    ),
    (
        "stale_if_slow",
        "write after how long: seconds, `stale_if_slow = 1`, or a string with units of `d`, `h`, `m`, `s`, \
         `ms`: `stale_if_slow = \"200ms\"`",
    ),
    (
        "retry_after",
        "write for how long: seconds, `retry_after = 2`, or a string with units of `d`, `h`, `m`, `s`, \
         `ms`: `retry_after = \"500ms\"`",
    ),
    ("detach", "write it alone: `key = \"user:<id>\", detach`"),
    ("handle", "write it alone: `key = \"user:<id>\", handle`"),
    (
        "invalidate_on",
        "write a template, `invalidate_on = \"users\"`, a value of a `CacheTag` type, a closure over the \
         value, which yields tags, or several: \
         `invalidate_on = [\"users\", TenantUsers(tenant), |user| user.teams.iter().map(|team| Team(team.id))]`",
    ),
    (
        "each",
        "name an element, and the parameter that it is in: `key = \"user:<id>\", each(id in ids)`",
    ),
    (
        "by",
        "write a closure over a value, which yields its element: `by = |user| user.id`",
    ),
    SKIP,
    CACHE,
    (
        "condition",
        "write an expression over the parameters: `condition = page < 10`",
    ),
    (
        "unless",
        "write a closure over the value: `unless = |user| user.is_guest()`",
    ),
    ("version", "write an integer: `version = 2`"),
    (
        "codec",
        "write an expression: `codec = Codec::JSON.zstd(3)`",
    ),
    CRATE,
];

const CACHE_INVALIDATE: &[Usage] = &[
    EACH,
    CACHE,
    (
        "condition",
        "write an expression over the parameters: `condition = name.is_some()`",
    ),
    (
        "on",
        "write `on = ok`, to invalidate after success only, or leave it out",
    ),
    (
        "on_err",
        "write a closure over the error, false if nothing can have been committed: \
         `on_err = |error| !error.is_not_found()`",
    ),
    (
        "fence",
        "write longer than the longest write takes: seconds, `fence = 30`, a string with units of \
         `d`, `h`, `m`, `s`, `ms`, `fence = \"1m30s\"`, or a `Duration`",
    ),
    (
        FENCE_REQUIRED,
        "write it alone, beside `fence`: `fence = \"30s\", fence_required`",
    ),
    CRATE,
];

const CACHE_DEFAULTS: &[Usage] = &[CACHE, TTL, SKIP];

const EACH: Usage = (
    "each",
    "name an element, and the list that it is in: `\"user:<id>\", each(id in ids)`",
);

const FENCE_REQUIRED: &str = "fence_required";

const CACHE: Usage = ("cache", "write an expression: `cache = self.cache`");

const TTL: Usage = (
    "ttl",
    "write seconds, `ttl = 60`, a string with units of `d`, `h`, `m`, `s`, `ms`, `ttl = \"1h30m\"`, \
     a `Duration`, or a closure: `ttl = |user| user.lifetime()`",
);

const SKIP: Usage = (
    "skip",
    "write names of parameters, or fields of `self`: `skip(pool, self.limit)`",
);

const CRATE: Usage = (
    "crate",
    "write where `cache_runtime` is: `crate = my_crate::cache_runtime`",
);

/// What other caches call these options.
const ELSEWHERE: &[(&str, &str)] = &[
    ("tag", "invalidate_on"),
    ("tags", "invalidate_on"),
    ("swr", "stale_while_revalidate"),
    ("time", "ttl"),
    ("expire", "ttl"),
];

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

impl TagArgument {
    /// Refuses, with its place, a literal that is not a string.
    fn new(expr: Expr) -> Result<Self, Span> {
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

/// The options that an attribute has, and those that were given so far.
struct KnownOptions {
    usages: &'static [Usage],
    /// Further help for an option that is unknown.
    hint: &'static str,
    seen: Vec<&'static str>,
}

impl KnownOptions {
    fn new(usages: &'static [Usage], hint: &'static str) -> Self {
        Self {
            usages,
            hint,
            seen: Vec::new(),
        }
    }

    fn next(&mut self, input: ParseStream<'_>) -> syn::Result<OptionName> {
        let ident = input.call(Ident::parse_any)?;
        let given = ident.to_string();
        let Some((name, usage)) = self.usages.iter().find(|(name, _)| *name == given) else {
            let known: Vec<_> = self.usages.iter().map(|(name, _)| *name).collect();
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
        if self.seen.contains(name) {
            return Err(error(
                ident.span(),
                format_args!("option `{name}` is given more than once"),
                "keep one of them",
            ));
        }
        self.seen.push(name);
        Ok(OptionName {
            name,
            usage,
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
struct OptionName {
    name: &'static str,
    usage: &'static str,
    span: Span,
}

impl OptionName {
    fn value(&self, input: ParseStream<'_>) -> syn::Result<Expr> {
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

    fn string(&self, input: ParseStream<'_>) -> syn::Result<LitStr> {
        let value = self.value(input)?;
        as_string(&value)
            .ok_or_else(|| self.wrong(value.span(), "must be a string literal", self.usage))
    }

    fn tags(&self, input: ParseStream<'_>) -> syn::Result<Vec<TagArgument>> {
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

    fn skip(&self, input: ParseStream<'_>) -> syn::Result<Vec<Skip>> {
        self.in_parentheses(input, Skip::parse, "takes names of parameters")
    }

    fn each(&self, input: ParseStream<'_>) -> syn::Result<Vec<Each>> {
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

    fn is_ok(&self, input: ParseStream<'_>) -> syn::Result<bool> {
        match ungrouped(self.value(input)?) {
            Expr::Path(path) if path.path.is_ident("ok") => Ok(true),
            other => Err(self.wrong(other.span(), "must be `ok`", self.usage)),
        }
    }

    fn fence(&self, input: ParseStream<'_>) -> syn::Result<FenceOption> {
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

    fn alone(&self, input: ParseStream<'_>) -> syn::Result<Span> {
        if input.peek(Token![=]) {
            return Err(self.wrong(self.span, "takes no value", self.usage));
        }
        Ok(self.span)
    }

    /// A question about the function's value or error.
    fn question(&self, input: ParseStream<'_>, subject: &str) -> syn::Result<Expr> {
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

    fn schema(&self, input: ParseStream<'_>) -> syn::Result<u32> {
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

    fn ttl(&self, input: ParseStream<'_>) -> syn::Result<Ttl> {
        match ungrouped(self.value(input)?) {
            Expr::Closure(closure) if closure.inputs.len() == 1 => Ok(Ttl::OfValue(closure)),
            value if is_number_or_text(&value) => self.fixed(&value).map(Ttl::Fixed),
            value => Ok(Ttl::Computed(value)),
        }
    }

    fn runtime(&self, input: ParseStream<'_>) -> syn::Result<Runtime> {
        match ungrouped(self.value(input)?) {
            Expr::Path(ExprPath {
                path, qself: None, ..
            }) => Ok(Runtime::at(path)),
            other => Err(self.wrong(other.span(), "must be a path", self.usage)),
        }
    }

    fn duration(&self, input: ParseStream<'_>) -> syn::Result<Duration> {
        self.fixed(&self.value(input)?)
    }

    fn beta(&self, input: ParseStream<'_>) -> syn::Result<f64> {
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
    fn stale_if_error(&self, input: ParseStream<'_>) -> syn::Result<StaleIfError> {
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

    fn none_ttl(&self, input: ParseStream<'_>) -> syn::Result<NoneTtl> {
        Ok(NoneTtl {
            span: self.span,
            length: self.fixed(&self.value(input)?)?,
        })
    }

    fn fixed(&self, value: &Expr) -> syn::Result<Duration> {
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
            Some(Duration::ZERO) if self.name == "none_ttl" => Err(self.wrong(
                span,
                "must be longer than zero",
                "leave it out, and `None` is not cached",
            )),
            Some(Duration::ZERO) if self.name == "fence" => Err(self.wrong(
                span,
                "must be longer than zero",
                "leave it out, and there is no fence",
            )),
            Some(Duration::ZERO) if self.name == "hedge" => Err(self.wrong(
                span,
                "must be longer than zero",
                "write longer than a load waits for an answer, or leave it out for the cache's default",
            )),
            Some(Duration::ZERO) if self.name == "local_ttl" => Ok(Duration::ZERO),
            Some(Duration::ZERO) if self.name.starts_with("stale") => Err(self.wrong(
                span,
                "must be longer than zero",
                "leave it out, and nothing old is served for it",
            )),
            Some(Duration::ZERO) if self.name == "retry_after" => Err(self.wrong(
                span,
                "must be longer than zero",
                "leave it out for the cache's default",
            )),
            Some(Duration::ZERO) => Err(self.wrong(
                span,
                "must be longer than zero",
                "leave it out for the cache's default, or remove `#[cached]` to cache nothing",
            )),
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

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    #[track_caller]
    fn errors_of(tokens: TokenStream) -> Vec<String> {
        let mut errors = Errors::default();
        CachedArgs::parse(tokens, &mut errors);
        let errors = errors.finish(()).unwrap_err();
        errors.into_iter().map(|error| error.to_string()).collect()
    }

    #[test]
    fn every_option_is_read() {
        let mut errors = Errors::default();
        let tokens = quote! {
            key = "user:<id>", ttl = "1h30m", none_ttl = 1_5, hedge = "2s",
            invalidate_on = ["a", B(b), |user| [C(user.c)],], skip(self, pool, self.config.0.1), cache = map::<A, B>(x),
        };
        let args = CachedArgs::parse(tokens, &mut errors);
        errors.finish(()).unwrap();
        assert_eq!(args.key.unwrap().value(), "user:<id>");
        assert!(matches!(args.ttl, Some(Ttl::Fixed(ttl)) if ttl == Duration::from_secs(90 * 60)));
        assert_eq!(args.none_ttl.unwrap().length, Duration::from_secs(15));
        assert_eq!(args.hedge, Some(Duration::from_secs(2)));
        assert!(matches!(&args.tags[0], TagArgument::Template(tag) if tag.value() == "a"));
        assert!(matches!(&args.tags[1], TagArgument::Typed(Expr::Call(_))));
        assert!(matches!(&args.tags[2], TagArgument::OfValue(_)));
        assert_eq!(args.tags.len(), 3);
        let skipped = args.skip.iter().map(|skip| match skip {
            Skip::Name(name) => name.to_string(),
            Skip::Field(receiver, path) => format!("{receiver}{path}"),
        });
        assert_eq!(
            skipped.collect::<Vec<_>>(),
            ["self", "pool", "self.config.0.1"]
        );
        assert!(matches!(args.cache, Some(Expr::Call(_))));
    }

    #[test]
    fn options_are_recorded_as_they_are_written() {
        let options = |tokens| {
            let mut errors = Errors::default();
            let options = CachedArgs::parse(tokens, &mut errors).options;
            errors.finish(options).unwrap()
        };
        let value = proc_macro2::Group::new(proc_macro2::Delimiter::None, quote!(map::<A, B>(x)));
        let tokens = quote! {
            key = "user:<id>", ttl = lifetime::<A, B>(id), invalidate_on = ["a", B(b)],
            skip(self, pool), cache = #value, unless = |a, b| a < b, version = 2,
        };
        // The closure has two parameters, so it is an error, and is left out.
        let mut errors = Errors::default();
        let args = CachedArgs::parse(tokens, &mut errors);
        assert!(!errors.is_empty());
        assert_eq!(
            args.options,
            [
                "ttl = lifetime::<A, B>(id)",
                "skip(self, pool)",
                "cache = map::<A, B>(x)",
                "version = 2",
            ]
        );
        assert_eq!(
            options(quote!(key = "a", none_ttl = 5, ttl = Map::<A, B>::TTL,)),
            ["none_ttl = 5", "ttl = Map::<A, B>::TTL"]
        );

        let mut errors = Errors::default();
        let tokens = quote!(
            "a",
            on_err = |error| error.code > 400,
            B::<C, D>(1),
            fence = 2 * LIMIT,
            fence_required
        );
        let args = InvalidateArgs::parse(tokens, &mut errors);
        errors.finish(()).unwrap();
        assert_eq!(
            args.options,
            [
                "on_err = |error| error.code > 400",
                "fence = 2 * LIMIT",
                "fence_required"
            ]
        );
    }

    #[test]
    fn every_option_is_documented() {
        for (options, docs) in [
            (CACHED, include_str!("../docs/cached.md")),
            (
                CACHE_INVALIDATE,
                include_str!("../docs/cache_invalidate.md"),
            ),
            (CACHE_DEFAULTS, include_str!("../docs/cache_defaults.md")),
        ] {
            for (option, _) in options {
                let headings = [format!("\n## `{option}`\n"), format!("\n## `{option} = ")];
                let found = headings.iter().any(|heading| docs.contains(heading));
                assert!(found, "no heading for `{option}`");
            }
        }
    }

    #[test]
    fn the_runtime_has_the_same_grammar_of_durations() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file| std::fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(
            read("src/duration.rs"),
            read("../cache-runtime/src/duration.rs"),
            "a change of one copy belongs into the other"
        );
    }

    #[test]
    fn a_literal_may_come_from_a_macro_variable() {
        let literal = proc_macro2::Group::new(proc_macro2::Delimiter::None, quote!("users"));
        let mut errors = Errors::default();
        let args = CachedArgs::parse(quote!(key = #literal), &mut errors);
        errors.finish(()).unwrap();
        assert_eq!(args.key.unwrap().value(), "users");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let errors = errors_of(quote!(tll = 60, ttl = 0, skip = x, none_ttl, cache = , key = 1));
        let expected = [
            "unknown option `tll`\nhelp: did you mean `ttl`?",
            "`ttl` must be longer than zero",
            "`skip` takes names of parameters",
            "option `none_ttl` needs a value",
            "option `cache` needs a value",
            "`key` must be a string literal",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn one_mistake_is_told_once() {
        for tokens in [
            quote!(),
            quote!("user:<id>"),
            quote!(key "user:<id>"),
            quote!(key = "user:<id>" ttl = 60),
            quote!(key = "user:<id>", ttl = 60s),
            quote!(key = "user:<id>", ttl = 1.5),
            quote!(key = "user:<id>", ttl = -1),
            quote!(key = "user:<id>", ttl = 60u8),
            quote!(key = "user:<id>", ttl = 99999999999999999999),
            quote!(key = "user:<id>", hedge = "0s"),
            quote!(key = "user:<id>", hedge = |user| user.hedge()),
            quote!(key = "user:<id>", detach = true),
            quote!(key = "user:<id>", invalidate_on = || ["users"]),
            quote!(
                key = "user:<id>",
                invalidate_on = ["users", |user, id| [user]]
            ),
            quote!(key = "user:<id>", skip(a.b)),
            quote!(key = "user:<id>", skip(self.b.c())),
            quote!(key = "user:<id>", skip(self.)),
            quote!(key = "user:<id>", key = "user:<id>"),
            quote!(key = "user:<id>", =),
        ] {
            let errors = errors_of(tokens.clone());
            assert_eq!(errors.len(), 1, "{tokens}: {errors:?}");
        }
    }
}
