//! Answers of tqserver's own: the status phrase and the request's id, nothing of the inside.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::body::Body;

/// Seconds after which a client that met 503 may try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The methods that are served, for 405 and `OPTIONS *`.
pub(crate) const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Html,
    Json,
    Text,
}

/// The page for `status`, in the form the client likes best.
pub(crate) fn response(
    status: StatusCode,
    accept: Option<&HeaderValue>,
    id: &str,
) -> Response<Body> {
    let phrase = status.canonical_reason().unwrap_or("Error");
    let (media_type, page) = match preferred(accept) {
        Format::Html => ("text/html; charset=utf-8", html(status, phrase, id)),
        Format::Json => ("application/json", json(status, phrase, id)),
        Format::Text => {
            ("text/plain; charset=utf-8", format!("{} {phrase}\nRequest {id}\n", status.as_u16()))
        }
    };
    let mut response = Response::new(Body::full(Bytes::from(page)));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            fields.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            fields.insert(ALLOW, METHODS);
        }
        _ => {}
    }
    response
}

/// The request id may come from a trusted proxy: visible ASCII, so quotes and markup are possible.
fn html(status: StatusCode, phrase: &str, id: &str) -> String {
    let (code, id) = (status.as_u16(), escape(id));
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{code} {phrase}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ min-height: 100vh; margin: 0; display: grid; place-content: center; text-align: center }}
h1 {{ margin: 0; font-size: 5rem; font-weight: 200; letter-spacing: .05em }}
p {{ margin: .25rem 1rem }}
small {{ opacity: .6; font-family: ui-monospace, monospace; overflow-wrap: anywhere }}
</style>
<h1>{code}</h1>
<p>{phrase}</p>
<p><small>{id}</small></p>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn json(status: StatusCode, phrase: &str, id: &str) -> String {
    let page = serde_json::json!({
        "status": status.as_u16(),
        "error": phrase,
        "request_id": id,
    });
    format!("{page}\n")
}

/// Weighs `Accept` (RFC 9110 section 12.5.1): the format with the highest quality, where the more
/// specific range decides a format's quality and HTML wins a tie over JSON, JSON over text.
/// Without the field, as from most programs, plain text.
fn preferred(accept: Option<&HeaderValue>) -> Format {
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut best = (0, Format::Text);
    let candidates = [
        (Format::Html, "text", "html"),
        (Format::Json, "application", "json"),
        (Format::Text, "text", "plain"),
    ];
    for (format, kind, subtype) in candidates {
        let quality = quality_of(accept, kind, subtype);
        // `*/*` alone says nothing: that is what curl sends.
        if quality > best.0 {
            best = (quality, format);
        }
    }
    best.1
}

/// Quality in thousandths, 0 for "not named, or by `*/*` only".
fn quality_of(accept: &str, kind: &str, subtype: &str) -> u16 {
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let (range_kind, range_subtype) =
            parts.next().and_then(|media| media.split_once('/')).unwrap_or_default();
        if !range_kind.eq_ignore_ascii_case(kind) {
            continue;
        }
        let specificity = match range_subtype {
            "*" => 1,
            named if named.eq_ignore_ascii_case(subtype) => 2,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        if specificity > best.0 {
            best = (specificity, quality);
        }
    }
    best.1
}

fn thousandths(quality: &str) -> u16 {
    let quality: f32 = quality.parse().unwrap_or_default();
    if (0.0..=1.0).contains(&quality) { (quality * 1000.0) as u16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Html)]
    #[case("application/json", Format::Json)]
    #[case("application/json, text/plain, */*", Format::Json)]
    #[case("text/plain;q=0.5, application/json;q=0.4", Format::Text)]
    #[case("text/*;q=0.9, text/html;q=0.1", Format::Text)]
    #[case("TEXT/HTML", Format::Html)]
    #[case("*/*", Format::Text)]
    #[case("text/html;q=0", Format::Text)]
    #[case("text/html;q=nan, application/json;q=0.001", Format::Json)]
    #[case("image/png", Format::Text)]
    #[case(";;,,/", Format::Text)]
    fn weighs_accept(#[case] accept: &'static str, #[case] format: Format) {
        assert_eq!(preferred(Some(&HeaderValue::from_static(accept))), format);
    }

    #[rstest]
    #[case::html("text/html", StatusCode::BAD_GATEWAY)]
    #[case::json("application/json", StatusCode::SERVICE_UNAVAILABLE)]
    #[case::text("text/plain", StatusCode::METHOD_NOT_ALLOWED)]
    #[tokio::test]
    async fn pages(#[case] accept: &'static str, #[case] status: StatusCode) {
        let (head, body) =
            response(status, Some(&HeaderValue::from_static(accept)), "0<\"9f").into_parts();
        let page = body.collect().await.unwrap().to_bytes();
        let page = String::from_utf8(page.to_vec()).unwrap();
        let name = format!("error_page_{}", accept.rsplit('/').next().unwrap());
        insta::assert_snapshot!(name, format!("{} {:#?}\n\n{page}", head.status, head.headers));
    }
}
