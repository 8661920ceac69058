//! How a command ends: its exit code, and what it says when it fails.
//!
//! Scripts switch on the exit code, people read the message: `error:` says what was
//! being done and what went wrong, `hint:` what to do now. Codes are part of the
//! contract; a new reason to fail goes under one of them.

use std::fmt::Write as _;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tidetable_storage as storage;

/// How a command ends, as the exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked is done.
    Done = 0,
    /// It failed, and asking again may fail again.
    Failed = 1,
    /// The command line, or a setting in it, is wrong.
    Usage = 2,
    /// A gate refused the version, or the input cannot be used.
    Refused = 3,
    /// The dataset, version, key or file is not there.
    NotFound = 4,
    /// The state does not allow it now; nothing was changed.
    Conflict = 5,
    /// No server answered.
    Unreachable = 6,
    /// Ctrl-C or SIGTERM, by the convention of shells.
    Interrupted = 130,
}

impl Exit {
    /// Every exit code with what it means, as the help and the manual list them.
    pub(crate) const ALL: &'static [(Self, &'static str)] = &[
        (Self::Done, "done; also a push to a held dataset, which says so"),
        (Self::Failed, "failed"),
        (Self::Usage, "usage: an option or argument is wrong"),
        (Self::Refused, "refused by a gate, or the input cannot be used"),
        (Self::NotFound, "not found: dataset, version, key or file"),
        (Self::Conflict, "conflict: the state does not allow it; nothing was changed"),
        (Self::Unreachable, "server unreachable"),
        (Self::Interrupted, "interrupted by Ctrl-C or SIGTERM"),
    ];

    /// The number the process ends with.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What an HTTP answer that is no success means, by the `code` of the problem and the status.
    /// Without a code no Tidetable server has answered, so that a 404, say, is about no dataset,
    /// version or key; but a proxy may say that there is no server behind it.
    pub(crate) fn of_answer(status: u16, code: Option<&str>) -> Self {
        match code {
            None if matches!(status, 502..=504) => return Self::Unreachable,
            // What was asked for is unknown to the server: it is another one, or an older one.
            None | Some("route_not_found" | "method_not_allowed") => return Self::Failed,
            Some("idempotency_key_reused") => return Self::Conflict,
            Some("answer_too_large") => return Self::Usage,
            Some(_) => {}
        }
        match status {
            400 | 414 | 431 => Self::Usage,
            404 | 410 => Self::NotFound,
            409 | 412 => Self::Conflict,
            413 | 415 | 422 => Self::Refused,
            _ => Self::Failed,
        }
    }

    /// What the `code` of a version that failed means for whoever pushed it: rows that
    /// cannot be used are refused, everything else has failed.
    pub(crate) fn of_push(code: Option<&str>) -> Self {
        // The server's own code, for an import that would fetch more than it takes.
        if code == Some("payload_too_large") {
            return Self::Refused;
        }
        let known = storage::Code::ALL.iter().find(|known| Some(known.as_str()) == code);
        match known.map(|known| known.kind()) {
            Some(storage::Kind::Refused | storage::Kind::Invalid) => Self::Refused,
            Some(storage::Kind::NotFound) => Self::NotFound,
            _ => Self::Failed,
        }
    }

    fn of_kind(kind: storage::Kind) -> Self {
        match kind {
            storage::Kind::NotFound | storage::Kind::Gone => Self::NotFound,
            storage::Kind::Invalid => Self::Usage,
            storage::Kind::Refused => Self::Refused,
            storage::Kind::Conflict => Self::Conflict,
            _ => Self::Failed,
        }
    }
}

/// Why a command did not do what was asked. Boxed, since every result carries room for it.
#[derive(Debug)]
pub(crate) struct Failure(Box<FailureFields>);

/// What a [`Failure`] tells.
#[derive(Debug)]
pub(crate) struct FailureFields {
    pub(crate) exit: Exit,
    /// What was being done and what went wrong: one sentence or two.
    pub(crate) message: String,
    /// What to do now.
    pub(crate) hint: Option<String>,
    /// The stable, snake-case name of the error, if it has one.
    pub(crate) code: Option<String>,
    /// Which of several datasets is at fault, if the server says so.
    pub(crate) dataset: Option<String>,
    /// The version that it is about.
    pub(crate) version: Option<u64>,
    /// By which the server's log can be searched.
    pub(crate) request_id: Option<String>,
    /// Rows or keys at fault, one per line.
    pub(crate) problems: Vec<String>,
    /// Whether the same request may succeed later.
    pub(crate) retry: Retry,
    /// Nothing is printed: whoever read our output has gone.
    silent: bool,
}

/// Whether, and when, a request is worth repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    Soon,
    /// The server said when (`Retry-After`).
    After(Duration),
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self(Box::new(FailureFields {
            exit,
            message: message.into(),
            hint: None,
            code: None,
            dataset: None,
            version: None,
            request_id: None,
            problems: Vec::new(),
            retry: Retry::Never,
            silent: false,
        }))
    }

    /// A wrong option or argument that the parser of the command line cannot know of.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure with a code of the storage library.
    pub(crate) fn of_code(code: storage::Code, message: String) -> Self {
        let mut failure = Self::new(Exit::of_kind(code.kind()), message);
        failure.code = Some(code.as_str().to_owned());
        failure
    }

    /// The operating system failed while `doing` (a verb) `what`.
    pub(crate) fn io(doing: &str, what: impl std::fmt::Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("cannot {doing} {what}: {error}"))
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Fills in the hint that belongs to the code, with names a person can copy.
    #[must_use]
    pub(crate) fn about(mut self, dataset: &str, version: Option<u64>) -> Self {
        self.dataset.get_or_insert_with(|| dataset.to_owned());
        self.version = self.version.or(version);
        if self.hint.is_none() {
            let of_option = self.code.as_deref().and_then(|code| option_hint(code, &self.message));
            let of_code = || hint_for(self.code.as_deref()?, dataset, version);
            self.hint = of_option.or_else(of_code);
        }
        self
    }

    /// What a person reads on standard error; empty if there is nobody to read it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if self.silent {
            return text;
        }
        let mut line = |label: &str, what: &str| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{label}{what}");
        };
        line("error: ", &self.message);
        // The only problem may be all that the message says.
        let is_said = |problem: &String| self.message.ends_with(problem.as_str());
        let problems: &[String] = match &self.problems[..] {
            [one] if is_said(one) => &[],
            all => all,
        };
        problems.iter().for_each(|problem| line("  ", problem));
        if let Some(hint) = &self.hint {
            line("hint: ", hint);
        }
        if let Some(id) = &self.request_id {
            line("request: ", id);
        }
        text
    }

    /// What a program reads on standard error with `--json`.
    pub(crate) fn json(&self) -> String {
        if self.silent {
            return String::new();
        }
        let error = json!({"error": {
            "exit": self.exit.code(),
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "dataset": self.dataset,
            "version": self.version,
            "problems": self.problems,
            "request_id": self.request_id,
        }});
        format!("{error}\n")
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        Self::of_code(error.code(), error.to_string())
    }
}

impl Deref for Failure {
    type Target = FailureFields;
    fn deref(&self) -> &FailureFields {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut FailureFields {
        &mut self.0
    }
}

/// Standard output failed. A reader that has gone (`| head`) is no failure of ours: the
/// command stops without a word.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        let exit = if gone { Exit::Done } else { Exit::Failed };
        let mut failure = Self::new(exit, format!("cannot write the output: {error}"));
        failure.silent = gone;
        failure
    }
}

/// The body of an error answer (RFC 9457), as far as the command line shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    pub(crate) title: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) retryable: Option<bool>,
    pub(crate) dataset: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) problems: Vec<String>,
    pub(crate) version: Option<u64>,
}

impl Problem {
    /// The failure this problem means to a command.
    pub(crate) fn into_failure(self, status: u16, retry_after: Option<Duration>) -> Failure {
        let exit = Exit::of_answer(status, self.code.as_deref());
        let message = self
            .detail
            .or(self.title)
            .unwrap_or_else(|| format!("the server answered {status} and did not say why"));
        let mut failure = Failure::new(exit, message);
        // A server says whether it helps to ask again; a proxy before it does not.
        let busy = matches!(status, 429 | 502 | 503 | 504);
        // A full disk does not empty itself in half a minute, and a retry would send all of it
        // again to find that out.
        let full = status == 507;
        if self.retryable.unwrap_or(busy) && !full {
            failure.retry = retry_after.map_or(Retry::Soon, Retry::After);
        }
        failure.code = self.code;
        failure.dataset = self.dataset;
        failure.version = self.version;
        failure.request_id = self.request_id;
        failure.problems = self.problems;
        if status == 401 {
            failure.hint = Some(
                "give the token with --token or TIDETABLE_TOKEN; `tidetable token` makes them"
                    .to_owned(),
            );
        }
        if matches!(failure.code.as_deref(), Some("route_not_found" | "method_not_allowed")) {
            failure.hint = Some(
                "is the server as new as this tidetable? `tidetable --version` tells ours; its \
                 address has a path only if a proxy needs one"
                    .to_owned(),
            );
        }
        if status == 403 && failure.code.as_deref() == Some("forbidden") {
            failure.hint = Some(
                "`tidetable token list`, with an admin's token, shows who may do what".to_owned(),
            );
        }
        failure
    }
}

/// What to do about rows that lack what an option names: it may be the option that is wrong.
/// Refusals of rows that are about an option say so in these words (`src/ingest`).
fn option_hint(code: &str, message: &str) -> Option<String> {
    if !matches!(code, "bad_rows" | "invalid_setting") {
        return None;
    }
    let begins = "nothing was activated:";
    if let Some((_, rest)) = message.split_once(", which --")
        && let Some((option, _)) = rest.split_once(" names")
        && option.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    {
        return Some(format!("{begins} correct --{option}, or the rows, and push again"));
    }
    let is_of_key = message.contains("it lacks the field ") && message.contains(" of --key");
    is_of_key.then(|| format!("{begins} correct the rows, or --key, and push again"))
}

fn hint_for(code: &str, dataset: &str, version: Option<u64>) -> Option<String> {
    let v = version.map_or_else(|| "VERSION".to_owned(), |v| v.to_string());
    let hint = match code {
        "dataset_not_found" => "`tidetable datasets` lists what the server has".to_owned(),
        "version_not_found"
        | "version_deleted"
        | "wrong_state"
        | "version_in_use"
        | "nothing_to_roll_back_to" => {
            format!("`tidetable versions {dataset}` lists the versions and their states")
        }
        "no_current_version" => format!(
            "nothing of it was activated yet: `tidetable versions {dataset}` lists what could be"
        ),
        "needs_force" => format!(
            "to serve it all the same: `tidetable activate {dataset} {v} --force --reason '…'`"
        ),
        "gate_refused" => format!(
            "what was served before still is. If the data is right after all: \
             `tidetable activate {dataset} {v} --force --reason '…'`"
        ),
        "duplicate_keys" => "--collect gathers the rows of a key into an array; \
             --on-duplicate first|last keeps one of them"
            .to_owned(),
        "bad_rows" => "nothing was activated: correct the rows and push again; \
             --dry-run shows the first rows as they would be served"
            .to_owned(),
        "no_rows" => "nothing was activated: an empty version is never served".to_owned(),
        "current_changed" => format!(
            "somebody else was quicker; nothing was changed. Look (`tidetable history {dataset}`), \
             then ask again if it is still needed"
        ),
        "in_progress" => "the first request with this idempotency key still runs".to_owned(),
        "idempotency_key_reused" => {
            "a run with other data or options needs an --idempotency-key of its own".to_owned()
        }
        "no_canary" => {
            format!("`tidetable canary {dataset} VERSION --percent 10` starts one")
        }
        "canary_changed" => format!(
            "another version is the canary by now, or none; nothing was changed. Look (`tidetable canary \
             {dataset}`), then ask again if it is still needed"
        ),
        "not_held" => format!("`tidetable hold {dataset}` would hold it"),
        "disk_full" => format!(
            "reads and roll backs go on. Free space, e.g. `tidetable delete {dataset} VERSION`, \
             then push again"
        ),
        "data_corrupt" | "version_unusable" => format!(
            "if it is the current one: `tidetable rollback {dataset} --no-hold` serves the one before, or \
             with `--to VERSION` another, and its data is pushed again. `tidetable versions {dataset}` shows \
             which there are, `tidetable verify DIR` on the server names the file"
        ),
        "journal_corrupt" => "`tidetable repair DIR` shows what is damaged".to_owned(),
        _ => return None,
    };
    Some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        let cases: &[(u16, Option<&str>, Exit)] = &[
            (400, Some("unknown_parameter"), Exit::Usage),
            (401, None, Exit::Failed),
            (404, Some("key_not_found"), Exit::NotFound),
            (410, Some("version_deleted"), Exit::NotFound),
            (409, Some("current_changed"), Exit::Conflict),
            (409, Some("nothing_to_roll_back_to"), Exit::Conflict),
            (413, Some("value_too_large"), Exit::Refused),
            (413, Some("answer_too_large"), Exit::Usage),
            (422, Some("gate_refused"), Exit::Refused),
            (422, Some("bad_rows"), Exit::Refused),
            (422, Some("idempotency_key_reused"), Exit::Conflict),
            (500, Some("data_corrupt"), Exit::Failed),
            (503, Some("outcome_unknown"), Exit::Failed),
            (503, None, Exit::Unreachable),
            (502, None, Exit::Unreachable),
            (507, Some("disk_full"), Exit::Failed),
            (404, Some("route_not_found"), Exit::Failed),
            (405, Some("method_not_allowed"), Exit::Failed),
        ];
        for &(status, code, exit) in cases {
            assert_eq!(Exit::of_answer(status, code), exit, "{status} {code:?}");
        }
        for status in [302, 400, 403, 404, 405, 409, 410, 412, 413, 414, 415, 422, 431, 500] {
            assert_eq!(Exit::of_answer(status, None), Exit::Failed, "{status} of another server");
        }
    }

    #[test]
    fn a_failed_push_is_refused_only_for_what_its_rows_did() {
        for code in [
            "bad_rows",
            "no_rows",
            "duplicate_keys",
            "invalid_key",
            "gate_refused",
            "payload_too_large",
        ] {
            assert_eq!(Exit::of_push(Some(code)), Exit::Refused, "{code}");
        }
        for code in ["disk_full", "io_failed", "something_new"] {
            assert_eq!(Exit::of_push(Some(code)), Exit::Failed, "{code}");
        }
        assert_eq!(Exit::of_push(None), Exit::Failed);
    }

    #[test]
    fn a_failure_says_what_which_rows_what_now_and_where_to_search() {
        let problem = Problem {
            detail: Some("2 rows cannot be used".to_owned()),
            code: Some("bad_rows".to_owned()),
            request_id: Some("req-1".to_owned()),
            problems: vec!["rows.csv row 17: no learner_id".to_owned()],
            ..Problem::default()
        };
        let failure = problem.into_failure(422, None).about("recs", Some(7));
        assert_eq!(failure.exit, Exit::Refused);
        let text = failure.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "error: 2 rows cannot be used");
        assert_eq!(lines[1], "  rows.csv row 17: no learner_id");
        assert!(lines[2].starts_with("hint: nothing was activated"), "{text}");
        assert_eq!(lines[3], "request: req-1");
        assert!(failure.json().contains(r#""code":"bad_rows""#));
    }

    #[test]
    fn an_option_that_names_what_is_not_there_is_to_be_corrected_and_said_once() {
        let refused = |code: &str, detail: &str, problems: &[&str]| {
            let problem = Problem {
                detail: Some(detail.to_owned()),
                code: Some(code.to_owned()),
                problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
                ..Problem::default()
            };
            problem.into_failure(422, None).about("recs", Some(7)).text()
        };
        let detail = "a.csv has no column \"idd\", which --key names: its columns are \"id\"";
        let text = refused("bad_rows", detail, &[detail]);
        assert_eq!(text.matches(detail).count(), 1, "{text}");
        assert!(text.contains("correct --key, or the rows, and push again"), "{text}");
        let detail = "a.csv has no column \"x\", which --order-by names";
        assert!(refused("invalid_setting", detail, &[]).contains("correct --order-by,"));
        let detail = "1 of 1 row cannot be used; the first is a line 1: it lacks the field \"id\" \
                      of --key";
        assert!(refused("bad_rows", detail, &[]).contains("correct the rows, or --key,"));
        // Of several all are shown, the first too.
        let text = refused("bad_rows", "2 rows: a line 1: x", &["a line 1: x", "a line 2: x"]);
        assert!(text.contains("\n  a line 1: x\n  a line 2: x\n"), "{text}");
        assert!(text.contains("correct the rows and push again"), "{text}");
    }

    #[test]
    fn what_may_be_repeated_is_told_from_what_may_not() {
        let of = |status, code: Option<&str>| {
            let retryable = code.map(|_| false);
            let problem =
                Problem { code: code.map(str::to_owned), retryable, ..Problem::default() };
            problem.into_failure(status, None).retry
        };
        for status in [429, 502, 503, 504] {
            assert_eq!(of(status, None), Retry::Soon, "{status}");
        }
        for (status, code) in [
            (400, None),
            (404, None),
            (409, None),
            (422, None),
            (500, None),
            (503, Some("version_unusable")),
        ] {
            assert_eq!(of(status, code), Retry::Never, "{status} {code:?}");
        }
        for code in ["in_progress", "overloaded", "draining"] {
            let code = Some(code.to_owned());
            let said = Problem { code, retryable: Some(true), ..Problem::default() };
            assert_eq!(said.into_failure(503, None).retry, Retry::Soon);
        }
        let full = Problem { retryable: Some(true), ..Problem::default() };
        assert_eq!(full.into_failure(507, None).retry, Retry::Never);
        let told = Problem::default().into_failure(503, Some(Duration::from_secs(2)));
        assert_eq!(told.retry, Retry::After(Duration::from_secs(2)));
    }

    #[test]
    fn a_reader_that_has_gone_is_not_an_error() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit, failure.text()), (Exit::Done, String::new()));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit, Exit::Failed);
        assert!(!full.text().is_empty());
    }
}
