//! `--dry-run`: what a run would do, with the first rows as they would be served. Reads the
//! sources, asks the server how things stand if it can be reached, and changes nothing.

use serde_json::json;

use super::job::{Job, Wanted};
use super::outcome::{error_of, raw, worst};
use super::{Prepared, found, prepare_all, settings};
use crate::cli::Context;
use crate::cli::api::Dataset;
use crate::cli::client::{Client, Patience};
use crate::cli::exit::{Exit, Failure};
use crate::cli::notes;
use crate::cli::output::{counted, printable};
use crate::cli::push::request::Data;
use crate::cli::rows::{self, Preview};

/// What would be done with one dataset.
struct Plan<'a> {
    wanted: &'a Wanted,
    /// What would be pushed, in words.
    what: String,
    sources: Option<usize>,
    /// `None` if there are no rows to show.
    preview: Option<Result<Preview, Failure>>,
    now: Now,
}

/// How things stand on the server.
enum Now {
    Known(Box<Dataset>),
    /// It would be made.
    Absent,
    /// The token may not even see it, so not push to it either. Of one that may see it nothing says
    /// whether it may push.
    Forbidden(String),
    /// Why that is not known.
    Unknown(String),
}

pub(super) fn show_plans(job: &Job, show: u16, context: &Context<'_>) -> Result<(), Failure> {
    // One try: whether there is a server is not what was asked.
    let client = context.client()?.with_patience(Patience { retries: 0, ..Patience::PERSON });
    let mut plans: Vec<Plan<'_>> = Vec::new();
    for Prepared { wanted, request } in prepare_all(job)? {
        let data = request.data;
        let preview = matches!(data, Data::Rows(_)).then(|| {
            rows::preview(&wanted.rows, (&wanted.sources, &wanted.how), show.into())
                .map_err(|failure| job.at(wanted.sources_at, failure))
        });
        let (what, sources) = told(wanted, &data);
        let now = match plans.last().map(|plan| &plan.now) {
            Some(Now::Unknown(why)) => Now::Unknown(why.clone()),
            _ => Now::of(&client, wanted),
        };
        plans.push(Plan { wanted, what, sources, preview, now });
    }
    context.out.either(document(job, &plans), || text(job, &plans))?;
    notes::say("dry run: nothing was pushed, and nothing changed");
    let failures: Vec<&Failure> = plans.iter().filter_map(Plan::failure).collect();
    match worst(failures.iter().map(|failure| failure.exit)) {
        None => Ok(()),
        Some(exit) => Err(failure(exit, &failures)),
    }
}

/// What would be pushed, in words, and how many files that are.
fn told(wanted: &Wanted, data: &Data) -> (String, Option<usize>) {
    let files = |count: usize| counted(count as u64, "file");
    match data {
        Data::Rows(parts) => (files(parts.len()), Some(parts.len())),
        Data::Snapshot(parts) => {
            (format!("a snapshot of {}", files(parts.len())), Some(parts.len()))
        }
        Data::Elsewhere => {
            let from = wanted.from.as_deref().unwrap_or_default();
            let path = wanted.sources.first().filter(|path| !path.is_empty());
            let path = path.map_or_else(|| "all".to_owned(), Clone::clone);
            (format!("{path} of {from}, which the server fetches,"), None)
        }
    }
}

fn failure(exit: Exit, failures: &[&Failure]) -> Failure {
    let mut failure = Failure::new(exit, failures[0].message.clone());
    failure.code.clone_from(&failures[0].code);
    failure.problems.clone_from(&failures[0].problems);
    for other in &failures[1..] {
        failure.problems.push(other.message.clone());
        failure.problems.extend(other.problems.iter().cloned());
    }
    failure
}

impl Now {
    fn of(client: &Client, wanted: &Wanted) -> Self {
        match found(client, wanted.name.as_str()) {
            Ok(Some(dataset)) => Self::Known(Box::new(dataset)),
            Ok(None) => Self::Absent,
            Err(failure) if failure.code.as_deref() == Some("forbidden") => {
                Self::Forbidden(failure.message.clone())
            }
            Err(failure) => Self::Unknown(failure.message.clone()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Known(now) => {
                let records = now.records.map(|n| format!(" ({})", counted(n, "record")));
                let current = now.current.map_or_else(
                    || "no version is current yet".to_owned(),
                    |v| format!("{v} is current{}", records.unwrap_or_default()),
                );
                let held = if now.held { "; it is held: nothing would be activated" } else { "" };
                format!("{current}{held}")
            }
            Self::Absent => "the dataset is not there yet: it would be made".to_owned(),
            Self::Forbidden(why) => format!("this token may not push to it, nor see it: {why}"),
            Self::Unknown(why) => format!("what is current is not known: {why}"),
        }
    }
}

impl Plan<'_> {
    fn failure(&self) -> Option<&Failure> {
        self.preview.as_ref()?.as_ref().err()
    }

    fn changes(&self) -> Vec<settings::Change> {
        match &self.now {
            Now::Known(now) => settings::changes(Some(&now.config), &self.wanted.settings),
            Now::Absent | Now::Forbidden(_) | Now::Unknown(_) => {
                settings::changes(None, &self.wanted.settings)
            }
        }
    }

    /// What would be pushed, in a line.
    fn text(&self, job: &Job) -> String {
        let Wanted { name, label, as_of, activate, .. } = self.wanted;
        let label = label.as_ref().map(|label| format!(", label {label}")).unwrap_or_default();
        let as_of = as_of.as_ref().map(|time| format!(", as of {time}")).unwrap_or_default();
        let then = match (job.together, activate) {
            (true, _) => "activated together with the others",
            (false, true) => "activated if its gates pass",
            (false, false) => "made ready, not activated",
        };
        let mut lines = vec![
            format!("{name}: {} as a new version{label}{as_of}, {then}", self.what),
            format!("  {}", self.now.text()),
        ];
        let changes = self.changes();
        if !changes.is_empty() {
            lines.push(format!("  settings: {}", settings::text(&changes)));
        }
        match &self.preview {
            None => {}
            Some(Ok(shown)) => {
                lines.extend(
                    shown
                        .records
                        .iter()
                        .map(|(key, value)| format!("  {}\t{}", lossy(key), lossy(value))),
                );
                let rows = if shown.complete { "all rows" } else { "the first rows" };
                lines.push(format!("  ({rows}, as they would be served)"));
            }
            Some(Err(failure)) => lines.push(format!("  error: {}", failure.message)),
        }
        lines.iter().map(|line| shown(line)).collect::<Vec<_>>().join("\n")
    }

    fn json(&self, job: &Job) -> serde_json::Value {
        let wanted = self.wanted;
        let record =
            |(key, value): &(Vec<u8>, Vec<u8>)| json!({"key": lossy(key), "value": raw(value)});
        let (now, current) = match &self.now {
            Now::Known(now) => ("known", now.current),
            Now::Absent => ("absent", None),
            Now::Forbidden(_) => ("forbidden", None),
            Now::Unknown(_) => ("unknown", None),
        };
        let change = |c: &settings::Change| json!({"setting": c.name, "from": c.from, "to": c.to});
        let preview = self.preview.as_ref().and_then(|shown| shown.as_ref().ok());
        json!({
            "dataset": wanted.name,
            "sources": self.sources,
            "label": wanted.label,
            "as_of": wanted.as_of,
            "idempotency_key": wanted.key,
            "activate": wanted.activate || job.together,
            "server": now,
            "current": current,
            "settings_changed": self.changes().iter().map(change).collect::<Vec<_>>(),
            "complete": preview.map(|shown| shown.complete),
            "records": preview.map_or_else(Vec::new, |shown| shown.records.iter().map(record).collect()),
            "error": self.failure().map(error_of),
        })
    }
}

fn document(job: &Job, plans: &[Plan<'_>]) -> String {
    let plans: Vec<_> = plans.iter().map(|plan| plan.json(job)).collect();
    json!({
        "job": job.file,
        "dry_run": true,
        "activate_together": job.together,
        "datasets": plans,
    })
    .to_string()
}

fn text(job: &Job, plans: &[Plan<'_>]) -> String {
    plans.iter().map(|plan| plan.text(job)).collect::<Vec<_>>().join("\n")
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A line as it may go to a terminal; the tab before a value is ours.
fn shown(line: &str) -> String {
    line.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}
