//! HTTP/2 by h2load (nghttp2), a process for each time that it runs.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Exchange, Seen};

/// How many requests of a connection are under way at once.
pub const STREAMS: usize = 4;

/// Clients that are connected anew each time.
pub struct H2load {
    addr: SocketAddr,
    connections: usize,
    exchange: Exchange,
}

impl H2load {
    /// So many clients, with [`STREAMS`] requests each. Only GET.
    pub fn new(addr: SocketAddr, connections: usize, exchange: Exchange) -> Self {
        Self { addr, connections, exchange }
    }

    /// Goes on for that long. What is not answered by then is called off.
    pub fn run(&mut self, duration: Duration) -> Seen {
        let folder = tempfile::Builder::new().prefix("tqserver-bench-").tempdir().unwrap();
        let log = folder.path().join("requests");
        let output = Command::new("h2load")
            .arg(format!("--duration={}ms", duration.as_millis()))
            .args(["--threads=1", "--header=accept: */*"])
            .arg(format!("--clients={}", self.connections))
            .arg(format!("--max-concurrent-streams={STREAMS}"))
            .arg(format!("--log-file={}", log.display()))
            .arg(format!("http://{}{}", self.addr, self.exchange.path()))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("h2load: {error}"));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let summary = Summary::parse(&said).unwrap_or_else(|| panic!("h2load said: {said}"));
        let bytes = summary.succeeded * self.exchange.body_length() as u64;
        let is_right = summary.failed == 0 && summary.data >= bytes;
        assert!(is_right, "{}: {summary:?}", self.addr);

        let lines = fs::read_to_string(&log).unwrap();
        // The last column is the time of an answer.
        let times = lines.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok());
        let mut latencies: Vec<u32> = times.collect();
        latencies.sort_unstable();
        // It does not tell who was answered, but for the case that nobody was.
        let left_out = if summary.succeeded == 0 { self.connections } else { 0 };
        Seen { answered: summary.succeeded, took: summary.took, latencies, left_out }
    }
}

/// What it says in the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// Requests that were answered with a status of 2xx.
    pub succeeded: u64,
    /// Those that were answered otherwise or not at all.
    pub failed: u64,
    /// How many bytes of bodies came.
    pub data: u64,
    /// How long it took.
    pub took: Duration,
}

impl Summary {
    /// Reads it:
    ///
    /// ```text
    /// finished in 2.00s, 30000.00 req/s, 2.22MB/s
    /// requests: 60000 total, 60064 started, 60000 done, 60000 succeeded, 0 failed, 0 errored, 0 timeout
    /// status codes: 60000 2xx, 0 3xx, 0 4xx, 0 5xx
    /// traffic: 8.70MB (9120000) total, 1.20MB (1260000) headers (space savings 91.00%), 3.66MB (3840000) data
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let line = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let count = |line: &str, what: &str| {
            let mut parts = line.split(',').map(|part| part.trim().split_once(' '));
            let number = parts.find_map(|part| part.filter(|it| it.1 == what).map(|it| it.0));
            number?.parse::<u64>().ok()
        };
        let finished = line("finished in ")?.split(',').next()?;
        let (seconds, unit) = finished.split_at(finished.find(|it: char| it.is_alphabetic())?);
        let unit = match unit {
            "s" => 1.0,
            "ms" => 1e-3,
            _ => return None,
        };
        let requests = line("requests: ")?;
        let failures = ["failed", "errored", "timeout"].map(|what| count(requests, what));
        let statuses = line("status codes: ")?;
        let data = line("traffic: ")?.strip_suffix(") data")?.rsplit('(').next()?;
        Some(Self {
            succeeded: count(requests, "succeeded")?,
            failed: failures.into_iter().sum::<Option<u64>>()?
                + ["3xx", "4xx", "5xx"]
                    .map(|it| count(statuses, it))
                    .into_iter()
                    .sum::<Option<u64>>()?,
            data: data.parse().ok()?,
            took: Duration::from_secs_f64(seconds.parse::<f64>().ok()? * unit),
        })
    }
}
