//! Caddy without a log, its answers left as they are. It takes as many threads as it has processors.

use super::{Setting, write};

pub(super) fn arguments(setting: &Setting<'_>) -> Vec<String> {
    let Setting { port, worker, public, .. } = setting;
    let public = public.display();
    let text = format!(
        "{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
}}
http://127.0.0.1:{port}, http://bench.test:{port} {{
    handle_path /static/index/* {{
        root * {public}
        file_server
    }}
    handle {{
        reverse_proxy 127.0.0.1:{worker} {{
            transport http {{
                compression off
                keepalive_idle_conns_per_host 1024
            }}
        }}
    }}
}}
"
    );
    let path = write(setting, "Caddyfile", &text);
    ["run", "--config", path.to_str().unwrap(), "--adapter", "caddyfile"].map(String::from).into()
}
