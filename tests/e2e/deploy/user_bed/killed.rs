//! Deployments that are killed or interrupted, at each of their steps.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use tqserver::store::deployment::Deployment;

use super::serving;
use crate::deploy::host::Host;
use crate::session::PATIENCE;
use crate::support::wait::await_until;

/// The steps as `-v` tells of them: when each begins, and when it is done.
const STEPS: [&str; 6] =
    ["1/6 lock", "2/6 upload", "3/6 verify", "4/6 activate", "5/6 rollout", "6/6 soak"];

/// Deploys `second` to a target, calls `kill` when a step begins (`done`: when it is done), and returns
/// the exit code, if there was one.
fn kill_at(
    host: &Host,
    (target, second): (&str, &Deployment),
    (step, done): (&str, bool),
    kill: impl Fn(),
) -> Option<i32> {
    let mut deploying = host
        .in_group_of_its_own()
        .args(["-v", "deploy", target, second.git_commit.as_str(), "--soak", "300ms"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(deploying.stderr.take().unwrap());
    let mut seen = Vec::new();
    for line in stderr.lines().map_while(Result::ok) {
        let is_it = line.contains(step) && line.contains('✓') == done;
        seen.push(line);
        if is_it {
            kill();
        }
    }
    assert!(seen.iter().any(|line| line.contains(step)), "{seen:#?}");
    deploying.wait().unwrap().code()
}

/// Sends a signal to the processes of the bed, in which nobody else's are seen, whose command line
/// matches; or to their groups.
pub fn signal(host: &Host, signal: &str, groups: bool, pattern: &str) {
    let output = host.session.bed.command("pgrep").args(["-fx", pattern]).output();
    for pid in String::from_utf8(output.unwrap().stdout).unwrap().split_whitespace() {
        let whom = if groups { format!("-{pid}") } else { pid.to_owned() };
        let _ = host.session.bed.command("kill").args([signal, "--", &whom]).output();
    }
}

/// tqctl, as it was started here.
fn here() -> String {
    format!("{} --root .*", env!("CARGO_BIN_EXE_tqctl"))
}

/// Whatever was killed: the host is on one deployment, free, and takes the next.
#[track_caller]
pub fn stands(host: &Host, first: &Deployment, second: &Deployment) {
    host.await_free();
    let wanted = host.wanted().unwrap();
    let expected = if wanted == first.git_commit { "old" } else { "new" };
    assert!([&first.git_commit, &second.git_commit].contains(&&wanted));
    await_until("what is wanted serves", PATIENCE, || host.is_in(expected));
    host.assert_whole();
    // Nothing is left: no session, no transfer, and no worker beside the two.
    await_until("no session is left", PATIENCE, || {
        let left = ["pgrep", "-f", "host-session|rsync --server"];
        !host.session.bed.command(left[0]).args(&left[1..]).output().unwrap().status.success()
    });
    host.session.await_workers(2);
    host.deploy("away", first);
    assert_eq!(host.mode(), "old");
    assert_eq!(host.others(), [".lock", "manifest.json"]);
    let folder = host.server.deploy_dir().commit_dir(&second.git_commit);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn killed_at_any_step_tqctl_leaves_the_old_or_the_new_deployment() {
    let (host, first, second) = serving("");
    for step in STEPS {
        for done in [false, true] {
            let kill = || signal(&host, "-KILL", false, &here());
            let code = kill_at(&host, ("away", &second), (step, done), kill);
            assert!(code.is_none_or(|code| done && step == STEPS[5] && code == 0), "{code:?}");
            stands(&host, &first, &second);
        }
    }
}

#[test]
fn a_session_killed_at_any_step_leaves_the_old_or_the_new_deployment() {
    let (host, first, second) = serving("");
    for step in STEPS {
        let pattern = format!("{} host-session", env!("CARGO_BIN_EXE_tqctl"));
        let kill = || signal(&host, "-KILL", false, &pattern);
        let code = kill_at(&host, ("away", &second), (step, false), kill);
        assert!([Some(1), Some(4)].contains(&code), "{step}: {code:?}");
        stands(&host, &first, &second);
    }
}

#[test]
fn an_ssh_killed_at_any_step_is_a_lost_connection_and_the_host_goes_on_by_itself() {
    let (host, first, second) = serving("");
    for step in STEPS {
        let kill = || signal(&host, "-KILL", false, "ssh .* host-session");
        let code = kill_at(&host, ("away", &second), (step, false), kill);
        assert!([Some(1), Some(4)].contains(&code), "{step}: {code:?}");
        stands(&host, &first, &second);
    }
}

#[test]
fn interrupted_at_any_step_tqctl_says_so_and_leaves_the_old_or_the_new_deployment() {
    let (host, first, second) = serving("");
    for target in ["away", "production"] {
        for step in STEPS {
            // As a terminal does: ssh and rsync are interrupted as well.
            let interrupt = || signal(&host, "-INT", true, &here());
            let code = kill_at(&host, (target, &second), (step, false), interrupt);
            assert_eq!(code, Some(130), "{target} {step}");
            stands(&host, &first, &second);
        }
    }
}
