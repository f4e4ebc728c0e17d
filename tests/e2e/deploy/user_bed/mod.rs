//! Both ends in a user manager's bed.

mod canary;
mod full;
mod killed;
mod several;
mod soak;
mod sources;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tqserver::store::deployment::Deployment;
use tqserver::store::lock::DeployLock;

use crate::deploy::host::{Host, said};
use crate::project::{Worker, commit, worker};
use crate::support::published;

/// Two workers that say they are `mode`.
pub fn both(mode: &'static str) -> [Worker; 2] {
    [worker("index", mode), worker("api", mode)]
}

/// A host that serves the first of two deployments.
pub fn serving(target: &str) -> (Host, Deployment, Deployment) {
    let host = Host::new(target);
    let (first, second) = (host.build('1', &both("old")), host.build('2', &both("new")));
    host.deploy("production", &first);
    (host, first, second)
}

#[test]
fn of_ten_workers_only_the_changed_blocks_of_one_travel_and_it_alone_restarts() {
    let host = Host::new("");
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let all = |mode: &'static str, changed: bool| {
        let large = large_file(&host, mode, changed);
        let of = |name| match name {
            "c" => worker(name, mode).program(&large),
            _ => worker(name, "well"),
        };
        names.map(of).to_vec()
    };
    let first = host.build('1', &all("well", false));
    let document = host.deploy("away", &first);
    assert_eq!(document["hosts"][0]["outcome"], "switched");
    host.session.await_body("/c", "c well g1 /\n");
    let before = host.session.workers();

    // A byte of its program, and a word in a file of its own.
    let second = host.build('2', &all("better", true));
    let document = host.deploy("away", &second);
    assert_eq!(document["plan"][0]["restart"], json!(["c"]));
    let figure = |name: &str| document["hosts"][0][name].as_u64().unwrap();
    assert!(figure("missing_bytes") > 2_000_000, "{document}");
    assert!((1..50_000).contains(&figure("sent_bytes")), "{document}");
    // Without a compiler and a soak.
    assert!(document["duration_seconds"].as_f64().unwrap() < 5.0, "{document}");
    eprintln!("{document:#}");
    host.session.await_body("/c", "c better g2 /\n");
    host.session.await_workers(names.len());
    let after = host.session.workers();
    let kept = after.iter().filter(|(unit, pid)| before.get(*unit) == Some(pid)).count();
    assert_eq!(kept, names.len() - 1);

    // What did not change is one and the same file, and each deployment is whole.
    let inode = |digit: char, path: &str| {
        let folder = host.server.deploy_dir().commit_dir(&commit(digit));
        fs::metadata(folder.join(path)).unwrap().ino()
    };
    assert_eq!(inode('1', "workers/a/bin/web"), inode('2', "workers/a/bin/web"));
    assert_ne!(inode('1', "workers/c/private/mode"), inode('2', "workers/c/private/mode"));
    host.assert_whole();
    assert_eq!(host.others(), [".lock", "manifest.json"]);
}

/// The program of the tests, with bytes behind it that no compression makes fewer.
fn large_file(host: &Host, name: &str, changed: bool) -> PathBuf {
    let script = include_bytes!("../../../fixtures/web.pl");
    let mut bytes = [script, &b"\n__END__\n"[..]].concat();
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..250_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    if changed {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    let path = host.client.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A worker that is such a program.
pub fn large_program(host: &Host, name: &str, changed: bool) -> Worker {
    worker("index", "well").program(&large_file(host, name, changed))
}

#[test]
fn on_a_terminal_a_bar_shows_what_is_brought_and_elsewhere_there_are_lines_alone() {
    let host = Host::new("");
    let on_terminal = |options: &str, deployment: &Deployment| {
        let command = format!(
            "{} --root {} {options} deploy away {}",
            env!("CARGO_BIN_EXE_tqctl"),
            host.client.path().display(),
            deployment.git_commit
        );
        // script(1) is a terminal to it.
        let mut script = host.session.bed.command("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        let output = script.env("TERM", "xterm").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let bar = "2/6 upload 127.0.0.1 [";
    let first = host.build('1', &[large_program(&host, "first", false)]);
    let text = on_terminal("", &first);
    assert!(text.contains(bar) && text.contains("MiB"), "{text}");
    assert!(text.contains("✓\u{1b}[0m 2/6 upload"), "{text:?}");
    // It is taken away again.
    assert!(text.rfind(bar) < text.find("3/6 verify"), "{text}");

    let second = host.build('2', &[large_program(&host, "second", true)]);
    let text = on_terminal("--json", &second);
    assert!(!text.contains(bar) && text.contains("\"sent_bytes\":"), "{text}");
    let output = host.tqctl(&["deploy", "away", first.git_commit.as_str()]);
    assert!(!said(&output).contains(bar) && !said(&output).contains('\u{1b}'), "{}", said(&output));
}

#[test]
fn where_there_is_no_rsync_an_archive_brings_what_is_missing() {
    let host = Host::new("");
    host.configure_with("", &host.sshd.tqctl_without_rsync());
    let first = host.build('1', &both("old"));
    let document = host.deploy("away", &first);
    assert!(document["hosts"][0]["sent_bytes"].as_u64().unwrap() > 1000, "{document}");
    let second = host.build('2', &both("new"));
    let document = host.deploy("away", &second);
    assert_eq!(document["hosts"][0]["missing_bytes"], "new".len() * 2);
    assert_eq!(host.mode(), "new");
    host.assert_whole();
}

#[test]
fn back_is_to_what_served_before_and_the_history_says_who_did_what() {
    let (host, first, second) = serving("");
    host.deploy("away", &second);
    assert_eq!(host.mode(), "new");

    let begun = Instant::now();
    let output = host.tqctl(&["rollback", "away"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(host.mode(), "old");
    let took = begun.elapsed();
    eprintln!("from the command to what was served before: {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Back from there is forward again, to a deployment that is named.
    let output = host.tqctl(&["rollback", "production", &second.git_commit.as_str()[..7]]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(host.mode(), "new");

    let output = host.tqctl(&["--json", "history", "away"]);
    let document = published::document("history", &output.stdout);
    let rollouts = document["hosts"]["127.0.0.1"].as_array().unwrap();
    let told: Vec<_> = rollouts
        .iter()
        .map(|it| (it["commit"].as_str().unwrap(), it["by"]["verb"].as_str().unwrap()))
        .collect();
    let (one, two) = (first.git_commit.as_str(), second.git_commit.as_str());
    let expected = [(two, "rollback"), (one, "rollback"), (two, "deploy"), (one, "deploy")];
    assert_eq!(told, expected);
    // By ssh, and without.
    assert_eq!(rollouts[1]["by"]["from"], "127.0.0.1");
    assert_eq!(rollouts[0]["by"]["from"], Value::Null);
    assert!(rollouts.iter().all(|it| it["by"]["user"] == "root" && it["took_ms"].is_u64()));

    // A file of the other one is damaged.
    let mode = host.server.deploy_dir().commit_dir(&first.git_commit);
    fs::write(mode.join("workers/api/private/mode"), "odd").unwrap();
    let output = host.tqctl(&["--json", "rollback", "away", "--list"]);
    let document = published::document("rollback-list", &output.stdout);
    let listed = &document["hosts"]["127.0.0.1"];
    assert_eq!((&listed[0]["state"], &listed[0]["damage"]), (&json!("current"), &Value::Null));
    assert!(listed[1]["damage"].as_str().unwrap().contains("workers/api/private/mode"));
    let output = host.tqctl(&["rollback", "away"]);
    assert_eq!(output.status.code(), Some(8), "{}", said(&output));
    assert_eq!(host.mode(), "new");
}

#[test]
fn what_does_not_come_to_serve_is_not_left_wanted() {
    let (host, first, _) = serving("");
    let bad = host.build('3', &[worker("index", "exit"), worker("api", "new")]);
    let output = host.tqctl(&["deploy", "away", bad.git_commit.as_str()]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("never switched") && text.contains("DATABASE_URL is not set"), "{text}");
    assert_eq!(host.wanted(), Some(first.git_commit));
    assert_eq!(host.mode(), "old");
    assert_eq!(host.session.status()["state"], "serving");
    let output = host.tqctl(&["history", "away"]);
    assert!(said(&output).contains("failed"), "{}", said(&output));
}

#[test]
fn what_is_refused_is_in_the_history_with_its_reason() {
    let (host, _, _) = serving("");
    let history = || {
        let output = host.tqctl(&["--json", "history", "away"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (document["refused"]["127.0.0.1"].clone(), said(&host.tqctl(&["history", "away"])))
    };
    assert_eq!(history().0, json!([]));
    // By other means than tqctl, which would not.
    let damaged = host.server.build('3', &both("new"));
    let folder = host.server.deploy_dir().commit_dir(&damaged.git_commit);
    fs::write(folder.join("workers/api/private/mode"), "odd").unwrap();
    host.server.activate(&damaged);
    for _ in 0..2 {
        assert_eq!(host.session.tqctl(&["reload", "--wait"]).status.code(), Some(7));
    }
    let (refused, text) = history();
    assert_eq!(refused.as_array().unwrap().len(), 1, "{refused}");
    assert_eq!(refused[0]["commit"], damaged.git_commit.as_str());
    assert!(refused[0]["reason"].as_str().unwrap().contains("workers/api/private/mode"));
    assert!(text.contains("refused") && text.contains("✗ 3333333: "), "{text}");

    fs::write(host.server.manifest(), "{").unwrap();
    assert_eq!(host.session.tqctl(&["reload", "--wait"]).status.code(), Some(7));
    let (refused, text) = history();
    assert_eq!(refused[0]["commit"], Value::Null);
    assert!(refused[0]["reason"].as_str().unwrap().contains("manifest.json"), "{refused}");
    assert!(text.contains("✗ -: "), "{text}");
    assert_eq!(host.mode(), "old");
}

#[test]
fn of_two_at_once_the_second_is_told_who_is_first_or_waits() {
    let (host, _, second) = serving("");
    let now = jiff::Timestamp::now();
    let lock = DeployLock::try_acquire(&host.server.deploy_dir(), "somebody else", now).unwrap();
    let output = host.tqctl(&["deploy", "away", second.git_commit.as_str()]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("somebody else"), "{}", said(&output));
    assert_eq!(host.others(), [".lock", "manifest.json"]);

    let arguments = ["deploy", "away", second.git_commit.as_str(), "--lock-wait"];
    let mut command = host.command();
    let waiting = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut waiting = waiting.spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("waiting") && line.contains("somebody else")));
    drop(lock);
    lines.for_each(drop);
    assert!(waiting.wait().unwrap().success());
    assert_eq!(host.mode(), "new");
}

#[test]
fn a_dry_run_writes_nothing() {
    let (host, _, second) = serving("");
    let trace = host.client.path().join("trace");
    let mut command = host.session.bed.command("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    command.args(["-e", "trace=%file,ftruncate,fchmod,fchown,flock,sendto,sendmsg"]);
    command.arg(env!("CARGO_BIN_EXE_tqctl")).arg("--root").arg(host.client.path());
    let output = command
        .args(["deploy", "production", second.git_commit.as_str(), "--dry-run"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("restart: api, index"), "{}", said(&output));
    let text = fs::read_to_string(trace).unwrap();
    // What asks only, has failed, or goes to no disk.
    let harmless = ["O_RDONLY", "/dev/null", "/dev/tty", " = -1 "];
    let reading = ["stat", "access", "readlink", "exec", "getcwd", "chdir", "statfs", "statx"];
    let writes = text.lines().filter(|line| {
        let call = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
        let name = call.split('(').next().unwrap_or_default();
        call.contains('(')
            && !name.starts_with("send")
            && !reading.iter().any(|it| name.contains(it))
            && !harmless.iter().any(|it| call.contains(it))
            && !call.contains("connect(")
            && !call.contains("<... ")
    });
    let writes: Vec<_> = writes.collect();
    assert!(writes.is_empty(), "{writes:#?}");
    assert!(text.lines().count() > 50, "the trace has the calls: {text}");
    assert_eq!(host.others(), [".lock", "manifest.json"]);
}

#[test]
fn a_target_that_is_not_there_is_an_error_of_usage() {
    let host = Host::new("");
    let output = host.tqctl(&["deploy", "prod", commit('1').as_str()]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("there are: away, production"), "{}", said(&output));
}

#[test]
fn hooks_run_before_and_after_and_a_failing_first_one_stops_everything() {
    let hooks = "    hooks: {before: [./hook, before], after: [./hook, after]}\n";
    let host = Host::new(hooks);
    let path = host.client.path().join("hook");
    let script = |last: &str| {
        let mut file = fs::File::create(&path).unwrap();
        write!(file, "#!/bin/sh\necho $1 $TQ_TARGET ${{TQ_OUTCOME-none}} >>hooks\n{last}\n")
            .unwrap();
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    script("");
    let first = host.build('1', &both("old"));
    host.deploy("production", &first);
    let told = || fs::read_to_string(host.client.path().join("hooks")).unwrap();
    assert_eq!(told(), "before production none\nafter production deployed\n");
    script("exit 3");
    let second = host.build('2', &both("new"));
    let output = host.tqctl(&["deploy", "production", second.git_commit.as_str()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(told().ends_with("deployed\nbefore production none\n"), "{}", told());
    assert_eq!(host.mode(), "old");
}

#[test]
fn a_signature_travels_and_one_that_was_made_later_too() {
    let host = Host::new("");
    let deployment = host.build('1', &both("signed"));
    let commit = &deployment.git_commit;
    let here = host.client.deploy_dir().signature(commit);
    let there = host.server.deploy_dir().signature(commit);
    host.deploy("away", &deployment);
    assert!(!there.exists());
    for signature in ["later", "by somebody else"] {
        fs::write(&here, signature).unwrap();
        host.deploy("away", &deployment);
        assert_eq!(fs::read_to_string(&there).unwrap(), signature);
    }
    let second = host.build('2', &both("signed"));
    let commit = &second.git_commit;
    let here = host.client.deploy_dir().signature(commit);
    fs::write(here, "at once").unwrap();
    host.deploy("away", &second);
    let there = host.server.deploy_dir().signature(commit);
    assert_eq!(fs::read_to_string(there).unwrap(), "at once");
    host.assert_whole();
}
