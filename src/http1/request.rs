//! Requests' heads (RFC 9112 section 3).

use super::head::{Framing, check_lines};
use super::{
    BodyLength, ConnectionOptions, Field, FieldName, FieldSpace, Malformed, Version, connection,
};

/// A request's head, as slices of the bytes it came in.
#[derive(Debug)]
pub struct RequestHead<'h, 'b> {
    /// The method, in the case it was sent in.
    pub method: &'b str,
    /// What is asked for.
    pub target: Target<'b>,
    /// The version.
    pub version: Version,
    /// The authority that is asked: the target's own, else that of `Host`. `None` only in HTTP/1.0.
    pub host: Option<&'b str>,
    /// Where the body ends.
    pub body: BodyLength,
    /// What is said of the connection.
    pub connection: ConnectionOptions,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The `Upgrade` field, which means something only with [`ConnectionOptions::upgrade`].
    pub upgrade: Option<&'b [u8]>,
    /// Every field, in order.
    pub fields: &'h [Field<'b>],
    /// How many bytes the head has.
    pub len: usize,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'b> {
    /// The path, which begins with a slash, or is `*`.
    pub path: &'b str,
    /// What follows the question mark, if there is one.
    pub query: Option<&'b str>,
}

impl<'h, 'b> RequestHead<'h, 'b> {
    /// Reads the head at the front of `bytes`; `None` when more is needed.
    ///
    /// # Errors
    /// As soon as it is clear that it can be no single request.
    pub fn parse(
        bytes: &'b [u8],
        space: &'h mut FieldSpace<'b>,
    ) -> Result<Option<Self>, Malformed> {
        let mut request = httparse::Request::new(&mut []);
        let len = match request.parse_with_uninit_headers(bytes, space.slots())? {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial => return Ok(None),
        };
        check_lines(&bytes[..len])?;
        let version = Version::from_minor(request.version)?;
        let method = request.method.unwrap_or_default();
        let (target, authority) = Target::parse(method, request.path.unwrap_or_default())?;
        let fields: &'h [Field<'b>] = request.headers;

        let mut framing = Framing::default();
        let (mut host, mut upgrade, mut expects_continue) = (None, None, false);
        for field in fields {
            match FieldName::of(field.name) {
                FieldName::Host => {
                    let value = authority_of(field.value)?;
                    host.replace(value).map_or(Ok(()), |_| Err(Malformed::Host))?;
                }
                FieldName::Expect => {
                    expects_continue |= field.value.eq_ignore_ascii_case(b"100-continue");
                }
                FieldName::Upgrade => upgrade = Some(field.value),
                name => framing.note(name, field.value)?,
            }
        }
        if host.is_none() && version == Version::Http11 {
            return Err(Malformed::Host);
        }
        let body = framing.length(version)?.unwrap_or(BodyLength::EMPTY);
        Ok(Some(Self {
            method,
            target,
            version,
            // The target's authority counts, whatever Host says (RFC 9112 section 3.2.2).
            host: authority.or(host),
            body,
            connection: framing.connection,
            expects_continue: expects_continue && version == Version::Http11 && !body.is_empty(),
            upgrade,
            fields,
            len,
        }))
    }

    /// Whether `Connection` says that `name` is not to be passed on.
    pub fn connection_names(&self, name: &str) -> bool {
        self.connection.names_fields && connection::names(self.fields, name)
    }

    /// Whether the client wants to send further requests on the connection.
    pub fn keeps_alive(&self) -> bool {
        self.connection.keeps_alive(self.version)
    }
}

impl<'b> Target<'b> {
    /// The target, and the authority in it.
    fn parse(method: &str, target: &'b str) -> Result<(Self, Option<&'b str>), Malformed> {
        // A fragment is never sent (RFC 9112 section 3.2), and other bytes must be escaped.
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(Malformed::Target);
        }
        if target.starts_with('/') {
            return Ok((Self::split(target), None));
        }
        if target == "*" && method == "OPTIONS" {
            return Ok((Self { path: "*", query: None }, None));
        }
        // CONNECT alone has a target that is an authority; it is for the caller to refuse.
        if method == "CONNECT" {
            return Ok((Self { path: "/", query: None }, None));
        }
        let scheme = b"http://".len();
        let is_http = target.get(..scheme).is_some_and(|it| it.eq_ignore_ascii_case("http://"));
        let rest = if is_http { &target[scheme..] } else { return Err(Malformed::Target) };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = authority_of(&rest.as_bytes()[..end]).map_err(|_| Malformed::Target)?;
        Ok((Self::split(&rest[end..]), Some(authority)))
    }

    fn split(target: &'b str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Self { path, query }
    }
}

/// The bytes that an authority is made of.
const OF_AUTHORITY: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mark = b"-._~%!$&'()*+;=:[]";
    let mut at = 0;
    while at < mark.len() {
        table[mark[at] as usize] = true;
        at += 1;
    }
    table
};

/// A host and port (RFC 3986 section 3.2), without user information.
fn authority_of(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.is_empty() || !bytes.iter().all(|b| OF_AUTHORITY[usize::from(*b)]) {
        return Err(Malformed::Host);
    }
    std::str::from_utf8(bytes).map_err(|_| Malformed::Host)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(bytes: &str) -> Result<Option<String>, Malformed> {
        let mut space = FieldSpace::new();
        let head = RequestHead::parse(bytes.as_bytes(), &mut space)?;
        Ok(head.map(|head| {
            let Target { path, query } = head.target;
            format!("{} {path} {query:?} {:?} {:?}", head.method, head.host, head.body)
        }))
    }

    #[rstest]
    #[case::origin(
        "GET /a/b?c=?d HTTP/1.1\r\nHost: h:80\r\n\r\n",
        r#"GET /a/b Some("c=?d") Some("h:80") Sized(0)"#
    )]
    #[case::absolute(
        "GET HTTP://h.example/x HTTP/1.1\r\nHost: other\r\n\r\n",
        r#"GET /x None Some("h.example") Sized(0)"#
    )]
    #[case::absolute_query(
        "GET http://h?q HTTP/1.1\r\nHost: other\r\n\r\n",
        r#"GET / Some("q") Some("h") Sized(0)"#
    )]
    #[case::asterisk(
        "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        r#"OPTIONS * None Some("[::1]:80") Sized(0)"#
    )]
    #[case::http_1_0(
        "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
        r#"POST / None None Sized(5)"#
    )]
    #[case::chunked(
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: cHunked \r\n\r\n",
        r#"PUT / None Some("h") Chunked"#
    )]
    #[case::empty_lines_before(
        "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        r#"GET / None Some("h") Sized(0)"#
    )]
    #[case::obsolete_text(
        "GET / HTTP/1.1\r\nHost: h\r\nX: caf\u{e9}\r\n\r\n",
        r#"GET / None Some("h") Sized(0)"#
    )]
    fn accepts(#[case] bytes: &str, #[case] meaning: &str) {
        assert_eq!(parse(bytes).unwrap().as_deref(), Some(meaning));
        // Any beginning is the beginning of it.
        let end = bytes.find("\r\n\r\n").unwrap() + 3;
        for cut in 0..end.min(bytes.len()) {
            if bytes.is_char_boundary(cut) && !bytes[..cut].ends_with("\r\n\r\n") {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "after {cut} bytes");
            }
        }
    }

    #[rstest]
    #[case::bare_lf("GET / HTTP/1.1\nHost: h\n\n", Malformed::BareLineFeed)]
    #[case::one_bare_lf("GET / HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n", Malformed::BareLineFeed)]
    #[case::bare_lf_before("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::BareLineFeed)]
    #[case::bare_lf_at_the_end("GET / HTTP/1.1\r\nHost: h\r\n\n", Malformed::BareLineFeed)]
    #[case::version("GET / HTTP/2.0\r\nHost: h\r\n\r\n", Malformed::Version)]
    #[case::no_host("GET / HTTP/1.1\r\n\r\n", Malformed::Host)]
    #[case::two_hosts("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", Malformed::Host)]
    #[case::two_hosts_1_0("GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", Malformed::Host)]
    #[case::empty_host("GET / HTTP/1.1\r\nHost:\r\n\r\n", Malformed::Host)]
    #[case::host_list("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Malformed::Host)]
    #[case::host_user("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", Malformed::Host)]
    #[case::host_path("GET / HTTP/1.1\r\nHost: h/p\r\n\r\n", Malformed::Host)]
    #[case::https("GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::Target)]
    #[case::no_authority("GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::Target)]
    #[case::user("GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::Target)]
    #[case::relative("GET a/b HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::Target)]
    #[case::asterisk("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::Target)]
    #[case::fragment("GET /#x HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::Target)]
    #[case::length_list(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
        Malformed::Length
    )]
    #[case::length_twice(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        Malformed::Length
    )]
    #[case::length_sign(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n",
        Malformed::Length
    )]
    #[case::length_huge(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n",
        Malformed::Length
    )]
    #[case::both(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Malformed::TwoLengths
    )]
    #[case::coding_twice(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        Malformed::Coding
    )]
    #[case::identity(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
        Malformed::Coding
    )]
    #[case::chunked_first(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, x\r\n\r\n",
        Malformed::Coding
    )]
    #[case::chunked_twice(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        Malformed::UnknownCoding
    )]
    #[case::gzip(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        Malformed::UnknownCoding
    )]
    #[case::parameter(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;a=b\r\n\r\n",
        Malformed::Coding
    )]
    #[case::coding_1_0(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Malformed::CodingInHttp10
    )]
    #[case::tls("\x16\x03\x01\x02\0\x01\0", Malformed::Syntax(httparse::Error::Token))]
    fn refuses(#[case] bytes: &str, #[case] reason: Malformed) {
        assert_eq!(parse(bytes), Err(reason));
    }

    #[rstest]
    #[case("1.1", "", true, false)]
    #[case("1.1", "Connection: Close\r\n", false, false)]
    #[case("1.1", "Connection: x-a\r\nConnection: upgrade, close\r\n", false, true)]
    #[case("1.0", "", false, false)]
    #[case("1.0", "Connection: keep-alive\r\n", true, false)]
    #[case("1.0", "Connection: keep-alive, close\r\n", false, false)]
    fn connections(
        #[case] version: &str,
        #[case] fields: &str,
        #[case] keeps_alive: bool,
        #[case] named: bool,
    ) {
        let bytes = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        let mut space = FieldSpace::new();
        let head = RequestHead::parse(bytes.as_bytes(), &mut space).unwrap().unwrap();
        assert_eq!(head.keeps_alive(), keeps_alive);
        assert_eq!(head.connection_names("X-A"), named);
    }
}
