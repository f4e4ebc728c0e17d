//! A request's head in the words of HTTP/1.1 (RFC 9113 section 8.3, RFC 8441 section 5).

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, SEC_WEBSOCKET_KEY};
use http::request::Parts;
use http::{HeaderValue, Method, Uri};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::proxy::forwarding::push;

/// How a request's content comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// There is none.
    Nothing,
    /// As it is: it has a length, which h2 watches over.
    Sized,
    /// In chunks.
    Chunked,
    /// As it is, once the stream has become a tunnel.
    Tunnel,
}

/// A head that was translated.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) text: Vec<u8>,
    pub(super) content: Content,
    pub(super) is_head: bool,
    /// For a WebSocket: the `Sec-WebSocket-Accept` of a worker that agrees.
    pub(super) accept: Option<String>,
}

/// Why a request is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no request (RFC 9113 section 8.1.1). h2 has refused much of what is not before.
    Malformed(&'static str),
    /// It asks for a tunnel of a kind that there is none of.
    UnknownProtocol,
}

/// Translates a head. `is_whole` tells that no content follows.
///
/// # Errors
/// The head is none, or asks for too much.
pub(super) fn translate(head: &Parts, is_whole: bool) -> Result<Translated, Fault> {
    let host = host(&head.uri, &head.headers)?;
    let protocol = head.extensions.get::<Protocol>().map(Protocol::as_str);
    let is_websocket = match protocol {
        None => false,
        Some(name) if name.eq_ignore_ascii_case("websocket") => true,
        Some(_) => return Err(Fault::UnknownProtocol),
    };
    let mut text = Vec::with_capacity(512);
    let out = &mut text;
    if is_websocket {
        push_request_line(out, "GET", &head.uri, host)?;
    } else {
        push_request_line(out, head.method.as_str(), &head.uri, host)?;
    }
    push(out, "host", host);
    push_fields(out, &head.headers, is_websocket)?;
    let mut accept = None;
    let mut content = Content::Nothing;
    if is_websocket {
        let key = generate_key();
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        push(out, "sec-websocket-key", key.as_bytes());
        accept = Some(derive_accept_key(key.as_bytes()));
        content = Content::Tunnel;
    } else if !is_whole && head.method != Method::CONNECT {
        content = Content::Sized;
        if !head.headers.contains_key(CONTENT_LENGTH) {
            content = Content::Chunked;
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
    } else if [Method::POST, Method::PUT, Method::PATCH].contains(&head.method)
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        // Of these a length is expected (RFC 9110 section 8.6), and some workers insist.
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(Translated { text, content, is_head: head.method == Method::HEAD, accept })
}

/// The authority that is asked: of two they must be the same (RFC 9113 section 8.3.1).
fn host<'a>(uri: &'a Uri, fields: &'a HeaderMap) -> Result<&'a [u8], Fault> {
    let mut hosts = fields.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Fault::Malformed("there are two Host fields"));
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    if authority.is_some_and(|authority| authority.contains(&b'@')) {
        return Err(Fault::Malformed(":authority has user information"));
    }
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Fault::Malformed(":authority and Host differ"))
        }
        (Some(authority), _) => Ok(authority),
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Fault::Malformed("there is neither :authority nor Host")),
    }
}

fn push_request_line(out: &mut Vec<u8>, method: &str, uri: &Uri, host: &[u8]) -> Result<(), Fault> {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    if method == "CONNECT" {
        if uri.authority().is_none() {
            return Err(Fault::Malformed("CONNECT has no :authority"));
        }
        out.extend_from_slice(host);
    } else {
        let path = uri.path_and_query().map(|path| path.as_str());
        let path = path.filter(|path| path.starts_with('/') || *path == "*" && method == "OPTIONS");
        let path = path.ok_or(Fault::Malformed(":path is not a path"))?;
        // What is another scheme's is refused by whoever reads the target.
        if let Some(scheme) = uri.scheme_str().filter(|scheme| !["http", "https"].contains(scheme))
        {
            out.extend_from_slice(scheme.as_bytes());
            out.extend_from_slice(b"://");
            out.extend_from_slice(host);
        }
        out.extend_from_slice(path.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    Ok(())
}

/// Puts the fields, but for `Host`; those of one connection h2 has refused.
fn push_fields(out: &mut Vec<u8>, fields: &HeaderMap, is_websocket: bool) -> Result<(), Fault> {
    for (name, value) in fields {
        let value = value.as_bytes();
        let edges = [value.first(), value.last()];
        if edges.iter().flatten().any(|byte| **byte == b' ' || **byte == b'\t') {
            return Err(Fault::Malformed("a field's value begins or ends with a space"));
        }
        let replaced = is_websocket && (name == SEC_WEBSOCKET_KEY || name == CONTENT_LENGTH);
        if name != HOST && name != COOKIE && !replaced {
            push(out, name.as_str(), value);
        }
    }
    // Clients may send each cookie as a field (RFC 9113 section 8.2.3).
    let mut cookies = fields.get_all(COOKIE).iter();
    if let Some(first) = cookies.next() {
        out.extend_from_slice(b"cookie: ");
        out.extend_from_slice(first.as_bytes());
        for cookie in cookies {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(cookie.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use rstest::rstest;

    use super::*;

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn text(head: &Parts, is_whole: bool) -> String {
        String::from_utf8(translate(head, is_whole).unwrap().text).unwrap()
    }

    #[test]
    fn pseudo_fields_become_the_first_line_and_host() {
        let head = request("GET", "https://a.example/x?y", &[("host", "A.example"), ("x-b", "1")]);
        let expected = "GET /x?y HTTP/1.1\r\nhost: a.example\r\nx-b: 1\r\n\r\n";
        assert_eq!(text(&head, true), expected);
    }

    #[test]
    fn cookies_are_joined() {
        let head = request("GET", "http://a/", &[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        assert!(text(&head, true).contains("\r\ncookie: a=1; b=2; c=3\r\n"));
    }

    #[rstest]
    #[case::unknown("POST", &[], false, "transfer-encoding: chunked", Content::Chunked)]
    #[case::known("POST", &[("content-length", "5")], false, "content-length: 5", Content::Sized)]
    #[case::none("POST", &[], true, "content-length: 0", Content::Nothing)]
    fn content_is_framed(
        #[case] method: &str,
        #[case] fields: &[(&str, &str)],
        #[case] is_whole: bool,
        #[case] line: &str,
        #[case] content: Content,
    ) {
        let head = request(method, "http://a/", fields);
        let translated = translate(&head, is_whole).unwrap();
        assert_eq!(translated.content, content);
        let text = String::from_utf8(translated.text).unwrap();
        assert!(text.ends_with(&format!("\r\n{line}\r\n\r\n")), "{text}");
    }

    #[test]
    fn another_scheme_is_left_to_whoever_reads_the_target() {
        let head = request("GET", "ftp://a/x", &[]);
        assert!(text(&head, true).starts_with("GET ftp://a/x HTTP/1.1\r\n"));
    }

    #[rstest]
    #[case::two_authorities("http://a/", &[("host", "b")])]
    #[case::two_hosts("http://a/", &[("host", "a"), ("host", "a")])]
    #[case::no_authority("/", &[])]
    #[case::user("http://u@a/", &[])]
    #[case::asterisk("*", &[("host", "a")])]
    fn refuses_what_has_two_readings(#[case] uri: &str, #[case] fields: &[(&str, &str)]) {
        let refused = translate(&request("GET", uri, fields), true);
        assert!(matches!(refused, Err(Fault::Malformed(_))), "{refused:?}");
    }
}
