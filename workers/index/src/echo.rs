//! A WebSocket that says what it hears.

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use tq_worker::Worker;

/// `GET /echo`: a WebSocket that sends every text and binary message back.
pub(crate) async fn echo(State(worker): State<Worker>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| {
        let stopping = worker.stopping();
        worker.track(converse(socket, stopping))
    })
}

/// Echoes until the client closes, or says "going away" (1001, RFC 6455 section 7.4.1) when the
/// worker stops. Pings and closes are answered by the socket itself while it is read.
async fn converse(mut socket: WebSocket, stopping: impl Future<Output = ()>) {
    tokio::pin!(stopping);
    loop {
        let received = tokio::select! {
            received = socket.recv() => received,
            () = &mut stopping => {
                let reason = "the worker is stopping".into();
                let going_away = CloseFrame { code: close_code::AWAY, reason };
                let _ = socket.send(Message::Close(Some(going_away))).await;
                return;
            }
        };
        let sent = match received {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                socket.send(message).await
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}
