//! What must hold of every input from outside, whatever its bytes are. A property that does not
//! hold panics.
//!
//! `fuzz_targets/` runs these functions under libFuzzer, and the project's `tests/fuzz_corpus.rs`
//! runs them on the seeds and their mutations. They use the crate's public entry points alone.

mod documents;
mod forwarded;
mod http1;
mod hyper_peer;
mod launcher_policy;
mod proxy_protocol;
mod routing;
mod site;
mod yaml;

pub use documents::{deployment, manifest};
pub use http1::{http1_chunked, http1_request, http1_response};
pub use launcher_policy::launcher_policy;
pub use proxy_protocol::proxy_protocol;
pub use routing::routing;
pub use yaml::{config, worker_file};
