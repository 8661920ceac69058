//! What is wrong with the settings that somebody names, in plain words: each by its whole name, as
//! `gates.min_records`, held against the shape of `DatasetConfig` in `/openapi.json`. What this lets
//! pass can be read; whether it makes sense together is the store's to say.

use std::sync::LazyLock;

use serde_json::{Map, Value};
use tidetable_storage::{Code, Error, quoted};

use super::versions::malformed;
use crate::nearest::nearest;
use crate::problem::{Answer, Fault, Problem};
use crate::shapes::schema_of;

static SHAPE: LazyLock<Value> = LazyLock::new(|| schema_of("DatasetConfig"));

/// Refuses a name that no setting has, with the one that was probably meant, and a value that its
/// setting cannot have.
pub(super) fn check(named: &Map<String, Value>) -> Answer<()> {
    check_entries("", named, &SHAPE)
}

fn check_entries(group: &str, entries: &Map<String, Value>, shape: &Value) -> Answer<()> {
    let (own, others) = (&shape["properties"], &shape["additionalProperties"]);
    for (key, value) in entries {
        match own.get(key).or_else(|| Some(others).filter(|others| others.is_object())) {
            Some(shape) => check_value(&within(group, key), value, shape)?,
            None if *others == Value::Bool(false) => return Err(unknown(group, key, own)),
            // Fields with values of any kind.
            None => {}
        }
    }
    let mut required = shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match required.find(|key| !entries.contains_key(*key)) {
        Some(key) => Err(malformed(&format!("{group} has no {key}"))),
        None => Ok(()),
    }
}

fn check_value(name: &str, value: &Value, shape: &Value) -> Answer<()> {
    let wrong = || format!("{name}: expected {}, found {}", expected(name, shape), found(value));
    if !kinds(shape).any(|kind| is_of_kind(value, kind)) {
        return Err(malformed(&wrong()));
    }
    if let Some(choices) = shape["enum"].as_array()
        && !choices.contains(value)
    {
        let words = choices.iter().filter_map(Value::as_str);
        let meant = value.as_str().and_then(|text| nearest(text, words));
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        return Err(malformed(&(wrong() + &meant)));
    }
    if value.as_f64().is_some_and(|number| !is_within(number, shape)) {
        return Err(Error::new(Code::InvalidSetting, wrong()).into());
    }
    match value {
        Value::Array(items) => items.iter().enumerate().try_for_each(|(i, item)| {
            check_value(&format!("{name} (item {})", i + 1), item, &shape["items"])
        }),
        Value::Object(entries) => check_entries(name, entries, shape),
        _ => Ok(()),
    }
}

/// The whole name of a setting. That of a field may be any text.
fn within(group: &str, key: &str) -> String {
    let is_plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let key = if is_plain && key.len() <= 80 { key.to_owned() } else { quoted(key) };
    if group.is_empty() { key } else { format!("{group}.{key}") }
}

fn unknown(group: &str, key: &str, own: &Value) -> Problem {
    let known = || own.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let meant = match nearest(key, known()) {
        Some(meant) => format!("did you mean {}?", within(group, meant)),
        None => {
            let all: Vec<String> = known().map(|known| within(group, known)).collect();
            format!("there are {}", all.join(", "))
        }
    };
    let dot = if group.is_empty() { "" } else { "." };
    let name = quoted(&format!("{group}{dot}{key}"));
    Problem::new(Fault::UnknownField, format!("there is no setting {name}: {meant}"))
}

fn kinds(shape: &Value) -> impl Iterator<Item = &str> {
    let (one, several) = (shape["type"].as_str(), shape["type"].as_array());
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str))
}

fn is_of_kind(value: &Value, kind: &str) -> bool {
    match value {
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::Number(number) => {
            kind == "number" || (kind == "integer" && (number.is_u64() || number.is_i64()))
        }
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "array",
        Value::Object(_) => kind == "object",
    }
}

fn is_within(number: f64, shape: &Value) -> bool {
    shape["minimum"].as_f64().is_none_or(|least| number >= least)
        && shape["maximum"].as_f64().is_none_or(|most| number <= most)
}

fn expected(name: &str, shape: &Value) -> String {
    if let Some(choices) = shape["enum"].as_array() {
        let words: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", words.join(", "));
    }
    let words = kinds(shape).map(|kind| match kind {
        "string" => "a text".to_owned(),
        "integer" => format!("a whole number{}", range(shape)),
        "number" => format!("a number{}", range(shape)),
        "boolean" => "true or false".to_owned(),
        "array" if shape["items"]["type"] == "string" => "a list of texts".to_owned(),
        "array" => "a list of objects".to_owned(),
        "object" => {
            let first = shape["properties"].as_object().and_then(|own| own.keys().next());
            let inner = first.map_or("FIELD", String::as_str);
            format!("an object with settings such as {name}.{inner}")
        }
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(", or ")
}

fn range(shape: &Value) -> String {
    match (&shape["minimum"], &shape["maximum"]) {
        (Value::Null, Value::Null) => String::new(),
        (least, Value::Null) => format!(" from {least} on"),
        (Value::Null, most) => format!(" up to {most}"),
        (least, most) => format!(" from {least} to {most}"),
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidetable_storage::DatasetConfig;

    use super::*;

    fn checked(body: Value) -> Answer<()> {
        match body {
            Value::Object(body) => check(&body),
            other => panic!("no object: {other}"),
        }
    }

    #[test]
    fn a_value_is_told_by_its_whole_name_in_plain_words() {
        let malformed = "malformed_body";
        for (body, code, text) in [
            (
                json!({ "retain": "abc" }),
                malformed,
                r#"retain: expected a whole number from 1 to 1000, found "abc""#,
            ),
            (
                json!({ "retain": 2.5 }),
                malformed,
                "retain: expected a whole number from 1 to 1000, found 2.5",
            ),
            (
                json!({ "retain": 5_000_000_000_u64 }),
                "invalid_setting",
                "retain: expected a whole number from 1 to 1000, found 5000000000",
            ),
            (
                json!({ "gates": { "min_records": -1 } }),
                "invalid_setting",
                "gates.min_records: expected a whole number from 0 on, or null, found -1",
            ),
            (
                json!({ "gates": { "required_keys": 42 } }),
                malformed,
                "gates.required_keys: expected a list of texts, or null, found 42",
            ),
            (
                json!({ "gates": { "required_keys": ["a", 42] } }),
                malformed,
                "gates.required_keys (item 2): expected a text, found 42",
            ),
            (
                json!({ "gates": { "fields_kept": "yes" } }),
                malformed,
                r#"gates.fields_kept: expected true or false, or null, found "yes""#,
            ),
            (
                json!({ "gates": null }),
                malformed,
                "gates: expected an object with settings such as gates.check, found null",
            ),
            (
                json!({ "gates": { "max_null_percent": { "a b": true } } }),
                malformed,
                r#"gates.max_null_percent."a b": expected a number from 0 to 100, or null, found true"#,
            ),
            (
                json!({ "gates": { "sample_lookups": [{ "fields": {} }] } }),
                malformed,
                "gates.sample_lookups (item 1) has no key",
            ),
            (
                json!({ "gates": { "ranges": { "score": { "least": 1 } } } }),
                "unknown_field",
                r#"there is no setting "gates.ranges.score.least": there are gates.ranges.score.max, gates.ranges.score.min"#,
            ),
            (
                json!({ "watch": "rollback" }),
                malformed,
                r#"watch: expected one of off, tell, roll_back, found "rollback"; did you mean roll_back?"#,
            ),
        ] {
            let problem = checked(body.clone()).unwrap_err();
            assert_eq!((problem.code(), problem.detail()), (code, text), "{body}");
        }
    }

    #[test]
    fn what_the_store_has_is_of_the_right_kind() {
        let defaults = serde_json::to_value(DatasetConfig::default()).unwrap();
        checked(defaults.clone()).unwrap();
        let shape = schema_of("DatasetConfig");
        let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&shape["properties"]), names(&defaults));
        for group in ["gates", "watch_limits"] {
            let own = &shape["properties"][group]["properties"];
            assert_eq!(names(own), names(&defaults[group]), "{group}");
        }
        let gates = json!({
            "sample_lookups": [{ "key": "a", "fields": { "x": [1, null] } }],
            "ranges": { "score": { "min": 0 }, "other": null },
            "max_null_percent": { "score": null, "a": 12.5 },
        });
        checked(json!({ "gates": gates, "owner": null, "description": "x" })).unwrap();
    }
}
