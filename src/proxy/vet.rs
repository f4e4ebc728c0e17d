//! What a request must be before it is routed. hyper has parsed it; this closes what it lets pass.
//!
//! hyper itself refuses with 400: folded lines, a space before a colon, bare CR, control bytes,
//! signs or lists in Content-Length, differing lengths, a last transfer coding other than
//! chunked, a transfer coding in HTTP/1.0; with 431 and 414 what is too long. It reads a bare LF
//! as a line's end, and lets Transfer-Encoding win over Content-Length and then closes: both are
//! normalised, as a request is written anew for the worker.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, StatusCode, Version};

/// Checks and normalises a head: afterwards its path is the URI's, and its one Host field the
/// authority asked for. The status is that of the refusal, after which the connection is closed.
pub(crate) fn vet(head: &mut Parts, max_body: u64) -> Result<(), StatusCode> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    check_host(head)?;
    check_coding(&head.headers)?;
    check_length(&head.headers, max_body)
}

fn check_host(head: &mut Parts) -> Result<(), StatusCode> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version == Version::HTTP_10 => {}
        (Some(host), None) if is_authority(host.as_bytes()) => {}
        _ => return Err(StatusCode::BAD_REQUEST),
    }
    // Absolute form: the target's authority counts, whatever Host says (RFC 9112 section 3.2.2).
    if let Some(authority) = head.uri.authority() {
        if head.uri.scheme() != Some(&Scheme::HTTP) || !is_authority(authority.as_str().as_bytes())
        {
            return Err(StatusCode::BAD_REQUEST);
        }
        let host = HeaderValue::from_str(authority.as_str());
        head.headers.insert(HOST, host.map_err(|_| StatusCode::BAD_REQUEST)?);
    }
    Ok(())
}

/// Whether these are the characters of a host and port (RFC 3986 section 3.2), without user
/// information.
fn is_authority(host: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b);
    !host.is_empty() && host.iter().all(allowed)
}

/// A coding below "chunked" would be lost with the field on the way to the worker.
fn check_coding(headers: &HeaderMap) -> Result<(), StatusCode> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), None) => Err(StatusCode::NOT_IMPLEMENTED),
        (Some(_), Some(_)) => Err(StatusCode::BAD_REQUEST),
    }
}

fn check_length(headers: &HeaderMap, max_body: u64) -> Result<(), StatusCode> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if max_body > 0 && length > max_body => Err(StatusCode::PAYLOAD_TOO_LARGE),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use rstest::rstest;

    use super::*;

    fn head(method: &str, uri: &str, version: Version, lines: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const V11: Version = Version::HTTP_11;
    const A: (&str, &str) = ("host", "a.example:80");

    #[rstest]
    #[case::connect("CONNECT", "a:1", V11, &[A], 405)]
    #[case::trace("TRACE", "/", V11, &[A], 405)]
    #[case::no_host("GET", "/", V11, &[], 400)]
    #[case::two_hosts("GET", "/", V11, &[A, A], 400)]
    #[case::two_hosts_10("GET", "/", Version::HTTP_10, &[A, A], 400)]
    #[case::empty_host("GET", "/", V11, &[("host", "")], 400)]
    #[case::host_list("GET", "/", V11, &[("host", "a, b")], 400)]
    #[case::host_user("GET", "/", V11, &[("host", "u@a")], 400)]
    #[case::host_path("GET", "/", V11, &[("host", "a/b")], 400)]
    #[case::https("GET", "https://a/", V11, &[A], 400)]
    #[case::user("GET", "http://u@a/", V11, &[A], 400)]
    #[case::two_codings("POST", "/", V11, &[A, ("transfer-encoding", "gzip, chunked")], 501)]
    #[case::twice("POST", "/", V11,
        &[A, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 400)]
    #[case::too_large("POST", "/", V11, &[A, ("content-length", "11")], 413)]
    fn refuses(
        #[case] method: &str,
        #[case] uri: &str,
        #[case] version: Version,
        #[case] lines: &[(&str, &str)],
        #[case] status: u16,
    ) {
        let refusal = vet(&mut head(method, uri, version, lines), 10).unwrap_err();
        assert_eq!(refusal.as_u16(), status);
    }

    #[rstest]
    #[case::plain("/", V11, &[A], "a.example:80")]
    #[case::v6("/", V11, &[("host", "[::1]:8080")], "[::1]:8080")]
    #[case::absolute("http://b.example/x", V11, &[A], "b.example")]
    #[case::largest("/", V11, &[A, ("content-length", "10")], "a.example:80")]
    fn accepts(
        #[case] uri: &str,
        #[case] version: Version,
        #[case] lines: &[(&str, &str)],
        #[case] host: &str,
    ) {
        let mut head = head("POST", uri, version, lines);
        vet(&mut head, 10).unwrap();
        assert_eq!(head.headers[HOST], host);
    }

    #[test]
    fn http_1_0_needs_no_host() {
        vet(&mut head("GET", "/", Version::HTTP_10, &[]), 0).unwrap();
    }
}
