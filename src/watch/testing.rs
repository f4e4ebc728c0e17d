//! A folder for tests of what watches it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::selection::Selection;

/// A folder in which all is selected but `bin`.
pub(super) struct Project(TempDir);

impl Project {
    pub(super) fn new() -> Self {
        // A name that begins with a dot would be a hidden one.
        Self(tempfile::Builder::new().prefix("watched-").tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Everything but folders called `bin`.
pub(super) fn everything() -> Arc<dyn Selection> {
    struct Everything;
    impl Selection for Everything {
        fn enters(&self, folder: &Path) -> bool {
            !folder.ends_with("bin")
        }
        fn wants(&self, _: &Path) -> bool {
            true
        }
    }
    Arc::new(Everything)
}
