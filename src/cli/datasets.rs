//! `tidetable datasets`: what the server has, and what of it serves.

use chrono::Utc;
use clap::Args;

use super::Context;
use super::api::List;
use super::exit::Failure;
use super::output::datasets_table;

/// List the datasets of the server
///
/// One line per dataset: how it is (healthy, damaged, stale, held, canary, rolled back,
/// empty), the version that serves, how big it is, since when it serves, as of when its data
/// is, and why somebody should look at it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable datasets
  tidetable datasets --json | jq -r '.datasets[] | select(.state != \"healthy\") | .dataset'")]
pub(crate) struct DatasetsArgs {}

pub(crate) fn run(_: &DatasetsArgs, context: &Context<'_>) -> Result<(), Failure> {
    let list = List::read(&context.client()?, "/v1/datasets", "datasets", None)?;
    let datasets = list.items()?;
    context.out.either(list.json(), || datasets_table(&datasets, Utc::now()))
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_help_names_every_state() {
        let document: Value = serde_json::from_str(include_str!("../http/openapi.json")).unwrap();
        let states = document.pointer("/components/schemas/Dataset/properties/state/enum");
        let command = DatasetsArgs::augment_args(Command::new("datasets"));
        let help = command.get_long_about().unwrap().to_string();
        for state in states.unwrap().as_array().unwrap() {
            let state = state.as_str().unwrap().replace('_', " ");
            assert!(help.contains(&state), "{state:?} is missing in: {help}");
        }
    }
}
