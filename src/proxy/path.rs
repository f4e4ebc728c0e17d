//! Request paths: what is refused, and how an escaped path is matched with a route.
//!
//! A worker gets the path as the client wrote it. Routing must not be fooled by another spelling
//! of it, so anything a decoder further on could read as another path is refused, and escapes of
//! ordinary characters are decoded before a route is looked up (RFC 3986 section 6.2.2.2).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a path is refused. Each is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A backslash, a space, a control character or a byte beyond ASCII.
    #[error("the path holds a character that must be escaped")]
    Unescaped,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken escape")]
    BrokenEscape,
    /// An escaped slash, backslash or control character: decoders differ on what it means.
    #[error("the path holds an escaped slash, backslash or control character")]
    ForbiddenEscape,
    /// Escapes that do not decode to UTF-8.
    #[error("the path does not decode to UTF-8")]
    NotUtf8,
    /// A segment `.` or `..`, escaped or not.
    #[error("the path holds a dot segment")]
    DotSegment,
}

/// A path that may be routed.
#[derive(Debug)]
pub(crate) struct RequestPath<'a> {
    raw: &'a str,
    decoded: Cow<'a, str>,
}

impl<'a> RequestPath<'a> {
    /// Checks a path, which is without its query.
    pub(crate) fn parse(raw: &'a str) -> Result<Self, BadPath> {
        if !raw.starts_with('/') {
            return Err(BadPath::NotAbsolute);
        }
        if raw.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
            return Err(BadPath::Unescaped);
        }
        let decoded = if raw.contains('%') { decode(raw)? } else { Cow::Borrowed(raw) };
        if decoded.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(BadPath::DotSegment);
        }
        Ok(Self { raw, decoded })
    }

    /// The server as a whole, `*`.
    pub(crate) fn server() -> Self {
        Self { raw: "*", decoded: Cow::Borrowed("*") }
    }

    /// Whether it is the server as a whole.
    pub(crate) fn is_server(&self) -> bool {
        self.raw == "*"
    }

    /// The path to look routes up by.
    pub(crate) fn decoded(&self) -> &str {
        &self.decoded
    }

    /// What the client wrote after the first `len` bytes of the decoded path.
    pub(crate) fn raw_after(&self, len: usize) -> &'a str {
        let mut bytes = self.raw.bytes();
        for _ in 0..len {
            if bytes.next() == Some(b'%') {
                bytes.nth(1);
            }
        }
        &self.raw[self.raw.len() - bytes.len()..]
    }
}

fn decode(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    let bytes = raw.as_bytes();
    for at in bytes.iter().enumerate().filter(|(_, b)| **b == b'%').map(|(at, _)| at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|d| std::str::from_utf8(d).ok());
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
        match byte {
            None => return Err(BadPath::BrokenEscape),
            Some(b'/' | b'\\' | 0..=0x1f | 0x7f) => return Err(BadPath::ForbiddenEscape),
            Some(_) => {}
        }
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| BadPath::NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/", "/")]
    #[case("/a//b/", "/a//b/")]
    #[case("/%61pi/us%65rs", "/api/users")]
    #[case("/caf%C3%A9/%25", "/café/%")]
    #[case("/...", "/...")]
    #[case("/a.b/.well-known", "/a.b/.well-known")]
    #[case("/{x}|", "/{x}|")]
    fn accepts(#[case] raw: &str, #[case] decoded: &str) {
        assert_eq!(RequestPath::parse(raw).unwrap().decoded(), decoded);
    }

    #[rstest]
    #[case("", BadPath::NotAbsolute)]
    #[case("*", BadPath::NotAbsolute)]
    #[case("/a/../b", BadPath::DotSegment)]
    #[case("/..", BadPath::DotSegment)]
    #[case("/./a", BadPath::DotSegment)]
    #[case("/a/%2e%2E/b", BadPath::DotSegment)]
    #[case("/a/.%2e", BadPath::DotSegment)]
    #[case("/a%2fb", BadPath::ForbiddenEscape)]
    #[case("/a%5Cb", BadPath::ForbiddenEscape)]
    #[case("/a%00", BadPath::ForbiddenEscape)]
    #[case("/a%0d%0a", BadPath::ForbiddenEscape)]
    #[case("/a\\..\\b", BadPath::Unescaped)]
    #[case("/é", BadPath::Unescaped)]
    #[case("/a|b\\", BadPath::Unescaped)]
    #[case("/%", BadPath::BrokenEscape)]
    #[case("/%4", BadPath::BrokenEscape)]
    #[case("/%zz", BadPath::BrokenEscape)]
    #[case("/%+1", BadPath::BrokenEscape)]
    #[case("/%ff", BadPath::NotUtf8)]
    #[case("/%c0%af", BadPath::NotUtf8)]
    fn refuses(#[case] raw: &str, #[case] error: BadPath) {
        assert_eq!(RequestPath::parse(raw).unwrap_err(), error);
    }

    #[rstest]
    #[case("/api/users/7", 10, "/7")]
    #[case("/%61pi/us%65rs/%37", 10, "/%37")]
    #[case("/api", 4, "")]
    #[case("/api", 0, "/api")]
    fn cuts_the_raw_path_at_a_decoded_length(
        #[case] raw: &str,
        #[case] len: usize,
        #[case] rest: &str,
    ) {
        assert_eq!(RequestPath::parse(raw).unwrap().raw_after(len), rest);
    }

    proptest! {
        #[test]
        fn what_is_accepted_decodes_to_no_traversal(raw in "/[a./%0-9A-Fa-f\\\\]{0,24}") {
            if let Ok(path) = RequestPath::parse(&raw) {
                prop_assert!(!path.decoded().split(['/', '\\']).any(|part| part == ".."));
                prop_assert_eq!(path.raw_after(0), &raw[..]);
            }
        }
    }
}
