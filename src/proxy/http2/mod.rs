//! HTTP/2 for clients (RFC 9113). Workers are spoken to in HTTP/1.1.
//!
//! It is translated at the edge: each stream is presented to the rest of the proxy as a
//! [`Socket`](super::socket::Socket) on which a client speaks one HTTP/1.1 request and hears its
//! answer. So all that is done for a request is done in one place, whatever it came in:
//!
//! | here | what |
//! |---|---|
//! | `wire` | the connection's bytes, as h2 reads and writes them |
//! | `connection` | accepting streams; the connection's own limits and its end |
//! | `stream` | one stream as a socket |
//! | `request` | a head in HTTP/1.1's words |
//! | `incoming`, `outgoing` | what the stream's socket reads, and what is written to it |

mod connection;
mod incoming;
mod outgoing;
mod request;
mod stream;
mod wire;

pub(crate) use connection::serve;

/// What a client that knows beforehand that HTTP/2 is spoken begins with (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection that began with `bytes` speaks HTTP/2; `None` while that is open.
pub(crate) fn is_preface(bytes: &[u8]) -> Option<bool> {
    let same = bytes.iter().zip(PREFACE).all(|(byte, wanted)| byte == wanted);
    if same && bytes.len() < PREFACE.len() { None } else { Some(same) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_otherwise_is_known_at_its_first_other_byte() {
        assert_eq!(is_preface(b""), None);
        assert_eq!(is_preface(b"P"), None);
        assert_eq!(is_preface(b"PO"), Some(false));
        assert_eq!(is_preface(&PREFACE[..23]), None);
        assert_eq!(is_preface(PREFACE), Some(true));
        assert_eq!(is_preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), Some(true));
        assert_eq!(is_preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r_"), Some(false));
    }
}
