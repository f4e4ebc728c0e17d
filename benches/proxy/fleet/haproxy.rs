//! HAProxy without a log, with connections to the worker that any request may use.

use super::{Setting, write};

pub(super) fn arguments(setting: &Setting<'_>) -> Vec<String> {
    let Setting { port, worker, threads, .. } = setting;
    let text = format!(
        "global
    nbthread {threads}
    maxconn 9000
defaults
    mode http
    no log
    http-reuse always
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    timeout http-keep-alive 120s
    timeout tunnel 1h
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend workers
backend workers
    server worker 127.0.0.1:{worker}
"
    );
    let path = write(setting, "haproxy.cfg", &text);
    ["-db", "-f", path.to_str().unwrap()].map(String::from).into()
}
