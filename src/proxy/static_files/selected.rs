//! The one representation of a file that a request gets.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};

use super::body::{Representation, StaticBody};
use super::conditional::Validators;
use super::digest;
use super::etag::ETag;
use super::lookup::Found;
use super::media_type::media_type;
use super::open::OpenFile;
use super::range::Span;
use super::read;
use crate::config::settings::Coding;
use crate::proxy::accept_encoding::AcceptEncoding;

/// A part of up to so many bytes is cheaper to copy than to send from the file.
const AT_HAND: u64 = 16 << 10;

/// The representation that a request gets (RFC 9110 section 3.2).
pub(super) struct Selected {
    pub(super) open: OpenFile,
    /// How it is coded, and with that which variant it is.
    pub(super) coding: Option<Coding>,
    /// How the variants are that there are, in our order of preference.
    pub(super) codings: Vec<Coding>,
    pub(super) validators: Validators,
    /// Whether other requests get other representations.
    pub(super) varies: bool,
    /// Whether it never changes under its name.
    pub(super) immutable_tree: bool,
}

impl Selected {
    /// Picks the variant that the request prefers, and identifies it.
    pub(super) async fn choose(
        headers: &HeaderMap,
        found: Found,
        now: SystemTime,
    ) -> io::Result<Self> {
        let Found { original, variants, immutable_tree } = found;
        let codings: Vec<_> = variants.iter().map(|(coding, _)| *coding).collect();
        let varies = !codings.is_empty();
        let coding = AcceptEncoding::from_headers(headers).choose(codings.iter().copied());
        let chosen = variants.into_iter().find(|(variant, _)| Some(*variant) == coding);
        let open = chosen.map_or(original, |(_, file)| file);
        let validators = match digest::digest(&open, immutable_tree).await? {
            Some(content) => Validators {
                etag: Some(ETag { content, coding }.to_string()),
                last_modified: open.version.last_modified(now),
            },
            None => Validators::default(),
        };
        Ok(Self { open, coding, codings, validators, varies, immutable_tree })
    }

    /// What every answer about it says, 304 too (RFC 9110 section 15.4.5).
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        if let Some(etag) = &self.validators.etag {
            headers.insert(header::ETAG, ascii(etag.clone()));
        }
        if let Some(date) = self.validators.last_modified {
            headers.insert(header::LAST_MODIFIED, ascii(httpdate::fmt_http_date(date)));
        }
        if self.varies {
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
    }

    /// What answers that bring it say as well.
    pub(super) fn describe_content(&self, headers: &mut HeaderMap, file_name: &str) {
        headers.insert(header::CONTENT_TYPE, ascii(media_type(file_name).into_owned()));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(coding) = self.coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        }
    }

    /// What is to be known to answer with it again; `described` are the fields of a 304. `None` where
    /// it has no tag.
    pub(super) fn representation(&self, described: &HeaderMap) -> Option<Representation> {
        Some(Representation {
            file: Arc::clone(&self.open.file),
            len: self.open.version.len,
            etag: self.validators.etag.clone()?,
            codings: self.codings.clone(),
            coding: self.coding,
            not_modified: described.clone(),
        })
    }

    /// Small parts are read now, so that head and body leave in one write.
    pub(super) async fn body(self, span: Span) -> io::Result<StaticBody> {
        if span.len <= AT_HAND {
            Ok(StaticBody::full(read::all(&self.open.file, span).await?))
        } else {
            Ok(StaticBody::file(self.open.file, span))
        }
    }
}

/// A header value out of text that this module made, of visible ASCII only.
pub(super) fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("sums, numbers, dates and media types are visible ASCII")
}
