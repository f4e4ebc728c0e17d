//! `tqctl doctor`: can this machine serve this project, and what mends it where it cannot.
//!
//! Each subject has a file, with `Facts` that a probe gathers and `judge`, a function of them alone.
//! Probes change nothing, and none takes longer than [`ask::PATIENCE`].

use std::path::Path;

use anyhow::Context;
use clap::Args;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Output;
pub(in crate::ctl) use check::Report;
use check::{Subject, Verdict};
use present::Detail;
use processes::Processes;
use user::User;
use watched::Watched;

mod ask;
mod bus;
mod check;
mod daemon;
mod journal;
mod limits;
mod ports;
mod present;
mod processes;
mod project;
mod sockets;
mod systemd;
#[cfg(test)]
mod tests;
mod toolchains;
mod user;
mod watched;

/// `tqctl doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {}

/// Checks this machine and the project in `root`. A check that failed is [`Exit::Failure`];
/// warnings are none.
pub async fn run(
    _args: &DoctorArgs,
    root: &Path,
    client: &Client,
    out: &Output,
) -> Result<Exit, Failure> {
    // As tqctl build names it; and commands with such paths can be typed anywhere.
    let root = root.canonicalize().with_context(|| root.display().to_string())?;
    std::fs::read_dir(&root).with_context(|| root.display().to_string())?;
    let report = Facts::gather(&root, client).await.judge();
    out.document(&report)?;
    let detail = match (out.is_quiet(), out.is_verbose()) {
        (true, _) => Detail::Wrong,
        (_, true) => Detail::Verbose,
        _ => Detail::All,
    };
    let text = present::render(&report, detail, out.painter());
    if !text.is_empty() {
        out.line(text)?;
    }
    Ok(if report.count(Verdict::Failed) > 0 { Exit::Failure } else { Exit::Ok })
}

/// All that is known.
#[derive(Debug)]
struct Facts {
    user: User,
    systemd: systemd::Facts,
    bus: bus::Facts,
    journal: journal::Facts,
    limits: limits::Facts,
    toolchains: toolchains::Facts,
    ports: ports::Facts,
    /// `None` where there is no project.
    project: Option<project::Facts>,
    daemon: daemon::Facts,
}

impl Facts {
    async fn gather(root: &Path, client: &Client) -> Self {
        let user = User::of_process();
        let processes = Processes::look(user.uid);
        let project = project::Facts::gather(root).await;
        let watched = project.as_ref().map(|project| Watched::count(root, &project.watch_patterns));
        let workers = project.as_ref().map(project::Facts::workers).unwrap_or_default();
        let settings =
            project.as_ref().map_or_else(|| project::defaults(root), project::Facts::settings);
        let (systemd, bus, toolchains, daemon) = tokio::join!(
            systemd::Facts::gather(&user, root),
            bus::Facts::gather(),
            toolchains::Facts::gather(root, project.as_ref()),
            daemon::Facts::gather(client, &processes),
        );
        Self {
            journal: journal::Facts::gather(&user),
            limits: limits::Facts::gather(&user, watched, &processes),
            ports: ports::Facts::gather(&settings, workers.len(), &processes),
            user,
            systemd,
            bus,
            toolchains,
            project,
            daemon,
        }
    }

    fn judge(&self) -> Report {
        let checks = [
            (Subject::Systemd, systemd::judge(&self.systemd)),
            (Subject::Bus, bus::judge(&self.bus, &self.systemd)),
            (Subject::Journal, journal::judge(&self.journal)),
            (Subject::Limits, limits::judge(&self.limits)),
            (Subject::Toolchains, toolchains::judge(&self.toolchains)),
            (Subject::Ports, ports::judge(&self.ports)),
            (Subject::Project, project::judge(self.project.as_ref())),
            (Subject::Daemon, daemon::judge(&self.daemon)),
        ];
        Report::new(checks, self.user.is_root())
    }
}
