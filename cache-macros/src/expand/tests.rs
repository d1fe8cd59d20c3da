use proc_macro2::TokenStream;
use quote::quote;

fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    crate::keep_item(crate::try_cached, args, item)
}

fn cache_invalidate(args: TokenStream, item: TokenStream) -> TokenStream {
    crate::keep_item(crate::try_cache_invalidate, args, item)
}

#[track_caller]
fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(tokens).unwrap())
}

#[track_caller]
fn assert_expansion(expanded: TokenStream, expected: TokenStream) {
    assert_eq!(pretty(expanded), pretty(expected));
}

/// The question whether the receiver is a transaction.
fn given_self() -> TokenStream {
    quote! {{
        use ::cache_runtime::__private::argument_transaction::*;
        static ASKED: ::cache_runtime::__private::AskedTypes =
            ::cache_runtime::__private::AskedTypes::new();
        ASKED.given(
            &(&self,),
            || [(&&&&::cache_runtime::__private::Argument::of(&self)).described()],
        )
    }}
}

/// The statement that finds out how values are compared.
fn compared() -> TokenStream {
    quote! {
        let call = {
            let values = ::cache_runtime::__private::CachedCall::values(&call);
            let compare = {
                use ::cache_runtime::__private::comparison::*;
                (&&&&values).comparison()
            };
            ::cache_runtime::__private::CachedCall::compared(call, compare)
        };
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "an expansion is shown whole")]
fn a_cached_function_is_one_call() {
    let args = quote! {
        key = "user:<self.tenant>:<id>", ttl = 60, none_ttl = "250ms", hedge = 2,
        invalidate_on = ["users", "type:<T>"], skip(T), cache = CACHE
    };
    let function = quote! {
        /// Documentation.
        #[inline]
        pub async fn get<T: Get>(&self, id: u64) -> Result<T, Error> {
            #![allow(unused)]
            let row = self.row(id).await?;
            Ok(row.into())
        }
    };
    let shape = shape(&quote!(Result<T, Error>), &quote!(error_sharing_shape));
    let compared = compared();
    let given = given_self();
    assert_expansion(
        cached(args, function),
        quote! {
            /// Documentation.
            #[inline]
            pub async fn get<T: Get>(&self, id: u64) -> Result<T, Error> {
                #![allow(unused)]
                ::cache_runtime::__private::returns_none(
                    &::cache_runtime::__private::ReturnType::<Result<T, Error>>::NEW,
                );
                #[allow(clippy::used_underscore_binding)]
                let call = ::cache_runtime::__private::CachedCall::start_given(
                    {
                        static SITE: ::cache_runtime::__private::CallSite =
                            ::cache_runtime::__private::CallSite::new(
                                ::cache_runtime::registry::Function::new(
                                    ::core::concat!(::core::module_path!(), "::", "get"),
                                    ::core::file!(),
                                    ::core::line!(),
                                    ::cache_runtime::registry::Role::caches(
                                        ::cache_runtime::registry::Template::new(
                                            "user:<self.tenant>:<id>",
                                            &["_", "u64"],
                                        ),
                                        "_",
                                        &[
                                            ::cache_runtime::registry::Template::new(
                                                "users",
                                                &[],
                                            ),
                                            ::cache_runtime::registry::Template::new(
                                                "type:<T>",
                                                &["type"],
                                            ),
                                        ],
                                    ),
                                )
                                .cache("CACHE")
                                .options(&[
                                    "ttl = 60",
                                    "none_ttl = \"250ms\"",
                                    "hedge = 2",
                                    "skip(T)",
                                    "cache = CACHE",
                                ]),
                            )
                            .ttl(::core::time::Duration::from_millis(60000u64))
                            .none_ttl(::core::time::Duration::from_millis(250u64))
                            .hedge(::core::time::Duration::from_millis(2000u64));
                        ::cache_runtime::__private::register! {
                            ::cache_runtime::__private::Registered::Cached(&SITE)
                        }
                        &SITE
                    },
                    ::cache_runtime::__private::as_cache(&(CACHE)),
                    #shape,
                    ::cache_runtime::__private::Name::new(
                        &["user:", ":", ""],
                        (
                            ::cache_runtime::__private::part(&self.tenant),
                            (::cache_runtime::__private::part(&id), ()),
                        ),
                    ),
                    (
                        ::cache_runtime::__private::Name::new(&["users"], ()),
                        (
                            ::cache_runtime::__private::Name::new(
                                &["type:", ""],
                                (
                                    ::cache_runtime::__private::part(
                                        &::cache_runtime::__private::TypeName::<T>::NEW
                                    ),
                                    (),
                                ),
                            ),
                            (),
                        ),
                    ),
                    ::cache_runtime::__private::Receiver::of::<Self>(),
                    #given,
                );
                let call = match ::cache_runtime::__private::CachedCall::answer(call) {
                    ::core::result::Result::Ok(answer) => {
                        return ::cache_runtime::__private::Answer::into_return(answer);
                    }
                    ::core::result::Result::Err(call) => call,
                };
                #compared
                ::cache_runtime::__private::CachedCall::resolve(call, async move {
                    #[allow(
                        unreachable_code,
                        clippy::diverging_sub_expression,
                        clippy::empty_loop,
                        clippy::let_unit_value,
                        clippy::needless_return,
                    )]
                    if false {
                        let output: Result<T, Error> = loop {};
                        return output;
                    }
                    {
                        let row = self.row(id).await?;
                        Ok(row.into())
                    }
                })
                .await
            }
        },
    );
}

#[test]
fn arguments_in_names_of_the_result_are_rendered_before_the_body() {
    let args = quote!("user:<id>", "tenant:<tenant>:user:<result.id>");
    let function = quote! {
        async fn rename(tenant: Tenant, id: u64) -> Result<User, impl Display> {}
    };
    let refused = pretty(cache_invalidate(args.clone(), function));
    assert!(refused.contains("compile_error!"), "{refused}");
    assert!(refused.contains("async fn rename"), "{refused}");

    let function = quote!(
        async fn rename(tenant: ids::Tenant, id: u64) -> User {}
    );
    assert_expansion(
        cache_invalidate(args, function),
        quote! {
            async fn rename(tenant: ids::Tenant, id: u64) -> User {
                const _: () = {
                    static SITE: ::cache_runtime::registry::Function =
                        ::cache_runtime::registry::Function::new(
                            ::core::concat!(::core::module_path!(), "::", "rename"),
                            ::core::file!(),
                            ::core::line!(),
                            ::cache_runtime::registry::Role::invalidates(&[
                                ::cache_runtime::registry::Template::new(
                                    "user:<id>",
                                    &["u64"],
                                ),
                                ::cache_runtime::registry::Template::new(
                                    "tenant:<tenant>:user:<result.id>",
                                    &["Tenant", "_"],
                                )
                                .variables(&[
                                    ::cache_runtime::registry::NamedType::of::<ids::Tenant>("Tenant"),
                                    ::cache_runtime::registry::NamedType::written("User"),
                                ]),
                            ]),
                        );
                    ::cache_runtime::__private::register! {
                        ::cache_runtime::__private::Registered::Function(&SITE)
                    }
                };
                #[allow(clippy::used_underscore_binding)]
                let call = ::cache_runtime::__private::InvalidateCall::start(
                    &::cache_runtime::__private::default_cache(),
                    (
                        ::cache_runtime::__private::Name::new(
                            &["user:", ""],
                            (::cache_runtime::__private::part(&id), ()),
                        ),
                        (),
                    ),
                )
                .with_result(
                    {
                        let output = ::cache_runtime::__private::ReturnType::<User>::NEW;
                        {
                            use ::cache_runtime::__private::return_shape::*;
                            (&&&&output).shape()
                        }
                    },
                    {
                        let part0 = ::cache_runtime::__private::RenderedPart::new(
                            ::cache_runtime::__private::part(&tenant),
                        );
                        move |result, names| {
                            names.push(::cache_runtime::__private::Name::new(
                                &["tenant:", ":user:", ""],
                                (&part0, (::cache_runtime::__private::part(&result.id), ())),
                            ));
                        }
                    },
                );
                call.run(async move {
                    #[allow(
                        unreachable_code,
                        clippy::diverging_sub_expression,
                        clippy::empty_loop,
                        clippy::let_unit_value,
                        clippy::needless_return,
                    )]
                    if false {
                        let output: User = loop {};
                        return output;
                    }
                    {}
                })
                .await
            }
        },
    );
}

#[test]
fn a_receiver_that_nothing_names_is_asked_for_its_type() {
    let asks = |args, function| {
        let expanded = pretty(cached(args, function));
        expanded.contains("Receiver::of::<Self>()")
    };
    let method = || {
        quote!(
            async fn f(&self) -> u64 {
                0
            }
        )
    };
    assert!(asks(quote!(key = "a:<self.tenant>"), method()));
    assert!(!asks(quote!(key = "a:<Self>"), method()));
    assert!(!asks(quote!(key = "a", skip(Self)), method()));
    assert!(!asks(
        quote!(key = "a"),
        quote!(
            async fn f() -> u64 {
                0
            }
        )
    ));
}

#[test]
fn arguments_that_may_be_transactions_are_asked_about() {
    let expanded = |function| {
        let expanded = pretty(cache_invalidate(quote!("<id>:<team.id>"), function));
        expanded.split_whitespace().collect::<String>()
    };
    let asked = expanded(quote! {
        async fn f(&self, id: Id, team: &Team, tx: &mut Tx, name: &str, #[cfg(a)] b: B) {}
    });
    assert!(asked.contains(".given({staticSITE"), "{asked}");
    assert!(asked.contains("&(&self,&team,&tx),"), "{asked}");
    let unasked = expanded(quote!(
        async fn f(id: Id, team: Team, other: Option<u64>) {}
    ));
    assert!(unasked.contains("&(&team,&other),"), "{unasked}");
    let unasked = expanded(quote!(
        async fn f(id: Id, team: u64) {}
    ));
    assert!(!unasked.contains("given"), "{unasked}");
}

#[test]
fn a_fence_is_told_the_result_of_the_body() {
    let expanded = |args| {
        let function = quote! {
            async fn rename(id: u64, limit: Duration) -> Result<(), Error> {}
        };
        pretty(cache_invalidate(args, function))
    };
    let lines = |code: &str| code.split_whitespace().collect::<String>();

    let fixed = lines(&expanded(quote!("<id>", fence = "1m30s")));
    assert!(fixed.contains(".with_result("), "{fixed}");
    let call = ".fenced(::core::time::Duration::from_millis(90000u64));call.run(";
    assert!(fixed.contains(call), "{fixed}");
    assert!(!fixed.contains(".required("), "{fixed}");
    assert!(
        fixed.contains(r#".options(&["fence=\"1m30s\""])"#),
        "{fixed}"
    );

    let args = quote!("<id>", on = ok, fence_required, fence = limit * 2);
    let computed = lines(&expanded(args));
    let call = "|_,_|{},).on_ok().fenced(::cache_runtime::__private::duration(limit*2))\
         .required(::cache_runtime::RequiresFence::from_cache_error);call.run(";
    assert!(computed.contains(call), "{computed}");
    let options = r#".options(&["on=ok","fence_required","fence=limit*2"])"#;
    assert!(computed.contains(options), "{computed}");
}

#[test]
fn closures_over_the_value_decide_what_is_kept() {
    let args = quote! {
        key = "token:<id>", ttl = |token| token.ttl(), unless = Token::is_empty,
        condition = id > 0, codec = codec_of(id)
    };
    let function = quote! {
        async fn token(id: u64) -> Token {
            Token::new(id)
        }
    };
    let options = quote! {
        "ttl = |token| token.ttl()",
        "unless = Token::is_empty",
        "condition = id > 0",
        "codec = codec_of(id)"
    };
    let shape = shape(&quote!(Token), &quote!(error_sharing_shape));
    let compared = compared();
    let site = site("token", "token:<id>", &quote!(Token), &options);
    assert_expansion(
        cached(args, function),
        quote! {
            async fn token(id: u64) -> Token {
                #[allow(clippy::used_underscore_binding)]
                let call = if id > 0 {
                    ::cache_runtime::__private::CachedCall::start(
                        #site,
                        &::cache_runtime::__private::default_cache(),
                        #shape,
                        ::cache_runtime::__private::Name::new(
                            &["token:", ""],
                            (::cache_runtime::__private::part(&id), ()),
                        ),
                        (),
                        ::cache_runtime::__private::Receiver::UNASKED,
                    )
                    .codec(|| codec_of(id))
                } else {
                    ::cache_runtime::__private::CachedCall::bypass(#shape)
                };
                let call = match ::cache_runtime::__private::CachedCall::answer(call) {
                    ::core::result::Result::Ok(answer) => {
                        return ::cache_runtime::__private::Answer::into_return(answer);
                    }
                    ::core::result::Result::Err(call) => call,
                };
                #compared
                ::cache_runtime::__private::CachedCall::resolve_keeping(
                    call,
                    |value| if ::cache_runtime::__private::ask(value, Token::is_empty) {
                        ::cache_runtime::__private::Keep::Not
                    } else {
                        ::cache_runtime::__private::Keep::For(
                            ::cache_runtime::__private::ask(value, |token| token.ttl()),
                        )
                    },
                    async move {
                        #[allow(
                            unreachable_code,
                            clippy::diverging_sub_expression,
                            clippy::empty_loop,
                            clippy::let_unit_value,
                            clippy::needless_return,
                        )]
                        if false {
                            let output: Token = loop {};
                            return output;
                        }
                        { Token::new(id) }
                    },
                )
                .await
            }
        },
    );
}

#[test]
fn closures_over_the_value_tell_tags() {
    let function = quote! {
        async fn page(nr: u64) -> Page {
            load(nr).await
        }
    };
    let tags = quote!(["pages", |page| page.tags(), |page| [Owner(page.owner)]]);
    let args = quote!(key = "page:<nr>", invalidate_on = #tags);
    let expanded = pretty(cached(args, function.clone()));
    let rest = quote! {
        fn rest() {
            ::cache_runtime::__private::CachedCall::resolve_telling(
                call,
                |_| ::cache_runtime::__private::Keep::Default,
                |value| {
                    let mut tags = ::std::vec::Vec::new();
                    ::cache_runtime::__private::tell(&mut tags, value, |page| page.tags());
                    ::cache_runtime::__private::tell(&mut tags, value, |page| [Owner(page.owner)]);
                    tags
                },
            )
        }
    };
    let rest = pretty(rest);
    let mut lines = rest.lines().skip(1).take(rest.lines().count() - 3);
    assert!(
        lines.all(|line| expanded.contains(line.trim())),
        "{expanded}"
    );
    let known = "::cache_runtime::__private::AndOfValue((";
    assert!(expanded.contains(known), "{expanded}");
    assert!(expanded.contains(".tags_of_value()"), "{expanded}");

    let args = quote!(
        key = "page:<nr>",
        detach,
        invalidate_on = |page| page.tags()
    );
    let expanded = pretty(cached(args, function));
    assert!(
        expanded.contains("CachedCall::resolve_detached_telling("),
        "{expanded}"
    );
}

#[test]
fn a_detached_load_owns_copies_of_what_the_function_borrows() {
    let function = quote! {
        async fn get(&self, id: u64, mut name: &str) -> User {
            name = self::trim(name);
            self.load(id, name).await
        }
    };
    let expanded = pretty(cached(quote!(key = "<id>:<name>", detach), function));
    let signature = "async fn get(&self, id: u64, name: &str) -> User {";
    assert!(expanded.starts_with(signature), "{expanded}");
    let (_, load) = expanded.split_once("resolve_detached(").unwrap();
    let expected = quote! {
        call,
        |_| ::cache_runtime::__private::Keep::Default,
        move || {
            let this = {
                #[allow(clippy::used_underscore_binding)]
                let argument = ::cache_runtime::__private::Argument::of(self);
                {
                    use ::cache_runtime::__private::argument_copy::*;
                    (&&argument).copied()
                }
            };
            let name = {
                #[allow(clippy::used_underscore_binding)]
                let argument = ::cache_runtime::__private::Argument::of(name);
                {
                    use ::cache_runtime::__private::argument_copy::*;
                    (&&argument).copied()
                }
            };
            async move {
                #[allow(clippy::used_underscore_binding)]
                ::cache_runtime::__private::owned_by_task(&id);
                #[allow(unused_variables)]
                let this = this.get();
                #[allow(unused_variables)]
                let mut name = name.get();
                async move {
                    #[allow(
                        unreachable_code,
                        clippy::diverging_sub_expression,
                        clippy::empty_loop,
                        clippy::let_unit_value,
                        clippy::needless_return,
                    )]
                    if false {
                        let output: User = loop {};
                        return output;
                    }
                    {
                        name = self::trim(name);
                        this.load(id, name).await
                    }
                }.await
            }
        },
    };
    let text = |code: &str| code.split_whitespace().collect::<String>();
    assert_eq!(text(load), text(&expected.to_string()) + ").await}");
}

#[test]
fn a_returned_future_contains_the_one_of_the_body() {
    let function = quote! {
        fn get(&self, id: u64) -> impl Future<Output = User> + Send {
            self.load(id)
        }
    };
    let options = quote!("unless = User::is_guest");
    let shape = shape(&quote!(User), &quote!(error_sharing_shape));
    let compared = compared();
    let given = given_self();
    let site = site("get", "<id>", &quote!(User), &options);
    assert_expansion(
        cached(quote!(key = "<id>", unless = User::is_guest), function),
        quote! {
            fn get(&self, id: u64) -> impl Future<Output = User> + Send {
                #[allow(clippy::used_underscore_binding)]
                let call = ::cache_runtime::__private::CachedCall::defer_given(
                    #site,
                    &::cache_runtime::__private::default_cache(),
                    #shape,
                    ::cache_runtime::__private::Name::new(
                        &["", ""],
                        (::cache_runtime::__private::part(&id), ()),
                    ),
                    (),
                    ::cache_runtime::__private::Receiver::of::<Self>(),
                    #given,
                )
                .in_default_cache();
                #compared
                let load = ::cache_runtime::__private::future_of(move || { self.load(id) });
                async move {
                    ::cache_runtime::__private::CachedCall::resolve_keeping(
                        call,
                        move |value| if ::cache_runtime::__private::ask(value, User::is_guest) {
                            ::cache_runtime::__private::Keep::Not
                        } else {
                            ::cache_runtime::__private::Keep::Default
                        },
                        load,
                    )
                    .await
                }
            }
        },
    );
}

#[test]
fn a_boxed_future_is_found_by_trait_and_the_runtime_by_path() {
    let function = quote! {
        fn remove(id: u64) -> BoxFuture<'static, u64> {
            Box::pin(async move { id })
        }
    };
    assert_expansion(
        cache_invalidate(quote!("<id>", on = ok, crate = framework::cache), function),
        quote! {
            fn remove(id: u64) -> BoxFuture<'static, u64> {
                const _: () = {
                    static SITE: framework::cache::registry::Function =
                        framework::cache::registry::Function::new(
                            ::core::concat!(::core::module_path!(), "::", "remove"),
                            ::core::file!(),
                            ::core::line!(),
                            framework::cache::registry::Role::invalidates(&[
                                framework::cache::registry::Template::new("<id>", &["u64"])
                            ]),
                        )
                        .options(&["on = ok", "crate = framework::cache"]);
                    framework::cache::__private::register! {
                        framework::cache::__private::Registered::Function(&SITE)
                    }
                };
                let future = {
                    let returned =
                        framework::cache::__private::Returned::<BoxFuture<'static, u64>>::NEW;
                    {
                        use framework::cache::__private::returned_future::*;
                        (&&returned).future()
                    }
                };
                #[allow(clippy::used_underscore_binding)]
                let call = framework::cache::__private::InvalidateCall::start(
                    &framework::cache::__private::default_cache(),
                    (
                        framework::cache::__private::Name::new(
                            &["", ""],
                            (framework::cache::__private::part(&id), ()),
                        ),
                        (),
                    ),
                )
                .in_default_cache()
                .with_result(
                    {
                        let output = future.output();
                        {
                            use framework::cache::__private::return_shape::*;
                            (&&&&output).shape()
                        }
                    },
                    |_, _| {},
                )
                .on_ok();
                future.boxed(::std::boxed::Box::pin(call.run(future.load(
                    framework::cache::__private::future_of(
                        move || -> BoxFuture<'static, u64> { Box::pin(async move { id }) },
                    ),
                ))))
            }
        },
    );
}

/// The shape of a return type, with the check that its value can be cached.
fn shape(output: &TokenStream, answers: &TokenStream) -> TokenStream {
    quote! {
        {
            let shape = {
                let output = ::cache_runtime::__private::ReturnType::<#output>::NEW;
                {
                    use ::cache_runtime::__private::return_shape::*;
                    (&&&&output).shape()
                }
            };
            {
                use ::cache_runtime::__private::#answers::*;
                (&&&&shape).cacheable()
            }
        }
    }
}

/// What a function knows at compile time.
fn site(name: &str, template: &str, value: &TokenStream, options: &TokenStream) -> TokenStream {
    let text = value.to_string();
    quote! {
        {
            static SITE: ::cache_runtime::__private::CallSite =
                ::cache_runtime::__private::CallSite::new(
                    ::cache_runtime::registry::Function::new(
                        ::core::concat!(::core::module_path!(), "::", #name),
                        ::core::file!(),
                        ::core::line!(),
                        ::cache_runtime::registry::Role::caches(
                            ::cache_runtime::registry::Template::new(#template, &["u64"]),
                            #text,
                            &[],
                        ),
                    )
                    .options(&[#options]),
                );
            ::cache_runtime::__private::register! {
                ::cache_runtime::__private::Registered::Cached(&SITE)
            }
            &SITE
        }
    }
}

#[test]
fn impl_trait_is_inferred_in_the_body() {
    let function = quote!(
        async fn f() -> Result<impl Display, Vec<impl Copy>> {}
    );
    let expanded = pretty(cache_invalidate(quote!("x"), function));
    assert!(
        expanded.contains("let output: Result<_, Vec<_>> = loop {}"),
        "{expanded}"
    );
}

#[test]
fn a_refused_item_is_kept_as_it_is() {
    let items = [
        quote! {
            /// Documentation.
            #[inline]
            pub(crate) async fn find<T: From<u8>>(&self, mut id: u64) -> Result<T, Error> {
                #![allow(unused)]
                self.row(id).await?.into()
            }
        },
        quote!(
            async fn find(&self, id: u64) -> Option<User>;
        ),
        quote!(
            fn find(id: u64) -> impl Future<Output = u64> + Send;
        ),
        quote!(
            struct User(u64);
        ),
        quote!(
            async fn find( -> ) { let x = ; }
        ),
    ];
    let of_cached = [
        quote!(),
        quote!(key),
        quote!(key = ),
        quote!(key = "user:<id>", tt),
    ];
    let of_cache_invalidate = [quote!(), quote!("user:<"), quote!("user:<id>", on = )];
    for item in items {
        let cached = of_cached.clone().map(|args| cached(args, item.clone()));
        let cache_invalidate = of_cache_invalidate
            .clone()
            .map(|args| cache_invalidate(args, item.clone()));
        for expanded in cached.iter().chain(&cache_invalidate) {
            let expanded = expanded.to_string();
            assert!(expanded.contains("compile_error !"), "{expanded}");
            assert!(expanded.ends_with(&item.to_string()), "{expanded}");
        }
    }
}

#[test]
fn the_compiler_is_asked_whether_a_field_could_be_in_the_key() {
    let function = quote! {
        async fn url(&self) -> String { self.config.url.clone() }
    };
    let expanded = pretty(cached(quote!(key = "url"), function.clone()));
    let expanded = expanded.split_whitespace().collect::<String>();
    for expected in [
        "help:add`<self.config.url>`tothekey",
        "implNeedNotBeInKeyfor::cache_runtime::__private::OtherField{}",
        "let_:&dynNeedNotBeInKey=&(&::cache_runtime::__private::ReceiverField::of(\
         &rawconstself.config.url,)).answer().inside_of(\
         (&::cache_runtime::__private::ReceiverField::of(&rawconstself.config,)).answer(),);",
    ] {
        let expected = expected.replace(' ', "");
        assert!(expanded.contains(&expected), "{expanded}");
    }
    let skipped = pretty(cached(quote!(key = "url", skip(self)), function));
    assert!(!skipped.contains("ReceiverField"), "{skipped}");
}

#[test]
fn a_handle_stands_beside_the_function() {
    let args = quote!(key = "page:<user.id>:<number>", handle, skip(U));
    let function = quote! {
        #[cfg(feature = "pages")]
        #[inline]
        pub(crate) async fn page<U: Id>(user @ User { .. }: User<U>, mut number: u8) -> Option<Page>
        where
            U: Copy,
        {
            number += 1;
            user.page(number).await
        }
    };
    let expanded = cached(args, function);
    let file: syn::File = syn::parse2(expanded).unwrap();
    let [_, handle, functions] = &file.items[..] else {
        eprintln!("{}", prettyplease::unparse(&file));
        panic!("three items");
    };
    assert_expansion(
        quote!(#handle #functions),
        quote! {
            #[cfg(feature = "pages")]
            #[doc = "The entries of [`page`](fn@page), by hand: each function takes the arguments of a call."]
            #[allow(dead_code, non_camel_case_types)]
            pub(crate) enum page {}
            #[cfg(feature = "pages")]
            #[allow(dead_code, unused_mut, unused_variables, clippy::all, clippy::pedantic)]
            impl page {
                /// The key of the entry.
                pub(crate) fn key<U: Id>(
                    user @ User { .. }: User<U>,
                    mut number: u8,
                ) -> ::cache_runtime::Key
                where
                    U: Copy,
                {
                    ::cache_runtime::__private::key(
                        ::cache_runtime::__private::Name::new(
                            &["page:", ":", ""],
                            (
                                ::cache_runtime::__private::part(&user.id),
                                (::cache_runtime::__private::part(&number), ()),
                            ),
                        ),
                    )
                }
                /// The entry, as `CachedEntry::of` makes it of the call.
                pub(crate) fn entry<U: Id>(
                    argument0: User<U>,
                    number: u8,
                ) -> ::core::result::Result<::cache_runtime::CachedEntry, ::cache_runtime::Error>
                where
                    U: Copy,
                {
                    ::cache_runtime::CachedEntry::of(page::<U>(argument0, number))
                }
                /// Runs the body whatever is cached, stores what it yields, and returns it, as `refresh`.
                pub(crate) async fn refresh<U: Id>(argument0: User<U>, number: u8) -> Option<Page>
                where
                    U: Copy,
                {
                    ::cache_runtime::refresh(page::<U>(argument0, number)).await
                }
                /// Stores a value as the function would, as `prime`.
                pub(crate) async fn prime<U: Id, __Value: ::cache_runtime::CacheValue>(
                    argument0: User<U>,
                    number: u8,
                    value: __Value,
                ) -> ::core::result::Result<(), ::cache_runtime::Error>
                where
                    U: Copy,
                    Option<Page>: ::cache_runtime::Yields<__Value>,
                {
                    ::cache_runtime::prime(page::<U>(argument0, number), value).await
                }
                /// Invalidates the key, as `CachedEntry::invalidate`.
                pub(crate) async fn invalidate<U: Id>(
                    argument0: User<U>,
                    number: u8,
                ) -> ::core::result::Result<(), ::cache_runtime::Error>
                where
                    U: Copy,
                {
                    let entry = ::cache_runtime::CachedEntry::of(page::<U>(argument0, number))?;
                    entry.invalidate().await
                }
            }
        },
    );
}
