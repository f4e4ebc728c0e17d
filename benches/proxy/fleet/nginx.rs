//! nginx, tuned for this: no log, no temporary files, kept connections to the worker.

use super::{Protocol, Setting, write};

pub(super) fn arguments(setting: &Setting<'_>) -> Vec<String> {
    let Setting { port, protocol, certificate, worker, threads, folder, public } = setting;
    let (folder, public) = (folder.display(), public.display());
    let (spoken, tls) = match protocol {
        Protocol::Http1 => ("", String::new()),
        Protocol::Http2 => (" http2", String::new()),
        Protocol::Tls => {
            let (certificate, key) = (certificate.certificate.display(), certificate.key.display());
            let files = format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
            (" ssl", format!("{files} ssl_protocols TLSv1.3;"))
        }
    };
    let text = format!(
        r#"daemon off;
user root;
pid {folder}/pid;
error_log stderr error;
worker_processes {threads};
worker_rlimit_nofile 20000;
events {{
    worker_connections 18000;
}}
http {{
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    keepalive_timeout 120s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 64k;
    client_max_body_size 100m;
    proxy_buffers 8 64k;
    proxy_buffer_size 64k;
    proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0;
    proxy_http_version 1.1;
    upstream worker {{
        server 127.0.0.1:{worker};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport{spoken};
        {tls}
        location / {{
            proxy_set_header Connection "";
            proxy_pass http://worker;
        }}
        location /tunnel {{
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1h;
            proxy_pass http://worker;
        }}
        location /static/index/ {{
            alias {public}/;
        }}
    }}
}}
"#
    );
    let path = write(setting, "nginx.conf", &text);
    ["-p", &folder.to_string(), "-e", "stderr", "-c", path.to_str().unwrap()]
        .map(String::from)
        .into()
}
