use super::*;
use crate::ids::{Generation, Md5, Port};
use crate::launcher::fixtures::{config, request, settings};
use crate::launcher::output::OutputDir;
use rstest::rstest;

fn facts(settings: WorkerSettings) -> Facts {
    Facts { base: "/srv/deploy/x/workers/index".into(), settings, fingerprint: Md5::new([7; 16]) }
}

fn spec(settings: WorkerSettings) -> Result<UnitSpec, LaunchError> {
    unit_spec(&config(), &request(), &facts(settings), None)
}

#[test]
fn the_environment_is_the_worker_contract() {
    let spec = spec(settings()).unwrap();
    insta::assert_debug_snapshot!(spec.environment);
}

#[test]
fn in_the_tree_what_is_shared_is_in_one_place() {
    let config = LauncherConfig { mode: Mode::Dev, ..config() };
    let request = StartRequest { source: Source::Tree, ..request() };
    let env = unit_spec(&config, &request, &facts(settings()), None).unwrap().environment;
    assert_eq!(env["TQ_MODE"], "dev");
    assert_eq!(env["TQ_COMMIT"], "dev");
    assert_eq!(env["TQ_SHARED_BASE"], "/srv/workers/shared");
}

#[test]
fn a_sandboxed_worker_has_a_home_that_it_can_write() {
    let home = |settings| {
        let copy = Some(Path::new("/copy"));
        let spec = unit_spec(&config(), &request(), &facts(settings), copy).unwrap();
        spec.environment["HOME"].clone()
    };
    assert_eq!(home(settings()), "/tmp");
    let mut configured = settings();
    configured.env.insert("HOME".to_owned(), "/srv".to_owned());
    assert_eq!(home(configured), "/srv");
    assert!(!spec(settings()).unwrap().environment.contains_key("HOME"));
}

#[test]
fn what_is_configured_wins_over_what_is_derived_and_not_over_what_is_so() {
    let mut settings = settings();
    let env = [("GOMAXPROCS", "9"), ("PORT", "1"), ("TQ_GENERATION", "99"), ("TQ_OWN", "x")];
    settings.env.extend(env.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let env = spec(settings).unwrap().environment;
    assert_eq!(env["GOMAXPROCS"], "9");
    assert_eq!(env["TOKIO_WORKER_THREADS"], "2");
    assert_eq!(env["PORT"], "9014");
    assert_eq!(env["TQ_GENERATION"], "18");
    assert!(!env.contains_key("TQ_OWN"), "the prefix is ours");
}

#[rstest]
#[case(None, &["/srv/deploy/x/workers/index/bin/index"])]
#[case(Some(vec!["bin/serve", "--fast"]), &["/srv/deploy/x/workers/index/bin/serve", "--fast"])]
#[case(Some(vec!["/bin/sh", "bin/run"]), &["/bin/sh", "bin/run"])]
fn commands(#[case] run: Option<Vec<&str>>, #[case] exec: &[&str]) {
    let run = run.map(|words| words.into_iter().map(str::to_owned).collect());
    assert_eq!(spec(WorkerSettings { run, ..settings() }).unwrap().exec, exec);
}

#[rstest]
#[case(&[], "run: is empty")]
#[case(&["serve"], "below bin/")]
#[case(&["bin/../../x"], "below bin/")]
#[case(&["./bin/x"], "below bin/")]
#[case(&["src/main.sh"], "below bin/")]
#[case(&["/no/such/node"], "/no/such/node, which cannot be used: No such file")]
#[case(&["/tmp"], "belongs to root")]
fn refused_commands(#[case] run: &[&str], #[case] reason: &str) {
    let run = Some(run.iter().map(|&word| word.to_owned()).collect());
    let error = spec(WorkerSettings { run, ..settings() }).unwrap_err().to_string();
    assert!(error.starts_with("index: ") && error.contains(reason), "{error}");
}

/// Whoever can write the folder could put another link there.
#[test]
fn an_interpreter_behind_a_link_in_a_folder_of_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("sh");
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    let run = Some(vec![link.to_str().unwrap().to_owned()]);
    let error = spec(WorkerSettings { run, ..settings() }).unwrap_err().to_string();
    assert!(error.contains("in folders of which the same is true"), "{error}");
}

#[test]
fn an_interpreter_that_others_can_write_is_refused_in_deployments_only() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o777)).unwrap();
    let run = Some(vec![file.path().to_str().unwrap().to_owned()]);
    let facts = facts(WorkerSettings { run, ..settings() });
    assert!(unit_spec(&config(), &request(), &facts, None).is_err());
    let request = StartRequest { source: Source::Tree, ..request() };
    assert!(unit_spec(&config(), &request, &facts, None).is_ok());
}

#[test]
fn output_goes_to_the_units_own_file() {
    let config = LauncherConfig { output: Output::Files(OutputDir::new("/run/out")), ..config() };
    let request = StartRequest { port: Port::new(9001).unwrap(), ..request() };
    let spec = unit_spec(&config, &request, &facts(settings()), None).unwrap();
    assert_eq!(spec.output.as_deref(), Some("/run/out/index-9001.log"));
}

#[test]
fn the_description_tells_generations_apart() {
    let request = StartRequest { generation: Generation(3), ..request() };
    let spec = unit_spec(&config(), &request, &facts(settings()), None).unwrap();
    assert_eq!(spec.description, "tqserver worker index g3 on port 9014, a1b2c3d");
}
