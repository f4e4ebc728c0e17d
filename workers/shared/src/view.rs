//! Pages from templates.

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse as _, Response};
use minijinja::{Error, Value, context};

use crate::{Mode, Prefix, Worker};

/// Renders pages for one request, with links that fit where the client sees the worker.
///
/// Templates have `worker` (name, route, mode, commit, generation), `asset('css/x.css')` for the
/// URL of a public file and `url('/path')` for one of a page.
pub struct View {
    worker: Worker,
    prefix: Prefix,
}

impl View {
    /// The page `name` of `private/views`. A template that fails is logged and becomes a 500,
    /// which in development says what is wrong.
    pub fn render(&self, name: &str, context: Value) -> Response {
        match self.html(name, context) {
            Ok(html) => html.into_response(),
            Err(error) => {
                tracing::error!("template {name}: {error:#}");
                let detail = match self.worker.settings().mode {
                    Mode::Dev => format!("{error:#}\n{}", error.display_debug_info()),
                    Mode::Prod => String::new(),
                };
                self.error(StatusCode::INTERNAL_SERVER_ERROR, &detail)
            }
        }
    }

    /// An error page, from `error.html`; plain text where that cannot be rendered. `message` is
    /// for the client to read and may be empty.
    pub fn error(&self, status: StatusCode, message: &str) -> Response {
        let reason = status.canonical_reason().unwrap_or("Error");
        let code = status.as_u16();
        match self.html("error.html", context! { status => code, reason, message }) {
            Ok(html) => (status, html).into_response(),
            Err(error) => {
                tracing::error!("template error.html: {error:#}");
                (status, format!("{code} {reason}\n{message}")).into_response()
            }
        }
    }

    fn html(&self, name: &str, context: Value) -> Result<Html<String>, Error> {
        self.worker.templates().render(name, &self.prefix, context).map(Html)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for View
where
    Worker: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let prefix = Prefix::from_request_parts(parts, state).await?;
        Ok(Self { worker: Worker::from_ref(state), prefix })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use http_body_util::BodyExt as _;
    use rstest::rstest;

    use super::*;
    use crate::Settings;

    #[rstest]
    #[case::development_says_why(Mode::Dev, true)]
    #[case::production_does_not(Mode::Prod, false)]
    #[tokio::test]
    async fn a_template_that_fails_is_a_500(#[case] mode: Mode, #[case] says_why: bool) {
        let folder = tempfile::tempdir().unwrap();
        let views = folder.path().join("private/views");
        fs::create_dir_all(&views).unwrap();
        fs::write(views.join("broken.html"), "{{ unheard_of }}").unwrap();
        let settings = Settings { mode, ..Settings::by_hand("test", folder.path()) };
        let view = View { worker: Worker::new(settings), prefix: Prefix::new("/") };

        let response = view.render("broken.html", context! {});
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        assert!(body.starts_with("500 Internal Server Error"), "{body}");
        assert_eq!(body.contains("broken.html"), says_why, "{body}");
    }
}
