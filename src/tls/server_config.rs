//! What a handshake may agree on: TLS 1.3, and 1.2 with an ephemeral key exchange and authenticated
//! encryption. rustls has nothing weaker, so there is no list of suites here that could grow old.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig};

use super::Certificates;
use super::resolver::ByName;

/// How many sessions are kept for clients of TLS 1.2 that take no tickets; of each some 200 bytes.
const KEPT_SESSIONS: usize = 4096;

/// What lets a client resume a session instead of agreeing on a new one. It outlives reloads, and
/// ends with the process.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    /// Tickets, which the client keeps. The keys that seal them are random, change every six hours
    /// and are good for twelve.
    tickets: Arc<dyn ProducesTickets>,
    kept: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    /// None yet.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub(super) fn new() -> Result<Self, Error> {
        let kept = ServerSessionMemoryCache::new(KEPT_SESSIONS);
        Ok(Self { tickets: ring::Ticketer::new()?, kept })
    }
}

/// What new handshakes use. `alpn` are the protocols that can be spoken over TLS, the preferred one
/// first.
///
/// There is no early data (0-RTT), as anybody could send it again; it is off unless asked for.
///
/// # Errors
/// None, with the versions above.
pub(super) fn server_config(
    certificates: &Certificates,
    sessions: &Sessions,
    alpn: &[Vec<u8>],
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName::new(certificates)));
    config.alpn_protocols = alpn.to_vec();
    config.ticketer = Arc::clone(&sessions.tickets);
    config.session_storage = Arc::clone(&sessions.kept);
    Ok(config)
}
