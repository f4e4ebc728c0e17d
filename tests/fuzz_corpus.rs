//! The short form of the fuzz runs: every seed, and mutations of them, without libFuzzer.

use std::fmt;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use rstest::rstest;

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library to the fuzz targets")]
mod targets;

/// How many mutations of the seeds of each target are tried.
const MUTATIONS: u32 = 1000;

/// Bytes that are shown so that they can be written to a file with `printf`.
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// What a piece of an input becomes.
#[derive(Debug, Clone)]
enum Replacement {
    Bytes(Vec<u8>),
    /// A piece of another seed, or of the same.
    Piece(Index, Index, usize),
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Up to eight bytes anywhere, or up to sixty-four from a seed, in place of up to sixteen.
fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let bytes = prop::collection::vec(prop_oneof![any::<u8>(), b' '..=b'~'], 0..8);
    let piece = (any::<Index>(), any::<Index>(), 1..64_usize);
    let replacement = prop_oneof![
        bytes.prop_map(Replacement::Bytes),
        piece.prop_map(|(seed, from, len)| Replacement::Piece(seed, from, len)),
    ];
    let edit = (any::<Index>(), 0..16_usize, replacement);
    (any::<Index>(), prop::collection::vec(edit, 1..6)).prop_map(move |(seed, edits)| {
        let mut input = seed.get(&seeds).clone();
        for (at, cut, replacement) in edits {
            let at = at.index(input.len() + 1);
            let end = input.len().min(at + cut);
            let with = match replacement {
                Replacement::Bytes(bytes) => bytes,
                Replacement::Piece(seed, from, len) => {
                    let seed = seed.get(&seeds);
                    let from = from.index(seed.len() + 1);
                    seed[from..seed.len().min(from + len)].to_vec()
                }
            };
            input.splice(at..end, with);
        }
        Input(input)
    })
}

#[rstest]
#[case::config("config", targets::config)]
#[case::worker_file("worker_file", targets::worker_file)]
#[case::deployment("deployment", targets::deployment)]
#[case::manifest("manifest", targets::manifest)]
#[case::proxy_protocol("proxy_protocol", targets::proxy_protocol)]
#[case::routing("routing", targets::routing)]
#[case::launcher_policy("launcher_policy", targets::launcher_policy)]
#[case::http1_request("http1_request", targets::http1_request)]
#[case::http1_response("http1_response", targets::http1_response)]
#[case::http1_chunked("http1_chunked", targets::http1_chunked)]
fn seeds_and_their_mutations_break_no_property(#[case] name: &str, #[case] target: fn(&[u8])) {
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| target(seed));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(ProptestConfig { cases: MUTATIONS, ..config });
    let outcome = runner.run(&mutated(seeds), |Input(bytes)| {
        target(&bytes);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\nsave the input in fuzz/corpus/{name}/, so that it is tried for ever");
    }
}

/// A target that nobody lists here would only be fuzzed by hand.
#[test]
fn every_target_has_seeds_and_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = fs::read_to_string(root.join("tests/fuzz_corpus.rs")).unwrap();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(here.contains(&format!("(\"{name}\", targets::{name})")), "{name} has no case");
        assert!(!seeds(name).is_empty(), "{name} has no seeds");
    }
}
