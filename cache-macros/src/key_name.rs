//! `#[key_name("user")]`: a name for a type, which keys write in the place of its path.
//!
//! The runtime knows a type only by the compiler's text, which begins with the path of its module.
//! A macro does not see that path. So the expansion has a type of the same identifier beside the
//! user's, in a `const _`, and the runtime asks for that one's text:
//!
//! ```ignore
//! const _: () = {
//!     struct User;
//!     register! { OwnName(OwnName::new(type_name::<User>, "user", file!(), line!())) }
//! };
//! ```

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::LitStr;
use syn::parse::Parser;

use crate::attr;
use crate::describe;
use crate::errors::{Errors, error};
use crate::runtime::Runtime;

/// Words that the compiler writes in the names of types. None of them begins a path.
const TAKEN: &[&str] = &[
    "as", "bool", "char", "const", "dyn", "extern", "f128", "f16", "f32", "f64", "fn", "for",
    "i128", "i16", "i32", "i64", "i8", "impl", "isize", "mut", "str", "u128", "u16", "u32", "u64",
    "u8", "unsafe", "usize",
];

pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let name = attr::parse_key_name.parse2(args);
    let name = name.map_err(|error| errors.add(error)).ok();
    if let Some((name, _)) = &name {
        check_name(name, &mut errors);
    }
    let ident = ident_of(item.clone());
    let ident = ident.map_err(|error| errors.add(error)).ok();
    let beside = match errors.finish(name.zip(ident)) {
        Ok(named) => named.map(|((name, runtime), ident)| register(&runtime, &ident, &name)),
        Err(error) => Some(error.to_compile_error()),
    };
    quote!(#item #beside)
}

fn register(runtime: &Runtime, ident: &Ident, name: &LitStr) -> TokenStream {
    let path = runtime.path(Span::call_site());
    let registered = describe::registered(
        runtime,
        &quote! {
            OwnName(#path::registry::OwnName::new(
                ::core::any::type_name::<#ident>,
                #name,
                ::core::file!(),
                ::core::line!(),
            ))
        },
    );
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #[allow(dead_code, non_camel_case_types)]
            struct #ident;
            #registered
        };
    }
}

/// The name stands in keys among the paths of other types: no type has it as its path.
fn check_name(literal: &LitStr, errors: &mut Errors) {
    let name = literal.value();
    let help = "write a name that stays when the type moves: `#[key_name(\"user\")]`";
    if name.is_empty() {
        errors.push(literal.span(), "the name of the type is empty", help);
    } else if TAKEN.contains(&&*name) {
        errors.push(
            literal.span(),
            format_args!("`{name}` is a word of Rust, and cannot be the name of a type in keys"),
            help,
        );
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        errors.push(
            literal.span(),
            format_args!("the name `{name}` does not begin with a letter"),
            help,
        );
    } else if let Some(refused) = name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_-.".contains(*c)))
    {
        errors.push(
            literal.span(),
            format_args!("the name `{name}` has a {refused:?} in it"),
            "a name has letters and digits of ASCII, `_`, `-` and `.`: `#[key_name(\"user\")]`",
        );
    }
}

/// The identifier of a struct, an enum or a union.
fn ident_of(item: TokenStream) -> syn::Result<Ident> {
    let refused = |span| {
        Err(error(
            span,
            "`#[key_name]` goes on a struct, an enum or a union",
            "annotate the type that `<T>` or `<Self>` names",
        ))
    };
    let mut tokens = item.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            // An attribute, or a visibility.
            TokenTree::Punct(_) | TokenTree::Group(_) => {}
            TokenTree::Ident(word) if word == "pub" => {}
            TokenTree::Ident(word) if word == "struct" || word == "enum" || word == "union" => {
                return match tokens.next() {
                    Some(TokenTree::Ident(ident)) => Ok(ident),
                    _ => refused(word.span()),
                };
            }
            other => return refused(other.span()),
        }
    }
    refused(Span::call_site())
}
