//! A target of several hosts, each in a bed of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tqserver::store::deployment::Deployment;

use super::both;
use crate::deploy::host::{Host, said};
use crate::project::commit;
use crate::support::published;

/// Where every host has its project, as a target has one path for all.
const SITE: &str = "/run/site";

/// Hosts `web1` and so on, and where they are deployed from, which is the first one's client.
struct Hosts(Vec<Host>);

impl Hosts {
    /// Hosts of the target `all`, to which the first of two deployments was deployed. `target` has
    /// further lines of the target.
    fn serving(count: usize, target: &str) -> (Self, Deployment, Deployment) {
        let hosts = Self((0..count).map(|_| Host::new("")).collect());
        let mut ssh = String::new();
        for (host, name) in hosts.0.iter().zip(hosts.names()) {
            ssh += &host.sshd.section(&name);
            let down = host.server.path().join("down");
            let env = format!("  default:\n    env: {{DOWN_WHILE: {down:?}}}\n");
            host.server.configure("", &format!("{}{env}", host.session.range_yaml()));
            host.session.bed.run(&["mkdir", SITE]);
            host.session.bed.run(&["mount", "--bind", host.server.path().to_str().unwrap(), SITE]);
        }
        let client = &hosts.0[0].client;
        fs::write(client.path().join("ssh_config"), ssh).unwrap();
        let text = format!(
            "targets:\n  all:\n    hosts: [{}]\n    path: {SITE}\n    socket: {}\n    tqctl: {}\n    \
             ssh_config: ssh_config\n    soak_seconds: 0\n{target}",
            hosts.names().join(", "),
            hosts.0[0].session.control_path().display(),
            Path::new(env!("CARGO_BIN_EXE_tqctl")).display(),
        );
        fs::write(client.path().join("config/deployment.yaml"), text).unwrap();
        let (first, second) = (client.build('1', &both("old")), client.build('2', &both("new")));
        let document = hosts.deploy(&first, 0);
        assert_eq!(outcomes(&document), vec!["switched"; count]);
        (hosts, first, second)
    }

    fn names(&self) -> Vec<String> {
        (1..=self.0.len()).map(|number| format!("web{number}")).collect()
    }

    /// Deploys to all, which must end with `code`, and returns the JSON document.
    #[track_caller]
    fn deploy(&self, deployment: &Deployment, code: i32) -> Value {
        let arguments = ["--json", "deploy", "all", deployment.git_commit.as_str()];
        let output = self.0[0].tqctl(&arguments);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        published::document("deploy", &output.stdout)
    }

    /// Has workers of one host die as they start, or not any more.
    fn set_down(&self, number: usize, down: bool) {
        let path = self.0[number - 1].server.path().join("down");
        if down { fs::write(path, "") } else { fs::remove_file(path) }.unwrap();
    }

    /// All hosts serve `mode`, want just that, and take the next deployment.
    #[track_caller]
    fn assert_all(&self, mode: &str, wanted: &Deployment) {
        for host in &self.0 {
            assert_eq!(
                (host.mode().as_str(), host.wanted()),
                (mode, Some(wanted.git_commit.clone()))
            );
            host.await_free();
            host.assert_whole();
            assert_eq!(host.others(), [".lock", "manifest.json"]);
        }
    }

    /// How many rollouts a host has had.
    fn rollouts(&self, number: usize) -> usize {
        let output = self.0[0].tqctl(&["--json", "history", "all"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["hosts"][format!("web{number}")].as_array().unwrap().len()
    }
}

fn outcomes(document: &Value) -> Vec<&str> {
    let hosts = document["hosts"].as_array().unwrap();
    hosts.iter().map(|host| host["outcome"].as_str().unwrap()).collect()
}

/// The lines of a step that is done, each by its mark and its host.
fn done(text: &str, step: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = text.lines().map(words).filter(|it| it.get(2).is_some_and(|word| word == step));
    lines.map(|words| format!("{} {}", words[0], words[3])).collect()
}

#[test]
fn hosts_switch_one_after_the_other_when_all_have_the_deployment() {
    let (hosts, _, second) = Hosts::serving(2, "    order: rolling\n");
    let output = hosts.0[0].tqctl(&["deploy", "all", second.git_commit.as_str()]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    let order: Vec<_> = text
        .lines()
        .filter(|line| ["3/6", "4/6", "5/6"].iter().any(|step| line.contains(step)))
        .map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "))
        .collect();
    let of_both = ["3/6 verify web1", "3/6 verify web2"];
    assert!(of_both.iter().all(|line| order[..2].contains(&(*line).to_owned())), "{order:?}");
    let one_by_one =
        ["4/6 activate web1", "5/6 rollout web1", "4/6 activate web2", "5/6 rollout web2"];
    assert_eq!(order[2..], one_by_one, "{text}");
    assert!(text.contains("Undo: tqctl rollback all"), "{text}");
    hosts.assert_all("new", &second);
    let output = hosts.0[0].tqctl(&["rollback", "all"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(hosts.0.iter().map(Host::mode).collect::<Vec<_>>(), ["old", "old"]);
}

#[test]
fn one_that_fails_stops_those_behind_it_and_those_before_it_go_back() {
    let (hosts, first, second) = Hosts::serving(3, "    order: rolling\n");
    hosts.set_down(2, true);
    let output = hosts.0[0].tqctl(&["deploy", "all", second.git_commit.as_str()]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert_eq!(done(&text, "rollout"), ["✓ web1", "✗ web2", "✓ web1"], "{text}");
    assert!(text.contains("web2: never switched"), "{text}");
    assert!(text.contains("still down"), "{text}");
    assert!(text.contains("web1: went back, as another host did not switch"), "{text}");
    assert!(text.contains("web3: left alone, as another host did not switch"), "{text}");
    hosts.assert_all("old", &first);
    assert_eq!(hosts.rollouts(3), 1, "the third was left alone");

    hosts.set_down(2, false);
    hosts.deploy(&second, 0);
    hosts.assert_all("new", &second);
}

#[test]
fn of_hosts_that_switch_at_once_all_go_back_when_one_fails() {
    let (hosts, first, second) = Hosts::serving(3, "    order: parallel\n");
    hosts.set_down(2, true);
    let document = hosts.deploy(&second, 7);
    assert_eq!(outcomes(&document), ["switched", "not_switched", "switched"]);
    let back: Vec<_> =
        document["hosts"].as_array().unwrap().iter().map(|it| &it["went_back"]).collect();
    assert_eq!(back, [true, false, true]);
    hosts.assert_all("old", &first);
    hosts.set_down(2, false);
    let document = hosts.deploy(&second, 0);
    assert_eq!(outcomes(&document), ["switched"; 3]);
    hosts.assert_all("new", &second);
}

#[test]
fn a_host_that_cannot_go_back_is_told_and_is_another_exit_code() {
    let (hosts, first, second) = Hosts::serving(2, "    order: rolling\n");
    let mut deploying = hosts.0[0]
        .command()
        .args(["-v", "deploy", "all", second.git_commit.as_str(), "--soak", "2s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(deploying.stderr.take().unwrap()).lines().map_while(Result::ok);
    // While the first one is watched everything breaks: nothing can be started anywhere any more.
    assert!(lines.any(|line| line.contains("6/6 soak web1")));
    hosts.set_down(1, true);
    hosts.set_down(2, true);
    let text = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(deploying.wait().unwrap().code(), Some(8), "{text}");
    assert!(text.contains("web2: never switched"), "{text}");
    assert!(text.contains("web1: could not go back: "), "{text}");
    // What serves is what is wanted, on either.
    let [one, two] = &hosts.0[..] else { unreachable!() };
    assert_eq!((one.mode().as_str(), one.wanted()), ("new", Some(second.git_commit.clone())));
    assert_eq!((two.mode().as_str(), two.wanted()), ("old", Some(first.git_commit.clone())));
    hosts.set_down(1, false);
    hosts.set_down(2, false);
    let output = one.tqctl(&["rollback", "all", first.git_commit.as_str()]);
    assert!(output.status.success(), "{}", said(&output));
    hosts.assert_all("old", &first);
}

#[test]
fn nothing_is_changed_anywhere_while_one_host_is_locked_or_not_to_be_reached() {
    let (hosts, first, second) = Hosts::serving(2, "");
    let now = jiff::Timestamp::now();
    let folder = hosts.0[1].server.deploy_dir();
    let lock = tqserver::store::lock::DeployLock::try_acquire(&folder, "somebody", now).unwrap();
    let output = hosts.0[0].tqctl(&["deploy", "all", second.git_commit.as_str()]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("web2: "), "{}", said(&output));
    drop(lock);
    hosts.assert_all("old", &first);
    assert!(!hosts.0[0].server.deploy_dir().commit_dir(&commit('2')).exists());

    let config = hosts.0[0].client.path().join("ssh_config");
    let ssh = fs::read_to_string(&config).unwrap();
    // A port on which nobody listens.
    let broken = ssh
        .replace(&hosts.0[1].sshd.section("web2"), "Host web2\n  HostName 127.0.0.1\n  Port 1\n");
    fs::write(&config, broken).unwrap();
    let output = hosts.0[0].tqctl(&["deploy", "all", second.git_commit.as_str()]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    hosts.assert_all("old", &first);
}

#[test]
fn a_host_on_which_nothing_served_before_has_nothing_to_go_back_to() {
    let (hosts, first, second) = Hosts::serving(2, "    order: rolling\n");
    let [fresh, other] = &hosts.0[..] else { unreachable!() };
    fs::remove_file(fresh.server.manifest()).unwrap();
    hosts.set_down(2, true);
    let output = fresh.tqctl(&["deploy", "all", second.git_commit.as_str()]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let text = "web1: serves it, as there was nothing to go back to";
    assert!(said(&output).contains(text), "{}", said(&output));
    assert_eq!((fresh.mode().as_str(), fresh.wanted()), ("new", Some(second.git_commit.clone())));
    assert_eq!((other.mode().as_str(), other.wanted()), ("old", Some(first.git_commit)));
}
