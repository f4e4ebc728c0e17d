//! From a save to what a browser gets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::await_answer;
use crate::developer::Developer;
use crate::figures::Figures;
use crate::project::Project;
use crate::session::PATIENCE;

/// What a save of code takes.
#[derive(Default)]
pub struct Code {
    /// To the first answer of the new generation, without the compiler.
    pub above: Figures,
    /// Of that, what tqserver's own clock says: from the last event of the kernel on.
    pub told: Figures,
    /// To the first answer, with the compiler.
    pub whole: Figures,
}

/// Saves a worker's code, over and over.
pub fn code(rounds: usize) -> Code {
    let project = Project::new(&["index"]);
    let mut developer = Developer::begin(&project);
    developer.serves("index");
    let mut code = Code::default();
    for round in 0..rounds {
        let text = format!("round {round}.");
        let began = Instant::now();
        project.says("index", &text);
        let answered = await_answer(developer.session.addr(), &text, began);
        let built = developer.hears("built", |_| true);
        let serving = developer.hears("serving", |_| true);
        let compiling = Duration::from_secs_f64(built["seconds"].as_f64().unwrap());
        code.above.add(answered.saturating_sub(compiling));
        code.told.add(Duration::from_millis(serving["overhead_ms"].as_u64().unwrap()));
        code.whole.add(answered);
    }
    code
}

/// Saves a template, over and over; returns when an open page heard of it, which the new text is
/// there for by then.
pub fn template(rounds: usize) -> Figures {
    let project = Project::new(&["index"]);
    let mut developer = Developer::begin(&project);
    developer.serves("index");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tab = runtime.block_on(Tab::open(developer.session.addr(), "index"));
    let mut told = Figures::default();
    for round in 0..rounds {
        let text = format!("<p>{round}</p>");
        let before = tab.state["pages"].clone();
        let began = Instant::now();
        project.write("workers/index/private/page.html", &text);
        while tab.state["pages"] == before {
            runtime.block_on(tab.next());
        }
        told.add(began.elapsed());
        assert_eq!(developer.session.get("/page").body, text);
        // It comes after, and the next save is to be one of its own.
        developer.hears("reloaded", |_| true);
    }
    told
}

/// A browser's tab, as far as live reload knows of it.
struct Tab {
    socket: WebSocketStream<TcpStream>,
    /// What it was told last.
    state: Value,
}

impl Tab {
    async fn open(addr: SocketAddr, worker: &str) -> Self {
        let url = format!("ws://{addr}/_tqserver/live?worker={worker}");
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("http://{addr}").parse().unwrap());
        let stream = TcpStream::connect(addr).await.unwrap();
        let (socket, _) = client_async(request, stream).await.unwrap();
        let mut tab = Self { socket, state: Value::Null };
        tab.next().await;
        tab
    }

    async fn next(&mut self) {
        let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        let message = message.expect("a message in time").unwrap().unwrap();
        if let Ok(text) = message.to_text()
            && let Ok(state) = serde_json::from_str(text)
        {
            self.state = state;
        }
    }
}
