//! The files as a whole: what is shipped, what is documented, what is refused and how.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::document::Document;
use super::scope::Scope;
use super::section::{Section, read_root};
use super::settings::{CertificateSource, Mode};
use super::worker::WorkerFile;
use super::*;

const SERVER: &str = include_str!("../../config/server.yaml");
const DEPLOYMENT: &str = include_str!("../../config/deployment.yaml");
const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");

fn sources(environment: &[(&str, &str)], mode: Option<Mode>) -> Sources {
    Sources {
        root: "/srv".into(),
        server_yaml: "server.yaml".into(),
        deployment_yaml: "deployment.yaml".into(),
        environment: environment.iter().copied().collect(),
        mode,
    }
}

fn parse_texts(server: &str, deployment: &str) -> Result<Loaded, ConfigErrors> {
    parse(&sources(&[], None), server.as_bytes(), Some(deployment.as_bytes()))
}

#[rstest]
#[case(Mode::Dev)]
#[case(Mode::Prod)]
fn shipped_files_are_valid_and_say_what_the_defaults_are(#[case] mode: Mode) {
    let sources = sources(&[], Some(mode));
    let shipped = parse(&sources, SERVER.as_bytes(), Some(DEPLOYMENT.as_bytes()));
    let mut shipped = shipped.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(shipped.warnings, []);
    let defaults = parse(&sources, b"", None).unwrap();
    // These are what the files add: an example, and what Go programs commonly want.
    shipped.settings.workers.paths.clear();
    shipped.settings.workers.default.env.clear();
    shipped.settings.workers.default.go_max_procs = None;
    shipped.settings.build.ldflags.clear();
    assert_eq!(shipped.settings, defaults.settings);
}

/// Every key that the reader of a file asks for, without those that only lead to others.
fn keys_read<T>(read: impl FnOnce(&mut Section<'_, '_>) -> T, text: &str) -> BTreeSet<String> {
    let document = Document::parse(Path::new("f"), text.as_bytes()).unwrap();
    let mut scope = Scope::new(&document, None);
    read_root(&mut scope, read);
    let leads = |key: &String| scope.keys.iter().any(|other| other.starts_with(&format!("{key}.")));
    let leaves = scope.keys.iter().filter(|key| !leads(key));
    leaves
        .map(|key| match key.starts_with("workers.paths.") {
            true => "workers.paths.<route>.*".to_owned(),
            false => key.clone(),
        })
        .collect()
}

/// The keys of the table below a heading.
fn keys_documented(heading: &str) -> BTreeSet<String> {
    let start = DOCUMENTATION.find(&format!("\n## {heading}\n")).unwrap();
    let section = DOCUMENTATION[start + 4..].split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// Whether the names below a key are not ours.
fn is_of_users(path: &str) -> bool {
    path.ends_with(".env") || path == "workers.pins"
}

/// The keys of a YAML file, down to values, lists and names of users.
fn keys_written(value: &serde_yaml::Value, path: &str, keys: &mut BTreeSet<String>) {
    if path == "workers.paths" {
        keys.insert("workers.paths.<route>.*".into());
    } else if path == "targets" {
        assert_eq!(value.as_mapping().map(|it| it.len()), Some(0), "what is shipped has none");
    } else if path == "server.https.certificates" {
        assert_eq!(value.as_sequence().map(Vec::len), Some(0), "what is shipped has none");
    } else if let (Some(entries), false) = (value.as_mapping(), is_of_users(path)) {
        for (key, value) in entries {
            let key = key.as_str().unwrap();
            let path = if path.is_empty() { key.into() } else { format!("{path}.{key}") };
            keys_written(value, &path, keys);
        }
    } else {
        keys.insert(path.to_owned());
    }
}

#[test]
fn every_key_is_read_shipped_and_documented() {
    let root = Path::new("/srv");
    // What is shipped grants nothing, as there is no worker to grant it to, and has neither a
    // certificate nor a target.
    let granting = SERVER.replace("grants: {}", "grants: {index: {}}");
    let full = granting.replace("certificates: []", "certificates: [{}]");
    let server = keys_read(|file| server::read(file, root), &full);
    let targeting = DEPLOYMENT.replace("targets: {}", "targets: {production: {}}");
    let deployment = keys_read(|file| deployment::read(file, root, "workers"), &targeting);
    let worker = keys_read(worker::read_keys, "");
    assert_eq!(keys_documented("server.yaml"), server);
    assert_eq!(keys_documented("deployment.yaml"), deployment);
    assert_eq!(keys_documented("worker.yaml"), worker);
    for (text, read) in [(SERVER, server), (DEPLOYMENT, deployment)] {
        let mut written = BTreeSet::new();
        keys_written(&serde_yaml::from_str(text).unwrap(), "", &mut written);
        let absent = ["workers.grants.", "server.https.certificates.", "targets."];
        let read = read.into_iter().filter(|key| absent.iter().all(|it| !key.starts_with(it)));
        assert_eq!(written, read.collect::<BTreeSet<_>>());
    }
}

/// Every bad file beside its golden diagnostics.
#[rstest]
fn bad_files_are_refused_with_all_their_errors(
    #[files("src/config/tests/*/*.yaml")] path: PathBuf,
) {
    let bytes = std::fs::read(&path).unwrap();
    let kind = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let sources = sources(&[("WORD", "eighty")], None);
    let errors = match kind.as_str() {
        "server" => parse(&sources, &bytes, None).unwrap_err(),
        "deployment" => parse(&sources, b"", Some(&bytes)).unwrap_err(),
        "worker" => WorkerFile::parse(&bytes, Path::new("worker.yaml")).unwrap_err(),
        other => panic!("nothing reads {other}"),
    };
    let name = format!("{kind}_{}", path.file_stem().unwrap().to_str().unwrap());
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, errors);
    });
}

#[rstest]
#[case(Some(Mode::Dev), "prod", "prod", "prod", Mode::Dev)]
#[case(None, "dev", "prod", "prod", Mode::Dev)]
#[case(None, "", "dev", "prod", Mode::Dev)]
#[case(None, "", "", "dev", Mode::Dev)]
#[case(None, "", "", "", Mode::Prod)]
fn the_mode_comes_from_the_first_that_says_one(
    #[case] command_line: Option<Mode>,
    #[case] variable: &str,
    #[case] server: &str,
    #[case] deployment: &str,
    #[case] expected: Mode,
) {
    let sources = sources(&[("DEPLOYMENT_MODE", variable)], command_line);
    let server = format!("server: {{deployment_mode: '{server}'}}");
    let deployment = format!("deployment: {{mode: '{deployment}'}}");
    let loaded = parse(&sources, server.as_bytes(), Some(deployment.as_bytes())).unwrap();
    assert_eq!(loaded.settings.mode, expected);
}

#[test]
fn a_bad_mode_in_the_environment_is_named() {
    let error = parse(&sources(&[("DEPLOYMENT_MODE", "live")], None), b"", None).unwrap_err();
    assert!(error.to_string().starts_with("environment: DEPLOYMENT_MODE: \"live\""), "{error}");
}

#[test]
fn contradictions_are_settled_with_a_warning() {
    let loaded = parse_texts(
        "workers: {manifest_file: /a/manifest.json, check_manifest_interval_seconds: 5}",
        "deployment:\n  prod:\n    manifest: {file: b/manifest.json, check_interval_seconds: 9}\n    \
         deployment: {require_clean_working_dir: false}\ngit: {require_clean_working_dir: true}\n",
    )
    .unwrap();
    let deployments = &loaded.settings.deployments;
    assert_eq!(deployments.manifest_file, Path::new("/a/manifest.json"));
    assert_eq!(deployments.deploy_dir, Path::new("/a"));
    assert_eq!(deployments.check_interval, Duration::from_secs(5));
    assert!(!loaded.settings.build.require_clean_working_dir);
    let places: Vec<_> = loaded.warnings.iter().map(|w| w.position.unwrap().line).collect();
    assert_eq!(places, [3, 3, 5]);
}

#[rstest]
#[case('\u{85}', "U+0085")]
#[case('\u{2028}', "U+2028")]
#[case('\u{2029}', "U+2029")]
fn no_comment_ends_where_nobody_sees_it(#[case] end: char, #[case] name: &str) {
    let hidden = format!("server:\n  # comment{end}\n  port: 80\n");
    let errors = parse_texts(&hidden, "").unwrap_err();
    let found = &errors.diagnostics()[0];
    assert_eq!(found.position, Some(Position { line: 2, column: 12 }));
    assert!(found.message.ends_with(name), "{found}");
}

#[test]
fn the_same_twice_is_no_contradiction() {
    let loaded = parse_texts(
        "workers: {manifest_file: ./b//manifest.json}",
        "deployment: {prod: {manifest: {file: b/manifest.json}}}",
    );
    assert_eq!(loaded.unwrap().warnings, []);
}

#[test]
fn a_port_of_the_workers_is_a_doubtful_listener() {
    let loaded = parse_texts("server: {port: 9500}", "").unwrap();
    assert!(loaded.warnings[0].message.contains("9500"));
}

#[test]
fn certificates_are_files_or_credentials_in_their_order() {
    let text = "server: {https: {certificates: [{credential: shop}, \
                {certificate: tls/a.pem, key: /etc/a.key}], redirect_http: true, \
                hsts_max_age_seconds: 60}}";
    let https = parse_texts(text, "").unwrap().settings.https;
    let files =
        CertificateSource::Files { certificate: "/srv/tls/a.pem".into(), key: "/etc/a.key".into() };
    let credential = CertificateSource::Credential("shop".parse().unwrap());
    assert_eq!(https.certificates, [credential, files]);
    assert!(https.redirect_http);
    assert_eq!(https.hsts_max_age, Duration::from_secs(60));
}

#[test]
fn values_take_variables_and_empty_ones_leave_the_default() {
    let text = "server: {port: '${PORT}', max_body_size: '${NONE}', max_connections: '${NONE:-7}'}";
    let loaded = parse(&sources(&[("PORT", "81")], None), text.as_bytes(), None).unwrap();
    let listener = loaded.settings.listener;
    assert_eq!(
        (listener.port, listener.max_body_bytes, listener.max_connections),
        (81, 100 << 20, 7)
    );
}

#[test]
fn the_digest_follows_files_and_used_variables() {
    let digest = |server: &str, port: &str, other: &str| {
        let sources = sources(&[("PORT", port), ("OTHER", other)], None);
        parse(&sources, server.as_bytes(), None).unwrap().digest
    };
    let text = "server: {port: '${PORT}'}";
    let before = digest(text, "80", "");
    assert_eq!(before, digest(text, "80", "unused"));
    assert_ne!(before, digest(text, "81", ""));
    assert_ne!(before, digest("server: {port: '${PORT}' }", "80", ""));
}

#[test]
fn reload_triggers_can_be_chosen() {
    let text = "deployment: {prod: {reload_triggers: [sighup]}}";
    let deployments = parse_texts("", text).unwrap().settings.deployments;
    assert!(deployments.reload_on_sighup && !deployments.reload_on_change);
}

#[test]
fn development_has_no_manifest_to_discover_from() {
    let server = "workers: {discovery: {mode: manifest}}";
    assert!(parse(&sources(&[], Some(Mode::Dev)), server.as_bytes(), None).is_err());
    assert!(parse(&sources(&[], Some(Mode::Prod)), server.as_bytes(), None).is_ok());
}

#[test]
fn aliases_stand_for_what_they_name() {
    let text = "workers:\n  default: {env: &e {A: b}}\n  paths: {/x: {env: *e}}\n";
    let workers = parse_texts(text, "").unwrap().settings.workers;
    assert_eq!(workers.paths[&"/x".parse().unwrap()].env, workers.default.env);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources::of_project(folder.path());
    let missing = load(&sources).unwrap_err().to_string();
    assert!(missing.contains("config/server.yaml: there is no such file"), "{missing}");

    std::fs::create_dir_all(&sources.server_yaml).unwrap();
    assert!(load(&sources).unwrap_err().to_string().contains("not a regular file"));

    std::fs::remove_dir(&sources.server_yaml).unwrap();
    nix::unistd::mkfifo(&sources.server_yaml, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(load(&sources).unwrap_err().to_string().contains("not a regular file"));

    std::fs::remove_file(&sources.server_yaml).unwrap();
    std::fs::write(&sources.server_yaml, "").unwrap();
    assert_eq!(load(&sources).unwrap().settings.mode, Mode::Prod);

    std::fs::write(&sources.server_yaml, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(load(&sources).unwrap_err().to_string().contains("larger than 1 MiB"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(server: Vec<u8>, deployment: Vec<u8>) {
        let _ = parse(&sources(&[], None), &server, Some(&deployment)).map_err(|e| e.to_string());
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(at in 0..SERVER.len(), with in "[\\PC\n\t]{0,3}") {
        let mut text = SERVER.as_bytes().to_vec();
        text.splice(at..(at + 1).min(text.len()), with.bytes());
        let _ = parse(&sources(&[], None), &text, None).map_err(|e| e.to_string());
    }
}

/// The YAML library alone takes minutes for the first of these, and the search for a line in the
/// text took as long for the others.
#[rstest]
#[case("[".repeat(1 << 20))]
#[case("{a: ".repeat(1 << 18))]
#[case((0..100_000).map(|number| format!("k{number}:\n")).collect())]
#[case("a:\n".repeat(300_000))]
#[case("#\u{2028}".to_owned() + &"[".repeat(1 << 19))]
fn a_hostile_megabyte_is_refused_in_little_time(#[case] text: String) {
    let errors = parse_texts(&text, "").unwrap_err();
    assert!((1..=100).contains(&errors.diagnostics().len()));
}
