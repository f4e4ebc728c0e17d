//! What a deployment may bring, and in which ways it may be activated.

use std::fs;

use crate::project::{commit, worker};
use crate::rollout::{configured, empty, serving};
use crate::session::PATIENCE;
use crate::support::wait::await_until;

/// The outcome of `tqctl reload --wait`.
fn reload(session: &crate::session::Session) -> String {
    let output = session.tqctl(&["--json", "reload", "--wait"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    verdict["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn a_manifest_with_the_same_content_restarts_nothing() {
    let (project, session) = serving();
    let before = session.workers();
    let bytes = fs::read(project.manifest()).unwrap();
    fs::write(project.manifest(), &bytes).unwrap();
    assert_eq!(reload(&session), "unchanged");
    fs::write(project.deploy_dir().manifest_new(), &bytes).unwrap();
    fs::rename(project.deploy_dir().manifest_new(), project.manifest()).unwrap();
    assert_eq!(reload(&session), "unchanged");
    // Another commit with the same workers, then the first once more.
    let same = [worker("index", "well"), worker("api", "well")];
    let first = tqserver::store::deployment::Deployment::read(&project.deploy_dir(), &commit('1'));
    for deployment in [project.build('2', &same), first.unwrap()] {
        project.activate(&deployment);
        assert_ne!(reload(&session), "failed");
        assert_eq!(session.status()["actual"], deployment.git_commit.as_str());
    }
    assert_eq!(session.workers(), before);
}

#[test]
fn a_manifest_that_vanishes_changes_nothing() {
    let (project, session) = serving();
    let before = session.workers();
    fs::remove_file(project.manifest()).unwrap();
    let status = session.failing_reload();
    assert!(status.contains("no deployment yet"), "{status}");
    session.systemctl(&["restart", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    assert_eq!(session.workers(), before);
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    session.await_body("/", "index better g2 /\n");
}

#[test]
fn of_many_manifests_in_a_row_the_last_wins() {
    let (project, session) = serving();
    let modes = ["a", "b", "c", "d", "e"];
    let deployments: Vec<_> = ('2'..)
        .zip(modes)
        .map(|(digit, mode)| project.build(digit, &[worker("index", mode), worker("api", mode)]))
        .collect();
    for deployment in deployments.iter().cycle().take(20) {
        project.activate(deployment);
    }
    await_until("the last", PATIENCE, || session.get("/").body.starts_with("index e "));
    assert!(session.get("/api").body.starts_with("api e "));
    session.await_workers(2);
    let status = session.status();
    assert_eq!(
        (&status["actual"], &status["state"]),
        (&commit('6').as_str().into(), &"serving".into())
    );
    assert_eq!(status["failed"], serde_json::Value::Null, "{status:#}");
}

#[test]
fn workers_come_go_and_move() {
    let (project, session) = serving();
    let before = session.workers();
    project.deploy('2', &[worker("index", "well")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/api/x").body, "index well g1 /api/x\n", "the next best route");
    session.await_workers(1);

    project.deploy('3', &[worker("index", "well"), worker("api", "well").route("/v2/api")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/v2/api/x").body, "api well g2 /x\n");
    assert_eq!(session.get("/api/x").body, "index well g1 /api/x\n");

    project.deploy('4', &[worker("index", "well"), worker("api", "well").route("/v3")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/v3").body, "api well g3 /\n");
    assert_eq!(session.get("/v2/api").body, "index well g1 /v2/api\n");
    session.await_workers(2);
    let index = |workers: std::collections::BTreeMap<String, u32>| workers.into_iter().next_back();
    assert_eq!(index(session.workers()), index(before), "index was not touched");
}

#[test]
fn routes_may_be_swapped() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "well").route("/api"), worker("api", "well").route("/")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "api well g2 /\n");
    assert_eq!(session.get("/api").body, "index well g2 /\n");
}

#[test]
fn nothing_switches_before_all_are_ready() {
    let (project, session) = serving();
    project.deploy('2', &[worker("index", "better"), worker("api", "slow")]);
    let mut waited = false;
    await_until("the switch", PATIENCE, || {
        let (index, api) = (session.get("/").body, session.get("/api").body);
        let switched = api == "api slow g2 /\n";
        // Asked in this order, a new index means that the table with the new api is there too.
        assert!(
            switched || (index == "index well g1 /\n" && api == "api well g1 /\n"),
            "{index}{api}"
        );
        waited |= session.workers().len() == 4;
        switched && index == "index better g2 /\n"
    });
    assert!(waited, "all four ran at once");
    session.await_workers(2);
}

#[test]
fn what_failed_is_tried_again_when_it_is_activated_again() {
    let (project, session) = serving();
    let down = project.path().join("down");
    let env = format!("  default:\n    env: {{DOWN_WHILE: {down:?}}}\n");
    project.configure("", &(session.range_yaml() + &env));
    session.systemctl(&["reload", "tqserver.service"]);
    fs::write(&down, "").unwrap();
    let deployment = project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    await_until("the failure", PATIENCE, || !session.status()["failed"].is_null());
    assert_eq!(session.get("/").body, "index well g2 /\n");
    fs::remove_file(&down).unwrap();
    project.activate(&deployment);
    session.await_body("/", "index better g4 /\n");
    assert!(session.status()["failed"].is_null());
}

#[test]
fn a_return_to_what_serves_ends_a_rollout_that_hangs() {
    let (project, session) = empty();
    let first = project.deploy('1', &[worker("index", "well")]);
    session.get("/");
    let before = session.workers();
    project.deploy('2', &[worker("index", "hang")]);
    session.await_workers(2);
    project.activate(&first);
    session.await_workers(1);
    assert_eq!(session.workers(), before);
    assert_eq!(session.status()["state"], "serving");
}

#[test]
fn of_many_that_start_the_others_wait() {
    let (project, session) = configured("", "  parallel_starts: 1\n");
    let all = |mode| ["index", "api", "shop"].map(|name| worker(name, mode));
    project.deploy('1', &all("well"));
    assert_eq!(session.get("/shop").body, "shop well g1 /\n");
    let asked = || session.log().matches("starting g2: ").count();
    project.deploy('2', &all("hang"));
    await_until("a start", PATIENCE, || asked() > 0);
    assert_eq!((session.get("/shop").status, asked()), (200, 1), "{}", session.log());

    project.configure("", &(session.range_yaml() + "  parallel_starts: 2\n"));
    session.signal("HUP");
    await_until("another one", PATIENCE, || asked() > 1);
    assert_eq!((session.get("/shop").status, asked()), (200, 2));

    project.deploy('3', &all("better"));
    session.await_body("/shop", "shop better g3 /\n");
    session.await_workers(3);
    assert_eq!(asked(), 2, "of the third there was nothing to end");
}

/// `manifest.json.md5`, by somebody who writes both by hand.
#[test]
fn a_manifest_that_does_not_have_its_sum_changes_nothing() {
    let (project, session) = serving();
    let (deploy, before) = (project.deploy_dir(), session.workers());
    let sum = |name: &str| {
        let script = "cd \"$1\" && md5sum manifest.json >\"$2\"";
        let sh = ["sh", "-euc", script, "sh", deploy.path().to_str().unwrap(), name];
        assert!(std::process::Command::new(sh[0]).args(&sh[1..]).status().unwrap().success());
    };
    sum("manifest.json.md5");
    assert_eq!(reload(&session), "unchanged");
    // Activation keeps the sum true.
    project.deploy('2', &[worker("index", "better"), worker("api", "well")]);
    session.await_body("/", "index better g2 /\n");

    let third = project.build('3', &[worker("index", "best"), worker("api", "well")]);
    let old = fs::read(deploy.manifest_sum()).unwrap();
    project.activate(&third);
    session.await_body("/", "index best g3 /\n");
    fs::write(deploy.manifest_sum(), old).unwrap();
    let status = session.failing_reload();
    assert!(status.contains("manifest.json: has MD5 ") && status.contains("md5sum"), "{status}");
    assert_eq!(session.get("/").body, "index best g3 /\n");

    // One that was written over in the middle, though it is still a manifest.
    let text = fs::read_to_string(deploy.manifest()).unwrap();
    sum("manifest.json.md5");
    fs::write(deploy.manifest(), text.replace("\"main\"", "\"evil\"")).unwrap();
    let status = session.failing_reload();
    assert!(status.contains("manifest.json: has MD5 "), "{status}");
    fs::write(deploy.manifest(), text).unwrap();
    assert_eq!(reload(&session), "unchanged");
    assert_ne!(session.workers(), before, "deployments went on meanwhile");
}

/// A sum that arrives after its manifest, as rsync brings them: the manifest is taken without a
/// reload when the sum is there.
#[test]
fn a_sum_that_arrives_late_has_the_manifest_looked_at_again() {
    let (project, session) = serving();
    let deploy = project.deploy_dir();
    let next = project.build('2', &[worker("index", "better"), worker("api", "well")]);
    fs::write(deploy.manifest_sum(), format!("{}  manifest.json\n", "0".repeat(32))).unwrap();
    project.activate(&next);
    let true_sum = fs::read(deploy.manifest_sum()).unwrap();
    session.await_body("/", "index better g2 /\n");
    let other = project.build('3', &[worker("index", "best"), worker("api", "well")]);
    let served = fs::read(deploy.manifest()).unwrap();
    project.activate(&other);
    session.await_body("/", "index best g3 /\n");

    fs::write(deploy.manifest_new(), served).unwrap();
    fs::rename(deploy.manifest_new(), deploy.manifest()).unwrap();
    await_until("the refusal", PATIENCE, || session.status().to_string().contains("has MD5 "));
    assert_eq!(session.get("/").body, "index best g3 /\n");
    fs::write(deploy.manifest_sum(), true_sum).unwrap();
    session.await_body("/", "index better g4 /\n");
}

/// Under a manager of one's own tqserver starts what it has verified; so it asks for the signature of
/// what it goes back to as well.
#[test]
fn without_a_launcher_only_signed_deployments_are_loaded() {
    let (project, session) = configured("", "  hold_seconds: 1\n");
    project.deploy('1', &[worker("index", "well")]);
    session.await_body("/", "index well g1 /\n");
    let keys = crate::support::keys::Keys::new();
    keys.make("Ada");
    keys.export(&["Ada"], &project.path().join("config/trusted.gpg"));
    let yaml = "deployment: {prod: {manifest: {require_signature: true}}}\n";
    fs::write(project.path().join("config/deployment.yaml"), yaml).unwrap();
    let status = session.failing_reload();
    assert!(status.contains("deployment.json.asc: is not there"), "{status}");
    // What runs runs on, also over a restart.
    session.systemctl(&["restart", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index well g1 /\n");
    // What does not is not started.
    session.systemctl(&["stop", "tqserver.service"]);
    session.await_workers(0);
    assert_eq!(session.get("/").status, 503);
    session.await_workers(0);
    keys.sign("Ada", &project.deploy_dir().record(&commit('1')));
    assert_eq!(reload(&session), "switched");
    assert_eq!(session.get("/").body, "index well g2 /\n");
    // So it does of what workers are pinned to.
    project.build('2', &[worker("index", "better")]);
    let pin = format!("{}  pins: {{index: \"{}\"}}\n", session.range_yaml(), commit('2'));
    project.configure("", &pin);
    let status = session.failing_reload();
    assert!(status.contains("index cannot come from there"), "{status}");
    assert!(status.contains("deployment.json.asc: is not there"), "{status}");
    assert_eq!(session.get("/").body, "index well g2 /\n");
    keys.sign("Ada", &project.deploy_dir().record(&commit('2')));
    assert_eq!(reload(&session), "switched");
    assert_eq!(session.get("/").body, "index better g3 /\n");
}
