//! `#[derive(CacheTag)]`: a template whose placeholders are the fields of a struct.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Field, Fields, LitStr, Member, Meta, Type, parse_quote};

use crate::attr;
use crate::describe;
use crate::errors::{Errors, nearest, suggest};
use crate::expand;
use crate::generics::mentions_parameter;
use crate::lower::{self, Access, LoweredTemplate, Root};
use crate::runtime::Runtime;
use crate::template::{Step, Template};

pub(crate) fn derive(input: TokenStream) -> syn::Result<TokenStream> {
    let input = syn::parse2(input)?;
    Ok(match lower(&input) {
        Ok(lowered) => expand(input, lowered),
        Err(error) => {
            let mut tokens = error.to_compile_error();
            tokens.extend(expand_stub(&input));
            tokens
        }
    })
}

struct LoweredTag {
    literal: LitStr,
    runtime: Runtime,
    template: LoweredTemplate,
    /// For each placeholder, the type of the field that it names as a whole.
    whole_fields: Vec<Option<Type>>,
}

fn lower(input: &DeriveInput) -> syn::Result<LoweredTag> {
    let mut errors = Errors::default();
    let parsed = parse_template(&input.attrs, &mut errors);
    let mut fields = TagFields::new(&input.ident);
    match &input.data {
        Data::Struct(data) => fields.add_all(&data.fields, &mut errors),
        Data::Enum(_) | Data::Union(_) => errors.push(
            input.ident.span(),
            "only a struct can be a cache tag",
            "write a struct for each kind of tag",
        ),
    }
    // After an error, it is not clear what the template can name.
    let Some((literal, runtime)) = std::mem::take(&mut errors).finish(parsed)? else {
        unreachable!("without a template there is an error");
    };
    let (template, whole_fields) = fields.lower(&literal, &mut errors);
    errors.finish(LoweredTag {
        literal,
        runtime,
        template,
        whole_fields,
    })
}

fn expand(mut input: DeriveInput, lowered: LoweredTag) -> TokenStream {
    let LoweredTag {
        literal,
        runtime,
        template,
        whole_fields,
    } = lowered;
    let types: Vec<_> = whole_fields.iter().map(Option::as_ref).collect();
    let registered = describe::tag(&runtime, &input.ident, &literal, &types, &input.generics);
    let bounds: Vec<_> = types
        .into_iter()
        .flatten()
        .filter(|ty| mentions_parameter(ty, &input.generics))
        .collect();
    let path = runtime.path(Span::call_site());
    let clause = input.generics.make_where_clause();
    for ty in bounds {
        clause.predicates.push(parse_quote!(#ty: #path::KeyPart));
    }
    let name = expand_name(&runtime, &template);
    let ident = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    // At the place of the template, as its parts are: a mistake is one error then.
    let blame = literal.span().resolved_at(Span::mixed_site());
    let private = runtime.private(blame);
    let function = quote_spanned! {blame=>
        fn name(&self) -> #private::Name<impl #private::Parts> {
            #name
        }
    };
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #parameters #path::CacheTag for #ident #arguments #clause {
            const TEMPLATE: &'static str = #literal;

            #function
        }

        #registered
    }
}

/// An implementation beside an error, so that uses of the type are not errors too.
fn expand_stub(input: &DeriveInput) -> Option<TokenStream> {
    let (_, runtime) = parse_template(&input.attrs, &mut Errors::default())?;
    let path = runtime.path(Span::call_site());
    let private = runtime.private(Span::call_site());
    let ident = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    Some(quote! {
        impl #parameters #path::CacheTag for #ident #arguments #clause {
            const TEMPLATE: &'static str = "";

            fn name(&self) -> #private::Name<impl #private::Parts> {
                #private::Name::new(&[""], ())
            }
        }
    })
}

/// The name outlives what a method returned, so such a part is rendered at once.
fn expand_name(runtime: &Runtime, template: &LoweredTemplate) -> TokenStream {
    let span = template.span;
    let private = runtime.private(span);
    let parts = template.parts.iter().map(|written| {
        let is_call = |access: &Access| matches!(access, Access::Method(_));
        if written.accesses.iter().any(is_call) {
            let part = expand::part(runtime, written, span);
            quote_spanned!(span=> #private::RenderedPart::new(#part))
        } else {
            let field = expand::reference(runtime, written, span);
            quote_spanned! {span=>
                {
                    let asked = #private::checked_part::Asked(#field);
                    {
                        use #private::checked_part::*;
                        (&&asked).part()
                    }
                }
            }
        }
    });
    let parts: Vec<_> = parts.collect();
    expand::name(runtime, span, &template.literals, &parts)
}

const USAGE: &str = "write a template: `#[cache_tag(\"tenant:<0>:users\")]`";

/// The string in `#[cache_tag("users:<0>")]`, and where the runtime is. `None` only where
/// there is an error.
fn parse_template(attrs: &[Attribute], errors: &mut Errors) -> Option<(LitStr, Runtime)> {
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
        // Without an argument, the error is at the attribute.
        other => parse
            .parse2(TokenStream::new())
            .map_err(|missing| syn::Error::new(other.span(), missing)),
    };
    parsed.map_err(|wrong| errors.add(wrong)).ok()
}

/// What the template can name.
struct TagFields<'i> {
    tag: &'i Ident,
    fields: Vec<TagField<'i>>,
}

struct TagField<'i> {
    member: Member,
    ty: &'i Type,
    /// Whether it has `#[cache_tag(skip)]`.
    skipped: bool,
    /// Whether the template names it.
    named: bool,
}

impl<'i> TagFields<'i> {
    fn new(tag: &'i Ident) -> Self {
        Self {
            tag,
            fields: Vec::new(),
        }
    }

    fn add_all(&mut self, fields: &'i Fields, errors: &mut Errors) {
        for (member, field) in fields.members().zip(fields) {
            self.fields.push(TagField {
                member,
                ty: &field.ty,
                skipped: is_skipped(field, errors),
                named: false,
            });
        }
    }

    /// The template, and for each placeholder the type of the field that it names as a whole.
    fn lower(
        mut self,
        literal: &LitStr,
        errors: &mut Errors,
    ) -> (LoweredTemplate, Vec<Option<Type>>) {
        // The template's tokens and `self` have one span, so that the compiler points there.
        let span = literal.span().resolved_at(Span::mixed_site());
        let mut whole_fields = Vec::new();
        let Some(mut template) = lower::parse_template(literal, errors) else {
            return (LoweredTemplate::empty(span), whole_fields);
        };
        // Whether a placeholder names no field, and none that is similar.
        let mut in_doubt = false;
        self.check_braces(&template, literal.span(), errors);
        for placeholder in &mut template.placeholders {
            if let Some(field) = self.find(&placeholder.root) {
                field.named = true;
                let whole = placeholder.steps.is_empty();
                whole_fields.push(whole.then(|| field.ty.clone()));
            } else {
                let root = &placeholder.root;
                let names = self.names();
                errors.push(
                    literal.span(),
                    format_args!("tag names `{root}`, which is not a field of `{}`", self.tag),
                    suggest(root, &names, "fields"),
                );
                match nearest(root, &names).and_then(|name| self.find(name)) {
                    Some(field) => field.named = true,
                    None => in_doubt = true,
                }
            }
            let field = std::mem::replace(&mut placeholder.root, "self".to_owned());
            let step = match field.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Field(field),
            };
            placeholder.steps.insert(0, step);
        }
        if !in_doubt {
            self.check_complete(errors);
        }
        let template = lower::lower_parts(template, span, errors, |_, _| {
            Some(Root::Value(Ident::new("self", span)))
        });
        (template, whole_fields)
    }

    fn check_braces(&mut self, template: &Template, span: Span, errors: &mut Errors) {
        for braced in template.braced() {
            if let Some(field) = self.find(&braced.root) {
                field.named = true;
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

    /// Refuses a field that the template does not name: two values of the type that differ
    /// in it only would be one tag.
    fn check_complete(&self, errors: &mut Errors) {
        for field in &self.fields {
            let name = field.member.to_token_stream();
            if field.named && field.skipped {
                errors.push(
                    field.span(),
                    format_args!("field `{name}` is skipped, and it is in the template"),
                    format_args!("remove `#[cache_tag(skip)]`, or `<{name}>` from the template"),
                );
            } else if !field.named && !field.skipped && !is_phantom(field.ty) {
                errors.push(
                    field.span(),
                    format_args!(
                        "field `{name}` is not in the template, so tags with different `{name}` \
                         would be one tag"
                    ),
                    format_args!(
                        "add `<{name}>` to the template, or say that it does not matter: \
                         `#[cache_tag(skip)]`"
                    ),
                );
            }
        }
    }

    fn find(&mut self, name: &str) -> Option<&mut TagField<'i>> {
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.fields.iter_mut().find(|field| match &field.member {
            Member::Named(ident) => ident.unraw() == name,
            Member::Unnamed(index) => index.index.to_string() == name,
        })
    }

    fn names(&self) -> Vec<String> {
        self.fields
            .iter()
            .map(|field| field.member.to_token_stream().to_string())
            .collect()
    }
}

impl TagField<'_> {
    fn span(&self) -> Span {
        match &self.member {
            Member::Named(name) => name.span(),
            Member::Unnamed(_) => self.ty.span(),
        }
    }
}

/// Whether the field has `#[cache_tag(skip)]`.
fn is_skipped(field: &Field, errors: &mut Errors) -> bool {
    let mut attrs = field
        .attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cache_tag"));
    let Some(attr) = attrs.next() else {
        return false;
    };
    let skips = attr
        .parse_args::<Ident>()
        .is_ok_and(|argument| argument == "skip");
    if !skips {
        errors.push(
            attr.path().span(),
            "`#[cache_tag]` on a field only takes `skip`",
            "write `#[cache_tag(skip)]` for a field that does not matter; the template is an \
             attribute of the struct",
        );
    }
    for another in attrs {
        errors.push(
            another.span(),
            "`#[cache_tag]` is given more than once",
            "keep one of them",
        );
    }
    true
}

/// Whether the type is a `PhantomData`, of which there is one value. Another name for it
/// is not known here, and needs `#[cache_tag(skip)]`.
fn is_phantom(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "PhantomData"),
        Type::Group(group) => is_phantom(&group.elem),
        Type::Paren(paren) => is_phantom(&paren.elem),
        _ => false,
    }
}
