//! Deployments of a project that has sources and a history, as git knows it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::deploy::host::{Host, said};
use crate::project::worker;
use crate::support::published;

/// A host, and a repository that is deployed from, whose workers need no compiler.
struct Repository(Host);

impl Repository {
    fn new() -> Self {
        let repository = Self(Host::new(""));
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.write(".gitignore", "/deploy\n");
        repository.set("index", "old");
        repository.set("api", "old");
        repository.commit("Two workers");
        repository
    }

    fn root(&self) -> &Path {
        self.0.client.path()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.root().join(path), text).unwrap();
    }

    /// Writes a worker that says it is `mode`.
    fn set(&self, name: &'static str, mode: &'static str) {
        worker(name, mode).write(&self.root().join("workers").join(name));
    }

    fn git(&self, arguments: &[&str]) -> String {
        let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        let mut command = std::process::Command::new("git");
        let output =
            command.current_dir(self.root()).args(author).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Commits all there is; returns which commit that makes.
    fn commit(&self, subject: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    #[track_caller]
    fn deploy(&self) -> Value {
        let output = self.0.tqctl(&["--json", "deploy", "away"]);
        assert!(output.status.success(), "{}\n{}", said(&output), self.0.session.log());
        published::document("deploy", &output.stdout)
    }

    /// What a host is told of by `tqctl diff`, as people and as scripts read it.
    #[track_caller]
    fn diff(&self) -> (String, Value) {
        let people = self.0.tqctl(&["diff", "away"]);
        let scripts = self.0.tqctl(&["--json", "diff", "away"]);
        assert!(people.status.success() && scripts.status.success(), "{}", said(&people));
        let document = published::document("diff", &scripts.stdout);
        (said(&people), document["hosts"]["127.0.0.1"].clone())
    }

    fn serves(&self, path: &str) -> String {
        self.0.session.get(path).body
    }

    #[track_caller]
    fn assert_refused(&self, code: i32, words: &str) {
        let output = self.0.tqctl(&["deploy", "away"]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

#[test]
fn without_a_commit_it_builds_what_is_checked_out_first() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    let document = repository.deploy();
    assert_eq!(document["commit"], first);
    assert_eq!(document["plan"][0]["add"], json!(["api", "index"]));
    assert_eq!(repository.0.mode(), "old");
    // It was built to be deployed there, and is not what is wanted here.
    assert!(!repository.0.client.manifest().exists());

    repository.set("api", "new");
    let second = repository.commit("Another api");
    let output = repository.0.tqctl(&["deploy", "away", "--dry-run"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("not built yet"), "{}", said(&output));
    assert!(!repository.root().join("deploy").join(&second).exists());

    let document = repository.deploy();
    assert_eq!(document["plan"][0]["commits"], json!([1, 0]));
    assert_eq!(document["plan"][0]["restart"], json!(["api"]));
    assert_eq!(repository.serves("/api"), "api new g2 /\n");
    assert_eq!(repository.serves("/"), "index old g1 /\n");

    // Again: it is there, here and there.
    let document = repository.deploy();
    assert_eq!(document["hosts"][0]["outcome"], "unchanged");
    assert_eq!(document["hosts"][0]["sent_bytes"], 0);
}

#[test]
fn what_does_not_build_reaches_no_host() {
    let repository = Repository::new();
    repository.deploy();
    let wanted = repository.0.wanted();
    repository.set("api", "new");
    repository.assert_refused(1, "workers/api/private/mode");
    repository.write("workers/api/config/worker.yaml", "run: [bin/web]\nbuild: ['false']\n");
    repository.commit("What cannot be built");
    repository.assert_refused(6, "api");
    assert_eq!((repository.0.mode().as_str(), repository.0.wanted()), ("old", wanted));
    assert_eq!(repository.0.others(), [".lock", "manifest.json"]);
}

#[test]
fn a_difference_is_in_commits_files_and_workers() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    let (text, document) = repository.diff();
    assert!(text.contains(&format!("nothing → {}", &first[..7])), "{text}");
    assert_eq!((&document["from"], &document["to"]), (&Value::Null, &json!(first)));
    repository.deploy();
    let (text, _) = repository.diff();
    assert!(text.contains("what is checked out serves"), "{text}");

    repository.set("api", "new");
    repository.commit("Another api");
    repository.write("README.md", "How to run this\n");
    let last = repository.commit("Who reads this");
    let (text, document) = repository.diff();
    for expected in [
        &format!("{} → {}", &first[..7], &last[..7]),
        "2 commits\n",
        "Another api",
        "Who reads this",
        "2 files\n",
        "README.md",
        "workers/api/private/mode",
        "workers whose files changed: api\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
    assert_eq!(document["files"], json!(["README.md", "workers/api/private/mode"]));
    assert_eq!(document["gained"].as_array().unwrap().len(), 2);
    assert_eq!(document["workers"], Value::Null);

    // Once it is built, it is known what restarts.
    let output = repository.0.tqctl(&["build", "--no-activate"]);
    assert!(output.status.success(), "{}", said(&output));
    let (text, document) = repository.diff();
    assert!(text.contains("restart: api    keep: index"), "{text}");
    assert_eq!(document["workers"]["restart"], json!(["api"]));

    // What serves has a commit that is not checked out.
    repository.deploy();
    repository.git(&["checkout", "--quiet", &first]);
    let (text, document) = repository.diff();
    assert!(text.contains("2 commits that serve and are not in what is checked out"), "{text}");
    assert_eq!(document["lost"].as_array().unwrap().len(), 2);
    assert_eq!(document["gained"], json!([]));
}
