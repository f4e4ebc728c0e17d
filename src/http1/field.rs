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
    /// The name in any case. By its length first, as it is asked for every field of every head.
    pub fn of(name: &str) -> Self {
        let candidates: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::Te)],
            4 => &[("host", Self::Host), ("date", Self::Date)],
            6 => &[("expect", Self::Expect)],
            7 => &[("upgrade", Self::Upgrade), ("trailer", Self::Trailer)],
            9 => &[("forwarded", Self::Forwarded)],
            10 => &[("connection", Self::Connection), ("keep-alive", Self::KeepAlive)],
            12 => &[("content-type", Self::ContentType), ("x-request-id", Self::XRequestId)],
            14 => &[("content-length", Self::ContentLength)],
            15 => &[("x-forwarded-for", Self::XForwardedFor)],
            16 => &[
                ("x-forwarded-host", Self::XForwardedHost),
                ("proxy-connection", Self::ProxyConnection),
            ],
            17 => &[
                ("transfer-encoding", Self::TransferEncoding),
                ("x-forwarded-proto", Self::XForwardedProto),
            ],
            18 => &[
                ("x-forwarded-prefix", Self::XForwardedPrefix),
                ("proxy-authenticate", Self::ProxyAuthenticate),
            ],
            19 => &[("proxy-authorization", Self::ProxyAuthorization)],
            _ => &[],
        };
        let found = candidates.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map_or(Self::Other, |(_, meaning)| *meaning)
    }

    /// Whether `name` is another spelling of a name that a proxy vouches for or takes off: programs
    /// behind CGI-like interfaces cannot tell `X_Forwarded_For` from `X-Forwarded-For`.
    pub fn is_disguised(name: &str) -> bool {
        name.contains('_') && Self::of(&name.replace('_', "-")) != Self::Other
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
    fn an_underscore_is_a_disguise_of_known_names_only() {
        assert!(FieldName::is_disguised("X_Forwarded-For"));
        assert!(FieldName::is_disguised("content_length"));
        assert!(!FieldName::is_disguised("X-Forwarded-For"));
        assert!(!FieldName::is_disguised("my_own"));
    }
}
