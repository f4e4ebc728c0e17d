//! The path a worker is mounted at, as its clients see it.

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::Worker;

/// The path a worker is mounted at, as its clients see it: `X-Forwarded-Prefix`, else the
/// worker's route. Empty for `/`, else without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// A path of this worker as a link or a `Location`: `/new` becomes `/api/users/new`.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}", self.0, path.trim_start_matches('/'))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn new(path: &str) -> Self {
        Self(path.trim_end_matches('/').to_owned())
    }

    /// Takes only what cannot be anything but a path on the same host: `//host` is none.
    fn forwarded(value: &str) -> Option<Self> {
        let ordinary = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        let path = value.starts_with('/') && !value.contains("//") && value.bytes().all(ordinary);
        path.then(|| Self::new(value))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Prefix
where
    Worker: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let header = parts.headers.get("x-forwarded-prefix").and_then(|value| value.to_str().ok());
        let forwarded = header.and_then(Self::forwarded);
        Ok(forwarded.unwrap_or_else(|| Self::new(&Worker::from_ref(state).settings().route)))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use rstest::rstest;

    use super::*;
    use crate::Settings;

    #[rstest]
    #[case::root("/", None, "/new")]
    #[case::route("/api/users", None, "/api/users/new")]
    #[case::a_proxy_in_front("/", Some("/app"), "/app/new")]
    #[case::header_wins("/api/users", Some("/app/api/users/"), "/app/api/users/new")]
    #[case::another_host("/", Some("//evil.example"), "/new")]
    #[case::markup("/", Some("/\"><script>"), "/new")]
    #[tokio::test]
    async fn links_start_where_the_worker_is_mounted(
        #[case] route: &str,
        #[case] header: Option<&str>,
        #[case] expected: &str,
    ) {
        let worker =
            Worker::new(Settings { route: route.into(), ..Settings::by_hand("test", ".") });
        let mut request = Request::get("/");
        if let Some(prefix) = header {
            request = request.header("x-forwarded-prefix", prefix);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let prefix = Prefix::from_request_parts(&mut parts, &worker).await.unwrap();
        assert_eq!(prefix.url("/new"), expected);
        assert_eq!(prefix.url("new"), expected);
    }
}
