//! `tidetable history`: everything that was done to a dataset, and by whom.

use clap::Args;
use tidetable_storage::DatasetName;

use super::Asked;
use super::api::{List, dataset_path};
use super::exit::Failure;
use super::output::history_table;

/// Show what was done to a dataset, when and by whom, newest first
///
/// With --json, `next` is null, or says that --limit has left something out.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable history course-recs
  tidetable history course-recs --limit 20
  tidetable history course-recs --json | jq '.events[] | select(.event == \"rolled_back\")'")]
pub(crate) struct HistoryArgs {
    /// The dataset
    dataset: DatasetName,
    /// Show this many events at most [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

pub(crate) fn run(args: &HistoryArgs, asked: &Asked<'_>) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    let path = format!("{}/history", dataset_path(name));
    let limit = args.limit.map(|limit| limit as usize);
    let list = List::read(&asked.client()?, &path, "events", limit)
        .map_err(|failure| failure.about(name, None))?;
    let events = list.items()?;
    asked.out.either(list.json(), || history_table(&events))
}
