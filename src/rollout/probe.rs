//! Asking a generation whether it is well.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::settings::{Ready, RolloutSettings};
use crate::control_group::{ControlGroup, SockDiag};
use crate::ids::{Port, WorkerName};

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a worker that said READY is asked before its answer counts.
const ATTEMPTS_AFTER_READY: u32 = 3;

/// What to ask whom, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The worker, for the Host header and messages.
    pub worker: WorkerName,
    /// Its port on 127.0.0.1.
    pub port: Port,
    /// Where its program is; nobody else's answer counts. `None`: not known.
    pub control_group: Option<ControlGroup>,
    /// `GET` this; any 2xx is well.
    pub path: String,
    /// When the first question is due.
    pub delay: Duration,
    /// After how many bad answers it has failed; `None` where only `within` ends it.
    pub attempts: Option<u32>,
    /// After which time it has failed.
    pub within: Duration,
}

/// A bad answer, or none.
#[derive(Debug)]
enum Bad {
    Status(StatusCode),
    NotListening,
    Silent,
    Strange,
    Broken(String),
}

impl Probe {
    /// The probe of a generation that systemd calls active.
    ///
    /// A worker that notifies has said that it is ready, so a few bad answers are final. For one
    /// that cannot, good answers are all there is: it is asked until its time is up.
    pub fn of(
        worker: WorkerName,
        port: Port,
        path: &str,
        ready: Ready,
        settings: &RolloutSettings,
    ) -> Self {
        let (delay, attempts) = match ready {
            Ready::Notify => (Duration::ZERO, Some(ATTEMPTS_AFTER_READY)),
            Ready::Http => (settings.startup_delay, None),
        };
        let (path, within) = (path.into(), settings.start_timeout);
        Self { worker, port, control_group: None, path, delay, attempts, within }
    }

    /// Asks until the worker is well, or until it has failed, and then says what it met last.
    pub async fn run(&self) -> Result<(), String> {
        let deadline = Instant::now() + self.within;
        sleep(self.delay).await;
        let mut asked = 0;
        loop {
            let answer = match timeout_at(deadline, self.ask()).await {
                Ok(answer) => answer,
                Err(_) => Err(Bad::Silent),
            };
            asked += 1;
            let Err(bad) = answer else { return Ok(()) };
            let tired = self.attempts.is_some_and(|most| asked >= most);
            if tired || Instant::now() + PAUSE >= deadline {
                return Err(format!("GET {} on port {}: {bad}", self.path, self.port));
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks one that serves every so often, and completes with what it met when `bad` answers in a row
    /// were bad.
    pub async fn until_unwell(&self, every: Duration, bad: u32) -> String {
        // Instances that began together are not asked together.
        sleep(every.mul_f64(fastrand::f64())).await;
        let mut in_row = 0;
        loop {
            match self.ask().await {
                Ok(()) => in_row = 0,
                Err(answer) => {
                    in_row += 1;
                    tracing::debug!(worker = %self.worker, "GET {} on port {}: {answer}", self.path, self.port);
                    if in_row >= bad {
                        return format!("GET {} on port {}: {answer}", self.path, self.port);
                    }
                }
            }
            sleep(every).await;
        }
    }

    /// Whether the kernel says that somebody else is at the other end.
    fn is_strange(&self, stream: &TcpStream) -> bool {
        let Some(own) = self.control_group else { return false };
        let found = SockDiag::new().and_then(|diag| diag.of_peer(stream));
        matches!(found, Ok(Some(group)) if group != own)
    }

    async fn ask(&self) -> Result<(), Bad> {
        timeout(ANSWER_WITHIN, self.exchange()).await.unwrap_or(Err(Bad::Silent))
    }

    async fn exchange(&self) -> Result<(), Bad> {
        let broken = |error: &dyn fmt::Display| Bad::Broken(error.to_string());
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.get()));
        let stream = TcpStream::connect(addr).await.map_err(|_| Bad::NotListening)?;
        if self.is_strange(&stream) {
            return Err(Bad::Strange);
        }
        let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(&self.path)
            .header(header::HOST, self.worker.as_str())
            .header(header::USER_AGENT, "tqserver-probe")
            .header(header::CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| broken(&error))?;
        // The connection lives only as long as this question: dropping it closes the socket. When
        // the worker closes it first, its answer may still lie between the two.
        let response = sender.send_request(request);
        tokio::pin!(response);
        let response = tokio::select! {
            response = &mut response => response,
            _ = connection => response.await,
        };
        match response.map_err(|error| broken(&error))?.status() {
            status if status.is_success() => Ok(()),
            status => Err(Bad::Status(status)),
        }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered {status}"),
            Self::NotListening => f.write_str(
                "nobody listens there: a worker must bind 127.0.0.1 on the port given in $PORT",
            ),
            Self::Strange => f.write_str(
                "another program listens there: a worker's socket must be made by a process of its unit",
            ),
            Self::Silent => f.write_str("no answer in time"),
            Self::Broken(error) => write!(f, "no HTTP answer: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn probe(port: u16, attempts: Option<u32>) -> Probe {
        Probe {
            worker: "index".parse().unwrap(),
            port: Port::new(port).unwrap(),
            control_group: None,
            path: "/health".into(),
            delay: Duration::ZERO,
            attempts,
            within: Duration::from_secs(60),
        }
    }

    /// Answers each connection with the next of the given heads, then goes on with the last.
    async fn worker(answers: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for turn in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await.unwrap();
                let answer = answers[turn.min(answers.len() - 1)];
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    const WELL: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    const ILL: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn any_2xx_is_well() {
        let port = worker(&[WELL]).await;
        assert_eq!(probe(port, Some(1)).run().await, Ok(()));
    }

    #[tokio::test]
    async fn a_worker_that_notified_is_asked_three_times() {
        let port = worker(&[ILL, ILL, WELL]).await;
        assert_eq!(probe(port, Some(3)).run().await, Ok(()));
        let port = worker(&[ILL]).await;
        let error = probe(port, Some(3)).run().await.unwrap_err();
        assert!(error.ends_with("answered 500 Internal Server Error"), "{error}");
    }

    #[tokio::test]
    async fn one_that_serves_is_unwell_after_bad_answers_in_a_row() {
        let port = worker(&[ILL, ILL, WELL, ILL, WELL, ILL, ILL, ILL]).await;
        let asked = std::time::Instant::now();
        let answer = probe(port, None).until_unwell(Duration::from_millis(10), 3).await;
        assert!(answer.ends_with("answered 500 Internal Server Error"), "{answer}");
        assert!(asked.elapsed() >= Duration::from_millis(70), "not before the eighth");
    }

    #[tokio::test]
    async fn a_worker_that_listens_elsewhere_is_told_so() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = probe(port, Some(1)).run().await.unwrap_err();
        assert!(error.contains("must bind 127.0.0.1"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_worker_fails_when_its_time_is_up() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let begun = Instant::now();
        let error = probe(port, None).run().await.unwrap_err();
        assert!(error.ends_with("no answer in time"), "{error}");
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
