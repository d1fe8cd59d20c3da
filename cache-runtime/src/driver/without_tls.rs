//! No TLS: what is left of it without the features `tls` and `tls-ring`.

use std::path::PathBuf;

use tokio::io;

use crate::error::Error;

/// How to encrypt: without the features there is nothing to set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {}

/// The files that a URL names.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// One side of an encryption, of which no value exists.
#[derive(Debug, Clone)]
pub(super) enum TlsClient {}

impl TlsClient {
    pub(super) fn new(_settings: &Tls, _files: Files, _host: &str) -> Result<Self, Error> {
        Err(missing())
    }

    pub(super) fn at(&self, _host: &str) -> Result<Self, Error> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as that of a client")]
    pub(super) async fn encrypt<T>(&self, _stream: T, _address: &str) -> Result<T, Error> {
        match *self {}
    }

    pub(super) fn explain(&self, _address: &str, _error: &io::Error) -> Option<Error> {
        match *self {}
    }
}

/// What a URL with TLS means here.
pub(super) fn missing() -> Error {
    Error::config(
        "cache-runtime was built without TLS; turn on its feature `tls`, or `tls-ring`: \
         `cargo add cache-runtime --features tls`",
    )
}
