//! `tidetable config`: the settings of one dataset.

use clap::Args;
use serde_json::{Map, Value, json};
use tidetable_storage::DatasetName;

use super::Asked;
use super::api::{self, Dataset, dataset_path};
use super::exit::Failure;

/// Show or change the settings of a dataset
///
/// Without a setting: shows them all. NAME=VALUE changes one; the value is JSON, or a
/// text where it is none; null takes it back to its default. Names within a group are
/// written with a dot: gates.min_records. The server refuses unknown names.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable config course-recs
  tidetable config course-recs retain=5 gates.min_records=100000
  tidetable config course-recs gates.max_shrink_percent=null
  tidetable config course-recs --create content_type=application/json owner=recs-team")]
pub(crate) struct ConfigArgs {
    /// The dataset
    dataset: DatasetName,
    /// What to change
    #[arg(value_name = "NAME=VALUE", value_parser = parse_setting)]
    settings: Vec<Setting>,
    /// Make the dataset if it is not there, so that its gates hold from the first push on
    #[arg(long)]
    create: bool,
}

/// One `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq)]
struct Setting {
    path: Vec<String>,
    value: Value,
}

pub(crate) fn run(args: &ConfigArgs, asked: &Asked<'_>) -> Result<(), Failure> {
    let (client, name) = (asked.client()?, args.dataset.as_str());
    let found = match api::dataset(&client, name) {
        Err(failure) if args.create && failure.code.as_deref() == Some("dataset_not_found") => {
            Dataset::default()
        }
        found => found?,
    };
    let mut config = found.config;
    if args.settings.is_empty() && !args.create {
        return asked.out.either(json!(config).to_string(), || text("", &config));
    }
    for setting in &args.settings {
        set(&mut config, setting)?;
    }
    let answer = client
        .put(&dataset_path(name), &Value::Object(config))
        .map_err(|failure| failure.about(name, None))?;
    let now: Dataset = answer.json()?;
    asked.out.either(answer.text(), || text("", &now.config))
}

fn parse_setting(text: &str) -> Result<Setting, String> {
    let wrong = || "expected NAME=VALUE, like retain=5 or gates.min_records=1000".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) {
        return Err(wrong());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    Ok(Setting { path, value })
}

/// Sets, or with null takes away, what lies at the path.
fn set(config: &mut Map<String, Value>, setting: &Setting) -> Result<(), Failure> {
    let (last, groups) = setting.path.split_last().expect("a split has at least one part");
    let mut here = config;
    for group in groups {
        let inner = here.entry(group).or_insert_with(|| json!({}));
        here = inner.as_object_mut().ok_or_else(|| {
            Failure::usage(format!("{} is no group of settings", setting.path.join(".")))
        })?;
    }
    if setting.value.is_null() {
        here.remove(last);
    } else {
        here.insert(last.clone(), setting.value.clone());
    }
    Ok(())
}

/// One `NAME=VALUE` per line, as the command takes them.
fn text(prefix: &str, config: &Map<String, Value>) -> String {
    let line = |(name, value): (&String, &Value)| match value {
        Value::Object(group) if !group.is_empty() => text(&format!("{prefix}{name}."), group),
        Value::String(value) => format!("{prefix}{name}={value}"),
        value => format!("{prefix}{name}={value}"),
    };
    config.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::super::{Global, Output};
    use super::*;

    fn object(json: Value) -> Map<String, Value> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn settings_are_json_or_text() {
        let parsed = |text: &str| parse_setting(text).unwrap();
        assert_eq!(parsed("retain=5").value, json!(5));
        assert_eq!(parsed("owner=recs team=a").value, json!("recs team=a"));
        assert_eq!(parsed("gates.required_keys=[\"a\"]").value, json!(["a"]));
        assert_eq!(parsed("a.b=null").path, ["a", "b"]);
        for bad in ["retain", "=5", "a..b=1", ".a=1"] {
            assert!(parse_setting(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_setting_changes_and_the_others_stay() {
        let mut config = object(json!({"retain": 3, "gates": {"min_records": 1, "x": 2}}));
        for text in ["retain=5", "gates.x=null", "gates.y=1.5", "new.deep=true"] {
            set(&mut config, &parse_setting(text).unwrap()).unwrap();
        }
        let expected =
            json!({"retain": 5, "gates": {"min_records": 1, "y": 1.5}, "new": {"deep": true}});
        assert_eq!(Value::Object(config.clone()), expected);
        assert!(set(&mut config, &parse_setting("retain.x=1").unwrap()).is_err());
        let shown = text("", &object(json!({"gates": {"min_records": 1}, "owner": "us"})));
        assert_eq!(shown, "gates.min_records=1\nowner=us");
    }

    #[test]
    fn a_change_sends_all_settings_and_a_missing_dataset_is_only_made_when_told() {
        let missing = || Reply::json(404, json!({"code": "dataset_not_found", "detail": "no a"}));
        let args = |create| ConfigArgs {
            dataset: "a".parse().unwrap(),
            settings: vec![parse_setting("retain=5").unwrap()],
            create,
        };
        let run_with = |stub: &Stub, args: &ConfigArgs| {
            let global = Global { server: stub.address(), token: None, json: false };
            run(args, &Asked { global: &global, out: Output::captured(true) })
        };
        let stub = Stub::answering(vec![missing()]);
        assert!(run_with(&stub, &args(false)).is_err());
        stub.finish();

        let stub = Stub::answering(vec![missing(), Reply::json(201, json!({}))]);
        run_with(&stub, &args(true)).unwrap();
        assert_eq!(stub.finish()[1].body, br#"{"retain":5}"#);

        let there = json!({"dataset": "a", "config": {"retain": 3, "owner": "us"}});
        let stub = Stub::answering(vec![Reply::json(200, there), Reply::json(200, json!({}))]);
        run_with(&stub, &args(false)).unwrap();
        let put = &stub.finish()[1];
        assert_eq!(put.line, "PUT /v1/datasets/a HTTP/1.1");
        let sent: Value = serde_json::from_slice(&put.body).unwrap();
        assert_eq!(sent, json!({"owner": "us", "retain": 5}));
    }
}
