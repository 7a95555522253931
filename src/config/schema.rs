//! The JSON Schema of the config, for editors.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::written::{JobKeys, Top};
use crate::kinds::Spec;

/// The schema of the main file. Included files fit it too: they hold a part of it.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = Top::json_schema(&mut generator);
    let job = job(&mut generator);
    let mut definitions = generator.take_definitions(true);
    definitions.insert("Job".into(), job.to_value());
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("pgtend.toml"));
    schema.insert("description".into(), json!("The config of pgtend."));
    schema.insert("$defs".into(), Value::Object(definitions));
    for (key, of) in [("databases", "DatabaseKeys"), ("jobs", "Job")] {
        if let Some(Value::Object(property)) = schema.pointer_mut(&format!("/properties/{key}")) {
            property.insert("propertyNames".into(), json!({ "pattern": "^[A-Za-z0-9_.-]{1,63}$" }));
            property.insert("additionalProperties".into(), json!({ "$ref": format!("#/$defs/{of}") }));
        }
    }
    let mut schema = schema.to_value();
    without_null(&mut schema);
    schema
}

/// The common keys, and exactly one table named after a kind.
fn job(generator: &mut SchemaGenerator) -> Schema {
    let mut job = JobKeys::json_schema(generator);
    let kinds = Spec::schemas(generator);
    let exactly_one: Vec<Value> = kinds.iter().map(|(kind, _)| json!({ "required": [kind] })).collect();
    job.insert("oneOf".into(), Value::Array(exactly_one));
    job.insert("not".into(), json!({ "required": ["database", "databases"] }));
    job.insert("description".into(), json!("A job: the common keys, and one table named after its kind."));
    if let Some(Value::Object(properties)) = job.get_mut("properties") {
        properties.extend(kinds.into_iter().map(|(kind, schema)| (kind.to_owned(), schema.to_value())));
    }
    job
}

/// TOML has no null: a key that may be left out is one that is not required, and nothing else.
fn without_null(schema: &mut Value) {
    let null = |value: &Value| *value == json!("null") || *value == json!({ "type": "null" }) || value.is_null();
    match schema {
        Value::Object(fields) => {
            for key in ["type", "anyOf", "enum"] {
                let Some(Value::Array(choices)) = fields.get_mut(key) else { continue };
                choices.retain(|choice| !null(choice));
                if key != "enum" && choices.len() == 1 {
                    let only = choices.remove(0);
                    fields.remove(key);
                    match only {
                        Value::Object(only) => merge(fields, only),
                        only => drop(fields.insert(key.into(), only)),
                    }
                }
            }
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            fields.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// What the key says of itself goes before what its type says.
fn merge(fields: &mut Map<String, Value>, only: Map<String, Value>) {
    for (key, value) in only {
        fields.entry(key).or_insert(value);
    }
}
