//! tqctl: the operator's and developer's tool. One file a verb; what all of them share is the
//! frame here, [`output`], [`exit`] and [`client`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use client::Client;
use exit::{Exit, Failure};
use output::{ColorChoice, JsonLayout, Output};

use crate::version::VERSION_LINE;

pub mod build;
pub mod check;
pub mod client;
pub mod completion;
pub mod deploy;
pub mod dev;
pub mod diff;
pub mod doctor;
pub mod drain;
pub mod exit;
pub mod history;
pub mod host;
pub mod logs;
pub mod migrate;
pub mod new;
pub mod output;
pub mod prune;
pub mod reload;
pub mod restart;
pub mod rollback;
pub mod rollout;
#[cfg(test)]
mod schemas;
pub mod status;
pub mod top;

/// Build, deploy and watch over web applications that tqserver runs.
#[derive(Debug, Parser)]
#[command(name = "tqctl", version = VERSION_LINE.as_str(), after_help = EXIT_CODES)]
pub struct Cli {
    /// What every verb understands.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 failure, 2 usage, 3 degraded or not running, 4 unreachable (wrong socket, no \
permission), 5 locked by another, 6 build failed, 7 rolled back or never switched, 8 rollback \
failed, 130 interrupted";

/// Options that may stand before or after the verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Print the result as a JSON document
    #[arg(
        long, global = true, value_name = "LAYOUT", num_args = 0..=1, require_equals = true,
        default_missing_value = "compact"
    )]
    pub json: Option<JsonLayout>,
    /// Do not pipe long output into a pager
    #[arg(long, global = true)]
    pub no_pager: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print what is done as well
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// The project's folder, instead of the working directory
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The control socket; by default that of the project's `tqctl dev`, else the system's, else
    /// that of this user's session
    #[arg(long, global = true, value_name = "PATH", env = "TQ_CONTROL_SOCKET")]
    pub socket: Option<PathBuf>,
}

impl Globals {
    /// Output as wished.
    pub fn output(&self) -> Output {
        Output::new(self.color, self.json, self.quiet, self.verbose)
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("."))
    }

    fn client(&self) -> Client {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let of_project = || dev::socket_of(self.root(), runtime_dir.as_deref()?);
        Client::locate(self.socket.clone().or_else(of_project), runtime_dir)
    }
}

/// What tqctl can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a worker to start from
    New(new::NewArgs),
    /// Build a deployment of the commit that is checked out
    Build(build::BuildArgs),
    /// Move the files of a project of the old layout to where they belong now
    ///
    /// pages/ becomes workers/, templates/ workers/shared/private/templates/, and bin/tqworker_* the
    /// programs in workers/*/bin/. Reports every move; never overwrites anything.
    Migrate(migrate::MigrateArgs),
    /// Bring a deployment to a target's hosts and have them switch to it
    ///
    /// Builds what is checked out, unless a commit is named that was built before. A host that does
    /// not come to serve it goes back to what served before.
    Deploy(deploy::DeployArgs),
    /// Go back to a deployment that is still there
    ///
    /// Without a commit, to the last one that served well before the current one.
    Rollback(rollback::RollbackArgs),
    /// Show what was deployed, by whom, and what came of it
    History(history::HistoryArgs),
    /// Show what a deployment of what is checked out would change
    Diff(diff::DiffArgs),
    /// Serve the source tree until Ctrl-C
    Dev(dev::DevArgs),
    /// Show what runs
    Status(status::StatusArgs),
    /// Watch what runs
    ///
    /// Rates, percentiles, memory and processor time of all workers, as long as wished: Up and Down select
    /// one, Enter shows its instances, < and > sort by another column, r turns the order round, q ends it.
    /// Where there is no terminal, the same as `tqctl status`.
    Top(top::TopArgs),
    /// Say whether what is wanted serves, or wait until it does
    ///
    /// Exit code 7: it has failed, and what served before serves. 3: it is under way.
    Rollout(rollout::RolloutArgs),
    /// Show what workers and tqserver wrote to the journal
    ///
    /// Becomes journalctl, whose pager, colours and exit code it has. With --json, a document for each
    /// line.
    Logs(logs::LogsArgs),
    /// Give a worker a new generation of what it is, and switch to it when it is ready
    ///
    /// Not one request is lost. Exit code 7: it did not get ready, and the old generation serves.
    Restart(restart::RestartArgs),
    /// Take a worker out of service until it is restarted
    ///
    /// Requests for it are answered 503 from then on, those that it has are finished, and it stops. It stays
    /// so over deployments and restarts of tqserver; `tqctl restart` brings it back.
    Drain(drain::DrainArgs),
    /// Have tqserver read its configuration and manifest again
    Reload(reload::ReloadArgs),
    /// Remove deployments that nothing needs any more
    ///
    /// Kept are the newest and the recent ones (deployment.prod.retention), those whose commit has a
    /// tag, and all that tqserver needs: what is wanted, serves, served well last, is pinned or still
    /// runs. Where tqserver does not answer, nothing is removed.
    Prune(prune::PruneArgs),
    /// Say whether tqserver would take the configuration and what it leads to
    ///
    /// Reads what tqserver would read, and as tqserver does: server.yaml, deployment.yaml, each worker's
    /// worker.yaml, the manifest, and all of the deployment that it names. In a project that is what is
    /// served in development and in production; elsewhere what this host's tqserver would serve.
    /// Writes nothing and asks no tqserver. Exit code 1: there is an error; a warning is none.
    Check(check::CheckArgs),
    /// Check this machine and this project, and say what mends them
    ///
    /// Changes nothing. With --quiet, prints only what is wrong; with --verbose, also paths and who
    /// needs or holds what. A check that failed is exit code 1, a warning is not.
    Doctor(doctor::DoctorArgs),
    /// Print what has a shell complete command lines, with workers, commits and targets that there are
    ///
    /// The package installs it for bash, zsh and fish. Elsewhere: source <(tqctl completion bash)
    Completion(completion::CompletionArgs),
    /// The end of `tqctl deploy` that is on the host; it is started by ssh and not by people
    #[command(hide = true)]
    HostSession(host::HostArgs),
}

/// Runs tqctl with the arguments of this process.
pub fn main() -> ExitCode {
    completion::answer_shell();
    let cli = Cli::parse();
    let out = cli.globals.output();
    let exit = run(&cli, &out).unwrap_or_else(|failure| {
        out.error(output::printable_lines(&failure.to_string()));
        if let Some(hint) = failure.hint() {
            out.hint(hint);
        }
        failure.exit()
    });
    exit.into()
}

fn run(cli: &Cli, out: &Output) -> Result<Exit, Failure> {
    let socket = || cli.globals.socket.clone();
    match &cli.verb {
        Verb::New(args) => new::run(args, cli.globals.root(), out),
        Verb::Build(args) => build::run(args, cli.globals.root(), out),
        Verb::Migrate(args) => migrate::run(args, cli.globals.root(), out),
        Verb::Prune(args) => {
            block_on(prune::run(args, cli.globals.root(), &client(&cli.globals, out), out))
        }
        Verb::Deploy(args) => deploy::run(args, cli.globals.root(), out),
        Verb::Rollback(args) => rollback::run(args, cli.globals.root(), socket(), out),
        Verb::History(args) => history::run(args, cli.globals.root(), socket(), out),
        Verb::Diff(args) => diff::run(args, cli.globals.root(), socket(), out),
        Verb::Dev(args) => dev::run(args, cli.globals.root(), out),
        Verb::Status(args) => block_on(status::run(args, &client(&cli.globals, out), out)),
        Verb::Top(args) => block_on(top::run(args, &client(&cli.globals, out), out)),
        Verb::Rollout(args) => block_on(rollout::run(args, &client(&cli.globals, out), out)),
        Verb::Logs(args) => {
            block_on(logs::run(args, &cli.globals, &client(&cli.globals, out), out))
        }
        Verb::Restart(args) => block_on(restart::run(args, &client(&cli.globals, out), out)),
        Verb::Drain(args) => block_on(drain::run(args, &client(&cli.globals, out), out)),
        Verb::Reload(args) => block_on(reload::run(args, &client(&cli.globals, out), out)),
        Verb::Completion(args) => completion::run(args),
        Verb::HostSession(args) => host::run(args),
        Verb::Check(args) => check::run(args, cli.globals.root.as_deref(), out),
        Verb::Doctor(args) => {
            block_on(doctor::run(args, cli.globals.root(), &cli.globals.client(), out))
        }
    }
}

/// A client of the control socket that was chosen; `-v` says which that is.
fn client(globals: &Globals, out: &Output) -> Client {
    let client = globals.client();
    out.detail(format_args!("asking {}", client.socket().display()));
    client
}

fn block_on(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(verb)
}
