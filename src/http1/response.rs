//! Responses' heads (RFC 9112 section 4).

use super::head::{Framing, check_lines};
use super::{
    BodyLength, ConnectionOptions, Field, FieldName, FieldSpace, Malformed, Version, connection,
};

/// A response's head, as slices of the bytes it came in.
#[derive(Debug)]
pub struct ResponseHead<'h, 'b> {
    /// The status, 100 to 599.
    pub status: u16,
    /// What follows it on its line, which may be nothing.
    pub reason: &'b str,
    /// The version.
    pub version: Version,
    /// Where the body ends.
    pub body: BodyLength,
    /// What is said of the connection.
    pub connection: ConnectionOptions,
    /// The `Upgrade` field.
    pub upgrade: Option<&'b [u8]>,
    /// The `Content-Type` field.
    pub content_type: Option<&'b [u8]>,
    /// Whether there is a `Date`.
    pub is_dated: bool,
    /// Every field, in order.
    pub fields: &'h [Field<'b>],
    /// How many bytes the head has.
    pub len: usize,
}

impl<'h, 'b> ResponseHead<'h, 'b> {
    /// Reads the head at the front of `bytes`; `None` when more is needed. What a response to HEAD
    /// says of its length is not about itself: `to_head` tells.
    ///
    /// # Errors
    /// As soon as it is clear that it can be no single response.
    pub fn parse(
        bytes: &'b [u8],
        to_head: bool,
        space: &'h mut FieldSpace<'b>,
    ) -> Result<Option<Self>, Malformed> {
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed =
            config.parse_response_with_uninit_headers(&mut response, bytes, space.slots())?;
        let len = match parsed {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial => return Ok(None),
        };
        check_lines(&bytes[..len])?;
        let version = Version::from_minor(response.version)?;
        let status = response.code.unwrap_or_default();
        if !(100..600).contains(&status) {
            return Err(Malformed::Status);
        }
        let fields: &'h [Field<'b>] = response.headers;
        let mut framing = Framing::default();
        let (mut upgrade, mut content_type, mut is_dated) = (None, None, false);
        for field in fields {
            match FieldName::of(field.name) {
                FieldName::Upgrade => upgrade = Some(field.value),
                FieldName::ContentType => content_type = Some(field.value),
                FieldName::Date => is_dated = true,
                name => framing.note(name, field.value)?,
            }
        }
        let length = framing.length(version)?.unwrap_or(BodyLength::UntilClose);
        let bodiless = to_head || status < 200 || status == 204 || status == 304;
        Ok(Some(Self {
            status,
            reason: response.reason.unwrap_or_default(),
            version,
            body: if bodiless { BodyLength::EMPTY } else { length },
            connection: framing.connection,
            upgrade,
            content_type,
            is_dated,
            fields,
            len,
        }))
    }

    /// Whether `Connection` says that `name` is not to be passed on.
    pub fn connection_names(&self, name: &str) -> bool {
        self.connection.names_fields && connection::names(self.fields, name)
    }

    /// Whether the connection can serve another request once the body is whole.
    pub fn keeps_alive(&self) -> bool {
        self.connection.keeps_alive(self.version) && self.body != BodyLength::UntilClose
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::length(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        false,
        BodyLength::Sized(5),
        true
    )]
    #[case::chunks(
        "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
        BodyLength::Chunked,
        true
    )]
    #[case::neither("HTTP/1.1 200 OK\r\n\r\n", false, BodyLength::UntilClose, false)]
    #[case::close(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
        false,
        BodyLength::Sized(5),
        false
    )]
    #[case::http_1_0(
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        false,
        BodyLength::Sized(5),
        false
    )]
    #[case::to_head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, BodyLength::EMPTY, true)]
    #[case::no_content(
        "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n",
        false,
        BodyLength::EMPTY,
        true
    )]
    #[case::not_modified(
        "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n",
        false,
        BodyLength::EMPTY,
        true
    )]
    #[case::no_reason("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, BodyLength::EMPTY, true)]
    fn bodies(
        #[case] bytes: &str,
        #[case] to_head: bool,
        #[case] body: BodyLength,
        #[case] keeps_alive: bool,
    ) {
        let mut space = FieldSpace::new();
        let head = ResponseHead::parse(bytes.as_bytes(), to_head, &mut space).unwrap().unwrap();
        assert_eq!((head.body, head.keeps_alive()), (body, keeps_alive));
        assert_eq!(head.len, bytes.len());
    }

    #[rstest]
    #[case::both(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Malformed::TwoLengths
    )]
    #[case::both_to_head(
        "HTTP/1.1 304 No\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Malformed::TwoLengths
    )]
    #[case::lengths(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        Malformed::Length
    )]
    #[case::coding("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Malformed::Coding)]
    #[case::status("HTTP/1.1 999 OK\r\n\r\n", Malformed::Status)]
    #[case::bare_lf("HTTP/1.1 200 OK\r\nX: 1\n\r\n", Malformed::BareLineFeed)]
    #[case::space(
        "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        Malformed::Syntax(httparse::Error::HeaderName)
    )]
    #[case::fold(
        "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
        Malformed::Syntax(httparse::Error::HeaderName)
    )]
    #[case::not_http("SSH-2.0-OpenSSH\r\n", Malformed::Version)]
    fn refuses(#[case] bytes: &str, #[case] reason: Malformed) {
        let mut space = FieldSpace::new();
        let parsed = ResponseHead::parse(bytes.as_bytes(), false, &mut space);
        assert_eq!(parsed.map(|head| head.is_some()).unwrap_err(), reason);
    }
}
