//! WebSocket frames (RFC 6455 section 5.2). The mask is all zeros: what it does to the payload would be
//! the same work for everybody.

use std::ops::Range;

const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

/// A whole message as a client sends it.
pub fn from_client(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_head(payload.len(), MASKED, &mut frame);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Appends a whole message as a server sends it.
pub fn write_from_server(payload: &[u8], to: &mut Vec<u8>) {
    write_head(payload.len(), 0, to);
    to.extend_from_slice(payload);
}

fn write_head(length: usize, masked: u8, to: &mut Vec<u8>) {
    to.push(BINARY);
    match length {
        0..=125 => to.push(masked | length as u8),
        126..=0xffff => {
            to.push(masked | 126);
            to.extend((length as u16).to_be_bytes());
        }
        _ => {
            to.push(masked | 127);
            to.extend((length as u64).to_be_bytes());
        }
    }
}

/// Where the payload of the first frame of a client's bytes lies, once it has come as a whole.
pub fn payload_from_client(bytes: &[u8]) -> Option<Range<usize>> {
    let short = usize::from(bytes.get(1)? & !MASKED);
    let number = |at: Range<usize>| {
        let bytes = bytes.get(at)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let (length, head) = match short {
        126 => (number(2..4)?, 8),
        127 => (number(2..10)?, 14),
        short => (short, 6),
    };
    let payload = head..head + length;
    (bytes.len() >= payload.end).then_some(payload)
}
