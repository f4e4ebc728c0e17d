//! What integration tests share: a systemd of their own, ports of their own, browsers, and a bounded
//! wait.

// Every test binary compiles this module for itself and uses only some of it.
#![allow(dead_code, unreachable_pub)]

pub mod bed;
pub mod deployments;
pub mod keys;
pub mod load;
pub mod ports;
pub mod published;
pub mod scenario;
pub mod toolchains;
pub mod wait;
