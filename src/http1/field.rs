//! The fields of a head, and the names that mean something to a proxy.

/// A field as it was sent: its name, and its value without the space around it.
pub type Field<'b> = httparse::Header<'b>;

/// A name that a proxy acts upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    /// `Connection`.
    Connection,
    /// `Content-Length`.
    ContentLength,
    /// `Content-Type`.
    ContentType,
    /// `Date`.
    Date,
    /// `Expect`.
    Expect,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `Host`.
    Host,
    /// `Keep-Alive`.
    KeepAlive,
    /// `Proxy`, which CGI-like interfaces take for the setting of the same name (CVE-2016-5385).
    Proxy,
    /// `Proxy-Authenticate`.
    ProxyAuthenticate,
    /// `Proxy-Authorization`.
    ProxyAuthorization,
    /// `Proxy-Connection`, which was never standardised.
    ProxyConnection,
    /// `TE`.
    Te,
    /// `Trailer`.
    Trailer,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Upgrade`.
    Upgrade,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `X-Forwarded-Host`.
    XForwardedHost,
    /// `X-Forwarded-Prefix`.
    XForwardedPrefix,
    /// `X-Forwarded-Proto`.
    XForwardedProto,
    /// `X-Request-Id`.
    XRequestId,
    /// Any other.
    Other,
}

impl FieldName {
    /// The name in any case. Asked for every field of every head, hence by its length and first
    /// letter, after which no more than one name is left to compare with.
    pub fn of(name: &str) -> Self {
        let first = name.as_bytes().first().map(u8::to_ascii_lowercase);
        let (known, meaning) = match (name.len(), first.unwrap_or_default()) {
            (2, b't') => ("te", Self::Te),
            (4, b'h') => ("host", Self::Host),
            (4, b'd') => ("date", Self::Date),
            (5, b'p') => ("proxy", Self::Proxy),
            (6, b'e') => ("expect", Self::Expect),
            (7, b'u') => ("upgrade", Self::Upgrade),
            (7, b't') => ("trailer", Self::Trailer),
            (9, b'f') => ("forwarded", Self::Forwarded),
            (10, b'c') => ("connection", Self::Connection),
            (10, b'k') => ("keep-alive", Self::KeepAlive),
            (12, b'c') => ("content-type", Self::ContentType),
            (12, b'x') => ("x-request-id", Self::XRequestId),
            (14, b'c') => ("content-length", Self::ContentLength),
            (15, b'x') => ("x-forwarded-for", Self::XForwardedFor),
            (16, b'x') => ("x-forwarded-host", Self::XForwardedHost),
            (16, b'p') => ("proxy-connection", Self::ProxyConnection),
            (17, b't') => ("transfer-encoding", Self::TransferEncoding),
            (17, b'x') => ("x-forwarded-proto", Self::XForwardedProto),
            (18, b'x') => ("x-forwarded-prefix", Self::XForwardedPrefix),
            (18, b'p') => ("proxy-authenticate", Self::ProxyAuthenticate),
            (19, b'p') => ("proxy-authorization", Self::ProxyAuthorization),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(known) { meaning } else { Self::Other }
    }

    /// Whether it is the name of a digest of the body's bytes (RFC 9530, and what was before it).
    pub fn is_digest(name: &str) -> bool {
        let digests = ["content-digest", "repr-digest", "digest", "content-md5"];
        digests.iter().any(|digest| name.eq_ignore_ascii_case(digest))
    }

    /// Whether `name` is another spelling of a name that a proxy vouches for or takes off: programs
    /// behind CGI-like interfaces cannot tell `X_Forwarded_For`, and some of them `X.Forwarded.For`,
    /// from `X-Forwarded-For`.
    pub fn is_disguised(name: &str) -> bool {
        let is_mark = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        name.contains(is_mark) && Self::of(&name.replace(is_mark, "-")) != Self::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case() {
        assert_eq!(FieldName::of("Transfer-ENCODING"), FieldName::TransferEncoding);
        assert_eq!(FieldName::of("TE"), FieldName::Te);
        assert_eq!(FieldName::of("x-forwarded-fob"), FieldName::Other);
        assert_eq!(FieldName::of("x_forwarded_for"), FieldName::Other);
        assert_eq!(FieldName::of(""), FieldName::Other);
    }

    #[test]
    fn a_mark_for_a_hyphen_is_a_disguise_of_known_names_only() {
        assert!(FieldName::is_disguised("X_Forwarded-For"));
        assert!(FieldName::is_disguised("content_length"));
        assert!(FieldName::is_disguised("X.Forwarded!For"));
        assert!(!FieldName::is_disguised("X-Forwarded-For"));
        assert!(!FieldName::is_disguised("my_own"));
    }
}
