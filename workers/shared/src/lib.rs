//! Makes a worker of an axum router. tqserver needs no library to run a program (see
//! `docs/worker-contract.md`); this one spares Rust workers the repetition.
//!
//! ```no_run
//! use tq_worker::{View, Worker, context};
//! use axum::{Router, response::Response, routing::get};
//!
//! #[tokio::main]
//! async fn main() -> tq_worker::Result {
//!     let worker = Worker::from_env(tq_worker::build_info!())?;
//!     worker.serve(router(&worker)).await
//! }
//!
//! fn router(worker: &Worker) -> Router {
//!     Router::new().route("/", get(home)).with_state(worker.clone())
//! }
//!
//! /// Renders `private/views/home.html`.
//! async fn home(view: View) -> Response {
//!     view.render("home.html", context! { title => "Hello" })
//! }
//! ```
//!
//! [`Worker::serve`] binds the port tqserver chose, answers `GET /health`, says READY=1, and on
//! SIGTERM finishes what is in flight before it returns.

mod build_info;
mod log;
mod prefix;
mod serve;
mod settings;
mod templates;
mod view;
mod worker;

pub use build_info::BuildInfo;
pub use minijinja::context;
pub use prefix::Prefix;
pub use settings::{Mode, Settings, SettingsError};
pub use view::View;
pub use worker::Worker;

/// What a worker's `main` returns: anyhow's, because an error there is for a person to read.
pub type Result<T = ()> = anyhow::Result<T>;
