//! `#[derive(KeyPart)]`: a type of the user's as one value in a key.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Field, Fields, parse_quote};

use crate::attr::parse_runtime;
use crate::describe;
use crate::errors::error;
use crate::generics::{mentions, mentions_parameter};
use crate::runtime::Runtime;

pub(crate) fn derive(input: TokenStream) -> TokenStream {
    let derived = syn::parse2(input).and_then(expand);
    derived.unwrap_or_else(|error| error.to_compile_error())
}

// Every name below is a `mixed_site` one, so that a pattern cannot mean a constant of the user's.

fn expand(mut input: DeriveInput) -> syn::Result<TokenStream> {
    let mixed = Span::mixed_site();
    let runtime = read_runtime(&input.attrs)?;
    let path = runtime.path(mixed);
    let (body, fields) = match &input.data {
        Data::Struct(data) => {
            let body = expand_struct(&runtime, &input.ident, &data.fields);
            (body, data.fields.iter().collect::<Vec<_>>())
        }
        Data::Enum(data) => {
            let arms = data
                .variants
                .iter()
                .map(|variant| expand_arm(&variant.ident, &variant.fields));
            let fields = data.variants.iter().flat_map(|variant| &variant.fields);
            (
                quote_spanned!(mixed=> match *self { #(#arms)* }),
                fields.collect(),
            )
        }
        Data::Union(data) => {
            return Err(error(
                data.union_token.span(),
                "a union cannot be part of a cache key: which of its fields is there is not known",
                "implement `KeyPart` by hand",
            ));
        }
    };
    let bounds: Vec<_> = fields
        .into_iter()
        .map(|field| field.ty.clone())
        .filter(|ty| mentions_parameter(ty, &input.generics))
        // A type that contains itself can be a part if the rest of it can.
        .filter(|ty| !mentions(ty, &input.ident))
        .collect();
    let clause = input.generics.make_where_clause();
    for ty in bounds {
        clause.predicates.push(parse_quote!(#ty: #path::KeyPart));
    }
    let registered = expand_registration(&runtime, &input);
    let ident = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    Ok(quote_spanned! {mixed=>
        #[automatically_derived]
        #[diagnostic::do_not_recommend]
        impl #parameters #path::KeyPart for #ident #arguments #clause {
            #[inline]
            fn write(
                &self,
                out: #path::KeyWriter<'_>,
            ) -> #path::Written {
                #body
            }
        }

        #registered
    })
}

/// What the registry is told: which type a struct around one value is the same as.
fn expand_registration(runtime: &Runtime, input: &DeriveInput) -> Option<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return None;
    };
    let Fields::Unnamed(fields) = &data.fields else {
        return None;
    };
    let [field] = fields.unnamed.iter().collect::<Vec<_>>()[..] else {
        return None;
    };
    let around = input.ident.unraw().to_string();
    let inside = describe::plain(&field.ty, &input.generics);
    let private = runtime.private(Span::call_site());
    Some(quote! {
        #private::register! {
            #private::Registered::Newtype(#around, #inside)
        }
    })
}

/// The path in `#[key_part(crate = path)]`.
fn read_runtime(attrs: &[Attribute]) -> syn::Result<Runtime> {
    let attr = attrs.iter().find(|attr| attr.path().is_ident("key_part"));
    attr.map_or(Ok(Runtime::default()), |attr| {
        attr.parse_args_with(parse_runtime)
    })
}

fn expand_struct(runtime: &Runtime, ident: &Ident, fields: &Fields) -> TokenStream {
    let mixed = Span::mixed_site();
    let path = runtime.path(mixed);
    let mut values = fields.members().zip(fields).map(|(member, field)| {
        let blame = blame(field);
        quote_spanned!(blame=> &self.#member)
    });
    match fields {
        _ if fields.is_empty() => {
            let name = ident.unraw().to_string();
            quote_spanned!(mixed=> out.text(#name))
        }
        // A struct around one value is that value: what its type adds is in the template.
        Fields::Unnamed(_) if fields.len() == 1 => {
            let value = values.next();
            quote_spanned!(mixed=> #path::KeyPart::write(#value, out))
        }
        _ => quote_spanned!(mixed=> out.list()#(.part(#values))*.end()),
    }
}

/// `'Variant'`, or `('Variant',field,field)`: text is never a list.
fn expand_arm(ident: &Ident, fields: &Fields) -> TokenStream {
    let mixed = Span::mixed_site();
    let name = ident.unraw().to_string();
    if fields.is_empty() {
        return quote_spanned!(mixed=> Self::#ident { .. } => out.text(#name),);
    }
    let locals: Vec<_> = fields
        .iter()
        .enumerate()
        .map(|(index, field)| format_ident!("field{index}", span = blame(field)))
        .collect();
    let members = fields.members();
    quote_spanned! {mixed=>
        Self::#ident { #(#members: ref #locals),* } => {
            out.list().part(#name)#(.part(#locals))*.end()
        }
    }
}

/// A field that cannot be part of a key is blamed at its type.
fn blame(field: &Field) -> Span {
    field.ty.span().resolved_at(Span::mixed_site())
}
