//! tqserver: see `tqserver::daemon`.

use clap::Parser;

fn main() -> std::process::ExitCode {
    tqserver::daemon::main(&tqserver::daemon::Args::parse())
}
