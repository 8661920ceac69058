//! `tidetable versions`: the versions of a dataset, or all about one of them.

use chrono::Utc;
use clap::Args;
use tidetable_storage::{DatasetName, Version};

use super::Context;
use super::api::{self, List, dataset_path, version_path};
use super::exit::Failure;
use super::output::{version_text, versions_table};

/// List the versions of a dataset, newest first, or show all about one
///
/// `*` marks the version that serves. States: receiving, building, verifying, ready,
/// active, retired; and aside from these failed, rejected (a gate refused it), bad (it
/// was rolled back from) and deleted.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable versions course-recs
  tidetable versions course-recs 43                      gates, reasons and problems too
  tidetable versions course-recs --json | jq '.versions[0].state'")]
pub(crate) struct VersionsArgs {
    /// The dataset
    dataset: DatasetName,
    /// Show all about this version
    version: Option<Version>,
}

pub(crate) fn run(args: &VersionsArgs, context: &Context<'_>) -> Result<(), Failure> {
    let (client, name) = (context.client()?, args.dataset.as_str());
    if let Some(version) = args.version {
        let answer = client
            .get(&version_path(name, version.0))
            .map_err(|failure| failure.about(name, Some(version.0)))?;
        let version: api::Version = answer.json()?;
        return context.out.either(answer.text(), || version_text(&version, Utc::now()));
    }
    let path = format!("{}/versions", dataset_path(name));
    let list = List::read(&client, &path, "versions", None).map_err(|f| f.about(name, None))?;
    let versions = list.items()?;
    context.out.either(list.json(), || versions_table(&versions, Utc::now()))
}
