//! What types alone cannot say of a document: that its parts agree, and that every path stays
//! inside the deployment.

use std::collections::BTreeMap;

use super::deployment::{Deployment, WorkerPart};
use super::findings::Findings;
use super::manifest::{DeployedBy, Manifest};
use crate::canary::CanaryPlan;
use crate::ids::{CommitId, RoutePath, WorkerName};

/// A contradiction within a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// `deployment_path` names another folder, or none.
    #[error("deployment_path is {found:?}, and must be \"deploy/{expected}\"")]
    DeploymentPath {
        /// What stands there.
        found: String,
        /// The commit it must end in.
        expected: CommitId,
    },
    /// The repeated record is of another commit.
    #[error("current_deployment is {current}, and deployment.git_commit is {repeated}")]
    Commit {
        /// What is wanted.
        current: CommitId,
        /// What is described.
        repeated: CommitId,
    },
    /// A part's folder is not where it belongs.
    #[error("the path of {part} is {found:?}, and must be {expected:?}")]
    PartPath {
        /// Whose.
        part: String,
        /// What stands there.
        found: String,
        /// Where it belongs.
        expected: String,
    },
    /// A path that could lead elsewhere.
    #[error(
        "{part} names the file {path:?}: it must be relative, separated by single slashes, \
         without \"..\", backslashes or control characters"
    )]
    UnsafePath {
        /// Whose.
        part: String,
        /// The path.
        path: String,
    },
    /// An executable that is not among the files.
    #[error("{part} has no file {binary:?}, which is its binary")]
    BinaryUnlisted {
        /// Whose.
        part: String,
        /// The executable.
        binary: String,
    },
    /// Two workers in one place.
    #[error("workers {first} and {second} both have the route {route}")]
    DuplicateRoute {
        /// The place.
        route: RoutePath,
        /// One of them.
        first: WorkerName,
        /// The other.
        second: WorkerName,
    },
    /// A canary that cannot be.
    #[error("canary: {0}")]
    Canary(String),
    /// A text that would garble a terminal or a log.
    #[error("{field} is {value:?}: {rule}")]
    Text {
        /// Which.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
}

pub(crate) fn of_manifest(manifest: &Manifest) -> Findings<Inconsistency> {
    let Manifest { deployment_id, current_deployment, deployment_path, .. } = manifest;
    let deployment = &manifest.deployment.deployment;
    let mut findings = of_deployment(deployment);
    if deployment.git_commit != *current_deployment {
        findings.push(Inconsistency::Commit {
            current: current_deployment.clone(),
            repeated: deployment.git_commit.clone(),
        });
    }
    // The folder above may have another name than `deploy`, the deployment's own may not.
    let last = deployment_path.rsplit('/').next();
    if !stays_inside(deployment_path) || last != Some(current_deployment.as_str()) {
        findings.push(Inconsistency::DeploymentPath {
            found: excerpt(deployment_path),
            expected: current_deployment.clone(),
        });
    }
    let digits = deployment_id.strip_prefix("deploy-").unwrap_or_default();
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        findings.push(Inconsistency::Text {
            field: "deployment_id",
            value: excerpt(deployment_id),
            rule: "it must be deploy-<unix seconds>",
        });
    }
    deployed_by(manifest.deployed_by.as_ref(), &mut findings);
    if let Some(Err(reason)) = manifest.canary.as_ref().map(CanaryPlan::check) {
        findings.push(Inconsistency::Canary(reason));
    }
    for previous in &manifest.previous_deployments {
        deployed_by(previous.deployed_by.as_ref(), &mut findings);
        git_names(
            &previous.git_commit,
            &previous.git_commit_short,
            [("git_tag", &previous.git_tag)],
            &mut findings,
        );
    }
    findings
}

pub(crate) fn of_deployment(deployment: &Deployment) -> Findings<Inconsistency> {
    let mut findings = Findings::none();
    git_names(
        &deployment.git_commit,
        &deployment.git_commit_short,
        [("git_branch", &deployment.git_branch), ("git_tag", &deployment.git_tag)],
        &mut findings,
    );
    if let Some(server) = &deployment.server {
        part("server", &server.path, "server", &mut findings);
        let files = server.sha256.keys();
        paths("server", files.chain([&server.binary]), &mut findings);
        binary("server", &server.binary, server.sha256.contains_key(&server.binary), &mut findings);
    }
    let mut routes = BTreeMap::new();
    for (name, worker) in &deployment.workers {
        of_worker(name, worker, &mut findings);
        if let Some(first) = routes.insert(&worker.route, name) {
            findings.push(Inconsistency::DuplicateRoute {
                route: worker.route.clone(),
                first: first.clone(),
                second: name.clone(),
            });
        }
    }
    findings
}

fn of_worker(name: &WorkerName, worker: &WorkerPart, findings: &mut Findings<Inconsistency>) {
    let label = format!("worker {name}");
    part(&label, &worker.path, &format!("workers/{name}"), findings);
    let listed = &worker.files;
    let files = worker.sha256.keys().chain([&worker.binary]);
    let files = files.chain(&listed.src).chain(&listed.public).chain(&listed.private);
    paths(&label, files, findings);
    binary(&label, &worker.binary, worker.sha256.contains_key(&worker.binary), findings);
}

fn part(part: &str, found: &str, expected: &str, findings: &mut Findings<Inconsistency>) {
    if found != expected {
        findings.push(Inconsistency::PartPath {
            part: part.to_owned(),
            found: excerpt(found),
            expected: expected.to_owned(),
        });
    }
}

fn paths<'p>(
    part: &str,
    paths: impl Iterator<Item = &'p String>,
    findings: &mut Findings<Inconsistency>,
) {
    for path in paths.filter(|path| !stays_inside(path)) {
        findings.push(Inconsistency::UnsafePath { part: part.to_owned(), path: excerpt(path) });
    }
}

fn binary(part: &str, binary: &str, listed: bool, findings: &mut Findings<Inconsistency>) {
    if !listed && stays_inside(binary) {
        let (part, binary) = (part.to_owned(), excerpt(binary));
        findings.push(Inconsistency::BinaryUnlisted { part, binary });
    }
}

fn git_names<const N: usize>(
    commit: &CommitId,
    short: &str,
    names: [(&'static str, &Option<String>); N],
    findings: &mut Findings<Inconsistency>,
) {
    // git abbreviates to four digits at least (core.abbrev, git-config(1)).
    if short.len() < 4 || !commit.as_str().starts_with(short) {
        let rule = "it must be the first digits of the commit";
        let value = excerpt(short);
        findings.push(Inconsistency::Text { field: "git_commit_short", value, rule });
    }
    for (field, name) in names {
        text(field, name.as_deref(), findings);
    }
}

fn deployed_by(by: Option<&DeployedBy>, findings: &mut Findings<Inconsistency>) {
    let Some(DeployedBy { user, from, client, verb }) = by else { return };
    let texts = [Some(user), from.as_ref(), client.as_ref(), Some(verb)];
    texts.into_iter().for_each(|it| text("deployed_by", it.map(String::as_str), findings));
}

fn text(field: &'static str, value: Option<&str>, findings: &mut Findings<Inconsistency>) {
    if let Some(value) = value.filter(|value| value.chars().any(char::is_control)) {
        let rule = "it must not have control characters";
        findings.push(Inconsistency::Text { field, value: excerpt(value), rule });
    }
}

/// Whether a path names something below the folder it is joined to, whichever folder that is.
pub(crate) fn stays_inside(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(plain) && !path.chars().any(|c| c == '\\' || c.is_control())
}

/// As much of a text as fits into an error.
fn excerpt(text: &str) -> String {
    text.chars().take(120).collect()
}
