//! `tqctl drain WORKER`

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::output::{Output, Role};
use crate::ids::WorkerName;

/// How often it is looked whether requests have ended.
const INTERVAL: Duration = Duration::from_millis(200);

/// `tqctl drain`
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Which worker
    #[arg(add = completion::workers())]
    pub worker: WorkerName,
    /// Do not wait for the requests that it has
    #[arg(long)]
    pub no_wait: bool,
}

/// Takes a worker out of service, and waits until it has nothing in flight.
pub async fn run(args: &DrainArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let DrainArgs { worker, no_wait } = args;
    let accepted = client.drain(worker).await.map_err(|error| error.into_failure())?;
    while !no_wait && is_draining(worker, client).await? {
        sleep(INTERVAL).await;
    }
    out.document(&accepted)?;
    let mark = out.painter().paint(Role::Good, "✓");
    out.line(format_args!(
        "{mark} {worker} is out of service; `tqctl restart {worker}` brings it back"
    ))?;
    Ok(Exit::Ok)
}

async fn is_draining(worker: &WorkerName, client: &Client) -> Result<bool, Failure> {
    let status = client.status().await.map_err(|error| error.into_failure())?;
    let found = status.workers.iter().find(|it| it.name == *worker);
    Ok(found.is_some_and(|it| !it.draining.is_empty()))
}
