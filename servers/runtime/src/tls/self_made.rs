//! A certificate for those who have none: clients ask their users whether to trust it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mailfs::{FileSystem, FileSystemExt as _, FsError, RealDisk};
use rcgen::{CertificateParams, DnType, KeyPair};

use super::certificate::{CertificateFiles, TlsError};

/// The files' names.
const CERTIFICATE_NAME: &str = "self-made-certificate.pem";
const KEY_NAME: &str = "self-made-key.pem";
/// Mode of the key, and of the certificate that goes with it.
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;
/// How long it is valid: users have told their clients to trust this one.
const VALID_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How long ago it began, for clients whose clocks are late.
const VALID_SINCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The self-made certificate in a folder, made if it is not there: for `host_name`, `localhost` and the loopback
/// addresses. Blocks.
pub fn self_made_certificate(folder: &Path, host_name: &str) -> Result<CertificateFiles, TlsError> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealDisk::new());
    let files = CertificateFiles { certificate: folder.join(CERTIFICATE_NAME), key: folder.join(KEY_NAME) };
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |error: FsError| TlsError::Io { doing, path, source: std::io::Error::other(error) }
    };
    let there = |path: &Path| fs.exists(path).map_err(io("look at", path));
    if there(&files.certificate)? && there(&files.key)? {
        return Ok(files);
    }
    let (certificate, key) = make(host_name).map_err(|error| TlsError::Making(error.to_string()))?;
    let write =
        |path: &Path, pem: &str, mode| fs.write_atomic(path, pem.as_bytes(), mode, true).map_err(io("write", path));
    // The certificate last: where it is, its key is.
    write(&files.key, &key, KEY_MODE)?;
    write(&files.certificate, &certificate, CERTIFICATE_MODE)?;
    Ok(files)
}

/// Certificate and key in PEM.
fn make(host_name: &str) -> Result<(String, String), rcgen::Error> {
    let mut names = vec![host_name.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.dedup();
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, host_name);
    let now = SystemTime::now();
    params.not_before = (now - VALID_SINCE).into();
    params.not_after = (now + VALID_FOR).into();
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
