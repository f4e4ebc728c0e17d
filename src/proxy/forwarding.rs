//! Heads as they are passed on: what speaks of one connection stays behind (RFC 9110 section 7.6),
//! the client's address and the request's name come along (RFC 7239's predecessors).
//!
//! Everything else is copied as it was sent, in its order and case. `Connection` may name any field
//! but the length, without which a message is another one.

use std::io::Write as _;
use std::net::IpAddr;

use super::path::RequestPath;
use super::table::Route;
use crate::http1::{BodyLength, Field, FieldName, RequestHead, ResponseHead, Version, tokens};

/// `Strict-Transport-Security` (RFC 6797).
const HSTS: &str = "strict-transport-security";

/// How a client's requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In plain text.
    Http,
    /// Inside TLS.
    Https,
}

impl Scheme {
    /// As URIs have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who a client is, and whether what it forwards is believed.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    address: String,
    is_trusted: bool,
    scheme: Scheme,
    /// The fields that are the same in each of a stranger's requests.
    fields: Vec<u8>,
}

impl ClientIdentity {
    /// For a client at `address`, which may be a trusted proxy's.
    pub(crate) fn new(address: IpAddr, is_trusted: bool, scheme: Scheme) -> Self {
        let address = address.to_string();
        let proto = scheme.as_str();
        let fields = format!("x-forwarded-for: {address}\r\nx-forwarded-proto: {proto}\r\n").into();
        Self { address, is_trusted, scheme, fields }
    }

    /// Whether a request came inside TLS, to us or to a proxy that is believed.
    pub(crate) fn is_secure(&self, head: &RequestHead<'_, '_>) -> bool {
        let proto = || {
            let mut fields = head.fields.iter();
            fields.find(|field| FieldName::of(field.name) == FieldName::XForwardedProto)
        };
        let https = |field: &Field<'_>| {
            tokens(field.value).next().is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
        };
        self.scheme == Scheme::Https || self.is_trusted && proto().is_some_and(https)
    }
}

/// A request's name in every log it appears in.
#[derive(Debug, Clone)]
pub(crate) enum RequestId {
    /// 128 random bits.
    Own(u128),
    /// A trusted client's: 1 to 128 visible ASCII characters.
    Given(Box<str>),
}

impl RequestId {
    /// The trusted client's, else a new one.
    pub(crate) fn of(head: &RequestHead<'_, '_>, client: &ClientIdentity) -> Self {
        let given = client.is_trusted.then(|| {
            head.fields.iter().find(|field| FieldName::of(field.name) == FieldName::XRequestId)
        });
        let plain =
            |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        let given = given.flatten().and_then(|field| std::str::from_utf8(field.value).ok());
        given
            .filter(plain)
            .map_or_else(|| Self::Own(fastrand::u128(..)), |id| Self::Given(id.into()))
    }

    fn push(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        match self {
            Self::Given(id) => out.extend_from_slice(id.as_bytes()),
            Self::Own(number) => {
                let digits = number
                    .to_be_bytes()
                    .map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                out.extend_from_slice(digits.as_flattened());
            }
        }
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(number) => write!(f, "{number:032x}"),
            Self::Given(id) => f.write_str(id),
        }
    }
}

/// Puts the head that a worker gets at the end of `out`.
///
/// `without` names further fields that stay behind, in lower case.
pub(crate) fn push_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    path: &RequestPath<'_>,
    route: &Route,
    client: &ClientIdentity,
    id: &RequestId,
    without: &[&str],
) {
    let prefix = if route.strip_prefix { route.path.prefix() } else { "" };
    push_request_line(out, head, path.raw_after(prefix.len()));
    // Where an HTTP/1.0 client names none it is empty, as HTTP/1.1 wants one (RFC 9112 section 3.2).
    push(out, "host", head.host.unwrap_or_default().as_bytes());
    let mut has_proto = false;
    let mut has_host = false;
    for field in head.fields {
        let name = FieldName::of(field.name);
        let passes = match name {
            FieldName::Other | FieldName::ContentType | FieldName::Date => {
                !FieldName::is_disguised(field.name)
            }
            FieldName::ContentLength => true,
            FieldName::Te => {
                push_te(out, field);
                false
            }
            FieldName::Forwarded => client.is_trusted,
            FieldName::XForwardedProto => {
                has_proto |= client.is_trusted;
                client.is_trusted
            }
            FieldName::XForwardedHost => {
                has_host |= client.is_trusted;
                client.is_trusted
            }
            FieldName::XForwardedPrefix => client.is_trusted && prefix.is_empty(),
            // Ours are below; the rest is for one connection only. The client is told to go on by
            // us, when its body is first read.
            _ => false,
        };
        if passes
            && (name == FieldName::ContentLength || !head.connection_names(field.name))
            && !without.iter().any(|other| field.name.eq_ignore_ascii_case(other))
        {
            push(out, field.name, field.value);
        }
    }
    if head.body == BodyLength::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Some(protocol) = upgrade_of(head) {
        push_upgrade(out, protocol);
    }
    if client.is_trusted {
        push_chain(out, head, client, has_proto);
    } else {
        out.extend_from_slice(&client.fields);
    }
    if let Some(host) = head.host.filter(|_| !has_host) {
        push(out, "x-forwarded-host", host.as_bytes());
    }
    if !prefix.is_empty() {
        push(out, "x-forwarded-prefix", prefix.as_bytes());
    }
    out.extend_from_slice(b"x-request-id: ");
    id.push(out);
    out.extend_from_slice(b"\r\n\r\n");
}

/// The head that the worker of `route` gets for a request of a client at `address`, which may be a
/// trusted proxy's: the data plane's own, for whoever wants to know what a worker can be made to
/// see. `None` for a request that is not forwarded there.
pub fn forwarded_request(
    head: &RequestHead<'_, '_>,
    route: &Route,
    address: IpAddr,
    is_trusted: bool,
) -> Option<Vec<u8>> {
    let path = RequestPath::parse(head.target.path).ok()?;
    if is_refused(head.method) || !route.path.covers(path.decoded()) {
        return None;
    }
    let client = ClientIdentity::new(address, is_trusted, Scheme::Http);
    let id = RequestId::of(head, &client);
    let mut out = Vec::new();
    push_request(&mut out, head, &path, route, &client, &id, &[]);
    Some(out)
}

/// Whether a method is no worker's matter.
pub(crate) fn is_refused(method: &str) -> bool {
    matches!(method, "CONNECT" | "TRACE")
}

/// What a request asks to switch to. Only an HTTP/1.1 request without a body may ask, and not for
/// another HTTP: its requests would pass by routes, limits and all that a proxy vouches for.
pub(crate) fn upgrade_of<'b>(head: &RequestHead<'_, 'b>) -> Option<&'b [u8]> {
    let may = head.version == Version::Http11 && head.body.is_empty() && head.connection.upgrade;
    head.upgrade.filter(|asked| may && !tokens(asked).any(is_http))
}

/// Whether a protocol is HTTP/2 in clear text, another version of HTTP, or TLS with HTTP inside
/// (RFC 2817).
fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    ["h2c", "h2", "h3", "http", "tls"].iter().any(|http| name.eq_ignore_ascii_case(http.as_bytes()))
}

/// Whether `granted` is among the protocols that were asked for.
pub(crate) fn asked_for(asked: &[u8], granted: &[u8]) -> bool {
    !granted.is_empty() && tokens(asked).any(|protocol| protocol.eq_ignore_ascii_case(granted))
}

fn push_request_line(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, path: &str) {
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    if !path.starts_with('/') {
        out.push(b'/');
    }
    out.extend_from_slice(path.as_bytes());
    if let Some(query) = head.target.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// The chain of a trusted proxy, with its own address at the end.
fn push_chain(
    out: &mut Vec<u8>,
    head: &RequestHead<'_, '_>,
    client: &ClientIdentity,
    has_proto: bool,
) {
    out.extend_from_slice(b"x-forwarded-for: ");
    for field in head.fields {
        if FieldName::of(field.name) == FieldName::XForwardedFor {
            out.extend_from_slice(field.value);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(client.address.as_bytes());
    out.extend_from_slice(b"\r\n");
    if !has_proto {
        push(out, "x-forwarded-proto", client.scheme.as_str().as_bytes());
    }
}

/// Of all that a client is willing to take, trailers alone are no matter of one connection.
fn push_te(out: &mut Vec<u8>, field: &Field<'_>) {
    if tokens(field.value).any(|token| token.eq_ignore_ascii_case(b"trailers")) {
        out.extend_from_slice(b"te: trailers\r\n");
    }
}

/// How an answer is passed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passing<'a> {
    /// In chunks.
    pub(crate) chunks: bool,
    /// What the client is told of the connection.
    pub(crate) connection: Option<&'static str>,
    /// How many bytes of ours follow the worker's; it is known to be a document then.
    pub(crate) tail: Option<usize>,
    /// `Strict-Transport-Security`, instead of the worker's. A browser remembers the last it was
    /// told of a host, so that two rules, of workers or of a worker and the files beside it, would
    /// take turns.
    pub(crate) hsts: Option<&'a [u8]>,
}

impl<'a> Passing<'a> {
    /// With nothing of ours but this.
    fn plain(hsts: Option<&'a [u8]>) -> Self {
        Self { chunks: false, connection: None, tail: None, hsts }
    }
}

/// Puts the head that a client gets at the end of `out`, but for its last line and a missing date.
pub(crate) fn push_answer(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, passing: Passing<'_>) {
    push_status_line(out, head);
    for field in head.fields {
        let name = FieldName::of(field.name);
        let passes = match name {
            FieldName::Connection
            | FieldName::KeepAlive
            | FieldName::ProxyConnection
            | FieldName::ProxyAuthenticate
            | FieldName::ProxyAuthorization
            | FieldName::Te
            | FieldName::Trailer
            | FieldName::TransferEncoding
            | FieldName::Upgrade => false,
            // RFC 9110 section 8.6: these have none.
            FieldName::ContentLength => {
                let by_us = passing.tail.is_some() && !passing.chunks;
                head.status >= 200 && head.status != 204 && !by_us
            }
            _ => {
                (passing.tail.is_none() || !is_of_original(field.name))
                    && (passing.hsts.is_none() || !field.name.eq_ignore_ascii_case(HSTS))
            }
        };
        if passes && (name == FieldName::ContentLength || !head.connection_names(field.name)) {
            push(out, field.name, field.value);
        }
    }
    if let Some(tail) = passing.tail {
        if let BodyLength::Sized(length) = head.body
            && !passing.chunks
        {
            push_number(out, "content-length", length.saturating_add(tail as u64));
        }
        out.extend_from_slice(b"cache-control: no-store\r\n");
    }
    if let Some(hsts) = passing.hsts {
        push(out, HSTS, hsts);
    }
    if passing.chunks {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Some(connection) = passing.connection {
        push(out, "connection", connection.as_bytes());
    }
}

/// What a document that was added to has no more: it is another body, of one moment, and what a
/// browser kept of it would be out of date.
fn is_of_original(name: &str) -> bool {
    name.eq_ignore_ascii_case("etag") || name.eq_ignore_ascii_case("cache-control")
}

/// Puts the head of an answer that came before the answer at the end of `out`.
pub(crate) fn push_interim(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>) {
    push_answer(out, head, Passing::plain(None));
    out.extend_from_slice(b"\r\n");
}

/// Puts the head by which a client learns that the worker switches at the end of `out`.
pub(crate) fn push_switch(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_, '_>,
    granted: &[u8],
    hsts: Option<&[u8]>,
) {
    push_answer(out, head, Passing::plain(hsts));
    push_upgrade(out, granted);
    out.extend_from_slice(b"\r\n");
}

fn push_upgrade(out: &mut Vec<u8>, protocol: &[u8]) {
    out.extend_from_slice(b"connection: upgrade\r\n");
    push(out, "upgrade", protocol);
}

fn push_status_line(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>) {
    let status = head.status;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend([status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8));
    out.push(b' ');
    out.extend_from_slice(head.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Puts a field at the end of `out`.
pub(crate) fn push(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Puts a field with a number at the end of `out`.
pub(crate) fn push_number(out: &mut Vec<u8>, name: &str, number: u64) {
    // Writing to memory does not fail.
    write!(out, "{name}: {number}\r\n").ok();
}
