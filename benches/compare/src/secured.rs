//! A client within TLS, with or without COMPRESS: only as much of one as it takes to wait.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use testkit::dovecot::PASSWORD;

/// A connection.
pub(crate) struct Secured {
    stream: StreamOwned<ClientConnection, TcpStream>,
    deflate: Option<Box<(Compress, Decompress)>>,
    input: Vec<u8>,
}

impl Secured {
    /// Logs in, selects INBOX and waits in IDLE.
    pub(crate) fn idling(address: SocketAddr, user: &str, compress: bool) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
        let mut secured = Self { stream: StreamOwned::new(connection, socket), deflate: None, input: Vec::new() };
        secured.read_to("* OK")?;
        secured.ok(&format!("LOGIN {user} {PASSWORD}"))?;
        if compress {
            secured.ok("COMPRESS DEFLATE")?;
            let pair = (Compress::new(Compression::default(), false), Decompress::new(false));
            secured.deflate = Some(Box::new(pair));
        }
        secured.ok("SELECT INBOX")?;
        secured.write(b"a IDLE\r\n")?;
        secured.read_to("+ ")?;
        Ok(secured)
    }

    fn ok(&mut self, command: &str) -> anyhow::Result<()> {
        self.write(format!("a {command}\r\n").as_bytes())?;
        let answer = self.read_to("a ")?;
        ensure!(answer.starts_with("a OK"), "{command}: {answer}");
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.deflate {
            Some(pair) => {
                let mut out = Vec::with_capacity(bytes.len() + 256);
                pair.0.compress_vec(bytes, &mut out, FlushCompress::Sync)?;
                self.stream.write_all(&out)?;
            }
            None => self.stream.write_all(bytes)?,
        }
        Ok(self.stream.flush()?)
    }

    /// Reads lines up to one that begins so.
    fn read_to(&mut self, begin: &str) -> anyhow::Result<String> {
        loop {
            while let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                if line.starts_with(begin.as_bytes()) {
                    return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).context("reading")?;
            ensure!(read > 0, "the server closed the connection");
            match &mut self.deflate {
                Some(pair) => inflate(&mut pair.1, &buffer[..read], &mut self.input)?,
                None => self.input.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

fn inflate(decompress: &mut Decompress, mut bytes: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        out.reserve(8192);
        let before = decompress.total_in();
        decompress.decompress_vec(bytes, out, FlushDecompress::Sync)?;
        let consumed = usize::try_from(decompress.total_in() - before)?;
        bytes = bytes.get(consumed..).unwrap_or_default();
        if bytes.is_empty() && out.len() < out.capacity() {
            return Ok(());
        }
    }
}

/// Takes any certificate: whom it talks to is not what is measured.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
