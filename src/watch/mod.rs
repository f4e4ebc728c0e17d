//! Noticing that files changed.

pub mod manifest;
