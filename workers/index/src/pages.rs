//! Pages from `private/views`.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use tq_worker::{View, context};

/// `GET /`: what tqserver does, to be tried out.
pub(crate) async fn home(view: View) -> Response {
    view.render("index.html", context! {})
}

#[derive(Deserialize)]
pub(crate) struct Hello {
    #[serde(default)]
    name: String,
}

/// `GET /hello?name=Ada`: a greeting. Templates escape what they are given.
pub(crate) async fn hello(view: View, Query(Hello { name }): Query<Hello>) -> Response {
    let name = if name.trim().is_empty() { "stranger" } else { name.trim() };
    view.render("hello.html", context! { name })
}

/// Every path without a page.
pub(crate) async fn not_found(view: View, uri: Uri) -> Response {
    view.error(StatusCode::NOT_FOUND, &format!("There is no page at {}.", uri.path()))
}
