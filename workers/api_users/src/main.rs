//! The sample worker at `/api/users`: a JSON API over users in memory, with validation rules from
//! `private/config`. tqserver takes the route off, so paths here start at `/`.

mod error;
mod import;
mod users;
mod validation;

use std::fs;
use std::sync::{Arc, RwLock};

use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tq_worker::Worker;

use error::ApiError;
use users::Users;
use validation::Rules;

/// The largest body of one user, in bytes; beyond it 413.
const MAX_BODY_BYTES: usize = 64 * 1024;

#[tokio::main]
async fn main() -> tq_worker::Result {
    let worker = Worker::from_env(tq_worker::build_info!())?;
    worker.serve(router(Api::open(&worker)?)).await
}

/// What the handlers share.
#[derive(Clone, FromRef)]
struct Api {
    worker: Worker,
    rules: Arc<Rules>,
    users: Arc<RwLock<Users>>,
}

impl Api {
    fn open(worker: &Worker) -> tq_worker::Result<Self> {
        Ok(Self {
            worker: worker.clone(),
            rules: Arc::new(config(worker, "validation.yaml")?),
            users: Arc::new(RwLock::new(Users::seeded(config(worker, "users.yaml")?))),
        })
    }
}

/// Reads a file of `private/config`.
fn config<T: DeserializeOwned>(worker: &Worker, name: &str) -> tq_worker::Result<T> {
    let path = worker.private("config").join(name);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("{} is not right", path.display()))
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/", get(users::list).post(users::create))
        .route("/{id}", get(users::read).delete(users::delete))
        .route("/import", post(import::import))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .fallback(|| async { ApiError::not_found() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .with_state(api)
}

#[cfg(test)]
mod tests;
