//! A running data plane with workers that say what they see, and a public folder amid secrets.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tempfile::TempDir;
use tqserver::access_log::AccessLog;
use tqserver::config::settings::{ListenerSettings, StaticSettings};
use tqserver::ids::{Generation, Md5};
use tqserver::proxy::table::{
    PublicTree, PublishedTable, Route, RouteTable, UpstreamTimeouts, WeightedTargets,
};
use tqserver::proxy::target::Target;
use tqserver::proxy::{DataPlane, Listener, ProxySettings};

/// Each worker's name, its route, and whether the route is taken off.
pub(crate) const WORKERS: [(&str, &str, bool); 5] = [
    ("index", "/", true),
    ("api", "/api", true),
    ("api_users", "/api/users", true),
    ("shop", "/shop", false),
    ("odd", "/a.b~c-d_e", true),
];

/// Where public files are.
pub(crate) const STATIC: &str = "/static";

/// The worker that has some, by their names below `public/`; each holds its own name.
const PUBLISHER: &str = "index";
const PUBLIC: [&str; 6] =
    ["index.html", "css/a.css", "css/a b.css", "docs/index.html", ".well-known/x", "caf\u{e9}.txt"];

/// What must never be seen: hidden, outside, or behind a link.
const HIDDEN: [&str; 3] = ["public/.env", "private/index.html", "secret"];
const LINKS: [(&str, &str); 3] =
    [("public/out", "../private"), ("public/link.css", "../secret"), ("public/self", ".")];

/// Longer than anything takes.
const FOREVER: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// From a worker, with the target it was asked for.
    Worker { name: String, seen: String },
    /// A public file, by the name it holds.
    File(String),
    /// The server's own answer, or the connection's end.
    Refused,
}

/// The data plane, and a client's connection to it.
pub(crate) struct Site {
    addr: SocketAddr,
    connection: Mutex<Option<BufReader<TcpStream>>>,
    // What lives as long as the process.
    _plane: DataPlane,
    _folder: TempDir,
}

/// The one site of this process.
pub(crate) fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(Site::start)
}

/// Whether a file of this name is public.
pub(crate) fn public_file(name: &str) -> bool {
    PUBLIC.contains(&name)
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        publish(folder.path());
        let root = folder.path().join("public");
        let tree = PublicTree {
            root: Arc::new(File::open(&root).expect("made above")),
            path: root,
            digest: Some(Md5::new([7; 16])),
        };
        let routes = WORKERS.map(|(name, path, strip_prefix)| Route {
            worker: name.parse().expect("a name"),
            path: path.parse().expect("a route"),
            strip_prefix,
            timeouts: UpstreamTimeouts { response: FOREVER, body_idle: FOREVER },
            compression: None,
            targets: WeightedTargets::single(Target::new(
                name.parse().expect("a name"),
                Generation(1),
                worker(name),
            )),
            canary: None,
            refused: None,
            asleep: None,
            public: if name == PUBLISHER { vec![tree.clone()] } else { vec![] },
        });
        let table = PublishedTable::new();
        table.publish(RouteTable::new(routes));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let settings = Arc::new(ArcSwap::from_pointee(settings()));
        let plane = DataPlane::start(
            vec![Listener::http(listener)],
            1,
            table,
            settings,
            None,
            &AccessLog::off(),
        );
        let plane = plane.expect("a thread");
        Self { addr, connection: Mutex::new(None), _plane: plane, _folder: folder }
    }

    /// Asks for `target`, which has no line break in it.
    pub(crate) fn ask(&self, target: &[u8]) -> Reply {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = kept.take().unwrap_or_else(|| {
            let stream = TcpStream::connect(self.addr).expect("the data plane listens");
            stream.set_read_timeout(Some(FOREVER)).expect("a socket has timeouts");
            stream.set_nodelay(true).expect("a TCP socket");
            BufReader::new(stream)
        });
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        connection.get_mut().write_all(&request).expect("the data plane lives");
        let Some(answer) = Answer::read(&mut connection) else { return Reply::Refused };
        if !answer.closes {
            *kept = Some(connection);
        }
        answer.reply()
    }
}

fn settings() -> ProxySettings {
    ProxySettings {
        listener: ListenerSettings {
            port: 0,
            read_timeout: FOREVER,
            write_timeout: FOREVER,
            idle_timeout: Duration::from_secs(24 * 60 * 60),
            max_header_bytes: 16 << 10,
            max_body_bytes: 1 << 20,
            max_connections: 100,
            http2_cleartext: false,
            trusted_proxies: vec![],
            proxy_protocol: Vec::new(),
        },
        static_files: StaticSettings {
            enabled: true,
            url_prefix: STATIC.parse().expect("a route"),
            cache_max_age: Duration::from_secs(60),
            dev_root: PathBuf::new(),
        },
        hold: FOREVER,
        hold_max_requests: 10,
        hold_max_bytes: 1 << 20,
        redirect_port: None,
        hsts_max_age: Duration::ZERO,
    }
}

fn publish(base: &Path) {
    let write = |path: PathBuf, content: &str| {
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    };
    for name in PUBLIC {
        write(base.join("public").join(name), &format!("file {name}"));
    }
    for name in HIDDEN {
        write(base.join(name), &format!("file {name}, which is not public"));
    }
    for (name, target) in LINKS {
        symlink(target, base.join(name)).expect("a link");
    }
}

/// Starts a worker that answers with its name and the target it was asked for.
fn worker(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(name, stream));
        }
    });
    addr
}

fn serve(name: &str, mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let request = lines.next()?.ok()?;
        let target = request.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
        while !lines.next()?.ok()?.is_empty() {}
        let body = format!("worker {name} {target}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).ok()?;
    }
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    closes: bool,
    body: Vec<u8>,
}

impl Answer {
    /// `None` where the connection ends instead.
    fn read(connection: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            let read = connection.read_line(&mut line).expect("an answer in time");
            if read == 0 && head.is_empty() {
                return None;
            }
            match line.strip_suffix("\r\n").expect("a whole line") {
                "" => break,
                line => head.push(line.to_ascii_lowercase()),
            }
        }
        let field = |name: &str| {
            let lines = head.iter().filter_map(|line| line.split_once(':'));
            lines.into_iter().find(|(field, _)| *field == name).map(|(_, value)| value.trim())
        };
        let length = field("content-length").map_or(0, |length| length.parse().expect("a number"));
        let mut body = vec![0; length];
        connection.read_exact(&mut body).expect("as much as was promised");
        let status = head.first().and_then(|line| line.split(' ').nth(1)).expect("a status");
        Some(Self {
            status: status.parse().expect("a number"),
            closes: field("connection") == Some("close"),
            body,
        })
    }

    fn reply(self) -> Reply {
        let body = String::from_utf8_lossy(&self.body);
        let (kind, rest) = body.split_once(' ').unwrap_or_default();
        match (self.status, kind, rest.split_once(' ')) {
            (200, "worker", Some((name, seen))) => {
                Reply::Worker { name: name.to_owned(), seen: seen.to_owned() }
            }
            (200, "file", _) => Reply::File(rest.to_owned()),
            (400.., ..) => Reply::Refused,
            other => panic!("nobody answers so: {other:?}"),
        }
    }
}
