//! `tidetable config`: the settings of one dataset.

use clap::Args;
use serde_json::{Map, Value, json};
use tidetable_storage::DatasetName;

use super::Context;
use super::api::{Dataset, dataset_path};
use super::client::Answer;
use super::exit::Failure;
use super::notes;
use super::run::settings::{self, Change};

/// Show or change the settings of a dataset
///
/// Without a setting: shows them all. NAME=VALUE changes one and leaves the others; the
/// value is JSON, or a text where it is none. null turns a gate off and clears owner and
/// description. Names within a group are written with a dot: gates.min_records. The server
/// refuses unknown names. What was changed is said on standard error, or that nothing was.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable config course-recs
  tidetable config course-recs retain=5 gates.min_records=100000
  tidetable config course-recs gates.max_shrink_percent=null       turn that gate off
  tidetable config course-recs watch=roll_back                     go back from what does worse
  tidetable config course-recs expected_push_interval_seconds=86400
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

pub(crate) fn run(args: &ConfigArgs, context: &Context<'_>) -> Result<(), Failure> {
    let (client, name) = (context.client()?, args.dataset.as_str());
    let shown = |answer: &Answer| {
        let now: Dataset = answer.json()?;
        context.out.either(answer.text(), || text("", &now.config))
    };
    // To change a setting makes a dataset that is not there: only when told to.
    let before = match client.get(&dataset_path(name)) {
        Ok(found) if args.settings.is_empty() => return shown(&found),
        Ok(found) => Some(found.json::<Dataset>()?.config),
        Err(failure) if failure.code.as_deref() != Some("dataset_not_found") => {
            return Err(failure.about(name, None));
        }
        Err(_) if args.create => None,
        Err(failure) => {
            return Err(failure.hint(format!(
                "`tidetable datasets` lists what the server has; \
                 `tidetable config {name} --create` makes it before its first push"
            )));
        }
    };
    let mut named = Map::new();
    for setting in &args.settings {
        set(&mut named, setting)?;
    }
    let changes = settings::changes(before.as_ref(), &named);
    let answer = client
        .put(&dataset_path(name), &Value::Object(named))
        .map_err(|failure| failure.about(name, None))?;
    notes::say(told(name, before.is_some(), &changes));
    shown(&answer)
}

/// What was done, in a line.
fn told(name: &str, was_there: bool, changes: &[Change]) -> String {
    match (was_there, changes) {
        (true, []) => format!("{name}: nothing was changed"),
        (true, changes) => format!("{name}: settings changed: {}", settings::text(changes)),
        (false, []) => format!("{name} is made, with the defaults"),
        (false, changes) => format!("{name} is made: {}", settings::text(changes)),
    }
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

/// Puts the setting where its path says.
fn set(named: &mut Map<String, Value>, setting: &Setting) -> Result<(), Failure> {
    let (last, groups) = setting.path.split_last().expect("a split has at least one part");
    let mut here = named;
    for group in groups {
        let inner = here.entry(group).or_insert_with(|| json!({}));
        here = inner.as_object_mut().ok_or_else(|| {
            Failure::usage(format!("{} is no group of settings", setting.path.join(".")))
        })?;
    }
    here.insert(last.clone(), setting.value.clone());
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

    fn object(json: &Value) -> Map<String, Value> {
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
    fn settings_of_a_group_are_sent_as_one() {
        let mut named = Map::new();
        for text in ["retain=5", "gates.x=null", "gates.y=1.5", "new.deep=true"] {
            set(&mut named, &parse_setting(text).unwrap()).unwrap();
        }
        let expected = json!({"retain": 5, "gates": {"x": null, "y": 1.5}, "new": {"deep": true}});
        assert_eq!(Value::Object(named.clone()), expected);
        assert!(set(&mut named, &parse_setting("retain.x=1").unwrap()).is_err());
        let shown = text("", &object(&json!({"gates": {"min_records": 1}, "owner": "us"})));
        assert_eq!(shown, "gates.min_records=1\nowner=us");
    }

    fn run_with(stub: &Stub, settings: &[&str], create: bool) -> (Result<(), Failure>, String) {
        let args = ConfigArgs {
            dataset: "a".parse().unwrap(),
            settings: settings.iter().map(|text| parse_setting(text).unwrap()).collect(),
            create,
        };
        let global =
            Global { server: stub.address(), token: None, tls: Default::default(), json: true };
        let context = Context { global: &global, out: Output::captured(true) };
        (run(&args, &context), context.out.text())
    }

    #[test]
    fn a_change_sends_what_was_named_with_null_as_null() {
        let there = || Reply::json(200, json!({"dataset": "a", "config": {"owner": "us"}}));
        let now = r#"{"dataset":"a","config":{"retain":5}}"#;
        let stub = Stub::answering(vec![there(), Reply::text(200, now)]);
        let (result, text) = run_with(&stub, &["gates.min_records=null", "owner=null"], false);
        result.unwrap();
        assert_eq!(text.trim_end(), now, "the answer, as it is shown without a change too");
        let put = &stub.finish()[1];
        assert_eq!(put.line, "PUT /v1/datasets/a HTTP/1.1");
        let sent: Value = serde_json::from_slice(&put.body).unwrap();
        assert_eq!(sent, json!({"gates": {"min_records": null}, "owner": null}));

        let stub = Stub::answering(vec![Reply::text(200, now)]);
        let (result, text) = run_with(&stub, &[], false);
        result.unwrap();
        assert_eq!(text.trim_end(), now);
        stub.finish();
    }

    #[test]
    fn a_setting_that_the_server_refuses_is_a_usage_error() {
        let there = Reply::json(200, json!({"dataset": "a", "config": {}}));
        let refused = json!({"code": "invalid_body", "detail": "retain: null is no number"});
        let stub = Stub::answering(vec![there, Reply::json(400, refused)]);
        let failure = run_with(&stub, &["retain=null"], false).0.unwrap_err();
        assert_eq!(failure.exit, super::super::exit::Exit::Usage);
        stub.finish();
    }

    #[test]
    fn a_missing_dataset_is_only_made_when_told() {
        let missing = || {
            let problem = json!({"code": "dataset_not_found", "detail": "no a"});
            Reply::json(404, problem)
        };
        let stub = Stub::answering(vec![missing()]);
        assert!(run_with(&stub, &["retain=5"], false).0.is_err());
        stub.finish();
        for (settings, sent) in [(&["retain=5"][..], &br#"{"retain":5}"#[..]), (&[], b"{}")] {
            let stub = Stub::answering(vec![missing(), Reply::json(201, json!({}))]);
            run_with(&stub, settings, true).0.unwrap();
            assert_eq!(stub.finish()[1].body, sent);
        }
        let stub = Stub::answering(vec![Reply::json(200, json!({}))]);
        run_with(&stub, &[], true).0.unwrap();
        assert_eq!(stub.finish().len(), 1, "it is there, and there is nothing to change");
    }

    #[test]
    fn what_was_changed_is_said_and_that_nothing_was() {
        let told = |before: Option<Value>, text: &str| {
            let mut named = Map::new();
            set(&mut named, &parse_setting(text).unwrap()).unwrap();
            let before = before.as_ref().map(object);
            told("recs", before.is_some(), &settings::changes(before.as_ref(), &named))
        };
        let now = json!({"retain": 3, "gates": {"min_records": 1}});
        assert_eq!(told(Some(now.clone()), "retain=5"), "recs: settings changed: retain 3 → 5");
        assert_eq!(told(Some(now.clone()), "retain=3"), "recs: nothing was changed");
        assert_eq!(told(Some(now), "gates.min_records=1"), "recs: nothing was changed");
        assert_eq!(told(None, "retain=5"), "recs is made: retain 3 → 5");
        assert_eq!(told(None, "retain=3"), "recs is made, with the defaults");
    }
}
