//! `tqctl completion SHELL`, and what shells are told when they ask what may come next.

use std::time::Duration;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::Cli;
use super::client::Client;
use super::exit::{Exit, Failure};
use crate::config::discover::discover;
use crate::config::{self, Environment, Sources};
use crate::ids::CommitId;
use crate::store::layout::DeployDir;

/// What a shell sets when it asks; the value is its name.
const ASKED: &str = "TQCTL_COMPLETE";

/// How long somebody at a keyboard waits for what tqserver knows.
const PATIENCE: Duration = Duration::from_millis(500);

/// `tqctl completion`
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// Which shell
    pub shell: Shell,
}

/// A shell that can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Prints what has a shell ask this program.
pub fn run(args: &CompletionArgs) -> Result<Exit, Failure> {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell.write_registration(ASKED, "tqctl", "tqctl", "tqctl", &mut script)?;
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(Exit::Ok)
}

/// Answers a shell, and ends the process, if it is one that asks.
pub(super) fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(ASKED).complete();
}

/// The workers that there are: those that tqserver has, or else those of the project here.
pub(super) fn workers() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let served = asked(async |client| client.status().await.ok()).map(|status| {
            let of_worker = |worker: crate::admin::api::WorkerStatus| {
                let help = format!("{}, {}", worker.route, worker.state.as_str());
                CompletionCandidate::new(worker.name.as_str()).help(Some(help.into()))
            };
            status.workers.into_iter().map(of_worker).collect()
        });
        served.unwrap_or_else(|| {
            let found = project().and_then(|loaded| {
                discover(&loaded.settings.discovery).ok().map(|found| found.workers)
            });
            let found = found.unwrap_or_default();
            found.into_iter().map(|it| CompletionCandidate::new(it.name.as_str())).collect()
        })
    })
}

/// The commits that may be named: those whose rollouts tqserver remembers, and those built here.
pub(super) fn commits() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let past = asked(async |client| client.past_rollouts().await.ok());
        let past = past.into_iter().flat_map(|past| past.rollouts).map(|rollout| {
            let outcome = if rollout.failure.is_none() { "served" } else { "failed" };
            (rollout.commit, format!("{outcome} {}", rollout.at.strftime("%F %H:%M")))
        });
        let built = project().map(|loaded| {
            DeployDir::new(loaded.settings.deployments.deploy_dir).deployments().unwrap_or_default()
        });
        let built = built.unwrap_or_default().into_iter().map(|it| (it, "built here".to_owned()));
        let mut seen = Vec::<CommitId>::new();
        let mut candidates = Vec::new();
        for (commit, help) in past.chain(built) {
            if !seen.contains(&commit) {
                let candidate = CompletionCandidate::new(commit.short());
                candidates.push(candidate.help(Some(help.into())));
                seen.push(commit);
            }
        }
        candidates
    })
}

/// The targets of config/deployment.yaml.
pub(super) fn targets() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let targets = project().map(|loaded| loaded.settings.targets);
        let targets = targets.unwrap_or_default().into_keys();
        targets.map(|name| CompletionCandidate::new(name.to_string())).collect()
    })
}

/// What tqserver answers in time; the shell does not tell which socket the command line names.
fn asked<T>(question: impl AsyncFnOnce(Client) -> Option<T>) -> Option<T> {
    let socket = std::env::var_os("TQ_CONTROL_SOCKET").map(Into::into);
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(Into::into);
    let client = Client::locate(socket, runtime_dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, question(client)).await.ok()? })
}

fn project() -> Option<config::Loaded> {
    let environment = Environment::of_process();
    config::load(&Sources { environment, ..Sources::of_project(".") }).ok()
}
