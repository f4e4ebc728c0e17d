//! tq-launcher: see `tqserver::launcher::service`.

use clap::Parser;

fn main() -> std::process::ExitCode {
    tqserver::launcher::service::main(&tqserver::launcher::service::Args::parse())
}
