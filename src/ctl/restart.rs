//! `tqctl restart WORKER`

use clap::Args;

use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::reload::render;
use crate::ids::WorkerName;

/// `tqctl restart`
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Which worker
    #[arg(add = completion::workers())]
    pub worker: WorkerName,
}

/// Has a worker restarted, and tells what came of it.
pub async fn run(args: &RestartArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let verdict = client.restart(&args.worker).await.map_err(|error| error.into_failure())?;
    out.document(&verdict)?;
    out.line(render(&verdict, out.painter()))?;
    Ok(if verdict.ok { Exit::Ok } else { Exit::NotSwitched })
}
