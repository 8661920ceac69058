//! `tidetable push`: rows become a new version of a dataset.
//!
//! create the version → send its parts → commit → wait for the server to settle it.
//! Each step may be repeated without harm: the first carries an `Idempotency-Key`, parts
//! are replaced by the same bytes, a second commit changes nothing. So a job that is run
//! again with its `--idempotency-key` goes on where it was cut off.

mod outcome;
pub(super) mod parts;
pub(super) mod request;
mod settle;
mod snapshot;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value, json};
use tidetable_storage::DatasetName;

use super::Context;
use super::api::{self, dataset_path, new_key, version_path};
use super::client::{Client, Patience};
use super::exit::{Exit, Failure};
use super::interrupt::Interrupt;
use super::notes;
use super::output::{Output, printable};
use super::rows::{self, RowOptions, SourceOptions};
use crate::config::Span;
use parts::Part;
use request::{Data, Given, Request};

/// Push rows as a new version of a dataset, and activate it
///
/// The server builds, verifies and gates the version, then swaps it in whole: no reader
/// sees half of it. The dataset is made by its first push. SOURCE may be files,
/// directories, globs, or - for standard input; gzip and zstd are recognised. Of a directory
/// or glob, names that begin with . or _ are left out. A directory that `tidetable build` or
/// `tidetable pull` has made is a snapshot, also where its files lie beneath a prefix of a store:
/// it is pushed whole, without row options, and the server parses nothing.
///
/// SOURCE may also lie in a store: s3://bucket/file.csv, s3://bucket/prefix/ for all beneath it,
/// a glob; the same with gs:// and az://container/; and single files at http:// and https://.
/// Credentials are those of the environment, as the tools of these stores take them
/// (AWS_ACCESS_KEY_ID, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME…;
/// AWS_ENDPOINT_URL for other stores that speak S3): docs/sources.md has them all. They never
/// reach the server.
///
/// A server that cannot be reached when the push begins ends it after some 5 seconds (exit
/// code 6). If it cannot be reached for a while later, the push waits and goes on. If the
/// dataset is held, the version is made ready, not activated, and the command says so
/// (exit code 0). Rows that cannot be used, and gates that refuse, end it with exit code
/// 3; what was served before still is.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable push course-recs recs.ndjson --key learner_id
  tidetable push recs 'out/*.csv.gz' --key learner_id --collect --order-by score:desc --limit 20
  tidetable push stats stats.parquet --key learner_id,course_id --label run-2026-11-23
  tidetable push stats unload/ --format redshift --columns learner_id,score --key learner_id
  tidetable push course-recs s3://lake/recs/2026-11-25/ --key learner_id
  tidetable push grades s3://lake/grades_manifest --format redshift --columns id,grade --key id
  tidetable push course-recs 2026-11-25/ --from lake --key learner_id
  tidetable push course-recs recs.csv --key learner_id --dry-run
  tidetable push course-recs - --format ndjson --key learner_id --no-activate
  tidetable push course-recs course-recs.snapshot        what `build` or `pull` has made")]
pub(crate) struct PushArgs {
    /// The dataset; made if it is not there
    dataset: DatasetName,
    /// Files, directories, globs, s3://, gs://, az:// or https:// addresses, or - for standard
    /// input
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
    #[command(flatten)]
    how: SourceOptions,
    /// The server fetches the data by itself: SOURCE is a path beneath the source of this name in
    /// its settings, which has the credentials
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run", help_heading = "Sources")]
    from: Option<String>,
    #[command(flatten)]
    rows: RowOptions,

    /// A name of your own for this version, such as the run of the batch job
    #[arg(long, value_name = "TEXT", value_parser = parse_label, help_heading = "Version")]
    label: Option<String>,
    /// As of when the data is (RFC 3339); reads answer it as Tidetable-As-Of
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Version")]
    as_of: Option<String>,
    /// Make the version ready, but do not activate it
    #[arg(long, help_heading = "Version")]
    no_activate: bool,

    /// Show the first rows as they would be served, and push nothing
    #[arg(long, help_heading = "Pushing")]
    dry_run: bool,
    /// With --dry-run, how many rows to read
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=1000),
        requires = "dry_run",
        help_heading = "Pushing"
    )]
    show: u16,
    /// Makes two runs with the same key one push: a second one goes on where the first
    /// was cut off, and never makes a second version [default: a new one per run]
    #[arg(long, value_name = "KEY", value_parser = parse_key, help_heading = "Pushing")]
    idempotency_key: Option<String>,
    /// How often a request is repeated while the server cannot be reached or is busy; the
    /// first one for no more than 5 seconds if it cannot be reached
    #[arg(
        long,
        value_name = "N",
        default_value_t = 6,
        value_parser = clap::value_parser!(u32).range(..=100),
        help_heading = "Pushing"
    )]
    retries: u32,
    /// How long to wait for the server once all is sent, e.g. 30m or 90s; it goes on
    /// without us [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Pushing")]
    server_timeout: Option<Duration>,
}

pub(crate) fn run(args: &PushArgs, context: &Context<'_>) -> Result<(), Failure> {
    if args.dry_run {
        return dry_run(args, &context.out);
    }
    let mut request = Request::of(args.given())?;
    request.body.extend(args.version_fields());
    let client = context.client()?.with_patience(Patience::job(args.retries));
    let settled = Push::of(args, &client, context).carry_out(&request)?;
    let summary = settled.summary?;
    context.out.either(settled.json, || summary)
}

/// How long the first request of a push looks for a server.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// One push, and whom to ask.
pub(super) struct Push<'a> {
    pub(super) client: &'a Client,
    pub(super) dataset: &'a str,
    pub(super) key: String,
    /// The key was given, so another run may have begun this push.
    pub(super) resume: bool,
    /// How to go on with it if it is left unfinished.
    pub(super) again: String,
    pub(super) activate: bool,
    pub(super) timeout: Option<Duration>,
    /// Somebody looks at a terminal: progress is worth a request a second.
    pub(super) watched: bool,
    pub(super) interrupt: Interrupt,
}

/// A push that the server is through with, whatever has become of it.
pub(super) struct Settled {
    pub(super) version: api::Version,
    /// The same as the server said it.
    pub(super) json: String,
    /// Whether an earlier run with this key had pushed it, so that nothing was sent.
    pub(super) before: bool,
    /// What served before.
    pub(super) was: Option<u64>,
    /// What became of it, in one line, or why it is of no use.
    pub(super) summary: Result<String, Failure>,
}

impl<'a> Push<'a> {
    /// What the arguments ask for.
    fn of(args: &'a PushArgs, client: &'a Client, context: &Context<'_>) -> Self {
        let key = args.idempotency_key.clone().unwrap_or_else(new_key);
        Self {
            client,
            dataset: args.dataset.as_str(),
            again: format!("the same command with --idempotency-key {key}"),
            key,
            resume: args.idempotency_key.is_some(),
            activate: !args.no_activate,
            timeout: args.server_timeout,
            watched: std::io::stderr().is_terminal(),
            interrupt: Interrupt::watch(context.out.json),
        }
    }
}

impl Push<'_> {
    /// Pushes, and waits until the server is through with it.
    pub(super) fn carry_out(&self, request: &Request) -> Result<Settled, Failure> {
        let started = Instant::now();
        let nothing = format!("nothing was pushed to {}", self.dataset);
        self.interrupt.say(self.dataset, None, nothing);
        let was = self.current()?;
        let (version, sent) = match &request.data {
            Data::Rows(parts) | Data::Snapshot(parts) => self.hand_over(&request.body, parts)?,
            Data::Elsewhere => self.import(&request.body)?,
        };
        let goes_on = format!(
            "the server goes on with {0} {version}, and activates it if that was asked for. To \
             abort, until it is current: tidetable delete {0} {version}. `tidetable versions {0} \
             {version}` tells how it ends",
            self.dataset
        );
        self.interrupt.say(self.dataset, Some(version), goes_on);
        let (settled, json) = self.settle(version, &request.data)?;
        let push = outcome::Pushed {
            dataset: self.dataset,
            was: was.filter(|&was| was != version),
            sent,
            took: started.elapsed(),
        };
        let summary = push.summary(&settled);
        Ok(Settled { version: settled, json, before: sent.is_none(), was, summary })
    }

    /// Makes the version and sends its parts. Gives their bytes, if an earlier run with this key
    /// had not pushed them.
    fn hand_over(
        &self,
        body: &Map<String, Value>,
        parts: &[Part],
    ) -> Result<(u64, Option<u64>), Failure> {
        let created = self.create("versions", body)?;
        let version = created.version;
        if created.state == "receiving" {
            let sent = self.send(version, parts).map_err(|f| self.left(version, f))?;
            self.interrupt.say(self.dataset, Some(version), self.perhaps_committed(version));
            self.commit(version, parts).map_err(|f| self.left_at_commit(version, f))?;
            return Ok((version, Some(sent)));
        }
        // An earlier run with this key has committed it: only the outcome is missing, if it is
        // the same push.
        self.same_as_before(version, parts)?;
        Ok((version, None))
    }

    /// Asks the server to fetch the data by itself.
    fn import(&self, body: &Map<String, Value>) -> Result<(u64, Option<u64>), Failure> {
        let created = self.create("import", body)?;
        let is_begun = matches!(created.state.as_str(), "receiving" | "building" | "verifying");
        Ok((created.version, is_begun.then_some(0)))
    }

    /// What serves now. The first question of a push: if nobody answers it soon, the address
    /// is wrong or the server is down, and there is nothing to go on with.
    fn current(&self) -> Result<Option<u64>, Failure> {
        match self.client.asking_at_most(FIRST_ANSWER, |client| api::dataset(client, self.dataset))
        {
            Ok(dataset) => Ok(dataset.current),
            Err(failure) if failure.code.as_deref() == Some("dataset_not_found") => Ok(None),
            // The push itself will say which right is lacking, if one is.
            Err(failure) if failure.code.as_deref() == Some("forbidden") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Makes the version, or finds the one that this key made before.
    fn create(&self, route: &str, body: &Map<String, Value>) -> Result<api::Version, Failure> {
        let path = format!("{}/{route}", dataset_path(self.dataset));
        let answer = self
            .client
            .post(&path, &Value::Object(body.clone()), &self.key)
            .map_err(|failure| failure.about(self.dataset, None))?;
        let created: api::Version = answer.json()?;
        if !self.resume {
            return Ok(created);
        }
        // The answer is the one of the first time; what has become of it since?
        self.client.get(&version_path(self.dataset, created.version))?.json()
    }

    fn commit(&self, version: u64, parts: &[Part]) -> Result<(), Failure> {
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        let body = json!({"activate": self.activate, "parts": names});
        let path = format!("{}/commit", version_path(self.dataset, version));
        let key = format!("{}-commit", self.key);
        self.client.post(&path, &body, &key).map(drop)
    }

    /// A failure while the version was receiving: says how to go on with it.
    fn left(&self, version: u64, failure: Failure) -> Failure {
        if is_over(&failure) {
            let hint = format!(
                "somebody else has ended or committed it, or no part of it came for too long: `tidetable \
                 versions {} {version}` tells, as long as it is kept. To push again: the same command",
                self.dataset
            );
            return failure.about(self.dataset, Some(version)).hint(hint);
        }
        let leftover = self.leftover(version);
        self.with(version, failure, leftover)
    }

    /// A failure of the commit: after some of them nobody knows whether it was done.
    fn left_at_commit(&self, version: u64, failure: Failure) -> Failure {
        // An answer without a code is that of a proxy.
        let is_unknown = failure.code.as_deref().is_none_or(|code| code == "outcome_unknown");
        if !is_unknown {
            return self.left(version, failure);
        }
        let perhaps = self.perhaps_committed(version);
        self.with(version, failure, perhaps)
    }

    fn with(&self, version: u64, mut failure: Failure, more: String) -> Failure {
        if failure.exit == Exit::Unreachable {
            failure.hint = None;
        }
        let failure = failure.about(self.dataset, Some(version));
        let hint = match &failure.hint {
            Some(hint) => format!("{hint}. {more}"),
            None => more,
        };
        failure.hint(hint)
    }

    fn perhaps_committed(&self, version: u64) -> String {
        format!(
            "all of it is sent; whether {0} {version} is committed is not known. If it is, the server builds              it, and activates it if that was asked for: `tidetable versions {0} {version}` tells. To go on: {1}",
            self.dataset, self.again
        )
    }

    fn leftover(&self, version: u64) -> String {
        format!(
            "{0} {version} is left receiving and is not served; the server drops it after a while. \
             To resume: {1}. To abort: tidetable delete {0} {version}",
            self.dataset, self.again
        )
    }
}

/// Whether the version is there no more, or not as one that parts can be sent to.
fn is_over(failure: &Failure) -> bool {
    let code = failure.code.as_deref();
    matches!(code, Some("version_deleted" | "version_not_found" | "wrong_state"))
}

impl PushArgs {
    fn given(&self) -> Given<'_> {
        let from = self.from.as_deref();
        Given { sources: &self.sources, how: &self.how, from, rows: &self.rows }
    }

    fn version_fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, text: &Option<String>| {
            if let Some(text) = text {
                fields.insert(name.to_owned(), json!(text));
            }
        };
        put("label", &self.label);
        put("as_of", &self.as_of);
        if self.no_activate {
            fields.insert("activate".to_owned(), json!(false));
        }
        fields
    }
}

fn dry_run(args: &PushArgs, out: &Output) -> Result<(), Failure> {
    if snapshot::files(&args.sources, &args.rows)?.is_some() {
        return Err(Failure::usage("--dry-run shows rows, and a snapshot has none to show"));
    }
    let shown = rows::preview(&args.rows, (&args.sources, &args.how), args.show.into())?;
    for (key, value) in &shown.records {
        let (key, value) = (text(key), text(value));
        // A value is compact JSON, and goes out as it would be stored.
        out.either(format!("{{\"key\":{},\"value\":{value}}}", json!(key)), || {
            format!("{}\t{}", printable(&key), printable(&value))
        })?;
    }
    let rows = if shown.complete { "all rows" } else { "the first rows" };
    notes::say(format_args!("dry run: {rows} as they would be served; nothing was pushed"));
    Ok(())
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// One that is empty names nothing, and comes of a variable that is not set.
fn parse_label(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("it is empty: a label names the version".into())
    } else {
        Ok(text.into())
    }
}

pub(super) fn parse_time(text: &str) -> Result<String, String> {
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected a time with its zone, like 2026-11-23T00:00:00Z".to_owned()),
    }
}

pub(super) fn parse_key(text: &str) -> Result<String, String> {
    let fits = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 200 visible ASCII characters".into())
    }
}

/// A time as settings have it, from a second to a year.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let given = text.parse::<Span>().ok().map(|span| span.0);
    given.filter(|time| (Duration::from_secs(1)..=MAX_TIMEOUT).contains(time)).ok_or_else(|| {
        "expected a time from 1s on, like 90s, 30m, 2h or 1d, and no more than 365d".to_owned()
    })
}

/// Beyond any push, and far from where an `Instant` would overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests;
