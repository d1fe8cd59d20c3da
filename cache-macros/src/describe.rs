//! What an expansion tells the registry: a function's names, their types, and its options.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Expr, FnArg, Generics, LitStr, Pat, Signature, Type, parse_quote};

use crate::lower::{Batch, CachedFn, InvalidateFn, List, LoweredTemplate, Part, Root, Tag};
use crate::runtime::Runtime;
use crate::source;
use crate::type_name::{NamedType, Place};
use crate::type_text::{plain, type_of_tag, value_of};

/// A cached function.
pub(crate) fn cached(cached: &CachedFn) -> TokenStream {
    let names = Names::new(&cached.runtime, &cached.function.sig);
    reads(cached, &names)
}

/// A cached function that is called for several keys.
pub(crate) fn batch(cached: &CachedFn, batch: &Batch) -> TokenStream {
    let names = Names {
        value: batch.value.clone().unwrap_or_else(|| parse_quote!(_)),
        lists: std::slice::from_ref(&batch.list),
        ..Names::new(&cached.runtime, &cached.function.sig)
    };
    reads(cached, &names)
}

fn reads(cached: &CachedFn, names: &Names<'_>) -> TokenStream {
    let key = names.template(&cached.key);
    let tags = cached.tags.iter().map(|tag| names.tag(tag));
    let value = names.named(Some(&names.value));
    let text = value.text();
    let role = quote!(caches(#key, #text, &[#(#tags),*]));
    let function = function(names, &role, cached.cache.as_ref(), &cached.options);
    let value = value.is_nameable().then(|| {
        let value = value.tokens(&cached.runtime);
        quote!(.value(#value))
    });
    let of_value = (!cached.tags_of_value.is_empty()).then(|| quote!(.tags_of_value()));
    quote!(#function #of_value #value)
}

/// A function that invalidates.
pub(crate) fn invalidate(invalidate: &InvalidateFn) -> TokenStream {
    let names = Names {
        lists: &invalidate.lists,
        ..Names::new(&invalidate.runtime, &invalidate.function.sig)
    };
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
    let types = types.iter().map(|ty| in_module(*ty, generics));
    let types = types.collect::<Vec<_>>();
    let variables = variables(runtime, &types, &[]);
    let types = types.iter().map(NamedType::text);
    let template = quote!(#path::registry::Template::new(#template, &[#(#types),*]) #variables);
    registered(runtime, &quote!(Tag(#tag, #template)))
}

/// A type that derives `KeyPart` around one value, which it is written like.
pub(crate) fn newtype(
    runtime: &Runtime,
    around: &Ident,
    inside: &Type,
    generics: &Generics,
) -> TokenStream {
    let around = in_module(Some(&parse_quote!(#around)), generics).tokens(runtime);
    let inside = in_module(Some(inside), generics).tokens(runtime);
    registered(runtime, &quote!(Newtype(#around, #inside)))
}

/// A type in a derive, beside the type that derives.
fn in_module(ty: Option<&Type>, generics: &Generics) -> NamedType {
    let text = ty.map_or("_".to_owned(), |ty| plain(ty, generics));
    let is_generic =
        generics.type_params().next().is_some() || generics.const_params().next().is_some();
    NamedType::new(text, ty.filter(|_| !is_generic), Place::Module)
}

/// What the compiler knows of the variables in a template, if it is more than their text.
/// `parts` are empty where each variable is a placeholder of its own.
fn variables(runtime: &Runtime, types: &[NamedType], parts: &[Part]) -> Option<TokenStream> {
    let is_hidden = |(part, ty): (&Part, &NamedType)| !part.accesses.is_empty() && ty.text() != "_";
    let is_more =
        types.iter().any(NamedType::is_nameable) || parts.iter().zip(types).any(is_hidden);
    is_more.then(|| {
        let types = types.iter().map(|ty| ty.tokens(runtime));
        quote!(.variables(&[#(#types),*]))
    })
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
    runtime: &'s Runtime,
    /// The type of what is cached.
    value: Type,
    lists: &'s [List],
}

impl<'s> Names<'s> {
    fn new(runtime: &'s Runtime, sig: &'s Signature) -> Self {
        Self {
            path: runtime.path(Span::call_site()),
            runtime,
            sig,
            value: value_of(sig),
            lists: &[],
        }
    }

    fn template(&self, template: &LoweredTemplate) -> TokenStream {
        let path = &self.path;
        let source = &template.source;
        let types = template.parts.iter().map(|part| self.type_of(part));
        let types = types.collect::<Vec<_>>();
        let variables = variables(self.runtime, &types, &template.parts);
        let types = types.iter().zip(&template.parts).map(|(ty, part)| {
            if part.accesses.is_empty() {
                ty.text()
            } else {
                "_"
            }
        });
        quote!(#path::registry::Template::new(#source, &[#(#types),*]) #variables)
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

    /// The type of the variable that a placeholder begins with.
    fn type_of(&self, part: &Part) -> NamedType {
        match &part.root {
            Root::Result => self.named(Some(&self.value)),
            Root::Type(_) => NamedType::new("type".to_owned(), None, Place::Function),
            Root::Value(ident) => self.named(self.declared(ident)),
            Root::Element(_, list) => self.named(self.lists[*list].element_type.as_ref()),
        }
    }

    fn named(&self, ty: Option<&Type>) -> NamedType {
        let text = ty.map_or("_".to_owned(), |ty| plain(ty, &self.sig.generics));
        NamedType::new(text, ty, Place::Function)
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
