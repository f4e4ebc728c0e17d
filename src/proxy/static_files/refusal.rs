//! Answers that bring no file.

use std::io;

use http::{HeaderValue, Response, StatusCode, header};

use super::StaticBody;
use super::lookup::LookupError;
use super::open::OpenError;
use super::path::PathError;

/// Why a request gets no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("public files can only be read")]
    Method,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("no public file has this name")]
    Missing,
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("a public file cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl Refusal {
    /// The answer, after the journal was told what its reader can do something about.
    pub(super) fn into_response(self, path: &str) -> Response<StaticBody> {
        match &self {
            Self::Method | Self::Path(_) | Self::Missing => {}
            Self::Lookup(LookupError { error: OpenError::Refused, .. }) => {
                tracing::debug!(path, reason = %self, "public file refused");
            }
            Self::Lookup(_) | Self::Read(_) => {
                tracing::warn!("public file {path:?} not served: {self}");
            }
        }
        let status = self.status();
        let mut response = error(status);
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path(PathError::Malformed) => StatusCode::BAD_REQUEST,
            Self::Path(PathError::Hidden) | Self::Missing => StatusCode::NOT_FOUND,
            // Forbidden and absent look the same from outside.
            Self::Lookup(LookupError { error, .. }) => match error {
                OpenError::Missing | OpenError::Refused | OpenError::Denied => {
                    StatusCode::NOT_FOUND
                }
                OpenError::Exhausted(_) => StatusCode::SERVICE_UNAVAILABLE,
                OpenError::WouldBlock | OpenError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::Read(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error without a body. It may be over at the next deployment, so nobody is to keep it.
pub(super) fn error(status: StatusCode) -> Response<StaticBody> {
    let mut response = Response::new(StaticBody::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn open_failed(error: OpenError) -> Refusal {
        Refusal::Lookup(LookupError { path: "public/f".into(), error })
    }

    #[rstest]
    #[case(Refusal::Method, 405)]
    #[case(Refusal::Path(PathError::Malformed), 400)]
    #[case(Refusal::Path(PathError::Hidden), 404)]
    #[case(Refusal::Missing, 404)]
    #[case(open_failed(OpenError::Refused), 404)]
    #[case(open_failed(OpenError::Denied), 404)]
    #[case(open_failed(OpenError::Exhausted(io::Error::from_raw_os_error(24))), 503)]
    #[case(open_failed(OpenError::Io(io::Error::from_raw_os_error(5))), 500)]
    #[case(Refusal::Read(io::Error::from_raw_os_error(5)), 500)]
    fn statuses(#[case] refusal: Refusal, #[case] status: u16) {
        let response = refusal.into_response("/f");
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers().contains_key(header::ALLOW), status == 405);
        assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503);
    }
}
