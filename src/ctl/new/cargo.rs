//! What cargo makes of a folder: a member of the workspace above it, or none of its business.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use glob::{MatchOptions, Pattern};
use toml_edit::{Array, DocumentMut, Item, Value};

use crate::store::atomic;

/// The manifest of a package or a workspace.
struct Manifest {
    path: PathBuf,
    document: DocumentMut,
}

impl Manifest {
    /// The one at `path`, if there is one.
    fn read(path: PathBuf) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| path.display().to_string())?,
        };
        let document = text.parse().with_context(|| path.display().to_string())?;
        Ok(Some(Self { path, document }))
    }

    /// The name of its package.
    fn package(&self) -> Option<&str> {
        self.document.get("package")?.get("name")?.as_str()
    }

    fn workspace(&self) -> Option<&Item> {
        self.document.get("workspace")
    }

    /// A list of paths of its `[workspace]`.
    fn paths(&self, key: &str) -> impl Iterator<Item = &str> {
        let list = self.workspace().and_then(|it| it.get(key)).and_then(Item::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(|path| {
            let path = path.strip_prefix("./").unwrap_or(path);
            path.strip_suffix('/').unwrap_or(path)
        })
    }
}

/// Whether `folder` is the library for workers in Rust.
pub(super) fn is_tq_worker(folder: &Path) -> anyhow::Result<bool> {
    let manifest = Manifest::read(folder.join("Cargo.toml"))?;
    Ok(manifest.as_ref().and_then(Manifest::package) == Some("tq-worker"))
}

/// A folder that is to be, and the cargo workspace above it.
pub(super) struct Membership {
    manifest: Manifest,
    /// The folder below the workspace's.
    below: String,
    /// Whether its `members` have the folder, and its `exclude` has not.
    pub(super) takes: bool,
}

impl Membership {
    /// That of `folder`; `None` where there is no workspace above it.
    ///
    /// # Errors
    /// A manifest above it that cannot be read.
    pub(super) fn of(folder: &Path) -> anyhow::Result<Option<Self>> {
        for above in folder.ancestors().skip(1) {
            let Some(manifest) = Manifest::read(above.join("Cargo.toml"))? else { continue };
            if manifest.workspace().is_none() {
                continue;
            }
            let below = folder.strip_prefix(above).unwrap_or(folder);
            let takes = takes(&manifest, below);
            let below =
                below.to_str().with_context(|| format!("{}: not UTF-8", below.display()))?;
            return Ok(Some(Self { below: below.to_owned(), takes, manifest }));
        }
        Ok(None)
    }

    /// The manifest of the workspace's package that is called `name` already: cargo refuses two.
    pub(super) fn package_named(&self, name: &str) -> Option<PathBuf> {
        let root = self.manifest.path.parent()?;
        let escaped = Pattern::escape(&root.to_string_lossy());
        let members = self
            .manifest
            .paths("members")
            .filter_map(|member| glob::glob(&format!("{escaped}/{member}/Cargo.toml")).ok());
        // What is wrong with another manifest is cargo's to tell.
        let named = |path: &PathBuf| {
            Manifest::read(path.clone()).ok().flatten().is_some_and(|it| it.package() == Some(name))
        };
        members.flatten().flatten().chain([self.manifest.path.clone()]).find(named)
    }

    /// The workspace's manifest.
    pub(super) fn manifest(&self) -> &Path {
        &self.manifest.path
    }

    /// Adds the folder to the workspace's `exclude`, and leaves all else as it is.
    ///
    /// # Errors
    /// When `exclude` is no list, or the manifest cannot be written.
    pub(super) fn exclude(&self) -> anyhow::Result<()> {
        let path = &self.manifest.path;
        let mut document = self.manifest.document.clone();
        let list = document["workspace"]["exclude"].or_insert(Item::from(Array::new()));
        let list = list
            .as_array_mut()
            .ok_or_else(|| anyhow!("{}: `workspace.exclude` is no list", path.display()))?;
        let mut entry = Value::from(self.below.as_str());
        // In a list of a line each, it gets one, too.
        match list.iter().last().and_then(|last| last.decor().prefix()).cloned() {
            Some(prefix) => {
                entry.decor_mut().set_prefix(prefix);
                list.push_formatted(entry);
            }
            None => list.push(entry),
        }
        let mode = path.metadata().map(|it| it.permissions().mode() & 0o7777);
        let write = |mode| atomic::write(path, document.to_string().as_bytes(), mode);
        mode.and_then(write).with_context(|| path.display().to_string())
    }
}

/// Cargo's own rule: a member is what a pattern of `members` matches, unless it lies below what
/// `exclude` names; `exclude` has no patterns.
fn takes(workspace: &Manifest, below: &Path) -> bool {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
    let matches = |pattern: &str| {
        Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_path_with(below, options))
    };
    let named = workspace.paths("members").any(|member| below == Path::new(member));
    let excluded = workspace.paths("exclude").any(|path| below.starts_with(path));
    named || (workspace.paths("members").any(matches) && !excluded)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn membership(manifest: &str) -> (tempfile::TempDir, Option<Membership>) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("Cargo.toml"), manifest).unwrap();
        let found = Membership::of(&root.path().join("workers/shop")).unwrap();
        (root, found)
    }

    #[rstest]
    #[case::pattern("[workspace]\nmembers = [\"workers/*\"]\n", Some(true))]
    #[case::named("[workspace]\nmembers = [\"./workers/shop/\"]\n", Some(true))]
    #[case::others("[workspace]\nmembers = [\"workers/index\", \"*\"]\n", Some(false))]
    #[case::excluded(
        "[workspace]\nmembers = [\"workers/*\"]\nexclude = [\"workers/shop\"]\n",
        Some(false)
    )]
    #[case::excluded_above(
        "[workspace]\nmembers = [\"workers/*\"]\nexclude = [\"workers\"]\n",
        Some(false)
    )]
    #[case::excluded_neighbour(
        "[workspace]\nmembers = [\"workers/*\"]\nexclude = [\"workers/sho\"]\n",
        Some(true)
    )]
    #[case::no_members("[workspace]\n", Some(false))]
    #[case::a_package("[package]\nname = \"x\"\n", None)]
    fn a_workspace_takes_what_its_members_have(
        #[case] manifest: &str,
        #[case] takes: Option<bool>,
    ) {
        let (_root, found) = membership(manifest);
        assert_eq!(found.map(|it| it.takes), takes, "{manifest}");
    }

    #[rstest]
    #[case::none(
        "[workspace] # all\nmembers = [\"workers/*\"]\n\n[profile.dev]\n",
        "[workspace] # all\nmembers = [\"workers/*\"]\nexclude = [\"workers/shop\"]\n\n[profile.dev]\n"
    )]
    #[case::one_line(
        "[workspace]\nmembers = [\"workers/*\"]\nexclude = [\"a\", \"b\"]\n",
        "[workspace]\nmembers = [\"workers/*\"]\nexclude = [\"a\", \"b\", \"workers/shop\"]\n"
    )]
    #[case::a_line_each(
        "[workspace]\nmembers = [\"workers/*\"]\nexclude = [\n  \"a\",\n  \"b\",\n]\n",
        "[workspace]\nmembers = [\"workers/*\"]\nexclude = [\n  \"a\",\n  \"b\",\n  \"workers/shop\",\n]\n"
    )]
    fn what_is_excluded_is_added_to_the_list(#[case] before: &str, #[case] after: &str) {
        let (root, found) = membership(before);
        found.unwrap().exclude().unwrap();
        assert_eq!(fs::read_to_string(root.path().join("Cargo.toml")).unwrap(), after);
    }
}
