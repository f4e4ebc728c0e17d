//! Saying an answer of tqserver's own.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::body::Body;
use super::client::Client;
use super::date::Date;
use super::forwarding::{push, push_number};
use super::socket::Socket;
use super::static_files::{Hit, KeptContent, Sendable, Span, StaticBody, send};

/// Content up to so many bytes is copied behind the head, as one slice is cheaper to write than two.
const COPIED_BYTES: usize = 4 << 10;

/// Says `response`, with no pause of the client's longer than `limit`. `connection` is what the
/// client is told of the connection, if anything.
///
/// # Errors
/// When the client is gone or takes nothing, or a file could not be read to its end.
pub(crate) async fn respond<S: Socket>(
    client: &mut Client<S>,
    response: Response<Body>,
    is_head: bool,
    connection: Option<&str>,
    date: &[u8],
    limit: Duration,
) -> io::Result<()> {
    let (head, body) = response.into_parts();
    let mut out = client.leg.buffers().text();
    push_head(&mut out, head.status, &head.headers);
    let is_bodiless = head.status.is_informational()
        || head.status == StatusCode::NO_CONTENT
        || head.status == StatusCode::NOT_MODIFIED;
    if !is_bodiless && !head.headers.contains_key(CONTENT_LENGTH) {
        push_number(&mut out, "content-length", body.len());
    }
    if !head.status.is_informational() {
        push(&mut out, "date", date);
    }
    push_end(&mut out, connection);
    let said = match body {
        _ if is_head => client.write_all(&out, b"", limit).await,
        Body::Full(bytes) => client.write_all(&out, &bytes, limit).await,
        Body::File(body) if client.leg.socket.as_tcp().is_some() => match body.into_sendable() {
            Sendable::Bytes(bytes) => client.write_all(&out, &bytes, limit).await,
            Sendable::File(file, span) => send(client, &out, &file, span, limit).await,
        },
        Body::File(body) => read_and_write(client, &out, body, limit).await,
    };
    client.leg.buffers().give_back_text(out);
    said
}

/// Says an answer that was kept, on the same terms as [`respond`].
///
/// # Errors
/// The same.
pub(crate) async fn give<S: Socket>(
    client: &mut Client<S>,
    hit: &Hit,
    is_head: bool,
    connection: Option<&str>,
    hsts: Option<&[u8]>,
    date: &Date,
    limit: Duration,
) -> io::Result<()> {
    let Hit { kept, is_known } = hit;
    let mut out = client.leg.buffers().text();
    out.extend_from_slice(if *is_known { &kept.not_modified } else { &kept.head });
    date.now(|date| push(&mut out, "date", date));
    if let Some(hsts) = hsts {
        push(&mut out, "strict-transport-security", hsts);
    }
    push_end(&mut out, connection);
    let said = match &kept.content {
        _ if is_head || *is_known => client.write_all(&out, b"", limit).await,
        KeptContent::Bytes(bytes) if bytes.len() <= COPIED_BYTES => {
            out.extend_from_slice(bytes);
            client.write_all(&out, b"", limit).await
        }
        KeptContent::Bytes(bytes) => client.write_all(&out, bytes, limit).await,
        KeptContent::File(file, len) => {
            let span = Span { start: 0, len: *len };
            if client.leg.socket.as_tcp().is_some() {
                send(client, &out, file, span, limit).await
            } else {
                let body = StaticBody::file(Arc::clone(file), span);
                read_and_write(client, &out, body, limit).await
            }
        }
    };
    client.leg.buffers().give_back_text(out);
    said
}

/// Writes `head`, and after it `body` as it is read.
async fn read_and_write<S: Socket>(
    client: &mut Client<S>,
    head: &[u8],
    mut body: StaticBody,
    limit: Duration,
) -> io::Result<()> {
    let mut head = head;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame?.into_data().unwrap_or_default();
        client.write_all(std::mem::take(&mut head), &data, limit).await?;
    }
    client.write_all(head, b"", limit).await
}

/// Puts the status line and the `fields` at the end of `out`.
pub(crate) fn push_head(out: &mut Vec<u8>, status: StatusCode, fields: &HeaderMap) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        push(out, name.as_str(), value.as_bytes());
    }
}

fn push_end(out: &mut Vec<u8>, connection: Option<&str>) {
    if let Some(connection) = connection {
        push(out, "connection", connection.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
