//! `tqctl migrate` and `tqctl build --legacy-output` on a project of the old flat layout, with the
//! real go and git.

#[allow(unreachable_pub)]
#[path = "support/published.rs"]
mod published;
#[allow(unreachable_pub)]
#[path = "support/toolchains.rs"]
mod toolchains;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::CommandCargoExt;
use tempfile::TempDir;

const MAIN: &str = "package main\n\nimport \"fmt\"\n\nvar view = \"pages/index/index.html\"\n\n\
                    func main() { fmt.Println(\"hello\") }\n";

/// A project as it was before `workers/`.
fn project() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("go.mod", "module shop\n\ngo 1.19\n"),
        (".gitignore", "/bin/\n/workers/*/bin/\n/deploy/\n/target/\n"),
        ("config/server.yaml", ""),
        ("pages/index/main.go", MAIN),
        ("pages/index/index.html", "<h1>index"),
        ("pages/index/css/app.css", "h1{}"),
        ("pages/api/users/main.go", "package main\n\nfunc main() {}\n"),
        ("pages/api/users/validation.yaml", "a: 1\n"),
        ("pages/notes.txt", "notes"),
        ("templates/base.html", "<html>"),
        ("bin/tqserver", "old server"),
        ("bin/tqworker_index", "old index"),
        ("bin/tqworker_gone", "old gone"),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn tqctl(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("tqctl").unwrap();
    command.current_dir(root).args(arguments).output().unwrap()
}

/// Every file below `root`, with its content.
fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let all = glob::glob(&format!("{}/**/*", root.display())).unwrap().map(Result::unwrap);
    let files = all.filter(|path| path.is_file());
    files
        .map(|path| {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            (path.strip_prefix(root).unwrap().to_owned(), text)
        })
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_move_is_reported_and_a_dry_run_makes_none() {
    let project = project();
    let before = files(project.path());
    let planned = tqctl(project.path(), &["migrate", "--dry-run", "--json"]);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
    assert_eq!(files(project.path()), before);

    let done = tqctl(project.path(), &["migrate"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    insta::assert_snapshot!("migrate", format!("{}--\n{}", text(&done.stdout), text(&done.stderr)));

    let after = files(project.path());
    let planned = published::document("migrate", &planned.stdout);
    let moves = planned["moves"].as_array().unwrap();
    let mut expected = before;
    for step in moves {
        let [from, to] = ["from", "to"].map(|end| PathBuf::from(step[end].as_str().unwrap()));
        let content = expected.remove(&from).unwrap();
        expected.insert(to, content);
    }
    assert_eq!(after, expected, "what was planned is what was done");

    let again = tqctl(project.path(), &["migrate"]);
    assert!(text(&again.stdout).ends_with("nothing to migrate\n"), "{}", text(&again.stdout));
    assert_eq!(files(project.path()), after);
}

#[test]
fn a_conflict_moves_nothing() {
    let project = project();
    let taken = project.path().join("workers/index/src/main.go");
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::write(&taken, "mine").unwrap();
    let before = files(project.path());
    let output = tqctl(project.path(), &["migrate"]);
    assert_eq!(output.status.code(), Some(1));
    let said = "pages/index/main.go: workers/index/src/main.go is there already";
    assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    assert_eq!(files(project.path()), before);

    let elsewhere = tempfile::tempdir().unwrap();
    let output = tqctl(project.path(), &["migrate", elsewhere.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "no project at all");
}

#[test]
fn what_was_migrated_builds_and_the_old_server_finds_its_programs() {
    toolchains::install();
    let project = project();
    let root = project.path();
    let succeed = |arguments: &[&str]| {
        let output = tqctl(root, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    succeed(&["migrate"]);
    let said = succeed(&["build", "--dev", "--legacy-output"]);
    assert!(said.contains("✓ bin/tqworker_api_users\n✓ bin/tqworker_index\n"), "{said}");
    let says = |program: &str| text(&Command::new(root.join(program)).output().unwrap().stdout);
    assert_eq!(says("bin/tqworker_index"), "hello\n");
    assert_eq!(files(root)[Path::new("bin/tqserver")], "old server");

    let git = |arguments: &[&str]| {
        let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        let mut git = Command::new("git");
        assert!(git.current_dir(root).args(author).args(arguments).status().unwrap().success());
    };
    let main = root.join("workers/index/src/main.go");
    fs::write(&main, fs::read_to_string(&main).unwrap().replace("hello", "deployed")).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "All"]);
    let built =
        published::document("build", succeed(&["build", "--legacy-output", "--json"]).as_bytes());
    assert_eq!(
        built["legacy_output"],
        serde_json::json!(["bin/tqworker_api_users", "bin/tqworker_index"])
    );
    assert_eq!(says("bin/tqworker_index"), "deployed\n");
    // Ignored by git, as it was: the next build is of a clean tree.
    succeed(&["build"]);
}
