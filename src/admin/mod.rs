//! The control socket: HTTP and JSON, for tqctl and scripts.

pub mod api;
pub mod events;
pub mod feed;
pub mod server;
mod stream;
