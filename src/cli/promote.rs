//! `tidetable promote`: serve the canary to everybody.

use clap::Args;
use serde_json::json;
use tidetable_storage::DatasetName;

use super::Context;
use super::api::{self, Moved, dataset_path, new_key};
use super::exit::Failure;
use super::output::step;

/// Make the canary of a dataset the version that serves everybody
///
/// The swap is atomic, like that of `activate`, and ends the canary; `rollback` goes back. If
/// somebody else changes what serves, or which version is the canary, at the same moment, nothing
/// is done (exit code 5).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable promote course-recs --reason 'more clicks in both countries'")]
pub(crate) struct PromoteArgs {
    /// The dataset
    dataset: DatasetName,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(crate) fn run(args: &PromoteArgs, context: &Context<'_>) -> Result<(), Failure> {
    let (client, name) = (context.client()?, args.dataset.as_str());
    let dataset = api::dataset(&client, name)?;
    // What its operator has looked at, and nothing that has come in between.
    let canary = dataset.canary.map(|canary| canary.version);
    let mut body = json!({ "version": canary, "expect_current": dataset.current });
    body["reason"] = json!(args.reason);
    let answer = client
        .post(&format!("{}/canary/promote", dataset_path(name)), &body, &new_key())
        .map_err(|failure| failure.about(name, canary))?;
    let moved: Moved = answer.json()?;
    context.out.either(answer.text(), || {
        format!("{name}: {}; the canary serves everybody now", step(moved.from, moved.to))
    })
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::super::{Global, Output};
    use super::*;

    #[test]
    fn what_was_seen_is_what_is_promoted() {
        let dataset = json!({"dataset": "a", "current": 42, "canary": {"version": 43}});
        let moved = json!({"from": 42, "to": 43, "held": false});
        let stub = Stub::answering(vec![Reply::json(200, dataset), Reply::json(200, moved)]);
        let global =
            Global { server: stub.address(), token: None, tls: Default::default(), json: false };
        let context = Context { global: &global, out: Output::captured(false) };
        run(&PromoteArgs { dataset: "a".parse().unwrap(), reason: None }, &context).unwrap();
        assert_eq!(context.out.text(), "a: 42 → 43; the canary serves everybody now\n");
        let sent: serde_json::Value = serde_json::from_slice(&stub.finish()[1].body).unwrap();
        assert_eq!((&sent["version"], &sent["expect_current"]), (&json!(43), &json!(42)));
    }
}
