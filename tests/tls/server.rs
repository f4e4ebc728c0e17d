//! A server of the test's own, which answers what it is asked with 200 over what is published.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tqserver::config::settings::CertificateSource;
use tqserver::tls::{Certificates, PublishedTls};

use crate::clients;

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    tls: Arc<PublishedTls>,
    _runtime: Runtime,
}

impl Server {
    pub(crate) fn with(sources: &[CertificateSource]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let tls = PublishedTls::new(&["http/1.1"]).unwrap();
        let shared = Arc::clone(&tls);
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let config = shared.current().expect("certificates");
                tokio::spawn(serve(stream, TlsAcceptor::from(config)));
            }
        });
        let server = Self { addr, tls, _runtime: runtime };
        server.publish(sources);
        server
    }

    /// What a reload does.
    pub(crate) fn publish(&self, sources: &[CertificateSource]) {
        let certificates = Certificates::load(sources, None).unwrap_or_else(|it| panic!("{it}"));
        self.tls.publish(Arc::new(certificates)).unwrap();
    }
}

/// Answers requests without bodies, and closes after one of HTTP/1.0.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut close = false;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        close |= line.ends_with("HTTP/1.0\r\n");
        if line == "\r\n" {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            stream.flush().await?;
            if close {
                return stream.shutdown().await;
            }
        }
        line.clear();
    }
    Ok(())
}

/// Who signs the certificates of a test, and the folder they are in.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// With its certificate in `authority.crt`, and its key beside it.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("authority.crt"), certificate.pem()).unwrap();
        fs::write(folder.path().join("authority.key"), key.serialize_pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `<stem>.crt` and `<stem>.key`, another certificate each time.
    pub(crate) fn certificate(&self, stem: &str, names: &[&str]) -> CertificateSource {
        self.of_key(stem, names, &KeyPair::generate().unwrap())
    }

    /// The same with an RSA key.
    pub(crate) fn rsa(&self, stem: &str, name: &str) -> CertificateSource {
        let path = self.path().join("rsa.pem");
        let bits = "rsa_keygen_bits:2048";
        let out = path.to_str().unwrap();
        clients::openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", bits, "-out", out]);
        let key = KeyPair::from_pem(&fs::read_to_string(path).unwrap()).unwrap();
        self.of_key(stem, &[name], &key)
    }

    fn of_key(&self, stem: &str, names: &[&str], key: &KeyPair) -> CertificateSource {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, stem);
        let chain = params.signed_by(key, &self.issuer).unwrap().pem();
        let issuer = fs::read_to_string(self.path().join("authority.crt")).unwrap();
        let file = |ending| self.path().join(format!("{stem}.{ending}"));
        let (certificate, key_file) = (file("crt"), file("key"));
        fs::write(&certificate, chain + &issuer).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        CertificateSource::Files { certificate, key: key_file }
    }
}
