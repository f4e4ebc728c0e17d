//! What holds for one worker: defaults, then `paths:`, then its own file.

use std::path::Path;

use super::scope::BIN_DIR;
use super::settings::{Mode, Sandbox, WorkerOverrides, WorkerSettings, WorkersSettings};
use super::template::Template;
use super::worker::WorkerFile;
use crate::ids::{RoutePath, WorkerName};

/// What the variables stand for that differ by worker.
#[derive(Debug, Clone, Copy)]
pub struct WorkerVars<'a> {
    /// `${WORKER_BASE}`: the worker's folder.
    pub worker_base: &'a Path,
    /// `${DEPLOYMENT_MODE}`
    pub mode: Mode,
    /// `${DEPLOYMENT_BASE}`: the deployment's folder; empty in development.
    pub deployment_base: Option<&'a Path>,
}

impl WorkerVars<'_> {
    fn get(&self, name: &str) -> Option<String> {
        match name {
            "WORKER_BASE" => Some(self.worker_base.display().to_string()),
            "DEPLOYMENT_MODE" => Some(self.mode.as_str().to_owned()),
            "DEPLOYMENT_BASE" => self.deployment_base.map(|path| path.display().to_string()),
            "WORKERS_BIN_DIR" => Some(BIN_DIR.to_owned()),
            _ => None,
        }
    }
}

/// Merges everything said about `name`. The longest route of `paths:` that covers the worker's
/// applies, and no other.
pub fn effective(
    workers: &WorkersSettings,
    name: &WorkerName,
    file: &WorkerFile,
    vars: &WorkerVars<'_>,
) -> WorkerSettings {
    let route = file.route_for(name);
    let default = &workers.default;
    let covering = |(path, _): &(&RoutePath, &WorkerOverrides)| path.covers(route.as_str());
    let longest = workers.paths.iter().filter(covering).max_by_key(|(path, _)| path.as_str().len());
    let nothing = WorkerOverrides::default();
    let layers = [&file.overrides, longest.map_or(&nothing, |(_, overrides)| overrides)];

    let grant = workers.grants.get(name);
    let credentials = grant.into_iter().flat_map(|grant| &grant.credentials);

    let mut env = default.env.clone();
    for layer in layers.iter().rev() {
        env.extend(layer.env.clone());
    }
    env.retain(|_, value| expand(value, vars));

    WorkerSettings {
        strip_prefix: file.strip_prefix.unwrap_or(true),
        ready: file.ready,
        health_path: file.health_path.clone().unwrap_or_else(|| "/health".to_owned()),
        run: file.run.clone(),
        build: file.build.clone(),
        watchdog: file.watchdog,
        restart_on_private: file.restart_on_private,
        env,
        go_max_procs: first(layers, |layer| layer.go_max_procs).or(default.go_max_procs),
        go_mem_limit: first(layers, |layer| layer.go_mem_limit.clone())
            .or_else(|| default.go_mem_limit.clone()),
        max_requests: first(layers, |layer| layer.max_requests).unwrap_or(default.max_requests),
        read_timeout: first(layers, |layer| layer.read_timeout).unwrap_or(default.read_timeout),
        write_timeout: first(layers, |layer| layer.write_timeout).unwrap_or(default.write_timeout),
        idle_timeout: first(layers, |layer| layer.idle_timeout).unwrap_or(default.idle_timeout),
        stream_drain_timeout: first(layers, |layer| layer.stream_drain_timeout)
            .or(default.stream_drain_timeout),
        memory_high: first(layers, |layer| layer.memory_high).or(default.memory_high),
        memory_max: first(layers, |layer| layer.memory_max)
            .or(default.memory_max)
            .or(grant.and_then(|grant| grant.memory_max)),
        cpu_quota_percent: first(layers, |layer| layer.cpu_quota_percent)
            .or(default.cpu_quota_percent)
            .or(grant.and_then(|grant| grant.cpu_quota_percent)),
        tasks_max: first(layers, |layer| layer.tasks_max)
            .or(default.tasks_max)
            .or(grant.and_then(|grant| grant.tasks_max)),
        sandbox: sandbox(layers, &default.sandbox),
        state_directory: first(layers, |layer| layer.state_directory)
            .unwrap_or(default.state_directory),
        instances: default.instances.under(layers),
        compression: default.compression.under(layers),
        credentials: credentials
            .filter(|(name, _)| file.credentials.contains(name))
            .map(|(name, path)| (name.clone(), path.clone()))
            .collect(),
        cache_templates: default.cache_templates,
        watch_resources: default.watch_resources,
        route,
    }
}

/// Each layer may say that memory is not to be executed, or is; what they allow adds up.
fn sandbox(layers: [&WorkerOverrides; 2], default: &Sandbox) -> Sandbox {
    let mut sandbox = default.clone();
    let deny = first(layers, |layer| layer.sandbox.memory_deny_write_execute);
    sandbox.memory_deny_write_execute = deny.unwrap_or(sandbox.memory_deny_write_execute);
    for layer in layers {
        sandbox.allowed.extend(&layer.sandbox.allowed);
    }
    sandbox
}

fn first<T>(
    layers: [&WorkerOverrides; 2],
    value: impl Fn(&WorkerOverrides) -> Option<T>,
) -> Option<T> {
    layers.into_iter().find_map(value)
}

/// Expands a variable's template in place; whether the variable is set at all. A text that is no
/// template did not come from a file, and stays.
fn expand(value: &mut String, vars: &WorkerVars<'_>) -> bool {
    if value.is_empty() {
        return true;
    }
    if let Ok(template) = value.parse::<Template>() {
        *value = template.expand(|name| vars.get(name));
    }
    !value.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Coding;
    use crate::config::{Sources, parse};

    const SERVER: &str = r#"
workers:
  default:
    go_max_procs: 1
    max_requests: 7
    env: {LEVEL: default, BASE: "${WORKER_BASE}/x", MODE: "${DEPLOYMENT_MODE}", DEPLOY: "${DEPLOYMENT_BASE}", EMPTY: "", DOLLAR: "${MONEY}"}
  paths:
    "/api": {go_max_procs: 2, max_requests: 5000, stream_drain_timeout_seconds: 9, env: {LEVEL: path}}
    "/api/users": {go_max_procs: 4}
"#;

    fn settle(name: &str, file: &str) -> WorkerSettings {
        let mut sources = Sources::of_project("/srv");
        sources.environment = [("MONEY", "${WORKER_BASE}")].into_iter().collect();
        let loaded = parse(&sources, SERVER.as_bytes(), None).unwrap();
        let file = WorkerFile::parse(file.as_bytes(), Path::new("worker.yaml")).unwrap();
        let worker_base = Path::new("/srv/workers/w");
        let vars = WorkerVars { worker_base, mode: Mode::Dev, deployment_base: None };
        effective(&loaded.settings.workers, &name.parse().unwrap(), &file, &vars)
    }

    #[test]
    fn the_longest_covering_path_applies_alone() {
        let shop = settle("shop", "");
        assert_eq!((shop.go_max_procs, shop.max_requests), (Some(1), 7));
        let api = settle("api_books", "");
        assert_eq!((api.go_max_procs, api.max_requests), (Some(2), 5000));
        assert_eq!(api.env["LEVEL"], "path");
        let users = settle("api_users", "");
        assert_eq!((users.go_max_procs, users.max_requests), (Some(4), 7));
        assert_eq!(users.env["LEVEL"], "default");
    }

    #[test]
    fn the_workers_own_file_wins() {
        let own = settle("shop", "{route: /api/shop, max_requests: 1, env: {LEVEL: own}}");
        assert_eq!((own.go_max_procs, own.max_requests), (Some(2), 1));
        let streams = |file| settle("shop", file).stream_drain_timeout.map(|limit| limit.as_secs());
        assert_eq!(streams("{route: /shop}"), None);
        assert_eq!(streams("{route: /api/shop}"), Some(9));
        assert_eq!(streams("{route: /api/shop, stream_drain_timeout_seconds: 0}"), Some(0));
        assert_eq!(own.env["LEVEL"], "own");
        assert_eq!(own.route.as_str(), "/api/shop");
    }

    #[test]
    fn compression_is_merged_key_by_key() {
        let server = "workers: {default: {compression: {encodings: [zstd, br], min_bytes: 2K}}, \
                      paths: {/api: {compression: {encodings: [gzip], gzip_level: 1}}}}";
        let loaded = parse(&Sources::of_project("/srv"), server.as_bytes(), None).unwrap();
        let settle = |name: &str, file: &str| {
            let file = WorkerFile::parse(file.as_bytes(), Path::new("worker.yaml")).unwrap();
            let worker_base = Path::new("/srv/workers/w");
            let vars = WorkerVars { worker_base, mode: Mode::Dev, deployment_base: None };
            effective(&loaded.settings.workers, &name.parse().unwrap(), &file, &vars).compression
        };
        let shop = settle("shop", "compression: {types: [text/html]}");
        assert_eq!((shop.encodings, shop.min_bytes), (vec![Coding::Zstd, Coding::Brotli], 2048));
        assert_eq!(shop.types, ["text/html".parse().unwrap()]);
        let api = settle("api", "");
        assert_eq!((api.encodings, api.min_bytes), (vec![Coding::Gzip], 2048));
        assert_eq!((api.levels.gzip, api.levels.br), (1, 4));
        assert_eq!(settle("api", "compression: {encodings: []}").encodings, []);
    }

    #[test]
    fn the_environment_is_expanded_for_the_worker() {
        let env = settle("shop", "").env;
        assert_eq!(env["BASE"], "/srv/workers/w/x");
        assert_eq!(env["MODE"], "dev");
        assert_eq!(env["EMPTY"], "", "written empty");
        assert!(!env.contains_key("DEPLOY"), "empty by its variable");
        assert_eq!(env["DOLLAR"], "${WORKER_BASE}", "values are not expanded again");
    }
}
