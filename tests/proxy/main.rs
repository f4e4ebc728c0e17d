//! The data plane over real sockets: a client that writes bytes, workers that are scripts.

mod bed;
mod bulk;
mod error_pages;
mod forwarding;
mod framing;
mod hold;
mod limits;
mod live;
mod retry;
mod shutdown;
mod static_files;
mod streams;
mod swap;
mod websocket;
