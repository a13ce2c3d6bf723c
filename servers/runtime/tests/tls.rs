//! TLS as clients meet it: rustls as one, and openssl where it is there.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use culver_runtime::{CertificateFiles, Stream, Tls, TlsError, TlsInfo, TlsOptions, TlsVersion, self_made_certificate};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256, Sha384};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::TcpListener,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate for these names, signed by itself.
fn certificate(folder: &Path, names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> CertificateFiles {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let file = |end: &str, text: String| -> PathBuf {
        let path = folder.join(format!("{}.{end}", names[0]));
        fs::write(&path, text).unwrap();
        path
    };
    CertificateFiles { certificate: file("crt", certificate.pem()), key: file("key", key.serialize_pem()) }
}

fn options(certificates: &[&CertificateFiles]) -> TlsOptions {
    TlsOptions { certificates: certificates.iter().map(|&files| files.clone()).collect(), ..TlsOptions::default() }
}

fn der(files: &CertificateFiles) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&files.certificate).unwrap()
}

struct Connected {
    client: TlsStream<DuplexStream>,
    server: Stream,
    info: TlsInfo,
}

/// A client that trusts this certificate and asks for this host.
async fn connect(
    tls: &Tls,
    trusted: &CertificateFiles,
    host: &str,
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<Connected, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(der(trusted)).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let (client, accepted) = tokio::join!(connector.connect(name, near), tls.accept(Stream::new(far)));
    let (client, (server, info)) = (client?, accepted?);
    Ok(Connected { client, server, info })
}

impl Connected {
    async fn speaks(&mut self) {
        let mut word = [0; 5];
        self.client.write_all(b"hello").await.unwrap();
        self.server.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"hello");
        self.server.write_all(b"there").await.unwrap();
        self.server.flush().await.unwrap();
        self.client.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"there");
    }
}

#[tokio::test]
async fn both_versions_and_what_they_bind_to() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), &["mail.example.org"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::new(&options(&[&files])).unwrap();
    let end_point = Sha256::digest(der(&files)).to_vec();

    let mut new = connect(&tls, &files, "mail.example.org", &rustls::version::TLS13).await.unwrap();
    new.speaks().await;
    assert_eq!((new.info.version, new.info.server_name.as_deref()), (TlsVersion::V1_3, Some("mail.example.org")));
    assert!(new.info.cipher.starts_with("TLS13_"), "{}", new.info.cipher);
    let (_, connection) = new.client.get_ref();
    let exported = connection.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    assert_eq!(new.info.channel_binding.exporter, Some(exported));
    assert_eq!(new.info.channel_binding.server_end_point, Some(end_point.clone()));

    let mut old = connect(&tls, &files, "mail.example.org", &rustls::version::TLS12).await.unwrap();
    old.speaks().await;
    assert_eq!((old.info.version, old.info.channel_binding.exporter), (TlsVersion::V1_2, None));
    assert_eq!(old.info.channel_binding.server_end_point, Some(end_point));

    let new_only = TlsOptions { oldest_version: TlsVersion::V1_3, ..options(&[&files]) };
    tls.reload(&new_only).unwrap();
    assert!(connect(&tls, &files, "mail.example.org", &rustls::version::TLS12).await.is_err());
}

#[tokio::test]
async fn end_points_are_hashed_as_certificates_are_signed() {
    let folder = tempfile::tempdir().unwrap();
    let p384 = certificate(folder.path(), &["a.example"], &rcgen::PKCS_ECDSA_P384_SHA384);
    let edwards = certificate(folder.path(), &["b.example"], &rcgen::PKCS_ED25519);
    let tls = Tls::new(&options(&[&p384, &edwards])).unwrap();
    let first = connect(&tls, &p384, "a.example", &rustls::version::TLS13).await.unwrap();
    assert_eq!(first.info.channel_binding.server_end_point, Some(Sha384::digest(der(&p384)).to_vec()));
    let second = connect(&tls, &edwards, "b.example", &rustls::version::TLS13).await.unwrap();
    assert_eq!(second.info.channel_binding.server_end_point, None, "not defined");
    assert!(second.info.channel_binding.exporter.is_some());
}

#[tokio::test]
async fn each_name_has_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let one = certificate(folder.path(), &["mail.one.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let two = certificate(folder.path(), &["*.two.example", "two.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::new(&options(&[&one, &two])).unwrap();
    let connects = async |files, host| connect(&tls, files, host, &rustls::version::TLS13).await.is_ok();
    assert!(connects(&one, "mail.one.example").await);
    assert!(connects(&two, "imap.two.example").await);
    assert!(connects(&two, "TWO.example").await);
    assert!(!connects(&two, "a.b.two.example").await, "a star is one label");
    assert!(!connects(&two, "mail.one.example").await);
    assert!(!connects(&one, "other.example").await, "the first certificate, which is not for that name");
}

#[tokio::test]
async fn certificates_are_replaced_under_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let old = certificate(folder.path(), &["old.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let new = certificate(folder.path(), &["new.example"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::new(&options(&[&old])).unwrap();
    let mut session = connect(&tls, &old, "old.example", &rustls::version::TLS13).await.unwrap();

    let wrong = CertificateFiles { key: old.key.clone(), ..new.clone() };
    assert!(matches!(tls.reload(&options(&[&wrong])), Err(TlsError::Unusable { .. })));
    let missing = CertificateFiles { certificate: folder.path().join("missing"), ..new.clone() };
    assert!(matches!(tls.reload(&options(&[&missing])), Err(TlsError::Io { .. })));
    assert!(matches!(tls.reload(&options(&[])), Err(TlsError::NoCertificate)));
    assert!(connect(&tls, &old, "old.example", &rustls::version::TLS13).await.is_ok(), "nothing has changed");

    tls.clone().reload(&options(&[&new])).unwrap();
    assert!(connect(&tls, &old, "old.example", &rustls::version::TLS13).await.is_err());
    assert!(connect(&tls, &new, "new.example", &rustls::version::TLS13).await.is_ok());
    session.speaks().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_shake_hands_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), &["mail.example.org"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::new(&TlsOptions { handshake_timeout: Duration::from_secs(7), ..options(&[&files]) }).unwrap();
    let (_near, far) = tokio::io::duplex(1024);
    let began = tokio::time::Instant::now();
    let error = tls.accept(Stream::new(far)).await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed().as_secs()), (std::io::ErrorKind::TimedOut, 7));
}

#[tokio::test]
async fn who_speaks_no_tls_gets_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), &["mail.example.org"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::new(&options(&[&files])).unwrap();
    let (mut near, far) = tokio::io::duplex(1024);
    near.write_all(b"a LOGIN ann secret\r\n").await.unwrap();
    assert!(tls.accept(Stream::new(far)).await.is_err());
}

#[tokio::test]
async fn hanging_up_without_a_goodbye_is_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), &["mail.example.org"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::new(&options(&[&files])).unwrap();
    let mut connected = connect(&tls, &files, "mail.example.org", &rustls::version::TLS13).await.unwrap();
    connected.speaks().await;
    drop(connected.client);
    assert_eq!(connected.server.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_self_made_certificate_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = self_made_certificate(folder.path(), "mail.example.org").unwrap();
    assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&files.certificate).unwrap();
    assert_eq!(self_made_certificate(folder.path(), "mail.example.org").unwrap(), files);
    assert_eq!(fs::read(&files.certificate).unwrap(), before);
    let tls = Tls::new(&options(&[&files])).unwrap();
    for host in ["mail.example.org", "localhost", "127.0.0.1"] {
        connect(&tls, &files, host, &rustls::version::TLS13).await.unwrap().speaks().await;
    }
}

/// Another implementation: versions, and a session that is taken up again by its ticket, of which TLS 1.3 has none here
/// (`docs/decisions/tls-and-passwords.md`).
#[tokio::test(flavor = "multi_thread")]
async fn openssl_connects_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), &["mail.example.org"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = Tls::new(&options(&[&files])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok((mut stream, _)) = tls.accept(stream.into()).await else { continue };
            let _ = stream.write_all(b"* OK here\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let session = folder.path().join("session").to_string_lossy().into_owned();
    let certificate = files.certificate.to_string_lossy().into_owned();
    let openssl = move |arguments: &[&str]| {
        let common = ["s_client", "-connect", &address, "-servername", "mail.example.org", "-CAfile", &certificate];
        let mut command = Command::new("openssl");
        command.args(common).args(["-verify_return_error", "-ign_eof"]).args(arguments);
        // It says nothing, and so ends when the server does.
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        match child {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            child => Some(child.unwrap().wait_with_output().unwrap()),
        }
    };
    let said = tokio::task::spawn_blocking(move || {
        let text =
            |arguments: &[&str]| openssl(arguments).map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let new = text(&["-tls1_3"])?;
        let old = text(&["-tls1_2", "-sess_out", &session])?;
        let again = text(&["-tls1_2", "-sess_in", &session])?;
        let ancient = text(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])?;
        Some([new, old, again, ancient])
    });
    let Some([new, old, again, ancient]) = said.await.unwrap() else { return };
    assert!(new.contains("* OK here") && new.contains("New, TLSv1.3"), "{new}");
    assert!(!new.contains("Post-Handshake New Session Ticket"), "{new}");
    assert!(old.contains("* OK here") && old.contains("New, TLSv1.2"), "{old}");
    assert!(again.contains("* OK here") && again.contains("Reused, TLSv1.2"), "{again}");
    assert!(!ancient.contains("* OK here"), "{ancient}");
}
