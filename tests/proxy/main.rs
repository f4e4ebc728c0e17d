//! The data plane over real sockets: a client that writes bytes, workers that are scripts.

mod access_log;
#[path = "../support/authority.rs"]
mod authority;
mod bed;
mod bulk;
mod canary;
mod compression;
mod error_pages;
mod figures;
mod forwarding;
mod framing;
mod hold;
mod http2;
mod https_bed;
mod limits;
mod live;
mod overload;
mod proxy_protocol;
mod redirect;
mod retry;
mod shutdown;
mod smuggling;
mod static_files;
mod streams;
mod swap;
mod tls;
mod websocket;
