//! What a connection begins with where the PROXY protocol is required.

use tqserver::proxy::proxy_protocol::{MAX_LENGTH, Parsed, parse};

/// The first bytes of a connection.
///
/// A header ends where it says and within the limit, every part of it is the beginning of one and
/// asks for no byte beyond its end, and what comes after changes nothing: neither a header nor the
/// refusal.
pub fn proxy_protocol(data: &[u8]) {
    let parsed = parse(data);
    let more = [data, b"\r\n\0PROXY"].concat();
    match parsed {
        Err(error) => assert_eq!(parse(&more), Err(error), "a refusal was taken back"),
        Ok(Parsed::Incomplete { missing }) => {
            assert!(missing > 0 && data.len() + missing <= MAX_LENGTH, "{missing} are missing");
        }
        Ok(Parsed::Complete { length, .. }) => {
            assert!(length <= data.len() && length <= MAX_LENGTH, "{length} of {}", data.len());
            assert_eq!(parse(&more), parsed, "what comes after it counts");
            for part in 0..length {
                match parse(&data[..part]) {
                    Ok(Parsed::Incomplete { missing }) => assert!(part + missing <= length),
                    other => panic!("{part} bytes of {length} are {other:?}"),
                }
            }
        }
    }
}
