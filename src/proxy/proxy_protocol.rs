//! The PROXY protocol, versions 1 and 2: what a proxy in front of us sends before everything else,
//! TLS included, to tell whose connection it passes on
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! Whether a connection has such a header is never guessed from its bytes: whoever could choose
//! would choose an address. It is required of some networks, and of others it is no HTTP.

mod read;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

pub(crate) use read::{HeaderError, read_header};

/// The most bytes of a header. Version 2 allows 64 KiB, of which addresses take 232 and the rest is
/// for extensions (TLVs), which are skipped.
pub const MAX_LENGTH: usize = 4096;

/// The most bytes of a header of version 1, with its line end.
const V1_MAX_LENGTH: usize = 107;

/// `PROXY UNKNOWN` and the line end: no header is shorter.
const MIN_LENGTH: usize = 15;

const V1_PREFIX: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, and the length of what follows.
const V2_FIXED: usize = 16;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Incomplete {
        /// How many bytes are missing at least. Whoever reads no more than that never reads what
        /// comes after the header.
        missing: usize,
    },
    /// A header.
    Complete {
        /// Who speaks with whom; `None` where the addresses of the connection itself hold, because
        /// the proxy speaks for itself (`LOCAL`) or cannot tell (`UNKNOWN`, a unix socket).
        addresses: Option<Addresses>,
        /// How many bytes it takes; what the client has sent comes next.
        length: usize,
    },
}

/// The two ends of the connection that a proxy passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub source: SocketAddr,
    /// Where the client has connected to.
    pub destination: SocketAddr,
}

/// Why a connection is not served. There is no way to answer: who does not speak the protocol would
/// not understand, so the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProtocolError {
    /// Something else comes first, such as a request.
    #[error("it does not begin with a header of the PROXY protocol")]
    Absent,
    /// More than [`MAX_LENGTH`], or more than version 1 allows.
    #[error("its PROXY header is too long")]
    TooLong,
    /// It is not written as the protocol says.
    #[error("its PROXY header is malformed: {0}")]
    Malformed(&'static str),
    /// A version that does not exist.
    #[error("its PROXY header is of version {0}; 1 and 2 are known")]
    Version(u8),
    /// Neither TCP nor a unix socket.
    #[error("its PROXY header is of a connection that is not TCP: family and protocol {0:#04x}")]
    NotTcp(u8),
}

use ProxyProtocolError::{Absent, Malformed, NotTcp, TooLong, Version};

/// Reads the header that `bytes`, the first of a connection, begin with. What is an error remains one
/// whatever comes next.
///
/// # Errors
/// They can be no header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    if bytes.is_empty() {
        Ok(Parsed::Incomplete { missing: MIN_LENGTH })
    } else if agree(bytes, V1_PREFIX) {
        v1(bytes)
    } else if agree(bytes, V2_SIGNATURE) {
        v2(bytes)
    } else {
        Err(Absent)
    }
}

/// Whether `bytes` begin with `prefix`, as far as they go.
fn agree(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(byte, wanted)| byte == wanted)
}

/// A line: `PROXY TCP4 192.0.2.1 198.51.100.7 56324 443`.
fn v1(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    let window = &bytes[..bytes.len().min(V1_MAX_LENGTH)];
    let end = window.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(window.len());
    let missing = match &window[end..] {
        [b'\r', b'\n', ..] => {
            let addresses = v1_addresses(window.get(V1_PREFIX.len()..end).unwrap_or_default())?;
            return Ok(Parsed::Complete { addresses, length: end + 2 });
        }
        [b'\r'] => 1,
        [] => MIN_LENGTH.saturating_sub(window.len()).max(2),
        _ => return Err(Malformed("a line that does not end with CR LF")),
    };
    if window.len() + missing > V1_MAX_LENGTH {
        return Err(TooLong);
    }
    Ok(Parsed::Incomplete { missing })
}

fn v1_addresses(line: &[u8]) -> Result<Option<Addresses>, ProxyProtocolError> {
    // What follows UNKNOWN may be anything.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let line = str::from_utf8(line).map_err(|_| Malformed("bytes beyond ASCII"))?;
    let mut fields = line.split(' ');
    let mut field = || fields.next().ok_or(Malformed("a field is missing"));
    let (family, source, destination) = (field()?, field()?, field()?);
    let (source_port, destination_port) = (port(field()?)?, port(field()?)?);
    if fields.next().is_some() {
        return Err(Malformed("a field too many"));
    }
    let pair = match family {
        "TCP4" => (ip::<Ipv4Addr>(source)?, ip::<Ipv4Addr>(destination)?),
        "TCP6" => (ip::<Ipv6Addr>(source)?, ip::<Ipv6Addr>(destination)?),
        _ => return Err(Malformed("neither TCP4, TCP6 nor UNKNOWN")),
    };
    Ok(Some(Addresses {
        source: SocketAddr::new(pair.0, source_port),
        destination: SocketAddr::new(pair.1, destination_port),
    }))
}

fn ip<A: FromStr + Into<std::net::IpAddr>>(
    text: &str,
) -> Result<std::net::IpAddr, ProxyProtocolError> {
    text.parse::<A>().map(Into::into).map_err(|_| Malformed("not an address of its family"))
}

/// Digits, without a sign and without leading zeros.
fn port(text: &str) -> Result<u16, ProxyProtocolError> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical).ok_or(Malformed("not a port"))
}

/// Sixteen bytes, and as many as the last two of them say.
fn v2(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Ok(Parsed::Incomplete { missing: V2_FIXED - bytes.len() });
    };
    let [.., version_and_command, family, high, low] = *fixed;
    if version_and_command >> 4 != 2 {
        return Err(Version(version_and_command >> 4));
    }
    let announced = usize::from(u16::from_be_bytes([high, low]));
    let length = V2_FIXED + announced;
    if length > MAX_LENGTH {
        return Err(TooLong);
    }
    let needed = match (version_and_command & 0xf, family) {
        // Of a proxy that speaks for itself nothing else counts.
        (0, _) | (1, 0x00) => 0,
        (1, 0x11) => 12,
        (1, 0x21) => 36,
        (1, 0x31) => 216,
        (1, other) => return Err(NotTcp(other)),
        _ => return Err(Malformed("a command that is neither LOCAL nor PROXY")),
    };
    if announced < needed {
        return Err(Malformed("too short for its addresses"));
    }
    let Some(block) = rest.get(..announced) else {
        return Ok(Parsed::Incomplete { missing: length - bytes.len() });
    };
    let addresses = match needed {
        12 => block.first_chunk::<12>().map(v2_ipv4),
        36 => block.first_chunk::<36>().map(v2_ipv6),
        _ => None,
    };
    Ok(Parsed::Complete { addresses, length })
}

fn v2_ipv4(block: &[u8; 12]) -> Addresses {
    let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
    let [source_port, destination_port] = v2_ports(ports);
    Addresses {
        source: (Ipv4Addr::new(a, b, c, d), source_port).into(),
        destination: (Ipv4Addr::new(e, f, g, h), destination_port).into(),
    }
}

fn v2_ipv6(block: &[u8; 36]) -> Addresses {
    let ip = |from: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&block[from..from + 16]);
        Ipv6Addr::from(octets)
    };
    let [.., a, b, c, d] = *block;
    let [source_port, destination_port] = v2_ports([a, b, c, d]);
    Addresses {
        source: (ip(0), source_port).into(),
        destination: (ip(16), destination_port).into(),
    }
}

fn v2_ports([a, b, c, d]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

#[cfg(test)]
mod tests;
