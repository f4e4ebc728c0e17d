//! One thread's idle connections to workers.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::table::RouteTable;
use super::target::Target;

/// How long a connection is kept without use: less than the shortest default of a common server
/// (Node closes after 5 s), so that we are the one who closes and a POST never meets a connection
/// that is just being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// How many idle connections are kept per target and thread.
const MAX_IDLE: usize = 512;

/// Idle connections by target, the last used first, so that the rest may age and go.
#[derive(Default)]
pub(crate) struct Pool {
    /// By address in memory, as there may be many.
    targets: RefCell<Vec<PooledTarget>>,
}

struct PooledTarget {
    target: Arc<Target>,
    idle: Vec<Idle>,
}

/// A connection, and since when it is idle.
type Idle = (TcpStream, Instant);

/// Asked at every use as well: between two sweeps a connection may outlive the worker's limit. One
/// that can be read has ended, or says what nobody asked.
fn is_usable((socket, since): &Idle, now: Instant) -> bool {
    now.duration_since(*since) < IDLE_LIMIT && !is_readable(socket)
}

fn is_readable(socket: &TcpStream) -> bool {
    // What is known without asking the kernel. It knows no better when the last read took exactly
    // as much as there was room for.
    let known = socket.poll_read_ready(&mut Context::from_waker(Waker::noop()));
    let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    known.is_ready() && !socket.try_read(&mut [0]).is_err_and(|error| would_block(&error))
}

/// Where `target` is among those that are kept, or would be. An address to connect to is not enough to
/// know it by: a port is used again by later generations and instances.
fn place(targets: &[PooledTarget], target: &Target) -> Result<usize, usize> {
    let address = std::ptr::from_ref(target);
    targets.binary_search_by_key(&address, |pooled| Arc::as_ptr(&pooled.target))
}

impl Pool {
    /// The most recently used connection to `target` that still seems alive.
    pub(crate) fn checkout(&self, target: &Target, now: Instant) -> Option<TcpStream> {
        let mut targets = self.targets.borrow_mut();
        let at = place(&targets, target).ok()?;
        let pooled = &mut targets[at];
        while let Some(idle) = pooled.idle.pop() {
            if is_usable(&idle, now) {
                return Some(idle.0);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn put(&self, target: &Arc<Target>, socket: TcpStream, now: Instant) {
        if target.is_draining() {
            return;
        }
        let mut targets = self.targets.borrow_mut();
        let entry = (socket, now);
        match place(&targets, target) {
            Ok(at) if targets[at].idle.len() < MAX_IDLE => targets[at].idle.push(entry),
            Ok(_) => {}
            Err(at) => {
                let target = Arc::clone(target);
                targets.insert(at, PooledTarget { target, idle: vec![entry] });
            }
        }
    }

    /// Drops all connections to `target`: one was found dead, so the rest are doubtful.
    pub(crate) fn forget(&self, target: &Target) {
        let mut targets = self.targets.borrow_mut();
        if let Ok(at) = place(&targets, target) {
            targets.remove(at);
        }
    }

    /// Drops what is too old, closed, draining, or in no route any more.
    pub(crate) fn sweep(&self, table: &RouteTable) {
        let served = |target: &Arc<Target>| {
            let mut targets = table.routes().iter().flat_map(|route| route.all_targets());
            targets.any(|served| Arc::ptr_eq(served, target))
        };
        let now = Instant::now();
        self.targets.borrow_mut().retain_mut(|pooled| {
            if pooled.target.is_draining() || !served(&pooled.target) {
                return false;
            }
            pooled.idle.retain(|idle| is_usable(idle, now));
            !pooled.idle.is_empty()
        });
    }

    /// How often [`sweep`](Self::sweep) is to be called at least.
    pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;
    use tokio::time::advance;

    use super::*;
    use crate::ids::Generation;
    use crate::proxy::table::{Route, UpstreamTimeouts, WeightedTargets};

    /// A target that listens, a table with it, and a pool with one connection to it.
    async fn pooled() -> (TcpListener, Arc<Target>, RouteTable, Pool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let target = Target::new("app".parse().unwrap(), Generation(1), addr);
        let table = RouteTable::new([Route {
            worker: "app".parse().unwrap(),
            path: "/".parse().unwrap(),
            strip_prefix: true,
            timeouts: UpstreamTimeouts { response: IDLE_LIMIT, body_idle: IDLE_LIMIT },
            compression: None,
            targets: WeightedTargets::single(Arc::clone(&target)),
            canary: None,
            refused: None,
            asleep: None,
            public: vec![],
        }]);
        let pool = Pool::default();
        pool.put(&target, TcpStream::connect(addr).await.unwrap(), Instant::now());
        (listener, target, table, pool)
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_a_connection_until_it_is_too_old() {
        let test = async {
            let (_listener, target, table, pool) = pooled().await;
            advance(IDLE_LIMIT - Duration::from_millis(1)).await;
            pool.sweep(&table);
            let kept = pool.checkout(&target, Instant::now()).expect("still young");
            pool.put(&target, kept, Instant::now());
            advance(IDLE_LIMIT).await;
            pool.sweep(&table);
            assert!(pool.checkout(&target, Instant::now()).is_none());
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_grew_too_old_between_two_sweeps_is_not_used() {
        let test = async {
            let (_listener, target, table, pool) = pooled().await;
            advance(IDLE_LIMIT - Duration::from_millis(1)).await;
            pool.sweep(&table);
            advance(Duration::from_millis(1)).await;
            assert!(pool.checkout(&target, Instant::now()).is_none());
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn keeps_nothing_of_a_target_that_is_out_of_use() {
        let test = async {
            let (_listener, target, table, pool) = pooled().await;
            pool.sweep(&table);
            let kept = pool.checkout(&target, Instant::now()).expect("in the table");
            pool.put(&target, kept, Instant::now());
            pool.sweep(&RouteTable::default());
            assert!(pool.checkout(&target, Instant::now()).is_none(), "out of the table");

            let (_listener, target, table, pool) = pooled().await;
            target.start_draining();
            let kept = pool.checkout(&target, Instant::now()).expect("not swept yet");
            pool.put(&target, kept, Instant::now());
            assert!(pool.checkout(&target, Instant::now()).is_none(), "not taken back");
            pool.sweep(&table);

            let (_listener, target, _, pool) = pooled().await;
            let next = Target::new("app".parse().unwrap(), Generation(2), target.addr);
            assert!(
                pool.checkout(&next, Instant::now()).is_none(),
                "a later generation on the same port"
            );
        };
        LocalSet::new().run_until(test).await;
    }
}
