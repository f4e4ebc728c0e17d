//! The published JSON schemas say what the parser does.

use serde_json::{Map, Value};

use super::deployment::Deployment;
use super::layout::DeployDir;
use super::lock::DeployLock;
use super::manifest::Manifest;
use super::testing::{at, commit, deploy, deployed_by};

const MANIFEST: &str = include_str!("../../docs/schema/manifest.schema.json");
const DEPLOYMENT: &str = include_str!("../../docs/schema/deployment.schema.json");

fn schema(name: &str) -> Value {
    serde_json::from_str(if name.starts_with("manifest") { MANIFEST } else { DEPLOYMENT }).unwrap()
}

/// A schema and all that it refers to, merged: `properties` and `required` of one object.
fn resolve(document: &str, node: &Value) -> (String, Map<String, Value>) {
    let own = node.as_object().unwrap().clone();
    let Some(reference) = node.get("$ref").and_then(Value::as_str) else {
        return (document.to_owned(), own);
    };
    let (file, pointer) = reference.split_once('#').unwrap();
    let file = if file.is_empty() { document } else { file };
    let target = schema(file).pointer(pointer).cloned().expect(reference);
    let (file, mut merged) = resolve(file, &target);
    for (key, value) in own {
        match (merged.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
            (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
            (_, value) => drop(merged.insert(key, value)),
        }
    }
    (file, merged)
}

/// Every object of `value` that a schema lists the keys of: where it is, the keys that are
/// described, and those that are required.
fn objects(
    document: &str,
    node: &Value,
    value: &Value,
    at: &str,
    found: &mut Vec<(String, Vec<String>, Vec<String>)>,
) {
    let (document, node) = resolve(document, node);
    if let Some(items) = node.get("items") {
        for (index, item) in value.as_array().unwrap().iter().enumerate() {
            objects(&document, items, item, &format!("{at}/{index}"), found);
        }
    }
    let Some(entries) = value.as_object() else { return };
    let described = node.get("properties").and_then(Value::as_object);
    for (key, value) in entries {
        let below = described.and_then(|keys| keys.get(key));
        let below = below.or(node.get("additionalProperties")).expect(key);
        assert!(below.is_object(), "the schema does not know {at}/{key}");
        objects(&document, below, value, &format!("{at}/{key}"), found);
    }
    if let Some(described) = described {
        let closed = ["additionalProperties", "unevaluatedProperties"]
            .iter()
            .any(|key| node.get(*key) == Some(&Value::Bool(false)));
        assert!(closed || at.is_empty(), "the schema lets unknown keys into {at}");
        let required = node["required"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let required = required.iter().map(text).collect();
        found.push((at.to_owned(), described.keys().cloned().collect(), required));
    }
}

/// Every described key is there, and may be left out exactly if it is not required.
fn agrees(document: &str, bytes: &[u8], parses: fn(&[u8]) -> bool) {
    let value: Value = serde_json::from_slice(bytes).unwrap();
    let mut found = Vec::new();
    objects(document, &schema(document), &value, "", &mut found);
    assert!(found.len() > 4, "{found:?}");
    for (at, described, required) in found {
        for key in described {
            let mut without = value.clone();
            let object = without.pointer_mut(&at).unwrap().as_object_mut().unwrap();
            assert!(object.remove(&key).is_some(), "the sample has no {at}/{key}");
            let optional = parses(&serde_json::to_vec(&without).unwrap());
            assert_eq!(optional, !required.contains(&key), "{at}/{key}");
        }
    }
}

#[test]
fn schemas_describe_what_is_written_and_require_what_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let folder = DeployDir::new(temp.path());
    let tagged = |digit| {
        let mut record = deploy(&folder, &commit(digit));
        record.git_tag = Some("v1".to_owned());
        std::fs::write(folder.record(&record.git_commit), record.to_json()).unwrap();
        record
    };
    let (old, new) = (tagged('a'), tagged('b'));
    agrees("deployment.schema.json", &new.to_json(), |bytes| Deployment::parse(bytes).is_ok());

    let lock = DeployLock::try_acquire(&folder, "test", at(0)).unwrap();
    let canary = || crate::canary::CanaryPlan {
        steps: vec![5, 25],
        step_seconds: Some(60),
        testers: Some("cookie:tester=1".parse().unwrap()),
    };
    let wish = || super::activate::Wish { by: Some(deployed_by()), canary: Some(canary()) };
    super::activate::activate_as(&lock, &old, wish(), at(1), 5).unwrap();
    let manifest = super::activate::activate_as(&lock, &new, wish(), at(2), 5).unwrap();
    agrees("manifest.schema.json", &manifest.to_json(), |bytes| Manifest::parse(bytes).is_ok());
}
