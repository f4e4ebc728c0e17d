//! Which header fields go through, and which are ours (RFC 9110 section 7.6, RFC 7239's
//! predecessors).

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// Who the client is, in the words of earlier proxies if they are believed.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme the client used.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host the client asked for.
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The part of the path that was taken off.
pub(crate) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Names a request in every log it appears in.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What a client's address is put into, and whether what it forwards is believed.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    /// The address, for `X-Forwarded-For`.
    pub(crate) address: HeaderValue,
    /// Whether it is a trusted proxy.
    pub(crate) trusted: bool,
}

/// Whether a list of tokens in any `Connection` field has `token`.
pub(crate) fn connection_has(headers: &HeaderMap, token: &str) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| tokens(value).any(|t| is(t, token)))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

fn is(token: &[u8], name: &str) -> bool {
    token.eq_ignore_ascii_case(name.as_bytes())
}

/// Takes off everything that speaks of one connection only, and what `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    // A length beside a transfer coding is void (RFC 9112 section 6.3) and must not survive it.
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    let trailers = headers.get_all(TE).iter().any(|te| tokens(te).any(|t| is(t, "trailers")));
    if headers.remove(TE).is_some() && trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    for name in
        [KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRAILER, UPGRADE]
    {
        headers.remove(name);
    }
}

/// The fields that `Connection` names, but for those without which a message is another one.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    let named = values.flat_map(tokens).filter(|t| !is(t, "close") && !is(t, "keep-alive"));
    named
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING)
        .collect()
}

/// Readies a request's fields for the worker, but for `X-Forwarded-Prefix`.
pub(crate) fn forward_request(
    headers: &mut HeaderMap,
    client: &ClientIdentity,
    request_id: &HeaderValue,
) {
    remove_hop_by_hop(headers);
    // The client is told to go on by us, when its body is first read.
    headers.remove(EXPECT);
    if !client.trusted {
        headers.remove(FORWARDED);
        headers.remove(X_FORWARDED_PREFIX);
    }
    let chain = client.trusted.then(|| join(headers, &X_FORWARDED_FOR, &client.address)).flatten();
    headers.insert(X_FORWARDED_FOR, chain.unwrap_or_else(|| client.address.clone()));
    if !(client.trusted && headers.contains_key(X_FORWARDED_PROTO)) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !(client.trusted && headers.contains_key(X_FORWARDED_HOST)) {
        match headers.get(HOST).cloned() {
            Some(host) => headers.insert(X_FORWARDED_HOST, host),
            None => headers.remove(X_FORWARDED_HOST),
        };
    }
    headers.insert(X_REQUEST_ID, request_id.clone());
}

/// All values of `name`, then `last`, as one list. `None` where there were none.
fn join(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> Option<HeaderValue> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        return None;
    }
    list.extend_from_slice(last.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).ok()
}

/// The request's name: the trusted client's, else a new random one of 128 bits.
pub(crate) fn request_id(headers: &HeaderMap, trusted: bool) -> HeaderValue {
    let given = headers.get(X_REQUEST_ID).filter(|_| trusted);
    let plain = |id: &&HeaderValue| {
        !id.is_empty() && id.len() <= 128 && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    given.filter(plain).cloned().unwrap_or_else(random_id)
}

fn random_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = fastrand::u128(..).to_be_bytes();
    let mut id = [0; 32];
    for (pair, byte) in id.chunks_exact_mut(2).zip(random) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("-"))
}

/// Readies an answer's fields for the client.
pub(crate) fn forward_response(headers: &mut HeaderMap, length: Option<u64>) {
    remove_hop_by_hop(headers);
    // `5, 5` and repeated fields are legal to receive, not to send.
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let odd = lengths.next().is_some_and(|first| first.as_bytes().contains(&b','))
        || lengths.next().is_some();
    if odd && let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(pair).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_speaks_of_one_connection_stays_behind() {
        let mut headers = map(&[
            ("connection", "close, X-Secret , "),
            ("connection", "upgrade,host,Content-Length"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("proxy-authenticate", "Basic"),
            ("te", "gzip, Trailers"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("host", "a"),
            ("content-length", "3"),
            ("traceparent", "00-1-2-01"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["content-length", "host", "te", "traceparent"]);
        assert_eq!(headers[TE], "trailers");
    }

    #[test]
    fn a_length_does_not_outlive_the_transfer_coding_beside_it() {
        let mut headers = map(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        remove_hop_by_hop(&mut headers);
        assert!(headers.is_empty());
    }

    #[rstest]
    #[case::stranger(false, "192.0.2.9", "http", "a.example", false)]
    #[case::trusted(true, "198.51.100.1, 10.0.0.1, 192.0.2.9", "https", "b.example", true)]
    fn forwarding_fields(
        #[case] trusted: bool,
        #[case] chain: &str,
        #[case] proto: &str,
        #[case] host: &str,
        #[case] forwarded: bool,
    ) {
        let mut headers = map(&[
            ("host", "a.example"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.example"),
            ("forwarded", "for=198.51.100.1"),
            ("expect", "100-continue"),
        ]);
        let client = ClientIdentity { address: HeaderValue::from_static("192.0.2.9"), trusted };
        forward_request(&mut headers, &client, &HeaderValue::from_static("id"));
        assert_eq!(headers[X_FORWARDED_FOR], chain);
        assert_eq!(headers.get_all(X_FORWARDED_FOR).iter().count(), 1);
        assert_eq!(headers[X_FORWARDED_PROTO], proto);
        assert_eq!(headers[X_FORWARDED_HOST], host);
        assert_eq!(headers.contains_key(FORWARDED), forwarded);
        assert_eq!(headers[X_REQUEST_ID], "id");
        assert!(!headers.contains_key(EXPECT));
    }

    #[rstest]
    #[case::stranger("abc", false, false)]
    #[case::trusted("abc", true, true)]
    #[case::not_plain("a b", true, false)]
    fn request_ids(#[case] given: &'static str, #[case] trusted: bool, #[case] kept: bool) {
        let headers = map(&[("x-request-id", given)]);
        let id = request_id(&headers, trusted);
        assert_eq!(id == given, kept);
        if !kept {
            assert_eq!(id.len(), 32);
            assert_ne!(id, request_id(&headers, trusted));
        }
    }

    #[rstest]
    #[case(&[("content-length", "5, 5")])]
    #[case(&[("content-length", "5"), ("content-length", "5")])]
    fn a_repeated_length_is_sent_once(#[case] lines: &[(&'static str, &'static str)]) {
        let mut headers = map(lines);
        forward_response(&mut headers, Some(5));
        let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
        assert_eq!(lengths, ["5"]);
    }
}
