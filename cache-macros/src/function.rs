//! The syntax of the function under an attribute. Its statements are not parsed.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Item, Signature, Token, Visibility, braced, token};

use crate::errors::error;

/// A function, with its statements as they came.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) brace: token::Brace,
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) statements: TokenStream,
}

impl Function {
    pub(crate) fn parse_item(item: TokenStream) -> syn::Result<Self> {
        syn::parse2(item.clone()).map_err(|syntax| {
            // The compiler lets only items through that it can parse. So this is another
            // kind of item, or syntax that syn doesn't know yet.
            match syn::parse2::<Item>(item) {
                Ok(Item::Fn(_) | Item::Verbatim(_)) | Err(_) => syntax,
                Ok(_) => error(
                    Span::call_site(),
                    "only a function can have this attribute",
                    "put the attribute on an `async fn`",
                ),
            }
        })
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(error(
                sig.ident.span(),
                format_args!("`{}` has no body that could be cached", sig.ident),
                "put the attribute on the implementation",
            ));
        }
        let content;
        Ok(Self {
            attrs,
            vis,
            sig,
            brace: braced!(content in input),
            inner_attrs: content.call(Attribute::parse_inner)?,
            statements: content.parse()?,
        })
    }
}
