//! `tidetable activate`: serve a certain version from now on, of one dataset or of several at
//! one instant.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};
use tidetable_storage::{DatasetName, Version};

use super::Context;
use super::api::{self, Moved, MovedTogether, dataset_path, new_key};
use super::client::Client;
use super::exit::Failure;
use super::output::step;

/// Serve a certain version of a dataset from now on
///
/// The swap is atomic: every request before it sees the old version, every one after it
/// the new. A version that a gate rejected, or that was rolled back from, needs --force
/// and a reason, which the history keeps. If somebody else changes what serves at the
/// same moment, nothing is done (exit code 5).
///
/// Several datasets, each written DATASET=VERSION, swap at one instant: all of them, or
/// none if one of them cannot.
#[derive(Args, Debug)]
#[command(
    override_usage = "tidetable activate [OPTIONS] <DATASET> <VERSION>\n       \
                      tidetable activate [OPTIONS] <DATASET=VERSION>…",
    after_help = "\
Examples:
  tidetable activate course-recs 43
  tidetable activate course-recs 43 --force --reason 'the shrink is intended: old courses left'
  tidetable activate course-recs=43 course-facts=17        both at one instant, or neither"
)]
pub(crate) struct ActivateArgs {
    /// The dataset and the version to serve; or several, each as DATASET=VERSION
    #[arg(required = true, num_args = 1.., value_name = "DATASET")]
    words: Vec<String>,
    /// Activate it although a gate rejected it or it was rolled back from
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// One dataset and the version it is to serve.
type Swap = (DatasetName, Version);

impl ActivateArgs {
    /// What the words mean, or why they mean nothing.
    pub(crate) fn swaps(&self) -> Result<Vec<Swap>, String> {
        let pairs: Vec<_> = self.words.iter().map(|word| word.split_once('=')).collect();
        match (&self.words[..], &pairs[..]) {
            (_, pairs) if pairs.iter().all(Option::is_some) => {
                let swaps = pairs.iter().flatten().map(|(dataset, version)| swap(dataset, version));
                let swaps = swaps.collect::<Result<Vec<_>, _>>()?;
                let mut seen = BTreeSet::new();
                match swaps.iter().find(|(dataset, _)| !seen.insert(dataset)) {
                    Some((twice, _)) => Err(format!(
                        "{twice} is named twice: a dataset serves one version at a time"
                    )),
                    None => Ok(swaps),
                }
            }
            ([dataset], _) => {
                DatasetName::parse(dataset).map_err(|error| error.to_string())?;
                Err(format!(
                    "<VERSION> is missing: `tidetable versions {dataset}` lists what there is"
                ))
            }
            ([dataset, version], [None, None]) => swap(dataset, version).map(|swap| vec![swap]),
            _ => Err(format!(
                "`{}` is neither DATASET VERSION nor a list of DATASET=VERSION: several datasets \
                 are written like `tidetable activate a=3 b=7`",
                self.words.join(" ")
            )),
        }
    }
}

fn swap(dataset: &str, version: &str) -> Result<Swap, String> {
    let name = DatasetName::parse(dataset).map_err(|error| error.to_string())?;
    let version = Version::parse(version).map_err(|error| format!("{dataset}: {error}"))?;
    Ok((name, version))
}

pub(crate) fn run(args: &ActivateArgs, context: &Context<'_>) -> Result<(), Failure> {
    let swaps = args.swaps().map_err(Failure::usage)?;
    let client = context.client()?;
    match &swaps[..] {
        [(dataset, version)] => one(args, context, &client, dataset.as_str(), *version),
        _ => together(args, context, &client, &swaps),
    }
}

/// `body` with what is believed to be current: null where nothing is, since somebody else may
/// be first then too.
fn expecting(client: &Client, dataset: &str, mut body: Value) -> Result<Value, Failure> {
    body["expect_current"] = json!(api::dataset(client, dataset)?.current);
    Ok(body)
}

fn one(
    args: &ActivateArgs,
    context: &Context<'_>,
    client: &Client,
    name: &str,
    version: Version,
) -> Result<(), Failure> {
    let mut body = expecting(client, name, json!({"version": version, "force": args.force}))?;
    if let Some(reason) = &args.reason {
        body["reason"] = json!(reason);
    }
    let answer = client
        .post(&format!("{}/activate", dataset_path(name)), &body, &new_key())
        .map_err(|failure| failure.about(name, Some(version.0)))?;
    let moved: Moved = answer.json()?;
    context.out.either(answer.text(), || text(name, &moved))
}

fn together(
    args: &ActivateArgs,
    context: &Context<'_>,
    client: &Client,
    swaps: &[Swap],
) -> Result<(), Failure> {
    let each = swaps.iter().map(|(dataset, version)| {
        expecting(client, dataset.as_str(), json!({"dataset": dataset, "version": version}))
    });
    let activations = each.collect::<Result<Vec<_>, _>>()?;
    let mut body = json!({"activations": activations, "force": args.force});
    if let Some(reason) = &args.reason {
        body["reason"] = json!(reason);
    }
    let answer =
        client.post("/v1/activate", &body, &new_key()).map_err(|failure| hinted(failure, swaps))?;
    let together: MovedTogether = answer.json()?;
    let lines = || together.activated.iter().map(|one| text(&one.dataset, &one.moved));
    context.out.either(answer.text(), || lines().collect::<Vec<_>>().join("\n"))
}

/// The failure with a hint: that of the dataset at fault, unless it is about that one alone.
fn hinted(failure: Failure, swaps: &[Swap]) -> Failure {
    if matches!(failure.code.as_deref(), Some("needs_force" | "gate_refused")) {
        return failure.hint(
            "nothing was activated in any of them. To serve them all the same: the same with \
             --force --reason '…'",
        );
    }
    let at_fault = swaps.iter().find(|(name, _)| failure.dataset.as_deref() == Some(name.as_str()));
    match at_fault {
        Some((name, version)) => failure.about(name.as_str(), Some(version.0)),
        None => failure,
    }
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

    fn args(words: &[&str]) -> ActivateArgs {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        ActivateArgs { words, force: false, reason: None }
    }

    /// What is printed, or the failure, and the bodies that were sent.
    fn ran(args: &ActivateArgs, replies: Vec<Reply>) -> (Result<(), Failure>, Vec<Value>) {
        let stub = Stub::answering(replies);
        let global =
            Global { server: stub.address(), token: None, tls: Default::default(), json: false };
        let context = Context { global: &global, out: Output::captured(false) };
        let ended = run(args, &context);
        let sent = stub.finish();
        let bodies = sent.iter().filter(|request| request.line.starts_with("POST"));
        (ended, bodies.map(|request| serde_json::from_slice(&request.body).unwrap()).collect())
    }

    #[test]
    fn what_is_believed_to_be_current_is_always_sent() {
        for current in [json!(42), json!(null)] {
            let dataset = json!({"dataset": "a", "current": current});
            let moved = json!({"from": current, "to": 43, "held": false});
            let replies = vec![Reply::json(200, dataset), Reply::json(200, moved)];
            let (ended, sent) = ran(&args(&["a", "43"]), replies);
            ended.unwrap();
            assert_eq!(sent[0].get("expect_current"), Some(&current));
        }
    }

    #[test]
    fn several_are_one_request_with_what_each_is_believed_to_serve() {
        let serving = |name: &str, current: Value| {
            Reply::json(200, json!({"dataset": name, "current": current}))
        };
        let activated = json!([
            {"dataset": "b", "from": null, "to": 7, "held": true},
            {"dataset": "a", "from": 2, "to": 3, "held": false},
        ]);
        let replies = vec![
            serving("b", json!(null)),
            serving("a", json!(2)),
            Reply::json(200, json!({"activated": activated})),
        ];
        let (ended, sent) = ran(&args(&["b=7", "a=3"]), replies);
        ended.unwrap();
        let expected = json!([
            {"dataset": "b", "version": 7, "expect_current": null},
            {"dataset": "a", "version": 3, "expect_current": 2},
        ]);
        assert_eq!(sent, [json!({"activations": expected, "force": false})]);
    }

    #[test]
    fn the_hint_is_about_the_dataset_at_fault() {
        let refused = |code: &str| {
            let problem = json!({"code": code, "detail": "b: no", "dataset": "b", "status": 409});
            let serving = || Reply::json(200, json!({"current": 1}));
            let replies = vec![serving(), serving(), Reply::json(409, problem)];
            ran(&args(&["a=3", "b=7"]), replies).0.unwrap_err().hint.clone().unwrap()
        };
        assert!(refused("current_changed").contains("history b"));
        let text = refused("needs_force");
        assert!(text.contains("--force") && !text.contains("activate b"), "{text}");
    }

    #[test]
    fn words_that_are_neither_form_are_refused_with_what_is_meant() {
        let refused = |words: &[&str]| args(words).swaps().unwrap_err();
        assert!(refused(&["a"]).contains("<VERSION>"));
        assert!(refused(&["a", "latest"]).contains("latest"));
        assert!(refused(&["A", "3"]).contains("\"A\""));
        for words in
            [&["a", "3", "b", "7"][..], &["a=3", "b", "7"], &["a", "3", "b=7"], &["a=3", "7"]]
        {
            let text = refused(words);
            assert!(text.contains("activate a=3 b=7"), "{words:?}: {text}");
        }
        assert!(refused(&["a=3", "a=4"]).contains("a is named twice"));
        for words in [&["a="][..], &["=3"], &["a=0"], &["a=b=3"], &["a=3", "b="]] {
            refused(words);
        }
        assert_eq!(args(&["a=3"]).swaps().unwrap(), args(&["a", "3"]).swaps().unwrap());
    }

    #[test]
    fn the_answer_says_from_where_to_where_and_that_a_hold_stays() {
        let moved = Moved { from: Some(42), to: 41, held: false, ..Moved::default() };
        assert_eq!(text("a", &moved), "a: 42 → 41");
        let first = Moved { from: None, to: 1, held: true, ..Moved::default() };
        let text = text("a", &first);
        assert!(text.starts_with("a: none → 1\n") && text.contains("release a"), "{text}");
    }
}
