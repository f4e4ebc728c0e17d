//! From the path of a request to the name of a public file.

use percent_encoding::percent_decode_str;

/// What a folder stands for: `docs/` is `docs/index.html`.
const INDEX: &str = "index.html";

/// The one folder with a leading dot that is public by agreement (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// The name of a file below a public folder: decoded once, relative, and without a segment that
/// is empty, starts with a dot, or holds a separator or a control character.
///
/// That it stays inside the folder is nevertheless the kernel's to see to, in [`super::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicPath(String);

/// Why a path names no public file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// No honest client writes this.
    #[error("the path is not made of well-formed segments")]
    Malformed,
    /// Well-formed, but nothing with such a name is ever public.
    #[error("nothing public has such a name")]
    Hidden,
}

impl PublicPath {
    /// Reads `raw`: percent-encoded, beginning with `/`, without a query.
    ///
    /// A trailing slash asks for the folder's `index.html`.
    pub(super) fn parse(raw: &str) -> Result<Self, PathError> {
        let mut rest = raw.strip_prefix('/').ok_or(PathError::Hidden)?.split('/').peekable();
        let mut name = String::with_capacity(raw.len() + INDEX.len());
        while let Some(segment) = rest.next() {
            if !name.is_empty() {
                name.push('/');
            }
            if segment.is_empty() && rest.peek().is_none() {
                name.push_str(INDEX);
            } else {
                push_decoded(&mut name, segment)?;
            }
        }
        Ok(Self(name))
    }

    /// The name, relative to a public folder.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub(super) fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

/// Appends one segment, decoded, or says why it is none.
fn push_decoded(name: &mut String, raw: &str) -> Result<(), PathError> {
    if !escapes_are_complete(raw) {
        return Err(PathError::Malformed);
    }
    let segment = percent_decode_str(raw).decode_utf8().map_err(|_| PathError::Malformed)?;
    // A separator can only come from an escape; a backslash is one to other systems, and to us
    // only ever part of an attempt.
    if segment.chars().any(|c| matches!(c, '/' | '\\') || c.is_control()) {
        return Err(PathError::Malformed);
    }
    if segment.is_empty() || (segment.starts_with('.') && segment != WELL_KNOWN) {
        return Err(PathError::Hidden);
    }
    name.push_str(&segment);
    Ok(())
}

/// Whether every `%` is followed by two hexadecimal digits (RFC 3986 section 2.1); the decoder
/// would let others stand for themselves.
fn escapes_are_complete(raw: &str) -> bool {
    raw.split('%').skip(1).all(|after| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/app.css", "app.css")]
    #[case("/css/a%20b%2Bc+d.css", "css/a b+c+d.css")]
    #[case("/gr%C3%BC%c3%9fe.txt", "grüße.txt")]
    #[case("/", "index.html")]
    #[case("/docs/", "docs/index.html")]
    #[case("/.well-known/security.txt", ".well-known/security.txt")]
    #[case("/%252e%252e/x", "%2e%2e/x")]
    #[case("/a..b/c...", "a..b/c...")]
    fn names(#[case] raw: &str, #[case] name: &str) {
        assert_eq!(PublicPath::parse(raw).unwrap().as_str(), name);
    }

    #[rstest]
    #[case("/a%2fb", PathError::Malformed)]
    #[case("/..%2F..%2Fetc/passwd", PathError::Malformed)]
    #[case("/a%5Cb", PathError::Malformed)]
    #[case("/a\\b", PathError::Malformed)]
    #[case("/a%00.css", PathError::Malformed)]
    #[case("/a%0d%0ab", PathError::Malformed)]
    #[case("/a%7f", PathError::Malformed)]
    #[case("/%c2%85", PathError::Malformed)]
    #[case("/%ff%fe", PathError::Malformed)]
    #[case("/%c0%ae%c0%ae/x", PathError::Malformed)]
    #[case("/100%", PathError::Malformed)]
    #[case("/%zz", PathError::Malformed)]
    #[case("/%+1", PathError::Malformed)]
    #[case("/%4", PathError::Malformed)]
    #[case("/../x", PathError::Hidden)]
    #[case("/a/..", PathError::Hidden)]
    #[case("/%2e%2e/x", PathError::Hidden)]
    #[case("/.%2e/x", PathError::Hidden)]
    #[case("/./x", PathError::Hidden)]
    #[case("/.git/config", PathError::Hidden)]
    #[case("/a/.env", PathError::Hidden)]
    #[case("/.well-known-not", PathError::Hidden)]
    #[case("//etc/passwd", PathError::Hidden)]
    #[case("/a//b", PathError::Hidden)]
    #[case("/a//", PathError::Hidden)]
    #[case("", PathError::Hidden)]
    #[case("app.css", PathError::Hidden)]
    fn refused(#[case] raw: &str, #[case] error: PathError) {
        assert_eq!(PublicPath::parse(raw), Err(error));
    }

    proptest! {
        #[test]
        fn what_parses_has_only_plain_segments(raw in "(/|%2e|%2f|%5c|%00|\\.|[a-z%]|\\PC){0,40}") {
            if let Ok(path) = PublicPath::parse(&raw) {
                for segment in path.as_str().split('/') {
                    prop_assert!(!segment.is_empty());
                    prop_assert!(!segment.starts_with('.') || segment == WELL_KNOWN);
                    prop_assert!(!segment.contains(['\\', '\0']));
                }
            }
        }
    }
}
