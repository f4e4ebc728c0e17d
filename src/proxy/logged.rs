//! What the access log is told of a request.

use std::net::IpAddr;

use super::connection::Connection;
use super::forwarding::RequestId;
use crate::access_log::{Entry, Heard};
use crate::http1::{FieldName, RequestHead, tokens};

/// What is noted of a request whose head was read now, if it is to be logged.
pub(crate) fn begin(
    connection: &Connection,
    head: &RequestHead<'_, '_>,
    id: &RequestId,
) -> Option<Box<Entry>> {
    let core = &connection.core;
    if !core.access_log.wants_one() {
        return None;
    }
    let field = |name: &str| {
        let field = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map_or(&b""[..], |field| field.value)
    };
    let heard = Heard {
        client: &client(connection, head).to_string(),
        id: &id.to_string(),
        method: head.method,
        path: head.target.path,
        query: head.target.query,
        host: head.host.unwrap_or_default(),
        referer: field("referer"),
        user_agent: field("user-agent"),
    };
    Some(Box::new(Entry::new(&heard, core.buffers.text())))
}

/// The same of a client that said no request.
pub(crate) fn begin_unheard(connection: &Connection, id: &RequestId) -> Option<Box<Entry>> {
    let core = &connection.core;
    if !core.access_log.wants_one() {
        return None;
    }
    let heard = Heard {
        client: &connection.peer.ip().to_canonical().to_string(),
        id: &id.to_string(),
        method: "",
        path: "",
        query: None,
        host: "",
        referer: b"",
        user_agent: b"",
    };
    Some(Box::new(Entry::new(&heard, core.buffers.text())))
}

/// Who asks: of the addresses that a chain of trusted proxies passed on, the last one that is none of
/// theirs.
fn client(connection: &Connection, head: &RequestHead<'_, '_>) -> IpAddr {
    let trusted = &connection.settings.listener.trusted_proxies;
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(*ip));
    let mut client = connection.peer.ip().to_canonical();
    let chain = head.fields.iter().rev();
    let chain = chain.filter(|field| FieldName::of(field.name) == FieldName::XForwardedFor);
    let named = chain.flat_map(|field| tokens(field.value).rev());
    for name in named {
        if !is_trusted(&client) {
            break;
        }
        let Some(ip) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()) else {
            break;
        };
        client = IpAddr::to_canonical(&ip);
    }
    client
}
