//! Request smuggling and response splitting as the literature has them. Whatever a client or a worker
//! says, nobody else's request or answer is touched by it.

use rstest::rstest;

use crate::bed::{Bed, Message, Peer, Worker};

/// What nobody must ever see.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request on a connection of its own is what it is, and so is its answer.
async fn others_are_unharmed(bed: &Bed, worker: &Worker) {
    let mut client = bed.client().await;
    client.get("/other").await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!(request.start, "GET /other HTTP/1.1");
    assert_eq!(request.body, b"");
    upstream.ok("for the other").await;
    assert_eq!(client.message().await.text(), "for the other");
}

/// Refused, without a worker having seen a byte of it; what follows on the connection is not read.
#[rstest]
#[case::te_space(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n")]
#[case::te_space_and_length(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_x(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")]
#[case::te_vertical_tab(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_form_feed(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n"
)]
#[case::te_folded(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_folded_by_tab(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_indented(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_quoted(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"
)]
#[case::te_empty(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n")]
#[case::te_comma(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n")]
#[case::te_identity_first(
    501,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_and_cow(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n0\r\n\r\n"
)]
#[case::te_behind_bare_lf(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_behind_bare_cr(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::te_nul(400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\0: chunked\r\n\r\n0\r\n\r\n")]
#[case::te_behind_two_cr(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::cl_list(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6, 6\r\n\r\nhello!")]
#[case::cl_two(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6 6\r\n\r\nhello!")]
#[case::cl_parameter(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6;a\r\n\r\nhello!")]
#[case::cl_float(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6.0\r\n\r\nhello!")]
#[case::cl_space(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 6\r\n\r\nhello!")]
#[case::cl_wraps(
    400,
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551622\r\n\r\nhello!"
)]
#[case::cl_zero_and_six(
    400,
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 6\r\n\r\nhello!"
)]
#[case::cl_in_get_and_te(
    400,
    "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"
)]
#[case::host_space(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n")]
#[case::host_comma(400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n")]
#[case::host_user(400, "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n")]
#[case::host_path(400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")]
#[case::host_query(400, "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n")]
#[case::host_fragment(400, "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n")]
#[case::host_backslash(400, "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n")]
#[case::host_empty(400, "GET / HTTP/1.1\r\nHost:\r\n\r\n")]
#[case::host_indented(400, "GET / HTTP/1.1\r\n Host: b\r\nHost: a\r\n\r\n")]
#[case::host_twice_alike(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")]
#[case::host_beside_absolute(400, "GET http://a/ HTTP/1.1\r\nHost: b/\r\n\r\n")]
#[case::absolute_user(400, "GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::absolute_backslash(400, "GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::absolute_other_scheme(400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_two_spaces(400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_two_spaces_behind(505, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_tabs(400, "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_four_words(505, "GET / x HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_space_before(400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_space_at_the_end(400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n")]
#[case::line_mark_in_method(400, "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_control(400, "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::line_not_ascii(400, "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::http_0_9(400, "GET /\r\n\r\n")]
#[case::http_1_2(505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n")]
#[case::http_01_1(505, "GET / HTTP/01.1\r\nHost: a\r\n\r\n")]
#[case::http_in_lower_case(505, "GET / http/1.1\r\nHost: a\r\n\r\n")]
#[case::http_2_preface(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]
#[case::connect_to_itself(405, "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: a\r\n\r\n")]
#[case::trace_with_body(405, "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")]
#[tokio::test]
async fn refused(#[case] status: u16, #[case] request: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send(format!("{request}{HIDDEN}")).await;
    assert_eq!(client.message().await.status(), status);
    assert_eq!(client.rest().await, b"", "nothing else is answered");
    assert_eq!(bed.counters().upstream_connections, 0);
    others_are_unharmed(&bed, &worker).await;
}

/// A body that breaks off is no request for the worker, and what follows it is none for us.
#[rstest]
#[case::lf_after_size("5\nhello\r\n0\r\n\r\n")]
#[case::lf_in_extension("5;a\nhello\r\n0\r\n\r\n")]
#[case::cr_in_extension("5;a\rb\r\nhello\r\n0\r\n\r\n")]
#[case::lf_after_content("5\r\nhello\n0\r\n\r\n")]
#[case::nothing_after_content("5\r\nhello0\r\n\r\n")]
#[case::two_bytes_after_content("5\r\nhelloXX0\r\n\r\n")]
#[case::lf_at_the_end("0\r\n\n")]
#[case::hex_prefix("0x5\r\nhello\r\n0\r\n\r\n")]
#[case::plus("+5\r\nhello\r\n0\r\n\r\n")]
#[case::minus("-1\r\nhello\r\n0\r\n\r\n")]
#[case::space_before(" 5\r\nhello\r\n0\r\n\r\n")]
#[case::space_behind("5 \r\nhello\r\n0\r\n\r\n")]
#[case::underscore("0_5\r\nhello\r\n0\r\n\r\n")]
#[case::wraps("10000000000000005\r\nhello\r\n0\r\n\r\n")]
#[case::no_size("\r\nhello\r\n0\r\n\r\n")]
#[case::nul("5\0\r\nhello\r\n0\r\n\r\n")]
#[case::trailer_folded("0\r\nX: 1\r\n 2\r\n\r\n")]
#[case::trailer_lf("0\r\nX: 1\n\r\n")]
#[case::trailer_space("0\r\nX : 1\r\n\r\n")]
#[case::trailer_is_a_request("0\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")]
#[tokio::test]
async fn broken_chunks(#[case] chunks: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut upstream = worker.accept().await;
    upstream.head().await;
    client.send(format!("{chunks}{HIDDEN}")).await;
    assert_eq!(client.message().await.status(), 400);
    assert_eq!(client.rest().await, b"", "nothing else is answered");
    let seen = upstream.rest().await;
    let seen = String::from_utf8_lossy(&seen);
    assert!(!seen.ends_with("0\r\n\r\n") && !seen.contains("/hidden"), "{seen:?}");
    others_are_unharmed(&bed, &worker).await;
}

/// What a worker sees of a request, with the one behind it.
async fn seen(bed: &Bed, worker: &Worker, request: &str) -> Message {
    let mut client = bed.client().await;
    client.send(format!("{request}GET /next HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (seen, mut upstream) = worker.request().await;
    upstream.ok("first").await;
    let mut answer = client.message().await;
    if answer.status() == 100 {
        answer = client.message().await;
    }
    assert_eq!(answer.text(), "first");
    let next = upstream.message().await;
    assert_eq!((&*next.start, &*next.body), ("GET /next HTTP/1.1", &b""[..]));
    upstream.ok("second").await;
    assert_eq!(client.message().await.text(), "second");
    // Nothing more is to come, on this connection or another.
    drop(client);
    bed.until("the end", |c| c.open_connections == 0).await;
    assert_eq!(bed.counters().upstream_connections, 1);
    let mut other = bed.client().await;
    other.get("/other").await;
    assert_eq!(upstream.message().await.start, "GET /other HTTP/1.1");
    upstream.ok("for the other").await;
    assert_eq!(other.message().await.text(), "for the other");
    seen
}

/// One reading: the worker sees one request with the same content, framed anew.
#[rstest]
#[case::hidden_in_a_sized_body(
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n!",
    false,
    "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n!"
)]
#[case::hidden_in_a_chunk(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n22\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n!\r\n0\r\n\r\n",
    true,
    "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n!"
)]
#[case::chunks_in_a_sized_body(
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    false,
    "0\r\n\r\n"
)]
#[case::get_with_a_body(
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    false,
    "hello"
)]
#[case::tab_before_the_coding(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    true,
    "hello"
)]
#[case::zeros_before_sizes(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n",
    true,
    "hello"
)]
#[case::extensions(
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;0\r\nhello\r\n0;5=\"x\"\r\n\r\n",
    true,
    "hello"
)]
#[case::trailers_about_framing(
    "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
     Content-Length: 99\r\nTransfer-Encoding: chunked\r\nHost: b\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    true,
    "hello"
)]
#[case::disguised_length(
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent_Length: 0\r\nTransfer_Encoding: chunked\r\n\r\nhello",
    false,
    "hello"
)]
#[case::disguised_by_dots(
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent.Length: 0\r\nTransfer!Encoding: chunked\r\n\r\nhello",
    false,
    "hello"
)]
#[case::length_named_by_connection(
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello",
    false,
    "hello"
)]
#[case::coding_named_by_connection(
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    true,
    "hello"
)]
#[case::continued(
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-CONTINUE\r\nContent-Length: 5\r\n\r\nhello",
    false,
    "hello"
)]
#[case::expects_twice(
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello",
    false,
    "hello"
)]
#[case::expects_something_else(
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok, 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    false,
    "hello"
)]
#[tokio::test]
async fn forwarded_as_one(#[case] request: &str, #[case] is_chunked: bool, #[case] body: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let seen = seen(&bed, &worker, request).await;
    assert_eq!(seen.text(), body);
    let (coding, length) = (seen.header("transfer-encoding"), seen.header("content-length"));
    if is_chunked {
        assert_eq!((coding.as_deref(), length), (Some("chunked"), None));
    } else {
        assert_eq!((coding, length), (None, Some(body.len().to_string())));
    }
    for name in ["content_length", "content.length", "transfer_encoding", "transfer!encoding"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    for name in ["connection", "expect", "trailer"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("host").as_deref(), Some("a"));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
}

/// Who asks for what is said once, and by us.
#[rstest]
#[case::absolute("GET http://a/ HTTP/1.1\r\nHost: evil\r\n\r\n", "a")]
#[case::absolute_in_capitals("GET HTTP://a?x HTTP/1.1\r\nHost: evil\r\n\r\n", "a")]
#[case::named_host("GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n", "a")]
#[case::named_client(
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for, x-request-id, x-forwarded-proto\r\n\r\n",
    "a"
)]
#[case::forged_client(
    "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-FORWARDED-FOR: 1.2.3.4\r\n\
     X_Forwarded_For: 1.2.3.4\r\nX.Forwarded.For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n\
     X-Forwarded-Proto: https\r\nX-Request-Id: forged\r\n\r\n",
    "a"
)]
#[case::no_host("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "")]
#[tokio::test]
async fn vouched_for(#[case] request: &str, #[case] host: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let seen = seen(&bed, &worker, request).await;
    assert_eq!(seen.header("host").as_deref(), Some(host));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.header("x-forwarded-host").unwrap_or_default(), host);
    assert_eq!(seen.header("x-request-id").unwrap().len(), 32);
    for name in ["connection", "x_forwarded_for", "x.forwarded.for"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

/// A tunnel with another HTTP in it would pass by routes and by all that we vouch for.
#[rstest]
#[case::h2c("h2c")]
#[case::h2c_behind_websocket("websocket, H2C")]
#[case::another_version("HTTP/2.0")]
#[case::tls("TLS/1.0")]
#[tokio::test]
async fn no_tunnel_leads_to_another_http(#[case] protocol: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    let connection = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n";
    client
        .send(format!("GET / HTTP/1.1\r\nHost: a\r\n{connection}Upgrade: {protocol}\r\n\r\n"))
        .await;
    let (seen, mut upstream) = worker.request().await;
    for name in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    // A worker that does it all the same is not believed.
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
    upstream.send(format!("{switch}Upgrade: {protocol}\r\n\r\n")).await;
    assert_eq!(client.message().await.status(), 502);
    others_are_unharmed(&bed, &worker).await;
}

/// What is left of a request that failed is not the next one: some of its body is with the worker.
#[rstest]
#[case::sized("Content-Length: 5\r\n\r\nhello")]
#[case::chunked("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")]
#[tokio::test]
async fn nothing_is_read_behind_a_body_whose_worker_died(#[case] request: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    // Five bytes less of what follows would be a request.
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{request}BREW {HIDDEN}")).await;
    let (_, upstream) = worker.request().await;
    drop(upstream);
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.header("connection").as_deref()), (502, Some("close")));
    assert_eq!(client.rest().await, b"");
    assert_eq!(bed.counters().upstream_connections, 1);
    others_are_unharmed(&bed, &worker).await;
}

#[tokio::test]
async fn the_rest_of_a_body_that_was_answered_early_is_no_request() {
    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello").await;
    let mut upstream = worker.accept().await;
    upstream.head().await;
    upstream.ok("enough").await;
    assert_eq!(client.message().await.text(), "enough");
    client.send(HIDDEN.repeat(5)).await;
    assert_eq!(client.rest().await, b"");
    upstream.rest().await;
    assert_eq!(bed.counters().upstream_connections, 1);
    others_are_unharmed(&bed, &worker).await;
}

/// Asks, lets the worker answer so, and returns the client with the head of what it got.
async fn answered(bed: &Bed, worker: &Worker, ask: &str, answer: &str) -> (Message, Peer, Peer) {
    let mut client = bed.client().await;
    client.send(format!("{ask} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (_, mut upstream) = worker.request().await;
    upstream.send(answer).await;
    (client.head().await, client, upstream)
}

const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";

/// Bytes behind an answer are nobody's: neither this client's next answer nor another client's.
#[rstest]
#[case::second_answer("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200)]
#[case::to_head("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n", 200)]
#[case::to_head_chunked("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200)]
#[case::no_content("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n", 204)]
#[case::not_modified("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n", 304)]
#[case::behind_the_last_chunk(
    "GET",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    200
)]
#[tokio::test]
async fn bytes_behind_an_answer_reach_nobody(
    #[case] ask: &str,
    #[case] answer: &str,
    #[case] status: u16,
    #[values(true, false)] at_once: bool,
) {
    let (bed, worker) = Bed::and_worker().await;
    let sent = if at_once { format!("{answer}{FORGED}") } else { answer.to_owned() };
    let (head, mut client, mut upstream) = answered(&bed, &worker, ask, &sent).await;
    assert_eq!(head.status(), status);
    if head.header("transfer-encoding").is_some() {
        assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
    }
    if !at_once {
        upstream.send(FORGED).await;
    }
    others_are_unharmed(&bed, &worker).await;
    client.get("/again").await;
    let (_, mut upstream) = worker.request().await;
    upstream.ok("again").await;
    assert_eq!(client.message().await.text(), "again");
}

/// A worker's field cannot end the head, as it would have to end its own for that.
#[rstest]
#[case::bare_lf("HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: forged\r\nContent-Length: 0\r\n\r\n")]
#[case::bare_cr("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: forged\r\nContent-Length: 0\r\n\r\n")]
#[case::nul("HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 0\r\n\r\n")]
#[case::fold("HTTP/1.1 200 OK\r\nX: a\r\n\tb\r\nContent-Length: 0\r\n\r\n")]
#[case::space_before_colon("HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n")]
#[case::reason_cr("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n")]
#[case::unlike_lengths("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 6\r\n\r\n")]
#[case::length_list("HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n")]
#[case::two_codings(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::identity("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n")]
#[case::coding_of_http_1_0("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]
#[case::no_content_with_both(
    "HTTP/1.1 204 No\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
)]
#[case::interim_with_lengths(
    "HTTP/1.1 103 Hints\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
)]
#[case::switch_to_nothing(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n"
)]
#[case::status("HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n")]
#[case::version("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n")]
#[tokio::test]
async fn a_worker_that_says_two_things_at_once_is_not_passed_on(#[case] answer: &str) {
    let (bed, worker) = Bed::and_worker().await;
    let (head, _client, mut upstream) = answered(&bed, &worker, "GET", answer).await;
    assert_eq!(head.status(), 502);
    assert_eq!(upstream.rest().await, b"", "it is hung up on");
    others_are_unharmed(&bed, &worker).await;
}

#[tokio::test]
async fn an_answer_whose_chunks_break_has_no_end_for_the_client() {
    let (bed, worker) = Bed::and_worker().await;
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (head, mut client, mut upstream) = answered(&bed, &worker, "GET", answer).await;
    assert_eq!(head.status(), 200);
    upstream.send("5\r\nhello\n0\r\n\r\n").await;
    let body = client.rest().await;
    assert!(!body.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&body));
    assert_eq!(upstream.rest().await, b"");
    others_are_unharmed(&bed, &worker).await;
}

#[tokio::test]
async fn many_interim_answers_pass() {
    let (bed, worker) = Bed::and_worker().await;
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(500);
    let answer = format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let (mut head, mut client, _upstream) = answered(&bed, &worker, "GET", &answer).await;
    for _ in 0..500 {
        assert_eq!(head.status(), 103);
        head = client.head().await;
    }
    assert_eq!((head.status(), client.exactly(2).await), (200, b"hi".to_vec()));
}

#[tokio::test]
async fn interim_answers_that_nobody_takes_do_not_fill_the_memory() {
    use tokio::io::AsyncWriteExt;

    let (bed, worker) = Bed::and_worker().await;
    let mut client = bed.client().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let (_, mut upstream) = worker.request().await;
    let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(1000));
    let flood = hint.repeat(100);
    // The sockets take some megabytes, and we half a megabyte at most.
    let mut written = 0;
    while upstream.stream.write_all(flood.as_bytes()).await.is_ok() {
        written += flood.len();
        assert!(written < 64 << 20, "nobody minds");
    }
    // The client sees whole interim answers, then one that is cut off, or a whole refusal.
    let seen = String::from_utf8(client.rest().await).unwrap();
    let rest = seen.trim_start_matches(&hint);
    assert!(rest.len() < seen.len());
    let is_cut = hint.starts_with(rest);
    assert!(is_cut || rest.starts_with("HTTP/1.1 502 "), "an answer within another: {rest}");
    others_are_unharmed(&bed, &worker).await;
}
