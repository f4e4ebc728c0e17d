//! HTTPS: certificates at a start, and what handshakes use from then on.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Environment;
use crate::config::settings::Settings;
use crate::sd::sockets::InheritedSockets;
use crate::tls::{PublishedTls, TlsLoader};

/// What can be spoken over TLS (RFC 7301).
const ALPN: [&str; 2] = ["h2", "http/1.1"];

/// TLS while the daemon lives.
#[derive(Debug)]
pub(super) struct Https {
    /// Reads certificates at each reload.
    pub(super) loader: TlsLoader,
    /// What new handshakes use.
    pub(super) published: Arc<PublishedTls>,
    /// Where it is served, if it is: at 443 when a socket listens there.
    pub(super) port: Option<u16>,
}

impl Https {
    /// Reads and publishes the certificates of `settings` for the listeners among `sockets`.
    pub(super) fn open(
        env: &Environment,
        settings: &Settings,
        sockets: &InheritedSockets,
    ) -> anyhow::Result<Self> {
        let credentials = env.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let loader = TlsLoader { credentials, listening: !sockets.https.is_empty() };
        let loaded = loader.load(settings)?;
        for warning in loaded.warnings {
            tracing::warn!("{warning}");
        }
        let published = PublishedTls::new(&ALPN)?;
        published.publish(Arc::new(loaded.certificates))?;
        let ports = sockets.https.iter().map(|socket| Ok(socket.local_addr()?.port()));
        let ports: Vec<_> = ports.collect::<io::Result<_>>()?;
        let port = ports.iter().find(|port| **port == 443).or(ports.first()).copied();
        Ok(Self { loader, published, port })
    }
}
