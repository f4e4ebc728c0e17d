//! What it takes to find that nothing has changed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tqserver::watch::contents::Contents;
use tqserver::watch::selection::Selection;

use crate::figures::Figures;

/// Folders that were left alone for this long need not be listed again.
const SETTLED: Duration = Duration::from_secs(4);

struct Everything;

impl Selection for Everything {
    fn enters(&self, _: &Path) -> bool {
        true
    }

    fn wants(&self, _: &Path) -> bool {
        true
    }
}

/// Looks through this many unchanged files, over and over.
pub fn look(files: usize, rounds: usize) -> Figures {
    // A name that begins with a dot would be a hidden one.
    let dir = tempfile::Builder::new().prefix("tqserver-dev-").tempdir().unwrap();
    for file in 0..files {
        let folder = format!("workers/w{}/src/m{}", file / 500, file % 500 / 50);
        let folder = dir.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{file}.rs")), format!("// {file}")).unwrap();
    }
    let mut contents = Contents::read(dir.path(), Arc::new(Everything));
    assert_eq!(contents.files(), files);
    thread::sleep(SETTLED);
    contents.compare_all();
    let look = |_| {
        let began = Instant::now();
        assert!(contents.compare_all().is_empty());
        began.elapsed()
    };
    (0..rounds).map(look).collect()
}
