//! Certificates and keys from files.

use std::fs;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the files hold, as it was read.
#[derive(PartialEq)]
pub(super) struct Contents {
    pub(super) ca: Option<Vec<u8>>,
    /// A certificate and its key.
    pub(super) client: Option<[Vec<u8>; 2]>,
}

/// The files, and what each is for.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) ca: Option<PathBuf>,
    /// A certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl Paths {
    pub(super) fn read(&self) -> Result<Contents, String> {
        let ca = self.ca.as_deref().map(read).transpose()?;
        let client = match &self.client {
            Some((certificate, key)) => Some([read(certificate)?, read(key)?]),
            None => None,
        };
        Ok(Contents { ca, client })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ca.is_none() && self.client.is_none()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| {
        let path = path.display();
        format!("`{path}` cannot be read: {error}; write the path of a PEM file")
    })
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|error| {
            let path = path.display();
            format!("`{path}` has a certificate that cannot be one of an authority: {error}")
        })?;
    }
    Ok(roots)
}

/// The certificates in a file: at least one.
pub(super) fn certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!(
            "`{}` has no certificate; a PEM file has one between `-----BEGIN CERTIFICATE-----` and \
             `-----END CERTIFICATE-----`",
            path.display()
        )),
        Ok(found) => Ok(found),
        Err(error) => Err(format!(
            "`{}` is no valid PEM file: {error}",
            path.display()
        )),
    }
}

/// The private key in a file.
pub(super) fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let path = path.display();
        match error {
            PemError::NoItemsFound => format!(
                "`{path}` has no private key that can be read; a PEM file has one behind \
                 `-----BEGIN PRIVATE KEY-----`, and it must not be encrypted \
                 (`openssl pkey -in {path}` decrypts it)"
            ),
            error => format!("`{path}` is no valid PEM file: {error}"),
        }
    })
}
