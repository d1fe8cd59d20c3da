//! The path by which an expansion names the runtime.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::Path;

/// The path of `cache_runtime` in the user's crate.
#[derive(Default)]
pub(crate) struct Runtime(Option<Path>);

impl Runtime {
    /// `crate = path`
    pub(crate) fn at(path: Path) -> Self {
        Self(Some(path))
    }

    /// The path, with a span at which the compiler reports errors about it.
    pub(crate) fn path(&self, span: Span) -> TokenStream {
        let Some(path) = &self.0 else {
            return quote_spanned!(span=> ::cache_runtime);
        };
        let blamed = |mut token: TokenTree| {
            // It is still resolved where the user wrote it, which may be in a macro.
            token.set_span(span.resolved_at(token.span()));
            token
        };
        path.to_token_stream().into_iter().map(blamed).collect()
    }

    /// The path of the module for expansions.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        let path = self.path(span);
        quote_spanned!(span=> #path::__private)
    }
}
