//! `tidetable release`: end a hold.

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tidetable_storage::DatasetName;

use super::Context;
use super::api::{dataset_path, new_key};
use super::exit::Failure;
use super::output::step;

/// End a hold, and activate the newest version that waited for it
///
/// That is the newest ready version whose push had asked to be activated. If there is
/// none, the command says so, and the next push is activated by itself again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable release course-recs")]
pub(crate) struct ReleaseArgs {
    /// The dataset
    dataset: DatasetName,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Released {
    activated: Option<Step>,
    detail: Option<String>,
    passed_over: Vec<PassedOver>,
}

#[derive(Debug, Deserialize)]
struct PassedOver {
    version: u64,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Step {
    from: Option<u64>,
    to: u64,
}

pub(crate) fn run(args: &ReleaseArgs, context: &Context<'_>) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    let answer = context
        .client()?
        .post(&format!("{}/release", dataset_path(name)), &json!({}), &new_key())
        .map_err(|failure| failure.about(name, None))?;
    let released: Released = answer.json()?;
    context.out.either(answer.text(), || text(name, &released))
}

fn text(name: &str, released: &Released) -> String {
    let detail = released.detail.as_deref();
    match &released.activated {
        Some(moved) => {
            let mut text = format!("{name} is released: {}", step(moved.from, moved.to));
            for passed in &released.passed_over {
                text.push_str(&format!("\n{} was passed over: {}", passed.version, passed.reason));
            }
            text
        }
        None => format!(
            "{name} is released: {}",
            detail.unwrap_or("no ready version waited, so what is served stays the same")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_says_what_it_activated_or_that_it_did_not() {
        let activated = Some(Step { from: Some(41), to: 43 });
        let mut moved = Released { activated, ..Released::default() };
        assert_eq!(text("a", &moved), "a is released: 41 → 43");
        moved.passed_over.push(PassedOver { version: 44, reason: "it is damaged".to_owned() });
        assert_eq!(text("a", &moved), "a is released: 41 → 43\n44 was passed over: it is damaged");
        assert!(text("a", &Released::default()).contains("no ready version waited"));
    }
}
