//! The threads of the data plane: started together, and ended without losing a request.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::buffers::Buffers;
use super::core::{Closing, ConnectionLimit, Core, OpenConnections};
use super::counters::{CountersReader, ThreadCounters};
use super::date::Date;
use super::hold::HeldCount;
use super::listener::{self, Listener};
use super::live::Live;
use super::pool::Pool;
use super::splice::Pipes;
use super::static_files::Cache;
use super::table::PublishedTable;
use super::tally::MAX_THREADS;
use crate::access_log::{AccessLog, Pen};
use crate::config::settings::{ListenerSettings, StaticSettings};
use crate::control_group::SockDiag;

/// How long streams have to end in their protocol's way once they were told to.
pub const STREAM_GRACE: Duration = Duration::from_secs(3);

/// What the data plane needs of the settings. Connections keep those they were accepted with.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxySettings {
    /// The public listener's limits; `port` is not looked at.
    pub listener: ListenerSettings,
    /// `/static/…`.
    pub static_files: StaticSettings,
    /// How long a request waits for a worker that has no generation ready.
    pub hold: Duration,
    /// How many requests may wait at once; further ones get 503.
    pub hold_max_requests: usize,
    /// How many bytes their heads may have together; further ones get 503.
    pub hold_max_bytes: usize,
    /// The port of HTTPS, where requests without TLS are sent to it; `None`: they are served.
    pub redirect_port: Option<u16>,
    /// `Strict-Transport-Security` of answers over TLS; zero: none of ours.
    pub hsts_max_age: Duration,
}

/// The running threads.
#[derive(Debug)]
pub struct DataPlane {
    threads: Vec<JoinHandle<()>>,
    counters: CountersReader,
    shutdown: CancellationToken,
    end_streams: CancellationToken,
    abort: CancellationToken,
    /// Closed when every thread has ended; told when one ends.
    ended: mpsc::UnboundedReceiver<()>,
}

impl DataPlane {
    /// Starts `threads` threads (at least one, at most 256), each accepting from every listener. With `live`
    /// browsers are kept up to date, as in development. What is served is written to `access_log`.
    ///
    /// # Errors
    /// When a listener cannot be duplicated or registered, or a thread cannot be started.
    pub fn start(
        listeners: Vec<Listener>,
        threads: usize,
        table: Arc<PublishedTable>,
        settings: Arc<ArcSwap<ProxySettings>>,
        live: Option<Arc<Live>>,
        access_log: &Arc<AccessLog>,
    ) -> io::Result<Self> {
        let [shutdown, end_streams, abort] = std::array::from_fn(|_| CancellationToken::new());
        let (end, ended) = mpsc::unbounded_channel();
        let counters = CountersReader::default();
        let mut plane = Self { threads: vec![], counters, shutdown, end_streams, abort, ended };
        let held = Arc::new(HeldCount::default());
        let connections = Arc::new(ConnectionLimit::default());
        for listener in &listeners {
            listener.socket.set_nonblocking(true)?;
        }
        for number in 0..threads.clamp(1, MAX_THREADS) {
            let counters = Arc::new(ThreadCounters::default());
            let own = listeners.iter().map(Listener::try_clone).collect::<io::Result<_>>()?;
            let thread = Thread {
                number,
                listeners: own,
                table: Arc::clone(&table),
                settings: Arc::clone(&settings),
                live: live.clone(),
                access_log: access_log.pen(),
                counters: Arc::clone(&counters),
                held: Arc::clone(&held),
                connections: Arc::clone(&connections),
                shutdown: plane.shutdown.clone(),
                end_streams: plane.end_streams.clone(),
                abort: plane.abort.clone(),
                end: End(end.clone()),
            };
            let name = format!("proxy-{number}");
            let (report, started) = std::sync::mpsc::sync_channel(1);
            let run = || thread.run(report);
            plane.threads.push(thread::Builder::new().name(name).spawn(run)?);
            started.recv().map_err(io::Error::other)??;
            plane.counters.add_thread(counters);
        }
        Ok(plane)
    }

    /// Reads the sums over all threads, as long as somebody wants them.
    pub fn counters(&self) -> CountersReader {
        self.counters.clone()
    }

    /// Completes when a thread has ended although nobody asked: the process should end as well.
    pub async fn failed(&mut self) {
        self.ended.recv().await;
    }

    /// Ends without losing a request.
    ///
    /// No connection is accepted from now on: what waits in the kernel's queue stays for the next
    /// process. Event streams end with a complete last chunk and tunnels with a close at once;
    /// requests in flight are answered, with `Connection: close`; kept-alive connections close
    /// shortly after. What is left after `limit` is broken off.
    pub async fn shutdown(mut self, limit: Duration) {
        self.shutdown.cancel();
        self.end_streams.cancel();
        if timeout(limit, self.all_ended()).await.is_err() {
            self.abort.cancel();
            self.all_ended().await;
        }
        self.join();
    }

    /// The same for a process whose successor accepts connections already, so that nobody waits for
    /// the end: event streams and tunnels live on until `limit`, or until `hurry` completes.
    /// What is left [`STREAM_GRACE`] after the limit is broken off.
    pub async fn retire(mut self, limit: Duration, hurry: impl Future<Output = ()>) {
        let deadline = Instant::now() + limit;
        self.shutdown.cancel();
        let end_streams = self.end_streams.clone();
        let cut = async {
            timeout_at(deadline, hurry).await.ok();
            end_streams.cancel();
            sleep_until(deadline + STREAM_GRACE).await;
        };
        let ended = tokio::select! {
            () = self.all_ended() => true,
            () = cut => false,
        };
        if !ended {
            self.abort.cancel();
            self.all_ended().await;
        }
        self.join();
    }

    async fn all_ended(&mut self) {
        while self.ended.recv().await.is_some() {}
    }

    fn join(&mut self) {
        for thread in std::mem::take(&mut self.threads) {
            // A panic was reported by the panic hook, and is of no use here.
            thread.join().ok();
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.abort.cancel();
    }
}

/// Says that a thread has ended, also when it panics.
struct End(mpsc::UnboundedSender<()>);

impl Drop for End {
    fn drop(&mut self) {
        // Nobody listens once the plane was dropped.
        self.0.send(()).ok();
    }
}

/// The same for all threads, so that one of them complains.
fn sock_diag(thread: usize) -> Option<SockDiag> {
    let opened = SockDiag::new();
    if let (0, Err(error)) = (thread, &opened) {
        tracing::warn!(
            "a stranger that listens on the port of a worker that died is not told from it: {error}; \
             tqserver.service needs AF_NETLINK in RestrictAddressFamilies="
        );
    }
    opened.ok()
}

/// What a thread takes along.
struct Thread {
    number: usize,
    listeners: Vec<Listener>,
    table: Arc<PublishedTable>,
    settings: Arc<ArcSwap<ProxySettings>>,
    live: Option<Arc<Live>>,
    access_log: Pen,
    counters: Arc<ThreadCounters>,
    held: Arc<HeldCount>,
    connections: Arc<ConnectionLimit>,
    shutdown: CancellationToken,
    end_streams: CancellationToken,
    abort: CancellationToken,
    end: End,
}

impl Thread {
    /// Reports whether it could start, and lives until the shutdown is over.
    fn run(self, report: SyncSender<io::Result<()>>) {
        let _end = self.end;
        // Its tasks never leave the thread, and so need no locks.
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            // Whoever started the thread awaits this.
            Err(error) => return drop(report.send(Err(error))),
        };
        report.send(Ok(())).ok();
        let core = Rc::new(Core {
            thread: self.number,
            table: self.table,
            settings: self.settings,
            counters: self.counters,
            held: self.held,
            connections: self.connections,
            pool: Pool::default(),
            sock_diag: sock_diag(self.number),
            buffers: Buffers::default(),
            pipes: Pipes::default(),
            encoders: Rc::default(),
            deadlines: Rc::default(),
            date: Date::default(),
            files: Cache::default(),
            closing: Closing::default(),
            open: OpenConnections::default(),
            live: self.live,
            access_log: self.access_log,
        });
        let life = async {
            let mut accepting = Vec::new();
            for Listener { socket, speaks } in self.listeners {
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let accept = listener::accept(Rc::clone(&core), socket, speaks);
                        accepting.push(spawn_local(accept));
                    }
                    Err(error) => {
                        tracing::error!("cannot watch a listening socket: {error}");
                        return;
                    }
                }
            }
            let sweeping = spawn_local(sweep(Rc::clone(&core)));
            let deadlines = Rc::clone(&core.deadlines);
            let clock = spawn_local(async move { deadlines.run().await });
            let writing = Rc::clone(&core);
            let writing = spawn_local(async move { writing.access_log.run().await });
            self.shutdown.cancelled().await;
            for task in accepting {
                task.abort();
            }
            core.closing.connections.say();
            core.deadlines.wake_all();
            let end_streams = async {
                self.end_streams.cancelled().await;
                core.closing.streams.say();
                std::future::pending().await
            };
            tokio::select! {
                () = core.open.none_left() => {}
                () = self.abort.cancelled() => {}
                () = end_streams => {}
            }
            sweeping.abort();
            clock.abort();
            writing.abort();
        };
        // Afterwards the runtime drops the connections that are left.
        runtime.block_on(life);
    }
}

/// Lets go of connections to workers that are no longer wanted, and shows that the thread lives.
async fn sweep(core: Rc<Core>) {
    let mut publications = core.table.subscribe();
    loop {
        // Either of them is a reason to look.
        let _ = timeout(Pool::SWEEP_INTERVAL, publications.changed()).await;
        core.pool.sweep(&core.table.load());
        core.files.sweep(&core.table.load());
        core.buffers.trim();
        core.pipes.trim();
        core.encoders.trim();
        core.counters.heartbeats.add(1);
    }
}
