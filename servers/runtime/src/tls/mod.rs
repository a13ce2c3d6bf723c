//! TLS for listeners and for STARTTLS: rustls with aws-lc-rs, versions 1.2 and 1.3.
//!
//! Invariants:
//! - Certificates are replaced as a whole ([`Tls::reload`]) or not at all; a session goes on with those it began with.
//! - A client that does not finish its handshake in time is dropped.
//! - The private key of a self-made certificate is readable by its owner only.

mod certificate;
mod end_point;
mod self_made;

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use auth::sasl::ChannelBinding;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{Acceptor, NoServerSessionStorage},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

pub use certificate::{CertificateFiles, TlsError};
pub use self_made::self_made_certificate;

use crate::Stream;
use certificate::Certificate;

/// The label and length of the channel binding `tls-exporter` (RFC 9266 §4.1).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
const EXPORTER_LEN: usize = 32;

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// What TLS is made of.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Certificates with their keys. A client gets the first that has the name it asked for and a key that it
    /// understands; the first of all where none has the name or it asked for none.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken.
    pub oldest_version: TlsVersion,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { certificates: Vec::new(), oldest_version: TlsVersion::V1_2, handshake_timeout: Duration::from_secs(15) }
    }
}

/// Makes TLS of streams. Cheap to clone; all clones are reloaded at once.
#[derive(Clone)]
pub struct Tls {
    loaded: Arc<ArcSwap<Loaded>>,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsInfo {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite's name, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The host name that the client asked for (SNI).
    pub server_name: Option<Arc<str>>,
    /// What SCRAM-SHA-256-PLUS binds to.
    pub channel_binding: ChannelBinding,
}

/// Certificates and their configurations.
struct Loaded {
    certificates: Vec<(Certificate, Arc<ServerConfig>)>,
    handshake_timeout: Duration,
}

impl Tls {
    /// Reads the certificates. Blocks for as long as files do.
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        Ok(Self { loaded: Arc::new(ArcSwap::from_pointee(load(options)?)) })
    }

    /// Reads the certificates anew, for handshakes that begin from now on. Where that fails, everything stays as it was.
    pub fn reload(&self, options: &TlsOptions) -> Result<(), TlsError> {
        self.loaded.store(Arc::new(load(options)?));
        Ok(())
    }

    /// Shakes hands with a client.
    pub async fn accept(&self, stream: Stream) -> io::Result<(Stream, TlsInfo)> {
        let loaded = self.loaded.load_full();
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
        // Boxed, so that a session that has no TLS pays for none.
        let handshake = Box::pin(handshake(&loaded, stream));
        timeout(loaded.handshake_timeout, handshake).await.map_err(|_| late())?
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificates", &self.loaded.load().certificates.len()).finish()
    }
}

fn load(options: &TlsOptions) -> Result<Loaded, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut certificates = Vec::with_capacity(options.certificates.len());
    for files in &options.certificates {
        let certificate = Certificate::load(files, &provider)?;
        let config = configuration(&certificate, options, &provider)?;
        certificates.push((certificate, config));
    }
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(Loaded { certificates, handshake_timeout: options.handshake_timeout })
}

fn configuration(
    certificate: &Certificate,
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let versions: &[&rustls::SupportedProtocolVersion] = match options.oldest_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Configuration)?
        .with_no_client_auth()
        .with_cert_resolver(certificate.resolver());
    // Tickets keep sessions with the clients; there is no table of them here that strangers could fill.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Configuration)?;
    // In TLS 1.3 a ticket comes behind the handshake, where programs that read and write one OpenSSL connection from two
    // threads trip over it (docs/decisions/tls-and-passwords.md).
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

async fn handshake(loaded: &Loaded, stream: Stream) -> io::Result<(Stream, TlsInfo)> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let schemes = hello.signature_schemes();
    let server_name: Option<Arc<str>> = hello.server_name().map(Arc::from);
    let understood = |certificate: &Certificate| certificate.is_understood(schemes);
    let named = |certificate: &Certificate| server_name.as_deref().is_some_and(|name| certificate.has_name(name));
    let all = || loaded.certificates.iter();
    let chosen = all()
        .find(|(certificate, _)| named(certificate) && understood(certificate))
        .or_else(|| all().find(|(certificate, _)| understood(certificate)))
        .or_else(|| all().next());
    let (certificate, config) = chosen.ok_or_else(|| io::Error::other("there is no certificate"))?;
    let stream = start.into_stream(Arc::clone(config)).await?;
    let info = info(&stream, certificate, server_name)?;
    Ok((Stream::new(Encrypted(stream)), info))
}

fn info(stream: &TlsStream<Stream>, certificate: &Certificate, server_name: Option<Arc<str>>) -> io::Result<TlsInfo> {
    let (_, connection) = stream.get_ref();
    let unknown = || io::Error::other("the TLS handshake agreed on nothing");
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
        Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
        _ => return Err(unknown()),
    };
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).ok_or_else(unknown)?;
    // With TLS 1.2 it is unique only with the extended master secret (RFC 9266 §4.2), of which rustls does not tell.
    let exporter = match version {
        TlsVersion::V1_3 => connection.export_keying_material([0; EXPORTER_LEN], EXPORTER_LABEL, Some(b"")).ok(),
        TlsVersion::V1_2 => None,
    };
    let server_end_point = certificate.end_point().map(<[u8]>::to_vec);
    Ok(TlsInfo { version, cipher, server_name, channel_binding: ChannelBinding { exporter, server_end_point } })
}

/// TLS, whose end may come without goodbye: many clients hang up so, and what mail's protocols carry says itself where
/// it ends.
struct Encrypted(TlsStream<Stream>);

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            poll => poll,
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
