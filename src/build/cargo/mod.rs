//! Rust programs: what cargo knows of them, what they are made from, and their build.

mod call;
mod depinfo;
mod digest;
mod run;

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, Node, Package, PackageId, Target};

use super::Profile;
use super::error::BuildError;
use call::Cargo;
pub(super) use depinfo::files_read;
pub(super) use digest::{in_other_package, is_source};
pub(super) use run::{CargoRun, Ending};

/// A cargo workspace with its resolved dependencies; a package that stands alone is one, too.
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    packages: HashMap<PackageId, Package>,
    nodes: HashMap<PackageId, Node>,
    members: Vec<PackageId>,
    cargo: Cargo,
    /// `rustc -vV` as this folder has it.
    rustc: String,
    locked: bool,
}

/// The executable of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binary {
    pub(super) package: PackageId,
    pub(super) target: String,
}

impl Workspace {
    /// Reads the workspace that `manifest` belongs to. A release build insists on the versions of
    /// `Cargo.lock`, where there is one.
    pub(super) fn load(manifest: &Path, profile: Profile) -> Result<Self, BuildError> {
        let folder = manifest.parent().unwrap_or(manifest);
        let rustc = rustc_version(folder)?;
        let cargo = Cargo::of(folder);
        let mut command = MetadataCommand::new();
        command.cargo_path(cargo.program()).current_dir(folder).manifest_path(manifest);
        if let Some((name, value)) = cargo.variable() {
            command.env(name, value);
        }
        // Without this, cargo wants the packages of every platform there is.
        let mut options = Vec::new();
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
        let target = env::var("CARGO_BUILD_TARGET").ok().or_else(|| host.map(str::to_owned));
        if let Some(target) = target {
            options.extend(["--filter-platform".to_owned(), target]);
        }
        let root = |metadata: &Metadata| metadata.workspace_root.clone().into_std_path_buf();
        let locked = profile == Profile::Release && has_lock(folder);
        if locked {
            options.push("--locked".to_owned());
        }
        let metadata = command
            .other_options(options)
            .exec()
            .map_err(|error| metadata_error(manifest, error))?;
        let root = root(&metadata);
        // A member may have a toolchain of its own; what is built together is built by the root's.
        let cargo = if root == folder { cargo } else { Cargo::of(&root) };
        let nodes = metadata.resolve.map(|resolve| resolve.nodes).unwrap_or_default();
        Ok(Self {
            root,
            packages: metadata.packages.into_iter().map(|it| (it.id.clone(), it)).collect(),
            nodes: nodes.into_iter().map(|node| (node.id.clone(), node)).collect(),
            members: metadata.workspace_members,
            cargo,
            rustc,
            locked,
        })
    }

    /// The executable called `name` of the member in `folder`; that member's only one where none
    /// is called so.
    pub(super) fn binary_in(
        &self,
        folder: &Path,
        name: &str,
    ) -> Option<Result<Binary, BuildError>> {
        let manifest = folder.join("Cargo.toml");
        let package = self.member(|package| package.manifest_path.as_std_path() == manifest)?;
        let bins: Vec<&Target> = package.targets.iter().filter(|target| target.is_bin()).collect();
        let target = bins.iter().find(|bin| bin.name == name).or(match bins.as_slice() {
            [only] => Some(only),
            _ => None,
        });
        Some(match target {
            Some(target) => Ok(Binary { package: package.id.clone(), target: target.name.clone() }),
            None => Err(BuildError::NoBinaryTarget {
                manifest,
                name: name.to_owned(),
                found: bins.iter().map(|bin| bin.name.clone()).collect(),
            }),
        })
    }

    /// The executable of the member package called `name`, where there is one that has it.
    pub(super) fn binary_named(&self, name: &str) -> Option<(Binary, PathBuf)> {
        let package = self.member(|package| package.name == name)?;
        let target =
            package.targets.iter().find(|target| target.is_bin() && target.name == name)?;
        let folder = package.manifest_path.parent()?.as_std_path().to_owned();
        Some((Binary { package: package.id.clone(), target: target.name.clone() }, folder))
    }

    fn member(&self, is_it: impl Fn(&Package) -> bool) -> Option<&Package> {
        self.members.iter().filter_map(|id| self.packages.get(id)).find(|package| is_it(package))
    }
}

/// `Cargo.lock` lies beside the workspace's manifest, here or above.
fn has_lock(folder: &Path) -> bool {
    folder.ancestors().any(|folder| folder.join("Cargo.lock").is_file())
}

fn rustc_version(folder: &Path) -> Result<String, BuildError> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").current_dir(folder).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        _ => Err(BuildError::NoRust),
    }
}

fn metadata_error(manifest: &Path, error: cargo_metadata::Error) -> BuildError {
    let message = match error {
        cargo_metadata::Error::CargoMetadata { stderr } => stderr.trim().to_owned(),
        cargo_metadata::Error::Io(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return BuildError::NoRust;
        }
        other => other.to_string(),
    };
    BuildError::CargoMetadata { manifest: manifest.to_owned(), message }
}
