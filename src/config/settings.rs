//! Settings: what the files mean once they were read, expanded and found valid. One struct a
//! subsystem, so that nobody is handed more than it needs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::compression::{
    Coding, CompressionLevels, CompressionOverrides, CompressionSettings, MediaRange,
};
pub use super::credential::CredentialName;
pub use super::deployment::sign_key;
pub use super::editor::EditorLink;
pub use super::grants::Grant;
pub use super::pins::{Pin, PinTarget};
pub use super::sandbox::{AddressRange, Allowed, Sandbox, SandboxOverrides};
pub use super::targets::{Target, TargetName};
use crate::ids::{RoutePath, WorkerName};

/// Which of the two lives tqserver leads; chosen by the environment, never by the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Mode {
    /// Workers run from the source tree.
    Dev,
    /// Workers run from `deploy/<commit>`, and the manifest says which.
    Prod,
}

impl Mode {
    /// The word for it: `dev` or `prod`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Prod => "prod",
        }
    }
}

/// Everything `server.yaml` and `deployment.yaml` say, split by who needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The mode all the rest was resolved for.
    pub mode: Mode,
    /// The folder of `server.yaml`, absolute where that was named so.
    pub config_dir: PathBuf,
    /// The public listener.
    pub listener: ListenerSettings,
    /// TLS on the listener beside it.
    pub https: HttpsSettings,
    /// What is written of each request.
    pub access_log: AccessLogSettings,
    /// Where `GET /metrics` is answered beside the control socket: an address of loopback.
    pub metrics_listen: Option<SocketAddr>,
    /// The pages for people who look after the machine.
    pub dashboard: DashboardSettings,
    /// `/static/…`.
    pub static_files: StaticSettings,
    /// Ports, delays and limits of generations.
    pub rollout: RolloutSettings,
    /// Where deployments and their manifest are.
    pub deployments: DeploymentSettings,
    /// Where workers' sources are, and which folders are workers.
    pub discovery: DiscoverySettings,
    /// The environment and limits of workers.
    pub workers: WorkersSettings,
    /// How programs are built, for the mode.
    pub build: BuildSettings,
    /// Where deployments are brought to.
    pub targets: BTreeMap<TargetName, Target>,
    /// What development watches; `None` where nothing is watched.
    pub watch: Option<WatchSettings>,
    /// What development does for browsers; `None` in production, or where it is off.
    pub live_reload: Option<LiveReloadSettings>,
}

/// The dashboard on the socket of tqserver-admin.socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardSettings {
    /// Who has it may look; without one nobody may.
    pub token: Option<Secret>,
    /// The folder of its pages.
    pub pages: PathBuf,
}

/// A text that is shown to nobody: not in logs, and not where it is printed by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// A secret.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// What it is.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The public listener and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerSettings {
    /// Used only where no socket is inherited.
    pub port: u16,
    /// How long a client may take to begin (the PROXY protocol's header and TLS, together), to send a
    /// request's head, or pause in its body.
    pub read_timeout: Duration,
    /// How long a client may take no byte of an answer: an idle limit, so that it does not cut
    /// event streams.
    pub write_timeout: Duration,
    /// How long a kept-alive connection may wait for its next request.
    pub idle_timeout: Duration,
    /// The largest request head, in bytes; beyond it 431.
    pub max_header_bytes: usize,
    /// The largest request body, in bytes; beyond it 413. 0 means no limit.
    pub max_body_bytes: u64,
    /// The most client connections at once; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Whether HTTP/2 is spoken without TLS with clients that begin with it.
    pub http2_cleartext: bool,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNetwork>,
    /// Networks whose connections begin with a header of the PROXY protocol, each of them; those of
    /// others do not.
    pub proxy_protocol: Vec<IpNetwork>,
}

/// TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpsSettings {
    /// Where certificates and their keys are. The first is for clients that name no server, or one
    /// that is in none of them. Empty where there is no HTTPS.
    pub certificates: Vec<CertificateSource>,
    /// Whether requests without TLS are sent to HTTPS. Only with a certificate.
    pub redirect_http: bool,
    /// How long browsers shall use nothing but HTTPS (RFC 6797); zero: they are not told. Only with
    /// a certificate.
    pub hsts_max_age: Duration,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// What a line looks like, if there are any.
    pub format: AccessLogFormat,
    /// Where they are appended; `None`: they go to the journal.
    pub file: Option<PathBuf>,
    /// Of how many requests one is written, chosen at random. At least 1.
    pub one_in: u32,
}

/// A format of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Nothing is written.
    Off,
    /// An object a line.
    Json,
    /// As Apache's `combined`, with more at its end.
    Combined,
}

/// Where a certificate and its key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// In files.
    Files {
        /// The certificate, and those of its issuers behind it.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// In two credentials of the service, `<name>.crt` and `<name>.key`.
    Credential(CredentialName),
}

/// An address range in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpNetwork {
    /// The network's address.
    pub addr: std::net::IpAddr,
    /// How many leading bits count.
    pub prefix_len: u8,
}

impl IpNetwork {
    /// Whether `addr` lies in the range. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, addr: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        let bits = u32::from(self.prefix_len);
        match (self.addr, addr.to_canonical()) {
            (V4(net), V4(addr)) => {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                net.to_bits() & mask == addr.to_bits() & mask
            }
            (V6(net), V6(addr)) => {
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                net.to_bits() & mask == addr.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Serving of public files.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticSettings {
    /// Whether tqserver serves them at all.
    pub enabled: bool,
    /// The first path segment(s), `/static`.
    pub url_prefix: RoutePath,
    /// `Cache-Control: max-age`, in seconds.
    pub cache_max_age: Duration,
    /// In development, the folder whose `<worker>/public` is served.
    pub dev_root: PathBuf,
}

/// Ports, delays and limits of generations.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutSettings {
    /// The first port a worker may get.
    pub port_range_start: u16,
    /// The last port a worker may get.
    pub port_range_end: u16,
    /// Wait before the first probe of a worker that cannot notify.
    pub startup_delay: Duration,
    /// Wait before a crashed worker's second restart in a row; later ones wait longer.
    pub restart_delay: Duration,
    /// From SIGTERM to SIGKILL.
    pub shutdown_grace_period: Duration,
    /// From a unit's start to READY and a passing probe; then it has failed.
    pub start_timeout: Duration,
    /// How long requests in flight may go on when their generation was replaced, and streams of workers
    /// that say nothing else.
    pub drain_timeout: Duration,
    /// How long a request is held while its worker has no generation ready.
    pub hold: Duration,
    /// How many requests may be held at once; further ones get 503.
    pub hold_max_requests: usize,
    /// How many bytes their heads may have together; further ones get 503.
    pub hold_max_bytes: usize,
    /// How many generations of one worker may drain at once; the oldest is cut beyond that.
    pub max_draining: usize,
    /// How many units may be between their start and their being ready.
    pub parallel_starts: usize,
}

/// Where deployments are, and what makes the daemon look at the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentSettings {
    /// `deploy/manifest.json`.
    pub manifest_file: PathBuf,
    /// The folder of deployments: the manifest's own.
    pub deploy_dir: PathBuf,
    /// The keys by which deployments must be signed, in an OpenPGP keyring; `None` where signatures
    /// are not asked for.
    pub keyring: Option<PathBuf>,
    /// The poll that nets what inotify missed.
    pub check_interval: Duration,
    /// Whether a change of the manifest is acted on (`reload_triggers: manifest_change`).
    pub reload_on_change: bool,
    /// Whether SIGHUP is acted on (`reload_triggers: sighup`).
    pub reload_on_sighup: bool,
    /// Which deployments stay though nothing needs them.
    pub retention: RetentionSettings,
    /// What a deployment that is watched may do worse than the one before.
    pub soak: SoakSettings,
    /// `pins:`, what comes from a deployment of its own.
    pub pins: BTreeMap<PinTarget, Pin>,
}

/// How long deployments are kept, beyond those that are needed or tagged. What one of the two keeps
/// stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RetentionSettings {
    /// As many of the newest.
    pub keep: u32,
    /// Those that were built or activated within so many days.
    pub days: u32,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { keep: 5, days: 7 }
    }
}

/// What a worker of a deployment that is watched may do worse than it did before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoakSettings {
    /// The share of its answers in percent that may fail whatever was before.
    pub errors_percent: u8,
    /// How many times the 99th percentile before its durations may reach; 0: they are not looked at.
    pub p99_factor: u32,
    /// What that percentile may be whatever was before.
    pub p99: Duration,
}

impl Default for SoakSettings {
    fn default() -> Self {
        Self { errors_percent: 1, p99_factor: 3, p99: Duration::from_millis(100) }
    }
}

/// Which folders are workers.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoverySettings {
    /// `workers/`.
    pub workers_dir: PathBuf,
    /// Globs below it; a folder that matches one is a worker.
    pub include_patterns: Vec<String>,
}

/// What workers are given, before their own `worker.yaml` is considered.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkersSettings {
    /// `default:`
    pub default: WorkerDefaults,
    /// `paths:`, by route; the longest that covers a worker's route applies.
    pub paths: BTreeMap<RoutePath, WorkerOverrides>,
    /// `grants:`, what a worker may have that its `worker.yaml` asks for.
    pub grants: BTreeMap<WorkerName, Grant>,
}

/// Settings every worker has.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerDefaults {
    /// GOMAXPROCS and TOKIO_WORKER_THREADS.
    pub go_max_procs: Option<u32>,
    /// GOMEMLIMIT, such as `256MiB`.
    pub go_mem_limit: Option<String>,
    /// Requests after which a generation is replaced; 0 means never.
    pub max_requests: u64,
    /// From the request's last byte to the answer's head.
    pub read_timeout: Duration,
    /// Between two pieces of a body.
    pub write_timeout: Duration,
    /// How long a connection to the worker is kept without use; not in effect, as the data plane
    /// has one limit for all.
    pub idle_timeout: Duration,
    /// How long event streams and tunnels may go on when their generation was replaced; `None`: as long
    /// as other requests, [`RolloutSettings::drain_timeout`].
    pub stream_drain_timeout: Option<Duration>,
    /// Environment, in which `${WORKER_BASE}` and the like are already expandable only per
    /// worker: see `WorkerSettings::env`.
    pub env: BTreeMap<String, String>,
    /// Whether workers may keep parsed templates (TQ_CACHE_TEMPLATES).
    pub cache_templates: bool,
    /// Whether workers should look for changed resources (TQ_WATCH_RESOURCES).
    pub watch_resources: bool,
    /// MemoryHigh= in bytes; [`u64::MAX`] is systemd's infinity. What uses more for a while is replaced.
    pub memory_high: Option<u64>,
    /// MemoryMax= in bytes; [`u64::MAX`] is systemd's infinity.
    pub memory_max: Option<u64>,
    /// CPUQuota= in percent of one CPU.
    pub cpu_quota_percent: Option<u32>,
    /// TasksMax=; [`u64::MAX`] is systemd's infinity.
    pub tasks_max: Option<u64>,
    /// How the sandbox is loosened.
    pub sandbox: Sandbox,
    /// Whether a worker has a directory of its own that outlives it (StateDirectory=).
    pub state_directory: bool,
    /// How many instances a generation has, and which of them get requests.
    pub instances: InstanceSettings,
    /// Which answers are compressed on their way to clients.
    pub compression: CompressionSettings,
}

/// How many instances a generation has, which of them get requests, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceSettings {
    /// As many, each a unit; 1 to 64. Where their number follows what they have to do, as many at first.
    pub count: usize,
    /// How long the share of requests of a new instance grows, until it is as great as the others';
    /// zero: at once.
    pub slow_start: Duration,
    /// After how many failures in a row an instance is left out for a while; 0: never.
    pub eject_after: u32,
    /// How long it is left out.
    pub eject_for: Duration,
    /// How many requests an instance works on at once; 0: as many as come.
    pub max_in_flight: u64,
    /// How many requests for the worker may wait while all of its instances work on as many.
    pub max_queued: usize,
    /// How long each of them waits.
    pub queue: Duration,
    /// How often an instance that serves is asked whether it is well; zero: never.
    pub check_every: Duration,
    /// After how many bad answers in a row it is replaced.
    pub unwell_after: u32,
    /// Whether more are started, or some stopped, by what they have to do.
    pub scaling: ScalingSettings,
}

/// By what the number of instances follows what they have to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingSettings {
    /// The fewest; `None`: [`InstanceSettings::count`].
    pub min: Option<usize>,
    /// The most; the same.
    pub max: Option<usize>,
    /// How many requests in flight each is to have. At least 1.
    pub target_in_flight: u64,
    /// How long fewer must have been enough before some are stopped.
    pub idle: Duration,
}

/// What `paths:` and `worker.yaml` may change of [`ScalingSettings`]; `None` leaves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScalingOverrides {
    /// See [`ScalingSettings::min`].
    pub min: Option<usize>,
    /// See [`ScalingSettings::max`].
    pub max: Option<usize>,
    /// See [`ScalingSettings::target_in_flight`].
    pub target_in_flight: Option<u64>,
    /// See [`ScalingSettings::idle`].
    pub idle: Option<Duration>,
}

/// What `paths:` and `worker.yaml` may change of [`InstanceSettings`]; `None` leaves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InstanceOverrides {
    /// See [`InstanceSettings::count`].
    pub count: Option<usize>,
    /// See [`InstanceSettings::slow_start`].
    pub slow_start: Option<Duration>,
    /// See [`InstanceSettings::eject_after`].
    pub eject_after: Option<u32>,
    /// See [`InstanceSettings::eject_for`].
    pub eject_for: Option<Duration>,
    /// See [`InstanceSettings::max_in_flight`].
    pub max_in_flight: Option<u64>,
    /// See [`InstanceSettings::max_queued`].
    pub max_queued: Option<usize>,
    /// See [`InstanceSettings::queue`].
    pub queue: Option<Duration>,
    /// See [`InstanceSettings::check_every`].
    pub check_every: Option<Duration>,
    /// See [`InstanceSettings::unwell_after`].
    pub unwell_after: Option<u32>,
    /// See [`InstanceSettings::scaling`].
    pub scaling: ScalingOverrides,
}

/// What `paths:` may change of the defaults; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkerOverrides {
    /// See [`WorkerDefaults::go_max_procs`].
    pub go_max_procs: Option<u32>,
    /// See [`WorkerDefaults::go_mem_limit`].
    pub go_mem_limit: Option<String>,
    /// See [`WorkerDefaults::max_requests`].
    pub max_requests: Option<u64>,
    /// See [`WorkerDefaults::read_timeout`].
    pub read_timeout: Option<Duration>,
    /// See [`WorkerDefaults::write_timeout`].
    pub write_timeout: Option<Duration>,
    /// See [`WorkerDefaults::idle_timeout`].
    pub idle_timeout: Option<Duration>,
    /// See [`WorkerDefaults::stream_drain_timeout`].
    pub stream_drain_timeout: Option<Duration>,
    /// Added to, and winning over, the default environment.
    pub env: BTreeMap<String, String>,
    /// See [`WorkerDefaults::memory_high`].
    pub memory_high: Option<u64>,
    /// See [`WorkerDefaults::memory_max`].
    pub memory_max: Option<u64>,
    /// See [`WorkerDefaults::cpu_quota_percent`].
    pub cpu_quota_percent: Option<u32>,
    /// See [`WorkerDefaults::tasks_max`].
    pub tasks_max: Option<u64>,
    /// See [`WorkerDefaults::sandbox`].
    pub sandbox: SandboxOverrides,
    /// See [`WorkerDefaults::state_directory`].
    pub state_directory: Option<bool>,
    /// See [`WorkerDefaults::instances`].
    pub instances: InstanceOverrides,
    /// See [`WorkerDefaults::compression`].
    pub compression: CompressionOverrides,
}

/// How a worker says that it is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// `sd_notify(READY=1)`, then one passing probe.
    #[default]
    Notify,
    /// The probe alone decides: for programs that cannot notify.
    Http,
}

/// All that holds for one worker: defaults, then `paths:`, then its own `worker.yaml`.
///
/// Serialisable so that its digest is part of what makes a worker "changed".
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkerSettings {
    /// Where it is mounted.
    pub route: RoutePath,
    /// Whether the mount point is taken off before a request is sent on.
    pub strip_prefix: bool,
    /// How it says that it is ready.
    pub ready: Ready,
    /// What the probe asks for, `/health`.
    pub health_path: String,
    /// The command that runs it, first word relative to the worker's folder or absolute; `None`
    /// for `bin/<name>`.
    pub run: Option<Vec<String>>,
    /// The command that builds it; `None` where cargo or go does.
    pub build: Option<Vec<String>>,
    /// WatchdogSec=: how long it may say nothing to its watchdog; `None` for no watchdog. Left out of
    /// the digest where there is none, so that workers without one keep theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Duration>,
    /// Whether a change of `private/` in the source tree calls for a new generation. In a
    /// deployment it always does. No part of the digest: what it says is in the sums.
    #[serde(skip)]
    pub restart_on_private: bool,
    /// Environment in configuration order of precedence, `${…}` expanded for this worker.
    pub env: BTreeMap<String, String>,
    /// See [`WorkerDefaults::go_max_procs`].
    pub go_max_procs: Option<u32>,
    /// See [`WorkerDefaults::go_mem_limit`].
    pub go_mem_limit: Option<String>,
    /// See [`WorkerDefaults::max_requests`].
    pub max_requests: u64,
    /// See [`WorkerDefaults::read_timeout`].
    pub read_timeout: Duration,
    /// See [`WorkerDefaults::write_timeout`].
    pub write_timeout: Duration,
    /// See [`WorkerDefaults::idle_timeout`].
    pub idle_timeout: Duration,
    /// See [`WorkerDefaults::stream_drain_timeout`]. No part of the digest: the worker does not know of it.
    #[serde(skip)]
    pub stream_drain_timeout: Option<Duration>,
    /// See [`WorkerDefaults::memory_high`]. Left out of the digest where there is none, so that workers
    /// without one keep theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<u64>,
    /// See [`WorkerDefaults::memory_max`].
    pub memory_max: Option<u64>,
    /// See [`WorkerDefaults::cpu_quota_percent`].
    pub cpu_quota_percent: Option<u32>,
    /// See [`WorkerDefaults::tasks_max`].
    pub tasks_max: Option<u64>,
    /// See [`WorkerDefaults::sandbox`].
    pub sandbox: Sandbox,
    /// See [`WorkerDefaults::state_directory`].
    pub state_directory: bool,
    /// See [`WorkerDefaults::instances`]. No part of the digest: instances come and go without the
    /// others being started anew.
    #[serde(skip)]
    pub instances: InstanceSettings,
    /// See [`WorkerDefaults::compression`]. No part of the digest: it is not the worker that compresses.
    #[serde(skip)]
    pub compression: CompressionSettings,
    /// The credentials it asks for and is granted, and the files they are in.
    pub credentials: BTreeMap<CredentialName, PathBuf>,
    /// See [`WorkerDefaults::cache_templates`].
    pub cache_templates: bool,
    /// See [`WorkerDefaults::watch_resources`].
    pub watch_resources: bool,
}

impl WorkerSettings {
    /// The file below its folder that runs: `bin/<name>`, or the one of `bin/` that `run:` names
    /// first; `None` where it names none.
    pub fn program(&self, name: &WorkerName) -> Option<String> {
        super::worker::program(self.run.as_deref(), name)
    }
}

/// How programs are built.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildSettings {
    /// How many builds run at once.
    pub parallel_builds: usize,
    /// Whether uncommitted changes stop a production build.
    pub require_clean_working_dir: bool,
    /// Whether binaries carry commit, branch, tag and time.
    pub include_commit_in_binary: bool,
    /// Whether `public/` and `private/` are copied into the deployment.
    pub copy_assets: bool,
    /// `go build -ldflags`, before the git information.
    pub ldflags: String,
    /// The key that gpg signs production builds with; `None` where they are not signed.
    pub sign_key: Option<String>,
    /// `-X` templates for Go binaries, with `{{.Commit}}`, `{{.Branch}}`, `{{.Tag}}`, `{{.Time}}`.
    pub git_ldflags: Vec<String>,
}

/// What development watches.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchSettings {
    /// Globs below the project's folder.
    pub patterns: Vec<String>,
    /// How long nothing must change before a change counts.
    pub debounce: Duration,
}

/// What development does for browsers: pages that load again, and the overlay of a failed build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveReloadSettings {
    /// Where the places of errors lead.
    pub editor: EditorLink,
}

/// The address a foreground try-out listens on.
pub fn foreground_addr(listener: &ListenerSettings) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], listener.port))
}
