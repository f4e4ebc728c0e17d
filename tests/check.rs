//! `tqctl check` on projects, valid ones and others.

// Shared with tests that use all of them.
#[allow(dead_code, unreachable_pub)]
#[path = "support/deployments.rs"]
mod deployments;
#[allow(unreachable_pub)]
#[path = "support/published.rs"]
mod published;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::CommandCargoExt;
use deployments::{activate, build, commit, worker};
use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;
use tqserver::store::layout::DeployDir;

/// A project with two workers in its tree, and a deployment of them that is wanted.
fn project() -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir(root.join("config")).unwrap();
    fs::write(root.join("config/server.yaml"), "server:\n  port: 8080\n").unwrap();
    let workers = [worker("api", "well"), worker("index", "well").route("/")];
    workers[0].write(&root.join("workers/api"));
    workers[1].write(&root.join("workers/index"));
    let deploy = DeployDir::new(root.join("deploy"));
    fs::create_dir(deploy.path()).unwrap();
    activate(&deploy, &build(&deploy, '1', &workers));
    temp
}

fn check(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("tqctl").unwrap();
    command.env_clear().current_dir(root).arg("check").args(arguments);
    command.output().unwrap()
}

/// What is printed, and the exit code.
fn said(output: &Output) -> (String, Option<i32>) {
    (String::from_utf8(output.stdout.clone()).unwrap(), output.status.code())
}

/// All there is in a folder, and when it was changed last.
fn trace(folder: &Path) -> Vec<(PathBuf, i64, i64)> {
    let all = glob::glob(&format!("{}/**/*", folder.display())).unwrap().map(Result::unwrap);
    let of = |path: PathBuf| {
        let found = path.symlink_metadata().unwrap();
        (path, found.ctime(), found.ctime_nsec())
    };
    all.chain([folder.to_owned()]).map(of).collect()
}

#[test]
fn what_would_be_served_is_said_and_nothing_is_written() {
    let project = project();
    let before = trace(project.path());
    let (text, code) = said(&check(project.path(), &[]));
    let expected = "\
✓ dev  the source tree: api at /api, index at /
✓ prod  1111111: api at /api, index at /
";
    assert_eq!((text.as_str(), code), (expected, Some(0)));
    let (text, code) = said(&check(project.path(), &["--mode", "prod"]));
    assert_eq!((text.as_str(), code), ("✓ prod  1111111: api at /api, index at /\n", Some(0)));
    let output = check(project.path(), &["--json"]);
    let report = published::document("check", &output.stdout);
    assert_eq!((&report["ok"], &report["findings"]), (&json!(true), &json!([])));
    assert_eq!(report["served"][1]["commit"], commit('1').as_str());
    let (text, code) = said(&check(project.path(), &["--quiet"]));
    assert_eq!((text.as_str(), code), ("", Some(0)));
    assert_eq!(trace(project.path()), before);
}

#[rstest]
#[case::server("config/server.yaml", "server:\n  prot: 80\n", "unknown key `server.prot`", (2, 3))]
#[case::deployment("config/deployment.yaml", "deployment: {dev: 1}\n", "deployment.dev", (1, 19))]
fn an_error_in_the_configuration_is_told_once_with_its_place(
    #[case] file: &str,
    #[case] text: &str,
    #[case] message: &str,
    #[case] (line, column): (u64, u64),
) {
    let project = project();
    let path = project.path().join(file);
    fs::write(&path, text).unwrap();
    let output = check(project.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = published::document("check", &output.stdout);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report:#}");
    let found = &findings[0];
    assert_eq!(found["severity"], "error");
    assert!(found["message"].as_str().unwrap().contains(message), "{found}");
    assert!(found["file"].as_str().unwrap().ends_with(file), "{found}");
    assert_eq!((&found["line"], &found["column"]), (&json!(line), &json!(column)), "{found}");
    assert_eq!((&report["ok"], &report["served"]), (&json!(false), &json!([])));
    let (text, code) = said(&check(project.path(), &[]));
    assert!(text.contains(&format!("✗ {file}:{line}:{column}: ")) && code == Some(1), "{text}");
}

#[test]
fn a_worker_of_the_tree_is_looked_at_and_does_not_hide_the_deployment() {
    let project = project();
    let file = project.path().join("workers/api/config/worker.yaml");
    fs::write(file, "run: [bin/web]\nroute: /\n").unwrap();
    let (text, code) = said(&check(project.path(), &[]));
    assert!(text.contains("both want /") && text.contains("✓ prod  1111111"), "{text}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_byte_of_the_deployment_that_changed_is_told() {
    let project = project();
    let page = format!("deploy/{}/workers/index/private/mode", commit('1'));
    fs::write(project.path().join(&page), "ill!").unwrap();
    let (text, code) = said(&check(project.path(), &["--mode", "prod"]));
    assert!(text.contains("workers/index/private/mode"), "{text}");
    assert_eq!(code, Some(1));
}

#[test]
fn no_deployment_is_a_warning_and_no_configuration_an_error() {
    let project = project();
    fs::remove_dir_all(project.path().join("deploy")).unwrap();
    let (text, code) = said(&check(project.path(), &["--mode", "prod"]));
    assert!(text.starts_with("! ") && text.contains("no deployment yet"), "{text}");
    assert_eq!(code, Some(0));
    fs::remove_dir_all(project.path().join("config")).unwrap();
    let output = check(project.path(), &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("/etc/tqserver") && text.contains("--root"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}
