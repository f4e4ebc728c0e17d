//! Deployments that come to serve by degrees, by ssh.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::serving;
use crate::deploy::host::said;
use crate::session::{PATIENCE, get, send};
use crate::support::published;
use crate::support::wait::await_until;

#[test]
fn shares_grow_and_are_told_until_it_serves_whole() {
    let (host, _, second) = serving("");
    let commit = second.git_commit.as_str();
    let args = ["-v", "deploy", "away", commit, "--canary", "20%", "--canary-step", "1s"];
    let output = host.tqctl(&args);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(0), "{words}");
    for step in ["5/6 canary 20 %", "5/6 canary 25 %", "5/6 canary 50 %", "6/6 soak"] {
        assert!(words.contains(step), "{step}: {words}");
    }
    assert_eq!((host.mode().as_str(), host.wanted().as_ref()), ("new", Some(&second.git_commit)));
    host.await_free();
}

#[test]
fn one_that_does_worse_is_given_up_and_the_manifest_put_back() {
    let (host, first, second) = serving("");
    let mut deploying = host
        .command()
        .args(["-v", "deploy", "away", second.git_commit.as_str()])
        .args(["--canary", "50%", "--canary-step", "60s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(deploying.stderr.take().unwrap());
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("5/6 canary 50 %")));
    // What the new generation answers fails, and what the old one answers does not: only it crashes.
    await_until("the end of it", PATIENCE, || {
        let _ = send(host.session.addr(), &get("/crash/g2"));
        deploying.try_wait().unwrap().is_some()
    });
    let words = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(deploying.wait().unwrap().code(), Some(7), "{words}");
    assert!(words.contains("index g2 was given up as a canary"), "{words}");
    assert_eq!((host.mode().as_str(), host.wanted()), ("old", Some(first.git_commit)));
    host.await_free();
}

#[test]
fn for_testers_alone_it_is_left_until_somebody_decides() {
    let (host, _, second) = serving("");
    let commit = second.git_commit.as_str();
    let output = host.tqctl(&["--json", "deploy", "away", commit, "--canary", "cookie:tester=1"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let document: Value = published::document("deploy", &output.stdout);
    assert_eq!(document["hosts"][0]["outcome"], "canary");
    assert_eq!(host.mode(), "old");
    let tester = "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b; tester=1\r\nConnection: close\r\n\r\n";
    assert!(send(host.session.addr(), tester).unwrap().body.contains("new"));
    host.await_free();
    assert_eq!(host.session.tqctl(&["rollout", "promote"]).status.code(), Some(0));
    assert_eq!(host.mode(), "new");
}

#[test]
fn options_that_contradict_each_other_are_refused_before_anything_is_done() {
    let (host, first, second) = serving("");
    let commit = second.git_commit.as_str();
    let output = host.tqctl(&["deploy", "away", commit, "--canary", "5%", "--canary", "6%"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(host.wanted(), Some(first.git_commit));
}
