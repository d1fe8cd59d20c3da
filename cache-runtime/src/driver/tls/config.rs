//! What rustls is told: the provider of cryptography, the authorities to trust, and the client
//! certificate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::pem::{self, Contents, Paths};

/// The configurations of rustls, one after the other as the files change.
#[derive(Debug)]
pub(super) struct Configs {
    paths: Paths,
    accepts_any: bool,
    current: Mutex<Option<Current>>,
}

/// The newest configuration. It is kept while the files stay the same: rustls resumes sessions by it.
struct Current {
    contents: Contents,
    config: Arc<ClientConfig>,
}

/// For messages: what a configuration is made of.
pub(super) struct Described {
    /// The authorities that it trusts.
    pub(super) trusted: String,
    pub(super) has_client_certificate: bool,
}

impl Configs {
    /// Reads the files, and checks what they hold.
    pub(super) fn new(
        ca: Option<PathBuf>,
        client: Option<(PathBuf, PathBuf)>,
        accepts_any: bool,
    ) -> Result<Self, String> {
        let paths = Paths { ca, client };
        let configs = Self {
            paths,
            accepts_any,
            current: Mutex::new(None),
        };
        let contents = configs.paths.read()?;
        // The certificates of the system are read with the first connection, off the async threads:
        // that may take long, and no method of a builder should.
        if configs.trusts_system() {
            configs.make(&contents, RootCertStore::empty().into())?;
        } else {
            configs.renew(contents)?;
        }
        Ok(configs)
    }

    /// The configuration for a new connection.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<ClientConfig>, String> {
        if self.paths.is_empty()
            && let Some(config) = self.config_if(|_| true)
        {
            return Ok(config);
        }
        let configs = self.clone();
        let refreshed = tokio::task::spawn_blocking(move || configs.refresh()).await;
        refreshed.unwrap_or_else(|error| Err(error.to_string()))
    }

    pub(super) fn described(&self) -> Described {
        Described {
            trusted: match &self.paths.ca {
                Some(path) => format!("`{}`", path.display()),
                None => "what the system trusts".to_owned(),
            },
            has_client_certificate: self.paths.client.is_some(),
        }
    }

    fn trusts_system(&self) -> bool {
        self.paths.ca.is_none() && !self.accepts_any
    }

    fn refresh(&self) -> Result<Arc<ClientConfig>, String> {
        let renewed = self.paths.read().and_then(|contents| {
            let same = self.config_if(|current| *current == contents);
            same.map_or_else(|| self.renew(contents), Ok)
        });
        // A file may be half written now. If what it held before is refused, that is said.
        renewed.or_else(|reason| {
            tracing::debug!(reason, "the files for TLS are not read anew");
            self.config_if(|_| true).ok_or(reason)
        })
    }

    /// The configuration that there is, if the contents that it was made of are as asked for.
    fn config_if(&self, asked: impl FnOnce(&Contents) -> bool) -> Option<Arc<ClientConfig>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let current = current
            .as_ref()
            .filter(|current| asked(&current.contents))?;
        Some(current.config.clone())
    }

    fn renew(&self, contents: Contents) -> Result<Arc<ClientConfig>, String> {
        let roots = match (&self.paths.ca, &contents.ca) {
            (Some(path), Some(ca)) => pem::authorities(path, ca)?.into(),
            _ if self.accepts_any => RootCertStore::empty().into(),
            _ => system_roots()?,
        };
        let config = self.make(&contents, roots)?;
        let renewed = Current {
            contents,
            config: config.clone(),
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewed);
        Ok(config)
    }

    fn make(
        &self,
        contents: &Contents,
        roots: Arc<RootCertStore>,
    ) -> Result<Arc<ClientConfig>, String> {
        let provider = provider()?;
        let unusable = |error: TlsError| format!("TLS cannot be used: {error}");
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = if self.accepts_any {
            let verifier = Arc::new(AcceptsAny(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        } else {
            builder.with_root_certificates(roots)
        };
        let config = match (&self.paths.client, &contents.client) {
            (Some((certificate, key)), Some([chain, private])) => {
                let chain = pem::certificates(certificate, chain)?;
                let private = pem::key(key, private)?;
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!(
                        "`{certificate}` and `{key}` cannot be used as a client certificate and \
                         its key: {error}"
                    )
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

/// The program's own choice, if it has made one. Never the features of rustls: where other crates of
/// the program turn on two of them, rustls does not choose, and panics.
fn provider() -> Result<Arc<CryptoProvider>, String> {
    #[cfg(feature = "tls")]
    let built_in = Some(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider);
    #[cfg(all(feature = "tls-ring", not(feature = "tls")))]
    let built_in = Some(tokio_rustls::rustls::crypto::ring::default_provider);
    #[cfg(not(any(feature = "tls", feature = "tls-ring")))]
    let built_in = None::<fn() -> CryptoProvider>;
    let installed = CryptoProvider::get_default().cloned();
    installed
        .or_else(|| built_in.map(|provider| provider().into()))
        .ok_or_else(|| {
            "TLS needs cryptography; turn on the feature `tls` or `tls-ring` of cache-runtime, or \
             install a provider of rustls"
                .to_owned()
        })
}

/// The authorities that the system trusts, read once.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map(|error| format!(" ({error})"));
        return Err(format!(
            "the system has no certificates of authorities{}; install them (`ca-certificates`), or \
             name the server's authority by `?ca=/path/to/ca.pem` in the URL",
            reason.unwrap_or_default()
        ));
    }
    Ok(ROOTS.get_or_init(|| roots.into()).clone())
}

/// Accepts any certificate. The server must still have the key of the one that it shows.
#[derive(Debug)]
struct AcceptsAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptsAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Without the private key.
impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}
