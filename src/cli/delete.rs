//! `tidetable delete`: a version nobody serves, an unfinished push, or a whole dataset.

use clap::Args;
use serde_json::{Map, Value};
use tidetable_storage::{DatasetName, Version};

use super::Context;
use super::api::{dataset_path, version_path};
use super::confirm::confirmed;
use super::exit::{Exit, Failure};

/// Delete a version that nobody serves, or abort an unfinished push
///
/// The version that serves, and the one a rollback would go to, are not deleted (exit
/// code 5). A number is never used again. --whole-dataset deletes a dataset with all its
/// versions, the serving one included: its keys are answered "not found" from then on. On a
/// terminal that asks first, unless --yes is given.
#[derive(Args, Debug)]
#[command(
    override_usage = "tidetable delete [OPTIONS] <DATASET> <VERSION|--whole-dataset>",
    group = clap::ArgGroup::new("what").required(true).args(["version", "whole_dataset"]),
    after_help = "\
Examples:
  tidetable delete course-recs 40
  tidetable delete old-experiment --whole-dataset"
)]
pub(crate) struct DeleteArgs {
    /// The dataset
    dataset: DatasetName,
    /// The version to delete
    version: Option<Version>,
    /// Delete the dataset with all its versions, also the one that serves
    #[arg(long)]
    whole_dataset: bool,
    /// Do not ask
    #[arg(long, requires = "whole_dataset")]
    yes: bool,
}

pub(crate) fn run(args: &DeleteArgs, context: &Context<'_>) -> Result<(), Failure> {
    let name = args.dataset.as_str();
    let question = format!("Delete {name} with all its versions, the one that serves too?");
    if args.whole_dataset && !args.yes && !confirmed(&question)? {
        return Err(Failure::new(Exit::Failed, "nothing was deleted"));
    }
    let (path, text) = match args.version {
        Some(v) => (version_path(name, v.0), format!("{name} {v} is deleted")),
        None => (dataset_path(name), format!("{name} is deleted with all its versions")),
    };
    let answer = context
        .client()?
        .delete(&path)
        .map_err(|failure| failure.about(name, args.version.map(|v| v.0)))?;
    // Another server may answer 200 to anything.
    answer.json::<Map<String, Value>>()?;
    context.out.either(answer.text(), || text)
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub};
    use super::super::{Global, Output};
    use super::*;

    #[test]
    fn what_another_server_answers_is_no_deletion() {
        let stub = Stub::answering(vec![Reply::text(200, "<html>log in</html>")]);
        let global =
            Global { server: stub.address(), token: None, tls: Default::default(), json: false };
        let context = Context { global: &global, out: Output::captured(false) };
        let args = DeleteArgs {
            dataset: "a".parse().unwrap(),
            version: Some(Version::parse("3").unwrap()),
            whole_dataset: false,
            yes: false,
        };
        let failure = run(&args, &context).unwrap_err();
        assert_eq!((failure.exit, context.out.text()), (Exit::Failed, String::new()));
        stub.finish();
    }
}
