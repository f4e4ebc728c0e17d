//! The log: plain lines on stderr, which tqserver leads to the journal.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::Result;

/// Sets up the log. RUST_LOG selects what is written (EnvFilter's syntax); by default `info`.
///
/// # Errors
/// RUST_LOG cannot be understood, or a log was set up before.
pub(crate) fn init() -> Result {
    let selected = std::env::var("RUST_LOG").ok().filter(|value| !value.is_empty());
    let filter = EnvFilter::try_new(selected.as_deref().unwrap_or("info"))
        .context("RUST_LOG cannot be understood (try RUST_LOG=info)")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // The journal has its own time for every line.
    let initialised = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().try_init()
    } else {
        builder.try_init()
    };
    initialised.map_err(anyhow::Error::from_boxed)
}
