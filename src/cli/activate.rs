//! `tidetable activate`: serve a certain version from now on.

use clap::Args;
use serde_json::json;
use tidetable_storage::{DatasetName, Version};

use super::Asked;
use super::api::{self, Moved, dataset_path, new_key};
use super::exit::Failure;
use super::output::step;

/// Serve a certain version of a dataset from now on
///
/// The swap is atomic: every request before it sees the old version, every one after it
/// the new. A version that a gate rejected, or that was rolled back from, needs --force
/// and a reason, which the history keeps. If somebody else changes what serves at the
/// same moment, nothing is done (exit code 5).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable activate course-recs 43
  tidetable activate course-recs 43 --force --reason 'the shrink is intended: old courses left'")]
pub(crate) struct ActivateArgs {
    /// The dataset
    dataset: DatasetName,
    /// The version to serve
    version: Version,
    /// Activate it although a gate rejected it or it was rolled back from
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn run(args: &ActivateArgs, asked: &Asked<'_>) -> Result<(), Failure> {
    let (client, name) = (asked.client()?, args.dataset.as_str());
    let current = api::dataset(&client, name)?.current;
    // null where nothing is current: somebody else may be first then too.
    let mut body = json!({"version": args.version, "force": args.force, "expect_current": current});
    if let Some(reason) = &args.reason {
        body["reason"] = json!(reason);
    }
    let answer = client
        .post(&format!("{}/activate", dataset_path(name)), &body, &new_key())
        .map_err(|failure| failure.about(name, Some(args.version.0)))?;
    let moved: Moved = answer.json()?;
    asked.out.either(answer.text(), || text(name, &moved))
}

fn text(name: &str, moved: &Moved) -> String {
    let mut text = format!("{name}: {}", step(moved.from, moved.to));
    if moved.held {
        text.push_str(&format!(
            "\n{name} stays held: no push is activated by itself until `tidetable release {name}`"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::super::{Global, Output};
    use super::*;

    #[test]
    fn what_is_believed_to_be_current_is_always_sent() {
        for current in [json!(42), json!(null)] {
            let dataset = json!({"dataset": "a", "current": current});
            let moved = json!({"from": current, "to": 43, "held": false});
            let stub = Stub::answering(vec![Reply::json(200, dataset), Reply::json(200, moved)]);
            let global = Global { server: stub.address(), token: None, json: false };
            let asked = Asked { global: &global, out: Output::captured(false) };
            let dataset = "a".parse().unwrap();
            let args = ActivateArgs { dataset, version: Version(43), force: false, reason: None };
            run(&args, &asked).unwrap();
            let sent: serde_json::Value = serde_json::from_slice(&stub.finish()[1].body).unwrap();
            assert_eq!(sent.get("expect_current"), Some(&current));
        }
    }

    #[test]
    fn the_answer_says_from_where_to_where_and_that_a_hold_stays() {
        let moved = Moved { from: Some(42), to: 41, held: false, marked_bad: None };
        assert_eq!(text("a", &moved), "a: 42 → 41");
        let first = Moved { from: None, to: 1, held: true, marked_bad: None };
        let text = text("a", &first);
        assert!(text.starts_with("a: none → 1\n") && text.contains("release a"), "{text}");
    }
}
