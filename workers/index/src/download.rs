//! A download that takes its time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tq_worker::{View, Worker};

const CHUNK_BYTES: usize = 4096;
const CHUNKS_PER_SECOND: u32 = 10;

#[derive(Deserialize)]
pub(crate) struct Length {
    #[serde(default = "three")]
    seconds: u32,
}

fn three() -> u32 {
    3
}

/// `GET /download?seconds=3`: a file of known length, ten lines of 4 KiB a second for 1 to 30
/// seconds. Each line says which generation sent it.
pub(crate) async fn download(
    State(worker): State<Worker>,
    view: View,
    length: Result<Query<Length>, QueryRejection>,
) -> Response {
    let seconds = match length {
        Ok(Query(Length { seconds: seconds @ 1..=30 })) => seconds,
        _ => return view.error(StatusCode::BAD_REQUEST, "seconds must be a number from 1 to 30."),
    };
    let total = seconds * CHUNKS_PER_SECOND;
    let generation = worker.settings().generation;
    let lines = (1..=total).map(move |line| {
        let text = format!("line {line} of {total}, sent by generation {generation} ");
        Ok::<_, std::convert::Infallible>(format!("{text:-<width$}\n", width = CHUNK_BYTES - 1))
    });
    let pace = IntervalStream::new(interval(Duration::from_secs(1) / CHUNKS_PER_SECOND));
    let paced = stream::iter(lines).zip(pace).map(|(line, _)| line);
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (CONTENT_LENGTH, (total as usize * CHUNK_BYTES).to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{seconds}-seconds.txt\"")),
    ];
    (headers, Body::from_stream(paced)).into_response()
}
