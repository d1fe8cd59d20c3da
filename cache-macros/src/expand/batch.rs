//! `#[cached]` with `each`: the body as the load of a call for several keys, in a loop. It runs for the
//! elements that are not cached, and once more where what others load does not come.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned;

use super::keep::Keep;
use super::{body, cache, computed_ttl, freshness, name, receiver, shape, site, transaction};
use crate::attr::Ttl;
use crate::describe;
use crate::function::Function;
use crate::lower::{
    Argument, ArgumentKind, Batch, CachedFn, LoweredTemplate, Output, Part, Root, Tag,
};
use crate::runtime::Runtime;

pub(crate) fn batch(cached: CachedFn, batch: Batch) -> TokenStream {
    let site = site::site(&cached, &describe::batch(&cached, &batch));
    let CachedFn {
        runtime,
        function,
        output,
        may_share_errors,
        ttl,
        freshness,
        cache,
        condition,
        unless,
        codec,
        key,
        tags,
        tags_of_value,
        unnamed_fields,
        transactions,
        asks_receiver,
        ..
    } = cached;
    let codec = codec.map(|codec| quote_spanned!(codec.span()=> .codec(|| #codec)));
    let (computed_ttl, ttl_of_value) = match ttl {
        Some(Ttl::Computed(ttl)) => (Some(computed_ttl(&runtime, &ttl)), None),
        Some(Ttl::OfValue(ttl)) => (None, Some(ttl)),
        Some(Ttl::Fixed(_)) | None => (None, None),
    };
    let (wanted, only_if) = condition.map(only_if).unzip();
    let given = transaction::given(&runtime, &transactions);
    let given = given.map(|given| quote_spanned!(Span::mixed_site()=> .given(#given)));
    let blame = output.ty().span().resolved_at(Span::mixed_site());
    let at_type = runtime.private(blame);
    let rows = if batch.by.is_none() {
        quote_spanned!(blame=> #at_type::Pairs)
    } else {
        quote_spanned!(blame=> #at_type::Bare)
    };
    let one = quote_spanned!(blame=> #at_type::one(&ready));
    let one = shape::cacheable(&runtime, blame, &one, may_share_errors);
    let names = Names::new(&runtime, &batch, &key, &tags);
    let rendered = &names.rendered;
    let (of_element, of_row) = (names.of_element(), names.of_row());
    let elements = elements(&batch.argument);
    let cache = self::cache(&runtime, cache);
    let receiver = receiver::of_call(&runtime, asks_receiver);
    let compared = shape::compared(&runtime, &format_ident!("call", span = blame), "BatchCall");
    let load = load(&runtime, &function, &output, &batch.argument);
    let excuses = freshness.map(|it| freshness::excuses(&runtime, false, &it));
    let keep = Keep {
        excuses,
        ..Keep::new(
            &runtime,
            (false, false),
            unless,
            ttl_of_value,
            &tags_of_value,
        )
    };
    let learning = keep.tags.is_some().then(|| quote!(.learning_tags()));
    let loading = loading(&runtime, blame, keep, &of_row, &load);
    let unnamed_fields = receiver::check(&runtime, &unnamed_fields);
    let call = quote_spanned! {blame=>
        #(#rendered)*
        #wanted
        let elements = #elements;
        let ready = {
            let asked = #at_type::Asked::of(batch, #rows, &elements);
            {
                use #at_type::batch_shape::*;
                (&&asked).ready()
            }
        };
        let one = #one;
        #[allow(clippy::used_underscore_binding)]
        let call = #at_type::BatchCall::start(
            #site,
            #cache,
            ready,
            one,
            #receiver,
        )
        #computed_ttl
        #codec
        #only_if
        #given
        #learning
        .with(elements, #of_element);
        #compared
        let mut call = call;
        while let ::core::option::Option::Some(missing) = call.next().await {
            if let ::core::option::Option::Some(returned) =
                call.#loading.await
            {
                return returned;
            }
        }
        call.finish()
    };
    let statements = in_its_future(&runtime, &output, &call);
    body::function(&function, &quote!(#unnamed_fields #statements))
}

/// The call of the method that runs the body.
fn loading(
    runtime: &Runtime,
    blame: Span,
    keep: Keep,
    of_row: &TokenStream,
    load: &TokenStream,
) -> TokenStream {
    let Keep {
        lifetime,
        tags,
        excuses,
    } = keep;
    let keep = lifetime.unwrap_or_else(|| Keep::default(runtime));
    match (tags, excuses) {
        (None, None) => quote_spanned!(blame=> load(#keep, #of_row, #load)),
        (Some(tags), None) => quote_spanned!(blame=> load_telling(#keep, #tags, #of_row, #load)),
        (None, Some(excuses)) => {
            quote_spanned!(blame=> load_fresh(#keep, #excuses, #of_row, #load))
        }
        (Some(tags), Some(excuses)) => {
            quote_spanned!(blame=> load_fresh_telling(#keep, #tags, #excuses, #of_row, #load))
        }
    }
}

/// The statement that asks the condition, and what says its answer to the call. It is asked before the
/// argument with the elements is moved, which it may name.
fn only_if(condition: Expr) -> (TokenStream, TokenStream) {
    let span = condition.span().resolved_at(Span::mixed_site());
    (
        quote_spanned!(span=> let is_wanted: bool = #condition;),
        quote_spanned!(span=> .only_if(is_wanted)),
    )
}

/// The statements of the call, in the way that the function gives its value.
fn in_its_future(runtime: &Runtime, output: &Output, call: &TokenStream) -> TokenStream {
    let blame = output.ty().span().resolved_at(Span::mixed_site());
    let future = body::returned(runtime, output);
    let batch = shape::shape(runtime, output);
    let call = match output {
        Output::Value(_) => call.clone(),
        Output::Future(_) => quote_spanned!(blame=> async move { #call }),
        Output::Boxed(_) => {
            quote_spanned!(blame=> future.boxed(::std::boxed::Box::pin(async move { #call })))
        }
    };
    quote_spanned! {Span::mixed_site()=>
        #future
        let batch = #batch;
        #call
    }
}

/// The elements of the argument, in a `Vec`.
fn elements(argument: &Argument) -> TokenStream {
    let Argument { ident, kind, .. } = argument;
    let span = argument.span().resolved_at(Span::mixed_site());
    let owned = match kind {
        ArgumentKind::Slice | ArgumentKind::Borrowed(_) => Some(quote_spanned!(span=> .cloned())),
        ArgumentKind::Owned(_) | ArgumentKind::Iterated => None,
    };
    quote_spanned! {span=>
        ::core::iter::IntoIterator::into_iter(#ident)
            #owned
            .collect::<::std::vec::Vec<_>>()
    }
}

/// The user's statements, with the missing elements in the place of the argument. What they take of the
/// other arguments, they take once: the loop would take it again.
fn load(
    runtime: &Runtime,
    function: &Function,
    output: &Output,
    argument: &Argument,
) -> TokenStream {
    let Argument {
        mutability,
        ident,
        kind,
    } = argument;
    let span = argument.span().resolved_at(Span::mixed_site());
    let missing = match kind {
        ArgumentKind::Slice => quote_spanned!(span=> let #mutability #ident = missing.as_slice();),
        ArgumentKind::Borrowed(ty) => quote_spanned! {span=>
            let missing: #ty = ::core::iter::Iterator::collect(missing.into_iter());
            let #mutability #ident = &missing;
        },
        ArgumentKind::Owned(ty) => quote_spanned! {span=>
            let #mutability #ident: #ty = ::core::iter::Iterator::collect(missing.into_iter());
        },
        ArgumentKind::Iterated => quote_spanned!(span=> let #mutability #ident = missing;),
    };
    let statements = body::borrowing(runtime, function, output);
    quote_spanned! {Span::mixed_site()=>
        async {
            #[allow(unused_variables)]
            #missing
            #statements
        }
    }
}

/// The names of one element. What they have in common is rendered once, before the loop.
struct Names<'b> {
    runtime: &'b Runtime,
    batch: &'b Batch,
    rendered: Vec<TokenStream>,
    key: TokenStream,
    /// Statements that collect the tags.
    tags: Vec<TokenStream>,
}

impl<'b> Names<'b> {
    fn new(runtime: &'b Runtime, batch: &'b Batch, key: &LoweredTemplate, tags: &[Tag]) -> Self {
        let mut rendered = Vec::new();
        let key = with_rendered(runtime, key, &mut rendered);
        let tags = tags
            .iter()
            .map(|tag| tag_of(runtime, tag, &mut rendered))
            .collect();
        Self {
            runtime,
            batch,
            rendered,
            key,
            tags,
        }
    }

    fn of_element(&self) -> TokenStream {
        let element = &self.batch.list.element;
        let Self { key, tags, .. } = self;
        quote_spanned! {Span::mixed_site()=>
            |element, names| {
                #[allow(unused_variables)]
                let #element = element;
                names.push(#key);
                #(#tags)*
            }
        }
    }

    fn of_row(&self) -> TokenStream {
        let element = &self.batch.list.element;
        let key = &self.key;
        let id = match &self.batch.by {
            None => quote_spanned!(Span::mixed_site()=> let element = &row.0;),
            Some(by) => {
                let span = by.span().resolved_at(Span::mixed_site());
                let private = self.runtime.private(span);
                quote_spanned!(span=> let element = &#private::ask(row, #by);)
            }
        };
        quote_spanned! {Span::mixed_site()=>
            |row, names| {
                #id
                #[allow(unused_variables)]
                let #element = element;
                names.push(#key);
            }
        }
    }
}

/// The name of a template, with each part that is no element in a variable of its own.
fn with_rendered(
    runtime: &Runtime,
    template: &LoweredTemplate,
    rendered: &mut Vec<TokenStream>,
) -> TokenStream {
    let span = template.span;
    let private = runtime.private(Span::mixed_site());
    let parts = template.parts.iter().map(|part: &Part| {
        let value = name::part(runtime, part, span);
        match part.root {
            Root::Element(..) | Root::Type(_) | Root::Result => value,
            Root::Value(_) => {
                let local = format_ident!("part{}", rendered.len(), span = Span::mixed_site());
                rendered.push(quote_spanned! {Span::mixed_site()=>
                    let #local = #private::RenderedPart::new(#value);
                });
                quote_spanned!(Span::mixed_site()=> &#local)
            }
        }
    });
    let parts: Vec<_> = parts.collect();
    name::name(runtime, span, &template.literals, &parts)
}

/// The statement that collects a tag.
fn tag_of(runtime: &Runtime, tag: &Tag, rendered: &mut Vec<TokenStream>) -> TokenStream {
    let of_element = !tag.lists().is_empty();
    match tag {
        Tag::Template(template) if of_element => {
            let name = with_rendered(runtime, template, rendered);
            quote_spanned!(Span::mixed_site()=> names.push(#name);)
        }
        Tag::Template(template) => {
            let name = name::template(runtime, template);
            let private = runtime.private(Span::mixed_site());
            let local = format_ident!("tag{}", rendered.len(), span = Span::mixed_site());
            rendered.push(quote_spanned!(Span::mixed_site()=> let #local = #private::key(#name);));
            quote_spanned!(Span::mixed_site()=> names.push_key(&#local);)
        }
        Tag::Typed(tag) => {
            let name = name::typed_tag(runtime, tag);
            quote_spanned!(Span::mixed_site()=> names.push_tag(#name);)
        }
    }
}
