//! A client's bytes, with TLS or without. Nothing here waits.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::ring::{self, kx_group::X25519};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// How much is taken from the kernel at once, of what is encrypted.
const SEALED: usize = 32 << 10;

/// A connection's bytes.
pub enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// The socket.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.tcp,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// TLS over a socket that does not wait.
pub struct TlsStream {
    tcp: TcpStream,
    tls: ClientConnection,
    sealed: Vec<u8>,
}

impl TlsStream {
    /// Begins the handshake with the first write.
    pub fn new(tcp: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("bench.test").unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self { tcp, tls, sealed: vec![0; SEALED] }
    }

    /// All that was written before the handshake's end is held until then.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.tls.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Err(error) if n == 0 => Err(error),
            _ => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }

    /// Reads once from the socket, and all of what comes of it: nothing is left that epoll would not tell
    /// of. `buf` must be at least [`SEALED`] long.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.tcp.read(&mut self.sealed)?;
        let mut sealed = &self.sealed[..length];
        let mut opened = 0;
        let mut is_ended = length == 0;
        while !sealed.is_empty() {
            self.tls.read_tls(&mut sealed)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            is_ended |= state.peer_has_closed();
            let came = state.plaintext_bytes_to_read();
            self.tls.reader().read_exact(&mut buf[opened..opened + came])?;
            opened += came;
        }
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        match opened {
            0 if !is_ended => Err(io::ErrorKind::WouldBlock.into()),
            opened => Ok(opened),
        }
    }
}

/// TLS 1.3 with one suite, so that everybody does the same: the one that browsers prefer. No session is
/// taken up again.
pub fn client_config() -> Arc<ClientConfig> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Takes anybody's certificate: it is the proxies' work that is compared.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
