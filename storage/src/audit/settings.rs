//! Which settings of a dataset a change has changed: by their names alone, since gates name keys.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::catalog::Catalog;
use crate::config::DatasetConfig;
use crate::event::Event;
use crate::journal::Record;
use crate::names::DatasetName;

/// The settings of every dataset while one file of changes is read from its beginning.
#[derive(Default)]
pub(super) struct Settings {
    /// What the file begins with; most files are read without a change of settings.
    checkpoint: Option<String>,
    before: Option<Catalog>,
    /// As the last event has them.
    last: BTreeMap<DatasetName, String>,
}

impl Settings {
    /// Takes in a record, and says which settings it has changed. `wanted`: whether anybody
    /// wants to know.
    pub(super) fn take(&mut self, record: &Record, wanted: bool) -> Vec<String> {
        let event = match record {
            Record::Checkpoint { catalog, .. } => {
                self.checkpoint = Some(catalog.clone());
                return Vec::new();
            }
            Record::Event(_, event) => &**event,
        };
        match event {
            Event::Configured(e) => {
                let changed = if wanted { self.changed(&e.dataset, &e.config) } else { Vec::new() };
                self.last.insert(e.dataset.clone(), e.config.clone());
                changed
            }
            Event::Created(e) => {
                self.last.insert(e.dataset.clone(), e.config.clone());
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn changed(&mut self, dataset: &DatasetName, after: &str) -> Vec<String> {
        let before = match self.last.get(dataset) {
            Some(before) => shape(&serde_json::from_str(before).unwrap_or_default()),
            None => self.at_the_beginning(dataset),
        };
        let after = shape(&serde_json::from_str(after).unwrap_or_default());
        let mut changed = Vec::new();
        differences("", &before, &after, &mut changed);
        changed
    }

    fn at_the_beginning(&mut self, dataset: &DatasetName) -> Value {
        if let Some(catalog) = self.checkpoint.take() {
            self.before = serde_json::from_str(&catalog).ok();
        }
        let known = self.before.as_ref().and_then(|catalog| catalog.dataset(dataset).ok());
        shape(&known.map(|dataset| dataset.config.clone()).unwrap_or_default())
    }
}

/// Settings as they are written now, whichever version wrote them.
fn shape(config: &DatasetConfig) -> Value {
    serde_json::to_value(config).expect("settings are plain data")
}

fn differences(within: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        found.push(within.to_owned());
        return;
    };
    // No deeper than the settings' own names: beneath them there are those of fields.
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (before, after) = (before.get(name), after.get(name));
        if before == after {
            continue;
        }
        match (before, after) {
            (Some(before), Some(after)) if within.is_empty() && before.is_object() => {
                differences(name, before, after, found);
            }
            _ if within.is_empty() => found.push(name.clone()),
            _ => found.push(format!("{within}.{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_named_and_their_values_are_not() {
        let mut found = Vec::new();
        let before = json!({"retain": 3, "owner": "a", "gates": {"min_records": 1, "ranges": {}}});
        let after = json!({"retain": 5, "owner": "a",
            "gates": {"min_records": 1, "ranges": {"secret": 1}, "required_keys": ["secret"]}});
        differences("", &before, &after, &mut found);
        assert_eq!(found, ["gates.ranges", "gates.required_keys", "retain"]);
    }
}
