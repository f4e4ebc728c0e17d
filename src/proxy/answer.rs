//! The head of a worker's answer: read, judged, and written anew for the client.

use std::pin::Pin;

use super::exchange::{Exchange, MAX_RESPONSE_HEAD, Upstream};
use super::forwarding::{self, Passing};
use super::socket::Socket;
use crate::http1::{BodyLength, FieldSpace, RequestHead, ResponseHead, Version};

/// The most bytes of interim answers, and of the answer's head, that wait for the client to take them.
const MAX_PENDING: usize = 2 * MAX_RESPONSE_HEAD;

/// What is to be known of an answer that has begun.
#[derive(Default)]
pub(crate) struct Start {
    pub(crate) status: u16,
    /// Whether the worker's connection can serve another request afterwards.
    pub(crate) keeps_alive: bool,
    /// Whether the client's can.
    pub(crate) client_keeps_alive: bool,
    /// Whether the client sees the answer's end only by the connection's.
    pub(crate) close_delimited: bool,
    /// Whether the worker has switched protocols, and to WebSocket.
    pub(crate) switched: Option<Switched>,
    pub(crate) is_event_stream: bool,
    /// What ends an event stream: the target's wish, or the process's. It ends with a complete last
    /// chunk, and its client connects again by itself.
    pub(crate) cut: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// To what the connection was switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switched {
    WebSocket,
    Other,
}

/// Looks at what has come from the worker, and says whether the answer has begun. Interim answers
/// (RFC 9110 section 15.2) are passed on meanwhile.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn begin<S: Socket>(
    exchange: &mut Exchange<'_, S>,
    upstream: &mut Upstream,
) -> Result<bool, String> {
    let ask = exchange.ask;
    loop {
        let bytes = upstream.inbox.unread();
        if bytes.is_empty() {
            return Ok(false);
        }
        let mut space = FieldSpace::new();
        let parsed = ResponseHead::parse(bytes, ask.is_head, &mut space);
        let Some(head) = parsed.map_err(|error| error.to_string())? else { return Ok(false) };
        let len = head.len;
        match head.status {
            101 => switch(exchange, &head)?,
            200.. => accept(exchange, &head),
            // The client asked us to go on, not the worker. HTTP/1.0 knows no interim answers.
            100 => {}
            _ if ask.version == Version::Http10 => {}
            _ => forwarding::push_interim(exchange.download.ours(), &head),
        }
        if exchange.download.ours().len() > MAX_PENDING {
            return Err("it says too much before its answer".to_owned());
        }
        let has_begun = head.status == 101 || head.status >= 200;
        upstream.inbox.consume(len);
        if has_begun {
            return Ok(true);
        }
    }
}

/// Writes the head for the client.
fn accept<S>(exchange: &mut Exchange<'_, S>, head: &ResponseHead<'_, '_>) {
    let (core, ask) = (&exchange.connection.core, exchange.ask);
    let unsized_body = matches!(head.body, BodyLength::Chunked | BodyLength::UntilClose);
    let is_http11 = ask.version == Version::Http11;
    let (chunks, close_delimited) = (unsized_body && is_http11, unsized_body && !is_http11);
    let client_keeps_alive =
        ask.keeps_alive && !close_delimited && !core.closing.connections.is_said();
    let tail = exchange.visit.and_then(|visit| visit.tail(head)).unwrap_or_default();
    let passing = Passing {
        chunks,
        connection: ask.connection_field(client_keeps_alive),
        tail: (!tail.is_empty()).then_some(tail.len()),
        hsts: exchange.connection.hsts(),
    };
    let out = exchange.download.ours();
    forwarding::push_answer(out, head, passing);
    if !head.is_dated {
        core.date.now(|date| forwarding::push(out, "date", date));
    }
    out.extend_from_slice(b"\r\n");
    exchange.download.begin_body(head.body, chunks, tail);
    exchange.start = Start {
        status: head.status,
        keeps_alive: head.keeps_alive(),
        client_keeps_alive,
        close_delimited,
        switched: None,
        // Of a known length an early end would be a lie.
        is_event_stream: unsized_body && is_event_stream(head.content_type),
        cut: None,
    };
}

/// Agrees to a switch, if the request asked for it.
fn switch<S: Socket>(
    exchange: &mut Exchange<'_, S>,
    head: &ResponseHead<'_, '_>,
) -> Result<(), String> {
    let mut space = FieldSpace::new();
    let request = RequestHead::parse(exchange.client.head(), &mut space).ok().flatten();
    let asked = request.as_ref().and_then(forwarding::upgrade_of);
    let (Some(asked), Some(granted)) = (asked, head.upgrade) else {
        return Err("it switches protocols unasked".to_owned());
    };
    if !forwarding::asked_for(asked, granted) {
        return Err("it switches to a protocol nobody asked for".to_owned());
    }
    let hsts = exchange.connection.hsts();
    forwarding::push_switch(exchange.download.ours(), head, granted, hsts);
    let is_websocket = granted.eq_ignore_ascii_case(b"websocket");
    let switched = if is_websocket { Switched::WebSocket } else { Switched::Other };
    exchange.start = Start { status: 101, switched: Some(switched), ..Start::default() };
    Ok(())
}

fn is_event_stream(content_type: Option<&[u8]>) -> bool {
    const MEDIA_TYPE: &[u8] = b"text/event-stream";
    let start = content_type.and_then(|value| value.get(..MEDIA_TYPE.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(MEDIA_TYPE))
}
