//! What `--json` prints, as scripts take it: by the schemas in `docs/schema`.

use std::fs;
use std::path::Path;

use jsonschema::{Retrieve, Uri};
use serde_json::Value;

/// Finds schemas that others refer to where they will be published.
struct Folder;

impl Retrieve for Folder {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let file = uri.path().as_str().rsplit('/').next().unwrap_or_default();
        Ok(schema(file))
    }
}

fn schema(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema").join(file);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// A document that conforms to the schema of that name and holds nothing for terminals.
#[track_caller]
pub fn document(name: &str, printed: &[u8]) -> Value {
    let text = String::from_utf8_lossy(printed);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let schema = schema(&format!("{name}.schema.json"));
    let options = jsonschema::options().with_retriever(Folder).should_validate_formats(true);
    let validator = options.build(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    let wrong: Vec<_> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{text}");
    document
}
