//! One thread's encoders.

use std::cell::Cell;
use std::rc::Rc;

use super::Compressor;
use super::brotli::Brotli;
use super::encoder::Encoder;
use super::gzip::Gzip;
use super::zstd::Zstd;
use crate::config::settings::{Coding, CompressionLevels};
use crate::proxy::spare::Spare;

/// How many answers of a thread are compressed at once. Each takes about a megabyte until its last byte
/// has come from the worker, and clients that read slowly must not make that many.
const MAX_BUSY: usize = 64;

/// The most encoders of a kind that a thread keeps for later.
const MAX_SPARE: usize = 8;

/// Those that are in use are counted, and some of those that are not are kept.
#[derive(Default)]
pub(crate) struct Encoders {
    busy: Cell<usize>,
    zstd: Spare<Zstd, MAX_SPARE>,
    gzip: Spare<Box<Gzip>, MAX_SPARE>,
}

impl Encoders {
    /// For a body of `length` bytes, where that is known; `None` where too many are in use.
    pub(crate) fn compressor(
        self: &Rc<Self>,
        coding: Coding,
        levels: CompressionLevels,
        length: Option<u64>,
    ) -> Option<Compressor> {
        let place = Place::take(self)?;
        let encoder = match coding {
            Coding::Brotli => Encoder::Brotli(Box::new(Brotli::new(levels.br))),
            Coding::Zstd => Encoder::Zstd(self.zstd(levels.zstd, length)?),
            Coding::Gzip => Encoder::Gzip(self.gzip(levels.gzip)),
        };
        Some(Compressor::new(encoder, place))
    }

    fn zstd(&self, level: u8, length: Option<u64>) -> Option<Zstd> {
        match self.zstd.take() {
            Some(mut kept) => kept.again(level, length).ok().map(|()| kept),
            // It fails for lack of memory alone.
            None => Zstd::new(level, length).ok(),
        }
    }

    fn gzip(&self, level: u8) -> Box<Gzip> {
        match self.gzip.take().filter(|kept| kept.level() == level) {
            Some(mut kept) => {
                kept.again();
                kept
            }
            None => Box::new(Gzip::new(level)),
        }
    }

    /// Lets go of what was of no use since the last call.
    pub(crate) fn trim(&self) {
        self.zstd.trim();
        self.gzip.trim();
    }
}

/// One of those that are in use, until dropped.
pub(super) struct Place(Rc<Encoders>);

impl Place {
    fn take(encoders: &Rc<Encoders>) -> Option<Self> {
        let busy = encoders.busy.get();
        if busy == MAX_BUSY {
            return None;
        }
        encoders.busy.set(busy + 1);
        Some(Self(Rc::clone(encoders)))
    }

    /// Keeps an encoder that has come to the end of its body.
    pub(super) fn give_back(self, encoder: Encoder) {
        match encoder {
            Encoder::Zstd(zstd) => self.0.zstd.put(zstd),
            Encoder::Gzip(gzip) => self.0.gzip.put(gzip),
            Encoder::Brotli(_) => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode;
    use super::*;

    const LEVELS: CompressionLevels = CompressionLevels { br: 4, zstd: 3, gzip: 6 };

    fn compressor(encoders: &Rc<Encoders>, coding: Coding, length: Option<u64>) -> Compressor {
        encoders.compressor(coding, LEVELS, length).unwrap()
    }

    #[test]
    fn no_more_are_in_use_than_a_thread_can_bear() {
        let encoders = Rc::new(Encoders::default());
        let begin = || encoders.compressor(Coding::Gzip, LEVELS, None);
        let mut all: Vec<_> = (0..MAX_BUSY).map(|_| begin().unwrap()).collect();
        assert!(begin().is_none());
        all.pop().unwrap().finish().unwrap();
        all.push(begin().unwrap());
        assert!(begin().is_none());
        all.pop();
        assert!(begin().is_some());
    }

    #[test]
    fn one_that_was_left_in_the_middle_is_not_kept() {
        let encoders = Rc::new(Encoders::default());
        for coding in [Coding::Zstd, Coding::Gzip] {
            drop(compressor(&encoders, coding, None));
            assert_eq!((encoders.zstd.len(), encoders.gzip.len()), (0, 0));
        }
        compressor(&encoders, Coding::Zstd, None).finish().unwrap();
        compressor(&encoders, Coding::Gzip, None).finish().unwrap();
        assert_eq!((encoders.zstd.len(), encoders.gzip.len()), (1, 1));
    }

    /// Text that repeats itself, and bytes that do not.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let text = (0..200_000usize)
            .prop_map(|n| b"It was said before. ".iter().cycle().take(n).copied().collect());
        prop_oneof![text, prop::collection::vec(any::<u8>(), 0..70_000)]
    }

    fn coding() -> impl Strategy<Value = Coding> {
        prop::sample::select(&Coding::ALL[..])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        /// Also by an encoder that has served before, and up to any flush.
        #[test]
        fn what_went_in_can_be_read(
            bodies in prop::collection::vec((coding(), content(), 1..90_000usize, any::<bool>()), 1..5),
        ) {
            let encoders = Rc::new(Encoders::default());
            for (coding, content, piece, is_sized) in bodies {
                let length = is_sized.then_some(content.len() as u64);
                let mut compressor = compressor(&encoders, coding, length);
                let mut out = vec![];
                let mut taken = 0;
                for (at, piece) in content.chunks(piece).enumerate() {
                    out.extend_from_slice(compressor.push(piece).unwrap());
                    taken += piece.len();
                    if at % 3 == 0 {
                        prop_assert!(compressor.holds_back());
                        out.extend_from_slice(compressor.flush().unwrap());
                        prop_assert!(!compressor.holds_back());
                        prop_assert!(decode(coding, &out).0 == content[..taken]);
                    }
                }
                out.extend(compressor.finish().unwrap());
                prop_assert!(decode(coding, &out) == (content, true));
            }
        }
    }
}
