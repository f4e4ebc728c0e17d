//! The worker at `__ROUTE__`. tqserver takes the route off, so paths here start at `/`.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use tq_worker::{View, Worker, context};

/// Serves until SIGTERM, then finishes what is in flight. `GET /health` and READY=1 are the
/// library's.
#[tokio::main]
async fn main() -> tq_worker::Result {
    let worker = Worker::from_env(tq_worker::build_info!())?;
    worker.serve(router(&worker)).await
}

fn router(worker: &Worker) -> Router {
    Router::new().route("/", get(index)).with_state(worker.clone())
}

/// `GET /`: `private/views/index.html`.
async fn index(view: View) -> Response {
    view.render("index.html", context! {})
}
