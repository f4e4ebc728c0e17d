//! What new handshakes use, replaced as a whole.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::{Error, ServerConfig};

use super::Certificates;
use super::server_config::{Sessions, server_config};

/// The configuration of new handshakes. A connection keeps what it began with.
#[derive(Debug)]
pub struct PublishedTls {
    current: ArcSwapOption<Current>,
    sessions: Sessions,
    alpn: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl PublishedTls {
    /// Without certificates so far. `alpn` are the protocols that can be spoken over TLS (RFC 7301),
    /// such as `http/1.1`, the preferred one first. A client that offers others only is refused; one
    /// that offers none is served.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn new(alpn: &[&str]) -> Result<Arc<Self>, Error> {
        let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let (current, sessions) = (ArcSwapOption::empty(), Sessions::new()?);
        Ok(Arc::new(Self { current, sessions, alpn }))
    }

    /// Takes certificates into use, in place of all before.
    ///
    /// # Errors
    /// None that a configuration could cause; the one before stays.
    pub fn publish(&self, certificates: Arc<Certificates>) -> Result<(), Error> {
        let current = match certificates.is_empty() {
            true => None,
            false => {
                let config = server_config(&certificates, &self.sessions, &self.alpn)?;
                Some(Arc::new(Current { config: Arc::new(config), certificates }))
            }
        };
        self.current.store(current);
        Ok(())
    }

    /// For one handshake. `None` where there are no certificates.
    pub fn current(&self) -> Option<Arc<ServerConfig>> {
        self.current.load().as_ref().map(|current| Arc::clone(&current.config))
    }

    /// When the certificate that expires first does so; `None` where there is none.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.current.load().as_ref().and_then(|current| current.certificates.expiry())
    }

    /// See [`Certificates::warnings`]: a renewal that fails reloads nothing, so that somebody has to
    /// look now and then.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let current = self.current.load();
        current.as_ref().map(|current| current.certificates.warnings(now)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
