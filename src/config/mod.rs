//! Configuration: raw file, `${VAR:-default}` expanded, validated settings.
//!
//! A file goes through `document` (YAML, with the place of every entry), a `section` for each of
//! its mappings, and the reader of its keys (`server`, `deployment`, `worker`); [`load()`] merges.
//! What is wrong is gathered on the way and returned at once.

mod access_log;
mod compression;
mod credential;
mod deployment;
mod diagnostic;
pub mod discover;
mod document;
mod editor;
mod effective;
pub mod environment_file;
pub mod grants;
mod https;
mod instances;
mod limits;
mod load;
mod pins;
mod positions;
mod sandbox;
mod scope;
mod section;
mod server;
pub mod settings;
mod sources;
pub mod targets;
mod template;
#[cfg(test)]
mod tests;
mod units;
pub mod worker;

pub use diagnostic::{ConfigErrors, Diagnostic, Position};
pub use load::{Loaded, load, parse};
pub use sources::{Environment, Sources};
