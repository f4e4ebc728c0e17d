//! What clients do with what they get.

use std::io::Read;

use crate::config::settings::Coding;

/// As much of the content as can be read, and whether its end is there.
pub(crate) fn decode(coding: Coding, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut content = vec![];
    let whole = match coding {
        Coding::Brotli => ::brotli::Decompressor::new(bytes, 4096).read_to_end(&mut content),
        Coding::Zstd => {
            ::zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut content)
        }
        Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut content),
    };
    (content, whole.is_ok())
}
