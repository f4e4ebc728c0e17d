//! Where WebSocket frames begin and end (RFC 6455 section 5.2), so that a close frame can be put
//! between two of them. Nothing is unmasked or understood.

/// The status "going away": the endpoint is about to stop.
const GOING_AWAY: [u8; 2] = 1001u16.to_be_bytes();

/// A final close frame.
const CLOSE: u8 = 0x88;

/// The longest header of a frame, in bytes.
pub(crate) const MAX_HEADER: usize = 14;

/// Set in the second byte when a mask follows the length.
const MASKED: u8 = 0x80;

/// Close 1001 as a server sends it: unmasked.
pub(crate) const CLOSE_TO_CLIENT: [u8; 4] = [CLOSE, 2, GOING_AWAY[0], GOING_AWAY[1]];

/// Close 1001 as a client sends it: masked, with a new key as the protocol demands.
pub(crate) fn close_to_server() -> [u8; 8] {
    let [a, b, c, d] = fastrand::u32(..).to_be_bytes();
    [CLOSE, MASKED | 2, a, b, c, d, GOING_AWAY[0] ^ a, GOING_AWAY[1] ^ b]
}

/// Follows one direction of a WebSocket connection.
#[derive(Debug, Default, Clone)]
pub(crate) struct FrameTracker {
    /// The bytes of a header that is not complete.
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// Bytes of the current frame's payload that are still to come.
    payload_left: u64,
}

impl FrameTracker {
    /// Whether the last byte that was fed ended a frame.
    pub(crate) fn at_boundary(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0
    }

    /// Follows `bytes` to their end.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (used, _) = self.step(bytes);
            bytes = &bytes[used..];
        }
    }

    /// Follows `bytes` up to the end of the current frame, and says how many that were, if the
    /// end is among them.
    pub(crate) fn feed_to_boundary(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let (used, ended) = self.step(&bytes[at..]);
            at += used;
            if ended {
                return Some(at);
            }
        }
        None
    }

    /// How many bytes of the current frame are to come, or of the one that `next` begins; `None` if
    /// `next` is too short to tell.
    pub(crate) fn frame_left(&self, next: &[u8]) -> Option<u64> {
        if self.payload_left > 0 {
            return Some(self.payload_left);
        }
        let mut ahead = self.clone();
        for (at, byte) in next.iter().enumerate() {
            let (_, ended) = ahead.step(&[*byte]);
            if ended || ahead.payload_left > 0 {
                return Some((at as u64 + 1).saturating_add(ahead.payload_left));
            }
        }
        None
    }

    /// Follows `n` bytes of the current frame's payload, which nobody has seen.
    pub(crate) fn skip(&mut self, n: u64) {
        debug_assert!(n <= self.payload_left);
        self.payload_left -= n;
    }

    /// Takes a piece of a header or of a payload. Returns its length and whether a frame ended.
    fn step(&mut self, bytes: &[u8]) -> (usize, bool) {
        if self.payload_left > 0 {
            let used =
                usize::try_from(self.payload_left).map_or(bytes.len(), |n| n.min(bytes.len()));
            self.payload_left -= used as u64;
            return (used, self.payload_left == 0);
        }
        self.header[self.header_len] = bytes[0];
        self.header_len += 1;
        if self.header_len < self.needed_header() {
            return (1, false);
        }
        self.payload_left = self.payload_len();
        self.header_len = 0;
        (1, self.payload_left == 0)
    }

    /// The length of the header, as far as its first bytes tell.
    fn needed_header(&self) -> usize {
        if self.header_len < 2 {
            return 2;
        }
        let extended = match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.header[1] & MASKED == 0 { 0 } else { 4 }
    }

    fn payload_len(&self) -> u64 {
        let header = &self.header;
        match header[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => header[2..10].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as an encoder of its own writes it.
    fn frame(payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![0x82];
        match payload {
            0..=125 => frame.push(mask | payload as u8),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0x88, payload + if masked { 4 } else { 0 }));
        frame
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let payload = prop_oneof![0..5usize, 124..130usize, 65_533..65_540usize];
        proptest::collection::vec((payload, any::<bool>()), 1..6)
            .prop_map(|all| all.into_iter().map(|(len, masked)| frame(len, masked)).collect())
    }

    proptest! {
        #[test]
        fn knows_every_boundary_however_the_bytes_are_cut(frames in frames(), piece in 1..40_000usize) {
            let bytes = frames.concat();
            let mut ends: Vec<_> = frames
                .iter()
                .scan(0, |at, frame| { *at += frame.len(); Some(*at) })
                .collect();
            let mut tracker = FrameTracker::default();
            let mut at = 0;
            for chunk in bytes.chunks(piece) {
                tracker.feed(chunk);
                at += chunk.len();
                prop_assert_eq!(tracker.at_boundary(), ends.contains(&at));
            }

            // From within any frame the next boundary is that frame's end.
            let start = piece.min(bytes.len() - 1);
            let mut tracker = FrameTracker::default();
            tracker.feed(&bytes[..start]);
            ends.retain(|end| *end > start);
            let next = &bytes[start..];
            let left = tracker.frame_left(&next[..next.len().min(MAX_HEADER)]);
            prop_assert_eq!(left.map(|n| start + n as usize), ends.first().copied());
            let found = tracker.feed_to_boundary(next);
            prop_assert_eq!(found.map(|n| start + n), ends.first().copied());
        }
    }

    #[test]
    fn a_length_beyond_memory_does_not_overflow() {
        let mut tracker = FrameTracker::default();
        tracker.feed(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(tracker.feed_to_boundary(&[0; 64]), None);
        assert!(!tracker.at_boundary());
    }

    #[test]
    fn the_masked_close_says_1001() {
        let close = close_to_server();
        assert_eq!([close[6] ^ close[2], close[7] ^ close[3]], GOING_AWAY);
        let mut tracker = FrameTracker::default();
        tracker.feed(&close);
        assert!(tracker.at_boundary());
    }
}
