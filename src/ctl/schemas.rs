//! The published schemas of what `--json` prints and the control socket says (`docs/schema`) are made
//! from the types that are printed. `TQ_SCHEMAS=write cargo test --lib schemas` writes them.

use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{build, deploy, diff, doctor, history, migrate, new, prune, rollback};
use crate::admin::{api, events, retention, soak};

/// Where they are published.
const BASE: &str = "https://github.com/tqserver/tqserver/raw/main/docs/schema";

/// A deployment, as its own schema has it.
pub(in crate::ctl) fn deployment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "$ref": "deployment.schema.json" })
}

/// The schema of what is written of a `T`.
fn of<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(version) = schema.pointer_mut("/properties/schema") {
        *version = json!({ "const": 1, "description": "The format of this document." });
    }
    schema["title"] = title.into();
    schema
}

/// Every published document: the name of its file, and its schema.
fn documents() -> [(&'static str, Value); 20] {
    [
        ("status", of::<api::Status>("tqctl status, tqctl rollout, GET /v1/status")),
        ("verdict", of::<api::ReloadVerdict>("tqctl reload --wait, tqctl restart")),
        ("accepted", of::<api::Accepted>("tqctl reload")),
        ("error", of::<api::ApiError>("A refusal of the control socket")),
        ("rollouts", of::<api::PastRollouts>("GET /v1/deployments")),
        ("retention", of::<retention::Retention>("GET /v1/retention")),
        ("soak", of::<soak::SoakVerdict>("POST /v1/deployments/{commit}/soak")),
        ("event", of::<events::Event>("tqctl dev, GET /v1/events")),
        ("build", of::<build::Document<'_>>("tqctl build")),
        ("build-dev", of::<build::DevDocument<'_>>("tqctl build --dev")),
        ("deploy", of::<deploy::Document<'_>>("tqctl deploy")),
        ("rollback", of::<rollback::Document<'_>>("tqctl rollback")),
        ("rollback-list", of::<rollback::ListDocument>("tqctl rollback --list")),
        ("history", of::<history::Document>("tqctl history")),
        ("diff", of::<diff::Document>("tqctl diff")),
        ("prune", of::<prune::Document<'_>>("tqctl prune")),
        ("new", of::<new::Document<'_>>("tqctl new")),
        ("migrate", of::<migrate::Document<'_>>("tqctl migrate")),
        ("check", of::<crate::check::Report>("tqctl check")),
        ("doctor", of::<doctor::Report>("tqctl doctor")),
    ]
}

#[test]
fn what_is_published_is_what_is_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    for (name, mut schema) in documents() {
        let file = format!("{name}.schema.json");
        schema["$id"] = format!("{BASE}/{file}").into();
        let text = format!("{schema:#}\n");
        let path = folder.join(&file);
        if std::env::var_os("TQ_SCHEMAS").is_some_and(|wish| wish == "write") {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == text,
            "{file} is out of date: TQ_SCHEMAS=write cargo test --lib schemas"
        );
    }
}
