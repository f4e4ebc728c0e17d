use super::*;
use crate::config::settings::{Mode, WorkersSettings};
use crate::config::worker::{WorkerVars, effective};
use crate::config::{Sources, parse};
use rstest::rstest;

fn workers(server: &str) -> WorkersSettings {
    let text = format!("workers: {{{server}}}");
    let loaded = parse(&Sources::of_project("/srv"), text.as_bytes(), None);
    loaded.unwrap_or_else(|errors| panic!("{errors}")).settings.workers
}

/// Whether worker `shop` may have what `file` asks for.
fn ask(server: &str, file: &str) -> Result<(), String> {
    let (workers, name) = (workers(server), "shop".parse().unwrap());
    let file = WorkerFile::parse(file.as_bytes(), Path::new("worker.yaml"))
        .unwrap_or_else(|errors| panic!("{errors}"));
    let silent = WorkerFile { route: file.route.clone(), ..WorkerFile::default() };
    let vars = WorkerVars { worker_base: Path::new("/w"), mode: Mode::Prod, deployment_base: None };
    let settle = |file: &WorkerFile| effective(&workers, &name, file, &vars);
    let server_yaml = Path::new("/etc/tqserver/server.yaml");
    let settings = (&settle(&silent), &settle(&file));
    check(&name, &file, settings, workers.grants.get(&name), server_yaml)
}

const ALL: &str = "{credentials: [db], state_directory: true, memory_max: 1G, cpu_quota: 200%, \
                   tasks_max: infinity, sandbox: {memory_deny_write_execute: false, \
                   system_call_filter: ['@resources', io_uring_setup], \
                   restrict_address_families: [AF_NETLINK], ip_address_allow: [any, 'fd00::/8']}}";

#[test]
fn what_is_asked_is_refused_at_once_with_what_would_grant_it() {
    let server = "default: {memory_max: 256M, cpu_quota: 50%, tasks_max: 64, sandbox: \
                  {ip_address_allow: [10.0.0.0/8]}}, grants: {shop: {credentials: {mail: /m}}}";
    let refusal = ask(server, ALL).unwrap_err();
    insta::assert_snapshot!(refusal);
    // The advice is good: it is valid, and it helps.
    let advice = refusal.rsplit('`').nth(1).unwrap();
    let granted = server.replace("{shop: {credentials: {mail: /m}}}", &format!("{{{advice}}}"));
    assert_eq!(ask(&granted, ALL), Ok(()));
}

#[rstest]
// Given without asking, for everybody or at the route.
#[case(
    "default: {sandbox: {restrict_address_families: [AF_NETLINK]}}",
    "sandbox: {restrict_address_families: [AF_NETLINK]}",
    true
)]
#[case("paths: {/shop: {state_directory: true}}", "state_directory: true", true)]
#[case("paths: {/other: {state_directory: true}}", "state_directory: true", false)]
#[case(
    "default: {sandbox: {memory_deny_write_execute: false}}",
    "sandbox: {memory_deny_write_execute: false}",
    true
)]
// Granted to this worker, or to another.
#[case("grants: {shop: {credentials: {db: /x}}}", "credentials: [db]", true)]
#[case("grants: {other: {credentials: {db: /x}}}", "credentials: [db]", false)]
#[case(
    "grants: {shop: {sandbox: {ip_address_allow: [10.0.0.0/8]}}}",
    "sandbox: {ip_address_allow: [10.1.2.3]}",
    true
)]
#[case(
    "grants: {shop: {sandbox: {ip_address_allow: [10.0.0.0/8]}}}",
    "sandbox: {ip_address_allow: [any]}",
    false
)]
// Limits: no limit in server.yaml is no ceiling.
#[case("", "{memory_max: 9G, cpu_quota: 900%, tasks_max: 9999}", true)]
#[case("default: {memory_max: 256M}", "memory_max: 256M", true)]
#[case("default: {memory_max: 256M}", "memory_max: 257M", false)]
#[case("default: {memory_max: 256M}", "memory_max: infinity", false)]
#[case("default: {memory_max: 256M}, grants: {shop: {memory_max: 1G}}", "memory_max: 1G", true)]
#[case("grants: {shop: {memory_max: 1G}}", "memory_max: 2G", false)]
#[case(
    "default: {tasks_max: 10}, grants: {shop: {tasks_max: infinity}}",
    "tasks_max: infinity",
    true
)]
fn asked(#[case] server: &str, #[case] file: &str, #[case] allowed: bool) {
    assert_eq!(ask(server, file).is_ok(), allowed, "{:?}", ask(server, file));
}

#[test]
fn less_than_what_is_given_can_be_asked_for() {
    let server = "default: {memory_max: 1G, sandbox: {memory_deny_write_execute: false}, \
                  state_directory: true}";
    let file = "{memory_max: 64M, sandbox: {memory_deny_write_execute: true}, \
                state_directory: false}";
    assert_eq!(ask(server, file), Ok(()));
}
