//! The audit: what was changed, refused and denied, newest first, as lines of JSON.
//!
//! Changes come from the journal, the others from the log; each has its own order and its own
//! chain. Here they are one list by their times; a cursor says how far each of them was read, so
//! pages follow on whatever happens meanwhile and whatever a clock does.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tidetable_storage::{
    AuditHead, Change, ChangeFilter, DatasetName, Digest, Millis, Version, line_of, newest_changes,
    newest_log_lines,
};

use super::blocking::blocking;
use super::extract::Query;
use super::page;
use crate::keys::BASE64URL;
use crate::problem::{Answer, Fault, Problem};
use crate::state::{App, AppState};
use crate::time::rfc3339;

/// Where both chains stand, so that it can be noted elsewhere.
const HEAD: HeaderName = HeaderName::from_static("tidetable-audit-head");
/// Where the next page begins.
const NEXT: HeaderName = HeaderName::from_static("tidetable-next-cursor");
/// A line of the log that is so much older than `since` ends the search: a clock that was set
/// back hides nothing.
const DAY: Millis = 86_400_000;

/// `?since&until&dataset&actor&kind&limit&cursor`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditQuery {
    since: Option<String>,
    until: Option<String>,
    dataset: Option<String>,
    actor: Option<String>,
    kind: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /v1/audit`.
pub(crate) async fn audit(
    State(app): State<AppState>,
    Query(query): Query<AuditQuery>,
) -> Answer<Response> {
    let parsed = ParsedQuery::of(query)?;
    let alone = app.audit.reading().await;
    let page = {
        let app = Arc::clone(&app);
        blocking(move || {
            // As long as the work, and not only as long as somebody waits for it.
            let _alone = alone;
            parsed.page(&app)
        })
        .await?
    };
    Ok(page.answer())
}

/// What the query asks for, checked.
struct ParsedQuery {
    filter: ChangeFilter,
    kind: Option<String>,
    limit: usize,
    /// The change and the line before which the page begins.
    before: Option<(u64, u64)>,
}

const KINDS: [&str; 4] = ["change", "refusal", "denial", "note"];

impl ParsedQuery {
    fn of(query: AuditQuery) -> Answer<Self> {
        if let Some(kind) = query.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
            let text = format!("the parameter kind is {kind:?}; it can be {}", KINDS.join(", "));
            return Err(Problem::new(Fault::InvalidParameter, text));
        }
        let filter = ChangeFilter {
            dataset: query.dataset.as_deref().map(DatasetName::parse).transpose()?,
            actor: query.actor,
            since: query.since.as_deref().map(|text| instant("since", text)).transpose()?,
            until: query.until.as_deref().map(|text| instant("until", text)).transpose()?,
        };
        let before = query.cursor.as_deref().map(place).transpose()?;
        Ok(Self { filter, kind: query.kind, limit: page::limit(query.limit)?, before })
    }

    fn page(&self, app: &App) -> Answer<Page> {
        // Changes first: the log notes none that is not among them.
        let log = app.audit.head().unwrap_or_else(|| (0, Digest::from_bytes([0; 32])));
        let head = AuditHead { changes: app.store.changes_head(), log };
        let before = self.before.unwrap_or((head.changes.0 + 1, head.log.0 + 1));
        let (changes, lines) = (self.changes(app, before.0)?, self.lines(app, before.1)?);
        Ok(Page::of(changes, lines, self.limit, before, head))
    }

    /// One more than a page holds tells whether there is a next one.
    fn changes(&self, app: &App, before: u64) -> Answer<Vec<Change>> {
        if self.kind.as_deref().is_some_and(|kind| kind != "change") {
            return Ok(Vec::new());
        }
        let most = self.limit + 1;
        Ok(newest_changes(app.store.layout(), before, &self.filter, most)?)
    }

    fn lines(&self, app: &App, before: u64) -> Answer<Vec<Logged>> {
        let mut found: Vec<Logged> = Vec::new();
        if self.kind.as_deref() == Some("change") {
            return Ok(found);
        }
        newest_log_lines(app.store.layout(), before, |seq, text| {
            let Ok(says) = serde_json::from_str::<Says>(text) else { return true };
            let at = millis(&says.at).unwrap_or_default();
            if self.takes(&says, at) {
                found.push(Logged { seq, at, text: text.to_owned() });
            }
            let is_older = self.filter.since.is_some_and(|since| at < since.saturating_sub(DAY));
            found.len() <= self.limit && !is_older
        })?;
        Ok(found)
    }

    fn takes(&self, says: &Says, at: Millis) -> bool {
        let is = |wanted: Option<&str>, is: &str| wanted.is_none_or(|wanted| wanted == is);
        let dataset = self.filter.dataset.as_ref().map(DatasetName::as_str);
        self.filter.takes_time(at)
            && is(self.kind.as_deref(), &says.kind)
            && is(self.filter.actor.as_deref(), &says.actor)
            && is(dataset, &says.dataset)
    }
}

/// A line of the log as far as it is chosen by.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Says {
    at: String,
    kind: String,
    actor: String,
    dataset: String,
}

struct Logged {
    seq: u64,
    at: Millis,
    text: String,
}

struct Page {
    lines: Vec<String>,
    next: Option<(u64, u64)>,
    head: AuditHead,
}

impl Page {
    /// The newest of both; each is in its own order already.
    fn of(
        changes: Vec<Change>,
        logged: Vec<Logged>,
        limit: usize,
        mut before: (u64, u64),
        head: AuditHead,
    ) -> Self {
        let (mut changes, mut logged) =
            (changes.into_iter().peekable(), logged.into_iter().peekable());
        let mut lines = Vec::new();
        while lines.len() < limit {
            let log_is_newer = match (changes.peek(), logged.peek()) {
                (None, None) => break,
                (change, line) => line.map(|l| l.at) > change.map(|c| c.at),
            };
            if log_is_newer {
                let Some(line) = logged.next() else { break };
                before.1 = line.seq;
                lines.push(line.text);
            } else {
                let Some(change) = changes.next() else { break };
                before.0 = change.seq;
                lines.push(line_of(&ChangeLine::of(&change)));
            }
        }
        let more = changes.peek().is_some() || logged.peek().is_some();
        Self { lines, next: more.then_some(before), head }
    }

    fn answer(mut self) -> Response {
        self.lines.push(String::new());
        let mut response = self.lines.join("\n").into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut set = |name, text: String| {
            let value = HeaderValue::from_str(&text).expect("digits and letters alone");
            headers.insert(name, value);
        };
        set(HEAD, self.head.to_string());
        if let Some((change, line)) = self.next {
            set(NEXT, BASE64URL.encode(format!("{change}.{line}")));
        }
        response
    }
}

/// A change as a line.
#[derive(Serialize)]
struct ChangeLine<'a> {
    seq: u64,
    at: String,
    kind: &'static str,
    actor: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<&'a DatasetName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Version>,
    /// Of several datasets at one instant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    activations: Vec<Swap<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Digest>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    refused_by: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    settings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    outcome: &'a str,
    chain: Digest,
}

#[derive(Serialize)]
struct Swap<'a> {
    dataset: &'a DatasetName,
    from: Option<Version>,
    to: Version,
}

impl<'a> ChangeLine<'a> {
    fn of(change: &'a Change) -> Self {
        let swap = |moved: &'a tidetable_storage::Moves| Swap {
            dataset: &moved.dataset,
            from: moved.from,
            to: moved.to,
        };
        let (one, several) = match &change.moves[..] {
            [one] => (Some(one), Vec::new()),
            several => (None, several.iter().map(swap).collect()),
        };
        Self {
            seq: change.seq,
            at: rfc3339(change.at),
            kind: "change",
            actor: &change.actor,
            request_id: &change.request_id,
            action: change.action,
            dataset: change.datasets.first().filter(|_| change.datasets.len() == 1),
            version: change.version,
            from: one.and_then(|moved| moved.from),
            to: one.map(|moved| moved.to),
            activations: several,
            forced: change.forced,
            label: change.label.as_deref(),
            records: change.published.map(|(records, ..)| records),
            bytes: change.published.map(|(_, bytes, _)| bytes),
            manifest: change.published.map(|(.., manifest)| manifest),
            refused_by: &change.refused_by,
            settings: &change.settings,
            reason: change.reason.as_deref(),
            outcome: &change.outcome,
            chain: change.chain,
        }
    }
}

fn instant(name: &str, text: &str) -> Answer<Millis> {
    millis(text).ok_or_else(|| {
        let text = format!(
            "the parameter {name} is {text:?}: expected a time such as 2026-01-31T00:00:00Z (a '+' is %2B)"
        );
        Problem::new(Fault::InvalidParameter, text)
    })
}

/// A time of RFC 3339; one before 1970 is as good as 1970.
fn millis(text: &str) -> Option<Millis> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
    Some(Millis::try_from(at).unwrap_or_default())
}

fn place(cursor: &str) -> Answer<(u64, u64)> {
    let text = BASE64URL.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let place = text.as_deref().and_then(|text| {
        let (change, line) = text.split_once('.')?;
        Some((change.parse().ok()?, line.parse().ok()?))
    });
    place.ok_or_else(|| {
        Problem::new(Fault::InvalidCursor, "this cursor is none of this list: begin without one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(query: AuditQuery) -> Result<(), &'static str> {
        ParsedQuery::of(query).map(drop).map_err(|problem| problem.code())
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let some = |text: &str| Some(text.to_owned());
        refusal(AuditQuery { since: some("2026-01-31T00:00:00+01:00"), ..AuditQuery::default() })
            .unwrap();
        for (query, code) in [
            (AuditQuery { since: some("24h"), ..Default::default() }, "invalid_parameter"),
            (AuditQuery { until: some(""), ..Default::default() }, "invalid_parameter"),
            (AuditQuery { kind: some("reads"), ..Default::default() }, "invalid_parameter"),
            (AuditQuery { limit: Some(0), ..Default::default() }, "invalid_parameter"),
            (AuditQuery { cursor: some("x"), ..Default::default() }, "invalid_cursor"),
            (AuditQuery { dataset: some("../x"), ..Default::default() }, "invalid_name"),
        ] {
            assert_eq!(refusal(query), Err(code));
        }
    }
}
