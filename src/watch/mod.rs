//! Noticing that files changed.

pub mod contents;
mod debounce;
mod limits;
pub mod manifest;
pub mod selection;
#[cfg(test)]
mod testing;
pub mod tree;
