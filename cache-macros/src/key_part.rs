//! `#[derive(KeyPart)]`: a type of the user's as one value in a key.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Field, Fields, Variant, parse_quote};

use crate::attr::parse_runtime;
use crate::describe;
use crate::errors::error;
use crate::generics::{mentions, mentions_parameter};
use crate::runtime::Runtime;

// Locals have `mixed_site` spans, so that a pattern can't name a constant of the user's.

pub(crate) fn derive(input: TokenStream) -> syn::Result<TokenStream> {
    let input = syn::parse2(input)?;
    Ok(match lower(&input) {
        Ok(runtime) => expand(input, &runtime),
        Err(error) => {
            let mut tokens = error.to_compile_error();
            tokens.extend(expand_stub(&input));
            tokens
        }
    })
}

/// The path in `#[key_part(crate = path)]`, on a type that can be part of a key.
fn lower(input: &DeriveInput) -> syn::Result<Runtime> {
    if let Data::Union(data) = &input.data {
        return Err(error(
            data.union_token.span(),
            "a union cannot be part of a cache key: it is not known which of its fields is there",
            "implement `KeyPart` by hand",
        ));
    }
    let of_fields = fields(&input.data).flat_map(|field| &field.attrs);
    let of_variants = variants(&input.data).flat_map(|variant| &variant.attrs);
    if let Some(misplaced) = of_fields.chain(of_variants).find(|attr| is_ours(attr)) {
        return Err(error(
            misplaced.path().span(),
            "`#[key_part]` goes on the type: every variant and every field is part of the key",
            "to leave a field out, implement `KeyPart` by hand",
        ));
    }
    let mut attrs = input.attrs.iter().filter(|attr| is_ours(attr));
    let Some(attr) = attrs.next() else {
        return Ok(Runtime::default());
    };
    if let Some(another) = attrs.next() {
        return Err(error(
            another.path().span(),
            "`#[key_part]` is given more than once",
            "keep one of them",
        ));
    }
    attr.parse_args_with(parse_runtime)
}

fn expand(mut input: DeriveInput, runtime: &Runtime) -> TokenStream {
    let mixed = Span::mixed_site();
    let path = runtime.path(mixed);
    let body = match &input.data {
        Data::Struct(data) => expand_struct(runtime, &input.ident, &data.fields),
        Data::Enum(data) => {
            let arms = data
                .variants
                .iter()
                .map(|variant| expand_arm(&variant.ident, &variant.fields));
            quote_spanned!(mixed=> match *self { #(#arms)* })
        }
        Data::Union(_) => TokenStream::new(),
    };
    let bounds: Vec<_> = fields(&input.data)
        .map(|field| field.ty.clone())
        .filter(|ty| mentions_parameter(ty, &input.generics))
        // A type that contains itself can be a part if the rest of it can.
        .filter(|ty| !mentions(ty, &input.ident))
        .collect();
    let clause = input.generics.make_where_clause();
    for ty in bounds {
        clause.predicates.push(parse_quote!(#ty: #path::KeyPart));
    }
    let registered = only_field(&input.data)
        .map(|field| describe::newtype(runtime, &input.ident, &field.ty, &input.generics));
    let ident = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    quote_spanned! {mixed=>
        #[automatically_derived]
        #[allow(deprecated)]
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
    }
}

/// The field of a tuple struct around one value.
fn only_field(data: &Data) -> Option<&Field> {
    match data {
        Data::Struct(data) if matches!(data.fields, Fields::Unnamed(_)) => {
            let mut fields = data.fields.iter();
            fields.next().filter(|_| fields.next().is_none())
        }
        _ => None,
    }
}

fn fields(data: &Data) -> impl Iterator<Item = &Field> {
    let of_struct = match data {
        Data::Struct(data) => Some(&data.fields),
        Data::Enum(_) | Data::Union(_) => None,
    };
    let of_enum = variants(data).map(|variant| &variant.fields);
    of_struct.into_iter().chain(of_enum).flatten()
}

fn variants(data: &Data) -> impl Iterator<Item = &Variant> {
    let variants = match data {
        Data::Enum(data) => Some(&data.variants),
        Data::Struct(_) | Data::Union(_) => None,
    };
    variants.into_iter().flatten()
}

fn is_ours(attr: &Attribute) -> bool {
    attr.path().is_ident("key_part")
}

/// An implementation beside an error, so that uses of the type are not errors too.
fn expand_stub(input: &DeriveInput) -> Option<TokenStream> {
    let mixed = Span::mixed_site();
    let mut attrs = input.attrs.iter().filter(|attr| is_ours(attr));
    let runtime = match attrs.next() {
        Some(attr) => attr.parse_args_with(parse_runtime).ok()?,
        None => Runtime::default(),
    };
    let path = runtime.path(mixed);
    let ident = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    Some(quote_spanned! {mixed=>
        impl #parameters #path::KeyPart for #ident #arguments #clause {
            fn write(&self, out: #path::KeyWriter<'_>) -> #path::Written {
                out.text("")
            }
        }
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

/// The compiler points at the type of a field that cannot be part of a key.
fn blame(field: &Field) -> Span {
    field.ty.span().resolved_at(Span::mixed_site())
}
