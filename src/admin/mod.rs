//! The control socket: HTTP and JSON, for tqctl and scripts.

pub mod api;
pub mod dashboard;
pub mod events;
pub mod exposition;
pub mod feed;
pub mod metrics_port;
pub mod retention;
pub mod server;
pub mod soak;
mod stream;
mod tcp;
