//! From what a caller may send over D-Bus and what a deployer may write to a unit: all that a
//! launcher with privileges decides once it has a verified copy of the worker's folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};
use std::sync::OnceLock;

use tempfile::TempDir;
use tqserver::config::settings::{AddressRange, IpNetwork};
use tqserver::config::worker::WorkerFile;
use tqserver::config::{Sources, parse};
use tqserver::ids::{CommitId, Generation, Port, RoutePath, UnitName};
use tqserver::launcher::facts::{Facts, of_copy};
use tqserver::launcher::policy::{UnitSpec, unit_spec};
use tqserver::launcher::sandbox::Sandbox;
use tqserver::launcher::{LauncherConfig, Output, Source, StartRequest};
use tqserver::store::deployment::{Deployment, WorkerPart};

/// What root has configured. `check_limits` and `check_grants` say the same in their own words.
const SERVER_YAML: &str = "\
server:
  deployment_mode: prod
workers:
  manifest_file: /var/lib/tqserver/deploy/manifest.json
  start_timeout_seconds: 20
  shutdown_grace_period_ms: 700
  default:
    env: {GREETING: hello, BASE: '${WORKER_BASE}/private'}
    memory_max: 256M
    cpu_quota: 50%
    tasks_max: 100
  paths:
    /api:
      go_max_procs: 4
      env: {GREETING: api}
      tasks_max: 200
      sandbox: {restrict_address_families: [AF_NETLINK]}
  grants:
    index:
      # Any file that there is on every machine: it is looked at, and not read.
      credentials: {db: /etc/passwd}
      memory_max: 1G
      state_directory: true
      sandbox: {memory_deny_write_execute: false, ip_address_allow: [10.0.0.0/8]}
";

/// A variable of the server's that no worker was given.
const SECRET: &str = "of the server alone";

/// A record with a worker in it, of which the digests matter here, and nothing else.
const RECORD: &[u8] = include_bytes!("../corpus/deployment/one_worker");

/// An input: the line `<name> <port> <commit> <generation>` of a caller, then the worker.yaml of a
/// deployer; both may be hostile.
///
/// What is accepted is a unit of that worker, which runs a verified program or one of the
/// machine's. Nothing of ours in it is forged, nothing of others' is shown, and nothing exceeds
/// what root's configuration gives and grants.
pub fn launcher_policy(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some((call, worker_yaml)) = text.split_once('\n') else { return };
    let Some(request) = request(call) else { return };
    let machine = machine();
    let copy = machine.copy.path();
    fs::write(copy.join(WorkerFile::PATH), worker_yaml).expect("a temporary file");

    let Source::Deployment(commit) = &request.source else { unreachable!("made above") };
    let config = &machine.config;
    let facts = of_copy(config, &request.worker, commit, &machine.part, copy);
    let Ok(facts) = facts else { return };
    let Ok(spec) = unit_spec(config, &request, &facts, Some(copy)) else { return };
    check_name(&spec, &request);
    check_program(&spec, &facts.base);
    check_environment(&spec, &request, &facts);
    check_texts(&spec);
    check_limits(&spec, &facts.settings.route);
    let sandbox = spec.sandbox.as_ref().expect("a copy is sandboxed");
    check_view(sandbox, &request, &facts.base, copy);
    check_grants(sandbox, &request, &facts.settings.route);
    assert_eq!(Some(&*spec.working_directory), facts.base.to_str());
    assert_eq!(spec.start_timeout, config.start_timeout);
    assert_eq!(spec.stop_timeout, config.shutdown_grace_period);
    assert_eq!(spec.output, None, "output goes to the journal");
}

/// What a launcher finds beside a request and a worker.yaml.
struct Machine {
    config: LauncherConfig,
    part: WorkerPart,
    /// The verified copy of the worker's folder.
    copy: TempDir,
}

fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let sources = Sources {
            environment: [("DATABASE_URL", SECRET)].into_iter().collect(),
            server_yaml: "/etc/tqserver/server.yaml".into(),
            ..Sources::of_project("/var/lib/tqserver")
        };
        let loaded = parse(&sources, SERVER_YAML.as_bytes(), None).expect("it is valid");
        let record = Deployment::parse(RECORD).expect("it is valid");
        let copy = tempfile::tempdir().expect("a temporary folder");
        let file = copy.path().join(WorkerFile::PATH);
        fs::create_dir_all(file.parent().expect("it has a folder")).expect("a folder");
        Machine {
            config: LauncherConfig::new(&loaded.settings, Output::Journal),
            part: record.workers.into_values().next().expect("it has a worker"),
            copy,
        }
    })
}

/// The arguments as D-Bus types carry them, as far as they make a request.
fn request(call: &str) -> Option<StartRequest> {
    let mut words = call.split(' ');
    let request = StartRequest {
        worker: words.next()?.parse().ok()?,
        port: Port::new(words.next()?.parse().ok()?)?,
        source: Source::Deployment(words.next()?.parse::<CommitId>().ok()?),
        generation: Generation(words.next()?.parse().ok()?),
    };
    words.next().is_none().then_some(request)
}

fn check_name(spec: &UnitSpec, request: &StartRequest) {
    let name = spec.unit.to_string();
    assert_eq!(name.parse::<UnitName>().as_ref(), Ok(&spec.unit));
    assert_eq!(name, format!("tq-worker@{}-{}.service", request.worker, request.port));
    // systemd.unit(5): at most 255 characters, of a few kinds.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    assert!(name.len() <= 255 && name.bytes().all(allowed), "{name:?}");
}

fn check_program(spec: &UnitSpec, base: &Path) {
    let program = Path::new(spec.exec.first().expect("a unit runs something"));
    assert!(program.is_absolute(), "{program:?}");
    let up = program.components().any(|part| matches!(part, Component::ParentDir));
    assert!(!up, "{program:?} has a way up in it");
    if !program.starts_with(base.join("bin")) {
        assert!(is_roots(program), "{program:?} is neither the worker's nor the machine's");
    }
}

/// Whether a program is root's alone to write.
fn is_roots(program: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let stat = program.metadata().expect("it was looked at a moment ago");
    stat.is_file() && stat.uid() == 0 && stat.mode() & 0o022 == 0
}

fn check_environment(spec: &UnitSpec, request: &StartRequest, facts: &Facts) {
    let env = &spec.environment;
    let Source::Deployment(commit) = &request.source else { unreachable!("made above") };
    let base = facts.base.to_str().expect("ASCII");
    let ours = [
        ("PORT", request.port.to_string()),
        ("TQ_PORT", request.port.to_string()),
        ("TQ_MODE", "prod".to_owned()),
        ("TQ_WORKER", request.worker.to_string()),
        ("TQ_ROUTE", facts.settings.route.to_string()),
        ("TQ_WORKER_BASE", base.to_owned()),
        ("TQ_COMMIT", commit.to_string()),
        ("TQ_GENERATION", request.generation.0.to_string()),
        ("TQ_FINGERPRINT", facts.fingerprint.to_string()),
        ("TQ_CACHE_TEMPLATES", facts.settings.cache_templates.to_string()),
        ("TQ_WATCH_RESOURCES", facts.settings.watch_resources.to_string()),
    ];
    for (name, value) in &ours {
        assert_eq!(env.get(*name), Some(value), "{name} is forged");
    }
    for (name, value) in env {
        let known = ours.iter().any(|(ours, _)| ours == name);
        assert!(known || !name.starts_with("TQ_"), "{name} is ours, and we did not set it");
        // environ(7): a name without `=`; env-util.c, env_value_is_valid: no control characters.
        let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        assert!(legal && !name.is_empty(), "{name:?}");
        let control = |c: char| c.is_control() && c != '\t' && c != '\n';
        assert!(!value.contains(control), "systemd would refuse {name}={value:?}");
    }
}

/// What journald and D-Bus get: no text of a deployer adds a field or ends early.
fn check_texts(spec: &UnitSpec) {
    let fields = spec.log_fields.iter().map(|(_, value)| value);
    for line in fields.chain([&spec.description]) {
        assert!(!line.contains(char::is_control), "{line:?} is more than a line");
    }
    for word in &spec.exec {
        assert!(!word.contains('\0'), "{word:?} would be cut");
    }
    assert!(!format!("{spec:?}").contains(SECRET), "the server's environment leaks: {spec:?}");
}

/// No limit is missing, and none is above what the worker has without asking or may ask for.
fn check_limits(spec: &UnitSpec, route: &RoutePath) {
    let index = spec.unit.worker.as_str() == "index";
    let memory = if index { 1 << 30 } else { 256 << 20 };
    let tasks = if in_api(route) { 200 } else { 100 };
    assert!(spec.memory_max.is_some_and(|bytes| bytes <= memory), "{:?}", spec.memory_max);
    assert!(spec.cpu_quota_percent.is_some_and(|percent| percent <= 50));
    assert!(spec.tasks_max.is_some_and(|count| count <= tasks), "{:?}", spec.tasks_max);
}

/// It is somebody of its own, and sees its own folder in place of all deployments.
fn check_view(sandbox: &Sandbox, request: &StartRequest, base: &Path, copy: &Path) {
    assert_eq!(sandbox.user, format!("tqw-{}", request.worker));
    // useradd(8): at most 32 characters with a NUL.
    assert!(sandbox.user.len() < 32, "{:?}", sandbox.user);
    assert_eq!(Path::new(&sandbox.copy), copy);
    assert_eq!(Path::new(&sandbox.folder), base);
    assert_eq!(sandbox.deployments, "/var/lib/tqserver/deploy");
    assert!(base.starts_with(&sandbox.deployments), "{base:?} would not be covered");
    for hidden in ["/etc/tqserver", "/run/tqserver", "/var/lib/tq-launcher"] {
        let listed = sandbox.inaccessible.iter().any(|path| path.trim_start_matches('-') == hidden);
        assert!(listed, "{hidden} can be reached");
    }
}

/// It is loosened as far as root says, and no further.
fn check_grants(sandbox: &Sandbox, request: &StartRequest, route: &RoutePath) {
    let index = request.worker.as_str() == "index";
    assert!(sandbox.memory_deny_write_execute || index, "executable memory");
    assert!(sandbox.system_call_filter.is_empty(), "{:?}", sandbox.system_call_filter);
    let given = if in_api(route) { vec!["AF_NETLINK"] } else { vec![] };
    assert_eq!(sandbox.restrict_address_families, given);
    for range in &sandbox.ip_address_allow {
        let ten = matches!(range, AddressRange::Network(IpNetwork { addr, prefix_len })
            if addr.to_string().starts_with("10.") && *prefix_len >= 8);
        assert!(index && ten, "may reach {range}");
    }
    let granted = if index { vec![("db", "/etc/passwd")] } else { vec![] };
    let loaded = &sandbox.load_credential;
    let loaded: BTreeSet<_> = loaded.iter().map(|(name, path)| (&**name, &**path)).collect();
    assert!(loaded.is_subset(&granted.into_iter().collect()), "{loaded:?}");
    let state = sandbox.state_directory.as_deref();
    assert!(state.is_none_or(|folder| index && folder == "tq-workers/index"), "{state:?}");
}

fn in_api(route: &RoutePath) -> bool {
    route.as_str() == "/api" || route.as_str().starts_with("/api/")
}
