//! The pages, made of the files in `server.dashboard.pages`: read at each request, so that who has others may
//! change them.

use std::fs;
use std::path::Path;

use http::{Response, StatusCode};
use jiff::Timestamp;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, context};

use super::super::api::{PastRollouts, Status};
use super::super::server::{self, Body};
use crate::config::settings::DashboardSettings;
use crate::figures;

/// A page, and what it tells.
pub(super) enum Page<'a> {
    /// Who asks has to say the token first.
    Login {
        /// Whether one was said that is wrong.
        is_wrong: bool,
    },
    /// A sentence, where there is nothing else.
    Message(&'a str),
    /// All there is.
    Dashboard {
        /// How everything stands.
        status: &'a Status,
        /// What became of the last rollouts.
        past: &'a PastRollouts,
        /// When that was.
        now: Timestamp,
    },
}

impl Page<'_> {
    fn file(&self) -> &'static str {
        match self {
            Self::Login { .. } | Self::Message(_) => "index.html",
            Self::Dashboard { .. } => "dashboard.html",
        }
    }

    fn content(&self) -> Value {
        match self {
            Self::Login { is_wrong } => context! { is_wrong => *is_wrong },
            Self::Message(message) => context! { message => *message },
            Self::Dashboard { status, past, now } => {
                let status = Value::from(Serde(status));
                let last = past.rollouts.iter().take(10);
                let rollouts: Vec<_> = last.map(|it| Value::from(Serde(it))).collect();
                context! { status, rollouts, now => now.strftime("%F %H:%M:%S UTC").to_string() }
            }
        }
    }

    fn render(&self, folder: &Path) -> Result<String, String> {
        let path = folder.join(self.file());
        let text = fs::read_to_string(&path).map_err(|it| format!("{}: {it}", path.display()))?;
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.add_filter("rate", figures::rate);
        templates.add_filter("bytes", figures::bytes);
        templates.add_filter("percent", figures::percent);
        templates.add_filter("ms", |time: f64| format!("{time:.0} ms"));
        templates.add_filter("ago", |since: &str| -> String {
            let since = since.parse().unwrap_or(Timestamp::UNIX_EPOCH);
            figures::age(since, Timestamp::now())
        });
        let page = templates.render_named_str(self.file(), &text, self.content());
        page.map_err(|error| format!("{}: {error:#}", path.display()))
    }
}

/// A page as an answer; one that cannot be made is complained of.
pub(super) fn page(
    settings: &DashboardSettings,
    status: StatusCode,
    page: Page<'_>,
) -> Response<Body> {
    match page.render(&settings.pages) {
        Ok(text) => server::whole(status, "text/html; charset=utf-8", text),
        Err(error) => unmade(&error),
    }
}

/// A page with a sentence.
pub(super) fn message(
    settings: &DashboardSettings,
    status: StatusCode,
    text: &str,
) -> Response<Body> {
    page(settings, status, Page::Message(text))
}

/// The style sheet.
pub(super) fn style(settings: &DashboardSettings) -> Response<Body> {
    let path = settings.pages.join("dashboard.css");
    match fs::read(&path) {
        Ok(text) => server::whole(StatusCode::OK, "text/css; charset=utf-8", text),
        Err(error) => unmade(&format!("{}: {error}", path.display())),
    }
}

fn unmade(error: &str) -> Response<Body> {
    tracing::error!("dashboard: {error}");
    let text = "The page cannot be made: journalctl -u tqserver says why.\n";
    server::whole(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text)
}
