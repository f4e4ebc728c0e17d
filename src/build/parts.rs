//! The parts of a deployment's record, from the staged files.

use std::path::Path;

use super::error::BuildError;
use super::inputs::sources;
use super::program::{Program, SERVER, Worker};
use crate::ids::{CommitId, Md5};
use crate::store::deployment::{ServerPart, WorkerFiles, WorkerPart};
use crate::store::digest::{TreeDigest, WorkerSums, is_built};
use crate::store::elf::Machine;

/// Where a program in the deployment comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Provenance {
    pub(super) built_from: CommitId,
    pub(super) inputs_md5: Md5,
    /// The deployment it was taken from, unless it was built now.
    pub(super) reused: Option<CommitId>,
}

/// The part of a worker whose staged folder is `tree`, at `folder`.
pub(super) fn worker_part(
    worker: &Worker,
    provenance: &Provenance,
    tree: &TreeDigest,
    folder: &Path,
) -> Result<WorkerPart, BuildError> {
    let absent = || BuildError::NoOutput {
        worker: worker.name.to_string(),
        path: worker.program.folder.join(&worker.binary),
    };
    let sums = WorkerSums::of(tree, &worker.name, &worker.binary).ok_or_else(absent)?;
    check_program(worker, tree, folder)?;
    let list = |folder: &str| tree.below(folder).map(|(path, _)| path.to_owned()).collect();
    let src = worker.program.folder.join("src");
    let source_files = sources(&src, &|_| true)?;
    Ok(WorkerPart {
        path: format!("workers/{}", worker.name),
        binary: worker.binary.clone(),
        binary_md5: sums.binary_md5,
        size_bytes: sums.size_bytes,
        route: worker.route.clone(),
        built_from: provenance.built_from.clone(),
        inputs_md5: provenance.inputs_md5,
        public_md5: sums.public_md5,
        private_md5: sums.private_md5,
        tree_md5: sums.tree_md5,
        files: WorkerFiles {
            src: source_files
                .iter()
                .filter_map(|path| Some(path.strip_prefix(&src).ok()?.to_str()?.to_owned()))
                .collect(),
            public: list("public"),
            private: list("private"),
        },
        sha256: tree.files.iter().map(|(path, file)| (path.clone(), file.sha256)).collect(),
    })
}

/// A deployment is refused if what should be a program is none; better to hear of it now. That
/// holds for a script of that name as well: verification goes by the record, which cannot tell.
fn check_program(worker: &Worker, tree: &TreeDigest, folder: &Path) -> Result<(), BuildError> {
    if !is_built(&worker.name, &worker.binary) {
        return Ok(());
    }
    let path = folder.join(&worker.binary);
    let machine = Machine::of_file(&path).map_err(|source| BuildError::io(&path, source))?;
    if machine.is_none() || !tree.files[&worker.binary].executable {
        return Err(BuildError::NotAProgram {
            worker: worker.name.to_string(),
            path: worker.program.folder.join(&worker.binary),
        });
    }
    Ok(())
}

/// The part of the server, whose staged folder is `tree`.
pub(super) fn server_part(
    server: &Program,
    provenance: &Provenance,
    tree: &TreeDigest,
) -> Result<ServerPart, BuildError> {
    let binary = format!("bin/{SERVER}");
    let file = tree.files.get(&binary).ok_or_else(|| BuildError::NoOutput {
        worker: server.name.clone(),
        path: server.folder.join(&binary),
    })?;
    Ok(ServerPart {
        path: "server".to_owned(),
        binary_md5: file.md5,
        size_bytes: file.size,
        binary,
        has_public: tree.below("public").next().is_some(),
        has_private: tree.below("private").next().is_some(),
        built_from: provenance.built_from.clone(),
        inputs_md5: provenance.inputs_md5,
        sha256: tree.files.iter().map(|(path, file)| (path.clone(), file.sha256)).collect(),
    })
}
