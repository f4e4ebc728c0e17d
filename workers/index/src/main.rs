//! The sample worker at `/`: pages from templates, and the kinds of long answers that a
//! deployment must not cut.

mod clock;
mod download;
mod echo;
mod pages;

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use tq_worker::Worker;

#[tokio::main]
async fn main() -> tq_worker::Result {
    let worker = Worker::from_env(tq_worker::build_info!())?;
    worker.serve(router(&worker)).await
}

fn router(worker: &Worker) -> Router {
    Router::new()
        .route("/", get(pages::home))
        .route("/hello", get(pages::hello))
        .route("/clock", get(clock::clock))
        .route("/echo", get(echo::echo))
        .route("/download", get(download::download))
        .fallback(pages::not_found)
        .layer(map_response(own_resources_only))
        .with_state(worker.clone())
}

/// Lets pages load from this host only: no inline script or style, nothing from elsewhere.
async fn own_resources_only(mut response: Response) -> Response {
    let policy = HeaderValue::from_static("default-src 'self'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

#[cfg(test)]
mod tests;
