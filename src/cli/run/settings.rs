//! The settings of a dataset that a job names, against those that the server has. (`tidetable config`
//! compares them likewise, to say what it has changed.)
//!
//! The file wins: what it names and the server has otherwise is changed before the push, so that
//! its gates hold for it. What it does not name stays. Nothing is sent if nothing differs, so a
//! job whose settings are in place needs no right to change them.

use serde_json::{Map, Value};
use tidetable_storage::{DatasetConfig, DatasetName};

use crate::cli::api::dataset_path;
use crate::cli::client::Client;
use crate::cli::exit::Failure;

/// A setting that is not what the file says.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Change {
    /// Its whole name, as `gates.min_records`.
    pub(super) name: String,
    pub(super) from: Value,
    pub(super) to: Value,
}

impl Change {
    /// `retain 3 → 5`.
    pub(super) fn text(&self) -> String {
        format!("{} {} → {}", self.name, self.from, self.to)
    }
}

/// All of them in one line.
pub(in crate::cli) fn text(changes: &[Change]) -> String {
    changes.iter().map(Change::text).collect::<Vec<_>>().join(", ")
}

/// What `wanted` changes in the settings `now`; those of a dataset that is not there yet are
/// the defaults.
pub(in crate::cli) fn changes(
    now: Option<&Map<String, Value>>,
    wanted: &Map<String, Value>,
) -> Vec<Change> {
    let defaults = plain(&DatasetConfig::default());
    let now = now.map_or(defaults, |now| Value::Object(now.clone()));
    let wanted = Value::Object(wanted.clone());
    // As the server will have it: with what it adds to the values that the file gives.
    let config: Result<DatasetConfig, _> = serde_json::from_value(wanted.clone());
    let becomes = config.map_or_else(|_| wanted.clone(), |config| plain(&config));
    let mut changes = Vec::new();
    compare(String::new(), &wanted, Some(&now), Some(&becomes), &mut changes);
    changes
}

fn plain(config: &DatasetConfig) -> Value {
    serde_json::to_value(config).expect("settings are plain data")
}

/// Compares what `wanted` names, one setting at a time.
fn compare(
    name: String,
    wanted: &Value,
    now: Option<&Value>,
    becomes: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    if let Value::Object(group) = wanted {
        for (inner, wanted) in group {
            let dot = if name.is_empty() { "" } else { "." };
            let (now, becomes) =
                (now.and_then(|n| n.get(inner)), becomes.and_then(|b| b.get(inner)));
            compare(format!("{name}{dot}{inner}"), wanted, now, becomes, changes);
        }
        return;
    }
    let (from, to) = (now.unwrap_or(&Value::Null), becomes.unwrap_or(&Value::Null));
    if !same(from, to) {
        changes.push(Change { name, from: from.clone(), to: to.clone() });
    }
}

/// Whether two values mean the same: 50 is 50.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|b| same(v, b)))
        }
        _ => a == b,
    }
}

/// Makes the dataset with these settings, or changes them.
pub(super) fn apply_settings(
    client: &Client,
    name: &DatasetName,
    wanted: &Map<String, Value>,
) -> Result<(), Failure> {
    let put = client.put(&dataset_path(name.as_str()), &Value::Object(wanted.clone()));
    put.map(drop).map_err(|failure| match failure.code.as_deref() {
        Some("forbidden") => failure.hint(
            "the settings in the file are not those of the server, and to change them takes the \
             role admin: `tidetable config` once with an admin's token, or leave them out of the file",
        ),
        _ => failure.about(name.as_str(), None),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(json: &Value) -> Map<String, Value> {
        json.as_object().unwrap().clone()
    }

    fn told(now: Option<&Value>, wanted: &Value) -> String {
        let now = now.map(object);
        text(&changes(now.as_ref(), &object(wanted)))
    }

    #[test]
    fn only_what_the_file_names_is_compared() {
        let mut now = plain(&DatasetConfig::default());
        let wanted = json!({"retain": 5, "owner": "us", "gates": {"min_records": 10, "max_shrink_percent": 50}});
        let changes = "gates.min_records 1 → 10, owner null → \"us\", retain 3 → 5";
        assert_eq!(told(Some(&now), &wanted), changes);
        assert_eq!(told(None, &wanted), changes, "a dataset that is not there has the defaults");
        now["retain"] = json!(5);
        now["owner"] = json!("us");
        now["gates"]["min_records"] = json!(10);
        now["gates"]["check"] = json!("by-hand");
        assert_eq!(told(Some(&now), &wanted), "");
    }

    #[test]
    fn what_means_the_same_is_no_change() {
        let mut config = DatasetConfig::default();
        let wanted = json!({"gates": {
            "sample_lookups": [{"key": "a"}],
            "ranges": {"score": {"min": 0}},
            "max_null_percent": {"score": null},
            "min_distinct": {},
        }});
        config.gates = serde_json::from_value(json!({
            "sample_lookups": [{"key": "a", "fields": {}}],
            "ranges": {"score": {"min": 0.0, "max": null}, "other": {"max": 1}},
        }))
        .unwrap();
        assert_eq!(told(Some(&plain(&config)), &wanted), "");
        let other = json!({"gates": {"ranges": {"score": {"min": 1}}, "fields_kept": null}});
        let expected = "gates.fields_kept true → null, gates.ranges.score.min 0.0 → 1.0";
        assert_eq!(told(Some(&plain(&config)), &other), expected);
    }
}
