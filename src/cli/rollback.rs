//! `tidetable rollback`: serve an earlier version, and keep the bad one from coming back.

use clap::Args;
use serde_json::json;
use tidetable_storage::{DatasetName, Version};

use super::Context;
use super::api::{self, Moved, dataset_path, new_key};
use super::exit::{Exit, Failure};
use super::output::step;

/// Serve an earlier version, mark the one left behind as bad, and hold the dataset
///
/// Without --to: the version that served before this one and is not bad. The hold keeps
/// the next push from bringing the fault back by itself: pushes are still accepted and
/// made ready, and `release` activates the newest. If somebody else was quicker, nothing
/// is done (exit code 5), so two operators cannot roll back twice.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable rollback course-recs --reason 'half of the learners have no recommendations'
  tidetable rollback course-recs --to 40
  tidetable rollback course-recs --no-hold               let the next push activate by itself")]
pub(crate) struct RollbackArgs {
    /// The dataset
    dataset: DatasetName,
    /// The version to go back to [default: the one that served before]
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not hold the dataset: the next push is activated by itself
    #[arg(long)]
    no_hold: bool,
}

pub(crate) fn run(args: &RollbackArgs, context: &Context<'_>) -> Result<(), Failure> {
    let (client, name) = (context.client()?, args.dataset.as_str());
    let Some(current) = api::dataset(&client, name)?.current else {
        let mut failure = Failure::new(
            Exit::Conflict,
            format!("{name} serves no version: there is nothing to roll back from"),
        );
        failure.code = Some("nothing_to_roll_back_to".to_owned());
        return Err(failure.about(name, None));
    };
    let mut body = json!({"hold": !args.no_hold, "expect_current": current});
    if let Some(to) = args.to {
        body["to"] = json!(to);
    }
    if let Some(reason) = &args.reason {
        body["reason"] = json!(reason);
    }
    let answer = client
        .post(&format!("{}/rollback", dataset_path(name)), &body, &new_key())
        .map_err(|failure| with_hint(failure, name).about(name, args.to.map(|to| to.0)))?;
    let moved: Moved = answer.json()?;
    context.out.either(answer.text(), || text(name, &moved))
}

/// What helps if the version to go back to is the one that cannot be served: another one.
fn with_hint(failure: Failure, name: &str) -> Failure {
    if !matches!(failure.code.as_deref(), Some("version_unusable" | "data_corrupt" | "io_failed")) {
        return failure;
    }
    failure.hint(format!(
        "nothing was changed. `tidetable versions {name}` lists the others, `tidetable rollback {name} \
         --to VERSION` goes to one of them; if there is none, push the data again"
    ))
}

fn text(name: &str, moved: &Moved) -> String {
    let mut text = format!("{name}: {}", step(moved.from, moved.to));
    if let Some(bad) = moved.marked_bad {
        text.push_str(&format!(" ({bad} is marked as bad)"));
    }
    if moved.same_content {
        text.push_str(&format!(
            "\n{to} has the same content: nothing has changed for readers. `tidetable versions {name}` \
             lists the others, `tidetable rollback {name} --to VERSION` goes to one of them",
            to = moved.to
        ));
    }
    if moved.held {
        text.push_str(&format!(
            "\n{name} is held: pushes are made ready, but none is activated by itself. \
             When the cause is mended: `tidetable release {name}`"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_that_is_refused_does_not_advise_itself() {
        let mut failure = Failure::new(Exit::Failed, "version 1 of a cannot be opened");
        failure.code = Some("version_unusable".to_owned());
        let told = with_hint(failure, "a").about("a", None).text();
        assert!(told.contains("rollback a --to VERSION") && !told.contains("--no-hold"), "{told}");
    }

    #[test]
    fn the_answer_says_what_was_left_behind_and_how_to_release() {
        let moved =
            Moved { from: Some(42), to: 41, held: true, marked_bad: Some(42), same_content: false };
        let held = text("a", &moved);
        assert!(held.starts_with("a: 42 → 41 (42 is marked as bad)\na is held"), "{held}");
        assert!(held.contains("tidetable release a"), "{held}");
        let moved = Moved { held: false, ..moved };
        assert_eq!(text("a", &moved), "a: 42 → 41 (42 is marked as bad)");
        let moved = Moved { same_content: true, ..moved };
        assert!(text("a", &moved).contains("\n41 has the same content"), "{}", text("a", &moved));
    }
}
