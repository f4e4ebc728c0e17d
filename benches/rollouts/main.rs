//! What requests notice of a switch, and what a deployment of many workers takes: `make bench B=rollouts`
//! runs it, docs/performance.md has what came out.
//!
//! `BENCH=short` takes fewer switches, `WORKERS` is the number of workers of the large deployment.

// A report is the point of it, and the tests' parts that it is made of have more than it uses.
#![allow(clippy::print_stdout, unreachable_pub, dead_code, unused_imports)]

#[path = "../proxy/figures.rs"]
mod figures;
#[path = "../../tests/e2e/project.rs"]
mod project;
#[path = "../../tests/e2e/session.rs"]
mod session;
#[path = "../proxy/short.rs"]
mod short;
#[path = "../../tests/support/mod.rs"]
mod support;

mod many;
mod switches;
mod worker;

use std::env;

use project::Project;
use session::Session;

fn main() {
    // The same program is the worker that tqserver starts.
    if env::var_os("TQ_WORKER").is_some() {
        worker::main();
    }
    let short = short::is_wanted();
    switches::measure(if short { 6 } else { 40 });
    let workers = env::var("WORKERS").map_or(200, |it| it.parse().expect("WORKERS is a number"));
    many::measure(if short { 20 } else { workers });
}

/// A session of a released tqserver, with these lines of server.yaml's `workers:` section in the place of its
/// own ports, if there are any.
fn begin(workers: Option<&str>) -> (Project, Session) {
    let project = Project::new("", "");
    let session = Session::user(project.path(), |ports| {
        project.configure("", workers.unwrap_or(ports));
    });
    let program = env!("CARGO_BIN_EXE_tqserver");
    let root = project.path().display();
    session.edit_unit(
        "tqserver.service",
        &format!(
            "[Service]\nExecStart=\nExecStart={program} --root {root}\nEnvironment=TQ_LOG=info\n"
        ),
    );
    (project, session)
}
