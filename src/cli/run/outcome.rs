//! What has become of each dataset of a job: a line as it goes, a table or a document at the
//! end, and the exit code of the whole.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::job::Job;
use super::settings::Change;
use crate::cli::api::Version;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Columns, Left, Right, bytes, cut, grouped, step};

/// In one word, what has become of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// The version of this run is current now, and was not before.
    Activated,
    /// It was current already: an earlier run had done all of it.
    Unchanged,
    /// It is ready, and not current.
    Ready,
    /// It was current once, and has been replaced since: an earlier run had done all of it.
    Replaced,
    /// A gate refused it, or its rows cannot be used.
    Refused,
    /// It could not be pushed, for another reason.
    Failed,
    /// The job had ended before its turn.
    NotPushed,
}

impl Became {
    fn word(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::Unchanged => "unchanged",
            Self::Ready => "ready",
            Self::Replaced => "replaced",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::NotPushed => "not_pushed",
        }
    }
}

/// One dataset at the end of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) dataset: String,
    pub(super) became: Became,
    /// The version as the server has it, if there is one.
    pub(super) version: Option<Version>,
    /// The same as it was said.
    pub(super) json: Option<String>,
    /// What served when the run began.
    pub(super) was: Option<u64>,
    /// Whether an earlier run had pushed it.
    pub(super) before: bool,
    pub(super) changes: Vec<Change>,
    /// Why it is not current, or whatever else is to be known.
    pub(super) note: Option<String>,
    pub(super) failure: Option<Failure>,
}

impl Outcome {
    pub(super) fn new(dataset: &str, became: Became) -> Self {
        Self {
            dataset: dataset.to_owned(),
            became,
            version: None,
            json: None,
            was: None,
            before: false,
            changes: Vec::new(),
            note: None,
            failure: None,
        }
    }

    /// With why it came to nothing.
    pub(super) fn failed(mut self, failure: Failure) -> Self {
        self.became = if failure.exit == Exit::Refused { Became::Refused } else { Became::Failed };
        self.failure = Some(failure);
        self
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.version.as_ref().map(|version| version.version)
    }

    fn json(&self) -> Value {
        let version: Option<Value> =
            self.json.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let change = |c: &Change| json!({"setting": c.name, "from": c.from, "to": c.to});
        json!({
            "dataset": self.dataset,
            "outcome": self.became.word(),
            "version": self.number(),
            "from": self.was,
            "pushed_before": self.before,
            "settings_changed": self.changes.iter().map(change).collect::<Vec<_>>(),
            "note": self.note,
            "error": self.failure.as_ref().map(error_of),
            "resource": version,
        })
    }
}

/// A failure as it stands in the document of a run.
pub(super) fn error_of(failure: &Failure) -> Value {
    let text = failure.json();
    let whole: Value = serde_json::from_str(&text).unwrap_or_default();
    whole["error"].clone()
}

/// How a run ended.
pub(super) struct Ended<'a> {
    pub(super) job: &'a Job,
    pub(super) outcomes: Vec<Outcome>,
    /// What kept all of them from becoming current together, if that was wanted.
    pub(super) together: Option<Result<String, Failure>>,
}

impl Ended<'_> {
    /// The table for people.
    pub(super) fn table(&self) -> String {
        let mut table = Columns::new(&[
            ("DATASET", Left),
            ("OUTCOME", Left),
            ("VERSION", Left),
            ("RECORDS", Right),
            ("SIZE", Right),
            ("NOTE", Left),
        ]);
        let dash = || "-".to_owned();
        for outcome in &self.outcomes {
            let version = outcome.version.as_ref();
            let number = match (outcome.became, outcome.number()) {
                (Became::Activated, Some(number)) => step(outcome.was, number),
                (_, Some(number)) => number.to_string(),
                (_, None) => dash(),
            };
            table.row(&[
                outcome.dataset.clone(),
                outcome.became.word().replace('_', " "),
                number,
                version.and_then(|v| v.records).map_or_else(dash, grouped),
                version.and_then(|v| v.bytes).map_or_else(dash, bytes),
                self.note(outcome),
            ]);
        }
        let mut text = table.text();
        if let Some(Ok(said)) = &self.together {
            text.push_str(&format!("\n{said}"));
        }
        if self.is_idle() {
            text.push_str("\nnothing to do: an earlier run with these keys had done all of it");
        }
        text
    }

    fn note(&self, outcome: &Outcome) -> String {
        let before = outcome.before.then(|| "pushed before with this key".to_owned());
        // Which they are was said as they were changed.
        let changes = match outcome.changes.len() {
            0 => None,
            1 => Some("1 setting changed".to_owned()),
            n => Some(format!("{n} settings changed")),
        };
        // Why at length is what the run ends with.
        let failure = outcome
            .failure
            .as_ref()
            .map(|failure| failure.code.clone().unwrap_or_else(|| cut(&failure.message, 60)));
        let notes = [before, changes, outcome.note.clone(), failure];
        notes.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Whether the run has changed nothing.
    fn is_idle(&self) -> bool {
        let idle = |outcome: &Outcome| {
            outcome.before
                && outcome.changes.is_empty()
                && outcome.failure.is_none()
                && outcome.became != Became::Activated
        };
        self.outcomes.iter().all(idle)
    }

    /// The document for programs.
    pub(super) fn json(&self) -> String {
        let outcomes: Vec<Value> = self.outcomes.iter().map(Outcome::json).collect();
        let together = self.together.as_ref().map(|together| match together {
            Ok(said) => json!({"done": self.are_all_current(), "detail": said}),
            Err(failure) => json!({"done": false, "error": error_of(failure)}),
        });
        json!({
            "job": self.job.file,
            "exit": self.failure().map_or(0, |failure| failure.exit.code()),
            "datasets": outcomes,
            "activate_together": together,
        })
        .to_string()
    }

    fn are_all_current(&self) -> bool {
        let current = |o: &Outcome| matches!(o.became, Became::Activated | Became::Unchanged);
        self.outcomes.iter().all(current)
    }

    /// What the command ends with; `None` if all was done.
    pub(super) fn failure(&self) -> Option<Failure> {
        let failed =
            self.outcomes.iter().filter_map(|o| Some((o.dataset.as_str(), o.failure.as_ref()?)));
        let failed: Vec<(&str, &Failure)> = failed.collect();
        let together = self.together.as_ref().and_then(|together| together.as_ref().err());
        let exit = worst(failed.iter().map(|(_, f)| f.exit).chain(together.map(|f| f.exit)))?;
        let mut text = match (&failed[..], together) {
            ([], Some(failure)) => format!("none was activated: {}", failure.message),
            ([(name, failure)], _) if self.outcomes.len() == 1 => about(name, failure),
            _ => {
                let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
                let of = self.outcomes.len();
                format!("{} of {of} datasets came to nothing: {}", names.len(), names.join(", "))
            }
        };
        if self.job.together && !failed.is_empty() {
            text.push_str("; none was activated, as they are to be activated together");
        }
        let mut failure = Failure::new(exit, text);
        for (name, one) in &failed {
            if self.outcomes.len() > 1 {
                failure.problems.push(about(name, one));
            }
            failure.problems.extend(details(one));
        }
        failure.problems.extend(together.into_iter().flat_map(details));
        let only = match (&failed[..], together) {
            ([(_, one)], None) => Some(*one),
            ([], together) => together,
            _ => None,
        };
        if let Some(one) = only {
            failure.code.clone_from(&one.code);
            failure.hint.clone_from(&one.hint);
            failure.request_id.clone_from(&one.request_id);
        }
        Some(failure)
    }
}

/// What is said of a failure besides its message, unless that has it.
fn details(failure: &Failure) -> impl Iterator<Item = String> {
    failure.problems.iter().filter(|problem| !failure.message.contains(*problem)).cloned()
}

/// Why a dataset came to nothing, with its name.
pub(super) fn about(name: &str, failure: &Failure) -> String {
    match failure.message.strip_prefix(name) {
        Some(rest) if rest.starts_with([' ', ':']) => failure.message.clone(),
        _ => format!("{name}: {}", failure.message),
    }
}

/// Of several ends, the one that says most about what to do: first that trying again may
/// help, then that somebody must decide, then that the file is wrong, then the data.
pub(super) fn worst(exits: impl Iterator<Item = Exit>) -> Option<Exit> {
    const ORDER: [Exit; 7] = [
        Exit::Interrupted,
        Exit::Unreachable,
        Exit::Failed,
        Exit::Conflict,
        Exit::Usage,
        Exit::NotFound,
        Exit::Refused,
    ];
    exits.filter_map(|exit| ORDER.iter().position(|&of| of == exit)).min().map(|at| ORDER[at])
}

/// A value as it would be stored, as JSON within JSON.
pub(super) fn raw(value: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(value.to_vec()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(together: bool) -> Job {
        Job { file: "job.yaml".to_owned(), datasets: Vec::new(), together }
    }

    fn version(number: u64, state: &str) -> Version {
        Version {
            version: number,
            state: state.to_owned(),
            records: Some(200_000),
            bytes: Some(86_000_000),
            ..Version::default()
        }
    }

    fn activated(name: &str) -> Outcome {
        let version = Some(version(3, "active"));
        Outcome { version, was: Some(2), ..Outcome::new(name, Became::Activated) }
    }

    fn refused(name: &str, exit: Exit) -> Outcome {
        Outcome::new(name, Became::Failed).failed(Failure::new(exit, "no such luck").hint("wait"))
    }

    #[test]
    fn the_table_has_a_row_for_each() {
        let outcomes = vec![activated("recs"), refused("facts", Exit::Refused)];
        let job = job(false);
        let ended = Ended { job: &job, outcomes, together: None };
        let table = ended.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[1]), ["recs", "activated", "2", "→", "3", "200,000", "86", "MB"]);
        assert!(lines[2].contains("facts") && lines[2].contains("no such luck"), "{table}");
        let failure = ended.failure().unwrap();
        assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::Refused, Some("wait")));
        assert_eq!(failure.message, "1 of 2 datasets came to nothing: facts");
        let json: Value = serde_json::from_str(&ended.json()).unwrap();
        assert_eq!(json["exit"], 3);
        assert_eq!(json["datasets"][0]["outcome"], "activated");
        assert_eq!(json["datasets"][1]["error"]["message"], "no such luck");
    }

    #[test]
    fn the_worst_end_is_that_of_the_whole() {
        let exits = [Exit::Refused, Exit::Failed, Exit::NotFound];
        assert_eq!(worst(exits.into_iter()), Some(Exit::Failed));
        let exits = [Exit::Refused, Exit::Conflict];
        assert_eq!(worst(exits.into_iter()), Some(Exit::Conflict));
        assert_eq!(worst(std::iter::empty()), None);
        // Each of them has its place in the order.
        for (exit, _) in Exit::ALL {
            assert_eq!(worst([*exit].into_iter()), Some(*exit).filter(|e| *e != Exit::Done));
        }
        let job = job(true);
        let outcomes = vec![refused("a", Exit::Refused), refused("b", Exit::Unreachable)];
        let failure = Ended { job: &job, outcomes, together: None }.failure().unwrap();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.contains("none was activated"), "{}", failure.message);
    }

    #[test]
    fn a_run_that_found_all_done_says_so() {
        let job = job(false);
        let done = |became| {
            let version = Some(version(3, "active"));
            Outcome { before: true, version, ..Outcome::new("recs", became) }
        };
        let text = |outcomes| Ended { job: &job, outcomes, together: None }.table();
        assert!(text(vec![done(Became::Unchanged)]).contains("nothing to do"));
        assert!(!text(vec![done(Became::Unchanged), activated("b")]).contains("nothing to do"));
        assert!(!text(vec![done(Became::Activated)]).contains("nothing to do"));
    }
}
