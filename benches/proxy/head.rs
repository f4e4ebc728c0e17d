//! What has to be known of the head of a message.

/// What matters of a request's or an answer's head.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The length of the body, if it is told so.
    pub content_length: Option<usize>,
    /// Whether the connection ends with this message.
    pub is_last: bool,
    /// Whether the protocol is to be switched.
    pub is_upgrade: bool,
}

impl Head {
    /// Reads a whole head; none if it is not one or says its length otherwise than by `Content-Length`.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let mut parsed = Self::default();
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            match name.len() {
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    parsed.content_length = Some(str::from_utf8(value).ok()?.parse().ok()?);
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    parsed.is_last |= value.eq_ignore_ascii_case(b"close");
                }
                7 if name.eq_ignore_ascii_case(b"upgrade") => {
                    parsed.is_upgrade |= value.eq_ignore_ascii_case(b"websocket");
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return None,
                _ => {}
            }
        }
        Some(parsed)
    }
}

/// Where a head ends in what has been received, if it does.
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4)
}
