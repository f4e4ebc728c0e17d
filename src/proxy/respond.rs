//! Saying an answer of tqserver's own.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::body::Body;
use super::client::Client;
use super::forwarding::{push, push_number};
use super::socket::Socket;

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
    push_head(&mut out, head.status, &head.headers, &body, date);
    if let Some(connection) = connection {
        push(&mut out, "connection", connection.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    let said = match body {
        Body::Full(bytes) => {
            if !is_head {
                out.extend_from_slice(&bytes);
            }
            client.write_all(&out, limit).await
        }
        Body::File(mut body) => {
            let mut said = client.write_all(&out, limit).await;
            while said.is_ok()
                && !is_head
                && let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
            {
                let data = frame.map(|frame| frame.into_data().unwrap_or_default());
                said = match data {
                    Ok(data) => client.write_all(&data, limit).await,
                    Err(error) => Err(error),
                };
            }
            said
        }
    };
    client.leg.buffers().give_back_text(out);
    said
}

fn push_head(out: &mut Vec<u8>, status: StatusCode, fields: &HeaderMap, body: &Body, date: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        push(out, name.as_str(), value.as_bytes());
    }
    let is_bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if !is_bodiless && !fields.contains_key(CONTENT_LENGTH) {
        push_number(out, "content-length", body.len());
    }
    if !status.is_informational() {
        push(out, "date", date);
    }
}
