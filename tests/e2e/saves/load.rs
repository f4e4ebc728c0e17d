//! Saves under load: not one request is lost.

use super::developer::Developer;
use super::project::Project;
use crate::support::load::{Kind, Load};

/// How often a file is saved, in rounds of four.
const SAVES: usize = 300;

#[test]
fn hundreds_of_saves_lose_nothing() {
    let project = Project::new(&["index"]);
    let mut developer = Developer::begin(&project);
    developer.serves("index");
    let clients = [(Kind::KeepAlive, 6), (Kind::NewConnection, 6), (Kind::Post, 4)];
    let load = Load::start(developer.session.addr(), &clients, false);
    for round in 0..SAVES / 4 {
        // A good one, which serves.
        project.says("index", &format!("round {round}"));
        developer.serves("index");
        // Two broken ones, the second while the first may still be built; then back to what serves.
        for text in ["fn main() { nonsense }", "fn main() { more nonsense }"] {
            project.write("workers/index/src/main.rs", text);
            developer.hears("build_failed", |_| true);
        }
        project.says("index", &format!("round {round}"));
        let built = developer.hears("built", |_| true);
        assert_eq!(built["changed"], false, "{built}");
    }
    let tally = load.finish();
    eprintln!("{tally}");
    let last = developer.session.get("/").body;
    assert_eq!(last, format!("round {} g{}\n", SAVES / 4 - 1, SAVES / 4 + 1));
    assert_eq!(developer.session.workers().len(), 1, "the others have ended");
}
