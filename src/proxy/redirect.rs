//! Requests without TLS, where all are to come with it (`server.https.redirect_http`).

use std::net::Ipv6Addr;

use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};

use super::body::Body;
use super::connection::Connection;
use super::path::RequestPath;
use crate::http1::RequestHead;

/// The port of `https` that is not written.
const DEFAULT_PORT: u16 = 443;

/// What a certificate authority asks for to see whose a name is (RFC 8555 section 8.3). It follows
/// redirects to the ports 80 and 443 only, and where there is no valid certificate yet nothing else
/// than this leads to one.
const ACME_CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The port that a request is to come to instead; `None` where it is served.
pub(crate) fn port_for(
    connection: &Connection,
    head: &RequestHead<'_, '_>,
    path: &RequestPath<'_>,
) -> Option<u16> {
    let port = connection.settings.redirect_port?;
    let is_exempt = path.decoded().starts_with(ACME_CHALLENGES);
    (!is_exempt && !connection.client.is_secure(head)).then_some(port)
}

/// Sends a client to the same place at `port` with TLS. `None` when what it asked cannot be a host.
///
/// It is 301 for GET and HEAD, which every client knows. As 301 may turn any other method into GET
/// (RFC 9110 section 15.4.2), those get 308.
pub(crate) fn to_https(port: u16, head: &RequestHead<'_, '_>) -> Option<Response<Body>> {
    let host = host_of(head.host?)?;
    let port = if port == DEFAULT_PORT { String::new() } else { format!(":{port}") };
    let query = head.target.query.map_or_else(String::new, |query| format!("?{query}"));
    let location = format!("https://{host}{port}{}{query}", head.target.path);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = match head.method {
        "GET" | "HEAD" => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).ok()?);
    Some(response)
}

/// The host of an authority, without its port: a name of letters, digits, `-`, `.` and `_`, or an
/// address. RFC 3986 allows names more, none of which DNS has, and some of which browsers read in
/// their own way.
fn host_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    is_host.then_some(host)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::http1::FieldSpace;

    fn redirected(port: u16, request: &str) -> Option<(u16, String)> {
        let mut space = FieldSpace::new();
        let head = RequestHead::parse(request.as_bytes(), &mut space).unwrap().unwrap();
        let response = to_https(port, &head)?;
        let location = response.headers()[LOCATION].to_str().unwrap().to_owned();
        Some((response.status().as_u16(), location))
    }

    #[rstest]
    #[case::plain(443, "GET /a%20b?c=/d HTTP/1.1\r\nHost: h\r\n\r\n", 301, "https://h/a%20b?c=/d")]
    #[case::port(443, "HEAD / HTTP/1.1\r\nHost: h:8080\r\n\r\n", 301, "https://h/")]
    #[case::other_port(8443, "GET / HTTP/1.1\r\nHost: h:8080\r\n\r\n", 301, "https://h:8443/")]
    #[case::empty_port(443, "GET / HTTP/1.1\r\nHost: h:\r\n\r\n", 301, "https://h/")]
    #[case::v4(443, "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n", 301, "https://192.0.2.1/")]
    #[case::v6(8443, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 301, "https://[::1]:8443/")]
    #[case::method(443, "PUT /x HTTP/1.1\r\nHost: h\r\n\r\n", 308, "https://h/x")]
    #[case::absolute(443, "GET http://t/x HTTP/1.1\r\nHost: h\r\n\r\n", 301, "https://t/x")]
    // The path is no authority, however it begins.
    #[case::slashes(443, "GET //evil/x HTTP/1.1\r\nHost: h\r\n\r\n", 301, "https://h//evil/x")]
    #[case::at(443, "GET /@evil HTTP/1.1\r\nHost: h\r\n\r\n", 301, "https://h/@evil")]
    fn leads_to_the_same_place(
        #[case] port: u16,
        #[case] request: &str,
        #[case] status: u16,
        #[case] location: &str,
    ) {
        assert_eq!(redirected(port, request), Some((status, location.to_owned())));
    }

    #[rstest]
    #[case("h:80:80")]
    #[case("h:x")]
    #[case("h:123456")]
    #[case(":80")]
    #[case("[::1")]
    #[case("[evil]")]
    #[case("[::1]evil")]
    #[case("a%2eb")]
    #[case("a;b")]
    #[case("a=b")]
    fn a_host_that_could_be_read_in_two_ways_leads_nowhere(#[case] host: &str) {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(redirected(443, &request), None);
        assert_eq!(redirected(443, "GET / HTTP/1.0\r\n\r\n"), None, "no host at all");
    }
}
