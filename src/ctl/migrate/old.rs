//! What a project of the old layout consists of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// What the names of programs in `bin/` begin with.
const PROGRAM_PREFIX: &str = "tqworker_";

/// The files that make a folder below `pages/` a page.
const MAINS: [&str; 4] = ["main.go", "main.rs", "src/main.go", "src/main.rs"];

/// The files of the old layout; paths begin at the project's folder.
#[derive(Debug, Default)]
pub(super) struct OldLayout {
    /// The pages, by path.
    pub(super) pages: Vec<Page>,
    /// Files below `pages/` that are part of no page.
    pub(super) stray: Vec<PathBuf>,
    /// The files below `templates/`.
    pub(super) templates: Vec<PathBuf>,
    /// The programs: `bin/tqworker_*`.
    pub(super) programs: Vec<PathBuf>,
    /// The old server's own program, if it is there.
    pub(super) server: Option<PathBuf>,
    /// What is no regular file, and so can be no part of a worker.
    pub(super) unfit: Vec<PathBuf>,
}

/// The source of a worker.
#[derive(Debug)]
pub(super) struct Page {
    /// Its folder, `pages/api/users`.
    pub(super) folder: PathBuf,
    /// Its main file, below its folder. It is what shows that this is a page.
    pub(super) main: &'static str,
    /// Its files below its folder, [`main`](Self::main) last.
    pub(super) files: Vec<PathBuf>,
}

impl Page {
    /// Its folder's parts: `api`, `users`.
    pub(super) fn parts(&self) -> Vec<String> {
        let below = self.folder.strip_prefix("pages").unwrap_or(&self.folder);
        below.iter().map(|part| part.to_string_lossy().into_owned()).collect()
    }

    /// The path of its program in the old layout.
    pub(super) fn program(&self) -> PathBuf {
        Path::new("bin").join(format!("{PROGRAM_PREFIX}{}", self.parts().join("_")))
    }
}

impl OldLayout {
    /// Looks through the project in `root`. Links are not followed.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut old = Self::default();
        let files = old.files(root, Path::new("pages"))?;
        for file in &files {
            let mains = MAINS.into_iter().filter(|main| file.ends_with(main));
            // The longest one: src/main.go is not the main.go of a page called src.
            if let Some(main) = mains.max_by_key(|main| main.len()) {
                let depth = Path::new(main).iter().count();
                let folder: PathBuf = file.ancestors().nth(depth).unwrap_or(file).to_owned();
                // pages/main.go has no name and no route.
                if folder.iter().count() > 1 && !old.pages.iter().any(|it| it.folder == folder) {
                    old.pages.push(Page { folder, main, files: Vec::new() });
                }
            }
        }
        for file in files {
            let owner = old.pages.iter_mut().filter(|page| file.starts_with(&page.folder));
            match owner.max_by_key(|page| page.folder.iter().count()) {
                Some(page) => {
                    let below = file.strip_prefix(&page.folder).unwrap_or(&file).to_owned();
                    page.files.push(below);
                }
                None => old.stray.push(file),
            }
        }
        for page in &mut old.pages {
            let main = page.main;
            page.files.sort_by_key(|file| (file == Path::new(main), file.clone()));
        }
        old.templates = old.files(root, Path::new("templates"))?;
        old.read_programs(root)?;
        Ok(old)
    }

    fn read_programs(&mut self, root: &Path) -> anyhow::Result<()> {
        let bin = Path::new("bin");
        for name in names(&root.join(bin))? {
            let path = bin.join(&name);
            let is_file = root.join(&path).symlink_metadata()?.is_file();
            match name.as_str() {
                "tqserver" if is_file => self.server = Some(path),
                name if !name.starts_with(PROGRAM_PREFIX) => {}
                _ if is_file => self.programs.push(path),
                _ => self.unfit.push(path),
            }
        }
        Ok(())
    }

    /// Whether there is nothing of the old layout.
    pub(super) fn is_nothing(&self) -> bool {
        let files = [&self.stray, &self.templates, &self.programs, &self.unfit];
        self.pages.is_empty() && files.iter().all(|files| files.is_empty())
    }

    /// The files at or below `folder`, sorted; what is neither file nor folder is put aside.
    fn files(&mut self, root: &Path, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        if root.join(folder).is_symlink() {
            self.unfit.push(folder.to_owned());
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        for name in names(&root.join(folder))? {
            let path = folder.join(name);
            let full = root.join(&path);
            let kind = full.symlink_metadata().with_context(|| full.display().to_string())?;
            if kind.is_dir() {
                files.extend(self.files(root, &path)?);
            } else if kind.is_file() {
                files.push(path);
            } else {
                self.unfit.push(path);
            }
        }
        Ok(files)
    }
}

/// The names in a folder, sorted; none where it is absent.
fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| folder.display().to_string())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| folder.display().to_string())?.file_name();
        let name = name.into_string().map_err(|name| {
            let path = folder.join(name);
            anyhow::anyhow!("{}: has a name that is not UTF-8; rename it", path.display())
        })?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}
