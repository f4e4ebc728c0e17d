//! TLS: certificates and their keys, which of them a client gets, and what a handshake may agree on.
//!
//! [`TlsLoader`] reads and checks all certificates that are configured, or refuses them as a whole.
//! [`PublishedTls`] is what new handshakes use: one atomic snapshot, which a reload replaces while
//! connections go on with what they have agreed on.

mod certificate;
mod certificates;
mod error;
mod facts;
mod loader;
mod pem;
mod published;
mod resolver;
mod server_config;
#[cfg(test)]
mod testing;

pub use certificates::Certificates;
pub use error::{CertificateError, CertificateErrors, Problem, TlsError};
pub use loader::{LoadedTls, TlsLoader};
pub use published::PublishedTls;
