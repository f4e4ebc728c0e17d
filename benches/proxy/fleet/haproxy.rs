//! HAProxy without a log, with connections to the worker that any request may use.

use super::{Protocol, Setting, write};

pub(super) fn arguments(setting: &Setting<'_>) -> Vec<String> {
    let Setting { port, protocol, certificate, worker, threads, .. } = setting;
    let spoken = match protocol {
        Protocol::Http1 => String::new(),
        Protocol::Http2 => " proto h2".to_owned(),
        Protocol::Tls => {
            let both = certificate.both.display();
            format!(" ssl crt {both} alpn http/1.1 ssl-min-ver TLSv1.3")
        }
    };
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
    bind 127.0.0.1:{port} backlog 4096{spoken}
    default_backend workers
backend workers
    server worker 127.0.0.1:{worker}
"
    );
    let path = write(setting, "haproxy.cfg", &text);
    ["-db", "-f", path.to_str().unwrap()].map(String::from).into()
}
