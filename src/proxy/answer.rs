//! The head of a worker's answer: read, judged, and written anew for the client.

use std::pin::Pin;

use bytes::Bytes;

use super::compression::{self, Compressor, Verdict};
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

/// Takes the answer's head, and writes the client's.
fn accept<S: Socket>(exchange: &mut Exchange<'_, S>, head: &ResponseHead<'_, '_>) {
    let tail = exchange.visit.and_then(|visit| visit.tail(head)).unwrap_or_default();
    let Some(settings) = &exchange.compression else {
        return write_head(exchange, head, tail, None);
    };
    let (core, to_head) = (&exchange.connection.core, exchange.ask.is_head);
    let mut verdict = compression::judge(settings, head, exchange.client.head(), to_head);
    let mut compressor = None;
    if let Verdict::Compressed(coding) = verdict
        && !to_head
    {
        let length = match head.body {
            BodyLength::Sized(length) => Some(length.saturating_add(tail.len() as u64)),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        compressor = core.encoders.compressor(coding, settings.levels, length);
        if compressor.is_none() {
            verdict = Verdict::Varies;
        }
    }
    let mut weak = Vec::new();
    let fields = compression::rewrite(head.fields, verdict, &mut weak);
    write_head(exchange, &ResponseHead { fields: &fields, ..*head }, tail, compressor);
}

/// Writes the head for the client, and readies the passing on of the body: with `tail` behind it, and
/// through the `compressor` if there is one.
fn write_head<S>(
    exchange: &mut Exchange<'_, S>,
    head: &ResponseHead<'_, '_>,
    tail: Bytes,
    compressor: Option<Compressor>,
) {
    let (core, ask) = (&exchange.connection.core, exchange.ask);
    let unsized_body =
        matches!(head.body, BodyLength::Chunked | BodyLength::UntilClose) || compressor.is_some();
    let is_http11 = ask.version == Version::Http11;
    let (chunks, close_delimited) = (unsized_body && is_http11, unsized_body && !is_http11);
    let client_keeps_alive =
        ask.keeps_alive && !close_delimited && !core.closing.connections.is_said();
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
    if let Some(compressor) = compressor {
        exchange.download.compress(compressor);
    }
    exchange.start = Start {
        status: head.status,
        keeps_alive: head.keeps_alive(),
        client_keeps_alive,
        close_delimited,
        switched: None,
        // Of a known length an early end would be a lie.
        is_event_stream: unsized_body && head.content_type.is_some_and(is_event_stream),
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

/// Whether the media type is that of events (the HTML standard, section 9.2).
pub(super) fn is_event_stream(content_type: &[u8]) -> bool {
    const MEDIA_TYPE: &[u8] = b"text/event-stream";
    let start = content_type.get(..MEDIA_TYPE.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(MEDIA_TYPE))
}
