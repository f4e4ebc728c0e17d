//! How long a developer waits: `make bench` runs it, docs/performance.md has the figures.

#![allow(clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../../tests/e2e/saves/developer.rs"]
mod developer;
#[path = "../../tests/e2e/saves/project.rs"]
mod project;
#[path = "../../tests/e2e/session.rs"]
mod session;
#[path = "../../tests/support/mod.rs"]
mod support;

mod figures;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use developer::Developer;
use figures::Figures;
use project::Project;
use tqserver::watch::contents::Contents;
use tqserver::watch::selection::Selection;

fn main() {
    change_check();
    save_to_served();
    template_to_told();
}

fn save_to_served() {
    let project = Project::new(&["index"]);
    let mut developer = Developer::begin(&project);
    developer.serves("index");
    let (mut above, mut whole, mut told) =
        (Figures::default(), Figures::default(), Figures::default());
    for round in 0..30 {
        let text = format!("round {round}");
        let began = Instant::now();
        project.says("index", &text);
        let mut served = None;
        while served.is_none() {
            if let Ok(answer) = session::send(developer.session.addr(), &session::get("/"))
                && answer.body.starts_with(&text)
            {
                served = Some(began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let built = developer.hears("built", |_| true);
        let event = developer.hears("serving", |_| true);
        let compiling = Duration::from_secs_f64(built["seconds"].as_f64().unwrap());
        let served = served.unwrap();
        above.add(served.saturating_sub(compiling));
        told.add(Duration::from_millis(event["overhead_ms"].as_u64().unwrap()));
        whole.add(served);
    }
    println!("save -> first answer, above the compiler   {above}");
    println!("  the same, as the session tells it        {told}");
    println!("save -> first answer, with the compiler    {whole}");
}

fn template_to_told() {
    let project = Project::new(&["index"]);
    let mut developer = Developer::begin(&project);
    developer.serves("index");
    let mut told = Figures::default();
    for round in 0..30 {
        let began = Instant::now();
        project.write("workers/index/private/page.html", &format!("<p>{round}</p>"));
        developer.hears("reloaded", |_| true);
        told.add(began.elapsed());
    }
    println!("template save -> browsers told             {told}");
}

struct Everything;

impl Selection for Everything {
    fn enters(&self, _: &Path) -> bool {
        true
    }
    fn wants(&self, _: &Path) -> bool {
        true
    }
}

fn change_check() {
    let dir = tempfile::tempdir().unwrap();
    for file in 0..5000 {
        let folder = dir.path().join(format!("workers/w{}/src/m{}", file / 500, file % 500 / 50));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("f{file}.rs")), format!("// {file}")).unwrap();
    }
    let mut contents = Contents::read(dir.path(), Arc::new(Everything));
    assert_eq!(contents.files(), 5000);
    // Only what was left alone for a while need not be listed again.
    std::thread::sleep(Duration::from_secs(4));
    contents.compare_all();
    let mut figures = Figures::default();
    for _ in 0..50 {
        let began = Instant::now();
        assert!(contents.compare_all().is_empty());
        figures.add(began.elapsed());
    }
    println!("change check over 5000 unchanged files     {figures}");
}
