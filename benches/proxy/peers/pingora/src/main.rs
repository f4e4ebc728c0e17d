//! A proxy made with pingora: `pingora-peer PORT WORKER-PORT THREADS`.

use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Sends every request to one worker.
struct Forward {
    worker: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.worker, false, String::new())))
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|it| it.parse::<u16>().expect("a number"));
    let mut number = || numbers.next().expect("PORT WORKER-PORT THREADS");
    let (port, worker, threads) = (number(), number(), number());
    let configuration = ServerConf {
        threads: threads.into(),
        upstream_keepalive_pool_size: 1024,
        // It would wait for minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let worker = (Ipv4Addr::LOCALHOST, worker).into();
    let mut service = http_proxy_service(&server.configuration, Forward { worker });
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever();
}
