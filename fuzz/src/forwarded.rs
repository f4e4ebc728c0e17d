//! What a worker gets for a request that was let through.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use tqserver::http1::{BodyLength, FieldSpace, Malformed, RequestHead};
use tqserver::ids::Generation;
use tqserver::proxy::forwarded_request;
use tqserver::proxy::table::{Route, UpstreamTimeouts, WeightedTargets};
use tqserver::proxy::target::Target;

use super::hyper_peer;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

static ROUTES: LazyLock<[Route; 2]> = LazyLock::new(|| ["/", "/a"].map(route));

fn route(path: &str) -> Route {
    let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
    let name = || "app".parse().expect("a name");
    let limit = Duration::from_secs(1);
    Route {
        worker: name(),
        path: path.parse().expect("a route"),
        strip_prefix: true,
        timeouts: UpstreamTimeouts { response: limit, body_idle: limit },
        compression: None,
        targets: WeightedTargets::single(Target::new(name(), Generation(1), addr)),
        canary: None,
        refused: None,
        asleep: None,
        public: vec![],
    }
}

/// That the worker sees one request, with the framing and the content of the one that came, and
/// that it is told by nobody else who the client is.
pub(crate) fn check_forwarded(head: &RequestHead<'_, '_>, body: &[u8]) {
    for (route, is_trusted) in [(0, false), (0, true), (1, false)] {
        let sent = forwarded_request(head, &ROUTES[route], CLIENT, is_trusted);
        if let Some(sent) = sent {
            check_lines(head, &sent, is_trusted);
            check_readings(head, sent, body);
        }
    }
}

/// The names as the sloppiest reader could take them.
fn names(sent: &[u8]) -> Vec<String> {
    let lines = sent.split(|byte| b"\r\n\0".contains(byte)).skip(1);
    let names = lines.filter_map(|line| line.split(|byte| *byte == b':').next());
    names
        .map(|name| {
            let name = name.trim_ascii().iter().map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() => char::from(byte.to_ascii_lowercase()),
                _ => '-',
            });
            name.collect()
        })
        .collect()
}

fn check_lines(head: &RequestHead<'_, '_>, sent: &[u8], is_trusted: bool) {
    let names = names(sent);
    let count = |name: &str| names.iter().filter(|other| *other == name).count();
    let is_chunked = head.body == BodyLength::Chunked;
    let upgrades = count("upgrade");
    assert_eq!(count("host"), 1);
    assert_eq!(count("transfer-encoding"), usize::from(is_chunked));
    assert!(count("content-length") <= usize::from(!is_chunked));
    assert!(count("content-length") == 1 || is_chunked || head.body.is_empty());
    assert_eq!(count("x-forwarded-for"), 1);
    assert_eq!(count("x-request-id"), 1);
    assert!(upgrades <= usize::from(head.body.is_empty() && head.connection.upgrade));
    assert_eq!(count("connection"), upgrades);
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "trailer", "expect"] {
        assert_eq!(count(name), 0, "{name} is for one connection");
    }
    if !is_trusted {
        assert_eq!(count("forwarded"), 0);
        assert_eq!(count("x-forwarded-proto"), 1);
        assert!(count("x-forwarded-host") == usize::from(head.host.is_some()));
    }
    let lf = sent.iter().filter(|byte| **byte == b'\n').count();
    let cr = sent.iter().filter(|byte| **byte == b'\r').count();
    let crlf = sent.windows(2).filter(|pair| *pair == b"\r\n").count();
    assert_eq!((lf, cr), (crlf, crlf), "a line end was smuggled in");
    assert!(!sent.contains(&0));
    let end = sent.windows(4).position(|end| end == b"\r\n\r\n");
    assert_eq!(end, Some(sent.len() - 4), "the head has another end");
}

fn check_readings(head: &RequestHead<'_, '_>, sent: Vec<u8>, body: &[u8]) {
    if head.host.is_some() {
        let mut space = FieldSpace::new();
        let again = match RequestHead::parse(&sent, &mut space) {
            // Our own fields came on top: a worker with our limit refuses it.
            Err(Malformed::TooManyFields) => return,
            again => again.expect("valid").expect("whole"),
        };
        assert_eq!((again.method, again.host), (head.method, head.host));
        assert_eq!(again.body, head.body);
        assert_eq!(again.target.query, head.target.query);
        assert_eq!(again.len, sent.len());
    }
    let mut slots = [httparse::EMPTY_HEADER; 200];
    let mut theirs = httparse::Request::new(&mut slots);
    let len = theirs.parse(&sent).expect("httparse reads it").unwrap();
    assert_eq!((theirs.method, len), (Some(head.method), sent.len()));

    let target = theirs.path.unwrap_or_default().to_owned();
    let mut wire = sent;
    match head.body {
        BodyLength::Chunked if body.is_empty() => wire.extend_from_slice(b"0\r\n\r\n"),
        BodyLength::Chunked => {
            wire.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
            wire.extend_from_slice(body);
            wire.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        _ => wire.extend_from_slice(body),
    }
    wire.extend_from_slice(b"GET /next HTTP/1.1\r\nhost: h\r\n\r\n");
    let heard = hyper_peer::requests(&wire, wire.len());
    let Some(first) = heard.first() else { return };
    assert_eq!((&*first.method, &*first.target), (head.method, &*target));
    if first.body.is_some() {
        assert_eq!(first.body.as_deref(), Some(body));
        assert_eq!(heard.get(1).map(|next| &*next.target), Some("/next"), "it ends elsewhere");
    }
}
