//! `tqctl build` on small projects of their own, with the real git, cargo and sh.

#[allow(dead_code, unreachable_pub)]
#[path = "support/keys.rs"]
mod keys;
#[allow(unreachable_pub)]
#[path = "support/published.rs"]
mod published;
#[allow(unreachable_pub)]
#[path = "support/toolchains.rs"]
mod toolchains;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;
use tempfile::TempDir;

/// A git project with two Rust workers, `index` and `api`, that need no network.
struct Project {
    temp: TempDir,
}

const MAIN: &str = r#"fn main() {
    println!("NAME {} {}", option_env!("TQ_GIT_COMMIT").unwrap_or("dev"), common::GREETING);
}
"#;

impl Project {
    fn new() -> Self {
        let project = Self { temp: tempfile::tempdir().unwrap() };
        project.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"workers/index\", \"workers/api\", \"workers/shared\"]\n[profile.release]\nopt-level = 0\n",
        );
        for name in ["index", "api"] {
            let dependency = "[dependencies]\ncommon = { path = \"../shared\" }\n";
            project.write(&format!("workers/{name}/Cargo.toml"), &package(name, dependency));
            project.write(&format!("workers/{name}/src/main.rs"), &MAIN.replace("NAME", name));
        }
        project.write("workers/shared/Cargo.toml", &package("common", ""));
        project.write("workers/shared/src/lib.rs", "pub const GREETING: &str = \"hello\";\n");
        project.write("workers/shared/public/css/common.css", "shared");
        project.write("workers/shared/private/templates/base.html", "shared base");
        project.write("workers/shared/private/templates/error.html", "shared error");
        project.write("workers/index/public/css/styles.css", "index");
        project.write("workers/index/private/templates/base.html", "own base");
        project.write("workers/api/config/worker.yaml", "route: /api/v1\n");
        project.write("config/server.yaml", "");
        project.write("README.md", "# A project\n");
        project.write(".gitignore", "/target\n/deploy\n/workers/*/bin/\n");
        run(project.command("cargo").args(["generate-lockfile", "--offline"]));
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project.commit();
        project
    }

    fn root(&self) -> &Path {
        self.temp.path()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root());
        command
    }

    fn git(&self, arguments: &[&str]) -> String {
        let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        run(self.command("git").args(author).args(arguments)).trim_end().to_owned()
    }

    /// Commits all there is, and returns the commit.
    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "A change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn tqctl(&self, arguments: &[&str]) -> Output {
        self.tqctl_command(arguments).output().unwrap()
    }

    fn tqctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("tqctl").unwrap();
        command.current_dir(self.root()).args(arguments);
        // Of the cargo that runs this test, not of a person who types tqctl.
        for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(name);
        }
        command
    }

    /// A build that must succeed, as its JSON document.
    fn build(&self) -> Value {
        let output = self.tqctl(&["build", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        published::document("build", &output.stdout)
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("deploy/manifest.json")).unwrap()).unwrap()
    }

    fn binary(&self, commit: &str, worker: &str) -> PathBuf {
        self.path(&format!("deploy/{commit}/workers/{worker}/bin/{worker}"))
    }

    /// What is in `deploy/`, but for the lock.
    fn deployed(&self) -> Vec<String> {
        let Ok(entries) = self.path("deploy").read_dir() else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != ".lock").collect();
        names.sort();
        names
    }
}

fn package(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_deployment_has_programs_assets_and_a_record() {
    let project = Project::new();
    project.git(&["tag", "v1.2.3"]);
    let commit = project.git(&["rev-parse", "HEAD"]);
    let output = project.tqctl(&["build"]);
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout.starts_with(&format!("✓ clean tree   {} main v1.2.3\n", &commit[..7])),
        "{stdout}"
    );
    assert!(!stdout.contains('\u{1b}'), "{stdout}");

    let says = run(&mut Command::new(project.binary(&commit, "index")));
    assert_eq!(says, format!("index {commit} hello\n"));
    let read = |path: &str| {
        fs::read_to_string(project.path(&format!("deploy/{commit}/workers/{path}"))).unwrap()
    };
    assert_eq!(read("index/public/css/common.css"), "shared");
    assert_eq!(read("index/private/templates/base.html"), "own base");
    assert_eq!(read("index/private/templates/error.html"), "shared error");
    assert_eq!(read("api/private/templates/base.html"), "shared base");
    assert_eq!(read("api/config/worker.yaml"), "route: /api/v1\n");

    let manifest = project.manifest();
    assert_eq!(manifest["current_deployment"], commit.as_str());
    let record = fs::read(project.path(&format!("deploy/{commit}/deployment.json"))).unwrap();
    let mut record: Value = serde_json::from_slice(&record).unwrap();
    for pointer in ["/git_commit", "/git_commit_short", "/built_at"] {
        redact(&mut record, pointer);
    }
    for worker in ["api", "index"] {
        let binary = format!("sha256/bin~1{worker}");
        for field in ["built_from", "binary_md5", "inputs_md5", "tree_md5", "size_bytes", &binary] {
            redact(&mut record, &format!("/workers/{worker}/{field}"));
        }
    }
    insta::assert_json_snapshot!("deployment", record);
}

/// Replaces what differs from run to run by what kind of thing it is.
fn redact(document: &mut Value, pointer: &str) {
    let value = document.pointer_mut(pointer).unwrap();
    *value = match value.as_str() {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("[{} hexadecimal digits]", text.len()).into()
        }
        Some(text) if text.parse::<jiff::Timestamp>().is_ok() => "[time]".into(),
        _ if value.is_u64() => "[number]".into(),
        _ => panic!("{pointer}: {value}"),
    };
}

#[test]
fn what_did_not_change_is_reused_byte_for_byte() {
    let project = Project::new();
    let first = project.git(&["rev-parse", "HEAD"]);
    project.build();

    project.write("README.md", "# Other words\n");
    project.write("workers/api/README.md", "New.\n");
    let docs = project.commit();
    let built = project.build();
    assert_eq!(built["rebuilt"], serde_json::json!([]), "{built}");
    for worker in ["index", "api"] {
        let bytes = |commit: &str| fs::read(project.binary(commit, worker)).unwrap();
        assert_eq!(bytes(&first), bytes(&docs), "{worker}");
        assert_eq!(built["deployment"]["workers"][worker]["built_from"], first.as_str());
    }

    project.write("workers/api/src/main.rs", "fn main() { println!(\"other\"); }\n");
    let other = project.commit();
    let built = project.build();
    assert_eq!(built["rebuilt"], serde_json::json!(["api"]));
    assert_eq!(built["deployment"]["workers"]["index"]["built_from"], first.as_str());
    assert_eq!(built["deployment"]["workers"]["api"]["built_from"], other.as_str());

    // What both are made from.
    project.write("workers/shared/src/lib.rs", "pub const GREETING: &str = \"bye\";\n");
    project.write("workers/api/src/main.rs", &MAIN.replace("NAME", "api"));
    project.commit();
    assert_eq!(project.build()["rebuilt"], serde_json::json!(["api", "index"]));

    let manifest = project.manifest();
    let history = manifest["previous_deployments"].as_array().unwrap();
    let commits: Vec<_> = history.iter().map(|it| it["git_commit"].as_str().unwrap()).collect();
    assert_eq!(commits, [&other, &docs, &first]);
}

#[test]
fn a_damaged_earlier_program_is_not_reused() {
    let project = Project::new();
    let first = project.git(&["rev-parse", "HEAD"]);
    project.build();
    fs::set_permissions(project.binary(&first, "api"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(project.binary(&first, "api"), "tampered with").unwrap();
    project.write("README.md", "# Other words\n");
    let docs = project.commit();
    let output = project.tqctl(&["build", "--json"]);
    assert!(stderr(&output).contains("api: bin/api of"), "{}", stderr(&output));
    let built: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(built["rebuilt"], serde_json::json!(["api"]));
    assert_eq!(run(&mut Command::new(project.binary(&docs, "api"))), format!("api {docs} hello\n"));
}

#[test]
fn an_embedded_file_is_an_input() {
    let project = Project::new();
    project.write(
        "workers/api/src/main.rs",
        "fn main() { println!(include_str!(\"../private/text\")); }\n",
    );
    project.write("workers/api/private/text", "one");
    project.commit();
    project.build();
    project.write("workers/api/private/text", "two");
    let commit = project.commit();
    assert_eq!(project.build()["rebuilt"], serde_json::json!(["api"]));
    assert_eq!(run(&mut Command::new(project.binary(&commit, "api"))), "two\n");
    project.write("workers/index/private/text", "not embedded");
    project.commit();
    assert_eq!(project.build()["rebuilt"], serde_json::json!([]));
}

#[test]
fn a_folder_that_is_there_is_verified_and_activated_again() {
    let project = Project::new();
    let first = project.git(&["rev-parse", "HEAD"]);
    project.build();
    project.write("README.md", "# Other words\n");
    let second = project.commit();
    project.build();

    project.git(&["checkout", "--quiet", &first]);
    let built = project.build();
    assert_eq!(built["existed"], true);
    let manifest = project.manifest();
    assert_eq!(manifest["current_deployment"], first.as_str());
    assert_eq!(manifest["previous_deployments"][0]["git_commit"], second.as_str());
    assert_eq!(manifest["previous_deployments"][0]["status"], "rollback_available");

    project.git(&["checkout", "--quiet", "main"]);
    fs::write(project.path(&format!("deploy/{second}/workers/index/public/x")), "").unwrap();
    let output = project.tqctl(&["build"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("public/x: is not part of the deployment"));
    assert_eq!(project.manifest()["current_deployment"], first.as_str());
}

/// A signature that `tqctl build` made is one that gpgv accepts, with the options of its own.
fn assert_signed(project: &Project, signer: &keys::Keys, name: &str) {
    let folder = project.path("deploy").join(project.git(&["rev-parse", "HEAD"]));
    let keyring = project.path("target/trusted.gpg");
    signer.export(&[name], &keyring);
    let mut gpgv = project.command("gpgv");
    run(gpgv
        .arg("--keyring")
        .arg(keyring)
        .args(["deployment.json.asc", "deployment.json"])
        .current_dir(folder));
}

#[test]
fn a_deployment_is_signed_when_it_is_built_or_later() {
    const ADA: &str = "Ada <ada@example.org>";
    const BOB: &str = "Bob <bob@example.org>";
    let (project, signer) = (Project::new(), keys::Keys::new());
    signer.make(ADA);
    signer.make(BOB);
    let build = |arguments: &[&str]| {
        let mut command = project.tqctl_command(&[&["build", "--json"][..], arguments].concat());
        command.env("GNUPGHOME", signer.home()).output().unwrap()
    };
    let document = |output: Output| -> Value {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    // Where there is no such key, what was built stays, and nothing points to it.
    let refused = build(&["--sign", "eve@example.org"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("deployment.json: is built and not signed: "), "{said}");
    assert!(said.contains("eve@example.org"), "{said}");
    assert!(!project.path("deploy/manifest.json").exists());

    assert_eq!(document(build(&[])).get("signature"), None);
    let signed = document(build(&["--sign", "ada@example.org"]));
    assert_eq!(signed["existed"], true);
    let signature = PathBuf::from(signed["signature"].as_str().unwrap());
    assert_eq!(fs::metadata(&signature).unwrap().permissions().mode() & 0o777, 0o644);
    assert_signed(&project, &signer, ADA);
    // It stays with who does not sign, and is replaced by who does.
    document(build(&[]));
    assert_signed(&project, &signer, ADA);
    document(build(&["--sign", "bob@example.org"]));
    assert_signed(&project, &signer, BOB);

    let yaml = "deployment: {prod: {build: {sign_key: ada@example.org}}}\n";
    project.write("config/deployment.yaml", yaml);
    project.commit();
    assert_eq!(document(build(&[]))["existed"], false);
    assert_signed(&project, &signer, ADA);
}

#[test]
fn a_detached_head_has_no_branch() {
    let project = Project::new();
    project.git(&["checkout", "--quiet", "--detach"]);
    let output = project.tqctl(&["build", "--no-activate", "--json"]);
    let built: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(built["deployment"].get("git_branch"), None);
    assert_eq!(built["deployment"].get("git_tag"), None);
    assert!(!project.path("deploy/manifest.json").exists());
}

#[test]
fn a_dirty_tree_is_refused_with_its_files() {
    let project = Project::new();
    project.write("README.md", "changed");
    project.write("notes with blanks.txt", "new");
    let output = project.tqctl(&["build"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.contains("\n   M README.md\n  ?? notes with blanks.txt\n"), "{message}");
    assert_eq!(project.deployed(), Vec::<String>::new());
}

#[test]
fn without_git_or_commits_there_is_no_deployment() {
    let project = Project::new();
    fs::remove_dir_all(project.path(".git")).unwrap();
    let output = project.tqctl(&["build"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not in a git repository"), "{}", stderr(&output));

    project.git(&["init", "--quiet"]);
    let output = project.tqctl(&["build"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("has no commits yet"), "{}", stderr(&output));
}

#[test]
fn a_failed_build_names_the_worker_and_leaves_nothing() {
    let project = Project::new();
    project.build();
    let before = project.manifest();
    let deployed = project.deployed();
    project.write("workers/api/src/main.rs", "fn main() { let x: u8 = \"text\"; }\n");
    project.commit();
    let output = project.tqctl(&["build"]);
    assert_eq!(output.status.code(), Some(6));
    let message = stderr(&output);
    assert!(message.contains("error[E0308]: mismatched types"), "{message}");
    assert!(message.contains("error: build failed: api\n"), "{message}");
    assert_eq!(project.manifest(), before);
    assert_eq!(project.deployed(), deployed);
}

#[test]
fn a_command_builds_what_no_toolchain_does() {
    let project = Project::new();
    let patterns =
        "workers: {discovery: {include_patterns: [\"*/src/main.rs\", \"*/build.sh\"]}}\n";
    project.write("config/server.yaml", patterns);
    project.write("workers/script/build.sh", "mkdir -p bin && cp src.txt bin/app.sh\n");
    project.write("workers/script/src.txt", "#!/bin/sh\n");
    project.write(
        "workers/script/config/worker.yaml",
        "build: [\"sh\", \"build.sh\"]\nrun: [\"/bin/sh\", \"bin/app.sh\"]\nready: http\n",
    );
    let commit = project.commit();
    let built = project.build();
    let part = &built["deployment"]["workers"]["script"];
    assert_eq!(part["binary"], "bin/app.sh");
    assert!(project.path(&format!("deploy/{commit}/workers/script/bin/app.sh")).is_file());

    project.write("README.md", "# Other words\n");
    project.commit();
    assert_eq!(project.build()["rebuilt"], serde_json::json!([]));

    project.write("workers/script/build.sh", "echo went wrong; exit 3\n");
    project.commit();
    let output = project.tqctl(&["build"]);
    assert_eq!(output.status.code(), Some(6));
    let message = stderr(&output);
    assert!(
        message.contains("went wrong\n") && message.contains("build failed: script"),
        "{message}"
    );
}

const GO_MAIN: &str = r#"package main

import "fmt"

var GitCommit, GitBranch = "none", "none"

func main() {
	fmt.Println("hello", GitCommit, GitBranch)
}
"#;

/// A project with a worker in Go, `gopher`, and no other.
fn go_project() -> Project {
    toolchains::install();
    let project = Project::new();
    fs::remove_dir_all(project.path("workers")).unwrap();
    fs::remove_file(project.path("Cargo.toml")).unwrap();
    project.write("workers/gopher/go.mod", "module gopher\n\ngo 1.19\n");
    project.write("workers/gopher/src/main.go", GO_MAIN);
    project
}

#[test]
fn a_worker_in_go_is_built_when_its_sources_change() {
    let project = go_project();
    let dev = || {
        let output = project.tqctl(&["build", "--dev"]);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        (output.status.code(), text, stderr(&output))
    };
    let says = || run(&mut Command::new(project.path("workers/gopher/bin/gopher")));
    assert_eq!(dev().1, "✓ gopher built\n");
    assert_eq!(says(), "hello none none\n", "development carries no facts of git");
    assert_eq!(dev().1, "= gopher up to date\n");

    project.write("workers/gopher/src/main.go", &GO_MAIN.replace("hello", "bye"));
    assert_eq!(dev().1, "✓ gopher built\n");
    assert_eq!(says(), "bye none none\n");
    // Another file of the package, and one that it embeds.
    project.write("workers/gopher/src/text.txt", "one");
    let embeds = "package main\n\nimport _ \"embed\"\n\n//go:embed text.txt\nvar text string\n\n\
                  func init() { GitBranch = text }\n";
    project.write("workers/gopher/src/text.go", embeds);
    assert_eq!(dev().1, "✓ gopher built\n");
    project.write("workers/gopher/src/text.txt", "two");
    assert_eq!(dev().1, "✓ gopher built\n");
    assert_eq!(says(), "bye none two\n");

    project.write("workers/gopher/src/main.go", "package main\n\nfunc main() {\n\tbroken()\n}\n");
    let (code, text, message) = dev();
    assert_eq!((code, text.as_str()), (Some(6), "✗ gopher build failed\n"));
    assert!(message.contains("src/main.go:4:2: undefined: broken"), "{message}");
    assert_eq!(says(), "bye none two\n", "what was there stays");
}

#[test]
fn a_deployed_program_in_go_carries_its_commit() {
    let project = go_project();
    let first = project.commit();
    project.build();
    let program = |commit: &str| run(&mut Command::new(project.binary(commit, "gopher")));
    assert_eq!(program(&first), format!("hello {first} main\n"));

    project.write("README.md", "# Other words\n");
    let docs = project.commit();
    assert_eq!(project.build()["rebuilt"], serde_json::json!([]));
    assert_eq!(program(&docs), format!("hello {first} main\n"), "the same program");

    // The mode's own flags: without symbols and debugging information there is less of it.
    let size = |commit: &str| fs::metadata(project.binary(commit, "gopher")).unwrap().len();
    let stripped = "deployment: {prod: {build: {ldflags: \"-s -w\"}}}\n";
    project.write("config/deployment.yaml", stripped);
    let stripped = project.commit();
    assert_eq!(project.build()["rebuilt"], serde_json::json!(["gopher"]));
    assert_eq!(program(&stripped), format!("hello {stripped} main\n"));
    assert!(size(&stripped) < size(&docs), "{} and {}", size(&stripped), size(&docs));
}

/// A fresh machine serves what it can; a deployment would take away what it has not.
#[test]
fn a_worker_without_its_toolchain_is_skipped_in_development_and_refused_in_production() {
    let project = Project::new();
    fs::remove_dir_all(project.path("workers")).unwrap();
    fs::remove_file(project.path("Cargo.toml")).unwrap();
    project.write("workers/gopher/src/main.go", GO_MAIN);
    project.write("workers/page/config/worker.yaml", "run: [/nowhere/node, bin/main.mjs]\n");
    project.write("workers/pack/config/worker.yaml", "build: npm ci\nrun: [/bin/sh, bin/x.sh]\n");
    let ready = "build: [./build.sh]\nrun: [/bin/sh, bin/app.sh]\n";
    project.write("workers/script/config/worker.yaml", ready);
    project.write("workers/script/build.sh", "#!/bin/sh\nmkdir bin && echo : >bin/app.sh\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.path("workers/script/build.sh"), executable).unwrap();
    project.commit();
    // A machine that has git and a shell, and no go.
    let programs = tempfile::tempdir().unwrap();
    for program in ["git", "sh", "mkdir"] {
        let path = Path::new("/usr/bin").join(program);
        std::os::unix::fs::symlink(path, programs.path().join(program)).unwrap();
    }
    let tqctl = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("tqctl").unwrap();
        command.current_dir(project.root()).args(arguments).env("PATH", programs.path());
        command.output().unwrap()
    };
    let lacking = [
        "gopher (no go: apt-get install golang-go)",
        "pack (no npm: apt-get install npm)",
        "page (no /nowhere/node: apt-get install nodejs)",
    ];

    let output = tqctl(&["build", "--dev"]);
    let skipping = lacking.map(|it| format!("Skipping {it}\n")).concat();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout, format!("{skipping}✓ script built\n"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0));

    let output = tqctl(&["build"]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("no deployment without all of its workers"), "{message}");
    assert!(lacking.iter().all(|it| message.contains(&format!("\n  {it}"))), "{message}");
    assert!(project.deployed().is_empty());

    fs::remove_dir_all(project.path("workers/script")).unwrap();
    let output = tqctl(&["build", "--dev"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no worker below it\n  gopher (no go:"));
}

/// What a record says of `bin/<name>` holds for compiled programs only: the daemon would refuse it.
#[test]
fn a_script_that_is_called_like_its_worker_is_refused_when_it_is_built() {
    let project = Project::new();
    project.write("workers/script/config/worker.yaml", "run: [\"/bin/sh\", \"bin/script\"]\n");
    project.write("workers/script/bin/script", "echo started\n");
    project.git(&["add", "--force", "workers/script/bin/script"]);
    project.commit();
    let output = project.tqctl(&["build"]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(message.contains("bin/script is not an executable ELF program"), "{message}");
    assert!(message.contains("another name"), "{message}");
    assert!(project.deployed().is_empty());
}

#[test]
fn a_development_build_builds_what_changed() {
    let project = Project::new();
    fs::create_dir_all(project.path("workers/empty")).unwrap();
    let dev = || {
        // From within, as by a person who is editing it.
        let output = project.tqctl(&["build", "--dev", "--root", "workers/.."]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = dev();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("Skipping empty ("), "{text}");
    assert!(text.ends_with("✓ api built\n✓ index built\n"), "{text}");
    let binary = project.path("workers/api/bin/api");
    assert_eq!(run(&mut Command::new(&binary)), "api dev hello\n");
    assert!(dev().1.ends_with("= api up to date\n= index up to date\n"));

    // A resource is read when the worker runs.
    project.write("workers/api/private/page.html", "new");
    assert!(dev().1.ends_with("= api up to date\n= index up to date\n"));

    // The file of a running program may not be written to, but replaced.
    let waits = "fn main() { std::io::stdin().read_line(&mut String::new()).unwrap(); }\n";
    project.write("workers/api/src/main.rs", waits);
    assert!(dev().1.ends_with("✓ api built\n= index up to date\n"));
    let mut running = Command::new(&binary).stdin(Stdio::piped()).spawn().unwrap();
    fs::remove_file(project.path("workers/index/bin/index")).unwrap();
    project.write("workers/api/src/main.rs", "fn main() { println!(\"other\") }\n");
    assert!(dev().1.ends_with("✓ api built\n✓ index built\n"));
    assert_eq!(run(&mut Command::new(&binary)), "other\n");
    drop(running.stdin.take());
    assert!(running.wait().unwrap().success());

    project.write("workers/api/src/main.rs", "fn main() { broken }\n");
    let (code, text) = dev();
    assert_eq!(code, Some(6));
    assert!(text.ends_with("✗ api build failed\n= index up to date\n"), "{text}");
    assert_eq!(run(&mut Command::new(&binary)), "other\n");
}

#[test]
fn the_server_is_a_part_where_the_project_contains_it() {
    let project = Project::new();
    let workspace = fs::read_to_string(project.path("Cargo.toml")).unwrap();
    project.write("Cargo.toml", &format!("{}{workspace}", package("tqserver", "")));
    project
        .write("src/main.rs", &MAIN.replace("NAME", "tqserver").replace("common::GREETING", "0"));
    project.write("src/admin/public/admin/index.html", "one");
    project.write("src/admin/private/config.yaml.example", "example");
    run(project.command("cargo").args(["generate-lockfile", "--offline"]));
    let first = project.commit();
    let built = project.build();
    let server = &built["deployment"]["server"];
    assert_eq!((&server["has_public"], &server["has_private"]), (&true.into(), &true.into()));
    let binary = project.path(&format!("deploy/{first}/server/bin/tqserver"));
    assert_eq!(run(&mut Command::new(binary)), format!("tqserver {first} 0\n"));

    project.write("src/admin/public/admin/index.html", "two");
    let second = project.commit();
    assert_eq!(project.build()["rebuilt"], serde_json::json!([]));
    let page = project.path(&format!("deploy/{second}/server/public/admin/index.html"));
    assert_eq!(fs::read_to_string(page).unwrap(), "two");
}

/// A rustc that brings a linker of its own (1.90, on x86-64) is told to use the system's, which mold
/// then is.
#[test]
fn development_builds_link_with_mold_where_it_is_installed() {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/install");
    assert!(Command::new(install).arg("mold").status().unwrap().success());
    let project = Project::new();
    let version = run(Command::new("rustc").arg("--version"));
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    let mut build = project.tqctl_command(&["build", "--dev"]);
    if minor >= 90 && cfg!(target_arch = "x86_64") {
        build.env("RUSTFLAGS", "-Clinker-features=-lld");
    }
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let program = fs::read(project.path("workers/index/bin/index")).unwrap();
    assert!(program.windows(5).any(|bytes| bytes == b"mold "), "a linker leaves its name");
}

#[test]
fn a_disk_without_room_is_told_before_anything_is_built() {
    let project = Project::new();
    fs::create_dir(project.path("deploy")).unwrap();
    let mut command = Command::new("unshare");
    // A disk of the test's own, which goes with the namespace.
    let script = "mount -t tmpfs -o size=8m tmpfs deploy && exec \"$0\" build";
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    let tqctl = Command::cargo_bin("tqctl").unwrap();
    let output = command.arg(tqctl.get_program()).current_dir(project.root()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(message.contains("deploy: 8.4 MB are free, and "), "{message}");
    assert!(message.contains("besides 67.1 MB that must stay free"), "{message}");
    assert!(!project.path("target").exists(), "nothing was compiled");
}
