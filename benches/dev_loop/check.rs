//! A look at thousands of files that have not changed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tqserver::watch::contents::Contents;
use tqserver::watch::selection::Selection;

use crate::figures::{Figures, Report};

const FILES: usize = 5000;

struct Everything;

impl Selection for Everything {
    fn enters(&self, _: &Path) -> bool {
        true
    }
    fn wants(&self, _: &Path) -> bool {
        true
    }
}

pub fn measure(report: &mut Report, rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    for file in 0..FILES {
        let folder = dir.path().join(format!("workers/w{}/src/m{}", file / 500, file % 500 / 50));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{file}.rs")), format!("// {file}")).unwrap();
    }
    let mut contents = Contents::read(dir.path(), Arc::new(Everything));
    assert_eq!(contents.files(), FILES);
    // Only what was left alone for a while need not be listed again.
    thread::sleep(Duration::from_secs(4));
    contents.compare_all();
    let mut figures = Figures::default();
    for _ in 0..rounds {
        let began = Instant::now();
        assert!(contents.compare_all().is_empty());
        figures.add(began.elapsed());
    }
    report.durations("change check over 5,000 unchanged files", &figures, Some(10));
}
