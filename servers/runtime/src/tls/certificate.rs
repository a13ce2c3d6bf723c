//! A certificate with its key, from PEM files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    SignatureScheme,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::end_point;

/// Largest PEM file that is read.
const PEM_LEN_MAX: u64 = 1024 * 1024;

/// Where a certificate and its key are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The certificate in PEM, followed by those of the authorities between it and a root.
    pub certificate: PathBuf,
    /// Its private key in PEM: PKCS #8, PKCS #1 or SEC1, without a pass phrase. May be the same file.
    pub key: PathBuf,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A file holds no certificate or key, or one that cannot be used.
    #[error("{} cannot be used: {why}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no certificate at all.
    #[error("TLS needs a certificate")]
    NoCertificate,
    /// The TLS library refused.
    #[error("TLS cannot be set up: {0}")]
    Configuration(#[source] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Making(String),
}

/// A certificate that can be used.
pub(super) struct Certificate {
    key: Arc<CertifiedKey>,
    /// Its DNS names, in lower case; some begin with `*.`.
    names: Vec<String>,
    end_point: Option<Vec<u8>>,
}

impl Certificate {
    pub(super) fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let unusable = |path: &Path, why: String| TlsError::Unusable { path: path.to_owned(), why };
        let pem = read(&files.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| unusable(&files.certificate, error.to_string()))?;
        let first = chain.first().ok_or_else(|| unusable(&files.certificate, "no certificate in it".to_owned()))?;
        let names = names(first).map_err(|error| unusable(&files.certificate, error.to_string()))?;
        let end_point = end_point::of(first);
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
            .map_err(|error| unusable(&files.key, error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| unusable(&files.key, format!("no key of {}: {error}", files.certificate.display())))?;
        Ok(Self { key: Arc::new(key), names, end_point })
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }

    /// Whether a client that knows these signatures can check this certificate's.
    pub(super) fn is_understood(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }

    /// Whether it is a host's; a `*` stands for one label.
    pub(super) fn has_name(&self, host: &str) -> bool {
        let parent = host.split_once('.').map_or("", |(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => domain.eq_ignore_ascii_case(parent),
            None => name.eq_ignore_ascii_case(host),
        })
    }

    /// What `tls-server-end-point` binds to.
    pub(super) fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }
}

fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let certificate = webpki::EndEntityCert::try_from(certificate)?;
    Ok(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let io = |doing, source| TlsError::Io { doing, path: path.to_owned(), source };
    let len = fs::metadata(path).map_err(|source| io("look at", source))?.len();
    if len > PEM_LEN_MAX {
        return Err(TlsError::Unusable { path: path.to_owned(), why: format!("larger than {PEM_LEN_MAX} bytes") });
    }
    fs::read(path).map_err(|source| io("read", source))
}
