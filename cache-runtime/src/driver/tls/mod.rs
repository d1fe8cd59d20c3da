//! TLS: which certificates are accepted and shown, and how a connection is encrypted.
//!
//! Not by redis-rs, whose TLS takes the provider of cryptography that is the process's default: where a
//! program has two providers, or none, that panics. And its errors do not say what is wrong with a
//! certificate.

mod config;
mod explain;
mod pem;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use self::config::Configs;
use crate::error::Error;

/// How connections with TLS are made, for [`CacheBuilder::tls`](crate::CacheBuilder::tls). With the
/// feature `tls` or `tls-ring`.
///
/// It says which certificate the server must show, and which one this process shows. *Whether* a
/// connection is encrypted is said by the URL: it is if that is `rediss://`, `valkeys://` or `upstash://`. For any
/// other URL these settings do nothing, so a program can have them and use `redis://localhost` where
/// it is developed.
///
/// Without any setting, a server needs a certificate for the host of the URL, by an authority that
/// the system trusts. All files are in the form PEM. They are read when the cache is built, and
/// again for each new connection, so that a certificate can be replaced while the program runs. A
/// file that cannot be read then leaves in force what was read before.
///
/// The cryptography is by the [provider] that the program has installed as its default; if there is
/// none, by aws-lc-rs (feature `tls`), else by ring (feature `tls-ring`). Nothing is installed.
///
/// [provider]: https://docs.rs/rustls/0.23/rustls/crypto/struct.CryptoProvider.html
///
/// ```
/// use cache_runtime::{Cache, Tls};
///
/// let tls = Tls::new().ca_file("/etc/redis/ca.pem");
/// let built = Cache::builder().url("rediss://cache.example.com").tls(tls).build();
/// // This file does not exist here.
/// assert!(built.unwrap_err().to_string().contains("`/etc/redis/ca.pem` cannot be read"));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "it does nothing until a builder has it"]
pub struct Tls {
    files: Files,
    server_name: Option<String>,
    accepts_any: bool,
}

/// The files that are named by a URL, or by [`Tls`].
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl Tls {
    /// The settings that most servers need: the authorities that the system trusts, and no client
    /// certificate.
    ///
    /// ```
    /// let cache = cache_runtime::Cache::builder()
    ///     .url("rediss://cache.example.com")
    ///     .tls(cache_runtime::Tls::new())
    ///     .build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the file with the certificates of the authorities to trust, and of no others: those of the
    /// system are not trusted then. `?ca=/path` in the URL takes its place.
    ///
    /// ```
    /// let tls = cache_runtime::Tls::new().ca_file("/etc/redis/ca.pem");
    /// # let _ = tls;
    /// ```
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.ca = Some(path.into());
        self
    }

    /// Sets the certificate that this process shows to servers that ask for one, and its private key. The
    /// first file may also hold the certificates of the authorities between this one and the one that
    /// the server trusts. The key must not be encrypted. `?cert=/path&key=/path` in the URL takes their place.
    ///
    /// ```
    /// let tls = cache_runtime::Tls::new().client_files("/etc/app/cert.pem", "/etc/app/key.pem");
    /// # let _ = tls;
    /// ```
    pub fn client_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.files.certificate = Some(certificate.into());
        self.files.key = Some(key.into());
        self
    }

    /// Sets the name, or the IP address, that the server's certificate must be for. Default: the host of
    /// the URL. It is for connections through a tunnel, or to an address that the certificate does
    /// not name.
    ///
    /// ```
    /// let tls = cache_runtime::Tls::new().server_name("cache.example.com");
    /// let cache = cache_runtime::Cache::builder().url("rediss://127.0.0.1:7000").tls(tls).build()?;
    /// # let _ = cache;
    /// # Ok::<_, cache_runtime::Error>(())
    /// ```
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Accepts any certificate, by any authority and for any name. Then an attacker in the network's path
    /// can read and change what is sent, the password too, although it is encrypted. For tests; a
    /// warning in the log says that it is on. It cannot be had together with a file of authorities.
    ///
    /// ```
    /// let tls = cache_runtime::Tls::new().insecure_accept_any_certificate();
    /// # let _ = tls;
    /// ```
    pub fn insecure_accept_any_certificate(mut self) -> Self {
        self.accepts_any = true;
        self
    }
}

/// Encrypts connections to one server.
#[derive(Debug, Clone)]
pub(super) struct TlsClient {
    configs: Arc<Configs>,
    /// What the certificate must be for.
    name: ServerName<'static>,
    /// Whether the name is set for all hosts.
    is_set: bool,
    /// With what a URL without TLS begins, for messages.
    plain: &'static str,
}

impl TlsClient {
    /// A client for the server at `host`. Reads the files that `settings` and a URL name.
    pub(super) fn new(settings: &Tls, files: Files, host: &str) -> Result<Self, Error> {
        let by_url = files.certificate.is_some() || files.key.is_some();
        let client = if by_url { &files } else { &settings.files };
        let client = match (&client.certificate, &client.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => {
                return Err(Error::config(
                    "a client certificate has two files; write both: \
                     `?cert=/path/to/cert.pem&key=/path/to/key.pem`",
                ));
            }
        };
        let ca = files.ca.or_else(|| settings.files.ca.clone());
        if settings.accepts_any && ca.is_some() {
            return Err(Error::config(
                "one setting names the authority to trust, and `insecure_accept_any_certificate` \
                 accepts any; leave one of them out",
            ));
        }
        let name = server_name(settings.server_name.as_deref().unwrap_or(host))?;
        if settings.accepts_any {
            tracing::warn!(
                host,
                "the certificate of the cache's server is not checked: any is accepted"
            );
        }
        let configs = Configs::new(ca, client, settings.accepts_any).map_err(Error::config)?;
        Ok(Self {
            configs: Arc::new(configs),
            name,
            is_set: settings.server_name.is_some(),
            plain: "redis://",
        })
    }

    /// A client for the server at another host, with the same files.
    pub(super) fn at(&self, host: &str) -> Result<Self, Error> {
        let name = if self.is_set {
            self.name.clone()
        } else {
            server_name(host)?
        };
        Ok(Self {
            configs: self.configs.clone(),
            name,
            is_set: self.is_set,
            plain: self.plain,
        })
    }

    /// What the certificate must be for.
    #[cfg(all(test, feature = "redis"))]
    pub(super) fn name(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// A client for URLs that would begin with `plain` if they were without TLS.
    #[cfg(feature = "__upstash")]
    pub(super) fn instead_of(mut self, plain: &'static str) -> Self {
        self.plain = plain;
        self
    }

    /// Agrees with the server on an encryption, and checks its certificate.
    pub(super) async fn encrypt(
        &self,
        tcp: TcpStream,
        address: &str,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let config = self.configs.current().await;
        let config = config.map_err(|reason| Error::unavailable(address, &reason))?;
        // The end of the handshake and the first request are two small writes: without this, the
        // second one could wait for an acknowledgement of the first.
        let _ = tcp.set_nodelay(true);
        let connected = TlsConnector::from(config).connect(self.name.clone(), tcp);
        connected.await.map_err(|error| {
            let explained = self.explain(address, &error);
            explained.unwrap_or_else(|| explain::handshake(address, &error, self.plain))
        })
    }

    /// What an error means, if it is TLS's.
    pub(super) fn explain(&self, address: &str, error: &io::Error) -> Option<Error> {
        let error = error.get_ref()?.downcast_ref()?;
        Some(explain::tls(
            address,
            error,
            &self.configs.described(),
            self.plain,
        ))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        Error::config(format!(
            "`{name}` cannot be the name of a server in a certificate; set one by \
             `Tls::server_name`"
        ))
    })
}
