//! `tidetable history`: everything that was done to a dataset, and by whom; or what a key was
//! in each version.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidetable_storage::DatasetName;

use super::Context;
use super::api::{List, dataset_path};
use super::exit::Failure;
use super::get::key_segment;
use super::output::{history_table, printable};
use crate::keys::KeyEncoding;

/// Show what was done to a dataset, when and by whom, newest first; or the history of a key
///
/// With --json, `next` is null, or says that --limit has left something out. With --key: the
/// value of that key in every version that is kept, newest first.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable history course-recs
  tidetable history course-recs --limit 20
  tidetable history course-recs --key 42                 its value in every kept version
  tidetable history course-recs --json | jq '.events[] | select(.event == \"rolled_back\")'")]
pub(crate) struct HistoryArgs {
    /// The dataset
    dataset: DatasetName,
    /// Show this many events at most [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Show the value of this key in every kept version
    #[arg(long, value_name = "KEY", conflicts_with = "limit", allow_hyphen_values = true)]
    key: Option<String>,
    /// How the key is written on the command line
    #[arg(long, value_name = "ENCODING", value_enum, default_value_t, requires = "key")]
    key_encoding: KeyEncoding,
}

pub(crate) fn run(args: &HistoryArgs, context: &Context<'_>) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    if let Some(key) = &args.key {
        return of_key(args, key, context);
    }
    let path = format!("{}/history", dataset_path(name));
    let limit = args.limit.map(|limit| limit as usize);
    let list = List::read(&context.client()?, &path, "events", limit)
        .map_err(|failure| failure.about(name, None))?;
    let events = list.items()?;
    context.out.either(list.json(), || history_table(&events))
}

fn of_key(args: &HistoryArgs, key: &str, context: &Context<'_>) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    let (segment, encoding) = key_segment(key, args.key_encoding);
    let encoding = encoding.map(|encoding| format!("?{encoding}")).unwrap_or_default();
    let path = format!("{}/keys/{segment}/history{encoding}", dataset_path(name));
    let answer = context.client()?.get(&path).map_err(|failure| failure.about(name, None))?;
    let history: KeyHistory = answer.json()?;
    context.out.either(answer.text(), || history.text())
}

/// The server's answer for a key.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyHistory {
    versions: Vec<InVersion>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InVersion {
    version: u64,
    found: bool,
    value: Option<Box<RawValue>>,
    error: Option<Problem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    detail: String,
}

impl KeyHistory {
    fn text(&self) -> String {
        if self.versions.is_empty() {
            return "no version is kept".to_owned();
        }
        let line = |one: &InVersion| {
            let value = match (&one.value, &one.error) {
                (_, Some(error)) => format!("cannot be read: {}", error.detail),
                (Some(value), None) => value.get().to_owned(),
                (None, None) if one.found => "null".to_owned(),
                (None, None) => "not there".to_owned(),
            };
            format!("{:>6}  {}", one.version, printable(&value))
        };
        self.versions.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_history_is_a_line_for_each_version() {
        let answer = r#"{"key":"a","versions":[{"version":12,"found":true,"value":{"n":1.50}},
            {"version":11,"found":false},{"version":9,"error":{"detail":"damaged"}},
            {"version":8,"found":true,"value":null}]}"#;
        let history: KeyHistory = serde_json::from_str(answer).unwrap();
        let expected = "    12  {\"n\":1.50}\n    11  not there\n     9  cannot be read: damaged\n     8  null";
        assert_eq!(history.text(), expected);
    }
}
