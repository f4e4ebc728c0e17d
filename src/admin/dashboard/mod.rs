//! The dashboard: pages for people who look after this machine, on a socket of loopback of their own
//! (`tqserver-admin.socket`). They are read, and change nothing.
//!
//! Whoever has `server.dashboard.token` may look. Nothing is loaded from elsewhere, nothing is run, and no
//! other page may show them (`Content-Security-Policy`).

mod pages;
mod session;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, HeaderValue, LOCATION,
    ORIGIN, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::api::Control;
use super::server::{self, Body};
use super::tcp;
use crate::config::settings::{DashboardSettings, Secret};
use pages::Page;

/// Connections at once.
const MAX_CONNECTIONS: usize = 16;

/// The largest body of a request, in bytes: a form with a token.
const MAX_BODY: usize = 2048;

/// For the body of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long somebody waits who had a wrong token: they are not to be tried in bulk.
const WRONG: Duration = Duration::from_secs(1);

/// Only our own style sheet, and forms that are sent to us.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// What every request is answered from.
struct Dashboard<C> {
    control: Arc<C>,
    settings: Arc<ArcSwap<DashboardSettings>>,
}

/// Answers until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    control: Arc<impl Control>,
    settings: Arc<ArcSwap<DashboardSettings>>,
    shutdown: CancellationToken,
) {
    let dashboard = Arc::new(Dashboard { control, settings });
    let answer = move |request| {
        let dashboard = Arc::clone(&dashboard);
        async move { guarded(dashboard.answer(request).await) }
    };
    tcp::serve(listener, MAX_CONNECTIONS, "dashboard", answer, shutdown).await;
}

impl<C: Control> Dashboard<C> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let settings = self.settings.load_full();
        if !tcp::is_for_this_machine(request.headers()) {
            let text = "Only localhost is answered for, or an address of loopback.";
            return pages::message(&settings, StatusCode::MISDIRECTED_REQUEST, text);
        }
        let Some(token) = &settings.token else {
            let text = "There is no token yet: server.dashboard.token of server.yaml.";
            return pages::message(&settings, StatusCode::SERVICE_UNAVAILABLE, text);
        };
        let (head, body) = request.into_parts();
        let now = Timestamp::now();
        let is_open = is_open(token, &head.headers, now);
        match (head.uri.path(), head.method) {
            ("/", Method::GET | Method::HEAD) if is_open => see("/dashboard"),
            ("/", Method::GET | Method::HEAD) => {
                pages::page(&settings, StatusCode::OK, Page::Login { is_wrong: false })
            }
            ("/dashboard", Method::GET | Method::HEAD) if !is_open => see("/"),
            ("/dashboard", Method::GET | Method::HEAD) => {
                let (status, past) = (self.control.status(), self.control.past_rollouts());
                let page = Page::Dashboard { status: &status, past: &past, now };
                pages::page(&settings, StatusCode::OK, page)
            }
            ("/dashboard.css", Method::GET | Method::HEAD) => pages::style(&settings),
            ("/login" | "/logout", Method::POST) if !is_own_form(&head.headers) => {
                let text = "That form is not one of these pages.";
                pages::message(&settings, StatusCode::FORBIDDEN, text)
            }
            ("/login", Method::POST) => match read_token(body).await {
                Some(given) if session::is_token(token, &given) => {
                    with_cookie(see("/dashboard"), &session::begin(token, now), session::LASTS)
                }
                _ => {
                    tokio::time::sleep(WRONG).await;
                    tracing::warn!("dashboard: a wrong token was given");
                    let page = Page::Login { is_wrong: true };
                    pages::page(&settings, StatusCode::FORBIDDEN, page)
                }
            },
            ("/logout", Method::POST) => with_cookie(see("/"), "", 0),
            ("/" | "/dashboard" | "/dashboard.css" | "/login" | "/logout", _) => {
                pages::message(&settings, StatusCode::METHOD_NOT_ALLOWED, "Not by this method.")
            }
            _ => pages::message(&settings, StatusCode::NOT_FOUND, "There is no such page."),
        }
    }
}

fn is_open(token: &Secret, fields: &HeaderMap, now: Timestamp) -> bool {
    let mut cookies = fields.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    cookies.any(|cookies| session::is_open(token, cookies, now))
}

/// Whether a form was sent from one of our own pages, as browsers say it (`Origin`, of the Fetch standard).
/// A client that says nothing is no browser, and has no cookies of somebody else's.
fn is_own_form(fields: &HeaderMap) -> bool {
    let Some(origin) = fields.get(ORIGIN) else { return true };
    let own = fields.get(HOST).and_then(|host| host.to_str().ok());
    own.is_some_and(|host| origin.as_bytes() == format!("http://{host}").as_bytes())
}

/// The field `token` of a form.
async fn read_token(body: Incoming) -> Option<Vec<u8>> {
    let read = Limited::new(body, MAX_BODY).collect();
    let form = tokio::time::timeout(READ_TIMEOUT, read).await.ok()?.ok()?.to_bytes();
    let field = form.split(|byte| *byte == b'&').find_map(|field| field.strip_prefix(b"token="))?;
    let spaced: Vec<u8> = field.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Some(percent_encoding::percent_decode(&spaced).collect())
}

/// Another page is to be looked at.
fn see(path: &'static str) -> Response<Body> {
    let mut response = server::whole(StatusCode::SEE_OTHER, "text/plain", "");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}

fn with_cookie(mut response: Response<Body>, value: &str, lasts: i64) -> Response<Body> {
    let cookie = session::COOKIE;
    let text = format!("{cookie}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts}");
    // A value of ours has digits and a dot.
    if let Ok(text) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(SET_COOKIE, text);
    }
    response
}

/// With what keeps browsers from doing anything that is not meant.
fn guarded(mut response: Response<Body>) -> Response<Body> {
    let fields = response.headers_mut();
    fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let own = HeaderValue::from_static("same-origin");
    // With none at all browsers would not say where a form is from.
    fields.insert(REFERRER_POLICY, own.clone());
    fields.insert(HeaderName::from_static("cross-origin-opener-policy"), own.clone());
    fields.insert(HeaderName::from_static("cross-origin-resource-policy"), own);
    response
}
