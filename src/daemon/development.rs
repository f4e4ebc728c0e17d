//! What only development has: a session that builds what is saved, and browsers that follow.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::admin::feed::Feed;
use crate::config;
use crate::config::settings::{Mode, Settings};
use crate::dev;
use crate::proxy::Live;
use crate::proxy::table::PublishedTable;

/// The parts of it; in production there are none.
#[derive(Default)]
pub(super) struct Development {
    /// `None` as well where nothing is to be watched.
    pub(super) session: Option<dev::Session>,
    /// `None` as well where pages are to be left as they are.
    pub(super) live: Option<Arc<Live>>,
    /// Asks the session for everything to be built.
    pub(super) rebuild: Option<mpsc::Sender<()>>,
}

impl Development {
    /// Finds out what there is to build.
    pub(super) async fn open(
        sources: &config::Sources,
        settings: &Settings,
        feed: &Feed,
        table: &Arc<PublishedTable>,
    ) -> Self {
        if settings.mode == Mode::Prod {
            return Self::default();
        }
        let live = settings.live_reload.clone();
        let live = live.map(|settings| Live::new(Arc::clone(table), settings));
        let (rebuild, rebuilds) = mpsc::channel(1);
        let parts = dev::Parts {
            sources: sources.clone(),
            settings: settings.clone(),
            feed: feed.clone(),
            live: live.clone(),
            rebuild: rebuilds,
        };
        let session = dev::Session::open(parts).await;
        let rebuild = session.is_some().then_some(rebuild);
        Self { session, live, rebuild }
    }
}
