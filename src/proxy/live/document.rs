//! Which answers are documents that a browser will show, and what is appended to them: one script,
//! which says what the document was made of. All others pass as they are, byte for byte.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
};
use http::request::Parts;
use http::response;
use http::{Method, StatusCode};
use http_body::Body as _;

use super::{Appended, Live, Place};
use crate::ids::{Generation, WorkerName};
use crate::proxy::body::Body;
use crate::proxy::response_body::UpstreamBody;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Digests of a body, which would not be those of ours.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

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

    /// Readies the request's fields: what is encoded cannot be appended to, and a page the browser
    /// has kept was made of something older.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        for name in [ACCEPT_ENCODING, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            headers.remove(name);
        }
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

/// Appends the script to a worker's answer, if it is a document.
pub(crate) fn append(visit: &Visit, head: &mut response::Parts, body: UpstreamBody) -> Body {
    if !is_document(head) {
        return Body::upstream(body);
    }
    let tag = Bytes::from(visit.tag());
    if let Some(length) = body.incoming().size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length + tag.len() as u64));
    }
    // It is another body now, of one moment: what a browser kept of it would be out of date.
    head.headers.remove(ETAG);
    head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Body::appended(Appended::new(body, tag))
}

fn is_document(head: &response::Parts) -> bool {
    let headers = &head.headers;
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    is_html(headers)
        && !bodiless.contains(&head.status)
        && head.status != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(CONTENT_ENCODING)
        && !DIGESTS.iter().any(|name| headers.contains_key(name))
        && !is_download(headers)
        && !may_not_be_transformed(headers)
}

/// Whether it is HTML in an encoding in which ASCII is ASCII.
fn is_html(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
    media_type.trim().eq_ignore_ascii_case("text/html")
        && !parameters.to_ascii_lowercase().contains("utf-16")
}

/// RFC 6266: it is to be saved, not shown.
fn is_download(headers: &HeaderMap) -> bool {
    const ATTACHMENT: &[u8] = b"attachment";
    let value = headers.get(CONTENT_DISPOSITION).map(HeaderValue::as_bytes).unwrap_or_default();
    value.get(..ATTACHMENT.len()).is_some_and(|start| start.eq_ignore_ascii_case(ATTACHMENT))
}

/// RFC 9111 section 5.2.2.6: a worker's way to have its answer left alone.
fn may_not_be_transformed(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}
