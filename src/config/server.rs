//! `server.yaml`, key by key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::access_log;
use super::grants;
use super::https;
use super::limits;
use super::pins;
use super::scope::{BIN_DIR, Known};
use super::section::{Located, Section};
use super::settings::{
    AccessLogSettings, DashboardSettings, DiscoverySettings, Grant, HttpsSettings,
    ListenerSettings, Mode, PinTarget, RolloutSettings, Secret, StaticSettings, WorkerOverrides,
};
use super::units::{network, relative_glob, size};
use crate::ids::{CommitId, RoutePath, WorkerName};

/// A day, in seconds: longer than any limit that is meant to be one.
pub(super) const DAY: u64 = 24 * 60 * 60;

/// Where the package has the dashboard's pages.
const DASHBOARD_PAGES: &str = "/usr/share/tqserver/admin";

/// The length of the dashboard's token, in bytes.
const TOKEN_MIN: usize = 16;
const TOKEN_MAX: usize = 256;

/// What the file says, with defaults where it says nothing and no other file may.
pub(super) struct ServerFile {
    pub(super) mode: Option<Located<Mode>>,
    pub(super) listener: ListenerSettings,
    pub(super) https: HttpsSettings,
    pub(super) access_log: AccessLogSettings,
    pub(super) metrics_listen: Option<SocketAddr>,
    pub(super) dashboard: DashboardSettings,
    pub(super) static_files: StaticSettings,
    pub(super) workers: WorkersPart,
}

/// The `workers:` part.
pub(super) struct WorkersPart {
    pub(super) rollout: RolloutSettings,
    pub(super) manifest_file: Option<Located<PathBuf>>,
    pub(super) check_interval: Option<Located<Duration>>,
    pub(super) discovery_mode: Option<Located<DiscoveryMode>>,
    pub(super) discovery: DiscoverySettings,
    /// `workers_dir` as it is written, for comparison with paths of deployment.yaml.
    pub(super) workers_dir: String,
    pub(super) default: WorkerOverrides,
    pub(super) paths: BTreeMap<RoutePath, WorkerOverrides>,
    pub(super) grants: BTreeMap<WorkerName, Grant>,
    pub(super) pins: BTreeMap<PinTarget, Located<CommitId>>,
}

/// Where the server learns which workers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiscoveryMode {
    Filesystem,
    Manifest,
}

/// Reads the file; relative paths start from `root`.
pub(super) fn read(file: &mut Section<'_, '_>, root: &Path) -> ServerFile {
    let (mode, listener, https, access_log, metrics, dashboard, static_files) =
        file.section("server", |server| {
            (
                server.parsed("deployment_mode", parse_mode),
                read_listener(server),
                server.section("https", |section| https::read(section, root)),
                server.section("access_log", |section| access_log::read(section, root)),
                server.section("metrics", |section| section.parsed("listen", loopback)),
                server.section("dashboard", |section| read_dashboard(section, root)),
                server.section("static", |section| read_static(section, root)),
            )
        });
    let workers = file.section("workers", |section| read_workers(section, root));
    let metrics_listen = metrics.map(|found| found.value);
    ServerFile {
        mode,
        listener,
        https,
        access_log,
        metrics_listen,
        dashboard,
        static_files,
        workers,
    }
}

fn read_dashboard(section: &mut Section<'_, '_>, root: &Path) -> DashboardSettings {
    let token = section.parsed("token", |text| match text.len() {
        TOKEN_MIN..=TOKEN_MAX => Ok(Secret::new(text)),
        length => Err(format!(
            "a token of {length} characters; it has {TOKEN_MIN} to {TOKEN_MAX}, as of `openssl rand -hex 16`"
        )),
    });
    let pages = section.parsed("pages", |text| path_in(root, text));
    DashboardSettings {
        token: token.map(|found| found.value),
        pages: pages.map_or_else(|| PathBuf::from(DASHBOARD_PAGES), |found| found.value),
    }
}

/// `dev` or `prod`.
pub(super) fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "dev" => Ok(Mode::Dev),
        "prod" => Ok(Mode::Prod),
        other => Err(format!("{other:?} is not a mode; it is dev or prod")),
    }
}

/// An address and port that only this machine can reach.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address with a port, as 127.0.0.1:9464"))?;
    match addr.ip().is_loopback() && addr.port() != 0 {
        true => Ok(addr),
        false => Err(format!(
            "{addr} is not on loopback, as 127.0.0.1:9464 is: the numbers are for this machine alone; \
             for others put a proxy that asks who they are before it"
        )),
    }
}

/// A path, absolute or relative to `root`.
pub(super) fn path_in(root: &Path, text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("a path cannot have a NUL in it".into());
    }
    // Collecting the components takes `./` and doubled slashes out.
    Ok(root.join(text).components().collect())
}

fn read_listener(server: &mut Section<'_, '_>) -> ListenerSettings {
    let idle = server.seconds("idle_timeout_seconds", 1..=DAY);
    ListenerSettings {
        port: server.number("port", 1..=u16::MAX).unwrap_or(8080),
        read_timeout: server
            .seconds("read_timeout_seconds", 1..=DAY)
            .unwrap_or(Duration::from_secs(30)),
        write_timeout: server
            .seconds("write_timeout_seconds", 1..=DAY)
            .unwrap_or(Duration::from_secs(30)),
        idle_timeout: idle.unwrap_or(Duration::from_secs(120)),
        max_header_bytes: server
            .parsed_scalar("max_header_size", header_size)
            .map_or(32 << 10, |found| found.value),
        max_body_bytes: server
            .parsed_scalar("max_body_size", size)
            .map_or(100 << 20, |found| found.value),
        max_connections: server
            .number("max_connections", 1..=1_000_000_u32)
            .map_or(16_384, |number| number as usize),
        http2_cleartext: server.flag("http2_cleartext").is_some_and(|found| found.value),
        trusted_proxies: server.list("trusted_proxies", network).unwrap_or_default(),
        proxy_protocol: server.list("proxy_protocol", network).unwrap_or_default(),
    }
}

/// 1K to 64K: room for cookies, but not for whoever would fill the memory with open heads.
fn header_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        bytes @ 1_024..=65_536 => Ok(bytes as usize),
        _ => Err(format!("{text} is not from 1K to 64K")),
    }
}

/// 64K to 1G: one request of the largest head has room in any case.
fn hold_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        bytes @ 65_536..=0x4000_0000 => Ok(bytes as usize),
        _ => Err(format!("{text} is not from 64K to 1G")),
    }
}

fn read_static(section: &mut Section<'_, '_>, root: &Path) -> StaticSettings {
    let prefix = section.parsed("url_prefix", |text| match text.parse::<RoutePath>() {
        Ok(route) if route.is_root() => Err("`/` would leave nothing for workers".to_owned()),
        Ok(route) => Ok(route),
        Err(error) => Err(error.to_string()),
    });
    StaticSettings {
        enabled: section.flag("enabled").is_none_or(|found| found.value),
        url_prefix: prefix.map_or_else(default_prefix, |found| found.value),
        cache_max_age: section
            .seconds("cache_max_age_seconds", 0..=366 * DAY)
            .unwrap_or(Duration::from_secs(3600)),
        dev_root: section
            .parsed("dev_root", |text| path_in(root, text))
            .map_or_else(|| root.join("workers"), |found| found.value),
    }
}

fn default_prefix() -> RoutePath {
    // Cannot fail: the text is a route.
    "/static".parse().unwrap_or_else(|_| RoutePath::root())
}

fn read_workers(workers: &mut Section<'_, '_>, root: &Path) -> WorkersPart {
    workers.only(
        "bin_dir",
        Known::Now,
        BIN_DIR,
        "a worker's program is bin/<name> in its own folder, in both modes",
    );
    workers.only(
        "deployment_base",
        Known::PerWorker,
        "${DEPLOYMENT_BASE}",
        "the manifest says which deployment runs",
    );
    let rollout = read_rollout(workers);
    let manifest_file = workers.parsed("manifest_file", |text| file_path(root, text));
    let check_interval = workers
        .located_number("check_manifest_interval_seconds", 1..=DAY)
        .map(|found| Located { value: Duration::from_secs(found.value), at: found.at });
    let (discovery_mode, discovery, workers_dir) =
        workers.section("discovery", |section| read_discovery(section, root));
    WorkersPart {
        rollout,
        manifest_file,
        check_interval,
        discovery_mode,
        discovery,
        workers_dir,
        default: workers.section("default", limits::read),
        paths: workers.sections("paths", "<route>", limits::read),
        grants: workers.sections("grants", "<worker>", grants::read),
        pins: pins::read(workers),
    }
}

/// The path of a file, which has a name and a folder.
pub(super) fn file_path(root: &Path, text: &str) -> Result<PathBuf, String> {
    if text.ends_with('/') || Path::new(text).file_name().is_none() {
        return Err(format!("{text:?} is not the path of a file"));
    }
    path_in(root, text)
}

fn read_rollout(workers: &mut Section<'_, '_>) -> RolloutSettings {
    const MINUTE: u64 = 60_000;
    let before = workers.findings();
    let first = workers.located_number("port_range_start", 1024..=u16::MAX);
    let last = workers.located_number("port_range_end", 1024..=u16::MAX);
    let start = first.as_ref().map_or(9000, |found| found.value);
    let end = last.as_ref().map_or(9999, |found| found.value);
    if start > end && workers.findings() == before {
        let message = format!("the range of ports ends before it starts: {start} to {end}");
        if let Some(found) = last.or(first) {
            workers.error(found.at, message);
        }
    }
    RolloutSettings {
        port_range_start: start,
        port_range_end: end,
        startup_delay: workers
            .millis("startup_delay_ms", 0..=MINUTE)
            .unwrap_or(Duration::from_millis(100)),
        restart_delay: workers
            .millis("restart_delay_ms", 1..=MINUTE)
            .unwrap_or(Duration::from_millis(100)),
        shutdown_grace_period: workers
            .millis("shutdown_grace_period_ms", 1..=10 * MINUTE)
            .unwrap_or(Duration::from_millis(500)),
        start_timeout: workers
            .seconds("start_timeout_seconds", 1..=3600)
            .unwrap_or(Duration::from_secs(60)),
        drain_timeout: workers
            .seconds("drain_timeout_seconds", 0..=DAY)
            .unwrap_or(Duration::from_secs(30)),
        hold: workers.seconds("hold_seconds", 0..=300).unwrap_or(Duration::from_secs(10)),
        hold_max_requests: workers
            .number("hold_max_requests", 0..=1_000_000_u32)
            .map_or(1000, |number| number as usize),
        hold_max_bytes: workers
            .parsed_scalar("hold_max_size", hold_size)
            .map_or(16 << 20, |found| found.value),
        max_draining: workers.number("max_draining_generations", 1..=64_u8).map_or(4, usize::from),
        parallel_starts: workers.number("parallel_starts", 1..=1000_u16).map_or(4, usize::from),
    }
}

fn read_discovery(
    section: &mut Section<'_, '_>,
    root: &Path,
) -> (Option<Located<DiscoveryMode>>, DiscoverySettings, String) {
    let mode = section.parsed("mode", |text| match text {
        "filesystem" => Ok(DiscoveryMode::Filesystem),
        "manifest" => Ok(DiscoveryMode::Manifest),
        other => Err(format!("{other:?} is neither filesystem nor manifest")),
    });
    let workers_dir = section.parsed("workers_dir", |text| {
        path_in(root, text).map(|path| (text.trim_end_matches('/').to_owned(), path))
    });
    let (text, workers_dir) =
        workers_dir.map_or_else(|| ("workers".into(), root.join("workers")), |found| found.value);
    let include_patterns = section
        .list("include_patterns", relative_glob)
        .unwrap_or_else(|| vec!["*/src/main.rs".into(), "*/src/main.go".into()]);
    (mode, DiscoverySettings { workers_dir, include_patterns }, text)
}
