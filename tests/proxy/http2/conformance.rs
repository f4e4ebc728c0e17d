//! What RFC 9113 says of frames that are wrong, section by section.

use rstest::rstest;

use super::frames::*;
use super::{bed, settings};
use crate::bed::Bed;

/// What becomes of a client.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The connection goes on as if nothing had been sent.
    Ignored,
    /// The connection ends with this error.
    GoAway(u32),
    /// Stream 1 ends with this error, the connection goes on.
    Reset(u32),
    /// Stream 1 is answered.
    Answered,
    /// The connection ends without a word.
    Closed,
}
use Fate::{Answered, Closed, GoAway, Ignored, Reset};

/// A POST whose body follows.
fn post(fields: &[(&str, &str)]) -> Vec<u8> {
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    frame(HEADERS, END_HEADERS, 1, &block(&[&head, fields].concat()))
}

fn only(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &block(fields))
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn both(first: Vec<u8>, second: Vec<u8>) -> Vec<u8> {
    [first, second].concat()
}

const MAX: u32 = (1 << 31) - 1;

#[rstest]
#[case::s4_1_unknown_type(frame(99, 0xff, 0, b"?"), Ignored)]
#[case::s4_1_unknown_type_on_a_stream(both(post(&[]), frame(99, 0xff, 1, b"?")), Ignored)]
#[case::s4_1_unknown_flags(frame(PING, 0xfe, 0, &[7; 8]), Ignored)]
#[case::s4_1_reserved_bit(frame(PING, 0, 1 << 31, &[7; 8]), Ignored)]
#[case::s4_2_too_large(frame(PING, 0, 0, &[0; 16385]), GoAway(FRAME_SIZE_ERROR))]
#[case::s4_2_too_large_data(both(post(&[]), frame(DATA, 0, 1, &[0; 16385])), GoAway(FRAME_SIZE_ERROR))]
#[case::s4_3_interrupted(
    both(frame(HEADERS, END_STREAM, 1, &block(&REQUEST)), frame(PING, 0, 0, &[7; 8])),
    GoAway(PROTOCOL_ERROR)
)]
#[case::s4_3_interrupted_by_another(
    both(frame(HEADERS, END_STREAM, 1, &block(&REQUEST)), frame(CONTINUATION, END_HEADERS, 3, b"")),
    GoAway(PROTOCOL_ERROR)
)]
#[case::s4_3_continued(
    both(frame(HEADERS, END_STREAM, 1, &block(&REQUEST)), frame(CONTINUATION, END_HEADERS, 1, b"")),
    Answered
)]
#[case::s5_1_idle_data(frame(DATA, 0, 1, b"?"), GoAway(PROTOCOL_ERROR))]
#[case::s5_1_idle_reset(frame(RST_STREAM, 0, 1, &[0; 4]), GoAway(PROTOCOL_ERROR))]
#[case::s5_1_idle_window(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), GoAway(PROTOCOL_ERROR))]
#[case::s5_1_idle_continuation(frame(CONTINUATION, END_HEADERS, 1, b""), GoAway(PROTOCOL_ERROR))]
#[case::s5_1_half_closed_window(
    both(request(1, &[]), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
    Answered
)]
#[case::s5_1_1_even(request(2, &[]), GoAway(PROTOCOL_ERROR))]
#[case::s5_1_1_lower(both(request(5, &[]), request(3, &[])), GoAway(PROTOCOL_ERROR))]
#[case::s5_3_priority_of_an_idle_stream(frame(PRIORITY, 0, 9, &[0; 5]), Ignored)]
#[case::s6_1_data_of_no_stream(frame(DATA, 0, 0, b"?"), GoAway(PROTOCOL_ERROR))]
#[case::s6_1_padding(both(post(&[]), frame(DATA, PADDED, 1, &[9, 0])), GoAway(PROTOCOL_ERROR))]
#[case::s6_2_headers_of_no_stream(request(0, &[]), GoAway(PROTOCOL_ERROR))]
#[case::s6_2_padding(
    frame(HEADERS, WHOLE | PADDED, 1, &[&[200][..], &block(&REQUEST)].concat()),
    GoAway(PROTOCOL_ERROR)
)]
#[case::s6_2_padded(
    frame(HEADERS, WHOLE | PADDED, 1, &[&[2][..], &block(&REQUEST), &[0, 0]].concat()),
    Answered
)]
#[case::s6_3_priority_of_no_stream(frame(PRIORITY, 0, 0, &[0; 5]), GoAway(PROTOCOL_ERROR))]
#[case::s6_4_reset_of_no_stream(frame(RST_STREAM, 0, 0, &[0; 4]), GoAway(PROTOCOL_ERROR))]
#[case::s6_5_settings_of_a_stream(frame(SETTINGS, 0, 1, b""), GoAway(PROTOCOL_ERROR))]
#[case::s6_5_2_push(setting(2, 2), GoAway(PROTOCOL_ERROR))]
#[case::s6_5_2_frame_too_small(setting(5, 16383), GoAway(PROTOCOL_ERROR))]
#[case::s6_5_2_frame_too_large(setting(5, 1 << 24), GoAway(PROTOCOL_ERROR))]
#[case::s6_5_2_unknown(setting(0xfefe, 7), Ignored)]
#[case::s6_7_ping_of_a_stream(frame(PING, 0, 1, &[0; 8]), GoAway(PROTOCOL_ERROR))]
#[case::s6_8_goaway_of_a_stream(frame(GOAWAY, 0, 1, &[0; 8]), GoAway(PROTOCOL_ERROR))]
#[case::s6_9_window_by_nothing(frame(WINDOW_UPDATE, 0, 0, &[0; 4]), GoAway(PROTOCOL_ERROR))]
#[case::s6_9_1_window_too_large(
    frame(WINDOW_UPDATE, 0, 0, &MAX.to_be_bytes()),
    GoAway(FLOW_CONTROL_ERROR)
)]
#[case::s6_9_1_stream_too_large(
    both(post(&[]), frame(WINDOW_UPDATE, 0, 1, &MAX.to_be_bytes())),
    Reset(FLOW_CONTROL_ERROR)
)]
#[case::s6_10_after_the_end(
    both(post(&[]), frame(CONTINUATION, END_HEADERS, 1, b"")),
    GoAway(PROTOCOL_ERROR)
)]
#[case::s6_10_of_no_stream(
    both(frame(HEADERS, END_STREAM, 1, &block(&REQUEST)), frame(CONTINUATION, END_HEADERS, 0, b"")),
    GoAway(PROTOCOL_ERROR)
)]
#[case::s8_1_trailers_without_end(both(post(&[]), post(&[])), Reset(PROTOCOL_ERROR))]
#[case::s8_1_1_longer_than_said(
    both(post(&[("content-length", "1")]), frame(DATA, END_STREAM, 1, b"??")),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_1_1_shorter_than_said(
    both(post(&[("content-length", "3")]), frame(DATA, END_STREAM, 1, b"??")),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_1_1_nothing_of_what_was_said(request(1, &[("content-length", "3")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_1_space_in_front(request(1, &[("x-a", " 1")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_1_space_behind(request(1, &[("x-a", "1\t")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_2_connection(request(1, &[("connection", "close")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_2_keep_alive(request(1, &[("keep-alive", "1")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_2_proxy_connection(request(1, &[("proxy-connection", "x")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_2_transfer_encoding(request(1, &[("transfer-encoding", "chunked")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_2_upgrade(request(1, &[("upgrade", "h2c")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_2_te(request(1, &[("te", "gzip")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_2_te_trailers(request(1, &[("te", "trailers")]), Answered)]
#[case::s8_3_behind_fields(
    only(&[(":method", "GET"), (":scheme", "http"), ("x", "1"), (":path", "/"), (":authority", "a")]),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_3_twice(request(1, &[(":path", "/")]), Reset(PROTOCOL_ERROR))]
#[case::s8_3_status(request(1, &[(":status", "200")]), Reset(PROTOCOL_ERROR))]
#[case::s8_3_1_no_method(only(&REQUEST[1..]), Reset(PROTOCOL_ERROR))]
#[case::s8_3_1_no_scheme(
    only(&[(":method", "GET"), (":path", "/"), (":authority", "a")]),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_3_1_no_path(
    only(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_3_1_empty_path(
    only(&[(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")]),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_3_1_relative_path(
    only(&[(":method", "GET"), (":scheme", "http"), (":path", "a"), (":authority", "a")]),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_3_1_other_host(request(1, &[("host", "b")]), Reset(PROTOCOL_ERROR))]
#[case::s8_3_1_same_host(request(1, &[("host", "A")]), Answered)]
#[case::s8_3_1_no_authority(only(&REQUEST[..3]), Reset(PROTOCOL_ERROR))]
#[case::s8_3_1_user(
    only(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "u@a")]),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_4_push_by_a_client(
    both(post(&[]), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block(&REQUEST)].concat())),
    GoAway(PROTOCOL_ERROR)
)]
#[case::s8_5_connect_with_a_path(
    only(&[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
    Reset(PROTOCOL_ERROR)
)]
#[case::s8_5_connect_to_nobody(only(&[(":method", "CONNECT"), ("host", "a")]), Reset(PROTOCOL_ERROR))]
#[case::s8_5_connect(only(&[(":method", "CONNECT"), (":authority", "a:1")]), Answered)]
#[case::rfc8441_protocol_of_another_method(request(1, &[(":protocol", "websocket")]), Reset(PROTOCOL_ERROR))]
#[tokio::test]
async fn every_frame_has_its_fate(#[case] bytes: Vec<u8>, #[case] fate: Fate) {
    assert_eq!(fate_of(bytes, &fate).await, fate);
}

/// What h2 says of these is stricter than what the RFC names, or in another word: it ends the
/// connection with PROTOCOL_ERROR.
#[rstest]
#[case::s4_3_bad_block(frame(HEADERS, WHOLE, 1, &[0xff; 9]), GoAway(COMPRESSION_ERROR))]
#[case::s5_1_half_closed_data(both(request(1, &[]), frame(DATA, 0, 1, b"?")), Reset(STREAM_CLOSED))]
#[case::s5_1_half_closed_headers(both(request(1, &[]), request(1, &[])), Reset(STREAM_CLOSED))]
#[case::s6_3_priority_length(both(post(&[]), frame(PRIORITY, 0, 1, &[0; 4])), GoAway(FRAME_SIZE_ERROR))]
#[case::s6_5_ack_with_payload(frame(SETTINGS, ACK, 0, &[0; 6]), GoAway(FRAME_SIZE_ERROR))]
#[case::s6_4_reset_length(both(post(&[]), frame(RST_STREAM, 0, 1, &[0; 3])), GoAway(FRAME_SIZE_ERROR))]
#[case::s6_5_settings_length(frame(SETTINGS, 0, 0, &[0; 5]), GoAway(FRAME_SIZE_ERROR))]
#[case::s6_5_2_window(setting(4, 1 << 31), GoAway(FLOW_CONTROL_ERROR))]
#[case::s6_7_ping_length(frame(PING, 0, 0, &[0; 7]), GoAway(FRAME_SIZE_ERROR))]
#[case::s6_9_stream_by_nothing(both(post(&[]), frame(WINDOW_UPDATE, 0, 1, &[0; 4])), Reset(PROTOCOL_ERROR))]
#[case::s6_9_window_length(frame(WINDOW_UPDATE, 0, 0, &[0; 3]), GoAway(FRAME_SIZE_ERROR))]
#[case::s8_2_1_upper_case(request(1, &[("X-A", "1")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_1_line_feed(request(1, &[("x-a", "1\r\nx-b: 1")]), Reset(PROTOCOL_ERROR))]
#[case::s8_2_1_space_in_a_name(request(1, &[("x a", "1")]), Reset(PROTOCOL_ERROR))]
#[case::s8_3_unknown(request(1, &[(":x", "1")]), Reset(PROTOCOL_ERROR))]
#[tokio::test]
async fn some_frames_end_the_connection_where_less_is_asked_for(
    #[case] bytes: Vec<u8>,
    #[case] named: Fate,
) {
    assert_ne!(named, GoAway(PROTOCOL_ERROR));
    assert_eq!(fate_of(bytes, &named).await, GoAway(PROTOCOL_ERROR));
}

#[tokio::test]
async fn s8_1_pseudo_fields_of_trailers_reach_nobody() {
    // They are malformed, and h2 does not say so. Trailers are not passed on.
    let (bed, worker) = bed().await;
    let mut peer = connect(&bed).await;
    peer.send(post(&[])).await;
    peer.send(frame(HEADERS, WHOLE, 1, &block(&[(":path", "/x")]))).await;
    let (request, mut upstream) = worker.request().await;
    assert_eq!((request.start.as_str(), request.body.as_slice()), ("POST / HTTP/1.1", &b""[..]));
    upstream.ok("").await;
    next_of(&mut peer, HEADERS).await;
}

/// Sends the bytes, and sees what comes of them. What is expected tells what to wait for.
async fn fate_of(bytes: Vec<u8>, expected: &Fate) -> Fate {
    // Requests wait for a worker until they end.
    let bed = Bed::with(settings());
    let mut peer = connect(&bed).await;
    if *expected == Answered {
        bed.publish([]);
    }
    peer.send(bytes).await;
    // Whoever is alive answers this.
    peer.try_send(frame(PING, 0, 0, b"sentinel")).await;
    let seen = loop {
        let Some(frame) = next(&mut peer).await else { break Closed };
        match frame.kind {
            GOAWAY => break GoAway(frame.error()),
            RST_STREAM => {
                assert_eq!(frame.stream, 1);
                break Reset(frame.error());
            }
            HEADERS if frame.stream == 1 => break Answered,
            // It overtakes what is said of a stream.
            PING if frame.payload == b"sentinel" && *expected == Ignored => break Ignored,
            _ => {}
        }
    };
    if matches!(seen, Reset(_)) {
        peer.send(frame(PING, 0, 0, b"survivor")).await;
        while next_of(&mut peer, PING).await.payload != b"survivor" {}
    }
    seen
}

#[tokio::test]
async fn s3_4_settings_come_first() {
    let bed = Bed::with(settings());
    let mut peer = bed.client().await;
    peer.send([PREFACE, &frame(PING, 0, 0, &[0; 8])].concat()).await;
    while let Some(frame) = next(&mut peer).await {
        assert!(frame.kind != PING, "{frame:?}");
    }
}

#[tokio::test]
async fn s3_4_the_server_sends_its_settings_first_and_acknowledges() {
    let bed = Bed::with(settings());
    let mut peer = connect(&bed).await;
    let ours = next(&mut peer).await.unwrap();
    assert_eq!((ours.kind, ours.flags, ours.stream), (SETTINGS, 0, 0));
    let settings: Vec<_> = ours
        .payload
        .chunks(6)
        .map(|it| (it[1], u32::from_be_bytes(it[2..].try_into().unwrap())))
        .collect();
    // MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL.
    for expected in [(3, 128), (6, 16 << 10), (8, 1)] {
        assert!(settings.contains(&expected), "{settings:?}");
    }
    loop {
        let frame = next_of(&mut peer, SETTINGS).await;
        if frame.flags == ACK {
            break;
        }
    }
}

#[tokio::test]
async fn s5_1_2_streams_beyond_the_limit_are_refused() {
    let bed = Bed::with(settings());
    let mut peer = connect(&bed).await;
    for n in 0..129 {
        peer.send(request(2 * n + 1, &[])).await;
    }
    let reset = next_of(&mut peer, RST_STREAM).await;
    assert_eq!((reset.stream, reset.error()), (257, REFUSED_STREAM));
    // The others are answered.
    bed.publish([]);
    for _ in 0..128 {
        next_of(&mut peer, HEADERS).await;
    }
}

#[tokio::test]
async fn s5_1_frames_of_a_stream_that_was_reset_are_of_no_harm() {
    let bed = Bed::with(settings());
    let mut peer = connect(&bed).await;
    let reset = frame(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    peer.send([post(&[]), reset, frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])].concat()).await;
    peer.send(request(3, &[])).await;
    bed.publish([]);
    assert_eq!(next_of(&mut peer, HEADERS).await.stream, 3);
}
