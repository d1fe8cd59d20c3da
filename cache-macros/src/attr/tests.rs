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
        (CACHED, include_str!("../../docs/cached.md")),
        (
            CACHE_INVALIDATE,
            include_str!("../../docs/cache_invalidate.md"),
        ),
        (CACHE_DEFAULTS, include_str!("../../docs/cache_defaults.md")),
    ] {
        for option in options.iter().map(|usage| usage.name) {
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
