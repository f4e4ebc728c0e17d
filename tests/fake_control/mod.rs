//! A control socket with a daemon behind it that says what a test wants it to say.

#[allow(dead_code, reason = "not every test program has one")]
pub(crate) mod dashboard;

use std::future::Future;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tqserver::admin::api::{
    BreakerState, Control, Counters, ExitKind, FailedDeployment, GenerationBeside, LastExit,
    PastRollouts, ReloadOutcome, ReloadVerdict, SCHEMA, ServerState, Status, WorkerLoad,
    WorkerState, WorkerStatus,
};
use tqserver::admin::feed::Feed;
use tqserver::admin::retention::Retention;
use tqserver::admin::server;
use tqserver::admin::soak::{SoakOutcome, SoakVerdict};
use tqserver::config::settings::Mode;
use tqserver::ids::{CommitId, Generation, Port, WorkerName};

pub(crate) const OLD: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432";
pub(crate) const NEW: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678";

pub(crate) fn commit(text: &str) -> CommitId {
    text.parse().unwrap()
}

/// What the fake says, and what it was asked.
pub(crate) struct Fake {
    pub(crate) status: Mutex<Status>,
    /// How often it was asked for that.
    pub(crate) looks: AtomicUsize,
    pub(crate) verdict: Mutex<ReloadVerdict>,
    pub(crate) reloads: watch::Sender<usize>,
    /// Verdicts are given while this is true.
    pub(crate) decided: watch::Sender<bool>,
    pub(crate) feed: Feed,
    /// Which deployments it needs.
    pub(crate) retention: Mutex<Result<Retention, String>>,
    /// Why nothing can be rebuilt.
    pub(crate) no_rebuild: Mutex<Option<String>>,
}

impl Control for Fake {
    fn status(&self) -> Status {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.status.lock().unwrap().clone()
    }

    fn reload(&self) -> impl Future<Output = ReloadVerdict> + Send {
        self.reloads.send_modify(|count| *count += 1);
        let mut decided = self.decided.subscribe();
        async move {
            // An error means that the test is over.
            let _ = decided.wait_for(|decided| *decided).await;
            self.verdict.lock().unwrap().clone()
        }
    }

    async fn drain(&self, worker: WorkerName) -> Result<(), String> {
        let mut status = self.status.lock().unwrap();
        let found = status.workers.iter_mut().find(|it| it.name == worker);
        let found = found.ok_or_else(|| format!("no worker {worker} is deployed"))?;
        found.state = WorkerState::Drained;
        Ok(())
    }

    fn restart(&self, worker: WorkerName) -> impl Future<Output = ReloadVerdict> + Send {
        let verdict =
            ReloadVerdict { started: vec![worker], ..self.verdict.lock().unwrap().clone() };
        std::future::ready(verdict)
    }

    fn decide(&self, _promote: bool) -> impl Future<Output = ReloadVerdict> + Send {
        std::future::ready(self.verdict.lock().unwrap().clone())
    }

    async fn soak(&self, commit: CommitId, time: Duration) -> Result<SoakVerdict, String> {
        let reason = format!("{} for {} ms", commit.short(), time.as_millis());
        Ok(SoakVerdict { schema: SCHEMA, outcome: SoakOutcome::Well, reason, obstacle: None })
    }

    fn past_rollouts(&self) -> PastRollouts {
        PastRollouts { schema: SCHEMA, rollouts: Vec::new(), refused: Vec::new() }
    }

    fn metrics(&self) -> String {
        "# TYPE fake gauge\nfake 1\n".to_owned()
    }

    fn events(&self) -> &Feed {
        &self.feed
    }

    fn retention(&self) -> Result<Retention, String> {
        self.retention.lock().unwrap().clone()
    }

    fn rebuild(&self) -> Result<(), String> {
        self.no_rebuild.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl Fake {
    /// How many reloads it was asked for.
    #[allow(dead_code, reason = "not every test program uses all of this module")]
    pub(crate) fn reloads(&self) -> usize {
        *self.reloads.borrow()
    }

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            status: Mutex::new(serving()),
            looks: AtomicUsize::new(0),
            verdict: Mutex::new(switched()),
            reloads: watch::Sender::new(0),
            decided: watch::Sender::new(true),
            feed: Feed::new(),
            retention: Mutex::new(Err("nobody knows".to_owned())),
            no_rebuild: Mutex::new(None),
        })
    }
}

/// Serves a fake on a socket of its own until dropped.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(fake: &Arc<Fake>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Bound before the thread starts: a client may connect as soon as this returns.
        let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shutdown = CancellationToken::new();
        let (fake, token) = (Arc::clone(fake), shutdown.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                server::serve(listener, fake, token).await;
            });
        });
        Self { dir, shutdown, thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    #[allow(dead_code, reason = "not every test program uses all of this module")]
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn worker(name: &str, generation: u64, port: u16, commit_id: &str) -> WorkerStatus {
    let name: WorkerName = name.parse().unwrap();
    WorkerStatus {
        route: tqserver::ids::RoutePath::from_worker_name(&name),
        state: WorkerState::Serving,
        generation: Some(Generation(generation)),
        port: Port::new(port),
        unit: Some(format!("tq-worker@{name}-{port}.service").parse().unwrap()),
        commit: Some(commit(commit_id)),
        pinned: None,
        since: Some("2026-11-20T08:00:01Z".parse().unwrap()),
        fingerprint: None,
        in_flight: 0,
        load: None,
        memory_bytes: None,
        cpus_busy: None,
        instances_wanted: None,
        instances: Vec::new(),
        draining: Vec::new(),
        canaries: Vec::new(),
        last_failure: None,
        restarts: 0,
        breaker: BreakerState::Closed,
        next_attempt: None,
        last_exit: None,
        loosened: Vec::new(),
        name,
    }
}

/// Two workers as they should be. It began a day in the future, so that "up" is a constant.
pub(crate) fn serving() -> Status {
    let mut index = worker("index", 18, 9014, NEW);
    index.load = Some(WorkerLoad {
        seconds: 10.0,
        requests_per_second: 412.25,
        p50_ms: Some(2.0),
        p99_ms: Some(12.0),
        server_errors: Some(0.0),
    });
    (index.memory_bytes, index.cpus_busy) = (Some(31 << 20), Some(0.08));
    Status {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        mode: Mode::Prod,
        state: ServerState::Serving,
        started_at: "2999-01-01T00:00:00Z".parse().unwrap(),
        desired: Some(commit(NEW)),
        actual: Some(commit(NEW)),
        branch: Some("main".to_owned()),
        tag: Some("v1.2.3".to_owned()),
        last_good: Some(commit(NEW)),
        failed: None,
        canary: None,
        workers: vec![index, worker("api_users", 11, 9007, OLD)],
        counters: Counters { requests: 1234, in_flight: 3, ..Counters::default() },
        warnings: Vec::new(),
    }
}

/// The newer deployment failed, a generation drains, and a worker is down.
#[allow(dead_code, reason = "not every test program uses all of this module")]
pub(crate) fn degraded() -> Status {
    let mut status = serving();
    status.state = ServerState::Degraded;
    status.actual = Some(commit(OLD));
    status.failed = Some(FailedDeployment {
        commit: commit(NEW),
        reason: "index g18 exited 101 before it was ready\u{1b}[2J".to_owned(),
        at: "2999-01-01T00:00:00Z".parse().unwrap(),
    });
    status.warnings = vec!["the folder of the running deployment is gone".to_owned()];
    let [index, users] = &mut status.workers[..] else { unreachable!("two workers") };
    index.draining = vec![GenerationBeside {
        generation: Generation(17),
        port: Port::new(9013).unwrap(),
        unit: "tq-worker@index-9013.service".parse().unwrap(),
        commit: Some(commit(OLD)),
        in_flight: 2,
    }];
    users.state = WorkerState::Backoff;
    (users.generation, users.port, users.unit, users.commit) = (None, None, None, None);
    users.last_failure = Some("out of memory".to_owned());
    (users.restarts, users.breaker) = (6, BreakerState::Open);
    // Overdue, so that the wait is a constant, like the past.
    users.next_attempt = Some(jiff::Timestamp::UNIX_EPOCH);
    users.last_exit = Some(LastExit {
        kind: ExitKind::OutOfMemory,
        code: None,
        reason: "out of memory".to_owned(),
        generation: Generation(9),
        unit: "tq-worker@api_users-9021.service".parse().unwrap(),
        at: Some(status.started_at),
    });
    status
}

pub(crate) fn switched() -> ReloadVerdict {
    ReloadVerdict {
        schema: SCHEMA,
        ok: true,
        commit: Some(commit(NEW)),
        outcome: ReloadOutcome::Switched,
        started: vec!["index".parse().unwrap()],
        kept: vec!["api_users".parse().unwrap()],
        reason: None,
        details: Vec::new(),
        duration_ms: 1234,
    }
}
