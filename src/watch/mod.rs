//! Noticing that files changed.

pub mod contents;
mod debounce;
mod limits;
pub mod manifest;
pub mod selection;
pub mod tree;
