//! `tidetable audit`: who changed what, and what was refused and denied; and whether a line of
//! that was changed or taken away.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use tidetable_storage::{AuditHead, AuditReport, DatasetName};

use super::Context;
use super::api;
use super::client::{Client, encoded};
use super::exit::{Exit, Failure};
use super::notes;
use super::offline;
use super::output::{Columns, Left, Right, grouped, second_of, step};
use crate::config::Span;

/// The most lines of one answer.
const PAGE: usize = 1000;

/// Show who changed what, what was refused and what was denied, newest first
///
/// Of all datasets, or of one. With --json each is a JSON object on a line of its own, as the
/// server has it. All changes that ever happened are kept, and the last 64 MB of refusals and
/// denials. With --verify the command asks no server: it reads the files of a data directory, and
/// fails (exit code 1) if a line was changed or removed. It prints where both chains end. Note
/// that elsewhere, and give it with --head the next time: somebody who can write the directory
/// can make a new chain, but not one with the end that you have noted. Without it lines that were
/// cut off the end of the log of refusals and denials, or all of its files being gone, do not show.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable audit
  tidetable audit course-recs --since 24h
  tidetable audit --kind denial --since 7d --json
  tidetable audit --verify --data /var/lib/tidetable")]
pub(crate) struct AuditArgs {
    /// One dataset [default: all]
    dataset: Option<DatasetName>,
    /// From then on: a day (2026-01-31, from its beginning in UTC), a time (2026-01-31T08:30:00Z), or
    /// how long ago (30m, 24h, 7d, 2w)
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Up to then; of a day, up to its beginning
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// What this actor did or tried
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Lines of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Show this many lines at most
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Look whether a line was changed or taken away, in the files of --data
    #[arg(long, conflicts_with_all = ["dataset", "since", "until", "actor", "kind", "limit"])]
    verify: bool,
    /// The data directory to verify
    #[arg(
        long,
        value_name = "DIR",
        default_value = "tidetable-data",
        env = "TIDETABLE_DATA",
        hide_env_values = true
    )]
    data: PathBuf,
    /// What was noted earlier of where both chains stood; several may be named
    #[arg(long, value_name = "HEAD", requires = "verify")]
    head: Vec<AuditHead>,
}

/// What a line tells of.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Something that was changed
    Change,
    /// A change that was asked for and not made
    Refusal,
    /// What nobody may have without another token
    Denial,
    /// What the server itself noted
    Note,
}

/// A time, or how long ago.
#[derive(Clone, Copy, Debug)]
enum When {
    At(DateTime<Utc>),
    Ago(Span),
}

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(at.with_timezone(&Utc)));
        }
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Self::At(day.and_time(NaiveTime::MIN).and_utc()));
        }
        text.parse().map(Self::Ago).map_err(|_| {
            "expected a day such as 2026-01-31, a time such as 2026-01-31T00:00:00Z, or how long ago: \
             30m, 24h, 7d, 2w"
                .to_owned()
        })
    }
}

impl When {
    fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now - span.0,
        }
    }

    fn text(self, now: DateTime<Utc>) -> String {
        self.at(now).to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

pub(crate) fn run(args: &AuditArgs, context: &Context<'_>) -> Result<(), Failure> {
    if args.verify {
        return verify(args, context);
    }
    let now = Utc::now();
    args.check_range(now)?;
    let client = context.client()?;
    let query = args.query(now);
    let (mut left, mut cursor) = (args.limit as usize, None::<String>);
    let mut table = Vec::new();
    loop {
        let mut path = format!("/v1/audit?limit={}{query}", left.min(PAGE));
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={}", encoded(cursor)));
        }
        let answer = client.get(&path)?;
        let text = answer.text();
        for line in text.lines() {
            left = left.saturating_sub(1);
            if context.out.json {
                context.out.line(line)?;
            } else {
                table.push(Line::parse(line)?);
            }
        }
        let next = answer.header("tidetable-next-cursor").map(str::to_owned);
        if next.is_none() || next == cursor || left == 0 {
            cursor = next;
            break;
        }
        cursor = next;
    }
    if !context.out.json {
        context.out.line(audit_table(&table) + &args.unknown(&client, &table))?;
    }
    if cursor.is_some() {
        notes::say(format_args!("there is more: --limit takes more lines, --since fewer"));
    }
    Ok(())
}

impl AuditArgs {
    /// Whether it reads a data directory, and asks no server.
    pub(crate) fn is_offline(&self) -> bool {
        self.verify
    }

    /// Refuses times between which nothing can be.
    fn check_range(&self, now: DateTime<Utc>) -> Result<(), Failure> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since.at(now) >= until.at(now) => {
                let (since, until) = (since.text(now), until.text(now));
                let text = format!("--since {since} is not before --until {until}");
                Err(Failure::usage(text).hint("of a day, --until takes the beginning"))
            }
            _ => Ok(()),
        }
    }

    /// That there is no such dataset, if nothing was found of it: its name may be mistyped.
    fn unknown(&self, client: &Client, found: &[Line]) -> String {
        let Some(name) = self.dataset.as_ref().filter(|_| found.is_empty()) else {
            return String::new();
        };
        match api::dataset(client, name.as_str()) {
            Err(failure) if failure.code.as_deref() == Some("dataset_not_found") => {
                format!(
                    "; there is no dataset {name} now: `tidetable datasets` lists what there is"
                )
            }
            _ => String::new(),
        }
    }

    fn query(&self, now: DateTime<Utc>) -> String {
        let kind = self.kind.and_then(|kind| kind.to_possible_value());
        let given = [
            ("dataset", self.dataset.as_ref().map(ToString::to_string)),
            ("since", self.since.map(|when| when.text(now))),
            ("until", self.until.map(|when| when.text(now))),
            ("actor", self.actor.clone()),
            ("kind", kind.map(|kind| kind.get_name().to_owned())),
        ];
        let given = given.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.map(|(name, value)| format!("&{name}={}", encoded(value))).collect()
    }
}

/// One line of the audit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    at: String,
    kind: String,
    actor: String,
    action: String,
    dataset: Option<String>,
    version: Option<serde_json::Value>,
    from: Option<u64>,
    to: Option<u64>,
    activations: Vec<Swap>,
    forced: bool,
    outcome: Option<String>,
    status: Option<u16>,
    reason: Option<String>,
    refused_by: Vec<String>,
    settings: Vec<String>,
    address: Option<String>,
    token: Option<String>,
    denials: Option<u64>,
    refusals: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Swap {
    dataset: String,
    from: Option<u64>,
    to: u64,
}

impl Line {
    fn parse(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| {
            let text = format!("the server's answer is no line of an audit: {error}");
            Failure::new(Exit::Failed, text)
        })
    }

    fn dataset(&self) -> String {
        let several = self.activations.iter().map(|swap| swap.dataset.as_str());
        let several: Vec<&str> = several.collect();
        match &self.dataset {
            Some(dataset) => dataset.clone(),
            None if !several.is_empty() => several.join(", "),
            None => "-".to_owned(),
        }
    }

    fn version(&self) -> String {
        if let Some(to) = self.to {
            return step(self.from, to);
        }
        let several = self.activations.iter().map(|swap| step(swap.from, swap.to));
        let several: Vec<String> = several.collect();
        match &self.version {
            _ if !several.is_empty() => several.join(", "),
            Some(serde_json::Value::Number(version)) => version.to_string(),
            _ => "-".to_owned(),
        }
    }

    fn outcome(&self) -> String {
        let outcome = self.outcome.clone().unwrap_or_default();
        match self.status {
            Some(status) => format!("{status} {outcome}"),
            None if self.forced => format!("{outcome}, forced"),
            None => outcome,
        }
    }

    fn note(&self) -> String {
        let left_out = |n: Option<u64>, what| Some(format!("{} {what}", n.filter(|n| *n > 0)?));
        let gates = (!self.refused_by.is_empty()).then(|| self.refused_by.join(", "));
        let from = self.address.as_ref().map(|address| format!("from {address}"));
        let (denials, refusals) = (self.denials, self.refusals);
        let parts = [
            self.reason.clone(),
            gates,
            (!self.settings.is_empty()).then(|| self.settings.join(", ")),
            from,
            self.token.as_ref().map(|token| format!("token {token}")),
            left_out(denials, "denials more"),
            left_out(refusals, "refusals more"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

fn audit_table(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "nothing of that kind happened".to_owned();
    }
    let mut table = Columns::new(&[
        ("AT", Left),
        ("KIND", Left),
        ("WHAT", Left),
        ("DATASET", Left),
        ("VERSION", Right),
        ("BY", Left),
        ("OUTCOME", Left),
        ("NOTE", Left),
    ]);
    for line in lines {
        table.row(&[
            second_of(&line.at),
            line.kind.clone(),
            line.action.replace('_', " "),
            line.dataset(),
            line.version(),
            line.actor.clone(),
            line.outcome(),
            line.note(),
        ]);
    }
    table.text()
}

fn verify(args: &AuditArgs, context: &Context<'_>) -> Result<(), Failure> {
    let report = offline::verify_audit(&args.data, &args.head)?;
    let json = json!({
        "changes": {"first": report.changes.0, "last": report.changes.1},
        "log": {"first": report.lines.0, "last": report.lines.1},
        "head": report.head.to_string(), "sound": report.findings.is_empty(),
        "findings": report.findings,
    });
    context.out.either(json.to_string(), || text(&report))?;
    if report.findings.is_empty() {
        return Ok(());
    }
    let text =
        "the audit is not as it was written: lines were changed or taken away, or are damaged";
    let mut failure = Failure::new(Exit::Failed, text);
    failure.code = Some("audit_broken".to_owned());
    failure.problems = report.findings;
    Err(failure)
}

fn text(report: &AuditReport) -> String {
    let of = |what: &str, (first, last): (u64, u64)| match last {
        0 => format!("{what}: none"),
        last => format!("{what}: {} to {}", grouped(first), grouped(last)),
    };
    let mut lines = vec![of("changes", report.changes), of("log", report.lines)];
    if report.findings.is_empty() {
        lines.push("every line follows on the line before it".to_owned());
    }
    lines.push(format!("head: {}", report.head));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Global;
    use super::super::output::Output;
    use super::super::stub::{Reply, Stub};
    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        audit: AuditArgs,
    }

    #[test]
    fn a_day_begins_in_utc() {
        let now = DateTime::parse_from_rfc3339("2026-02-03T04:05:06Z").unwrap().to_utc();
        for (text, meant) in [
            ("2026-01-31", "2026-01-31T00:00:00.000Z"),
            ("2026-01-31T08:30:00+02:00", "2026-01-31T06:30:00.000Z"),
            ("24h", "2026-02-02T04:05:06.000Z"),
        ] {
            assert_eq!(text.parse::<When>().unwrap().text(now), meant, "{text}");
        }
        for text in ["2026-02-30", "yesterday", "2026-01-31 08:30", ""] {
            assert!(text.parse::<When>().unwrap_err().contains("2026-01-31"), "{text}");
        }
    }

    #[test]
    fn a_line_is_a_row_and_nothing_in_it_moves_the_cursor() {
        let lines = [
            r#"{"at":"2026-01-31T08:00:00.000Z","kind":"change","actor":"job","action":"rolled_back","dataset":"recs","version":2,"from":3,"to":2,"reason":"half\u001b[2J missing","outcome":"done"}"#,
            r#"{"at":"2026-01-31T07:00:00.000Z","kind":"denial","actor":"anonymous","action":"GET /v1/datasets","outcome":"forbidden","status":403,"address":"10.0.0.1"}"#,
            r#"{"at":"2026-01-31T06:00:00.000Z","kind":"change","actor":"ops","action":"activated","activations":[{"dataset":"a","to":1},{"dataset":"b","from":1,"to":2}],"outcome":"done","forced":true}"#,
            r#"{"at":"2026-01-31T05:00:00.000Z","kind":"note","actor":"tidetable","action":"left_out","denials":12,"refusals":0}"#,
        ];
        let lines: Vec<Line> = lines.iter().map(|line| Line::parse(line).unwrap()).collect();
        let table = audit_table(&lines);
        for part in [
            "rolled back",
            "3 → 2",
            "half\\u{1b}[2J missing",
            "403 forbidden",
            "from 10.0.0.1",
            "a, b",
            "none → 1, 1 → 2",
            "done, forced",
            "12 denials more",
        ] {
            assert!(table.contains(part), "{part} in {table}");
        }
        assert!(!table.contains("0 refusals") && !table.contains('\u{1b}'), "{table}");
        assert_eq!(table.lines().count(), 5);
    }

    /// What is printed of the audit of `recs`, of which the server knows nothing.
    fn printed(json: bool, replies: Vec<Reply>) -> String {
        let stub = Stub::answering(replies);
        let global = Global { server: stub.address(), token: None, tls: Default::default(), json };
        let context = Context { global: &global, out: Output::captured(json) };
        run(&Words::parse_from(["audit", "recs"]).audit, &context).unwrap();
        stub.finish();
        context.out.text()
    }

    #[test]
    fn a_dataset_that_is_not_there_is_said_where_nothing_is_found_of_it() {
        let nothing = || Reply::text(200, "");
        let absent = json!({"code": "dataset_not_found", "detail": "there is no dataset recs"});
        let text = printed(false, vec![nothing(), Reply::json(404, absent)]);
        assert!(text.starts_with("nothing of that kind happened; there is no dataset recs now"));
        let there = json!({"dataset": "recs"});
        let text = printed(false, vec![nothing(), Reply::json(200, there)]);
        assert_eq!(text, "nothing of that kind happened\n");
        let denied = json!({"code": "forbidden"});
        let text = printed(false, vec![nothing(), Reply::json(403, denied)]);
        assert_eq!(text, "nothing of that kind happened\n");
        assert_eq!(printed(true, vec![nothing()]), "");
    }

    #[test]
    fn a_time_is_one_or_how_long_ago() {
        let now = "2026-01-31T08:00:00Z".parse().unwrap();
        let text = |when: &str| when.parse::<When>().unwrap().text(now);
        assert_eq!(text("24h"), "2026-01-30T08:00:00.000Z");
        assert_eq!(text("2026-01-01T01:00:00+01:00"), "2026-01-01T00:00:00.000Z");
        assert!("yesterday".parse::<When>().is_err());
    }

    #[test]
    fn a_range_in_which_nothing_can_be_is_refused() {
        let now = "2026-01-31T08:00:00Z".parse().unwrap();
        let checked = |since: &str, until: &str| {
            let words = ["audit", "--since", since, "--until", until];
            Words::parse_from(words).audit.check_range(now)
        };
        checked("3h", "2h").unwrap();
        checked("2026-01-30", "1h").unwrap();
        for (since, until) in [("2h", "3h"), ("2026-01-30", "2026-01-30"), ("1h", "2026-01-30")] {
            assert_eq!(checked(since, until).unwrap_err().exit, Exit::Usage, "{since} {until}");
        }
    }
}
