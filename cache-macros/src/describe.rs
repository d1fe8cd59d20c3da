//! What an expansion tells the registry: a function's names, their types, and its options.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Expr, FnArg, Generics, LitStr, Pat, Signature, Type};

use crate::lower::{CachedFn, InvalidateFn, LoweredTemplate, Part, Root, Tag};
use crate::runtime::Runtime;
use crate::source;
use crate::type_text::{plain, type_of_tag, value_of};

/// A cached function.
pub(crate) fn cached(cached: &CachedFn) -> TokenStream {
    let names = Names::new(&cached.runtime, &cached.function.sig);
    let key = names.template(&cached.key);
    let tags = cached.tags.iter().map(|tag| names.tag(tag));
    let value = &names.value;
    let role = quote!(caches(#key, #value, &[#(#tags),*]));
    function(&names, &role, cached.cache.as_ref(), &cached.options)
}

/// A function that invalidates.
pub(crate) fn invalidate(invalidate: &InvalidateFn) -> TokenStream {
    let names = Names::new(&invalidate.runtime, &invalidate.function.sig);
    let tags = [&invalidate.from_arguments, &invalidate.from_result];
    let tags = tags.into_iter().flatten().map(|tag| names.tag(tag));
    let role = quote!(invalidates(&[#(#tags),*]));
    let cache = invalidate.cache.as_ref();
    function(&names, &role, cache, &invalidate.options)
}

/// A template in `key!`, whose placeholders name any variables.
pub(crate) fn key(runtime: &Runtime, key: &LoweredTemplate) -> TokenStream {
    let path = runtime.path(Span::call_site());
    let source = &key.source;
    let types = key.parts.iter().map(|_| "_");
    let template = quote!(#path::registry::Template::new(#source, &[#(#types),*]));
    registered(runtime, &quote!(ByHand(#template)))
}

/// A type that derives `CacheTag`, and its template. `types` are those of the placeholders,
/// where they are known.
pub(crate) fn tag(
    runtime: &Runtime,
    tag: &Ident,
    template: &LitStr,
    types: &[Option<&Type>],
    generics: &Generics,
) -> TokenStream {
    let path = runtime.path(Span::call_site());
    let tag = tag.unraw().to_string();
    let types = types
        .iter()
        .map(|ty| ty.map_or("_".to_owned(), |ty| plain(ty, generics)));
    let template = quote!(#path::registry::Template::new(#template, &[#(#types),*]));
    registered(runtime, &quote!(Tag(#tag, #template)))
}

/// A type that derives `KeyPart` around one value, which it is written like.
pub(crate) fn newtype(
    runtime: &Runtime,
    around: &Ident,
    inside: &Type,
    generics: &Generics,
) -> TokenStream {
    let around = around.unraw().to_string();
    let inside = plain(inside, generics);
    registered(runtime, &quote!(Newtype(#around, #inside)))
}

/// The item that puts something into the registry.
pub(crate) fn registered(runtime: &Runtime, what: &TokenStream) -> TokenStream {
    let private = runtime.private(Span::call_site());
    quote! {
        #private::register! {
            #private::Registered::#what
        }
    }
}

fn function(
    names: &Names<'_>,
    role: &TokenStream,
    cache: Option<&Expr>,
    options: &[String],
) -> TokenStream {
    let path = &names.path;
    let name = names.sig.ident.unraw().to_string();
    let cache = cache.map(|cache| {
        let cache = source::text(cache.to_token_stream());
        quote!(.cache(#cache))
    });
    let options = (!options.is_empty()).then(|| quote!(.options(&[#(#options),*])));
    quote! {
        #path::registry::Function::new(
            ::core::concat!(::core::module_path!(), "::", #name),
            ::core::file!(),
            ::core::line!(),
            #path::registry::Role::#role,
        )
        #cache
        #options
    }
}

/// The names of one function, with the types that its signature gives to placeholders.
struct Names<'s> {
    path: TokenStream,
    sig: &'s Signature,
    /// The type of what is cached.
    value: String,
}

impl<'s> Names<'s> {
    fn new(runtime: &Runtime, sig: &'s Signature) -> Self {
        Self {
            path: runtime.path(Span::call_site()),
            sig,
            value: value_of(sig),
        }
    }

    fn template(&self, template: &LoweredTemplate) -> TokenStream {
        let path = &self.path;
        let source = &template.source;
        let types = template.parts.iter().map(|part| self.type_of(part));
        quote!(#path::registry::Template::new(#source, &[#(#types),*]))
    }

    fn tag(&self, tag: &Tag) -> TokenStream {
        match tag {
            Tag::Template(template) => self.template(template),
            Tag::Typed(tag) => {
                let path = &self.path;
                let ty = type_of_tag(&tag.expr).map_or("_".to_owned(), |ty| ty.unraw().to_string());
                quote!(#path::registry::Template::typed(#ty))
            }
        }
    }

    fn type_of(&self, part: &Part) -> String {
        if !part.accesses.is_empty() {
            return "_".to_owned();
        }
        match &part.root {
            Root::Result => self.value.clone(),
            Root::Type(_) => "type".to_owned(),
            Root::Value(ident) => self
                .declared(ident)
                .map_or("_".to_owned(), |ty| plain(ty, &self.sig.generics)),
        }
    }

    fn declared(&self, name: &Ident) -> Option<&'s Type> {
        let inputs = self.sig.inputs.iter().find_map(|input| match input {
            FnArg::Typed(input) => match input.pat.as_ref() {
                Pat::Ident(pat) if pat.ident.unraw() == name.unraw() => Some(&*input.ty),
                _ => None,
            },
            FnArg::Receiver(_) => None,
        });
        let consts = || {
            let mut consts = self.sig.generics.const_params();
            consts.find(|parameter| parameter.ident == *name)
        };
        inputs.or_else(|| consts().map(|parameter| &parameter.ty))
    }
}
