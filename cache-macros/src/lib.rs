//! stub docs
mod attr;
mod duration;
mod errors;
mod expand;
mod lower;
mod template;

use proc_macro::TokenStream;

/// x
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cached(args.into(), item.into()).into()
}

/// x
#[proc_macro_attribute]
pub fn cache_invalidate(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cache_invalidate(args.into(), item.into()).into()
}

/// x
#[proc_macro]
pub fn key(template: TokenStream) -> TokenStream {
    expand::key(template.into()).into()
}
