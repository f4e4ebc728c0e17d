//! What shells offer when somebody presses Tab, by a bash that has the package's completion.

mod fake_control;

use std::fs;
use std::path::Path;
use std::process::Command;

use fake_control::{Fake, Server};
use rstest::rstest;
use tempfile::TempDir;

/// A project with two workers, a target and a deployment.
fn project() -> TempDir {
    let project = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = project.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("config/server.yaml", "server: {}\n");
    write("config/deployment.yaml", "targets:\n  production:\n    hosts: [web1.example.org]\n");
    write("workers/shop/config/worker.yaml", "run: [bin/shop]\n");
    write("workers/index/src/main.rs", "");
    write("workers/shared/public/style.css", "");
    write(&format!("deploy/{}/deployment.json", fake_control::OLD), "{}");
    project
}

/// What bash offers for the last of these words, in a folder, sorted.
fn offered(words: &[&str], folder: &Path, socket: &Path) -> Vec<String> {
    let completion = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/completions/tqctl.bash");
    let tqctl = assert_cmd::cargo::cargo_bin("tqctl");
    let script =
        "set -u; source \"$1\"; shift; COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        _clap_complete_tqctl tqctl \"${!#}\" \"${COMP_WORDS[COMP_CWORD - 1]}\" 2>/dev/null || true
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(completion)
        .args(words)
        .current_dir(folder)
        .env("PATH", format!("{}:/usr/bin:/bin", tqctl.parent().unwrap().display()))
        .env("TQ_CONTROL_SOCKET", socket)
        .env("HOME", folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Options may always come next.
    let words = text.lines().filter(|word| !word.is_empty() && !word.starts_with('-'));
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    words.sort();
    words
}

#[rstest]
#[case::verbs(&["tqctl", "dr"], &["drain"])]
#[case::workers(&["tqctl", "restart", ""], &["api_users", "index"])]
#[case::one(&["tqctl", "drain", "in"], &["index"])]
#[case::commits(&["tqctl", "rollback", "production", "9"], &["9f8e7d6"])]
#[case::targets(&["tqctl", "deploy", "p"], &["production"])]
fn what_there_is_is_offered(#[case] words: &[&str], #[case] expected: &[&str]) {
    let server = Server::start(&Fake::new());
    let offered = offered(words, project().path(), &server.socket());
    assert_eq!(offered, expected);
}

#[test]
fn without_a_server_the_workers_of_the_project_are_offered() {
    let offered = offered(&["tqctl", "restart", ""], project().path(), Path::new("/nowhere"));
    assert_eq!(offered, ["index", "shop"]);
}

#[test]
fn the_project_is_read_with_the_variables_that_there_are() {
    let project = project();
    let server = "workers:\n  discovery:\n    workers_dir: \"${HOME}/elsewhere\"\n";
    fs::write(project.path().join("config/server.yaml"), server).unwrap();
    let worker = project.path().join("elsewhere/other/config");
    fs::create_dir_all(&worker).unwrap();
    fs::write(worker.join("worker.yaml"), "run: [bin/other]\n").unwrap();
    // The working directory is also the home: see `offered`.
    let offered = offered(&["tqctl", "restart", ""], project.path(), Path::new("/nowhere"));
    assert_eq!(offered, ["other"]);
}

#[test]
fn where_there_is_nothing_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let offered = offered(&["tqctl", "deploy", "p"], folder.path(), Path::new("/nowhere"));
    assert_eq!(offered, [""; 0], "no error in the middle of a line");
}
