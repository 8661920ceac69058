//! `tidetable run`: pushes what a job file says, to one dataset or several.
//!
//! read the file → find its sources → for each dataset: settings, push → activate together, if
//! that is wanted → say what has become of each. Everything that can be wrong with the file is
//! found before anything is asked or sent, and each push is the one of `tidetable push`.

mod check;
mod dry;
mod job;
mod node;
mod outcome;
mod schema;
pub(super) mod settings;
mod together;
mod variables;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Context;
use super::api::{self, new_key};
use super::client::{Client, Patience};
use super::exit::{Exit, Failure};
use super::interrupt::Interrupt;
use super::notes;
use super::push::request::Request;
use super::push::{FIRST_ANSWER, Push, Settled, parse_duration};
use job::{Job, Wanted};
use outcome::{Became, Ended, Outcome, worst};

/// Of how many datasets it is told at once what is wrong with their sources.
const MOST_TOLD: usize = 10;

/// Push what a job file says: one dataset or several, with their settings
///
/// The file is YAML or JSON. It names datasets, each with its sources and the options of `push`
/// as keys, and may set gates and other settings, which are put in place before the push. Sources
/// are named from the directory of the file on. ${NAME} in a text is a variable of the
/// environment, ${NAME:-text} has a default. A run with the same labels again makes no second
/// version. docs/job-files.md explains it all.
///
/// An error in the file is reported with its line and column before anything is sent (exit code 2).
/// Datasets are pushed in the order of the file. If one fails, the others are still pushed; but
/// if they are activated together, none is. If pushes end with different exit codes, the command
/// ends with the first of 6, 1, 5, 2, 4 and 3: those that another run may help come first.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable run job.yaml --dry-run                           what it would do, and nothing done
  RUN_ID=2026-11-23 tidetable run job.yaml
  tidetable run job.yaml --set RUN_ID=2026-11-23 --json      one document for programs
  tidetable run --schema > job-schema.json                   for editors")]
pub(crate) struct RunArgs {
    /// The job file
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Show what it would do, with the first rows as they would be served, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run, how many rows to read of each dataset
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=1000),
        requires = "dry_run"
    )]
    show: u16,
    /// The value of ${NAME} in the file, whatever the environment has; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    set: Vec<(String, String)>,
    /// How often a request is repeated while the server cannot be reached or is busy; the
    /// first one of each dataset for no more than 5 seconds if it cannot be reached
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,
    /// How long to wait for the server once all rows of a dataset are sent, e.g. 30m or 90s
    /// [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    server_timeout: Option<Duration>,
    /// Print the JSON Schema of job files, which editors check them with
    #[arg(long, conflicts_with_all = ["file", "dry_run", "set"])]
    schema: bool,
}

pub(crate) fn run(args: &RunArgs, context: &Context<'_>) -> Result<(), Failure> {
    let file = match &args.file {
        Some(file) if !args.schema => file,
        _ => return context.out.line(format!("{:#}", schema::published())),
    };
    let set: BTreeMap<String, String> = args.set.iter().cloned().collect();
    let job = Job::read(file, &set)?;
    if args.dry_run {
        return dry::show_plans(&job, args.show, context);
    }
    let pushes = prepare_all(&job)?;
    let client = context.client()?.with_patience(Patience::job(args.retries));
    let runner = Runner {
        job: &job,
        client: &client,
        timeout: args.server_timeout,
        interrupt: Interrupt::watch(context.out.json),
    };
    let ended = runner.run(pushes);
    context.out.either(ended.json(), || ended.table())?;
    ended.failure().map_or(Ok(()), Err)
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if variables::is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, like RUN_ID=2026-11-23".to_owned()),
    }
}

/// What is to be sent for one dataset.
struct Prepared<'a> {
    wanted: &'a Wanted,
    request: Request,
}

/// Finds the sources of all datasets, or says what is wrong with them: of the first ones, and of how
/// many more something is.
fn prepare_all(job: &Job) -> Result<Vec<Prepared<'_>>, Failure> {
    let (mut pushes, mut failures) = (Vec::new(), Vec::new());
    for wanted in &job.datasets {
        match prepare(job, wanted) {
            Ok(push) => pushes.push(push),
            Err(failure) => failures.push(failure),
        }
    }
    let exit = worst(failures.iter().map(|failure: &Failure| failure.exit));
    let more = failures.len().saturating_sub(MOST_TOLD);
    let mut failures = failures.into_iter();
    let (Some(exit), Some(mut all)) = (exit, failures.next()) else { return Ok(pushes) };
    all.exit = exit;
    for other in failures.take(MOST_TOLD - 1) {
        all.problems.push(other.message.clone());
        all.problems.extend(other.problems.iter().cloned());
    }
    if more > 0 {
        all.problems.push(format!("and {more} more"));
    }
    Err(all)
}

/// Finds the sources of a dataset, and says what the push will.
fn prepare<'a>(job: &Job, wanted: &'a Wanted) -> Result<Prepared<'a>, Failure> {
    let mut request = Request::of(wanted.given()).map_err(|failure| job.at_key(wanted, failure))?;
    let body = &mut request.body;
    for (name, text) in [("label", &wanted.label), ("as_of", &wanted.as_of)] {
        body.extend(text.as_ref().map(|text| (name.to_owned(), json!(text))));
    }
    if !activates(job, wanted) {
        body.insert("activate".to_owned(), json!(false));
    }
    Ok(Prepared { wanted, request })
}

/// Whether the push itself activates: what is activated together waits for the others.
fn activates(job: &Job, wanted: &Wanted) -> bool {
    wanted.activate && !job.together
}

/// A run of a job against a server.
struct Runner<'a> {
    job: &'a Job,
    client: &'a Client,
    timeout: Option<Duration>,
    interrupt: Interrupt,
}

impl<'a> Runner<'a> {
    fn run(&self, pushes: Vec<Prepared<'_>>) -> Ended<'a> {
        let mut outcomes = Vec::new();
        let mut over = false;
        for push in pushes {
            let name = push.wanted.name.as_str();
            if over {
                outcomes.push(Outcome::new(name, Became::NotPushed));
                continue;
            }
            let outcome = self.push(&push);
            if let Some(failure) = &outcome.failure {
                // Of one alone it is what the run ends with.
                if self.job.datasets.len() > 1 {
                    notes::say(outcome::about(name, failure));
                }
                over = self.job.together || failure.exit == Exit::Unreachable;
            }
            outcomes.push(outcome);
        }
        let all_pushed = outcomes.iter().all(|outcome| outcome.failure.is_none());
        let together = (self.job.together && all_pushed)
            .then(|| together::activate(self.client, &mut outcomes));
        Ended { job: self.job, outcomes, together }
    }

    /// Puts the settings of one dataset in place, and pushes to it.
    fn push(&self, prepared: &Prepared<'_>) -> Outcome {
        let wanted = prepared.wanted;
        let name = wanted.name.as_str();
        let mut outcome = Outcome::new(name, Became::Failed);
        self.interrupt.say(name, None, format!("nothing was pushed to {name}"));
        match self.settle(wanted) {
            Ok(changes) => outcome.changes = changes,
            Err(failure) => return outcome.failed(failure),
        }
        let key = wanted.key.clone().unwrap_or_else(new_key);
        let again = match &wanted.key {
            Some(_) => format!("tidetable run {} again", self.job.file),
            None => "only with a label or an idempotency-key in the file".to_owned(),
        };
        let push = Push {
            client: self.client,
            dataset: name,
            key,
            resume: wanted.key.is_some(),
            again,
            activate: activates(self.job, wanted),
            timeout: self.timeout,
            watched: std::io::stderr().is_terminal(),
            interrupt: self.interrupt.clone(),
        };
        match push.carry_out(&prepared.request) {
            Ok(settled) => self.settled(outcome, settled),
            Err(failure) => outcome.failed(hinted(failure)),
        }
    }

    /// Changes the settings that are not what the file says.
    fn settle(&self, wanted: &Wanted) -> Result<Vec<settings::Change>, Failure> {
        if wanted.settings.is_empty() {
            return Ok(Vec::new());
        }
        let now = found(self.client, wanted.name.as_str())?;
        let changes = settings::changes(now.as_ref().map(|now| &now.config), &wanted.settings);
        if !changes.is_empty() {
            settings::apply_settings(self.client, &wanted.name, &wanted.settings)?;
            notes::say(format_args!(
                "{}: settings changed: {}",
                wanted.name,
                settings::text(&changes)
            ));
        }
        Ok(changes)
    }

    fn settled(&self, outcome: Outcome, settled: Settled) -> Outcome {
        let Settled { version, json, before, was, summary } = settled;
        let is_current = was == Some(version.version);
        let became = match version.state.as_str() {
            "active" if before && is_current => Became::Unchanged,
            "active" => Became::Activated,
            "retired" => Became::Replaced,
            _ => Became::Ready,
        };
        let note = match version.state.as_str() {
            "ready" if version.activate && version.held => {
                Some(format!("{0} is held: `tidetable release {0}` ends that", outcome.dataset))
            }
            "ready" if version.activate => {
                version.detail.clone().or_else(|| version.reason.clone())
            }
            _ => None,
        };
        let outcome = Outcome {
            became,
            version: Some(version),
            json: Some(json),
            was,
            before,
            note,
            ..outcome
        };
        match summary {
            Ok(_) if self.job.together && outcome.became == Became::Ready => {
                let number = outcome.number().unwrap_or_default();
                notes::say(format_args!("{} {number} is ready", outcome.dataset));
                outcome
            }
            Ok(line) => {
                notes::say(line);
                outcome
            }
            Err(failure) => outcome.failed(failure),
        }
    }
}

/// The dataset as the server has it, if it has it. The first question about it, so it is not
/// asked for long.
fn found(client: &Client, name: &str) -> Result<Option<api::Dataset>, Failure> {
    match client.asking_at_most(FIRST_ANSWER, |client| api::dataset(client, name)) {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.code.as_deref() == Some("dataset_not_found") => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The hint of `push` names a flag that a job has as a key.
fn hinted(failure: Failure) -> Failure {
    match failure.code.as_deref() {
        Some("idempotency_key_reused") => failure.hint(
            "a run with other data or options needs a label, or an idempotency-key, of its own",
        ),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a job of so many datasets, none of which has its source.
    fn without_sources(datasets: usize) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.yaml");
        let mut text = "datasets:\n".to_owned();
        for n in 0..datasets {
            text.push_str(&format!("  d{n}: {{source: rows-{n}.ndjson, key: k}}\n"));
        }
        std::fs::write(&path, text).unwrap();
        let job = Job::read(&path, &BTreeMap::new()).unwrap();
        let failure = prepare_all(&job).err().unwrap();
        assert_eq!(failure.exit, Exit::NotFound, "{failure:?}");
        let mut said = vec![failure.message.clone()];
        said.extend(failure.problems.iter().cloned());
        said
    }

    #[test]
    fn ten_sources_that_are_not_there_are_named_and_the_others_are_counted() {
        let ten = without_sources(10);
        assert_eq!(ten.len(), 10, "{ten:?}");
        let many = without_sources(25);
        assert_eq!(many.len(), 11, "{many:?}");
        for (n, said) in many[..10].iter().enumerate() {
            assert!(said.contains(&format!("rows-{n}.ndjson")), "{said}");
        }
        assert_eq!(many[10], "and 15 more");
    }
}
