//! Workers that are kept at a deployment of their own, and deployments that are kept for them.

use crate::project::{commit, worker};
use crate::rollout::serving;

#[test]
fn a_pinned_worker_comes_from_its_deployment_until_it_is_released() {
    let (project, session) = serving();
    let configure = |pins: &str| project.configure("", &format!("{}{pins}", session.range_yaml()));
    let pinned = |target: &str, digit| format!("  pins: {{{target}: \"{}\"}}\n", commit(digit));
    let index_pid = || session.workers().into_iter().find(|(unit, _)| unit.contains("index"));

    // What it is pinned to serves, and goes on while all else is deployed anew.
    configure(&pinned("api", '1'));
    session.systemctl(&["reload", "tqserver.service"]);
    let before = session.workers();
    let both = |mode| [worker("index", mode), worker("api", mode).public("a.css", "of two")];
    project.deploy('2', &both("better"));
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index better g2 /\n");
    assert_eq!(session.get("/api").body, "api well g1 /\n");
    assert_eq!(session.get("/static/api/a.css").status, 404, "that of deployment 1");
    let status = session.status();
    assert_eq!(status["state"], "serving");
    assert_eq!(status["workers"][0]["pinned"], commit('1').as_str(), "{status:#}");
    assert_eq!(status["workers"][0]["commit"], commit('1').as_str());
    assert_eq!(status["workers"][1].get("pinned"), None);
    let text = String::from_utf8(session.tqctl(&["status"]).stdout).unwrap();
    assert!(text.contains("api at /api is pinned to 1111111"), "{text}");
    session.await_workers(2);
    let api = |workers: &std::collections::BTreeMap<String, u32>| {
        workers.iter().find(|(unit, _)| unit.contains("@api-")).map(|(_, pid)| *pid)
    };
    assert_eq!(api(&before), api(&session.workers()), "api was not touched");

    // A pin that cannot be followed is refused with its place; what serves serves on.
    let index = index_pid();
    for (pins, said) in [
        (pinned("api", '9'), "deployment.json: does not exist"),
        (pinned("shop", '1'), "deployment 1111111 has no worker shop; it has api at /api"),
        (pinned("\"/shop\"", '1'), "has no worker at /shop"),
    ] {
        configure(&pins);
        let status = session.failing_reload();
        assert!(
            status.contains(said) && status.contains("config/server.yaml:"),
            "{said}\n{status}"
        );
        assert_eq!(session.get("/api").body, "api well g1 /\n");
    }
    assert_eq!(index_pid(), index);

    // By its route, and released.
    configure(&pinned("\"/api\"", '1'));
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/api").body, "api well g1 /\n");
    configure("");
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/api").body, "api better g2 /\n");
    assert_eq!(session.get("/static/api/a.css").body, "of two");
    assert_eq!(index_pid(), index, "index had nothing to do with it");
}

#[test]
fn what_runs_or_is_pinned_outlives_a_pruning() {
    let (project, session) = serving();
    let retention = "deployment: {prod: {retention: {keep: 0, days: 0}}}\n";
    std::fs::write(project.path().join("config/deployment.yaml"), retention).unwrap();
    let pins = format!("  pins: {{api: \"{}\"}}\n", commit('2'));
    project.configure("", &format!("{}{pins}", session.range_yaml()));
    // Its api is that of deployment 1, which runs on: only the pin needs deployment 2.
    project.build('2', &[worker("index", "better"), worker("api", "well")]);
    project.build('3', &[worker("index", "well")]);
    project.deploy('4', &[worker("index", "better"), worker("api", "better")]);
    session.systemctl(&["reload", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index better g2 /\n");
    assert_eq!(session.get("/api").body, "api well g1 /\n");
    // A deployment that fails is wanted, and what served before it is needed as well.
    project.deploy('5', &[worker("index", "exit"), worker("api", "well")]);
    session.failing_reload();

    let output = session.tqctl(&["prune"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let there = project.deploy_dir().deployments().unwrap();
    assert_eq!(there, [commit('1'), commit('2'), commit('4'), commit('5')]);
    session.systemctl(&["restart", "tqserver.service"]);
    assert_eq!(session.get("/").body, "index better g2 /\n");
    assert_eq!(session.get("/api").body, "api well g1 /\n");
    assert_eq!(session.status()["workers"][0]["pinned"], commit('2').as_str());
}
