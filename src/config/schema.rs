//! The JSON Schema of the config, for editors.

use std::time::Duration;

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
    if let Some(Value::Object(store)) = definitions.get_mut("StoreKeys") {
        store.insert("oneOf".into(), json!([{ "required": ["s3"] }, { "required": ["directory"] }]));
    }
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("pgtend.toml"));
    schema.insert("description".into(), json!("The config of pgtend."));
    schema.insert("$defs".into(), Value::Object(definitions));
    for (key, of) in [("databases", "DatabaseKeys"), ("stores", "StoreKeys"), ("notify", "NotifyKeys"), ("jobs", "Job")]
    {
        if let Some(Value::Object(property)) = schema.pointer_mut(&format!("/properties/{key}")) {
            property.insert("propertyNames".into(), json!({ "pattern": "^[A-Za-z0-9_.-]{1,63}$" }));
            property.insert("additionalProperties".into(), json!({ "$ref": format!("#/$defs/{of}") }));
        }
    }
    for of in ["Job", "JobKeys"] {
        if let Some(Value::Object(timeout)) = schema.pointer_mut(&format!("/$defs/{of}/properties/timeout")) {
            timeout.insert("description".into(), json!(format!("How long a run may take. Default: {}.", timeouts())));
        }
    }
    let mut schema = schema.to_value();
    as_toml(&mut schema);
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

/// How long a run may take where nothing is said: what goes for most kinds, then the others.
fn timeouts() -> String {
    let of =
        |kind: &str| Spec::TIMEOUTS.iter().find(|(name, _)| *name == kind).map_or(Duration::ZERO, |(_, time)| *time);
    let usual = of("sql");
    let mut others: Vec<(Duration, Vec<&str>)> = Vec::new();
    for (kind, time) in Spec::TIMEOUTS.iter().filter(|(_, time)| *time != usual) {
        match others.iter_mut().find(|(other, _)| other == time) {
            Some((_, kinds)) => kinds.push(kind),
            None => others.push((*time, vec![kind])),
        }
    }
    let others = others.into_iter().map(|(time, kinds)| format!("; of {} {}", kinds.join(", "), written(time)));
    written(usual) + &others.collect::<String>()
}

/// As a config has it: `24h`.
fn written(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// TOML has no null: a key that may be left out is one that is not required, and nothing else. And any string may be a
/// variable, whatever has to come of it.
fn as_toml(schema: &mut Value) {
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
            if let Some(pattern) = fields.get_mut("pattern").filter(|pattern| pattern.is_string()) {
                *pattern = json!(format!("(?:{})|\\$\\{{", pattern.as_str().unwrap_or_default()));
            }
            fields.iter_mut().filter(|(key, _)| *key != "propertyNames").for_each(|(_, value)| as_toml(value));
        }
        Value::Array(items) => items.iter_mut().for_each(as_toml),
        _ => {}
    }
}

/// What the key says of itself goes before what its type says.
fn merge(fields: &mut Map<String, Value>, only: Map<String, Value>) {
    for (key, value) in only {
        fields.entry(key).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// What an editor would complain about. Knows the keywords that [`schema`] uses; a new one has to be added here.
    fn complaints(schema: &Value, root: &Value, value: &Value, at: &str) -> Vec<String> {
        let Value::Object(keywords) = schema else {
            return if *schema == json!(false) { vec![format!("{at}: nothing may be here")] } else { Vec::new() };
        };
        let fits = |schema: &Value| complaints(schema, root, value, at).is_empty();
        let mut said = Vec::new();
        for (keyword, wanted) in keywords {
            let right = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "format" | "pattern" => true,
                "$ref" => {
                    let target = root.pointer(wanted.as_str().unwrap().trim_start_matches('#')).unwrap();
                    said.extend(complaints(target, root, value, at));
                    true
                }
                "type" => match wanted.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    other => panic!("{at}: type {other}"),
                },
                "minimum" => value.as_i64().is_none_or(|n| n >= wanted.as_i64().unwrap()),
                "maximum" => value.as_i64().is_none_or(|n| n <= wanted.as_i64().unwrap()),
                "enum" => wanted.as_array().unwrap().contains(value),
                "const" => wanted == value,
                "required" => wanted.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
                "oneOf" => wanted.as_array().unwrap().iter().filter(|schema| fits(schema)).count() == 1,
                "anyOf" => wanted.as_array().unwrap().iter().any(fits),
                "not" => !fits(wanted),
                "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        said.extend(complaints(wanted, root, item, &format!("{at}[]")));
                    }
                    true
                }
                "properties" => {
                    for (key, schema) in wanted.as_object().unwrap() {
                        if let Some(value) = value.get(key) {
                            said.extend(complaints(schema, root, value, &format!("{at}.{key}")));
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let named = |key: &str| schema.get("properties").is_some_and(|named| named.get(key).is_some());
                    for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| !named(key)) {
                        said.extend(complaints(wanted, root, value, &format!("{at}.{key}")));
                    }
                    true
                }
                "propertyNames" => true,
                other => panic!("{at}: this test does not know the keyword {other}"),
            };
            if !right {
                said.push(format!("{at}: {keyword} is not met"));
            }
        }
        said
    }

    fn said(text: &str) -> Vec<String> {
        let schema = schema();
        let value = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
        complaints(&schema, &schema, &value, "")
    }

    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let pattern = format!("{}/**/*.toml", folder.display());
        glob::glob(&pattern).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn good_configs_and_shipped_jobs_fit() {
        let good = files("tests/config-good");
        assert!(good.len() >= 4);
        for path in good.into_iter().chain(files("jobs")) {
            assert_eq!(said(&fs::read_to_string(&path).unwrap()), Vec::<String>::new(), "{}", path.display());
        }
    }

    #[test]
    fn what_has_the_wrong_shape_does_not_fit() {
        let sql = "[jobs.a.sql]\nstatements = [\"SELECT 1\"]\n";
        assert_eq!(said(sql), Vec::<String>::new());
        assert_eq!(said(&format!("colour = 1\n{sql}")), [".colour: nothing may be here"]);
        assert_eq!(said(&format!("max_runs = 0\n{sql}")), [".max_runs: minimum is not met"]);
        assert_eq!(said("[databases.main]\nurl = 1"), [".databases.main.url: type is not met"]);
        assert_eq!(said("[jobs.a]\nschedule = \"@daily\""), [".jobs.a: oneOf is not met"]);
        assert_eq!(said(&format!("{sql}[jobs.a.expire]\ntables = []\n")), [".jobs.a: oneOf is not met"]);
        assert_eq!(said(&format!("{sql}[jobs.a.defragment]")), [".jobs.a.defragment: nothing may be here"]);
        assert_eq!(said(&format!("[jobs.a]\ndatabase = \"x\"\ndatabases = []\n{sql}")), [".jobs.a: not is not met"]);
        assert_eq!(
            said(&format!("[defaults]\nretry = {{ attempts = 101 }}\n{sql}")),
            [".defaults.retry.attempts: maximum is not met"]
        );
    }

    #[test]
    fn every_key_is_described() {
        fn undescribed(schema: &Value, at: &str, found: &mut Vec<String>) {
            for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if schema.get("description").is_none() && schema.get("$ref").is_none() {
                    found.push(format!("{at}.{key}"));
                }
                undescribed(schema, &format!("{at}.{key}"), found);
            }
        }
        let schema = schema();
        let mut found = Vec::new();
        undescribed(&schema, "", &mut found);
        for name in
            ["Job", "JobKeys", "DatabaseKeys", "HttpKeys", "HistoryKeys", "RetryKeys", "StoreKeys", "NotifyKeys"]
        {
            undescribed(&schema["$defs"][name], name, &mut found);
        }
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn how_long_a_run_may_take_is_said_of_every_kind() {
        for of in ["Job", "JobKeys"] {
            assert_eq!(
                schema()["$defs"][of]["properties"]["timeout"]["description"],
                "How long a run may take. Default: 1h; of backup, restore_test, vacuum 24h; of health 5m."
            );
        }
    }

    #[test]
    fn a_pattern_lets_variables_through() {
        let schema = schema();
        assert_eq!(schema["$defs"]["Span"]["pattern"], r"(?:^\s*[0-9]+\s*[A-Za-z])|\$\{");
        assert_eq!(schema["properties"]["jobs"]["propertyNames"]["pattern"], "^[A-Za-z0-9_.-]{1,63}$");
    }

    #[test]
    fn nothing_may_be_null_because_toml_has_no_null() {
        assert!(!schema().to_string().contains("null"));
    }
}
