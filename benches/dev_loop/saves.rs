//! From a save to what it is saved for.

use std::time::{Duration, Instant};

use crate::developer::Developer;
use crate::figures::{Figures, Report};
use crate::probe::served;
use crate::project::Project;

pub fn measure(report: &mut Report, rounds: usize) {
    let project = Project::new(&["index"]);
    let mut developer = Developer::begin(&project);
    developer.serves("index");
    let addr = developer.session.addr();
    let (mut above, mut whole) = (Figures::default(), Figures::default());
    for round in 0..rounds {
        let text = format!("round {round} ");
        let began = Instant::now();
        project.says("index", &text);
        let took = served(addr, "/", &text, began);
        let built = developer.hears("built", |_| true);
        let compiling = Duration::from_secs_f64(built["seconds"].as_f64().unwrap());
        above.add(took.saturating_sub(compiling));
        whole.add(took);
        developer.hears("serving", |_| true);
    }
    report.durations("source save to first new answer, above the compiler", &above, Some(150));
    report.durations("source save to first new answer, with the compiler", &whole, None);

    let (mut new, mut told) = (Figures::default(), Figures::default());
    for round in 0..rounds {
        let text = format!("<p>{round}</p>");
        let began = Instant::now();
        project.write("workers/index/private/page.html", &text);
        new.add(served(addr, "/page", &text, began));
        developer.hears("reloaded", |_| true);
        told.add(began.elapsed());
    }
    report.durations("template save to first new answer", &new, Some(120));
    report.durations("template save to pages being told", &told, Some(120));
}
