//! A body of any length, read as it arrives.

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// The longest line, in bytes; beyond it 413. Nothing longer than this is ever held.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// What arrived.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// How many objects.
    count: u64,
    /// The sum of their `n`.
    sum: i128,
}

#[derive(Deserialize)]
struct Entry {
    n: i64,
}

/// `POST /import`: sums up `n` of one JSON object a line (NDJSON). Empty lines are skipped, other
/// keys ignored.
pub(crate) async fn import(body: Body) -> Result<Json<Summary>, ApiError> {
    let mut lines = Lines::default();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let broken =
            |error| ApiError::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"));
        lines.take(&chunk.map_err(broken)?)?;
    }
    lines.finish().map(Json)
}

/// Puts lines together from pieces that begin and end anywhere.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not arrived.
    begun: Vec<u8>,
    /// How many lines are complete.
    ended: usize,
    summary: Summary,
}

impl Lines {
    fn take(&mut self, chunk: &[u8]) -> Result<(), ApiError> {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            if self.begun.len() + piece.len() > MAX_LINE_BYTES {
                let line = self.ended + 1;
                let message = format!("line {line} is longer than {MAX_LINE_BYTES} bytes");
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.end_line()?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Summary, ApiError> {
        self.end_line()?;
        Ok(self.summary)
    }

    fn end_line(&mut self) -> Result<(), ApiError> {
        let line = self.begun.trim_ascii();
        if !line.is_empty() {
            let Entry { n } = serde_json::from_slice(line)
                .map_err(|error| ApiError::bad_json(&error, self.ended + 1))?;
            self.summary.count += 1;
            self.summary.sum += i128::from(n);
        }
        self.begun.clear();
        self.ended += 1;
        Ok(())
    }
}
