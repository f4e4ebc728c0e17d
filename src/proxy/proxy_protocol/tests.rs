use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn addresses(source: &str, destination: &str) -> Option<Addresses> {
    Some(Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

/// A header of version 2 with this command, family and block.
fn v2_header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[0x20 | command, family][..], &length, block].concat()
}

#[rstest]
#[case("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443", "192.0.2.1:56324", "198.51.100.7:443")]
#[case("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", "0.0.0.0:0", "255.255.255.255:65535")]
#[case("PROXY TCP6 2001:db8::1 ::1 1 2", "[2001:db8::1]:1", "[::1]:2")]
// What inet_ntop(3) writes, and so HAProxy.
#[case("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2", "[::ffff:192.0.2.1]:1", "[::1]:2")]
fn version_1_tells_both_ends(#[case] line: &str, #[case] source: &str, #[case] destination: &str) {
    let header = format!("{line}\r\n");
    let parsed = parse(format!("{header}GET / HTTP/1.1\r\n").as_bytes());
    let addresses = addresses(source, destination);
    assert_eq!(parsed, Ok(Parsed::Complete { addresses, length: header.len() }));
}

#[rstest]
#[case::nothing_known(b"PROXY UNKNOWN\r\n".to_vec())]
#[case::something_after_it(b"PROXY UNKNOWN \xff anything 1\r\n".to_vec())]
#[case::longest(format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 16)).into_bytes())]
#[case::local(v2_header(0, 0x00, b""))]
#[case::local_with_a_block_that_means_nothing(v2_header(0, 0x7f, b"skipped"))]
#[case::unspecified(v2_header(1, 0x00, b"tlv"))]
#[case::unix(v2_header(1, 0x31, &[0; 216]))]
fn the_connections_own_addresses_hold(#[case] header: Vec<u8>) {
    let length = header.len();
    assert_eq!(parse(&header), Ok(Parsed::Complete { addresses: None, length }));
}

#[test]
fn version_2_tells_both_ends_and_extensions_are_skipped() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];
    let header = v2_header(1, 0x11, &[&v4[..], &[0x04, 0, 1, 0]].concat());
    let expected = addresses("192.0.2.1:56324", "198.51.100.7:443");
    let parsed = parse(&[&header[..], b"\x16\x03\x01"].concat());
    assert_eq!(parsed, Ok(Parsed::Complete { addresses: expected, length: 16 + 12 + 4 }));

    let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let block = [&source.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0, 1, 0, 2]].concat();
    let parsed = parse(&v2_header(1, 0x21, &block));
    let expected = addresses("[2001:db8::1]:1", "[::1]:2");
    assert_eq!(parsed, Ok(Parsed::Complete { addresses: expected, length: 52 }));
}

#[rstest]
#[case(b"GET / HTTP/1.1\r\n", Absent)]
#[case(b"proxy UNKNOWN\r\n", Absent)]
#[case(b"\r\n\r\n\0\r\nQUIET", Absent)]
#[case(b"PROXY UNKNOWN\n", Malformed("a line that does not end with CR LF"))]
#[case(b"PROXY UNKNOWN\rX", Malformed("a line that does not end with CR LF"))]
#[case(b"PROXY UNKNOWNS\r\n", Malformed("a field is missing"))]
#[case(b"PROXY \r\n", Malformed("a field is missing"))]
#[case(b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Malformed("a field is missing"))]
#[case(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Malformed("a field too many"))]
#[case(b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", Malformed("not a port"))]
#[case(b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", Malformed("not an address of its family"))]
#[case(b"PROXY TCP4 ::1 ::1 1 2\r\n", Malformed("not an address of its family"))]
#[case(b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", Malformed("not an address of its family"))]
#[case(b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Malformed("not an address of its family"))]
#[case(b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Malformed("not a port"))]
#[case(b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Malformed("not a port"))]
#[case(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Malformed("not a port"))]
#[case(b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Malformed("neither TCP4, TCP6 nor UNKNOWN"))]
#[case(b"PROXY TCP4 \xff 1.2.3.4 1 2\r\n", Malformed("bytes beyond ASCII"))]
fn what_is_no_header_is_refused(#[case] bytes: &[u8], #[case] error: ProxyProtocolError) {
    assert_eq!(parse(bytes), Err(error));
}

#[rstest]
#[case::udp(v2_header(1, 0x12, &[0; 12]), NotTcp(0x12))]
#[case::unknown_family(v2_header(1, 0x41, &[0; 12]), NotTcp(0x41))]
#[case::command(v2_header(2, 0x11, &[0; 12]), Malformed("a command that is neither LOCAL nor PROXY"))]
#[case::short(v2_header(1, 0x21, &[0; 35]), Malformed("too short for its addresses"))]
#[case::version([&V2_SIGNATURE[..], &[0x31, 0x11, 0, 12]].concat(), Version(3))]
// Before any of it has come.
#[case::long([&V2_SIGNATURE[..], &[0x21, 0x11, 0x0f, 0xf1]].concat(), TooLong)]
fn a_bad_second_version_is_refused(#[case] bytes: Vec<u8>, #[case] error: ProxyProtocolError) {
    assert_eq!(parse(&bytes), Err(error));
}

#[test]
fn a_line_is_refused_as_soon_as_it_cannot_end_in_time() {
    let line = format!("PROXY UNKNOWN {}", "f".repeat(107));
    let longest = Ok(Parsed::Incomplete { missing: 2 });
    assert_eq!(parse(&line.as_bytes()[..105]), longest);
    assert_eq!(parse(&line.as_bytes()[..106]), Err(TooLong));
    let ends = format!("{}\r", &line[..106]);
    assert_eq!(parse(ends.as_bytes()), Err(TooLong));
}

#[test]
fn the_longest_header_is_accepted() {
    let header = v2_header(1, 0x11, &[0; MAX_LENGTH - V2_FIXED]);
    assert!(matches!(parse(&header), Ok(Parsed::Complete { length: MAX_LENGTH, .. })));
}

fn header() -> impl Strategy<Value = (Vec<u8>, Option<Addresses>)> {
    let both = |source: SocketAddr, destination| Some(Addresses { source, destination });
    let v4 = (any::<(Ipv4Addr, Ipv4Addr, u16, u16)>(), any::<bool>(), 0..40_usize);
    let v4 = v4.prop_map(move |((a, b, p, q), text, tlv)| {
        let block = [&a.octets()[..], &b.octets(), &p.to_be_bytes(), &q.to_be_bytes()].concat();
        let bytes = match text {
            true => format!("PROXY TCP4 {a} {b} {p} {q}\r\n").into_bytes(),
            false => v2_header(1, 0x11, &[block, vec![7; tlv]].concat()),
        };
        (bytes, both((a, p).into(), (b, q).into()))
    });
    let v6 = (any::<(Ipv6Addr, Ipv6Addr, u16, u16)>(), any::<bool>(), 0..40_usize);
    let v6 = v6.prop_map(move |((a, b, p, q), text, tlv)| {
        let block = [&a.octets()[..], &b.octets(), &p.to_be_bytes(), &q.to_be_bytes()].concat();
        let bytes = match text {
            true => format!("PROXY TCP6 {a} {b} {p} {q}\r\n").into_bytes(),
            false => v2_header(1, 0x21, &[block, vec![7; tlv]].concat()),
        };
        (bytes, both((a, p).into(), (b, q).into()))
    });
    prop_oneof![v4, v6]
}

proptest! {
    /// Reading as many bytes as are missing, again and again, ends exactly at the header's end.
    #[test]
    fn a_header_in_pieces_is_read_to_its_end_and_no_further(
        (bytes, expected) in header(),
        after in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let connection = [&bytes[..], &after].concat();
        let mut read = 0;
        loop {
            match parse(&connection[..read]).unwrap() {
                Parsed::Incomplete { missing } => {
                    prop_assert!(missing > 0);
                    read += missing;
                    prop_assert!(read <= bytes.len());
                }
                Parsed::Complete { addresses, length } => {
                    prop_assert_eq!(addresses, expected);
                    prop_assert_eq!((length, read), (bytes.len(), bytes.len()));
                    break;
                }
            }
        }
    }
}
