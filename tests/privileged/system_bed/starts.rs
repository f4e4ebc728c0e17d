//! What a unit runs from.

use std::fs;

use crate::installation::{COPIES, DEPLOY, Installation, PATIENCE, PORT};
use crate::support::deployments::{commit, worker};
use crate::support::wait::await_until;

#[test]
fn a_worker_sees_its_copy_whatever_becomes_of_the_deployment() {
    let system = Installation::new();
    system.deploy('1', &[worker("index", "well")]);
    system.deploy('2', &[worker("index", "well"), worker("api", "well")]);
    system.start("index", PORT, '1').unwrap();
    let state = |name: &str, port: u16| {
        system.show(&format!("tq-worker@{name}-{port}.service"), "ActiveState")
    };
    await_until("the worker", PATIENCE, || state("index", PORT) == "active");

    let base = format!("{DEPLOY}/{}/workers/index", commit('1'));
    let mounts = system.show("tq-worker@index-9000.service", "BindReadOnlyPaths");
    assert!(mounts.starts_with(COPIES) && mounts.contains(&base), "{mounts}");
    fs::write(system.inside(&format!("{base}/private/mode")), "evil").unwrap();
    let pid = system.main_pid("index", PORT);
    let seen = system.shell(&format!("nsenter --target {pid} --mount cat {base}/private/mode"));
    assert_eq!(seen, "well");
    let write = format!("nsenter --target {pid} --mount sh -c 'echo evil >{base}/private/mode'");
    assert!(!system.bed.command("sh").args(["-c", &write]).status().unwrap().success());

    // Its part of the next deployment differs in the commit it was built from, so the copy does.
    system.start("index", PORT + 1, '2').unwrap();
    assert_eq!(system.copies().len(), 2);
    system.start("index", PORT + 2, '2').unwrap();
    assert_eq!(system.copies().len(), 2, "the second is used twice");

    system.stop("index", PORT).unwrap();
    await_until("its end", PATIENCE, || state("index", PORT) == "inactive");
    fs::create_dir(system.inside(&format!("{COPIES}/.tmp-7"))).unwrap();
    system.start("api", PORT + 3, '2').unwrap();
    await_until("cleaning", PATIENCE, || {
        let copies = system.copies();
        copies.len() == 2 && copies.iter().any(|copy| copy.starts_with("api/"))
    });
    assert!(!system.inside(&format!("{COPIES}/.tmp-7")).exists());
    for port in [PORT + 1, PORT + 2] {
        await_until("the others", PATIENCE, || state("index", port) == "active");
    }
}
