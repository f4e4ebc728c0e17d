//! What the tests of this module start from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LauncherConfig, Output, Source, StartRequest};
use crate::config::settings::{
    CompressionSettings, InstanceSettings, Mode, Ready, Sandbox, WorkerDefaults, WorkerSettings,
    WorkersSettings,
};
use crate::ids::{Generation, Port, RoutePath};

pub(super) fn config() -> LauncherConfig {
    let settings = settings();
    LauncherConfig {
        mode: Mode::Prod,
        config_dir: "/etc/tqserver".into(),
        deploy_dir: "/srv/deploy".into(),
        workers_dir: "/srv/workers".into(),
        workers: WorkersSettings {
            default: WorkerDefaults {
                go_max_procs: settings.go_max_procs,
                go_mem_limit: settings.go_mem_limit,
                max_requests: settings.max_requests,
                read_timeout: settings.read_timeout,
                write_timeout: settings.write_timeout,
                idle_timeout: settings.idle_timeout,
                stream_drain_timeout: settings.stream_drain_timeout,
                env: settings.env,
                cache_templates: settings.cache_templates,
                watch_resources: settings.watch_resources,
                memory_high: settings.memory_high,
                memory_max: settings.memory_max,
                cpu_quota_percent: settings.cpu_quota_percent,
                tasks_max: settings.tasks_max,
                sandbox: settings.sandbox,
                state_directory: settings.state_directory,
                instances: settings.instances,
                compression: settings.compression,
            },
            paths: BTreeMap::new(),
            grants: BTreeMap::new(),
        },
        start_timeout: Duration::from_secs(30),
        shutdown_grace_period: Duration::from_millis(10_500),
        output: Output::Journal,
    }
}

pub(super) fn request() -> StartRequest {
    StartRequest {
        worker: "index".parse().unwrap(),
        port: Port::new(9014).unwrap(),
        source: Source::Deployment("a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0".parse().unwrap()),
        generation: Generation(18),
    }
}

pub(super) fn settings() -> WorkerSettings {
    WorkerSettings {
        route: RoutePath::root(),
        strip_prefix: true,
        ready: Ready::Notify,
        health_path: "/health".to_owned(),
        run: None,
        build: None,
        watchdog: None,
        restart_on_private: false,
        env: [("GREETING".to_owned(), "hello".to_owned())].into(),
        go_max_procs: Some(2),
        go_mem_limit: Some("256MiB".to_owned()),
        max_requests: 0,
        read_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(120),
        stream_drain_timeout: None,
        memory_high: None,
        memory_max: None,
        cpu_quota_percent: None,
        tasks_max: None,
        sandbox: Sandbox::default(),
        state_directory: false,
        instances: InstanceSettings::default(),
        compression: CompressionSettings::default(),
        credentials: BTreeMap::new(),
        cache_templates: true,
        watch_resources: false,
    }
}
