//! Deployments that are put together by hand: perl workers, no compiler.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tqserver::ids::{CommitId, RoutePath, WorkerName};
use tqserver::store;
use tqserver::store::deployment::{Deployment, SCHEMA, WorkerFiles, WorkerPart};
use tqserver::store::digest::{self, DigestCache, WorkerSums};
use tqserver::store::layout::DeployDir;
use tqserver::store::lock::DeployLock;
use tqserver::store::stage::Staging;

/// A worker of a deployment to be.
#[derive(Clone)]
pub struct Worker {
    name: &'static str,
    mode: &'static str,
    yaml: String,
    route: Option<&'static str>,
    public: BTreeMap<&'static str, &'static str>,
    program: PathBuf,
}

/// A worker that behaves as `mode` says, see `tests/fixtures/web.pl`.
pub fn worker(name: &'static str, mode: &'static str) -> Worker {
    Worker {
        name,
        mode,
        yaml: "run: [bin/web]\n".into(),
        route: None,
        public: BTreeMap::new(),
        program: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/web.pl"),
    }
}

impl Worker {
    /// Adds lines to its worker.yaml.
    pub fn yaml(mut self, lines: &str) -> Self {
        self.yaml.push_str(lines);
        self
    }

    /// Gives it another route than its name's.
    pub fn route(mut self, route: &'static str) -> Self {
        self.route = Some(route);
        self.yaml(&format!("route: {route}\n"))
    }

    /// Gives it a public file.
    pub fn public(mut self, path: &'static str, content: &'static str) -> Self {
        self.public.insert(path, content);
        self
    }

    /// Has it be another program.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = path.to_owned();
        self
    }

    /// Writes its folder.
    pub fn write(&self, base: &Path) {
        let put = |path: &str, content: &[u8]| {
            let path = base.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("bin/web", &fs::read(&self.program).unwrap());
        fs::set_permissions(base.join("bin/web"), fs::Permissions::from_mode(0o755)).unwrap();
        put("private/mode", self.mode.as_bytes());
        put("config/worker.yaml", self.yaml.as_bytes());
        for (path, content) in &self.public {
            put(&format!("public/{path}"), content.as_bytes());
        }
    }
}

/// Builds `deploy/<commit>`, the commit being `digit` 40 times.
pub fn build(deploy: &DeployDir, digit: char, workers: &[Worker]) -> Deployment {
    let commit = commit(digit);
    let staging = Staging::begin(deploy, &commit).unwrap();
    let mut parts = BTreeMap::new();
    for worker in workers {
        let name: WorkerName = worker.name.parse().unwrap();
        let path = format!("workers/{name}");
        let base = staging.path().join(&path);
        worker.write(&base);
        let tree = digest::tree(&base, &mut DigestCache::default(), Timestamp::now()).unwrap();
        let sums = WorkerSums::of(&tree, &name, "bin/web").unwrap();
        let part = WorkerPart {
            path,
            binary: "bin/web".into(),
            binary_md5: sums.binary_md5,
            size_bytes: sums.size_bytes,
            route: worker
                .route
                .map_or_else(|| RoutePath::from_worker_name(&name), |route| route.parse().unwrap()),
            built_from: commit.clone(),
            inputs_md5: sums.binary_md5,
            public_md5: sums.public_md5,
            private_md5: sums.private_md5,
            tree_md5: sums.tree_md5,
            files: WorkerFiles::default(),
            sha256: tree.files.iter().map(|(k, v)| (k.clone(), v.sha256)).collect(),
        };
        parts.insert(name, part);
    }
    let deployment = Deployment {
        schema: SCHEMA,
        git_commit: commit.clone(),
        git_commit_short: commit.short().to_owned(),
        git_branch: Some("main".into()),
        git_tag: None,
        built_at: Timestamp::now(),
        server: None,
        workers: parts,
    };
    staging.finish(&deployment).unwrap();
    deployment
}

/// Points the manifest at a deployment, as `tqctl build` does.
pub fn activate(deploy: &DeployDir, deployment: &Deployment) {
    let lock = DeployLock::acquire(deploy, "test", Timestamp::now()).unwrap();
    store::activate::activate(&lock, deployment, Timestamp::now(), 10).unwrap();
}

/// `digit`, 40 times.
pub fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}
