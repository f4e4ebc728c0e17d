//! `tqctl check`: whether tqserver would take what lies on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};

use super::exit::{Exit, Failure};
use super::output::{Output, Painter, Role, printable_lines};
use crate::check::{Finding, Report, Served, Severity, check};
use crate::config::environment_file;
use crate::config::settings::Mode;
use crate::config::{Environment, Sources};
use crate::store::verify::Scope;

/// Where the package has the configuration, and what it is for.
const HOST_CONFIG: &str = "/etc/tqserver";
const HOST_ROOT: &str = "/var/lib/tqserver";
/// What its units load (`EnvironmentFile=` of systemd.exec(5)).
const HOST_ENVIRONMENT: &str = "/etc/default/tqserver";

/// `tqctl check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The folder of server.yaml and deployment.yaml [default: config below the project's folder, else
    /// /etc/tqserver]
    #[arg(long, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// Only what would be served in this mode
    #[arg(long, value_enum)]
    pub mode: Option<CheckedMode>,
}

/// See [`Mode`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CheckedMode {
    /// From the source tree
    Dev,
    /// From deployments, as the manifest says
    Prod,
}

/// Checks; writes nothing, and asks no tqserver.
pub fn run(args: &CheckArgs, root: Option<&Path>, out: &Output) -> Result<Exit, Failure> {
    let Place { sources, modes, mut doubts } = Place::find(args, root)?;
    // Programs and private files of deployments may be kept from whoever asks.
    let may_read_all = nix::unistd::geteuid().is_root();
    let scope = if may_read_all { Scope::Whole } else { Scope::Public };
    let mut report = check(&sources, scope, &modes);
    doubts.append(&mut report.findings);
    report.findings = doubts;
    out.document(&report)?;
    let text = render(&report, out.is_quiet(), out.painter());
    if !text.is_empty() {
        out.line(text)?;
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Failure })
}

/// What is looked at.
struct Place {
    sources: Sources,
    /// `None`: the one that the configuration says.
    modes: Vec<Option<Mode>>,
    /// What could not be taken into account.
    doubts: Vec<Finding>,
}

impl Place {
    /// A project, or else this host's tqserver.
    fn find(args: &CheckArgs, root: Option<&Path>) -> Result<Self, Failure> {
        let here = root.unwrap_or(Path::new("."));
        // As it would be typed.
        let of_project = root.map_or_else(|| "config".into(), |root| root.join("config"));
        let config = match &args.config {
            Some(dir) => dir.clone(),
            None if of_project.is_dir() => of_project.clone(),
            None => HOST_CONFIG.into(),
        };
        let is_host = config == Path::new(HOST_CONFIG);
        if args.config.is_none() && !config.is_dir() {
            let hint = "name a project by --root, or the folder of a configuration by --config";
            let error = anyhow!("there is neither {} nor {HOST_CONFIG}", of_project.display());
            return Err(Failure::from(error).with_hint(Some(hint.to_owned())));
        }
        let root = if is_host && root.is_none() { Path::new(HOST_ROOT) } else { here };
        let root = root.canonicalize().with_context(|| root.display().to_string())?;
        let asked = args.mode.map(|mode| match mode {
            CheckedMode::Dev => Mode::Dev,
            CheckedMode::Prod => Mode::Prod,
        });
        let modes = match asked {
            Some(mode) => vec![Some(mode)],
            // As tqserver.service has it.
            None if is_host => vec![Some(Mode::Prod)],
            None => vec![Some(Mode::Dev), Some(Mode::Prod)],
        };
        let (environment, doubts) = if is_host {
            let (variables, unclear) = environment_file::read(Path::new(HOST_ENVIRONMENT))
                .with_context(|| HOST_ENVIRONMENT.to_owned())?;
            let doubt = |line| {
                let text = format!("{HOST_ENVIRONMENT}:{line}: only systemd can read this line");
                Finding::told(Severity::Warning, text)
            };
            (variables, unclear.into_iter().map(doubt).collect())
        } else {
            (Environment::of_process(), Vec::new())
        };
        let sources = Sources {
            server_yaml: config.join("server.yaml"),
            deployment_yaml: config.join("deployment.yaml"),
            root,
            environment,
            mode: None,
        };
        Ok(Self { sources, modes, doubts })
    }
}

/// For people; `quiet`: only what is wrong or doubtful.
fn render(report: &Report, quiet: bool, paint: Painter) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        let (role, mark) = match finding.severity {
            Severity::Error => (Role::Bad, "✗"),
            Severity::Warning => (Role::Warning, "!"),
        };
        lines.push(format!("{} {}", paint.paint(role, mark), printable_lines(&finding.text)));
    }
    if !quiet {
        lines.extend(
            report
                .served
                .iter()
                .map(|served| format!("{} {}", paint.paint(Role::Good, "✓"), in_words(served))),
        );
    }
    lines.join("\n")
}

fn in_words(served: &Served) -> String {
    let workers: Vec<_> = served
        .workers
        .iter()
        .map(|it| {
            let unbuilt = if it.built { "" } else { " (to be built)" };
            format!("{} at {}{unbuilt}", it.name, it.route)
        })
        .collect();
    let from = served.commit.as_ref().map_or("the source tree", |commit| commit.short());
    let workers = if workers.is_empty() { "no workers".to_owned() } else { workers.join(", ") };
    format!("{}  {from}: {workers}", served.mode)
}
