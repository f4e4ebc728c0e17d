//! deployment.json and manifest.json.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use tqserver::store::deployment::Deployment;
use tqserver::store::document::{DocumentError, MAX_BYTES};
use tqserver::store::manifest::Manifest;

/// A deployment's record: refused at a place of the text, or it agrees with itself, names no file
/// outside its folder, and is the same after it was written.
pub fn deployment(data: &[u8]) {
    match Deployment::parse(data) {
        Err(error) => check_error(&error, data),
        Ok(record) => {
            check_deployment(&record);
            let again = Deployment::parse(&record.to_json()).expect("what was written is read");
            assert_eq!(again, record, "it changed on the way to disk");
        }
    }
}

/// A manifest: the same, and it points at the deployment that it describes.
pub fn manifest(data: &[u8]) {
    match Manifest::parse(data) {
        Err(error) => check_error(&error, data),
        Ok(manifest) => {
            let deployment = &manifest.deployment.deployment;
            check_deployment(deployment);
            assert_eq!(deployment.git_commit, manifest.current_deployment);
            assert!(is_below(&manifest.deployment_path), "{:?}", manifest.deployment_path);
            let folder = Path::new(&manifest.deployment_path).file_name();
            assert_eq!(folder, Some(manifest.current_deployment.as_str().as_ref()));
            let again = Manifest::parse(&manifest.to_json()).expect("what was written is read");
            assert_eq!(again, manifest, "it changed on the way to disk");
        }
    }
}

fn check_error(error: &DocumentError, data: &[u8]) {
    if let DocumentError::Syntax { line, column, .. } = error {
        let at = data.split(|byte| *byte == b'\n').nth(line.wrapping_sub(1));
        let Some(at) = at else { panic!("line {line} is not in the text: {error}") };
        assert!(*column <= at.len() + 1, "column {column} of {}: {error}", at.len());
    }
    assert!(!matches!(error, DocumentError::TooLarge) || data.len() as u64 > MAX_BYTES);
    let shown = error.to_string();
    assert!(shown.len() < 64 << 10, "nobody reads {} bytes", shown.len());
    let hostile = shown.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(hostile, None, "would drive a terminal: {shown:?}");
}

fn check_deployment(record: &Deployment) {
    assert!(record.git_commit.as_str().starts_with(&record.git_commit_short));
    if let Some(server) = &record.server {
        assert_eq!(server.path, "server");
        assert!(server.sha256.contains_key(&server.binary), "an unverified server");
        server.sha256.keys().for_each(|path| check_file(path));
    }
    let mut routes = BTreeSet::new();
    for (name, worker) in &record.workers {
        assert_eq!(worker.path, format!("workers/{name}"));
        assert!(routes.insert(&worker.route), "{} is two workers' route", worker.route);
        assert!(worker.sha256.contains_key(&worker.binary), "an unverified program");
        let listed = &worker.files;
        let files = worker.sha256.keys().chain([&worker.binary]);
        for path in files.chain(&listed.src).chain(&listed.public).chain(&listed.private) {
            check_file(path);
        }
    }
}

fn check_file(path: &str) {
    assert!(is_below(path), "{path:?} may lead out of the deployment");
}

/// Whether the kernel would look for `path` below the folder that it is joined to, without a link.
fn is_below(path: &str) -> bool {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    plain && !path.is_empty() && !path.contains('\0')
}
