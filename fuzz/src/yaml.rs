//! server.yaml, deployment.yaml and worker.yaml.

use std::path::{Path, PathBuf};

use serde_yaml::Value;
use tqserver::config::settings::{Settings, WorkerOverrides};
use tqserver::config::worker::WorkerFile;
use tqserver::config::{ConfigErrors, Diagnostic, Position, Sources, parse};

/// The line that parts server.yaml from deployment.yaml in an input.
const SEPARATOR: &[u8] = b"\n# deployment.yaml\n";

/// The two files of the server's configuration, parted by a line `# deployment.yaml`.
///
/// Neither panics, each error has its place, and what is accepted keeps to its ranges and means
/// the same when it is read again, also in another spelling.
pub fn config(data: &[u8]) {
    let (server, deployment) = split(data);
    let sources = Sources {
        environment: [("HOST", "example.org"), ("PORT", "8081")].into_iter().collect(),
        ..Sources::of_project("/srv")
    };
    let text_of = |file: &Path| match deployment {
        Some(deployment) if file == sources.deployment_yaml => deployment,
        _ => server,
    };
    match parse(&sources, server, deployment) {
        Err(errors) => check_errors(&errors, text_of),
        Ok(loaded) => {
            for warning in loaded.warnings.iter().filter(|warning| warning.position.is_some()) {
                check_place(warning, text_of(&warning.file));
            }
            check_settings(&loaded.settings);
            let again = parse(&sources, server, deployment).expect("read once");
            assert_eq!(again, loaded, "a second reading differs");
            let respelled = (respell(server), deployment.map(respell));
            let respelled =
                parse(&sources, respelled.0.as_bytes(), respelled.1.as_deref().map(str::as_bytes));
            assert_eq!(
                respelled.map(|loaded| loaded.settings),
                Ok(loaded.settings),
                "another spelling means something else"
            );
        }
    }
}

/// A worker's own file, which is the deployer's word.
pub fn worker_file(data: &[u8]) {
    let path = Path::new(WorkerFile::PATH);
    match WorkerFile::parse(data, path) {
        Err(errors) => check_errors(&errors, |_| data),
        Ok(file) => {
            check_worker_file(&file);
            let respelled = WorkerFile::parse(respell(data).as_bytes(), path);
            assert_eq!(respelled, Ok(file), "another spelling means something else");
        }
    }
}

fn split(data: &[u8]) -> (&[u8], Option<&[u8]>) {
    match data.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
        // The line break before the separator belongs to what is before it.
        Some(at) => (&data[..=at], Some(&data[at + SEPARATOR.len()..])),
        None => (data, None),
    }
}

/// The same document as the YAML library writes it: without comments, anchors and flow style.
fn respell(accepted: &[u8]) -> String {
    let value: Value = serde_yaml::from_slice(accepted).expect("what was accepted is YAML");
    serde_yaml::to_string(&value).expect("what was read can be written")
}

fn check_errors<'t>(errors: &ConfigErrors, text_of: impl Fn(&Path) -> &'t [u8]) {
    assert!(!errors.diagnostics().is_empty(), "refused, and nobody knows why");
    for found in errors.diagnostics() {
        check_place(found, text_of(&found.file));
    }
    let shown = errors.to_string();
    let hostile = shown.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(hostile, None, "would drive a terminal: {shown:?}");
}

/// The place of a finding is in the text, or just behind a line's end, and what is shown of the text
/// is that line.
fn check_place(found: &Diagnostic, text: &[u8]) {
    let Some(Position { line, column }) = found.position else {
        assert!(text.len() > 1 << 20, "no place: {found}");
        return;
    };
    let text = String::from_utf8_lossy(text);
    let at = lines(&text).nth(line.wrapping_sub(1));
    let Some(at) = at else { panic!("line {line} is not in the text: {found}") };
    assert_eq!(found.source_line.as_deref(), Some(at), "another line is shown");
    let width = at.chars().count();
    assert!((1..=width + 1).contains(&column), "column {column} of {width}: {found}");
}

/// Lines end at a line feed, a carriage return, or both (YAML 1.2.2, section 5.4).
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn check_settings(settings: &Settings) {
    let rollout = &settings.rollout;
    assert!(1024 <= rollout.port_range_start, "a privileged port for a worker");
    assert!(rollout.port_range_start <= rollout.port_range_end, "no port for a worker");
    assert!(!settings.static_files.url_prefix.is_root(), "nothing left for workers");
    let deployments = &settings.deployments;
    assert_eq!(deployments.manifest_file.parent(), Some(&*deployments.deploy_dir));
    let folders: [&PathBuf; 4] = [
        &deployments.deploy_dir,
        &deployments.manifest_file,
        &settings.discovery.workers_dir,
        &settings.static_files.dev_root,
    ];
    for path in folders {
        let text = path.to_str().expect("a path from a text is a text");
        assert!(path.is_absolute() && !text.contains('\0'), "{path:?}");
    }
    for pattern in &settings.discovery.include_patterns {
        assert!(stays_below(pattern), "{pattern:?} leaves the workers' folder");
    }
    settings.workers.default.env.iter().for_each(check_variable);
    settings.workers.paths.values().for_each(check_overrides);
    for (name, path) in settings.workers.grants.values().flat_map(|grant| &grant.credentials) {
        assert!(is_file_name(name.as_str()), "{name}");
        let text = path.to_str().expect("a path from a text is a text");
        assert!(text.strip_prefix('/').is_some_and(stays_below), "{path:?}");
    }
}

fn check_worker_file(file: &WorkerFile) {
    if let Some(run) = &file.run {
        let program = run.first().expect("`run` names a program");
        let path = program.strip_prefix('/').or_else(|| program.strip_prefix("bin/"));
        assert!(path.is_some_and(stays_below), "run: {program:?}");
    }
    for word in file.run.iter().chain(&file.build).flatten() {
        assert!(!word.contains('\0'), "{word:?} would be cut");
    }
    let health_path = file.health_path.as_deref().unwrap_or("/");
    assert!(health_path.starts_with('/'), "{health_path:?}");
    assert!(health_path.bytes().all(|byte| byte > b' ' && byte != 0x7f), "{health_path:?}");
    for credential in &file.credentials {
        let name = credential.as_str();
        assert!(is_file_name(name), "{name:?} is no file of $CREDENTIALS_DIRECTORY");
    }
    check_overrides(&file.overrides);
}

/// What every layer of a worker's settings may say.
fn check_overrides(overrides: &WorkerOverrides) {
    overrides.env.iter().for_each(check_variable);
    assert!(overrides.memory_max.is_none_or(|bytes| bytes >= 1 << 20));
    assert!(overrides.cpu_quota_percent.is_none_or(|percent| percent > 0));
    assert!(overrides.tasks_max.is_none_or(|count| count > 0));
    let allowed = &overrides.sandbox.allowed;
    for name in allowed.system_call_filter.iter().chain(&allowed.restrict_address_families) {
        // `~` would turn the list around, and `:` answer with another error (systemd.exec(5)).
        let word = name.strip_prefix('@').unwrap_or(name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        assert!(!word.is_empty() && word.bytes().all(plain), "{name:?}");
    }
}

fn check_variable((name, value): (&String, &String)) {
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name:?}");
    let ours = name == "PORT" || name.starts_with("TQ_");
    assert!(!ours || ["TQ_MODE", "TQ_WORKER_BASE"].contains(&name.as_str()), "{name} is ours");
    assert!(!value.contains('\0'), "{name}={value:?} would be cut");
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Whether a path or glob has no way up in it.
fn stays_below(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|part| part != "..")
}
