//! A site in development: a data plane, and one worker whose generations the test switches.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tqserver::access_log::AccessLog;
use tqserver::config::settings::{ListenerSettings, LiveReloadSettings, StaticSettings};
use tqserver::ids::{Generation, WorkerName};
use tqserver::proxy::table::{
    PublicTree, PublishedTable, Route, RouteTable, UpstreamTimeouts, WeightedTargets,
};
use tqserver::proxy::target::Target;
use tqserver::proxy::{Build, DataPlane, Listener, Live, Place, Problems, ProxySettings};

/// After this something hangs.
const FOREVER: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    runtime: Runtime,
    listener: TcpListener,
    table: Arc<PublishedTable>,
    live: Arc<Live>,
    plane: Option<DataPlane>,
    serving: Option<Serving>,
    generation: u64,
    styles: u32,
    public: TempDir,
}

/// A generation, whose sockets close when it is dropped.
struct Serving {
    target: Arc<Target>,
    _tasks: JoinSet<()>,
}

impl Site {
    /// Nothing of the worker serves.
    pub(crate) fn new() -> Self {
        let table = PublishedTable::new();
        let live = Live::new(Arc::clone(&table), LiveReloadSettings::default());
        let mut site = Self {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            table,
            live,
            plane: None,
            serving: None,
            generation: 0,
            styles: 0,
            public: tempfile::tempdir().unwrap(),
        };
        site.publish(WeightedTargets::default());
        site.restyle();
        site.start();
        site
    }

    /// The first generation serves.
    pub(crate) fn serving() -> Self {
        let mut site = Self::new();
        site.switch();
        site
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    pub(crate) fn start(&mut self) {
        let settings = Arc::new(ArcSwap::from_pointee(settings()));
        let listeners = vec![Listener::http(self.listener.try_clone().unwrap())];
        let (table, live) = (Arc::clone(&self.table), Arc::clone(&self.live));
        self.plane = Some(
            DataPlane::start(listeners, 2, table, settings, Some(live), &AccessLog::off()).unwrap(),
        );
    }

    pub(crate) fn stop(&mut self) {
        let plane = self.plane.take().unwrap();
        self.runtime.block_on(plane.shutdown(FOREVER));
    }

    /// Switches to the next generation as a rollout does: it is there, it is published, and only
    /// then the old one drains and ends. Returns what its pages show.
    pub(crate) fn switch(&mut self) -> String {
        self.build(Build::Building);
        self.generation += 1;
        let text = format!("made by generation {}", self.generation);
        let (addr, tasks) = self.runtime.block_on(worker(text.clone()));
        let target = Target::new(index(), Generation(self.generation), addr);
        self.build(Build::Fine);
        self.publish(WeightedTargets::single(Arc::clone(&target)));
        let old = self.serving.replace(Serving { target, _tasks: tasks });
        if let Some(old) = old {
            old.target.start_draining();
            self.runtime.block_on(old.target.drained());
        }
        text
    }

    /// Leaves nothing that serves, as when a session begins whose worker is yet to be built.
    pub(crate) fn vanish(&mut self) {
        self.build(Build::Building);
        self.publish(WeightedTargets::default());
    }

    /// Says that templates have changed.
    pub(crate) fn change_template(&self) {
        self.live.pages_changed(&index());
    }

    /// Changes the style sheet, and returns what it then makes of pages.
    pub(crate) fn restyle(&mut self) -> Value {
        self.styles += 1;
        let value = format!("rgb(0, 100, {})", self.styles);
        fs::write(self.public.path().join("site.css"), format!("h1 {{ color: {value} }}")).unwrap();
        self.live.styles_changed(["/static/index/site.css".to_owned()]);
        json!({ "selector": "h1", "property": "color", "value": value })
    }

    pub(crate) fn build(&mut self, build: Build) {
        self.live.set_build(&index(), build);
    }

    fn publish(&self, targets: WeightedTargets) {
        let root = Arc::new(File::open(self.public.path()).unwrap());
        self.table.publish(RouteTable::new([Route {
            worker: index(),
            path: "/".parse().unwrap(),
            strip_prefix: true,
            timeouts: UpstreamTimeouts { response: FOREVER, body_idle: FOREVER },
            compression: None,
            targets,
            canary: None,
            refused: None,
            asleep: None,
            public: vec![PublicTree { root, path: self.public.path().to_owned(), digest: None }],
        }]));
    }
}

fn index() -> WorkerName {
    "index".parse().unwrap()
}

/// A failure at one place.
pub(crate) fn problems(message: &str) -> Problems {
    let place = Place {
        file: "/srv/site/workers/index/src/main.rs".into(),
        shown: "workers/index/src/main.rs".into(),
        line: 12,
        column: 5,
        message: message.to_owned(),
    };
    Problems { log: format!("error: {message}\n --> {}:12:5\n", place.shown), places: vec![place] }
}

/// A worker whose every answer is a page that shows `text`, with a policy that lets it have nothing
/// but what is its own.
async fn worker(text: String) -> (SocketAddr, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(serve(stream, text.clone()));
        }
    });
    (addr, tasks)
}

async fn serve(mut stream: TcpStream, text: String) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<title>A site</title>\n\
         <link rel=\"stylesheet\" href=\"/static/index/site.css\">\n<h1>{text}</h1>\n</html>\n"
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Content-Security-Policy: default-src 'self'\r\nETag: \"{text}\"\r\n\r\n{page}",
        page.len()
    );
    while let Ok(Some(line)) = lines.next_line().await {
        if line.is_empty() && write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn settings() -> ProxySettings {
    ProxySettings {
        listener: ListenerSettings {
            port: 0,
            read_timeout: FOREVER,
            write_timeout: FOREVER,
            idle_timeout: FOREVER,
            max_header_bytes: 32 << 10,
            max_body_bytes: 0,
            max_connections: 1000,
            http2_cleartext: false,
            trusted_proxies: vec![],
            proxy_protocol: Vec::new(),
        },
        static_files: StaticSettings {
            enabled: true,
            url_prefix: "/static".parse().unwrap(),
            cache_max_age: Duration::from_secs(3600),
            dev_root: PathBuf::new(),
        },
        hold: FOREVER,
        hold_max_requests: 100,
        hold_max_bytes: 1 << 20,
        redirect_port: None,
        hsts_max_age: Duration::ZERO,
    }
}
