//! The actor with a systemd that never answers.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Actor, Parts};
use crate::config::{self, Sources};
use crate::control_group::ControlGroup;
use crate::ids::UnitName;
use crate::launcher::output::OutputDir;
use crate::launcher::{LaunchError, Launcher, LiveUnit, Output, StartRequest, UnitEvent};
use crate::proxy::table::PublishedTable;
use crate::rollout::last_lines::LastLines;
use crate::rollout::load::Loader;
use crate::rollout::state::StateFile;
use crate::sd::journal::Manager;
use crate::store::verify::Scope;

struct Mute;

impl Launcher for Mute {
    async fn start(&self, _: &StartRequest) -> Result<(), LaunchError> {
        std::future::pending().await
    }

    async fn stop(&self, _: &UnitName) -> Result<(), LaunchError> {
        std::future::pending().await
    }

    async fn list(&self) -> Result<Vec<LiveUnit>, LaunchError> {
        std::future::pending().await
    }

    async fn control_group(&self, _: &UnitName) -> Option<ControlGroup> {
        None
    }

    fn events(&self) -> mpsc::Receiver<UnitEvent> {
        mpsc::channel(1).1
    }
}

#[tokio::test]
async fn a_mute_systemd_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("config")).unwrap();
    std::fs::write(dir.path().join("config/server.yaml"), "server: {}\n").unwrap();
    let sources = Sources::of_project(dir.path());
    let settings = config::load(&sources).unwrap().settings;
    let output = Output::Files(OutputDir::new(dir.path().join("output")));
    let parts = Parts {
        launcher: Arc::new(Mute),
        table: PublishedTable::new(),
        loader: Loader::new(sources, output.clone(), Scope::Whole, dir.path()),
        state: StateFile::in_dir(dir.path()),
        last_lines: LastLines::new(output, Manager::User),
        apply: Box::new(|_, _| ()),
        predecessor: false,
    };
    let (actor, handle, inbox) = Actor::new(parts, &settings);
    let running = tokio::spawn(actor.run(inbox));
    let verdict = handle.reload();
    handle.shut_down().await;
    running.await.unwrap();
    assert!(verdict.await.reason.is_some(), "who waited is told");
}
