//! Certificates of the configuration.

use culver_runtime::{CertificateFiles, TlsOptions, TlsVersion, self_made_certificate};
use mailfs::{FileSystemExt as _, RealDisk};

use crate::config::{
    Config,
    tables::{self, ListenerTls},
};

/// The folder of self-made certificates, within the data folder.
const FOLDER: &str = "tls";
/// Its mode.
const FOLDER_MODE: u32 = 0o700;

/// What TLS is made of; `None` where no listener has it. Makes a certificate where none is named. Blocks.
pub(crate) fn options(config: &Config, host_name: &str) -> anyhow::Result<Option<TlsOptions>> {
    if config.listeners.iter().all(|listener| listener.tls_mode() == ListenerTls::None) {
        return Ok(None);
    }
    let mut certificates: Vec<_> = named(config);
    if config.tls.certificate.is_none() {
        let folder = config.path(FOLDER.as_ref());
        RealDisk::new().create_dir_all(&folder, FOLDER_MODE)?;
        certificates.insert(0, self_made_certificate(&folder, host_name)?);
    }
    Ok(Some(with_certificates(config, certificates)))
}

/// The certificates that the configuration names, `[tls]`'s first.
fn named(config: &Config) -> Vec<CertificateFiles> {
    let first = files(config, config.tls.certificate.as_deref(), config.tls.key.as_deref());
    let further = |name: &tables::TlsName| files(config, name.certificate.as_deref(), name.key.as_deref());
    first.into_iter().chain(config.tls_names.iter().filter_map(further)).collect()
}

/// A certificate and its key, the paths made whole.
pub(crate) fn files(
    config: &Config,
    certificate: Option<&std::path::Path>,
    key: Option<&std::path::Path>,
) -> Option<CertificateFiles> {
    let certificate = certificate?;
    let key = key.unwrap_or(certificate);
    Some(CertificateFiles { certificate: config.path(certificate), key: config.path(key) })
}

/// The options, with these certificates.
pub(crate) fn with_certificates(config: &Config, certificates: Vec<CertificateFiles>) -> TlsOptions {
    let oldest_version = match *config.tls.oldest_version {
        tables::TlsVersion::V1_2 => TlsVersion::V1_2,
        tables::TlsVersion::V1_3 => TlsVersion::V1_3,
    };
    TlsOptions { certificates, oldest_version, handshake_timeout: config.tls.handshake_timeout.0 }
}
