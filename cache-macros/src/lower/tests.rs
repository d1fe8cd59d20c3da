use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;

use super::*;
use crate::attr;

fn cached(args: TokenStream, item: TokenStream) -> syn::Result<CachedFn> {
    let function = Function::parse_item(item)?;
    let mut errors = Errors::default();
    let args = CachedArgs::parse(args, &mut errors);
    super::cached(args, function, errors)
}

fn cache_invalidate(args: TokenStream, item: TokenStream) -> syn::Result<InvalidateFn> {
    let function = Function::parse_item(item)?;
    let mut errors = Errors::default();
    let args = InvalidateArgs::parse(args, &mut errors);
    super::cache_invalidate(args, function, errors)
}

fn key(tokens: TokenStream) -> syn::Result<LoweredTemplate> {
    let (literal, _) = attr::parse_key.parse2(tokens)?;
    super::key(&literal)
}

fn errors_in<T>(lowered: syn::Result<T>) -> Vec<String> {
    let errors = lowered.err().into_iter().flatten();
    errors.map(|error| error.to_string()).collect()
}

#[track_caller]
fn assert_errors<T>(lowered: syn::Result<T>, expected: &[&str]) {
    let errors = errors_in(lowered);
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_function_that_fits_is_taken_apart() {
    let args = quote!(
        key = "a:<id>:<self.x.0>:<N>",
        invalidate_on = "b:<T>",
        skip(T)
    );
    let function = quote! {
        /// Documentation.
        pub async fn f<'a, T, const N: usize>(&self, mut id: &'a str) -> T { id }
    };
    let cached = cached(args, function).unwrap();
    assert_eq!(cached.key.literals, ["a:", ":", ":", ""]);
    assert!(matches!(&cached.key.parts[0].root, Root::Value(id) if id == "id"));
    assert_eq!(cached.key.parts[1].accesses.len(), 2);
    assert!(matches!(&cached.key.parts[2].root, Root::Value(n) if n == "N"));
    let Tag::Template(tag) = &cached.tags[0] else {
        panic!("a template");
    };
    assert!(matches!(&tag.parts[0].root, Root::Type(ty) if ty == "T"));
    assert_eq!(cached.function.attrs.len(), 1);
}

#[test]
fn every_parameter_is_in_the_key_or_skipped() {
    let function = quote! {
        async fn f<T, const N: usize>(&self, a: A, (b, C { c, d: [e, ..] }): B, f @ _: F) {}
    };
    assert_errors(
        cached(quote!(key = "x"), function.clone()),
        &[
            "parameter `a`",
            "parameter `b`",
            "parameter `c`",
            "parameter `e`",
            "parameter `f`",
            "type parameter `T`",
            "const parameter `N`",
        ],
    );
    let args = quote!(key = "<a>:<b>:<c>:<N>", skip(e, f, T));
    assert!(cached(args, function).is_ok());
}

#[test]
fn a_misspelt_name_is_one_mistake() {
    for (args, error) in [
        (quote!(key = "<tenent>:<id>"), "did you mean `tenant`?"),
        (quote!(key = "{tenant}:<id>"), "did you mean `<tenant>`?"),
        (
            quote!(key = "<id>", skip(tennant)),
            "did you mean `tenant`?",
        ),
        (
            quote!(key = "<id>:<x>"),
            "the parameters are `tenant`, `id`",
        ),
        (quote!(key = "<id>:<self>"), "a receiver is a parameter"),
        (quote!(key = "<id>", skp(tenant)), "did you mean `skip`?"),
        (quote!(key = "<id", skip(id)), "is not closed"),
        (quote!(key = "<id>:<tenant.type>"), "is written `r#type`"),
    ] {
        let function = quote!(
            async fn f(tenant: u64, id: u64) {}
        );
        assert_errors(cached(args, function), &[error]);
    }
}

#[test]
fn only_an_async_function_with_a_body_fits() {
    for (item, error) in [
        (
            quote!(
                fn f() {}
            ),
            "`f` is not an `async fn`",
        ),
        (
            quote!(
                const fn f() {}
            ),
            "`f` is a `const fn`",
        ),
        (
            quote!(
                fn f() -> (u8, u8) {}
            ),
            "`f` is not an `async fn`",
        ),
        (
            quote!(
                fn f() -> impl TryFuture<Ok = u8> {}
            ),
            "does not say which value",
        ),
        (
            quote!(
                fn f() -> Pin<Box<impl Future<Output = u8>>> {}
            ),
            "a boxed `impl Future`",
        ),
        (
            quote!(
                fn f() -> impl Future<Output = impl Copy> {}
            ),
            "a value of type `impl Trait`",
        ),
        (
            quote!(
                async fn f();
            ),
            "`f` has no body",
        ),
        (
            quote!(
                struct F;
            ),
            "only a function",
        ),
        (
            quote!(
                mod f {}
            ),
            "only a function",
        ),
        (
            quote!(
                async unsafe extern "C" fn f(...) {}
            ),
            "any number of arguments",
        ),
        (
            quote!(
                async fn f() -> Option<impl Copy> {}
            ),
            "`impl Trait`",
        ),
        (
            quote!(
                async fn f(_: u8) {}
            ),
            "parameter `_`",
        ),
    ] {
        assert_errors(cached(quote!(key = "x"), item), &[error]);
    }
}

#[test]
fn only_an_invalidation_names_the_result() {
    let function = quote!(
        async fn f(id: u64) -> Result<User, E> {}
    );
    let args = quote!("a:<id>", "b:<result.id>:<id>");
    let invalidate = cache_invalidate(args, function.clone()).unwrap();
    assert_eq!(invalidate.from_arguments.len(), 1);
    assert_eq!(invalidate.from_result.len(), 1);

    let args = quote!(key = "<id>", invalidate_on = "<result.id>");
    assert_errors(
        cached(args, function.clone()),
        &["not there before the load"],
    );
    assert_errors(
        cache_invalidate(quote!("<reslt>"), function),
        &["`result`?"],
    );

    let function = quote!(
        async fn f(result: u64) -> impl Copy {}
    );
    let invalidate = cache_invalidate(quote!("<result>"), function).unwrap();
    assert!(invalidate.from_result.is_empty(), "a parameter comes first");

    let function = quote!(
        async fn f() -> impl Copy {}
    );
    assert_errors(
        cache_invalidate(quote!("<result>"), function),
        &["`impl Trait`"],
    );
}

#[test]
fn a_typed_tag_reads_arguments_or_the_result() {
    let function = quote!(
        async fn f(id: u64, team: u64) -> User {}
    );
    let args = quote!(
        Tag(id),
        Tag(result.team),
        Tag {
            team: f!(result.id)
        }
    );
    let invalidate = cache_invalidate(args, function.clone()).unwrap();
    assert_eq!(invalidate.from_arguments.len(), 1);
    assert_eq!(invalidate.from_result.len(), 2);
    for mixed in [quote!(Tag(result.id, team)), quote!(f!(result.id, [team]))] {
        let refused = cache_invalidate(mixed, function.clone());
        assert_errors(refused, &["the tag names `team`, which is gone"]);
    }

    let args = quote!(key = "<id>", invalidate_on = Tag(team));
    assert_errors(cached(args, function.clone()), &["in a tag, but not in"]);
    let args = quote!(key = "<id>:<team>", invalidate_on = [Tag(result)]);
    assert_errors(cached(args, function), &["not there before the load"]);

    let function = quote!(
        async fn f(result: u64) -> impl Copy {}
    );
    let invalidate = cache_invalidate(quote!(Tag(result)), function).unwrap();
    assert!(invalidate.from_result.is_empty(), "a parameter comes first");
}

#[test]
fn an_invalidation_without_a_name_is_refused() {
    let function = quote!(
        async fn f() {}
    );
    for (args, error) in [
        (quote!(), "names nothing"),
        (quote!(cache = x), "names nothing"),
        (quote!(key = "x"), "unknown option `key`"),
        (quote!(5), "is a string literal"),
    ] {
        assert_errors(cache_invalidate(args, function.clone()), &[error]);
    }
}

#[test]
fn a_fence_needs_a_name_made_of_arguments() {
    let function = quote!(
        async fn f(id: u64) -> Result<User, E> {}
    );
    for (args, error) in [
        (quote!("<result.id>", fence = 30), "nothing to stand around"),
        (quote!(Tag(result), fence = 30), "nothing to stand around"),
        (quote!("<id>", fence_required), "without a `fence`"),
        (quote!("<id>", fence = "soon"), "must be a duration"),
        (
            quote!("<id>", fence = "soon", fence_required),
            "must be a duration",
        ),
        (quote!("<id>", fence = 0), "must be longer than zero"),
        (quote!("<id>", fence = -1), "must be a duration"),
        (
            quote!("<id>", fence = 30s),
            "write a string: `fence = \"30s\"`",
        ),
        (quote!("<id>", fence), "option `fence` needs a value"),
        (quote!("<id>", fence = 1, fence = 2), "more than once"),
        (
            quote!("<id>", fence = 1, fence_required = true),
            "takes no value",
        ),
        (
            quote!("<id>", fence = 1, fence_requird),
            "did you mean `fence_required`?",
        ),
        (quote!("<id>", fense = 1), "did you mean `fence`?"),
        (quote!(fence = 1), "names nothing"),
        (quote!("<idd>", fence = 1), "did you mean `id`?"),
    ] {
        assert_errors(cache_invalidate(args, function.clone()), &[error]);
    }

    let args = quote!("<id>", "<result.id>", fence = 30, fence_required,);
    let fence = cache_invalidate(args, function).unwrap().fence.unwrap();
    assert!(matches!(fence.length, FenceLength::Fixed(length) if length.as_secs() == 30));
    assert!(fence.required.is_some());

    let function = quote!(
        async fn f(id: u64) -> impl Copy {}
    );
    let args = quote!("<id>", fence = 30);
    assert_errors(cache_invalidate(args, function), &["`impl Trait`"]);
}

#[test]
fn a_template_in_key_names_any_variable() {
    assert_eq!(key(quote!("a:<x.y()>:<self.z>")).unwrap().parts.len(), 2);
    assert_errors(key(quote!()), &["`key!` takes one string literal"]);
    assert_errors(key(quote!("a:<type>")), &["`r#type`"]);
}

#[test]
fn an_error_that_may_borrow_is_not_shared() {
    let may_share = |function| {
        let args = quote!(key = "x", skip(E, T, text));
        let cached = cached(args, function).map(|cached| cached.may_share_errors);
        cached.unwrap_or_else(|errors| panic!("{errors}"))
    };
    let returning = |output: TokenStream, bounds: TokenStream| {
        may_share(quote! {
            async fn f<'a, E, T>(text: &'a str) -> #output where #bounds {}
        })
    };
    for output in [
        quote!(u64),
        quote!(Result<u64, Error>),
        quote!(Result<T, Error>),
        quote!(sqlx::Result<T>),
        quote!(Result<Option<Arc<T>>, Self::Error>),
        quote!(Result<u64, &'static str>),
        quote!(Result<u64, fn(&str) -> &str>),
        quote!(Result<u64, Box<dyn Fn(&str) -> u64 + Send>>),
        quote!(Result<u64, Arc<dyn for<'b> Parse<'b>>>),
    ] {
        assert!(returning(output.clone(), quote!()), "{output}");
    }
    for output in [
        quote!(Result<u64, &str>),
        quote!(Result<u64, &'a str>),
        quote!(Result<u64, Error<'_>>),
        quote!(Result<u64, Error<'a>>),
        quote!(Results<'a, u64>),
        quote!(Result<u64, Box<dyn Error + 'a>>),
        quote!(Result<u64, E>),
        quote!(Result<u64, Arc<E>>),
        quote!(Result<u64, E::Error>),
    ] {
        assert!(!returning(output.clone(), quote!()), "{output}");
    }
    assert!(returning(
        quote!(Result<u64, E>),
        quote!(E: Clone + 'static)
    ));
    assert!(!returning(quote!(Result<u64, E>), quote!(E: Clone + 'a)));

    let boxed = |output: TokenStream| {
        may_share(quote! {
            fn f<'life0, 'async_trait, E, T>(&'life0 self, text: String) -> #output {}
        })
    };
    for output in [
        quote!(Pin<Box<dyn Future<Output = Result<u64, Error>> + Send + 'async_trait>>),
        quote!(BoxFuture<'life0, Result<u64, Error>>),
        quote!(Result<'life0, u64>),
    ] {
        assert!(boxed(output.clone()), "{output}");
    }
    for output in [
        quote!(Pin<Box<dyn Future<Output = Result<u64, &'life0 str>> + Send + 'async_trait>>),
        quote!(BoxFuture<'life0, Result<u64, E>>),
    ] {
        assert!(!boxed(output.clone()), "{output}");
    }
}

#[test]
fn the_body_of_a_detached_load_has_another_name_for_its_receiver_only() {
    let function = quote! {
        async fn f(&self) -> u64 {
            use self::rows::{self, Row};
            struct Inner(pub(self) u64);
            impl Inner {
                fn get(&self) -> u64 { self.0 }
            }
            macro_rules! read { ($self:expr) => { $self.id } }
            println!("{}", self.id);
            let next = { let row = &self.row; self::next(row) };
            "{self}";
            read!(self) + self.id + next
        }
    };
    let cached = cached(quote!(key = "x", detach), function).unwrap();
    let statements = quote! {
        use self::rows::{self, Row};
        struct Inner(pub(self) u64);
        impl Inner {
            fn get(&self) -> u64 { self.0 }
        }
        macro_rules! read { ($self:expr) => { $self.id } }
        println!("{}", this.id);
        let next = { let row = &this.row; self::next(row) };
        "{self}";
        read!(this) + this.id + next
    };
    assert_eq!(
        cached.function.statements.to_string(),
        statements.to_string()
    );
}

/// The fields that the compiler is asked about, with how many places around each are asked about too.
#[track_caller]
fn asked(args: TokenStream, body: TokenStream) -> Vec<String> {
    let function = quote! { async fn f(&self, id: u64) { #body } };
    let cached = cached(quote!(#args, skip(id)), function).unwrap_or_else(|e| panic!("{e}"));
    let fields = cached.unnamed_fields.iter();
    fields
        .map(|field| format!("self{} {}", field.path, field.outer.len()))
        .collect()
}

#[test]
fn each_place_that_leads_to_a_field_is_asked_about_once() {
    let body = quote! {
        let all = self.a.clone() + self.b.c.d + self.b.c.e.await;
        println!("{}", self.0.1);
        self.pool().fetch::<u8>(|x| x + self.a, (self.f)(1), self.g.map::<u8>());
        self.h = 5;
        self.h == self.i[0].j && self.k..self.l => 1
    };
    let expected = [
        "self.a 0",
        "self.b 0",
        "self.b.c 1",
        "self.b.c.d 2",
        "self.b.c.e 2",
        "self.0 0",
        "self.0.1 1",
        "self.f 0",
        "self.g 0",
        "self.h 0",
        "self.i 0",
        "self.k 0",
        "self.l 0",
    ];
    assert_eq!(asked(quote!(key = "x"), body), expected);
}

#[test]
fn a_field_in_the_key_is_not_asked_about() {
    let body = quote!(self.a.b.c + self.a.d + self.e);
    for (args, expected) in [
        (quote!(key = "<self>"), &[][..]),
        (quote!(key = "<self.a>"), &["self.e 0"]),
        (quote!(key = "<self.a.b>"), &["self.a.d 0", "self.e 0"]),
        (quote!(key = "<self.a.b.c.f>"), &["self.a.d 0", "self.e 0"]),
        (
            quote!(key = "<self.a().f()>"),
            &["self.a.b 0", "self.a.b.c 1", "self.a.d 0", "self.e 0"],
        ),
        (
            quote!(key = "<self.e.f()>:<self.a.to_vec()>"),
            &["self.a.b 0", "self.a.b.c 1", "self.a.d 0"],
        ),
    ] {
        assert_eq!(asked(args.clone(), body.clone()), expected, "{args}");
    }
}

#[test]
fn what_is_skipped_is_not_asked_about() {
    let function = quote! {
        async fn f(&self) { self.a.b.c + self.a.d }
    };
    for (args, expected) in [
        (quote!(skip(self)), &[][..]),
        (quote!(skip(self.a)), &[]),
        (quote!(skip(self.a.b)), &[".a", ".a.d"]),
        (quote!(skip(self.a.b, self.a.d)), &[]),
        (
            quote!(__cache_defaults(skip(self.a.b, self.x, y))),
            &[".a", ".a.d"],
        ),
        (quote!(__cache_defaults(in_doubt)), &[]),
    ] {
        let cached = cached(quote!(key = "x", #args), function.clone()).unwrap();
        let fields = cached.unnamed_fields.iter();
        let asked: Vec<_> = fields.map(|field| field.path.to_string()).collect();
        assert_eq!(asked, expected, "{args}");
    }
    for (skip, error) in [
        (quote!(self.pool), "which the body of `f` does not read"),
        (quote!(self.a.x), "did you mean `self.a.d`?"),
        (quote!(self.a.b.c.d), "did you mean `self.a.b.c`?"),
    ] {
        assert_errors(
            cached(quote!(key = "x", skip(#skip)), function.clone()),
            &[error],
        );
    }
}

#[test]
fn what_may_not_exist_is_not_asked_about() {
    let body = quote! {
        fn inner(&self) { self.a }
        macro_rules! read { ($self:ident) => { $self.a } }
        quote!(self.a);
        #[cfg(x)]
        let a = S { s: 1 }.t::<A, B>(self.a) + self.a;
        #[allow(y)] self.b;
        #[cfg(x)] #[allow(y)] { self.a }
        self.c;
        #[cfg(x)] if self.a { self.a } else { self.a }
        match self.d { #[cfg(x)] K { k } => self.a, #[cfg(x)] 2 => { self.a } _ => self.e }
        self::f.a;
        #![cfg(x)]
    };
    let expected = ["self.b 0", "self.c 0", "self.d 0", "self.e 0"];
    assert_eq!(asked(quote!(key = "x"), body), expected);
}

#[test]
fn a_function_takes_the_defaults_that_fit_it() {
    let defaults = quote!(__cache_defaults(cache = self.cache, ttl = 60, skip(b, c)));
    let function = quote! {
        async fn f(&self, a: u64, b: u64) {}
    };
    let options = |args| {
        let cached = cached(args, function.clone()).unwrap_or_else(|e| panic!("{e}"));
        assert!(cached.cache.is_some());
        cached.options
    };
    assert_eq!(
        options(quote!(key = "<a>", #defaults)),
        ["cache = self.cache", "ttl = 60", "skip(b)"]
    );
    assert_eq!(
        options(quote!(key = "<b>", skip(a), ttl = 5, cache = OTHER, #defaults)),
        ["skip(a)", "ttl = 5", "cache = OTHER"]
    );
    let invalidate = cache_invalidate(quote!("<a>", #defaults), function).unwrap();
    assert_eq!(invalidate.options, ["cache = self.cache"]);

    let function = quote! {
        async fn f(b: u64) {}
    };
    let no_receiver = "`f` has no receiver, which the `cache = self.cache`";
    assert_errors(
        cached(quote!(key = "x", #defaults), function.clone()),
        &[no_receiver],
    );
    assert_errors(
        cache_invalidate(quote!("x", #defaults), function),
        &[no_receiver],
    );
}
