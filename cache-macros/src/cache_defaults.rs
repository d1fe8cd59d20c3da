//! `#[cache_defaults]`: what the attributes of a block leave out.
//!
//! Each attribute in the block gets the defaults as one further argument, as they are written. It
//! decides itself what it takes from them: see `lower::defaults`.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;

use crate::attr::{DEFAULTS, Defaults, IN_DOUBT};
use crate::errors::Errors;
use crate::field_path::is_punct;

pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    check_item(&item, &mut errors);
    if errors.is_empty() {
        Defaults::parse(args.clone(), &mut errors);
    }
    let mut defaults = args;
    if !errors.is_empty() {
        // What an attribute misses may be in what is wrong here, so it does not report it.
        defaults = TokenTree::from(Ident::new(IN_DOUBT, Span::call_site())).into();
    }
    let mut annotations = Annotations {
        defaults,
        is_any: false,
    };
    let item = annotations.of_item(item);
    if !annotations.is_any && errors.is_empty() {
        errors.push(
            Span::call_site(),
            "`#[cache_defaults]` finds no `#[cached]` and no `#[cache_invalidate]` here",
            "write them by these names: one that is imported under another name is not seen",
        );
    }
    let errors = errors.finish(()).err();
    let errors = errors.map(|errors| errors.to_compile_error());
    quote!(#errors #item)
}

/// Refuses what is neither an `impl` block nor a trait, and a second `#[cache_defaults]`.
fn check_item(item: &TokenStream, errors: &mut Errors) {
    let mut is_block = false;
    for token in item.clone() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                let repeated = last_name(group.stream()).filter(|name| name == "cache_defaults");
                if let Some(repeated) = repeated {
                    errors.push(
                        repeated.span(),
                        "`#[cache_defaults]` is given more than once",
                        "write all options in one of them",
                    );
                }
            }
            TokenTree::Ident(word) if word == "impl" || word == "trait" => {
                is_block = true;
                break;
            }
            TokenTree::Ident(word) if word != "pub" && word != "unsafe" => break,
            _ => {}
        }
    }
    if !is_block {
        errors.push(
            Span::call_site(),
            "only an `impl` block or a trait can have this attribute",
            "put the options on the function itself: `#[cached(key = \"…\", cache = CACHE)]`",
        );
    }
}

/// The attributes in a block.
struct Annotations {
    /// What each of them gets.
    defaults: TokenStream,
    is_any: bool,
}

impl Annotations {
    /// The item, with the attributes of its functions given the defaults.
    fn of_item(&mut self, item: TokenStream) -> TokenStream {
        let with_defaults = |token| match token {
            TokenTree::Group(block) if block.delimiter() == Delimiter::Brace => {
                let functions = self.of_functions(block.stream());
                with_stream(&block, functions).into()
            }
            other => other,
        };
        item.into_iter().map(with_defaults).collect()
    }

    fn of_functions(&mut self, functions: TokenStream) -> TokenStream {
        let mut before = None;
        let mut written = TokenStream::new();
        for token in functions {
            let token = match token {
                TokenTree::Group(attribute)
                    if attribute.delimiter() == Delimiter::Bracket
                        && is_punct(before.as_ref(), '#') =>
                {
                    let arguments = self.of_attribute(attribute.stream());
                    with_stream(&attribute, arguments).into()
                }
                // What a macro's variable, such as `$method:item`, stands for.
                TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                    with_stream(&group, self.of_functions(group.stream())).into()
                }
                other => other,
            };
            before = Some(token.clone());
            written.extend([token]);
        }
        written
    }

    /// `cached(…)`, `cache_runtime::cached(…)`, or `cfg_attr(…, cached(…))`.
    fn of_attribute(&mut self, attribute: TokenStream) -> TokenStream {
        let mut name = None;
        let mut written = TokenStream::new();
        for token in attribute {
            let token = match token {
                TokenTree::Group(arguments) if arguments.delimiter() == Delimiter::Parenthesis => {
                    let inside = arguments.stream();
                    let inside = match name.take().as_deref() {
                        Some("cached" | "cache_invalidate") => self.of_arguments(inside),
                        Some("cfg_attr") => self.of_attribute(inside),
                        _ => inside,
                    };
                    with_stream(&arguments, inside).into()
                }
                // What a macro's variable, `$attribute:meta`, stands for.
                TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                    with_stream(&group, self.of_attribute(group.stream())).into()
                }
                other => {
                    name = match &other {
                        TokenTree::Ident(ident) => Some(ident.to_string()),
                        _ => None,
                    };
                    other
                }
            };
            written.extend([token]);
        }
        written
    }

    fn of_arguments(&mut self, arguments: TokenStream) -> TokenStream {
        self.is_any = true;
        let last = arguments.clone().into_iter().last();
        let comma = (last.is_some() && !is_punct(last.as_ref(), ',')).then(|| quote!(,));
        let name = Ident::new(DEFAULTS, Span::call_site());
        let defaults = &self.defaults;
        quote!(#arguments #comma #name(#defaults))
    }
}

/// The last name in the path of an attribute.
fn last_name(attribute: TokenStream) -> Option<Ident> {
    let mut last = None;
    for token in attribute {
        match token {
            TokenTree::Ident(name) => last = Some(name),
            TokenTree::Group(_) => break,
            _ => {}
        }
    }
    last
}

fn with_stream(group: &Group, stream: TokenStream) -> Group {
    let mut written = Group::new(group.delimiter(), stream);
    written.set_span(group.span());
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_expansion(args: TokenStream, item: TokenStream, expected: &TokenStream) {
        assert_eq!(expand(args, item).to_string(), expected.to_string());
    }

    #[test]
    fn each_attribute_in_the_block_gets_the_defaults() {
        assert_expansion(
            quote!(cache = self.cache, skip(trace)),
            quote! {
                #[cached(above)]
                unsafe impl<T> Find for Users<{ 1 }> {
                    #[doc = "a"]
                    #[cached(key = "a",)]
                    #[other(cached(b))]
                    async fn a(&self) { #[cached(c)] fn c() {} }
                    #[cache_runtime::cache_invalidate("a")]
                    #[cfg_attr(any(), cached(key = "b"), inline)]
                    async fn b(&self) {}
                    #[cached]
                    fn d() {}
                }
            },
            &quote! {
                #[cached(above)]
                unsafe impl<T> Find for Users<{ 1 }> {
                    #[doc = "a"]
                    #[cached(key = "a", __cache_defaults(cache = self.cache, skip(trace)))]
                    #[other(cached(b))]
                    async fn a(&self) { #[cached(c)] fn c() {} }
                    #[cache_runtime::cache_invalidate("a", __cache_defaults(cache = self.cache, skip(trace)))]
                    #[cfg_attr(
                        any(),
                        cached(key = "b", __cache_defaults(cache = self.cache, skip(trace))),
                        inline
                    )]
                    async fn b(&self) {}
                    #[cached]
                    fn d() {}
                }
            },
        );
    }

    #[test]
    fn a_variable_of_a_macro_is_looked_into() {
        let variable = |tokens| Group::new(Delimiter::None, tokens);
        let attribute = variable(quote!(cached(key = "a")));
        let method = variable(quote!(
            #[cached(key = "b")]
            async fn b(&self) {}
        ));
        let attribute_with = variable(quote!(cached(key = "a", __cache_defaults(ttl = 5))));
        let method_with = variable(quote! {
            #[cached(key = "b", __cache_defaults(ttl = 5))]
            async fn b(&self) {}
        });
        assert_expansion(
            quote!(ttl = 5),
            quote!(impl Users { #[#attribute] async fn a(&self) {} #method }),
            &quote!(impl Users { #[#attribute_with] async fn a(&self) {} #method_with }),
        );
    }

    #[test]
    fn what_is_wrong_is_told_once_and_the_item_stays() {
        let block = quote!(
            impl Users {
                #[cached(key = "a")]
                async fn a() {}
            }
        );
        let empty = quote!(
            impl Users {
                async fn a() {}
            }
        );
        let twice = quote!(#[cache_defaults(ttl = 1)] #block);
        let function = quote!(
            async fn a() {}
        );
        for (args, item, error) in [
            (quote!(), block.clone(), "has no option"),
            (quote!(tll = 5), block.clone(), "did you mean `ttl`?"),
            (quote!(ttl = 0), block.clone(), "longer than zero"),
            (quote!(key = "a"), block, "unknown option `key`"),
            (quote!(ttl = 5), empty, "finds no `#[cached]`"),
            (quote!(ttl = 5), twice, "more than once"),
            (quote!(ttl = 5), function, "only an `impl` block"),
        ] {
            let expanded = expand(args, item).to_string();
            assert_eq!(expanded.matches("compile_error").count(), 1, "{expanded}");
            assert!(expanded.contains(error), "{expanded}");
            assert!(expanded.contains("async fn a ()"), "{expanded}");
        }
    }
}
