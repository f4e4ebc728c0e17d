//! From both files to settings: which file wins, and what does not fit together.

use std::path::PathBuf;

use md5::{Digest, Md5 as Hasher};

use super::deployment::{self, DeploymentFile, ModeBlock};
use super::diagnostic::{ConfigErrors, Diagnostic};
use super::document::Document;
use super::pins;
use super::scope::Scope;
use super::section::{Located, read_root};
use super::server::{self, DiscoveryMode, ServerFile, parse_mode};
use super::settings::{
    BuildSettings, CompressionSettings, DeploymentSettings, InstanceSettings, Mode, Sandbox,
    Settings, WorkerDefaults, WorkersSettings,
};
use super::sources::{self, Sources};
use crate::ids::Md5;

/// The keyring's name in the configuration's folder, where `keyring` names no other.
const KEYRING: &str = "trusted.gpg";

/// Valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What is doubtful in it, but has a meaning.
    pub warnings: Vec<Diagnostic>,
    /// Over both files and the variables they use: equal as long as nothing changed.
    pub digest: Md5,
}

/// Reads both files. `server.yaml` must exist; without `deployment.yaml` defaults hold.
///
/// # Errors
/// Everything that is wrong in both files.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let server = match sources::read(&sources.server_yaml)? {
        Some(bytes) => bytes,
        None => {
            let missing = Diagnostic::about(&sources.server_yaml, "there is no such file")
                .hint("an empty file is enough to start with: every key has a default");
            return Err(missing.into());
        }
    };
    let deployment = sources::read(&sources.deployment_yaml)?;
    parse(sources, &server, deployment.as_deref())
}

/// The same for content that was read already: a function of its arguments alone.
///
/// # Errors
/// Everything that is wrong in both.
pub fn parse(
    sources: &Sources,
    server: &[u8],
    deployment: Option<&[u8]>,
) -> Result<Loaded, ConfigErrors> {
    let server = Document::parse(&sources.server_yaml, server);
    let deployment = match deployment {
        Some(bytes) => Document::parse(&sources.deployment_yaml, bytes),
        None => Document::absent(&sources.deployment_yaml),
    };
    let (server, deployment) = match (server, deployment) {
        (Ok(server), Ok(deployment)) => (server, deployment),
        (server, deployment) => {
            let found = [server.err(), deployment.err()].into_iter().flatten().flatten().collect();
            ConfigErrors::check(found)?;
            // Not reached: one of the two is an error, so something was found.
            return Err(Diagnostic::about(&sources.server_yaml, "unreadable").into());
        }
    };

    let mut server_scope = Scope::new(&server, Some(&sources.environment));
    let server_file = read_root(&mut server_scope, |file| server::read(file, &sources.root));
    let mut deployment_scope = Scope::new(&deployment, Some(&sources.environment));
    let deployment_file = read_root(&mut deployment_scope, |file| {
        deployment::read(file, &sources.root, &server_file.workers.workers_dir)
    });

    let mut hasher = Hasher::new();
    let used = server_scope.used.iter().chain(&deployment_scope.used);
    let variables = used.flat_map(|(name, value)| [name.as_str(), value]);
    for part in [server.text(), deployment.text()].into_iter().chain(variables) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }

    let mut errors = server_scope.finish();
    errors.extend(deployment_scope.finish());
    let mode = mode(sources, &server_file, &deployment_file).unwrap_or_else(|error| {
        errors.push(error);
        Mode::Prod
    });
    hasher.update(mode.as_str());
    if let (Mode::Dev, Some(Located { value: DiscoveryMode::Manifest, at })) =
        (mode, &server_file.workers.discovery_mode)
    {
        let message = "`workers.discovery.mode` cannot be `manifest` in development";
        errors.push(server.diagnostic(*at, message).hint("there is a manifest in production only"));
    }
    ConfigErrors::check(errors)?;

    let mut merge = Merge { server: &server, deployment: &deployment, warnings: Vec::new() };
    let settings = merge.settings(mode, sources, server_file, deployment_file);
    let digest = Md5::new(hasher.finalize().into());
    Ok(Loaded { settings, warnings: merge.warnings, digest })
}

/// Command line, environment, server.yaml, deployment.yaml. Where none says anything it is
/// production: a server that has lost its configuration must not start to serve sources.
fn mode(
    sources: &Sources,
    server: &ServerFile,
    deployment: &DeploymentFile,
) -> Result<Mode, Diagnostic> {
    let variable = sources.environment.get("DEPLOYMENT_MODE").filter(|text| !text.is_empty());
    let environment = variable.map(parse_mode).transpose().map_err(|error| {
        Diagnostic::about(&PathBuf::from("environment"), format!("DEPLOYMENT_MODE: {error}"))
    })?;
    let files = [&server.mode, &deployment.mode].into_iter().flatten().map(|found| found.value);
    Ok(sources.mode.or(environment).or(files.into_iter().next()).unwrap_or(Mode::Prod))
}

/// Merging of two valid files.
struct Merge<'d> {
    server: &'d Document,
    deployment: &'d Document,
    warnings: Vec<Diagnostic>,
}

impl Merge<'_> {
    fn settings(
        &mut self,
        mode: Mode,
        sources: &Sources,
        server: ServerFile,
        deployment: DeploymentFile,
    ) -> Settings {
        let block = match mode {
            Mode::Dev => deployment.dev,
            Mode::Prod => deployment.prod,
        };
        let prod = deployment.prod_only;
        let workers = server.workers;
        let ports = workers.rollout.port_range_start..=workers.rollout.port_range_end;
        if ports.contains(&server.listener.port) {
            let port = server.listener.port;
            let message = format!("`server.port` {port} lies in the range of the workers' ports");
            self.warnings.push(Diagnostic::about(self.server.file(), message));
        }

        let manifest_file =
            self.server_wins(workers.manifest_file, prod.manifest_file, "manifest_file");
        let manifest_file =
            manifest_file.unwrap_or_else(|| sources.root.join("deploy/manifest.json"));
        let interval = "check_manifest_interval_seconds";
        let check_interval =
            self.server_wins(workers.check_interval, prod.check_interval, interval);
        let clean = self
            .block_wins(prod.require_clean_working_dir, deployment.git.require_clean_working_dir);
        // Cannot be without a parent: it is the path of a file.
        let config_dir = sources.server_yaml.parent().unwrap_or(&sources.root).to_owned();
        let signatures = prod.signatures;
        let keyring = signatures.keyring.unwrap_or_else(|| config_dir.join(KEYRING));
        Settings {
            mode,
            config_dir,
            listener: server.listener,
            https: server.https,
            access_log: server.access_log,
            metrics_listen: server.metrics_listen,
            dashboard: server.dashboard,
            static_files: server.static_files,
            rollout: workers.rollout,
            deployments: DeploymentSettings {
                // Cannot be without a parent: its path ends in a file's name.
                deploy_dir: manifest_file.parent().unwrap_or(&sources.root).to_owned(),
                manifest_file,
                keyring: signatures.required.then_some(keyring),
                check_interval: check_interval.unwrap_or(std::time::Duration::from_secs(60)),
                reload_on_change: prod.reload_on_change,
                reload_on_sighup: prod.reload_on_sighup,
                retention: prod.retention,
                soak: prod.soak,
                pins: pins::placed(workers.pins, self.server),
            },
            discovery: workers.discovery,
            workers: WorkersSettings {
                default: worker_defaults(workers.default, &block),
                paths: workers.paths,
                grants: workers.grants,
            },
            build: BuildSettings {
                parallel_builds: block.parallel_builds,
                require_clean_working_dir: clean.unwrap_or(true),
                include_commit_in_binary: deployment.git.include_commit_in_binary,
                copy_assets: prod.copy_assets,
                ldflags: block.ldflags,
                sign_key: prod.sign_key,
                git_ldflags: deployment.git.ldflags,
            },
            targets: deployment.targets,
            watch: block.watch,
            live_reload: block.live_reload,
        }
    }

    /// server.yaml before deployment.yaml.
    fn server_wins<T: PartialEq>(
        &mut self,
        server: Option<Located<T>>,
        deployment: Option<Located<T>>,
        key: &str,
    ) -> Option<T> {
        if let (Some(winner), Some(loser)) = (&server, &deployment)
            && winner.value != loser.value
        {
            let file = self.server.file().display();
            let message = format!("overridden by `workers.{key}` in {file}:{}", winner.at.line);
            self.contradiction(loser, message);
        }
        server.or(deployment).map(|found| found.value)
    }

    /// The mode's block before `git:`.
    fn block_wins(
        &mut self,
        block: Option<Located<bool>>,
        git: Option<Located<bool>>,
    ) -> Option<bool> {
        if let (Some(winner), Some(loser)) = (&block, &git)
            && winner.value != loser.value
        {
            let key = "deployment.prod.deployment.require_clean_working_dir";
            self.contradiction(loser, format!("overridden by `{key}` in line {}", winner.at.line));
        }
        block.or(git).map(|found| found.value)
    }

    fn contradiction<T>(&mut self, loser: &Located<T>, message: String) {
        let hint = "make both say the same, or remove this one";
        self.warnings.push(self.deployment.diagnostic(loser.at, message).hint(hint));
    }
}

fn worker_defaults(read: super::settings::WorkerOverrides, block: &ModeBlock) -> WorkerDefaults {
    use std::time::Duration;
    WorkerDefaults {
        go_max_procs: read.go_max_procs,
        go_mem_limit: read.go_mem_limit,
        max_requests: read.max_requests.unwrap_or(0),
        read_timeout: read.read_timeout.unwrap_or(Duration::from_secs(30)),
        write_timeout: read.write_timeout.unwrap_or(Duration::from_secs(30)),
        idle_timeout: read.idle_timeout.unwrap_or(Duration::from_secs(120)),
        stream_drain_timeout: read.stream_drain_timeout,
        env: read.env,
        cache_templates: block.cache_templates,
        watch_resources: block.watch_resources,
        memory_high: read.memory_high,
        memory_max: read.memory_max,
        cpu_quota_percent: read.cpu_quota_percent,
        tasks_max: read.tasks_max,
        sandbox: Sandbox {
            memory_deny_write_execute: read.sandbox.memory_deny_write_execute.unwrap_or(true),
            allowed: read.sandbox.allowed,
        },
        state_directory: read.state_directory.unwrap_or(false),
        instances: InstanceSettings::default().with(&read.instances),
        compression: CompressionSettings::default().with(&read.compression),
    }
}
