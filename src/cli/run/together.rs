//! The end of a job whose datasets are to be activated together: all at one instant, or none.
//!
//! To activate is what a person asks for, and is done during a hold too. A job is no person: it
//! does not activate what is held, or has a canary, or would take the place of something newer,
//! and says so, as a push does.

use serde_json::json;

use super::outcome::{Became, Outcome};
use crate::cli::api::{self, MovedTogether, Named, new_key, version_path};
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::step;

/// Activates all that are ready. Says what was done, or why nothing was; an `Err` has changed
/// nothing either.
pub(super) fn activate(client: &Client, outcomes: &mut [Outcome]) -> Result<String, Failure> {
    let is = |became: Became| move |outcome: &&Outcome| outcome.became == became;
    let replaced = outcomes.iter().find(is(Became::Replaced));
    let ready: Vec<&Outcome> = outcomes.iter().filter(is(Became::Ready)).collect();
    match (replaced, ready.is_empty()) {
        (None, true) => return Ok("all of them are current already".to_owned()),
        (Some(_), true) => {
            let text = "all of them were current, and some have been replaced since: none was \
                        activated again";
            return Ok(text.to_owned());
        }
        (Some(replaced), false) => {
            let text = format!("{} was current, and has been replaced since", named(replaced));
            return Err(Failure::new(Exit::Conflict, text)
                .hint("a run with newer data, under a label of its own, activates all of them"));
        }
        (None, false) => {}
    }
    let kept = ready.iter().map(|one| kept(client, one)).collect::<Result<Vec<_>, _>>()?;
    let kept: Vec<String> = kept.into_iter().flatten().collect();
    if !kept.is_empty() {
        return Ok(format!("none was activated: {}. {}", kept.join("; "), by_hand(&ready)));
    }
    let activations: Vec<_> = ready
        .iter()
        .map(|one| json!({"dataset": one.dataset, "version": one.number(), "expect_current": one.was}))
        .collect();
    let hint = by_hand(&ready);
    let answer = client
        .post("/v1/activate", &json!({"activations": activations}), &new_key())
        .map_err(|failure| refused(failure, &hint))?;
    let together: MovedTogether = answer.json()?;
    for Named { dataset, moved } in &together.activated {
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.dataset == *dataset) {
            outcome.became = Became::Activated;
            outcome.was = moved.from;
            refresh(client, outcome);
        }
    }
    let steps = together
        .activated
        .iter()
        .map(|one| format!("{} {}", one.dataset, step(one.moved.from, one.moved.to)));
    Ok(format!("activated at one instant: {}", steps.collect::<Vec<_>>().join(", ")))
}

/// Why a dataset may not be activated by a job now, if it may not.
fn kept(client: &Client, one: &Outcome) -> Result<Option<String>, Failure> {
    let now = api::dataset(client, &one.dataset)?;
    let newer = now.current.filter(|&current| Some(current) > one.number());
    Ok(if now.held {
        Some(format!("{0} is held (`tidetable release {0}`, then run the job again)", one.dataset))
    } else if now.canary.is_some() {
        Some(format!("{} has a canary", one.dataset))
    } else {
        newer.map(|newer| format!("{newer} of {}, which is newer, is current", one.dataset))
    })
}

fn named(one: &Outcome) -> String {
    format!("{} {}", one.dataset, one.number().unwrap_or_default())
}

/// How a person activates them all the same.
fn by_hand(ready: &[&Outcome]) -> String {
    let pairs =
        ready.iter().map(|one| format!("{}={}", one.dataset, one.number().unwrap_or_default()));
    format!("By hand: tidetable activate {}", pairs.collect::<Vec<_>>().join(" "))
}

fn refused(failure: Failure, by_hand: &str) -> Failure {
    let hint = match failure.code.as_deref() {
        Some("needs_force" | "gate_refused") => format!("{by_hand} --force --reason '…'"),
        Some("current_changed") => {
            "somebody else was quicker: look, then run the job again".to_owned()
        }
        Some("forbidden") => {
            format!("to activate together takes the role operator on each of them. {by_hand}")
        }
        _ => return failure,
    };
    failure.hint(hint)
}

/// Takes the version as it is now; if that cannot be had, it is as it was a moment ago.
fn refresh(client: &Client, outcome: &mut Outcome) {
    let Some(number) = outcome.number() else { return };
    if let Ok(answer) = client.get(&version_path(&outcome.dataset, number))
        && let Ok(version) = answer.json()
    {
        outcome.version = Some(version);
        outcome.json = Some(answer.text());
    }
}
