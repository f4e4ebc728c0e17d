//! Taking the header off the front of a connection.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Addresses, Parsed, ProxyProtocolError, parse};

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// It is none.
    #[error("{0}")]
    Invalid(#[from] ProxyProtocolError),
    /// The connection failed or ended within it.
    #[error("its PROXY header could not be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header, and nothing of what comes after it. Addresses of IPv4 that were written as IPv6
/// are IPv4 again.
///
/// # Errors
/// There is none, or not all of it comes.
pub(crate) async fn read_header<R: AsyncRead + Unpin>(
    stream: &mut R,
) -> Result<Option<Addresses>, HeaderError> {
    let mut bytes = Vec::new();
    loop {
        let missing = match parse(&bytes)? {
            Parsed::Complete { addresses, .. } => return Ok(addresses.map(canonical)),
            Parsed::Incomplete { missing } => missing as u64,
        };
        if (&mut *stream).take(missing).read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn canonical(Addresses { source, destination }: Addresses) -> Addresses {
    let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    Addresses { source: canonical(source), destination: canonical(destination) }
}
