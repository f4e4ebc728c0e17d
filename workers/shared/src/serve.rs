//! From the bound port to the last answer.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

use crate::{Result, Worker};

impl Worker {
    /// Serves `router` on 127.0.0.1 until SIGTERM (or SIGINT), then finishes what is in flight.
    ///
    /// READY=1 is sent when the port is bound and the signals are handled, so whoever waits for it
    /// may connect, or stop the worker, at once.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn serve(&self, router: Router) -> Result {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let port = self.settings().port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let status = format!("serving on {}", listener.local_addr()?);
        tracing::info!("{status}");
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
        let watchdog = sd_notify::watchdog_enabled().map(|limit| tokio::spawn(feed(limit)));

        let worker = self.clone();
        let told_to_stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let status = "finishing what is in flight";
            tracing::info!("{status}");
            notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
            worker.stop();
        };
        let served = self.serve_until(told_to_stop, listener, router).await;
        if let Some(watchdog) = watchdog {
            watchdog.abort();
        }
        served
    }

    /// Serves until `told_to_stop` completes, and then to the end of what has begun.
    async fn serve_until(
        &self,
        told_to_stop: impl Future<Output = ()> + Send + 'static,
        listener: TcpListener,
        router: Router,
    ) -> Result {
        axum::serve(listener, self.with_health(router))
            .with_graceful_shutdown(told_to_stop)
            .await?;
        self.tracked_ended().await;
        Ok(())
    }

    /// `router`, and `GET /health` in front of it.
    fn with_health(&self, router: Router) -> Router {
        Router::new()
            .route("/health", get(|| async { StatusCode::NO_CONTENT }))
            .fallback_service(router)
    }
}

/// Feeds the watchdog of `watchdog_seconds` for as long as the runtime gets round to it, twice as often
/// as it must.
async fn feed(limit: Duration) {
    // Zero would make no interval; systemd never says so.
    let mut times = interval(limit.max(Duration::from_millis(2)) / 2);
    loop {
        times.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Tells systemd, if it is there. That the message cannot be sent must not stop a worker that
/// could serve; systemd's start timeout then names the trouble.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::Settings;

    #[tokio::test]
    async fn answers_health_before_the_router() {
        let worker = Worker::new(Settings::by_hand("test", "."));
        let app = worker.with_health(Router::new().fallback(|| async { StatusCode::IM_A_TEAPOT }));
        for (path, expected) in
            [("/health", StatusCode::NO_CONTENT), ("/other", StatusCode::IM_A_TEAPOT)]
        {
            let request = Request::get(path).body(Body::empty()).unwrap();
            assert_eq!(app.clone().oneshot(request).await.unwrap().status(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn waits_for_what_is_tracked() {
        let worker = Worker::new(Settings::by_hand("test", "."));
        let ended = Arc::new(AtomicBool::new(false));
        let (stopping, end) = (worker.stopping(), ended.clone());
        tokio::spawn(worker.track(async move {
            stopping.await;
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            end.store(true, Ordering::SeqCst);
        }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stop = worker.clone();
        worker.serve_until(async move { stop.stop() }, listener, Router::new()).await.unwrap();
        assert!(ended.load(Ordering::SeqCst));
    }
}
