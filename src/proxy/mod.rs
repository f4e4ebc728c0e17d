//! The data plane. It reads one published table and never waits for the control plane.
//!
//! One thread a core, each with a runtime, a connection pool and counters of its own; a connection
//! stays on the thread that accepted it. The way of a request is `listener` → `arrival` → `connection`
//! → `client` → `service` → `forward` → `exchange`, or `static_files` → `respond`; HTTP/2 is translated
//! in `http2` and goes the same way.
//!
//! A connection is one task. It polls what comes from the client and what comes from the worker, and
//! passes heads on as copied bytes (`forwarding`, `answer`) and bodies through borrowed buffers (`pump`,
//! `buffers`) or through the kernel alone (`splice`). Nothing is allocated for a request that only
//! passes through.

mod accept_encoding;
mod answer;
mod arrival;
pub mod balance;
mod body;
mod book;
mod buffers;
pub mod canary;
mod client;
mod compression;
mod connection;
mod core;
mod counters;
mod data_plane;
mod date;
mod deadlines;
pub mod durations;
mod error_page;
mod exchange;
mod forward;
mod forwarding;
mod hold;
mod http2;
pub mod intake;
mod listener;
mod live;
mod logged;
mod path;
mod pool;
pub mod proxy_protocol;
mod pump;
mod redirect;
mod respond;
mod route_index;
mod routing;
mod service;
mod socket;
mod spare;
mod splice;
pub mod static_files;
pub mod table;
mod tally;
pub mod target;
mod tls_socket;
mod tunnel;
mod websocket;

pub use counters::{Counters, CountersReader};
pub use data_plane::{DataPlane, ProxySettings, STREAM_GRACE};
pub use durations::DurationSums;
pub use forwarding::forwarded_request;
pub use listener::Listener;
pub use live::{Build, Live, Place, Problems};
pub use tally::{CLASSES, WorkerFigures};
