//! Certificates that the tests make, for servers and clients with TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;

/// An authority that signs certificates. Its files are removed when it, and all that it has signed, are
/// dropped.
#[derive(Debug, Clone)]
pub struct Authority(Arc<Signer>);

#[derive(Debug)]
struct Signer {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Now,
    /// It has expired.
    Over,
    /// It is not valid yet.
    Later,
}

/// A certificate with its key, and the authority that has signed it, as files.
#[derive(Debug, Clone)]
pub struct Certificate {
    authority: Authority,
    name: String,
}

impl Authority {
    /// Another authority than all others.
    ///
    /// # Panics
    ///
    /// If there is no room for its files.
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("a certificate of its own");
        let dir = tempfile::tempdir().expect("a directory for certificates");
        fs::write(dir.path().join("ca.pem"), own.pem()).expect("a file");
        fs::write(dir.path().join("ca-key.pem"), key.serialize_pem()).expect("a file");
        let issuer = Issuer::new(params, key);
        Self(Arc::new(Signer { dir, issuer }))
    }

    /// Its own certificate, as that of a server.
    pub fn own(&self) -> Certificate {
        Certificate {
            authority: self.clone(),
            name: "ca".to_owned(),
        }
    }

    /// The file with its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for these hosts, names or addresses.
    ///
    /// # Panics
    ///
    /// If a name cannot be one, or there is no room for the files.
    pub fn sign(&self, hosts: &[&str], validity: Validity) -> Certificate {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        let (from, to) = match validity {
            Validity::Now => (2000, 3000),
            Validity::Over => (2000, 2001),
            Validity::Later => (2999, 3000),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let signed = params
            .signed_by(&key, &self.0.issuer)
            .expect("a certificate");
        let number = fs::read_dir(self.0.dir.path()).expect("its files").count();
        let certificate = Certificate {
            authority: self.clone(),
            name: number.to_string(),
        };
        fs::write(certificate.file(), signed.pem()).expect("a file");
        fs::write(certificate.key_file(), key.serialize_pem()).expect("a file");
        certificate
    }

    /// A certificate for servers of the tests, which are on this machine.
    ///
    /// # Panics
    ///
    /// As [`sign`](Self::sign).
    pub fn sign_local(&self) -> Certificate {
        self.sign(&["127.0.0.1", "localhost"], Validity::Now)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.dir.path().join(name)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    /// The file with the certificate.
    pub fn file(&self) -> PathBuf {
        self.authority.path(&format!("{}.pem", self.name))
    }

    /// The file with its key.
    pub fn key_file(&self) -> PathBuf {
        self.authority.path(&format!("{}-key.pem", self.name))
    }

    /// The file with the certificate of the authority that has signed it.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// Puts another certificate and its key into the files of this one.
    ///
    /// # Panics
    ///
    /// If the files cannot be written.
    pub fn replace_by(&self, other: &Certificate) {
        let copy = |from: &Path, to: &Path| fs::copy(from, to).expect("files");
        copy(&other.file(), &self.file());
        copy(&other.key_file(), &self.key_file());
    }
}
