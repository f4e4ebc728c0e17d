//! tqserver runs web applications as systemd services and swaps them without losing a request.
//!
//! `ARCHITECTURE.md` has the map; the arrows between modules are checked by `tests/layering.rs`.

pub mod access_log;
pub mod admin;
pub mod build;
pub mod canary;
pub mod check;
pub mod config;
pub mod control_group;
pub mod ctl;
pub mod daemon;
pub mod dev;
pub mod figures;
pub mod http1;
pub mod ids;
pub mod launcher;
pub mod proxy;
pub mod rollout;
pub mod sd;
pub mod store;
pub mod tls;
pub mod version;
pub mod watch;
