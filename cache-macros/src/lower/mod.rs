//! Lowering: arguments and function become what is expanded. What does not fit is refused
//! here, and every mistake is collected.

mod batch;
mod borrows;
mod defaults;
mod detach;
mod each;
mod freshness;
mod handle;
mod output;
mod parameters;
mod receiver;
mod template;
#[cfg(test)]
mod tests;
mod transaction;
mod variables;

use std::time::Duration;

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{Expr, ExprClosure, LitStr};

pub(crate) use self::batch::{Argument, ArgumentKind, Batch};
pub(crate) use self::detach::{Copied, Detach};
pub(crate) use self::each::List;
pub(crate) use self::freshness::Freshness;
pub(crate) use self::handle::Handle;
pub(crate) use self::output::Output;
use self::parameters::{Parameters, Place};
pub(crate) use self::receiver::UnnamedField;
pub(crate) use self::template::{Access, LoweredTemplate, Part, Root, lower_parts, parse_template};
use crate::attr::{
    CachedArgs, Defaults, FenceLength, FenceOption, InvalidateArgs, NoneTtl, OnErr, TagArgument,
    Ttl,
};
use crate::errors::Errors;
use crate::function::Function;
use crate::runtime::Runtime;

/// `#[cached]` on a function that it fits.
pub(crate) struct CachedFn {
    pub(crate) runtime: Runtime,
    pub(crate) function: Function,
    pub(crate) output: Output,
    /// Whether the return type shows no lifetime that would keep an error from being shared.
    pub(crate) may_share_errors: bool,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) none_ttl: Option<NoneTtl>,
    pub(crate) local_ttl: Option<Duration>,
    /// Whether values never leave the process.
    pub(crate) is_local: bool,
    pub(crate) hedge: Option<Duration>,
    /// What the options say of old values.
    pub(crate) freshness: Option<Freshness>,
    pub(crate) detach: Option<Detach>,
    pub(crate) handle: Option<Handle>,
    pub(crate) cache: Option<Expr>,
    pub(crate) condition: Option<Expr>,
    pub(crate) unless: Option<Expr>,
    pub(crate) schema: Option<u32>,
    pub(crate) codec: Option<Expr>,
    pub(crate) key: LoweredTemplate,
    pub(crate) tags: Vec<Tag>,
    /// Closures over the value, which tell further tags.
    pub(crate) tags_of_value: Vec<ExprClosure>,
    /// Fields of `self` that the compiler asks about: see `expand::receiver`.
    pub(crate) unnamed_fields: Vec<UnnamedField>,
    /// Arguments that may be a transaction.
    pub(crate) transactions: Vec<Ident>,
    /// Whether the receiver's type matters, and the key does not name it.
    pub(crate) asks_receiver: bool,
    /// What `each` says.
    pub(crate) batch: Option<Batch>,
    /// The other arguments, as text.
    pub(crate) options: Vec<String>,
}

/// `#[cache_invalidate]` on a function that it fits.
pub(crate) struct InvalidateFn {
    pub(crate) runtime: Runtime,
    pub(crate) function: Function,
    pub(crate) output: Output,
    pub(crate) cache: Option<Expr>,
    pub(crate) condition: Option<Expr>,
    pub(crate) on_ok: bool,
    pub(crate) on_err: Option<OnErr>,
    pub(crate) fence: Option<Fence>,
    /// Names that are known before the body, and the lists whose elements make more of them.
    pub(crate) from_arguments: Vec<Tag>,
    pub(crate) from_result: Vec<Tag>,
    /// What `each` names.
    pub(crate) lists: Vec<List>,
    /// Arguments that may be a transaction.
    pub(crate) transactions: Vec<Ident>,
    /// The other arguments, as text.
    pub(crate) options: Vec<String>,
}

/// A fence around the names that are known before the body runs.
pub(crate) struct Fence {
    pub(crate) length: FenceLength,
    /// The place of `fence_required`: with it, the body runs behind a fence only.
    pub(crate) required: Option<Span>,
}

/// A tag; or, in an invalidation, a key.
pub(crate) enum Tag {
    Template(LoweredTemplate),
    Typed(TypedTag),
}

/// A value of a type that implements `CacheTag`.
pub(crate) struct TypedTag {
    pub(crate) expr: Expr,
    /// The user's word for what the function returned, if the expression reads it.
    pub(crate) result: Option<Ident>,
    /// The lists whose elements it names.
    pub(crate) lists: Vec<usize>,
}

/// `errors` has the mistakes in the arguments.
pub(crate) fn cached(
    mut args: CachedArgs,
    mut function: Function,
    mut errors: Errors,
) -> syn::Result<CachedFn> {
    let in_doubt = !errors.is_empty() || args.defaults.in_doubt;
    let argument = batch::argument(&args, &mut function, &mut errors);
    let is_batch = argument.is_some();
    batch::check_by(&args, &mut errors);
    let mut parameters = Parameters::of(&function.sig);
    // The argument that is wrong may be the one that names a parameter.
    parameters.in_doubt = in_doubt;
    parameters.elements_in_doubt = args.each_in_doubt;
    parameters.add_block(args.skip.iter().chain(&args.defaults.skip));
    match &argument {
        Some(argument) => {
            parameters.add_batch(std::mem::take(&mut args.each), &argument.ident, &mut errors);
        }
        None => parameters.elements_in_doubt |= !args.each.is_empty(),
    }
    let output = Output::of(&function.sig, &mut errors);
    output.check_nameable(&mut errors);
    check_alone(&function, &["cached", "cache_invalidate"], &mut errors);

    let key = match &args.key {
        Some(key) => parameters.lower(Place::Key, key, &mut errors),
        None => LoweredTemplate::empty(Span::call_site()),
    };
    let of_value = |tag: &TagArgument| match tag {
        TagArgument::OfValue(closure) => Some(closure.clone()),
        _ => None,
    };
    let tags_of_value: Vec<_> = args.tags.iter().filter_map(of_value).collect();
    let tags = parameters.lower_all(Place::Tag, std::mem::take(&mut args.tags), &mut errors);
    parameters.skip(&args.skip, &mut errors);
    let Defaults {
        cache,
        ttl,
        skip,
        in_doubt,
    } = std::mem::take(&mut args.defaults);
    let skipped = parameters.skip_defaults(&skip);
    parameters.check_complete(&mut errors);
    let list = parameters.take_lists().into_iter().next();
    let batch = argument.zip(list).map(|(argument, list)| {
        batch::lower(&args, argument, list, &key, &function.sig, &mut errors)
    });
    let asks_receiver = parameters.asks_receiver();
    let mut unnamed_fields =
        receiver::unnamed_fields(&function, &key, &args.skip, &skip, &mut errors);
    if in_doubt {
        unnamed_fields.clear();
    }
    let (sig, options) = (&function.sig, &mut args.options);
    defaults::take(&mut args.cache, cache, sig, options, &mut errors);
    defaults::take(&mut args.ttl, ttl, sig, options, &mut errors);
    if !skipped.is_empty() {
        options.push(format!("skip({})", skipped.join(", ")));
    }
    let freshness = freshness::lower(&mut args, &mut errors);
    check_local(&args, is_batch, !tags_of_value.is_empty(), &mut errors);
    let handle = args
        .handle
        .map(|span| handle::lower(span, &function, &output, &mut errors));
    let detach = args.detach.map(|span| {
        let ttl = match &args.ttl {
            Some(Ttl::OfValue(ttl)) => Some(Expr::Closure(ttl.clone())),
            _ => None,
        };
        let mut closures: Vec<Expr> = tags_of_value.iter().cloned().map(Expr::Closure).collect();
        closures.extend(ttl.into_iter().chain(args.unless.clone()));
        let excuses = freshness.as_ref().and_then(Freshness::excuses);
        closures.extend(excuses.cloned());
        detach::lower(span, &mut function, &output, &closures, &mut errors)
    });

    let templates = tags.iter().filter_map(Tag::template).chain([&key]);
    let mut transactions = transaction::candidates(&function.sig, templates);
    if let Some(batch) = &batch {
        transactions.retain(|candidate| *candidate != batch.argument.ident);
    }

    errors.finish(CachedFn {
        runtime: args.runtime,
        may_share_errors: output.may_share_errors(&function.sig.generics),
        output,
        ttl: args.ttl,
        none_ttl: args.none_ttl,
        local_ttl: args.local_ttl,
        is_local: args.local.is_some(),
        hedge: args.hedge,
        freshness,
        detach,
        handle,
        cache: args.cache,
        condition: args.condition,
        unless: args.unless,
        schema: args.schema,
        codec: args.codec,
        key,
        tags,
        tags_of_value,
        unnamed_fields,
        transactions,
        asks_receiver,
        batch,
        options: args.options,
        function,
    })
}

/// Options that `local` leaves nothing to say.
fn check_local(args: &CachedArgs, is_batch: bool, learns_tags: bool, errors: &mut Errors) {
    let Some(local) = args.local else {
        return;
    };
    if args.codec.is_some() {
        errors.push(
            local,
            "`codec` beside `local`, whose values are never written",
            "leave one of them out",
        );
    }
    if args.local_ttl.is_some() {
        errors.push(
            local,
            "`local_ttl` beside `local`: its entries are not copies, and live for their `ttl`",
            "write `ttl` only",
        );
    }
    if is_batch {
        errors.push(
            local,
            "`each` beside `local`",
            "leave one of them out: a function for several keys stores what it loads on the server",
        );
    }
    if learns_tags {
        errors.push(
            local,
            "tags that only the value tells, beside `local`: which servers tell of them is not known \
             before the load",
            "name tags that are known before it, or leave `local` out",
        );
    }
}

/// `errors` has the mistakes in the arguments.
pub(crate) fn cache_invalidate(
    mut args: InvalidateArgs,
    function: Function,
    mut errors: Errors,
) -> syn::Result<InvalidateFn> {
    let output = Output::of(&function.sig, &mut errors);
    check_alone(&function, &["cached"], &mut errors);
    defaults::take(
        &mut args.cache,
        args.defaults.cache,
        &function.sig,
        &mut args.options,
        &mut errors,
    );

    let mut parameters = Parameters::of(&function.sig);
    parameters.elements_in_doubt = args.each_in_doubt;
    parameters.add_lists(args.each, &mut errors);
    let names = parameters.lower_all(Place::Invalidated, args.names, &mut errors);
    let lists = parameters.finish_lists(&names, &mut errors);
    let (from_result, from_arguments): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|name| name.reads_result(&lists));
    let fence = lower_fence(
        args.fence,
        args.fence_required,
        &from_arguments,
        &mut errors,
    );
    if let Some(on_err) = &args.on_err
        && args.on_ok
    {
        errors.push(
            on_err.span,
            "`on_err` beside `on = ok`, which invalidates after no error",
            "keep one of them: `on_err` tells the errors after which something may have been \
             committed",
        );
    }
    if args.on_ok || args.on_err.is_some() || fence.is_some() || !from_result.is_empty() {
        output.check_nameable(&mut errors);
    }

    let tags = from_arguments.iter().chain(&from_result);
    let templates = tags.filter_map(Tag::template);
    let transactions = transaction::candidates(&function.sig, templates);

    errors.finish(InvalidateFn {
        runtime: args.runtime,
        output,
        cache: args.cache,
        condition: args.condition,
        on_ok: args.on_ok,
        on_err: args.on_err,
        fence,
        from_arguments,
        from_result,
        lists,
        transactions,
        options: args.options,
        function,
    })
}

/// The template in `key!("user:<id>")`, whose placeholders name any variables.
pub(crate) fn key(literal: &LitStr) -> syn::Result<LoweredTemplate> {
    let span = literal.span();
    let mut errors = Errors::default();
    let lowered = template::parse_pattern(literal, &mut errors).map(|template| {
        lower_parts(template, span, &mut errors, |placeholder, errors| {
            template::name_of(&placeholder.root, span, errors).map(Root::Value)
        })
    });
    errors.finish(lowered.unwrap_or_else(|| LoweredTemplate::empty(span)))
}

fn lower_fence(
    option: Option<FenceOption>,
    required: Option<Span>,
    from_arguments: &[Tag],
    errors: &mut Errors,
) -> Option<Fence> {
    let Some(option) = option else {
        // After another error, the argument that is wrong may have been the fence.
        if let Some(required) = required
            && errors.is_empty()
        {
            errors.push(
                required,
                "`fence_required` without a `fence`",
                "add `fence = \"30s\"`, longer than the longest write takes",
            );
        }
        return None;
    };
    if from_arguments.is_empty() && errors.is_empty() {
        errors.push(
            option.span,
            "`fence` has nothing to stand around: every name needs the result, which is not there \
             before the body",
            "name a key or a tag by the parameters too, such as one that all of them carry, or \
             leave `fence` out",
        );
    }
    Some(Fence {
        length: option.length,
        required,
    })
}

/// Refuses attributes that contradict this one, or repeat it.
fn check_alone(function: &Function, others: &[&str], errors: &mut Errors) {
    let name = &function.sig.ident;
    for attr in &function.attrs {
        let Some(last) = attr.path().segments.last() else {
            continue;
        };
        let Some(other) = others.iter().find(|other| last.ident == **other) else {
            continue;
        };
        let both = others.len() == 1 || *other == "cache_invalidate";
        if both {
            errors.push(
                attr.path().span(),
                format_args!("`{name}` is both `#[cached]` and `#[cache_invalidate]`"),
                "a hit does not run the body, so there is no change to invalidate after; \
                 write two functions, one that reads and one that changes",
            );
        } else {
            errors.push(
                attr.path().span(),
                format_args!("`{name}` is `#[cached]` more than once"),
                "keep one of them: an entry has one key, and as many tags as you like",
            );
        }
    }
}

impl Tag {
    fn template(&self) -> Option<&LoweredTemplate> {
        match self {
            Tag::Template(template) => Some(template),
            Tag::Typed(_) => None,
        }
    }

    /// Whether it reads what the function returned, itself or by an element of that.
    fn reads_result(&self, lists: &[List]) -> bool {
        let itself = match self {
            Tag::Template(template) => template.reads_result(),
            Tag::Typed(tag) => tag.result.is_some(),
        };
        itself || self.lists().iter().any(|list| lists[*list].reads_result())
    }

    /// The lists whose elements it names, in their order.
    pub(crate) fn lists(&self) -> Vec<usize> {
        let mut lists = match self {
            Tag::Template(template) => template.lists().collect(),
            Tag::Typed(tag) => tag.lists.clone(),
        };
        lists.sort_unstable();
        lists.dedup();
        lists
    }
}
