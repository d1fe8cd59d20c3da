//! `#[derive(CacheTag)]`: a template whose placeholders are the fields of a struct.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Fields, Generics, LitStr, Member, Meta, Type, parse_quote,
};

use crate::attr;
use crate::describe;
use crate::errors::{Errors, suggest};
use crate::expand;
use crate::generics::mentions_parameter;
use crate::lower::{self, Name, Root};
use crate::runtime::Runtime;
use crate::template::{Step, Template};

pub(crate) fn derive(input: TokenStream) -> TokenStream {
    let derived = syn::parse2(input).and_then(expand);
    derived.unwrap_or_else(|error| error.to_compile_error())
}

fn expand(mut input: DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let template = read_template(&input.attrs, &mut errors);
    let fields = match &input.data {
        Data::Struct(data) => data.fields.clone(),
        Data::Enum(_) | Data::Union(_) => {
            errors.push(
                input.ident.span(),
                "only a struct can be a cache tag",
                "write a struct for each kind of tag",
            );
            Fields::Unit
        }
    };
    let scope = Scope {
        tag: &input.ident,
        fields: &fields,
    };
    // Its placeholders are only wrong once it is clear what they can name.
    let lowered = template.filter(|_| errors.is_empty()).map(|template| {
        let (literal, runtime) = template;
        (scope.lower(&literal, &mut errors), literal, runtime)
    });
    let Some(((name, used), literal, runtime)) = errors.finish(lowered)? else {
        return Ok(TokenStream::new());
    };
    let registered = expand_registration(&runtime, &input.ident, &literal, &used, &input.generics);

    let bounds: Vec<_> = used
        .into_iter()
        .flatten()
        .filter(|ty| mentions_parameter(ty, &input.generics))
        .collect();
    let path = runtime.path(Span::call_site());
    let clause = input.generics.make_where_clause();
    for ty in bounds {
        clause.predicates.push(parse_quote!(#ty: #path::KeyPart));
    }
    let name = expand_name(&runtime, &name);
    let ident = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    // Blamed on the template, as its parts are: one error, and not one for each layer.
    let blame = literal.span().resolved_at(Span::mixed_site());
    let private = runtime.private(blame);
    let function = quote_spanned! {blame=>
        fn name(&self) -> #private::Name<impl #private::Parts> {
            #name
        }
    };
    Ok(quote! {
        #[automatically_derived]
        impl #parameters #path::CacheTag for #ident #arguments #clause {
            const TEMPLATE: &'static str = #literal;

            #function
        }

        #registered
    })
}

/// What the registry is told: which template is behind the type's name.
fn expand_registration(
    runtime: &Runtime,
    tag: &Ident,
    template: &LitStr,
    used: &[Option<&Type>],
    generics: &Generics,
) -> TokenStream {
    let tag = tag.unraw().to_string();
    let types = used
        .iter()
        .map(|ty| ty.map_or("_".to_owned(), |ty| describe::plain(ty, generics)));
    let path = runtime.path(Span::call_site());
    quote! {
        #path::__private::register! {
            #path::__private::Registered::Tag(
                #tag,
                #path::registry::Name::template(#template, &[#(#types),*]),
            )
        }
    }
}

/// The name is returned: what a method made would be gone, so it is rendered at once.
fn expand_name(runtime: &Runtime, name: &Name) -> TokenStream {
    let private = runtime.private(name.span);
    let parts = name.parts.iter().map(|written| {
        let part = expand::part(runtime, written, name.span);
        let calls = |step: &lower::Step| matches!(step, lower::Step::Method(_));
        if written.steps.iter().any(calls) {
            quote_spanned!(name.span=> #private::RenderedPart::new(#part))
        } else {
            part
        }
    });
    expand::name(
        runtime,
        name.span,
        &name.literals,
        &parts.collect::<Vec<_>>(),
    )
}

/// The string in `#[cache_tag("users:<0>")]`, and where the runtime is.
fn read_template(attrs: &[Attribute], errors: &mut Errors) -> Option<(LitStr, Runtime)> {
    const USAGE: &str = "write a template: `#[cache_tag(\"tenant:<0>:users\")]`";

    let mut attrs = attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cache_tag"));
    let Some(attr) = attrs.next() else {
        errors.push(Span::call_site(), "a cache tag needs a template", USAGE);
        return None;
    };
    for another in attrs {
        errors.push(
            another.span(),
            "`#[cache_tag]` is given more than once",
            "keep one of them",
        );
    }
    let parse = |input: ParseStream<'_>| attr::parse_template(input, "`#[cache_tag]`", USAGE);
    let parsed = match &attr.meta {
        Meta::List(list) => list.parse_args_with(parse),
        // There is no argument whose place could be told.
        other => parse
            .parse2(TokenStream::new())
            .map_err(|missing| syn::Error::new(other.span(), missing)),
    };
    parsed.map_err(|wrong| errors.add(wrong)).ok()
}

/// What the template can name.
struct Scope<'i> {
    tag: &'i Ident,
    fields: &'i Fields,
}

impl<'i> Scope<'i> {
    /// The name, and for each placeholder the type that has to be a part of it as it is.
    fn lower(&self, literal: &LitStr, errors: &mut Errors) -> (Name, Vec<Option<&'i Type>>) {
        // Its tokens and `self` are from one place, to be blamed as one.
        let span = literal.span().resolved_at(Span::mixed_site());
        let mut used = Vec::new();
        let Some(mut template) = lower::parse_template(literal, errors) else {
            return (Name::empty(span), used);
        };
        self.check_braces(&template, literal.span(), errors);
        for placeholder in &mut template.placeholders {
            if let Some(ty) = self.field(&placeholder.root) {
                used.push(placeholder.steps.is_empty().then_some(ty));
            } else {
                errors.push(
                    literal.span(),
                    format_args!(
                        "tag names `{}`, which is not a field of `{}`",
                        placeholder.root, self.tag
                    ),
                    suggest(&placeholder.root, &self.names(), "fields"),
                );
            }
            let field = std::mem::replace(&mut placeholder.root, "self".to_owned());
            let step = match field.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Field(field),
            };
            placeholder.steps.insert(0, step);
        }
        let name = lower::lower_parts(template, span, errors, |_, _| {
            Some(Root::Value(Ident::new("self", span)))
        });
        (name, used)
    }

    fn check_braces(&self, template: &Template, span: Span, errors: &mut Errors) {
        for braced in template.braced() {
            if self.field(&braced.root).is_some() {
                let written = braced.to_string();
                errors.push(
                    span,
                    format_args!(
                        "`{}` in the template is literal text, not the field `{}`",
                        written.replace('<', "{").replace('>', "}"),
                        braced.root,
                    ),
                    format_args!("did you mean `{written}`?"),
                );
            }
        }
    }

    fn field(&self, name: &str) -> Option<&'i Type> {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let mut fields = self.fields.members().zip(self.fields);
        fields
            .find(|(member, _)| match member {
                Member::Named(ident) => ident.unraw() == name,
                Member::Unnamed(index) => index.index.to_string() == name,
            })
            .map(|(_, field)| &field.ty)
    }

    fn names(&self) -> Vec<String> {
        let members = self.fields.members();
        members
            .map(|member| member.to_token_stream().to_string())
            .collect()
    }
}
