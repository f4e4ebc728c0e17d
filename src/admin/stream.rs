//! A feed as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::api::SCHEMA;
use super::events::{Event, LAGGED, LAST_EVENT_ID};
use super::feed::{Lagged, Subscription};
use super::server::Body;

/// How often something is sent when nothing happens, so that a client which is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The `data:` of [`LAGGED`].
#[derive(Debug, Serialize)]
struct LaggedDocument {
    schema: u32,
    /// How many events were dropped.
    missed: u64,
}

/// The number in [`LAST_EVENT_ID`], if it is there.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| format!("Last-Event-ID: {value:?} is not a number"))
}

/// What a stream needs to go on.
struct Streaming {
    subscription: Subscription,
    shutdown: CancellationToken,
    /// Given back with the end of the stream.
    _permit: OwnedSemaphorePermit,
}

/// The answer that lasts: events until `shutdown`, or until the client is gone or too slow.
pub(super) fn response(
    subscription: Subscription,
    shutdown: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Response<Body> {
    let streaming = Streaming { subscription, shutdown, _permit: permit };
    let frames = unfold(Some(streaming), async |streaming| {
        let mut streaming = streaming?;
        let next = tokio::select! {
            biased;
            () = streaming.shutdown.cancelled() => return None,
            next = streaming.subscription.next() => Some(next),
            () = tokio::time::sleep(KEEP_ALIVE) => None,
        };
        let (text, goes_on) = match next {
            Some(Ok(event)) => (message(&event), true),
            Some(Err(lagged)) => (farewell(lagged), false),
            None => (":\n\n".to_owned(), true),
        };
        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(text)));
        Some((frame, goes_on.then_some(streaming)))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn message(event: &Event) -> String {
    format!("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.what.name(), json(event))
}

fn farewell(Lagged { missed }: Lagged) -> String {
    format!("event: {LAGGED}\ndata: {}\n\n", json(&LaggedDocument { schema: SCHEMA, missed }))
}

/// One line: JSON has its line ends escaped.
fn json(document: &impl Serialize) -> String {
    // Only maps whose keys are no text, and types that refuse, cannot be written.
    serde_json::to_string(document).unwrap_or_else(|error| {
        tracing::error!(%error, "control socket: an event cannot be written: {error}");
        "{}".to_owned()
    })
}
