//! Errors as JSON: a status, and `{"errors": [{"message": …}]}` with what is known of where.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    errors: Vec<Problem>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Problem {
    /// The field it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<&'static str>,
    /// For a person to read.
    pub(crate) message: String,
    /// Line of the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// Column in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
}

impl ApiError {
    /// One problem without a place.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let problem = Problem { message: message.into(), ..Problem::default() };
        Self { status, errors: vec![problem] }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this method does nothing here; see Allow")
    }

    /// Fields that break the rules.
    pub(crate) fn invalid(errors: Vec<Problem>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, errors }
    }

    /// JSON that cannot be read, on the line of the body that serde_json's line 1 is.
    pub(crate) fn bad_json(error: &serde_json::Error, first_line: usize) -> Self {
        // serde_json puts the place at the end of the message as well.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let problem = Problem {
            field: None,
            message: error.to_string().trim_end_matches(&place).to_owned(),
            line: Some(first_line + error.line().saturating_sub(1)),
            column: Some(error.column()),
        };
        Self { status: StatusCode::BAD_REQUEST, errors: vec![problem] }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            errors: Vec<Problem>,
        }
        (self.status, Json(Body { errors: self.errors })).into_response()
    }
}

/// A path whose id is no number names nothing.
impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::not_found()
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// 413 for a body that is too long, 400 for one that broke off.
impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}
