//! A server of the test's own, which answers what it is asked with 200 over what is published.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tqserver::config::settings::CertificateSource;
use tqserver::tls::{Certificates, PublishedTls};

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
