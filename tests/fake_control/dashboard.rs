//! The dashboard of a fake.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tqserver::admin::dashboard;
use tqserver::config::settings::{DashboardSettings, Secret};

use super::Fake;

pub(crate) const TOKEN: &str = "0123456789abcdef";

/// The folder of its pages.
pub(crate) fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/public")
}

/// Serves it until dropped.
pub(crate) struct Dashboard {
    pub(crate) addr: SocketAddr,
    #[allow(dead_code, reason = "not every test program uses all of this module")]
    pub(crate) settings: Arc<ArcSwap<DashboardSettings>>,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Dashboard {
    pub(crate) fn start(fake: &Arc<Fake>) -> Self {
        let settings = DashboardSettings { token: Some(Secret::new(TOKEN)), pages: pages() };
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shutdown = CancellationToken::new();
        let (control, ended) = (Arc::clone(fake), shutdown.clone());
        let of_thread = Arc::clone(&settings);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                dashboard::serve(listener, control, of_thread, ended).await;
            });
        });
        Self { addr, settings, shutdown, thread: Some(thread) }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}
