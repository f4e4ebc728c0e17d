//! Public files, served without asking the worker: `/static/<worker>/…`.
//!
//! From path to body: `path` names a file, `lookup` finds it through `open`, `selected` picks the
//! variant by what the client accepts and identifies it by `digest` and `etag`, `conditional` and `range` decide
//! how much of it is sent, and `body` or `send` sends that. What brings no file ends in `refusal`.
//! Where nothing can change, `cache` spares the whole way the next time.

mod body;
mod cache;
mod cache_control;
mod conditional;
mod digest;
mod etag;
mod lookup;
mod media_type;
mod open;
mod path;
mod range;
mod read;
mod refusal;
mod selected;
mod send;

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method, Response, StatusCode, header};

pub(crate) use self::body::Sendable;
pub use self::body::StaticBody;
pub(crate) use self::cache::{Cache, Hit, Kept, KeptContent};
use self::cache_control::cache_control;
use self::conditional::{Verdict, evaluate, range_applies};
use self::path::PublicPath;
use self::range::Requested;
pub(crate) use self::range::Span;
use self::refusal::{Refusal, error};
use self::selected::{Selected, ascii};
pub(crate) use self::send::send;
use super::table::PublicTree;
use crate::config::settings::StaticSettings;

/// Answers a request for a public file.
///
/// `path` is the raw, percent-encoded part of the path after `/static/<worker>`, beginning with
/// `/`. The `trees` are searched in order. 400 and above come without a body, for the error page
/// to be put in; their headers (`Allow`, `Content-Range`, `Cache-Control`) are meant to stay.
pub async fn serve(
    method: &Method,
    headers: &HeaderMap,
    path: &str,
    trees: &[PublicTree],
    settings: &StaticSettings,
) -> Response<StaticBody> {
    match answer(method, headers, path, trees, settings).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(path),
    }
}

async fn answer(
    method: &Method,
    headers: &HeaderMap,
    path: &str,
    trees: &[PublicTree],
    settings: &StaticSettings,
) -> Result<Response<StaticBody>, Refusal> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Refusal::Method);
    }
    let name = Arc::new(PublicPath::parse(path)?);
    let found = lookup::find(trees, Arc::clone(&name)).await?.ok_or(Refusal::Missing)?;
    let now = SystemTime::now();
    let selected = Selected::choose(headers, found, now).await?;

    let mut response = Response::new(StaticBody::empty());
    selected.describe(response.headers_mut());
    let caching = cache_control(name.file_name(), selected.immutable_tree, settings.cache_max_age);
    response.headers_mut().insert(header::CACHE_CONTROL, ascii(caching));
    match evaluate(headers, &selected.validators) {
        Verdict::Proceed => {}
        Verdict::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Verdict::PreconditionFailed => return Ok(error(StatusCode::PRECONDITION_FAILED)),
    }
    let representation = if *method == Method::GET && is_immutable(trees) {
        selected.representation(response.headers())
    } else {
        None
    };
    selected.describe_content(response.headers_mut(), name.file_name());

    let total = selected.open.version.len;
    // Only GET has ranges (RFC 9110 section 14.2).
    let in_parts = *method == Method::GET
        && range_applies(headers, &selected.validators, selected.varies, now);
    let span = match if in_parts { range::requested(headers, total) } else { Requested::Whole } {
        Requested::Whole => Span { start: 0, len: total },
        Requested::Part(span) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(header::CONTENT_RANGE, ascii(span.content_range(total)));
            span
        }
        Requested::Unsatisfiable => {
            let mut response = error(StatusCode::RANGE_NOT_SATISFIABLE);
            response.headers_mut().insert(header::CONTENT_RANGE, ascii(format!("bytes */{total}")));
            return Ok(response);
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, span.len.into());
    if *method == Method::GET {
        let body = selected.body(span).await?;
        *response.body_mut() = match representation {
            Some(representation) if response.status() == StatusCode::OK => body.of(representation),
            _ => body,
        };
    }
    Ok(response)
}

/// Whether no file can come, go or change.
fn is_immutable(trees: &[PublicTree]) -> bool {
    trees.iter().all(|tree| tree.digest.is_some())
}
