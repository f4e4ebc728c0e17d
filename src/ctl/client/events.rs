//! The stream of events, as it comes from `GET /v1/events`. To come back after its end is up to the
//! caller.

use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{Client, ClientError, Driver, MAX_ANSWER, refused, send};
use crate::admin::events::{Event, LAGGED, LAST_EVENT_ID, MAX_LOG};

/// The longest line, in bytes. JSON writes a control character in six.
const MAX_LINE: usize = 8 * MAX_LOG;

/// Events, one by one.
#[derive(Debug)]
pub struct Events {
    client: Client,
    body: Incoming,
    /// What was received and not yet looked at.
    received: Vec<u8>,
    /// `event:` of the message that is coming in.
    name: String,
    /// `data:` of the message that is coming in.
    data: Vec<u8>,
    _driver: Driver,
}

impl Client {
    /// Follows the events: those after the one with the number `last`, or all that are kept, and
    /// then those to come.
    pub async fn events(&self, last: Option<u64>) -> Result<Events, ClientError> {
        self.within_limit(self.open_events(last)).await
    }

    async fn open_events(&self, last: Option<u64>) -> Result<Events, ClientError> {
        let mut request = Request::get("/v1/events");
        if let Some(last) = last {
            request = request.header(LAST_EVENT_ID, last);
        }
        let sent = send(self.connect().await?, request).await;
        let (response, driver) = sent.map_err(|it| self.lost(it))?;
        let (status, body) = (response.status(), response.into_body());
        if !status.is_success() {
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            return Err(refused(status, &body.map_err(|it| self.lost(it))?.to_bytes()));
        }
        Ok(Events {
            client: self.clone(),
            body,
            received: Vec::new(),
            name: String::new(),
            data: Vec::new(),
            _driver: driver,
        })
    }
}

impl Events {
    /// The next event; `None` once the stream has ended, because tqserver stops, or because events
    /// were missed: those that are still kept are there for who comes back. Events of a kind that
    /// this version does not know are passed over.
    ///
    /// Loses nothing when it is dropped before it completes.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            while let Some(line) = self.line() {
                match self.take(&line)? {
                    Some(Message::Event(event)) => return Ok(Some(*event)),
                    Some(Message::End) => return Ok(None),
                    None => {}
                }
            }
            if self.received.len() > MAX_LINE {
                return Err(self.garbage("a line without an end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.received.extend_from_slice(&data);
                }
                Some(Err(error)) => return Err(self.client.lost(error.into())),
            }
        }
    }

    /// The next whole line that was received, without its end.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.received.iter().position(|&byte| byte == b'\n')?;
        let mut line: Vec<_> = self.received.drain(..=end).collect();
        line.pop();
        Some(line)
    }

    /// A line of a message; what the message is when the line is its end.
    fn take(&mut self, line: &[u8]) -> Result<Option<Message>, ClientError> {
        if let Some(name) = line.strip_prefix(b"event: ") {
            self.name = String::from_utf8_lossy(name).into_owned();
        } else if let Some(data) = line.strip_prefix(b"data: ") {
            self.data = data.to_vec();
        }
        if !line.is_empty() || self.data.is_empty() {
            return Ok(None);
        }
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if name == LAGGED {
            return Ok(Some(Message::End));
        }
        // Says so when it is another schema, and is no more than JSON otherwise.
        let document = self.client.parse::<serde_json::Value>(&data)?;
        Ok(serde_json::from_value(document).ok().map(|event| Message::Event(Box::new(event))))
    }

    fn garbage(&self, reason: &str) -> ClientError {
        ClientError::Garbage { socket: self.client.socket.clone(), reason: reason.to_owned() }
    }
}

enum Message {
    Event(Box<Event>),
    End,
}
