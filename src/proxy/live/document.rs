//! Which answers are documents that a browser will show, and what is appended to them: one script,
//! which says what the document was made of. All others pass as they are, byte for byte.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, StatusCode};

use super::{Live, Place};
use crate::http1::{Field, FieldName, ResponseHead};
use crate::ids::{Generation, WorkerName};
use crate::proxy::compression::forbids_transformation;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// A request by which a browser goes to a page, and what that page is made of.
#[derive(Debug)]
pub(crate) struct Visit {
    live: Arc<Live>,
    /// The latest change when the request came: later ones may not be in the page.
    revision: u64,
    /// The number of the table at that time.
    table: u64,
    worker: RefCell<Option<WorkerName>>,
    generation: Cell<Generation>,
}

impl Visit {
    /// `None` for any other request.
    pub(crate) fn begin(live: &Arc<Live>, head: &Parts) -> Option<Self> {
        is_navigation(head).then(|| Self {
            live: Arc::clone(live),
            revision: live.revision(),
            table: live.table.version(),
            worker: RefCell::default(),
            generation: Cell::default(),
        })
    }

    /// The fields that a worker does not get: what is encoded cannot be appended to, and a page the
    /// browser has kept was made of something older.
    pub(crate) const WITHOUT: &[&str] = &["accept-encoding", "if-none-match", "if-modified-since"];

    /// What is appended to a worker's answer, if it is a document.
    pub(crate) fn tail(&self, head: &ResponseHead<'_, '_>) -> Option<Bytes> {
        is_document(head).then(|| Bytes::from(self.tag()))
    }

    /// The page is this worker's.
    pub(crate) fn of_worker(&self, worker: &WorkerName) {
        if self.worker.borrow().as_ref() != Some(worker) {
            self.worker.replace(Some(worker.clone()));
        }
    }

    /// The page is made by this generation.
    pub(crate) fn made_by(&self, generation: Generation) {
        self.generation.set(generation);
    }

    /// What opens a place in the visitor's editor.
    pub(crate) fn href(&self, place: &Place) -> String {
        self.live.settings.editor.href(&place.file, place.line, place.column)
    }

    /// The script. A name is of letters, digits and `_`, so nothing is to be escaped.
    pub(crate) fn tag(&self) -> String {
        let worker = self.worker.borrow();
        let (worker, generation) = match &*worker {
            Some(worker) => (worker.as_str(), self.generation.get().0),
            None => ("", self.table),
        };
        let revision = self.revision;
        format!(
            "<script src=\"/_tqserver/live.js\" data-worker=\"{worker}\" \
             data-generation=\"{generation}\" data-revision=\"{revision}\" defer></script>\n"
        )
    }
}

/// By what the browser says it wants the answer for; where it does not say so, as it does to
/// trustworthy origins only, by what it accepts.
fn is_navigation(head: &Parts) -> bool {
    if head.method != Method::GET {
        return false;
    }
    match head.headers.get(SEC_FETCH_DEST) {
        Some(destination) => {
            matches!(destination.as_bytes(), b"document" | b"iframe" | b"frame")
        }
        // Libraries that ask for pieces of HTML add the latter.
        None => accepts_html(&head.headers) && !head.headers.contains_key(X_REQUESTED_WITH),
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter();
    let mut ranges = ranges.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    ranges.any(|range| {
        let media_type = range.split(|b| *b == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

/// Whether a browser will show it, and it may be appended to.
fn is_document(head: &ResponseHead<'_, '_>) -> bool {
    let bodiless = [204, 205, 304];
    head.content_type.is_some_and(is_html)
        && !bodiless.contains(&head.status)
        && head.status != StatusCode::PARTIAL_CONTENT
        && !head.fields.iter().any(forbids)
}

/// Whether a field says that the body is encoded, has a digest, is to be saved or to be left alone.
fn forbids(field: &Field<'_>) -> bool {
    let is = |name: &str| field.name.eq_ignore_ascii_case(name);
    is("content-encoding")
        || FieldName::is_digest(field.name)
        || is("content-disposition") && is_download(field.value)
        || is("cache-control") && forbids_transformation(field.value)
}

/// Whether it is HTML in an encoding in which ASCII is ASCII.
fn is_html(content_type: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(content_type) else { return false };
    let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
    media_type.trim().eq_ignore_ascii_case("text/html")
        && !parameters.to_ascii_lowercase().contains("utf-16")
}

/// RFC 6266: it is to be saved, not shown.
fn is_download(disposition: &[u8]) -> bool {
    const ATTACHMENT: &[u8] = b"attachment";
    let start = disposition.get(..ATTACHMENT.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(ATTACHMENT))
}
