//! `tidetable hold`: no push is activated by itself until the release.

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tidetable_storage::DatasetName;

use super::Context;
use super::api::{dataset_path, new_key};
use super::exit::Failure;

/// Keep pushes from being activated by themselves
///
/// Pushes are still accepted, verified and made ready. `activate` and `rollback` by a
/// person still work. `release` ends the hold.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable hold course-recs --reason 'launch day'
  tidetable release course-recs")]
pub(crate) struct HoldArgs {
    /// The dataset
    dataset: DatasetName,
    /// Why; kept in the history and shown by `tidetable datasets`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Held {
    #[serde(default)]
    changed: bool,
}

pub(crate) fn run(args: &HoldArgs, context: &Context<'_>) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    let mut body = json!({});
    if let Some(reason) = &args.reason {
        body["reason"] = json!(reason);
    }
    let answer = context
        .client()?
        .post(&format!("{}/hold", dataset_path(name)), &body, &new_key())
        .map_err(|failure| failure.about(name, None))?;
    let held: Held = answer.json()?;
    context.out.either(answer.text(), || text(name, held.changed))
}

fn text(name: &str, changed: bool) -> String {
    if changed {
        format!("{name} is held: no push is activated by itself until `tidetable release {name}`")
    } else {
        format!("{name} was held already: nothing was changed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holding_what_is_held_says_that_nothing_was_changed() {
        assert!(text("a", true).contains("a is held"));
        assert!(text("a", false).contains("nothing was changed"));
    }
}
