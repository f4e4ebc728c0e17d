//! The command line of `tq-launcher`.

use std::path::PathBuf;

use clap::Parser;

/// Starts and stops the workers of tqserver, and nothing else.
///
/// Started by D-Bus when org.tqserver.Launcher1 is called, and ended by itself when nobody calls.
/// What it starts is decided by root's configuration and by what is deployed, never by the caller.
#[derive(Debug, Parser)]
#[command(name = "tq-launcher", version = crate::version::VERSION_LINE.as_str())]
pub struct Args {
    /// The folder that relative paths of the configuration start from
    #[arg(long, default_value = "/var/lib/tqserver", value_name = "DIR")]
    pub root: PathBuf,

    /// The folder of server.yaml and deployment.yaml; it and they must be root's
    #[arg(long, default_value = "/etc/tqserver", value_name = "DIR")]
    pub config: PathBuf,

    /// How long nobody must have called before it ends
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub idle_seconds: u64,
}
