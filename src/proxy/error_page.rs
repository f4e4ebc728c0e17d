//! Answers of tqserver's own: the status phrase and the request's id, nothing of the inside. Where
//! nothing is deployed there is no inside yet, and the page says what to do about it. In development
//! the inside is the reader's own: then a page says why nothing serves, and has the script of live
//! reload, so that it goes when that is over.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::body::Body;
use super::live::{Place, Problems, Visit};
use crate::ids::WorkerName;

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

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// What its status says.
    Status(StatusCode),
    /// 503, as there is nothing to serve and whoever runs this server has yet to deploy.
    NothingDeployed,
    /// 503, as the worker is being built and nothing of it serves yet.
    Building(WorkerName),
    /// 503, as the worker could not be built and nothing of it serves.
    BuildFailed(WorkerName, Arc<Problems>),
    /// 503, as the worker fails again and again.
    Failing {
        /// When it is tried again.
        until: Instant,
    },
    /// 503, as the worker is out of service.
    Drained,
    /// 503, as the worker has enough to do.
    Crowded,
}

impl Page {
    fn status(&self) -> StatusCode {
        match self {
            Self::Status(status) => *status,
            Self::NothingDeployed
            | Self::Building(_)
            | Self::BuildFailed(..)
            | Self::Failing { .. }
            | Self::Drained
            | Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What stands below the status, a sentence or two a line.
    fn lines(&self) -> Vec<Cow<'static, str>> {
        match self {
            Self::Status(_) | Self::Failing { .. } | Self::Drained | Self::Crowded => vec![],
            Self::NothingDeployed => [
                "tqserver is running, and nothing is deployed yet.",
                "Is this your server? `tqctl build` in a project makes a deployment. Deployments go \
                 to /var/lib/tqserver/deploy, unless workers.manifest_file of server.yaml says \
                 otherwise, and are served as soon as the manifest.json there names one.",
                "`tqctl status` tells what tqserver is waiting for.",
            ]
            .map(Cow::Borrowed)
            .to_vec(),
            Self::Building(worker) => {
                vec![format!("The worker `{worker}` is being built.").into()]
            }
            Self::BuildFailed(worker, _) => {
                vec![format!("The worker `{worker}` could not be built.").into()]
            }
        }
    }

    /// `Retry-After`, for 503.
    fn retry_after(&self) -> HeaderValue {
        match self {
            // Rounded up: the attempt takes a moment, too.
            Self::Failing { until } => {
                let wait = until.saturating_duration_since(Instant::now());
                HeaderValue::from(wait.as_secs() + 1)
            }
            Self::Drained => HeaderValue::from_static("60"),
            Self::Crowded => HeaderValue::from_static("1"),
            _ => RETRY_AFTER_SECONDS,
        }
    }

    /// Why there is nothing else to serve.
    fn problems(&self) -> Option<&Problems> {
        match self {
            Self::BuildFailed(_, problems) => Some(problems),
            _ => None,
        }
    }
}

/// The page, in the form the client likes best. As a document of a `visit` it has the script.
pub(crate) fn response(
    page: &Page,
    accept: Option<&HeaderValue>,
    id: &str,
    visit: Option<&Visit>,
) -> Response<Body> {
    let status = page.status();
    let phrase = status.canonical_reason().unwrap_or("Error");
    let (media_type, text) = match preferred(accept) {
        Format::Html => ("text/html; charset=utf-8", html(page, phrase, id, visit)),
        Format::Json => ("application/json", json(page, phrase, id)),
        Format::Text => ("text/plain; charset=utf-8", text(page, phrase, id)),
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            fields.insert(RETRY_AFTER, page.retry_after());
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            fields.insert(ALLOW, METHODS);
        }
        _ => {}
    }
    response
}

/// What a page with problems has beside the style of all.
const PROBLEMS_STYLE: &str = "\
body { padding: 1rem; box-sizing: border-box; grid-template-columns: minmax(0, max-content) }
ul { margin: 1rem 0 0; padding: 0; list-style: none; text-align: left; overflow-wrap: anywhere }
li { white-space: pre-wrap }
li + li { margin-top: .25rem }
li a, pre { font: .875rem/1.45 ui-monospace, Menlo, Consolas, monospace }
a { margin-right: 1rem; color: light-dark(#0b57d0, #a8c7fa) }
pre { margin: 1rem 0; padding: 1rem; overflow: auto; text-align: left; tab-size: 4 }
pre { border-radius: .375rem; background: light-dark(#f2f2f2, #1e1e1e) }
:focus-visible { outline: 2px solid light-dark(#0b57d0, #a8c7fa); outline-offset: 2px }
@media (max-width: 30rem) { pre { font-size: .8125rem } }
";

/// What is wrong: the places, as links for a `visit`, and the log.
fn problems_html(problems: &Problems, visit: Option<&Visit>) -> String {
    let item = |place: &Place| {
        let href = visit.map(|visit| format!(" href=\"{}\"", escape(&visit.href(place))));
        let name = escape(&format!("{}:{}:{}", place.shown, place.line, place.column));
        let (href, message) = (href.unwrap_or_default(), escape(&place.message));
        format!("<li><a{href}>{name}</a> {message}</li>\n")
    };
    let places: String = problems.places.iter().map(item).collect();
    let list = if places.is_empty() { places } else { format!("<ul>\n{places}</ul>\n") };
    let log = escape(problems.log.trim_end());
    format!("<style>\n{PROBLEMS_STYLE}</style>\n{list}<pre tabindex=\"0\">\n{log}</pre>\n")
}

/// The request id may come from a trusted proxy: visible ASCII, so quotes and markup are possible.
fn html(page: &Page, phrase: &str, id: &str, visit: Option<&Visit>) -> String {
    let (code, id) = (page.status().as_u16(), escape(id));
    let lines: String =
        page.lines().iter().map(|line| format!("<p>{}</p>\n", marked(line))).collect();
    let problems = page.problems().map_or_else(String::new, |it| problems_html(it, visit));
    let tag = visit.map_or_else(String::new, Visit::tag);
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
p {{ margin: .25rem auto; padding: 0 1rem; max-width: 36rem }}
small {{ opacity: .6; font-family: ui-monospace, monospace; overflow-wrap: anywhere }}
</style>
<h1>{code}</h1>
<p>{phrase}</p>
{lines}{problems}<p><small>{id}</small></p>
</html>
{tag}"#
    )
}

/// Sets what stands between backticks as code.
fn marked(line: &str) -> String {
    let parts = line.split('`').enumerate();
    parts
        .map(|(n, part)| if n % 2 == 1 { format!("<code>{part}</code>") } else { part.into() })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn json(page: &Page, phrase: &str, id: &str) -> String {
    let mut document = serde_json::json!({
        "status": page.status().as_u16(),
        "error": phrase,
        "request_id": id,
    });
    if !page.lines().is_empty() {
        document["detail"] = page.lines().join(" ").into();
    }
    if let Some(problems) = page.problems() {
        document["log"] = problems.log.as_str().into();
        document["places"] = problems.places.iter().map(Place::to_json).collect();
    }
    format!("{document}\n")
}

fn text(page: &Page, phrase: &str, id: &str) -> String {
    let lines: String = page.lines().iter().flat_map(|line| [line, "\n"]).collect();
    let log = page.problems().map_or_else(String::new, |it| format!("\n{}\n\n", it.log.trim_end()));
    format!("{} {phrase}\n{lines}{log}Request {id}\n", page.status().as_u16())
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

    fn index() -> WorkerName {
        "index".parse().unwrap()
    }

    fn build_failed() -> Page {
        let place = Place {
            file: "/srv/workers/index/src/main.rs".into(),
            shown: "workers/index/src/main.rs".into(),
            line: 3,
            column: 14,
            message: "mismatched types".into(),
        };
        let log = "error[E0308]: mismatched types\n --> `Vec<u8>` & \"x\"\n".into();
        Page::BuildFailed(index(), Arc::new(Problems { log, places: vec![place] }))
    }

    #[rstest]
    #[case::html("error_page", "text/html", Page::Status(StatusCode::BAD_GATEWAY))]
    #[case::json("error_page", "application/json", Page::Status(StatusCode::SERVICE_UNAVAILABLE))]
    #[case::text("error_page", "text/plain", Page::Status(StatusCode::METHOD_NOT_ALLOWED))]
    #[case::html("nothing_deployed", "text/html", Page::NothingDeployed)]
    #[case::json("nothing_deployed", "application/json", Page::NothingDeployed)]
    #[case::text("nothing_deployed", "text/plain", Page::NothingDeployed)]
    #[case::html("building", "text/html", Page::Building(index()))]
    #[case::json("building", "application/json", Page::Building(index()))]
    #[case::html("build_failed", "text/html", build_failed())]
    #[case::json("build_failed", "application/json", build_failed())]
    #[case::text("build_failed", "text/plain", build_failed())]
    fn pages(#[case] name: &str, #[case] accept: &'static str, #[case] page: Page) {
        let (head, body) =
            response(&page, Some(&HeaderValue::from_static(accept)), "0<\"9f", None).into_parts();
        let Body::Full(page) = body else { unreachable!("pages are at hand") };
        let page = String::from_utf8(page.to_vec()).unwrap();
        let name = format!("{name}_{}", accept.rsplit('/').next().unwrap());
        insta::assert_snapshot!(name, format!("{} {:#?}\n\n{page}", head.status, head.headers));
    }
}
