//! `tqctl new`: what it writes and says. tests/e2e/new_worker.rs has what becomes of it.

#[allow(unreachable_pub)]
#[path = "support/published.rs"]
mod published;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::CommandCargoExt;
use rstest::rstest;
use tempfile::TempDir;

/// A project without workers.
struct Project {
    temp: TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { temp: tempfile::tempdir().unwrap() };
        project.write("config/server.yaml", "");
        project
    }

    /// With a cargo workspace of all folders below `workers/`, and tq-worker among them.
    fn with_workspace() -> Self {
        let project = Self::new();
        project.write("Cargo.toml", "[workspace]\nmembers = [\"workers/*\"]\nresolver = \"3\"\n");
        let library = "[package]\nname = \"tq-worker\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        project.write("workers/shared/Cargo.toml", library);
        project.write("workers/shared/src/lib.rs", "");
        project
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("tqctl").unwrap();
        command.arg("new").args(arguments).current_dir(self.temp.path());
        // A machine that has all toolchains that are looked for in PATH.
        command.env("PATH", self.programs(&["cargo", "go"]));
        command
    }

    fn tqctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A folder with programs of these names.
    fn programs(&self, names: &[&str]) -> PathBuf {
        let folder = self.path(".programs").join(names.len().to_string());
        fs::create_dir_all(&folder).unwrap();
        for name in names {
            let _ = std::os::unix::fs::symlink("/bin/true", folder.join(name));
        }
        folder
    }

    /// Every file below a folder of the project, sorted.
    fn files(&self, below: &str) -> Vec<String> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let (root, mut found) = (self.path(below), Vec::new());
        walk(&root, &mut found);
        let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = found.iter().map(name).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it says, and what of the files depends on where they are written.
#[rstest]
#[case::rust_member("rust", true)]
#[case::rust_alone("rust", false)]
#[case::go_excluded("go", true)]
#[case::go("go", false)]
#[case::node("node", false)]
#[case::python("python", false)]
fn a_worker_is_written_whole(#[case] language: &str, #[case] workspace: bool) {
    let project = if workspace { Project::with_workspace() } else { Project::new() };
    let output = project.tqctl(&["shop_cart", "--lang", language]);
    let (said, hints) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{hints}");
    let files = project.files("workers/shop_cart");
    let mut golden = format!("{said}--- stderr\n{hints}");
    for file in &files {
        let content = project.read(&format!("workers/shop_cart/{file}"));
        assert!(!content.contains("__NAME__") && !content.contains("__ROUTE__"), "{file}");
        if [".gitignore", "Cargo.toml", "go.mod", "config/worker.yaml"].contains(&file.as_str()) {
            golden.push_str(&format!("--- {file}\n{content}"));
        }
    }
    if workspace {
        golden.push_str(&format!("--- the project's Cargo.toml\n{}", project.read("Cargo.toml")));
    }
    let place = if workspace { "in_a_workspace" } else { "alone" };
    // An interpreter is looked for where its worker will: this machine may not have it.
    let lines = golden.lines().filter(|line| !line.starts_with("warning: no /usr/bin/"));
    let golden: String = lines.flat_map(|line| [line, "\n"]).collect();
    insta::assert_snapshot!(format!("{language}_{place}"), golden);
}

#[test]
fn scripts_get_a_document() {
    let project = Project::with_workspace();
    let output = project.tqctl(&["shop", "--lang", "go", "--json", "-q"]);
    assert_eq!(text(&output.stderr), "");
    let document = published::document("new", &output.stdout);
    let expected = serde_json::json!({
        "schema": 1, "name": "shop", "language": "go", "route": "/shop",
        "folder": "workers/shop", "files": project.files("workers/shop"),
        "member_of": null, "excluded_from": "Cargo.toml", "missing_package": null,
    });
    assert_eq!(document, expected);
}

#[test]
fn a_missing_toolchain_is_a_warning_that_names_its_package() {
    let project = Project::new();
    let mut command = project.command(&["shop", "--lang", "go", "--json", "-q"]);
    let output = command.env("PATH", project.programs(&[])).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "warning: no go: apt-get install golang-go\n");
    let document = published::document("new", &output.stdout);
    assert_eq!(document["missing_package"], "golang-go");
    assert!(project.path("workers/shop/src/main.go").is_file());
}

#[test]
fn a_worker_that_is_not_looked_for_is_told() {
    let project = Project::new();
    let patterns = "workers: {discovery: {include_patterns: [\"*/src/main.rs\"]}}\n";
    project.write("config/server.yaml", patterns);
    let message = text(&project.tqctl(&["shop", "--lang", "go"]).stderr);
    assert!(message.contains("does not find it: nothing in it matches */src/main.rs"), "{message}");
    let message = text(&project.tqctl(&["page", "--lang", "python"]).stderr);
    assert!(!message.contains("does not find it"), "{message}");
}

#[rstest]
#[case::no_name("Shop-cart", 2, "it must match [a-z][a-z0-9_]{0,26}")]
#[case::shared("shared", 2, "workers/shared holds what all share")]
#[case::there("notes", 1, "workers/notes is there already\nhint: choose another name")]
#[case::a_link("link", 1, "workers/link is there already")]
#[case::route(
    "shop",
    1,
    "worker cart is at /shop already\nhint: choose another name, or set `route:` in workers/cart/config/worker.yaml"
)]
#[case::route_by_name("api__users", 1, "worker api_users is at /api/users already")]
#[case::static_files("static_x", 1, "/static/x lies below server.static.url_prefix, /static")]
fn what_is_taken_is_refused_and_nothing_is_written(
    #[case] name: &str,
    #[case] code: i32,
    #[case] expected: &str,
) {
    let project = Project::with_workspace();
    project.write("workers/notes/todo.txt", "");
    std::os::unix::fs::symlink("nowhere", project.path("workers/link")).unwrap();
    project.write("workers/cart/config/worker.yaml", "run: [bin/x]\nroute: /shop\n");
    project.write("workers/api_users/src/main.go", "");
    project.programs(&["cargo", "go"]);
    let before = (project.files("."), project.read("Cargo.toml"));
    for language in ["rust", "node"] {
        let output = project.tqctl(&[name, "--lang", language]);
        let message = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), String::new()));
        assert!(message.contains(expected), "{message}");
        assert_eq!((project.files("."), project.read("Cargo.toml")), before);
    }
}

#[rstest]
#[case::the_root("Cargo.toml", "[package]\nname = \"shop\"\n")]
#[case::a_member("workers/other/Cargo.toml", "[package]\nname = \"shop\"\n")]
fn a_package_of_that_name_in_the_workspace_is_refused(#[case] file: &str, #[case] text: &str) {
    let project = Project::with_workspace();
    let before = project.read("Cargo.toml");
    project.write(file, &if file == "Cargo.toml" { before + text } else { text.to_owned() });
    let output = project.tqctl(&["shop"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let expected = format!("the package of {file} is called shop already\nhint: choose another");
    assert!(message.contains(&expected), "{message}");
    assert!(!project.path("workers/shop").exists());
    // Which is cargo's business only.
    assert!(project.tqctl(&["shop", "--lang", "go"]).status.success());
}

#[test]
fn without_a_configuration_it_is_no_project() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::cargo_bin("tqctl").unwrap();
    let root = folder.path().to_str().unwrap();
    let output = command.args(["new", "shop", "--root", root]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("config/server.yaml: there is no such file"), "{message}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
