//! `tidetable erase`: keys that no version gives any more.

mod rewriting;

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tidetable_storage::DatasetName;

use super::Context;
use super::api::new_key;
use super::client::Patience;
use super::confirm::confirmed;
use super::exit::{Exit, Failure};
use super::keys_file;
use super::output::{counted, grouped};
use crate::keys::KeyEncoding;
use rewriting::Rewriting;

/// Keys of one request.
const AT_ONCE: usize = 1000;
/// How often a server that does not answer is asked again how far the rewriting is.
const RETRIES: u32 = 6;

/// Erase keys: no version of any age gives them any more
///
/// From the answer on a read of the keys finds nothing, in no version, also after a restart, a
/// rollback, or a push that contains them: their rows are left out. Their bytes leave the disk
/// with the versions that hold them, as those are given up; with --now these versions are
/// rewritten at once, which takes the time of a build of each, and the command waits for it. A
/// repetition is harmless. On a terminal it asks first, unless --yes is given. What a reason says
/// is kept for ever: name no key in it. Keys on a command line stand in the history of the shell;
/// --keys-from reads them from a file.
#[derive(Args, Debug)]
#[command(
    override_usage = "tidetable erase [OPTIONS] <DATASET|--all-datasets> [KEY]... --reason <TEXT>\n       \
                      tidetable erase --list",
    after_help = "\
Examples:
  tidetable erase course-recs 42 --reason 'request 1177'
  tidetable erase course-recs 42 43 --now --yes --reason 'request 1177'
  tidetable erase --all-datasets --keys-from keys.txt --reason 'request 1178'
  tidetable erase course-recs --now --reason 'request 1177'    rewrite what holds erased keys
  tidetable erase course-recs 42 --lift --reason 'it was another learner'
  tidetable erase --list                                 what is erased, and what still holds it"
)]
pub(crate) struct EraseArgs {
    /// The dataset, and the keys; with --all-datasets only keys
    #[arg(value_name = "DATASET KEY", allow_negative_numbers = true, hide = true)]
    words: Vec<String>,
    /// Erase in every dataset, also in those that are made later
    #[arg(long)]
    all_datasets: bool,
    /// Read keys from this file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    keys_from: Option<PathBuf>,
    /// How the keys are written
    #[arg(long, value_name = "ENCODING", value_enum, default_value_t)]
    key_encoding: KeyEncoding,
    /// Why; kept for ever, so it must not name a key
    #[arg(long, value_name = "TEXT", required_unless_present = "list")]
    reason: Option<String>,
    /// Rewrite the versions that hold erased keys, and wait until their bytes have left the disk
    #[arg(long, conflicts_with = "lift")]
    now: bool,
    /// Lift the erasure: versions that still have the keys give them again
    #[arg(long)]
    lift: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// List erasures: when, by whom and why, and which versions may still hold the keys
    #[arg(long, conflicts_with_all = ["words", "all_datasets", "keys_from", "reason", "now", "lift"])]
    list: bool,
}

/// An answer of the server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Done {
    erased: u64,
    already: u64,
    lifted: u64,
    still_erased: u64,
    held_by: Vec<Of>,
    rewriting: Vec<Of>,
    named_in_settings: Vec<String>,
}

/// A version.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Of {
    dataset: String,
    version: u64,
    state: Option<String>,
    in_parts: bool,
    phase: String,
    done: u64,
    total: u64,
    code: String,
    detail: String,
}

/// How the server stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Standing {
    erasures: Vec<Erasure>,
    rewriting: Vec<Of>,
    failed: Vec<Of>,
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Erasure {
    seq: u64,
    dataset: Option<String>,
    keys: u64,
    erased_at: String,
    actor: String,
    reason: Option<String>,
    held_by: Vec<Of>,
    gone_at: Option<String>,
}

pub(crate) fn run(args: &EraseArgs, context: &Context<'_>) -> Result<(), Failure> {
    let client = context.client()?;
    if args.list {
        let answer = client.get("/v1/erase?limit=1000")?;
        let standing: Standing = answer.json()?;
        return context.out.either(answer.text(), || listed(&standing));
    }
    let (dataset, keys) = args.understood()?;
    let place = dataset.as_ref().map_or("all datasets", |name| name.as_str());
    if !args.yes && !confirmed(&question(args, keys.len(), place))? {
        return Err(Failure::new(Exit::Failed, "nothing was changed"));
    }
    let path = if args.lift { "/v1/erase/lift" } else { "/v1/erase" };
    let mut sum = Done::default();
    let mut answers = Vec::new();
    let chunks: Vec<&[String]> =
        if keys.is_empty() { vec![&[]] } else { keys.chunks(AT_ONCE).collect() };
    for (number, chunk) in chunks.iter().enumerate() {
        let mut body = json!({
            "keys": chunk, "key_encoding": args.key_encoding.name(), "reason": args.reason,
            "datasets": dataset.as_ref().map(|name| [name]),
        });
        if args.now && number + 1 == chunks.len() {
            body["now"] = json!(true);
        }
        let answer = client.post(path, &body, &new_key()).map_err(|failure| match &dataset {
            Some(name) => failure.about(name.as_str(), None),
            None => failure,
        })?;
        let done: Done = answer.json()?;
        sum = Done {
            erased: sum.erased + done.erased,
            already: sum.already + done.already,
            lifted: sum.lifted + done.lifted,
            still_erased: sum.still_erased + done.still_erased,
            ..done
        };
        answers.push(answer.json::<Value>()?);
    }
    let answer = if answers.len() == 1 { answers.swap_remove(0) } else { Value::Array(answers) };
    if !args.now {
        return context.out.either(answer.to_string(), || told(args, place, &sum, None));
    }
    let client = client.with_patience(Patience::job(RETRIES));
    let rewriting = Rewriting { client: &client, args, dataset: dataset.as_ref() };
    let ended = rewriting.to_its_end(std::mem::take(&mut sum.rewriting));
    let gone_from = ended.as_ref().ok().filter(|ended| ended.is_gone());
    let gone_from = gone_from.map(|ended| ended.rewritten.len());
    context.out.either(answer.to_string(), || told(args, place, &sum, gone_from))?;
    ended?.conclude()
}

impl EraseArgs {
    /// The dataset, if it is one, and the keys.
    fn understood(&self) -> Result<(Option<DatasetName>, Vec<String>), Failure> {
        let mut words = self.words.iter();
        let dataset = match self.all_datasets {
            true => None,
            false => {
                let missing = || Failure::usage("name a dataset and its keys, or --all-datasets");
                Some(DatasetName::parse(words.next().ok_or_else(missing)?)?)
            }
        };
        let mut keys: Vec<String> = words.cloned().collect();
        if let Some(path) = &self.keys_from {
            keys.extend(keys_file::read(path, self.key_encoding)?);
        }
        if keys.is_empty() && !self.now {
            return Err(Failure::usage("name the keys, on the command line or by --keys-from"));
        }
        Ok((dataset, keys))
    }
}

fn question(args: &EraseArgs, keys: usize, place: &str) -> String {
    let keys = counted(keys as u64, "key");
    match (args.lift, args.now) {
        (true, _) => format!("Give {keys} of {place} again, where versions have them?"),
        (false, false) => format!("Erase {keys} from {place}?"),
        (false, true) => format!("Erase {keys} from {place}, and rewrite what holds them?"),
    }
}

/// `gone_from`: how many versions were rewritten, if none holds the bytes any more.
fn told(args: &EraseArgs, place: &str, done: &Done, gone_from: Option<usize>) -> String {
    let keys = |n: u64| counted(n, "key");
    if args.lift {
        let mut text = format!("{place}: {} may be given again", keys(done.lifted));
        if done.still_erased > 0 {
            text.push_str(&format!("; {} still erased in all datasets", keys(done.still_erased)));
        }
        return text;
    }
    let mut text = format!("{place}: {} erased", keys(done.erased));
    if done.already > 0 {
        text.push_str(&format!("; {} had been already", keys(done.already)));
    }
    match (args.now, gone_from, done.held_by.len()) {
        (true, None, _) => {}
        (true, Some(0), _) | (false, _, 0) => text.push_str("\nno version holds them"),
        (true, Some(n), _) => text.push_str(&format!(
            "\n{} rewritten: their bytes are gone from its files",
            if n == 1 { "1 version was".to_owned() } else { format!("{n} versions were") }
        )),
        (false, ..) => {
            let versions = done.held_by.iter().map(|of| format!("{} {}", of.dataset, of.version));
            let versions = versions.collect::<Vec<_>>().join(", ");
            text.push_str(&format!(
                "\nbytes of them may be on the disk until these are given up, or rewritten (--now): {versions}"
            ));
        }
    }
    for name in &done.named_in_settings {
        text.push_str(&format!("\nthe gates of {name} name such a key: `tidetable config {name}`"));
    }
    text
}

fn listed(standing: &Standing) -> String {
    if standing.erasures.is_empty() {
        return "no key is erased".to_owned();
    }
    let mut text = String::new();
    for erasure in &standing.erasures {
        let place = erasure.dataset.as_deref().unwrap_or("all datasets");
        let reason = erasure.reason.as_deref().unwrap_or_default();
        let held_by = erasure.held_by.iter().map(|of| format!("{} {}", of.dataset, of.version));
        let held_by = held_by.collect::<Vec<_>>().join(", ");
        let state = match &erasure.gone_at {
            Some(at) => format!("gone from the disk since {at}"),
            None => format!("may be held by {held_by}"),
        };
        text.push_str(&format!(
            "{:>6}  {place}  {}  {}  {}  {reason}\n        {state}\n",
            erasure.seq,
            counted(erasure.keys, "key"),
            erasure.erased_at,
            erasure.actor
        ));
    }
    for of in &standing.rewriting {
        text.push_str(&format!(
            "{} {} is being rewritten: {} {} of {}\n",
            of.dataset,
            of.version,
            of.phase,
            grouped(of.done),
            grouped(of.total)
        ));
    }
    for of in &standing.failed {
        text.push_str(&format!("{} {} was not rewritten: {}\n", of.dataset, of.version, of.detail));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        erase: EraseArgs,
    }

    pub(super) fn args(line: &str) -> EraseArgs {
        let words = ["erase"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().erase
    }

    #[test]
    fn the_first_word_is_the_dataset_unless_all_are_meant() {
        let understood = |line: &str| {
            args(line).understood().map(|(name, keys)| (name.map(|name| name.to_string()), keys))
        };
        let (name, keys) = understood("recs 42 -7 --reason x").unwrap();
        assert_eq!((name.as_deref(), keys), (Some("recs"), vec!["42".to_owned(), "-7".to_owned()]));
        let (name, keys) = understood("--all-datasets 42 --reason x").unwrap();
        assert_eq!((name, keys), (None, vec!["42".to_owned()]));
        assert!(understood("recs --now --reason x").unwrap().1.is_empty());
        for bad in
            ["recs --reason x", "--reason x", "Recs 42 --reason x", "--all-datasets --reason x"]
        {
            assert_eq!(understood(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn the_answer_says_what_still_holds_the_keys() {
        let of = |version| Of { dataset: "recs".to_owned(), version, ..Of::default() };
        let done = Done { erased: 2, already: 1, held_by: vec![of(3), of(4)], ..Done::default() };
        let text = told(&args("recs 1 2 3 --reason x"), "recs", &done, None);
        assert!(text.starts_with("recs: 2 keys erased; 1 key had been already\n"), "{text}");
        assert!(text.ends_with("recs 3, recs 4"), "{text}");
        let text = told(&args("recs 1 2 3 --now --reason x"), "recs", &done, Some(2));
        assert!(
            text.ends_with("2 versions were rewritten: their bytes are gone from its files"),
            "{text}"
        );
        let lifted = Done { lifted: 1, still_erased: 1, ..Done::default() };
        let text = told(&args("recs 1 --lift --reason x"), "recs", &lifted, None);
        assert_eq!(text, "recs: 1 key may be given again; 1 key still erased in all datasets");
    }
}
