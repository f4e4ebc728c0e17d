//! An event stream that ends only when somebody ends it.

use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tq_worker::Worker;

const PERIOD: Duration = Duration::from_millis(200);

/// How long browsers wait before they connect anew, to the next generation by then.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Tick<'a> {
    generation: u64,
    commit: &'a str,
    tick: u64,
}

/// `GET /clock`: one event at once and one every 200 ms, until the client goes or the worker is
/// told to stop.
pub(crate) async fn clock(
    State(worker): State<Worker>,
) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let stopping = worker.stopping();
    let events =
        IntervalStream::new(interval(PERIOD)).zip(stream::iter(0..)).map(move |(_, tick)| {
            let settings = worker.settings();
            let tick = Tick { generation: settings.generation, commit: &settings.commit, tick };
            Event::default().retry(RETRY).json_data(tick)
        });
    Sse::new(events.take_until(stopping))
}
