//! Only signed deployments run where root asks for that.

use std::fs;
use std::path::PathBuf;

use tqserver::store::deployment::Deployment;

use crate::installation::{DEPLOY, Installation, PATIENCE, PORT};
use crate::support::deployments::{self, Worker, commit, worker};
use crate::support::keys::{Keys, LONG_AGO};
use crate::support::wait::await_until;

/// Whose key is trusted.
const ADA: &str = "Ada <ada@example.org>";
const EVE: &str = "Eve <eve@example.org>";

/// Where root keeps the keys that are.
const KEYRING: &str = "/etc/tqserver/trusted.gpg";

/// A system that asks for signatures, and a folder of keys.
struct Guarded {
    system: Installation,
    keys: Keys,
}

impl Guarded {
    fn new() -> Self {
        let guarded = Self { system: Installation::new(), keys: Keys::new() };
        guarded.keys.make(ADA);
        guarded.keys.make(EVE);
        guarded.trust(&[ADA]);
        let yaml = guarded.system.inside("/etc/tqserver/deployment.yaml");
        fs::write(yaml, "deployment: {prod: {manifest: {require_signature: true}}}\n").unwrap();
        guarded.system.shell("cd /etc/tqserver; chgrp tqserver *; chmod 640 *");
        guarded
    }

    fn trust(&self, names: &[&str]) {
        self.keys.export(names, &self.system.inside(KEYRING));
        self.system.shell(&format!("chgrp tqserver {KEYRING}; chmod 640 {KEYRING}"));
    }

    fn record(&self, digit: char) -> PathBuf {
        self.system.deploy_dir().record(&commit(digit))
    }

    fn signed(&self, digit: char, workers: &[Worker]) -> Deployment {
        let deployment = self.system.deploy(digit, workers);
        self.keys.sign(ADA, &self.record(digit));
        deployment
    }

    #[track_caller]
    fn refuses(&self, digit: char, reason: &str) {
        let error = self.system.start("index", PORT, digit).unwrap_err();
        assert!(error.contains(reason), "{error}");
        assert_eq!(self.system.main_pid("index", PORT), 0);
    }
}

#[test]
fn what_is_not_signed_as_it_must_be_is_not_started() {
    let guarded = Guarded::new();
    let Guarded { system, keys } = &guarded;
    system.deploy('1', &[worker("index", "well")]);
    let record = guarded.record('1');
    guarded.refuses('1', "deployment.json.asc: is not there");
    keys.sign(EVE, &record);
    guarded.refuses('1', "which is not in /etc/tqserver/trusted.gpg");
    keys.make_expired("Old");
    guarded.trust(&[ADA, "Old"]);
    keys.sign_with("Old", &record, &["--faked-system-time", LONG_AGO]);
    guarded.refuses('1', "has expired");
    keys.sign(ADA, &record);

    // Keys are root's to choose.
    system.shell(&format!("chown tqserver {KEYRING}"));
    guarded.refuses('1', "chown root /etc/tqserver/trusted.gpg");
    system.shell(&format!("rm {KEYRING}"));
    guarded.refuses('1', "keyring /etc/tqserver/trusted.gpg: does not exist");
    guarded.trust(&[ADA]);
    system.start("index", PORT + 1, '1').unwrap();

    keys.revoke(ADA);
    guarded.trust(&[ADA]);
    guarded.refuses('1', "was revoked");
}

/// Every file of a deployment, in several places; each time the rest is as it was signed.
#[test]
fn a_byte_altered_after_signing_is_not_started() {
    let guarded = Guarded::new();
    let deployment = guarded.signed('1', &[worker("index", "well").public("a.css", "a{}")]);
    let folder = guarded.system.deploy_dir().commit_dir(&deployment.git_commit);
    let part = &deployment.workers[&"index".parse().unwrap()];
    let files = part.sha256.keys().map(|path| format!("{}/{path}", part.path));
    let files: Vec<_> = files.chain(["deployment.json".to_owned()]).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    for file in files {
        let path = folder.join(&file);
        let sound = fs::read(&path).unwrap();
        let end = sound.len() - 1;
        for at in [0, end / 3, end / 2, end] {
            let mut altered = sound.clone();
            altered[at] ^= 0x20;
            fs::write(&path, &altered).unwrap();
            let wrong = if file == "deployment.json" { "was altered after" } else { "has SHA-256" };
            guarded.refuses('1', wrong);
        }
        fs::write(&path, &sound).unwrap();
    }
    guarded.system.start("index", PORT, '1').unwrap();
}

#[test]
fn an_old_deployment_is_started_only_where_it_ran() {
    let guarded = Guarded::new();
    for (digit, mode) in [('1', "well"), ('2', "better"), ('3', "best")] {
        guarded.signed(digit, &[worker("index", mode)]);
    }
    let start = |port, digit| guarded.system.start("index", port, digit);
    start(PORT + 1, '1').unwrap();
    start(PORT + 3, '3').unwrap();
    guarded.refuses('2', "before 3333333 of ");
    // It is remembered by who may start, wherever that is begun anew.
    guarded.system.shell("systemctl stop tq-launcher.service");
    guarded.refuses('2', "never ran here");
    start(PORT + 2, '1').unwrap();
    // Root may name just that one.
    guarded.system.configure(&format!("  pins: {{index: \"{}\"}}\n", commit('2')));
    start(PORT + 4, '2').unwrap();
    guarded.system.configure("");
    guarded.refuses('2', "never ran here");
    let ledger = guarded.system.shell("stat --format '%U %a' /var/lib/tq-launcher/signed.json");
    assert_eq!(ledger, "root 600");
}

#[test]
fn tqserver_serves_signed_deployments_and_keeps_them() {
    let guarded = Guarded::new();
    let system = &guarded.system;
    let activate = |deployment: &Deployment| {
        deployments::activate(&system.deploy_dir(), deployment);
    };
    let get = |path: &str| {
        let url = format!("http://localhost{path}");
        let output = system.bed.command("curl").args(["-s", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let reload = || {
        let output = system.bed.command("tqctl").args(["reload", "--wait"]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let well = || worker("index", "well").public("a.css", "a{}");
    let first = guarded.signed('1', &[well()]);
    activate(&first);
    system.shell("systemctl start tqserver.socket tqserver-control.socket");
    await_until("the first deployment", PATIENCE, || get("/") == "index well g1 /\n");

    let second = system.deploy('2', &[worker("index", "better")]);
    activate(&second);
    let said = reload();
    assert!(said.contains("is not there, and this host runs signed deployments only"), "{said}");
    assert_eq!(get("/"), "index well g1 /\n");
    guarded.keys.sign(ADA, &guarded.record('2'));
    reload();
    assert_eq!(get("/"), "index better g2 /\n");

    // Public files are what tqserver alone answers for: nothing is started for them.
    let third = guarded.signed('3', &[worker("index", "better").public("a.css", "b{}")]);
    let style = format!("{DEPLOY}/{}/workers/index/public/a.css", commit('3'));
    fs::write(system.inside(&style), "c{}").unwrap();
    activate(&third);
    let said = reload();
    assert!(said.contains("public/a.css: has SHA-256"), "{said}");
    fs::write(system.inside(&style), "b{}").unwrap();
    reload();
    assert_eq!(get("/static/index/a.css"), "b{}");

    activate(&first);
    reload();
    assert_eq!(get("/"), "index well g3 /\n", "going back");
}
