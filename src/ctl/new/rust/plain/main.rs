//! The worker at `__ROUTE__`. tqserver takes the route off, so paths here start at `/`.

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Html;
use axum::routing::get;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_err(|error| format!("PORT: {error}"))?.parse()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    eprintln!("serving on {}", listener.local_addr()?);
    sd_notify::notify(&[NotifyState::Ready])?;

    let told_to_stop = async move {
        terminate.recv().await;
    };
    // Returns when what is in flight is through.
    axum::serve(listener, router()).with_graceful_shutdown(told_to_stop).await?;
    eprintln!("stopped");
    Ok(())
}

fn router() -> Router {
    Router::new().route("/", get(page)).route("/health", get(|| async { StatusCode::NO_CONTENT }))
}

/// `GET /`: `private/page.html`, which is read anew each time.
async fn page(headers: HeaderMap) -> Result<Html<String>, (StatusCode, &'static str)> {
    let variable = |name| env::var(name).unwrap_or_default();
    let path = PathBuf::from(variable("TQ_WORKER_BASE")).join("private/page.html");
    let template = tokio::fs::read_to_string(&path).await.map_err(|error| {
        eprintln!("{}: {error}", path.display());
        (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be read\n")
    })?;
    // Links start where clients see the worker.
    let prefix = headers.get("x-forwarded-prefix").and_then(|value| value.to_str().ok());
    Ok(Html(
        template
            .replace("{{generation}}", &variable("TQ_GENERATION"))
            .replace("{{prefix}}", prefix.unwrap_or_default()),
    ))
}
