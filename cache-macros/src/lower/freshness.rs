//! What the options of a cached function say of old values.

use std::time::Duration;

use syn::Expr;

use crate::attr::{CachedArgs, FreshnessArgs, StaleIfError};
use crate::errors::Errors;

/// What the options say of old values.
pub(crate) struct Freshness {
    pub(crate) early: Option<f64>,
    pub(crate) revalidate: Option<Duration>,
    pub(crate) on_error: Option<StaleIfError>,
    pub(crate) slow: Option<Duration>,
    pub(crate) retry_after: Option<Duration>,
}

impl Freshness {
    /// A closure over the error, or the path of a function.
    pub(crate) fn excuses(&self) -> Option<&Expr> {
        self.on_error.as_ref()?.excuses.as_ref()
    }
}

/// `None` if the options say nothing of old values.
pub(super) fn lower(args: &mut CachedArgs, errors: &mut Errors) -> Option<Freshness> {
    let FreshnessArgs {
        early,
        revalidate,
        on_error,
        slow,
        retry_after,
    } = std::mem::take(&mut args.freshness);
    // After another error, the option that is wrong may have been the one that is missed here.
    let is_clear = errors.is_empty();
    if let Some((span, _)) = retry_after
        && early.is_none()
        && revalidate.is_none()
        && on_error.is_none()
        && is_clear
    {
        errors.push(
            span,
            "`retry_after` has no effect: without old values, each call tries again",
            "add `stale_while_revalidate`, `stale_if_error` or `early_refresh`, or leave it out",
        );
    }
    if let Some((span, _)) = slow
        && is_clear
    {
        if on_error.is_none() {
            errors.push(
                span,
                "`stale_if_slow` does not say for how long old values are kept",
                "add `stale_if_error = \"1h\"`: an old value takes the place of an error for as long",
            );
        }
        if args.detach.is_none() {
            errors.push(
                span,
                "`stale_if_slow` without `detach`: the load would end with the caller that does not wait \
                 for it",
                "add `detach`, and the load goes on in a task of its own",
            );
        }
    }
    if let (Some((_, revalidate)), Some(on_error)) = (revalidate, &on_error)
        && on_error.window <= revalidate
        && is_clear
    {
        errors.push(
            on_error.span,
            "`stale_if_error` is no longer than `stale_while_revalidate`, so it has no effect: until \
             that ends, an old value is served whether or not its load fails",
            "make it longer, or leave it out; both are counted from the end of the ttl",
        );
    }
    let is_said = early.is_some() || revalidate.is_some() || on_error.is_some();
    is_said.then_some(Freshness {
        early: early.map(|(_, beta)| beta),
        revalidate: revalidate.map(|(_, window)| window),
        on_error,
        slow: slow.map(|(_, after)| after),
        retry_after: retry_after.map(|(_, pause)| pause),
    })
}
