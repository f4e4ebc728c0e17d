//! What a Rust program is made from.
//!
//! Of each package that is built for it, except what only tests and benchmarks use:
//! - from a registry or git: name, version, source (with the commit), features;
//! - from a folder: the manifest and the source folders of its targets, or all of the folder where
//!   a build script might read anything of it. `public`, `private`, `config` and `bin` do not
//!   count, since nothing is embedded.
//!
//! What a program embeds nevertheless is known once it was built: the compiler lists the files it
//! has read, and the caller adds them.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Package, PackageId};

use super::super::Profile;
use super::super::error::BuildError;
use super::super::inputs::{Inputs, sources};
use super::{Binary, Workspace};

/// Folders of a worker that are read when it runs, not when it is built, and cargo's output.
const NOT_SOURCES: [&str; 5] = ["public", "private", "config", "bin", "target"];

impl Workspace {
    /// Adds all that `binary` is made from.
    pub(in super::super) fn add_inputs(
        &self,
        binary: &Binary,
        profile: Profile,
        inputs: &mut Inputs,
    ) -> Result<(), BuildError> {
        inputs.field("rustc", &self.rustc);
        inputs.field("profile", profile.cargo_name());
        inputs.field("binary", &binary.target);
        let manifest = self.root.join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest)
            .map_err(|source| BuildError::io(&manifest, source))?;
        inputs.field("profiles", profile_sections(&text));
        for (name, value) in flags(env::vars()) {
            inputs.field(&name, value);
        }
        for config in self.config_files() {
            inputs.file(&config)?;
        }
        for id in self.closure(&binary.package) {
            self.add_package(id, inputs)?;
        }
        Ok(())
    }

    /// The files that say what there is to build, and how: of the workspace, and of each package in
    /// a folder that `binary` is made from.
    pub(in super::super) fn manifests(&self, binary: &Binary) -> Vec<PathBuf> {
        let own = ["Cargo.toml", "Cargo.lock", "rust-toolchain", "rust-toolchain.toml"];
        let packages = self.local_packages(binary);
        own.iter()
            .map(|name| self.root.join(name))
            .chain(packages.map(|package| package.manifest_path.clone().into_std_path_buf()))
            .collect()
    }

    /// The folders that hold the sources of `binary`.
    pub(in super::super) fn source_folders(&self, binary: &Binary) -> Vec<PathBuf> {
        self.local_packages(binary).flat_map(source_folders).map(Path::to_owned).collect()
    }

    fn local_packages<'a>(&'a self, binary: &'a Binary) -> impl Iterator<Item = &'a Package> {
        let closure = self.closure(&binary.package).into_iter();
        closure.filter_map(|id| self.packages.get(id)).filter(|package| package.source.is_none())
    }

    /// The package and all it needs to be built, in a fixed order.
    fn closure<'a>(&'a self, package: &'a PackageId) -> BTreeSet<&'a PackageId> {
        let mut found = BTreeSet::new();
        let mut open = vec![package];
        while let Some(id) = open.pop() {
            if !found.insert(id) {
                continue;
            }
            let deps = self.nodes.get(id).into_iter().flat_map(|node| &node.deps);
            open.extend(deps.filter_map(|dep| {
                let is_built =
                    dep.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development);
                is_built.then_some(&dep.pkg)
            }));
        }
        found
    }

    fn add_package(&self, id: &PackageId, inputs: &mut Inputs) -> Result<(), BuildError> {
        let Some(package) = self.packages.get(id) else { return Ok(()) };
        inputs.field("package", format!("{} {}", package.name, package.version));
        // Those that cargo unified over the workspace, which is how it builds them together.
        for feature in self.nodes.get(id).into_iter().flat_map(|node| &node.features) {
            inputs.field("feature", feature.as_bytes());
        }
        match &package.source {
            Some(source) => inputs.field("source", &source.repr),
            None => {
                inputs.field("edition", package.edition.as_str());
                for file in package_files(package)? {
                    inputs.file(&file)?;
                }
            }
        }
        Ok(())
    }

    /// Where cargo looks for its configuration when it is run in the workspace's folder.
    fn config_files(&self) -> impl Iterator<Item = PathBuf> {
        let folders = self.root.ancestors().map(|folder| folder.join(".cargo"));
        folders
            .flat_map(|folder| [folder.join("config.toml"), folder.join("config")])
            .filter(|file| file.is_file())
    }
}

/// The source files of a package in a folder.
fn package_files(package: &Package) -> Result<Vec<PathBuf>, BuildError> {
    let mut files = vec![package.manifest_path.as_std_path().to_owned()];
    for folder in source_folders(package) {
        files.extend(sources(folder, &|path| is_source(path) && !in_other_package(folder, path))?);
    }
    Ok(files)
}

/// The folders that the sources of a package in a folder are in, none below another.
fn source_folders(package: &Package) -> Vec<&Path> {
    let manifest = package.manifest_path.as_std_path();
    let built = |target: &&cargo_metadata::Target| {
        !(target.is_test() || target.is_bench() || target.is_example())
    };
    let mut folders = BTreeSet::new();
    for target in package.targets.iter().filter(built) {
        folders.extend(target.src_path.as_std_path().parent());
    }
    if package.targets.iter().any(|target| target.is_custom_build()) {
        folders.extend(manifest.parent());
    }
    let mut outermost: Vec<&Path> = Vec::new();
    // Sorted, so a folder comes before what is below it.
    for folder in folders {
        if !outermost.iter().any(|outer| folder.starts_with(outer)) {
            outermost.push(folder);
        }
    }
    outermost
}

/// Whether a file in a source folder counts, by its path below that.
pub(in super::super) fn is_source(path: &Path) -> bool {
    let mut parts = path.iter().collect::<Vec<_>>();
    parts.pop();
    // `src/bin` is where cargo looks for further programs.
    !parts.iter().enumerate().any(|(depth, part)| {
        NOT_SOURCES.iter().any(|name| *part == *name)
            && !(*part == "bin" && (depth == 0 || parts[depth - 1] == "src"))
    })
}

/// Whether a folder between `folder` and the file is a package of its own.
pub(in super::super) fn in_other_package(folder: &Path, file: &Path) -> bool {
    file.ancestors()
        .skip(1)
        .take_while(|between| !between.as_os_str().is_empty())
        .any(|between| folder.join(between).join("Cargo.toml").is_file())
}

/// Variables that change what cargo makes of the same sources.
fn flags(vars: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let counts = |name: &str| {
        let prefixes = ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_TARGET_"];
        let elsewhere = ["_DIR", "_TMPDIR", "_JOBS", "_RUNNER"];
        matches!(name, "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS")
            || prefixes.iter().any(|prefix| name.starts_with(prefix))
                && !elsewhere.iter().any(|suffix| name.ends_with(suffix))
    };
    let mut flags: Vec<_> = vars.filter(|(name, _)| counts(name)).collect();
    flags.sort();
    flags
}

/// The sections of a workspace's manifest that shape its members' builds and that no package's own
/// data repeat: `[profile.…]` and `[workspace.package]`.
fn profile_sections(manifest: &str) -> String {
    let mut kept = String::new();
    let mut keep = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            let name = line.trim_start_matches('[').trim_start();
            keep = name.starts_with("profile") || name.starts_with("workspace.package");
        }
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("main.rs", true)]
    #[case("bin/tool.rs", true)]
    #[case("src/bin/tool.rs", true)]
    #[case("admin/public/index.html", false)]
    #[case("private/x.html", false)]
    #[case("private.rs", true)]
    #[case("private", true)]
    #[case("workers/index/bin/index", false)]
    fn what_is_read_at_run_time_is_no_source(#[case] path: &str, #[case] expected: bool) {
        assert_eq!(is_source(Path::new(path)), expected);
    }

    #[test]
    fn only_profiles_and_inherited_fields_of_the_workspace_count() {
        let manifest = "[workspace]\nmembers = [\n  \"a\",\n]\n[workspace.package]\nversion = \"1\"\n\
                        [dependencies]\nx = \"1\"\n[profile.release]\nlto = true\n\
                        [profile.dev.package.x]\nopt-level = 3\n[lints]\na = 1\n";
        assert_eq!(
            profile_sections(manifest),
            "[workspace.package]\nversion = \"1\"\n[profile.release]\nlto = true\n\
             [profile.dev.package.x]\nopt-level = 3\n"
        );
    }

    #[test]
    fn flags_count_and_places_do_not() {
        let vars = [
            "RUSTFLAGS",
            "CARGO_BUILD_JOBS",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_TMPDIR",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            "HOME",
        ];
        let found = flags(vars.iter().map(|name| ((*name).to_owned(), String::new())));
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "CARGO_PROFILE_RELEASE_LTO",
                "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
                "RUSTFLAGS"
            ]
        );
    }
}
