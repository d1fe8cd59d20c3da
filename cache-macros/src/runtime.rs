//! Where an expansion finds the runtime.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::Path;

/// `cache_runtime`, by the path that the user's crate has for it.
#[derive(Default)]
pub(crate) struct Runtime(Option<Path>);

impl Runtime {
    /// `crate = path`
    pub(crate) fn at(path: Path) -> Self {
        Self(Some(path))
    }

    /// The path, to be blamed at `span`.
    pub(crate) fn path(&self, span: Span) -> TokenStream {
        let Some(path) = &self.0 else {
            return quote_spanned!(span=> ::cache_runtime);
        };
        let blamed = |mut token: TokenTree| {
            // Found where the user wrote it, which may be another macro.
            token.set_span(span.resolved_at(token.span()));
            token
        };
        path.to_token_stream().into_iter().map(blamed).collect()
    }

    /// The module of what expansions use, to be blamed at `span`.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        let path = self.path(span);
        quote_spanned!(span=> #path::__private)
    }
}
