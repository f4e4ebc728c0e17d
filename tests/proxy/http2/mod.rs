//! HTTP/2: with h2's client where a client is needed, with frames written by hand where they are the
//! point.

mod conformance;
mod floods;
mod flow;
mod frames;
mod lifetime;
mod requests;
mod websocket;

use bytes::{Bytes, BytesMut};
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tqserver::proxy::ProxySettings;

use crate::bed::{self, Bed, Worker, soon};

/// Settings of a listener that speaks HTTP/2.
fn settings() -> ProxySettings {
    let mut settings = bed::settings();
    settings.listener.http2_cleartext = true;
    settings
}

/// A bed with one worker at `/`.
async fn bed() -> (Bed, Worker) {
    bed_with(settings()).await
}

async fn bed_with(settings: ProxySettings) -> (Bed, Worker) {
    let bed = Bed::with(settings);
    let worker = Worker::start(1).await;
    bed.publish([worker.route("/")]);
    (bed, worker)
}

/// A client's connection.
struct Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn new(bed: &Bed) -> Self {
        Self::with(bed, &client::Builder::new()).await
    }

    async fn with(bed: &Bed, builder: &client::Builder) -> Self {
        let stream = TcpStream::connect(bed.addr).await.unwrap();
        let (send, connection) = builder.handshake(stream).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    /// Begins a request; without `more` it has no body.
    async fn begin(
        &mut self,
        request: Request<()>,
        more: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = soon("room for a stream", self.send.clone().ready()).await.unwrap();
        send.send_request(request, !more).unwrap()
    }

    async fn get(&mut self, path: &str) -> Result<Answer, h2::Error> {
        let response = self.begin(get(path), false).await.0;
        Answer::of(soon("an answer", response).await?).await
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.example{path}")).body(()).unwrap()
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a.example{path}")).body(()).unwrap()
}

/// A whole answer.
#[derive(Debug)]
struct Answer {
    head: Response<()>,
    body: Bytes,
    has_trailers: bool,
}

impl Answer {
    async fn of(response: Response<RecvStream>) -> Result<Self, h2::Error> {
        let (head, mut stream) = response.into_parts();
        let body = read(&mut stream).await?;
        let has_trailers = soon("the trailers", stream.trailers()).await?.is_some();
        Ok(Self { head: Response::from_parts(head, ()), body, has_trailers })
    }

    fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

/// Reads a body to its end, and lets more come all the while.
async fn read(stream: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut body = BytesMut::new();
    while let Some(data) = soon("data", stream.data()).await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    Ok(body.freeze())
}

/// Sends a body as the server has room for it.
async fn write(stream: &mut SendStream<Bytes>, mut body: Bytes, is_end: bool) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let Some(Ok(room)) = soon("room", room).await else { return };
        let last = room >= body.len();
        if stream.send_data(body.split_to(room.min(body.len())), last && is_end).is_err() {
            return;
        }
    }
}

/// A worker that answers each request on each of its connections with what `answer` makes of it.
fn serve(
    worker: Worker,
    answer: impl Fn(&bed::Message) -> String + Clone + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Some(mut peer) = worker.accept_if_any().await else { return };
            let answer = answer.clone();
            tokio::spawn(async move {
                while let Some(request) = peer.next_message().await {
                    peer.send(answer(&request)).await;
                }
            });
        }
    })
}
