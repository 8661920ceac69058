//! The JSON Schema of job files, made from what there is already: the row options and the
//! other flags of `push` from the definition of the command line, the settings of a dataset
//! from `/openapi.json`. Editors use it, and [`super::check`] holds every file against it.

use std::any::TypeId;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Args as _, Command};
use serde_json::{Map, Value, json};

use crate::cli::push::PushArgs;
use crate::cli::rows::{RowOptions, SourceOptions};
use crate::shapes::schema_of;

/// The keys of `push` that are no row options, as its flags are called.
const OF_PUSH: [&str; 4] = ["label", "as-of", "idempotency-key", "from"];

/// The schema that files are held against.
pub(super) fn schema() -> Value {
    let dataset = dataset();
    let mut defaults = dataset.clone();
    for name in ["source", "sources"] {
        defaults.as_object_mut().expect("an object").remove(name);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidetable job",
        "description": "What `tidetable run` pushes: docs/job-files.md",
        "type": "object",
        "required": ["datasets"],
        "additionalProperties": false,
        // For anchors that several datasets refer to.
        "patternProperties": {"^x-": true},
        "properties": {
            "datasets": {
                "description": "What to push, by the name of the dataset, in this order",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
                "additionalProperties": {"$ref": "#/$defs/dataset"},
            },
            "defaults": {"$ref": "#/$defs/defaults"},
            "activate-together": {
                "description": "Push all of them first, then activate all at one instant, or none \
                                if one was refused or failed",
                "type": "boolean",
                "default": false,
            },
        },
        "$defs": {
            "dataset": object("What to push to one dataset, and its settings", &dataset),
            "defaults": object("What holds for every dataset that does not say otherwise", &defaults),
        },
    })
}

/// The same for editors: they see variables unfilled, and both spellings of a key.
pub(super) fn published() -> Value {
    let mut schema = schema();
    admit_variables(&mut schema);
    schema["$defs"]["variable"] = json!({
        "description": "A variable of the environment: ${NAME} or ${NAME:-default}",
        "type": "string",
        "pattern": "\\$\\{",
    });
    for (pointer, at) in [
        ("", "#/properties/"),
        ("/$defs/dataset", "#/$defs/dataset/properties/"),
        ("/$defs/defaults", "#/$defs/defaults/properties/"),
    ] {
        let object = schema.pointer_mut(pointer).expect("it was made above");
        let names: Vec<String> =
            object["properties"].as_object().expect("an object").keys().cloned().collect();
        for name in names.iter().filter(|name| name.contains('-')) {
            let other = name.replace('-', "_");
            object["patternProperties"][format!("^{other}$")] =
                json!({"$ref": format!("{at}{name}")});
        }
    }
    schema
}

fn object(description: &str, properties: &Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

/// The keys of one dataset.
fn dataset() -> Value {
    let mut keys = Map::new();
    let source = json!({
        "description": "Files, directories, globs or addresses, from the directory of this file on; with from a path \
                        beneath that source",
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        ],
    });
    keys.insert("source".to_owned(), source.clone());
    keys.insert("sources".to_owned(), source);
    let activate = json!({
        "description": "Whether the version is activated, or only made ready",
        "type": "boolean",
        "default": true,
    });
    keys.insert("activate".to_owned(), activate);
    let of_sources = SourceOptions::augment_args(Command::new("sources"));
    keys.extend(flags(&of_sources).chain(flags(&row_options())));
    let push = PushArgs::augment_args(Command::new("push"));
    let of_push = |flag: &(String, Value)| OF_PUSH.contains(&flag.0.as_str());
    keys.extend(flags(&push).filter(of_push).map(|(name, mut schema)| {
        schema["minLength"] = json!(1);
        (name, schema)
    }));
    let key = &mut keys["idempotency-key"];
    key["description"] = json!(
        "Makes runs with the same key one push [default: made from the dataset and its label; \
         without a label a new one per run]"
    );
    let settings = schema_of("DatasetConfig");
    keys.extend(settings["properties"].as_object().expect("an object").clone());
    Value::Object(keys)
}

/// The row options as the command line knows them.
fn row_options() -> Command {
    RowOptions::augment_args(Command::new("rows"))
}

/// The names of the row options, as the flags are called.
pub(super) fn row_option_names() -> Vec<String> {
    flags(&row_options()).map(|(name, _)| name).collect()
}

/// The names of the settings of a dataset.
pub(super) fn setting_names() -> Vec<String> {
    let settings = schema_of("DatasetConfig");
    settings["properties"].as_object().expect("an object").keys().cloned().collect()
}

fn flags(command: &Command) -> impl Iterator<Item = (String, Value)> {
    command.get_arguments().filter_map(|arg| Some((arg.get_long()?.to_owned(), of_arg(arg))))
}

/// What a flag takes, as what a key takes.
fn of_arg(arg: &Arg) -> Value {
    let choices = arg.get_possible_values();
    let choices: Vec<&str> = choices.iter().flat_map(PossibleValue::get_name_and_aliases).collect();
    let number = arg.get_value_parser().type_id() == TypeId::of::<u64>();
    let mut schema = if matches!(arg.get_action(), ArgAction::SetTrue) {
        json!({"type": "boolean"})
    } else if arg.get_value_delimiter().is_some() {
        let mut forms =
            vec![json!({"type": "string"}), json!({"type": "array", "items": {"type": "string"}})];
        if arg.get_long() == Some("types") {
            forms.push(json!({"type": "object", "additionalProperties": {"type": "string"}}));
        }
        json!({"anyOf": forms})
    } else if number {
        json!({"type": "integer", "minimum": 0})
    } else if choices.is_empty() {
        json!({"type": "string"})
    } else {
        json!({"type": "string", "enum": choices})
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    // Other keys are called what they are called here.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace("--", "");
    schema["description"] = json!(help);
    schema
}

/// Lets a text with a variable stand wherever another scalar is wanted.
fn admit_variables(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(admit_variables);
            let scalar =
                |kind: &Value| matches!(kind.as_str(), Some("integer" | "number" | "boolean"));
            let takes = match map.get("type") {
                Some(Value::Array(kinds)) => kinds.iter().any(scalar),
                Some(kind) => scalar(kind),
                None => false,
            };
            let chooses = map.contains_key("enum");
            if takes || chooses {
                let description = map.remove("description");
                let own = Value::Object(std::mem::take(map));
                map.insert("anyOf".to_owned(), json!([own, {"$ref": "#/$defs/variable"}]));
                map.extend(description.map(|text| ("description".to_owned(), text)));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(admit_variables),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidetable_storage::DatasetConfig;

    use super::*;

    #[test]
    fn the_schema_in_the_documentation_is_the_one_of_the_program() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/job-schema.json");
        let made = published();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, format!("{made:#}\n")).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
        assert!(
            kept == made,
            "docs/job-schema.json is old: BLESS=1 cargo test --release the_schema_in_the_documentation"
        );
    }

    #[test]
    fn every_row_option_is_a_key() {
        let keys: BTreeSet<String> =
            row_option_names().iter().map(|name| name.replace('-', "_")).collect();
        assert_eq!(keys, RowOptions::NAMES.iter().map(ToString::to_string).collect());
        let dataset = dataset();
        for name in row_option_names().iter().chain(&setting_names()) {
            assert!(dataset[name].is_object(), "{name}");
        }
        let lists: BTreeSet<String> = row_option_names()
            .into_iter()
            .filter(|name| dataset[name]["anyOf"].is_array())
            .map(|name| name.replace('-', "_"))
            .collect();
        assert_eq!(lists, RowOptions::LISTS.iter().map(ToString::to_string).collect());
    }

    #[test]
    fn no_key_has_two_meanings() {
        let mut seen = BTreeSet::new();
        let own = ["source", "sources", "activate"].map(str::to_owned).into_iter();
        let of_push = OF_PUSH.map(str::to_owned).into_iter();
        let of_sources = SourceOptions::augment_args(Command::new("sources"));
        let of_sources = flags(&of_sources).map(|(name, _)| name);
        for name in
            own.chain(of_sources).chain(of_push).chain(row_option_names()).chain(setting_names())
        {
            assert!(seen.insert(name.replace('_', "-")), "{name} is a key twice");
        }
    }

    /// The settings of the schema are those of the code, with the same names at each level.
    #[test]
    fn every_setting_is_a_key() {
        let names = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let config = serde_json::to_value(DatasetConfig::default()).unwrap();
        let schema = schema_of("DatasetConfig");
        assert_eq!(names(&schema["properties"]), names(&config));
        for group in ["gates", "watch_limits"] {
            assert_eq!(names(&schema["properties"][group]["properties"]), names(&config[group]));
        }
    }

    #[test]
    fn what_is_published_admits_variables_and_both_spellings() {
        let schema = published();
        let dataset = &schema["$defs"]["dataset"];
        let limit = &dataset["properties"]["limit"];
        assert_eq!(limit["anyOf"][1]["$ref"], "#/$defs/variable");
        assert!(limit["description"].is_string());
        let other = dataset["patternProperties"]["^order_by$"]["$ref"].as_str().unwrap();
        assert!(schema.pointer(other.trim_start_matches('#')).is_some(), "{other}");
    }
}
