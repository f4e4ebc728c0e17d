//! Deployments by ssh, as a user who is not the one that tqserver runs as.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tqserver::store::layout::DeployDir;

use crate::deb;
use crate::machine::{DEPLOY, DEPLOYER, Debian, Machine, said};
use crate::support::deployments::{self, Worker, worker};

/// Where it is deployed from, inside.
const PROJECT: &str = "/root/shop";

/// A machine with tqserver and sshd, and a project of root's on it.
fn machine() -> Machine {
    let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/install");
    deb::run(Command::new(install).args(["openssh-client", "openssh-server", "rsync"]));
    let machine = Machine::with_tqserver(Debian::Bookworm);
    machine.shell(&format!(
        "ssh-keygen -A
         systemctl start ssh
         mkdir -p -m 700 /root/.ssh {PROJECT}/config {PROJECT}/deploy
         ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/deploy
         install -d -o {DEPLOYER} -m 700 /home/{DEPLOYER}/.ssh
         install -o {DEPLOYER} -m 600 /root/.ssh/deploy.pub /home/{DEPLOYER}/.ssh/authorized_keys
         cat >{PROJECT}/ssh_config <<END
Host *
  IdentityFile /root/.ssh/deploy
  StrictHostKeyChecking accept-new
END
         : >{PROJECT}/config/server.yaml
         cat >{PROJECT}/config/deployment.yaml <<END
targets:
  production: {{hosts: [localhost], user: {DEPLOYER}, ssh_config: ssh_config, soak_seconds: 1}}
END"
    ));
    machine
}

/// Builds a deployment in the project.
fn build(machine: &Machine, digit: char, workers: &[Worker]) -> String {
    let built = TempDir::new().unwrap();
    let dir = DeployDir::new(built.path().to_owned());
    let deployment = deployments::build(&dir, digit, workers);
    let to = machine.inside(format!("{PROJECT}/deploy"));
    let mut copy = Command::new("cp");
    deb::run(copy.arg("--archive").arg(dir.commit_dir(&deployment.git_commit)).arg(to));
    deployment.git_commit.to_string()
}

fn tqctl(machine: &Machine, args: &[&str]) -> Output {
    let mut command = machine.bed.command("tqctl");
    command.env("HOME", "/root").args(["--root", PROJECT]).args(args).output().unwrap()
}

#[test]
fn a_deployer_deploys_by_ssh_and_goes_back() {
    let machine = machine();
    let first = build(&machine, '1', &[worker("index", "well"), worker("api", "well")]);
    // Without the right to use the control socket, `systemctl reload` tells.
    let output = tqctl(&machine, &["deploy", "production", &first]);
    assert!(output.status.success(), "{}\n{}", said(&output), machine.log());
    for expected in [
        "`systemctl reload` alone says so",
        "not watched, as the control socket may not be used",
        &format!("usermod --append --groups tqserver-admin {DEPLOYER}"),
    ] {
        assert!(said(&output).contains(expected), "{expected}: {}", said(&output));
    }
    let bad = build(&machine, '0', &[worker("index", "exit"), worker("api", "well")]);
    let output = tqctl(&machine, &["deploy", "production", &bad]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    let hint = "Why is told on the host alone: journalctl --unit tqserver";
    assert!(said(&output).contains(hint), "{}", said(&output));
    assert_eq!(machine.get("/").body, "index well g1 /\n");
    let api = machine.unit_of("api");

    machine.shell(&format!("usermod --append --groups tqserver-admin {DEPLOYER}"));
    let second = build(&machine, '2', &[worker("index", "better"), worker("api", "well")]);
    let begun = Instant::now();
    let output = tqctl(&machine, &["deploy", "production", &second, "--soak", "0"]);
    let took = begun.elapsed();
    assert!(output.status.success(), "{}\n{}", said(&output), machine.log());
    assert!(took < Duration::from_secs(5), "{took:?}\n{}", said(&output));
    assert!(said(&output).contains("restart: index    keep: api"), "{}", said(&output));
    assert!(machine.get("/").body.starts_with("index better "));
    assert_eq!(machine.unit_of("api"), api);
    for path in [format!("{DEPLOY}/manifest.json"), format!("{DEPLOY}/{second}")] {
        let owner = machine.shell(&format!("stat --format=%U:%G {path}"));
        assert_eq!(owner, format!("{DEPLOYER}:tqserver-deploy"), "{path}");
    }

    let third = build(&machine, '3', &[worker("index", "exit"), worker("api", "well")]);
    let output = tqctl(&machine, &["deploy", "production", &third]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert!(said(&output).contains("DATABASE_URL is not set"), "{}", said(&output));
    assert!(machine.get("/").body.starts_with("index better "));

    let begun = Instant::now();
    let output = tqctl(&machine, &["rollback", "production"]);
    let took = begun.elapsed();
    assert!(output.status.success(), "{}\n{}", said(&output), machine.log());
    assert!(machine.get("/").body.starts_with("index well "));
    assert!(took < Duration::from_secs(3), "{took:?}\n{}", said(&output));

    // Who it was is known there, and to whoever asks on the machine itself.
    let output = machine.bed.command("tqctl").args(["history"]).output().unwrap();
    let text = said(&output);
    assert!(text.contains("root@") && text.contains(&format!("as {DEPLOYER} from ")));
    let failed = text.lines().filter(|line| line.contains("  failed  ")).count();
    // `systemctl reload` asks twice, see docs/deployments.md.
    assert!((2..=3).contains(&failed), "{text}");
    let names = fs::read_dir(machine.inside(DEPLOY)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.starts_with(".tmp-")));
}
