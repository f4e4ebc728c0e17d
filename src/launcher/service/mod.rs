//! `tq-launcher`: the only program that creates units in production.
//!
//! It is root without capabilities, is started by a call on the bus and ends when there are none.
//! Its caller, tqserver, may be anybody's by the time it calls: so a call only names a worker, a
//! port, a deployment and a generation, and everything else comes from root's configuration and
//! from verified copies of what was deployed.

mod args;
mod call;
mod ownership;
mod quota;
mod serve;
mod starts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::copies::{Copies, Limits};
use crate::config::settings::Mode;
use crate::config::{Environment, Sources};
use crate::sd::logging;
pub use args::Args;
use serve::Service;
use starts::Starts;

/// Where copies lie when systemd has not said: `StateDirectory=` of the unit.
const STATE_DIR: &str = "/var/lib/tq-launcher";

/// Runs `tq-launcher`. Returns when nobody calls any more, or it cannot go on.
pub fn main(args: &Args) -> ExitCode {
    let run = || -> anyhow::Result<()> {
        let environment = Environment::of_process();
        logging::init()?;
        let starts = starts(args, environment)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(starts, Duration::from_secs(args.idle_seconds)))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(starts: Starts, idle: Duration) -> anyhow::Result<()> {
    let terminate = signal(SignalKind::terminate())?;
    let service = Service::open(starts, idle).await.context("cannot be a service on the bus")?;
    service.run(terminate).await.context("the bus is lost")
}

/// Where everything is. Folders are resolved as tqserver resolves them: paths are compared.
fn starts(args: &Args, environment: Environment) -> anyhow::Result<Starts> {
    let resolve = |option: &str, dir: &Path| {
        fs::canonicalize(dir).with_context(|| format!("{option} {}", dir.display()))
    };
    let config_dir = resolve("--config", &args.config)?;
    // systemd.exec(5): several directories are separated by colons.
    let state = environment.get("STATE_DIRECTORY").and_then(|dirs| dirs.split(':').next());
    let state_dir = PathBuf::from(state.unwrap_or(STATE_DIR));
    Ok(Starts {
        sources: Sources {
            root: resolve("--root", &args.root)?,
            server_yaml: config_dir.join("server.yaml"),
            deployment_yaml: config_dir.join("deployment.yaml"),
            environment,
            mode: Some(Mode::Prod),
        },
        config_dir,
        copies: Copies::new(state_dir.join("copies"), Limits::default()),
        state_dir,
    })
}
