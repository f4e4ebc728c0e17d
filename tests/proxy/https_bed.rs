//! A data plane with a second listener, for TLS, and clients that check its certificate.

use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tqserver::proxy::{Listener, ProxySettings};
use tqserver::tls::{Certificates, PublishedTls};

use crate::authority::Authority;
use crate::bed::{Bed, Peer, Worker, settings, soon};

/// The name of the certificate.
const NAME: &str = "a.example";

/// A client's connection.
pub(crate) type Secure = TlsStream<TcpStream>;

/// A data plane that speaks TLS as well.
pub(crate) struct HttpsBed {
    pub(crate) bed: Bed,
    pub(crate) https: SocketAddr,
    authority: Authority,
    published: Arc<PublishedTls>,
    connector: TlsConnector,
}

impl Deref for HttpsBed {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        &self.bed
    }
}

impl HttpsBed {
    /// With a worker at `/`.
    pub(crate) async fn and_worker() -> (Self, Worker) {
        Self::with_worker(|_| settings()).await
    }

    /// The same with other settings, given the port of HTTPS.
    pub(crate) async fn with_worker(settings: impl FnOnce(u16) -> ProxySettings) -> (Self, Worker) {
        let bed = Self::with(settings);
        let worker = Worker::start(1).await;
        bed.publish([worker.route("/")]);
        bed.reload();
        (bed, worker)
    }

    /// With sockets that take some kilobytes, so that answers are held up inside rustls.
    pub(crate) async fn tight() -> (Self, Worker) {
        let socket = TcpSocket::new_v4().unwrap();
        // Connections inherit it.
        socket.set_send_buffer_size(4 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let bed = Self::over(socket.listen(64).unwrap().into_std().unwrap(), |_| settings());
        let worker = Worker::start(1).await;
        bed.publish([worker.route("/")]);
        bed.reload();
        (bed, worker)
    }

    /// A client of it that has taken nothing so far.
    pub(crate) async fn tight_client(&self) -> Peer<Secure> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        Peer::new(self.shake_hands(socket.connect(self.https).await.unwrap()).await)
    }

    /// Without certificates so far.
    pub(crate) fn with(settings: impl FnOnce(u16) -> ProxySettings) -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").unwrap(), settings)
    }

    fn over(listener: TcpListener, settings: impl FnOnce(u16) -> ProxySettings) -> Self {
        let https = listener.local_addr().unwrap();
        let published = PublishedTls::new(&["h2", "http/1.1"]).unwrap();
        let listeners = vec![Listener::https(listener, Arc::clone(&published))];
        let bed = Bed::and_listeners(settings(https.port()), listeners);
        let authority = Authority::new();
        let connector = TlsConnector::from(Arc::new(trusting(&authority)));
        Self { bed, https, authority, published, connector }
    }

    /// Publishes another certificate of the same name.
    pub(crate) fn reload(&self) {
        let source = self.authority.certificate("a", &[NAME]);
        let certificates = Certificates::load(&[source], None).unwrap_or_else(|it| panic!("{it}"));
        self.published.publish(Arc::new(certificates)).unwrap();
    }

    pub(crate) async fn secure_client(&self) -> Peer<Secure> {
        Peer::new(self.shake_hands(TcpStream::connect(self.https).await.unwrap()).await)
    }

    /// Over which HTTP/2 was agreed upon.
    pub(crate) async fn http2_stream(&self) -> Secure {
        let mut config = trusting(&self.authority);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(self.https).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        soon("the handshake", connector.connect(name, stream)).await.unwrap()
    }

    /// Over a connection that something was said on already.
    pub(crate) async fn shake_hands(&self, stream: TcpStream) -> Secure {
        let name = ServerName::try_from(NAME).unwrap();
        soon("the handshake", self.connector.connect(name, stream)).await.unwrap()
    }
}

fn trusting(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = authority.path().join("authority.crt");
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}
