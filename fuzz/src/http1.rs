//! HTTP/1.1 on the wire: what our parser lets through has one meaning, and hyper reads the same.
//!
//! Refusing more than others do is no fault; reading anything otherwise is.

use tqserver::http1::{
    BodyDecoder, BodyLength, Field, FieldSpace, Malformed, RequestHead, ResponseHead, Step, Version,
};

use super::forwarded::check_forwarded;
use super::hyper_peer;

/// More than this only takes time.
const MAX_INPUT: usize = 8 << 10;

/// A request as somebody read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) host: Option<String>,
    pub(crate) is_http11: bool,
    /// `None` where it has no end.
    pub(crate) body: Option<Vec<u8>>,
}

/// An answer as somebody read it, without those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// `None` where it has no end.
    pub(crate) body: Option<Vec<u8>>,
}

/// What a client says on one connection.
///
/// It is read in the same way whatever pieces it comes in, and as hyper's server reads it, up to
/// where that refuses it. What goes on to a worker is that request alone.
pub fn http1_request(data: &[u8]) {
    if data.len() > MAX_INPUT {
        return;
    }
    let (ours, end) = requests(data, data.len().max(1));
    for piece in pieces(data) {
        assert_eq!(requests(data, piece), (ours.clone(), end), "in pieces of {piece}");
    }
    check_alike(&ours, &hyper_peer::requests(data, data.len() % 97 + 1));
    let mut at = 0;
    let mut space = FieldSpace::new();
    while let Ok(Some(head)) = RequestHead::parse(&data[at..], &mut space) {
        check_head(&data[at..at + head.len], head.fields);
        let mut stream = Stream::new(&data[at + head.len..], data.len());
        let body = read_body(&mut stream, head.body).ok().flatten();
        if let Some(body) = &body {
            check_forwarded(&head, body);
        }
        if body.is_none() || !head.keeps_alive() {
            break;
        }
        at += head.len + stream.at;
        space = FieldSpace::new();
    }
}

/// What a worker answers to GET, and to HEAD: read in one way, which is hyper's client's.
pub fn http1_response(data: &[u8]) {
    if data.len() > MAX_INPUT {
        return;
    }
    for to_head in [false, true] {
        let ours = response(data, to_head, data.len().max(1));
        for piece in pieces(data) {
            let again = response(data, to_head, piece);
            assert_eq!(again, ours, "to HEAD: {to_head}, in pieces of {piece}");
        }
        let Ok(Some(ours)) = ours else { continue };
        let theirs = hyper_peer::response(data, to_head, data.len() % 89 + 1);
        if let Some(theirs) = theirs {
            assert_eq!(ours.status, theirs.status, "to HEAD: {to_head}");
            if ours.body.is_some() && theirs.body.is_some() {
                assert_eq!(ours.body, theirs.body, "to HEAD: {to_head}");
            }
        }
    }
}

/// A chunked body: where we find its end hyper finds the same, with the same content, or refuses it.
pub fn http1_chunked(data: &[u8]) {
    if data.len() > MAX_INPUT {
        return;
    }
    let read = |piece| {
        let mut stream = Stream::new(data, piece);
        let body = read_body(&mut stream, BodyLength::Chunked);
        body.map(|body| body.map(|body| (body, stream.at)))
    };
    let ours = read(data.len().max(1));
    for piece in pieces(data) {
        assert_eq!(read(piece), ours, "in pieces of {piece}");
    }
    let Ok(Some((content, len))) = ours else { return };
    assert!(content.len() < len, "more content than bytes");
    let head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let next = b"GET /next HTTP/1.1\r\nhost: h\r\n\r\n";
    let whole = [&head[..], &data[..len], next].concat();
    let theirs = hyper_peer::requests(&whole, len % 61 + 1);
    let body = theirs.first().and_then(|first| first.body.as_ref());
    if let Some(body) = body {
        assert_eq!(*body, content);
        let targets: Vec<_> = theirs.iter().map(|request| &*request.target).collect();
        assert_eq!(targets, ["/", "/next"], "it ends elsewhere");
    }
    // A byte less is not enough, for anybody.
    let cut = [&head[..], &data[..len - 1]].concat();
    let theirs = hyper_peer::requests(&cut, len % 61 + 1);
    assert!(theirs.iter().all(|request| request.body.is_none()), "hyper ends it earlier");
}

/// The sizes of pieces to try: by the byte where that takes no time, and some other.
fn pieces(data: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let by_byte = (data.len() <= 1024).then_some(1);
    by_byte.into_iter().chain([data.len() % 13 + 2])
}

/// Bytes that arrive in pieces.
struct Stream<'a> {
    bytes: &'a [u8],
    piece: usize,
    /// How many are taken, and how many have arrived.
    at: usize,
    here: usize,
}

impl<'a> Stream<'a> {
    fn new(bytes: &'a [u8], piece: usize) -> Self {
        Self { bytes, piece, at: 0, here: 0 }
    }

    fn unread(&self) -> &'a [u8] {
        &self.bytes[self.at..self.here]
    }

    /// Whether another piece has come.
    fn more(&mut self) -> bool {
        let before = self.here;
        self.here = self.bytes.len().min(self.here + self.piece);
        self.here > before
    }
}

/// All requests up to what is none, or not whole.
fn requests(data: &[u8], piece: usize) -> (Vec<Request>, Option<Malformed>) {
    let mut stream = Stream::new(data, piece);
    let mut found = Vec::new();
    loop {
        let mut space = FieldSpace::new();
        let head = match RequestHead::parse(stream.unread(), &mut space) {
            Ok(Some(head)) => head,
            Ok(None) if stream.more() => continue,
            Ok(None) => return (found, None),
            Err(error) => return (found, Some(error)),
        };
        if head.method == "CONNECT" {
            // It is refused whatever it asks for.
            return (found, None);
        }
        stream.at += head.len;
        let body = read_body(&mut stream, head.body);
        let end = body.as_ref().err().copied();
        let body = body.ok().flatten();
        let is_last = !head.keeps_alive() || body.is_none();
        found.push(Request {
            method: head.method.to_owned(),
            target: target(&head),
            host: head.host.map(str::to_owned),
            is_http11: head.version == Version::Http11,
            body,
        });
        if is_last {
            return (found, end);
        }
    }
}

fn target(head: &RequestHead<'_, '_>) -> String {
    let query = head.target.query.map_or_else(String::new, |query| format!("?{query}"));
    format!("{}{query}", head.target.path)
}

/// The first answer that is not an interim one; `None` where there is none.
fn response(data: &[u8], to_head: bool, piece: usize) -> Result<Option<Response>, Malformed> {
    let mut stream = Stream::new(data, piece);
    loop {
        let mut space = FieldSpace::new();
        let head = match ResponseHead::parse(stream.unread(), to_head, &mut space)? {
            Some(head) => head,
            None if stream.more() => continue,
            None => return Ok(None),
        };
        check_head(&stream.unread()[..head.len], head.fields);
        stream.at += head.len;
        if head.status == 101 || head.status >= 200 {
            let body = read_body(&mut stream, head.body).ok().flatten();
            return Ok(Some(Response { status: head.status, body }));
        }
    }
}

/// The content; `None` where it has no end.
fn read_body(stream: &mut Stream<'_>, length: BodyLength) -> Result<Option<Vec<u8>>, Malformed> {
    let mut decoder = BodyDecoder::new(length);
    let mut content = Vec::new();
    loop {
        let (framing, step) = decoder.step(stream.unread())?;
        stream.at += framing;
        match step {
            Step::Content(n) => {
                content.extend_from_slice(&stream.unread()[..n]);
                stream.at += n;
            }
            Step::End => return Ok(Some(content)),
            Step::NeedMore if stream.more() => {}
            Step::NeedMore => return Ok(decoder.ends_with_connection().then_some(content)),
        }
    }
}

/// That both mean the same, as far as both go.
pub(crate) fn check_alike(ours: &[Request], theirs: &[Request]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (Some(_), Some(_)) = (&ours.body, &theirs.body) else {
            // One of them refuses the body, or waits for more of it.
            let head = Request { body: theirs.body.clone(), ..ours.clone() };
            assert_eq!(&head, theirs, "hyper reads the head otherwise");
            return;
        };
        assert_eq!(ours, theirs, "hyper reads it otherwise");
    }
}

/// That a head is made of lines and nothing else, by a reading that knows no leniency: RFC 9112
/// section 2.1 to the letter.
fn check_head(head: &[u8], fields: &[Field<'_>]) {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    // An empty line or more may come before (RFC 9112 section 2.2).
    let text = text.trim_start_matches("\r\n");
    let lines: Vec<_> = text.strip_suffix("\r\n\r\n").expect("its end").split("\r\n").collect();
    assert!(!lines.iter().any(|line| line.contains(['\r', '\n', '\0'])), "{lines:?}");
    let of_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let read: Vec<_> = lines[1..]
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a field");
            assert!(!name.is_empty() && name.chars().all(of_name), "{name:?} is no name");
            (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
        })
        .collect();
    let ours: Vec<_> = fields
        .iter()
        .map(|field| {
            let value: String = field.value.iter().map(|byte| char::from(*byte)).collect();
            (field.name.to_owned(), value)
        })
        .collect();
    assert_eq!(read, ours);
}
