//! What there is to say of datasets, versions and their history, as text for people.

use chrono::{DateTime, Utc};

use super::figures::{
    age_of, bytes, counted, cut, dash, grouped, microseconds, printable, second_of, step,
};
use super::{Columns, Left, Right};
use crate::cli::api::{Canary, Dataset, Event, FailedPush, Hold, Version};

/// How much of why a push came to nothing stands in the table of datasets, in characters.
const MOST_REASON: usize = 100;

/// The table of `tidetable datasets`.
pub(crate) fn datasets_table(datasets: &[Dataset], now: DateTime<Utc>) -> String {
    if datasets.is_empty() {
        return "no datasets yet: `tidetable push DATASET FILE --key FIELD` makes one".to_owned();
    }
    let mut table = Columns::new(&[
        ("DATASET", Left),
        ("STATE", Left),
        ("CURRENT", Right),
        ("RECORDS", Right),
        ("SIZE", Right),
        ("VERSIONS", Right),
        ("ACTIVATED", Left),
        ("AS OF", Left),
        ("NOTE", Left),
    ]);
    for d in datasets {
        // A server before this one does not say it.
        let state = if d.state.is_empty() { dash() } else { d.state.replace('_', " ") };
        table.row(&[
            d.dataset.clone(),
            state,
            d.current.map_or_else(dash, |v| v.to_string()),
            d.records.map_or_else(dash, grouped),
            d.bytes.map_or_else(dash, bytes),
            d.versions.to_string(),
            age_of(d.activated_at.as_deref(), now),
            d.as_of.clone().unwrap_or_else(dash),
            dataset_note(d, now),
        ]);
    }
    table.text()
}

/// What is to be said of a dataset besides.
fn dataset_note(d: &Dataset, now: DateTime<Utc>) -> String {
    let held = d.held.then(|| held_text(d.hold.as_ref()));
    let waiting = d.waiting.map(|v| format!("version {v} waits for a release"));
    let failed = d.failed_push.as_ref().map(failed_text);
    let stale = d.stale.then(|| match d.last_push_at.as_deref() {
        None => "a push is overdue: there was none yet".to_owned(),
        Some(at) => format!("a push is overdue: the last was {}", age_of(Some(at), now)),
    });
    let fell = d.watch.as_ref().filter(|watch| watch.verdict == "fell");
    // What a rollback by the watch has seen is the reason of the hold.
    let fell = fell.filter(|_| !d.held).map(|watch| format!("watch: {}", watch.detail));
    let canary = d.canary.as_ref();
    let canary = canary.map(|canary| format!("canary {}, {} %", canary.version, canary.percent));
    let unusable = (d.state == "damaged" && d.damaged.is_empty())
        .then(|| "the current version cannot be opened: `tidetable verify` says why".to_owned());
    let notes = [damaged_text(&d.damaged), unusable, held, waiting, stale, failed, fell, canary];
    notes.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// `held by ops: exam week`, as far as that is known.
fn held_text(hold: Option<&Hold>) -> String {
    let mut text = "held".to_owned();
    let Some(hold) = hold else { return text };
    // A server before this one may not say it.
    if !hold.actor.is_empty() {
        text.push_str(&format!(" by {}", hold.actor));
    }
    if let Some(reason) = hold.reason.as_deref().filter(|reason| !reason.is_empty()) {
        text.push_str(&format!(": {reason}"));
    }
    text
}

fn failed_text(push: &FailedPush) -> String {
    let was = if push.state == "rejected" { "was rejected" } else { "failed" };
    let reason = push.reason.as_deref().map(|reason| format!(": {}", cut(reason, MOST_REASON)));
    format!("the newest push, {}, {was}{}", push.version, reason.unwrap_or_default())
}

fn damaged_text(versions: &[u64]) -> Option<String> {
    let numbers = versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    match versions.len() {
        0 => None,
        1 => Some(format!("files of version {numbers} are damaged")),
        _ => Some(format!("files of versions {numbers} are damaged")),
    }
}

/// The table of `tidetable versions DATASET`; `*` marks the current version.
pub(crate) fn versions_table(versions: &[Version], now: DateTime<Utc>) -> String {
    if versions.is_empty() {
        return "no versions yet".to_owned();
    }
    let mut table = Columns::new(&[
        ("VERSION", Right),
        ("STATE", Left),
        ("RECORDS", Right),
        ("SIZE", Right),
        ("CREATED", Left),
        ("ACTIVATED", Left),
        ("LABEL", Left),
        ("NOTE", Left),
    ]);
    for v in versions {
        let mark = if v.current { "*" } else { "" };
        table.row(&[
            format!("{mark}{}", v.version),
            v.state.clone(),
            v.records.map_or_else(dash, grouped),
            v.bytes.map_or_else(dash, bytes),
            age_of(v.created_at.as_deref(), now),
            age_of(v.activated_at.as_deref(), now),
            v.label.clone().unwrap_or_else(dash),
            version_note(v),
        ]);
    }
    table.text()
}

/// That it is damaged comes before why it is what it is: nobody would look for it.
fn version_note(v: &Version) -> String {
    let damaged = v.damaged.as_ref().map(|_| "its files are damaged".to_owned());
    let reason = v.reason.as_deref().map(|reason| cut(reason, MOST_REASON));
    damaged.into_iter().chain(reason).collect::<Vec<_>>().join("; ")
}

/// The table of `tidetable history DATASET`.
pub(crate) fn history_table(events: &[Event]) -> String {
    if events.is_empty() {
        return "nothing happened yet".to_owned();
    }
    let mut table = Columns::new(&[
        ("SEQ", Right),
        ("AT", Left),
        ("EVENT", Left),
        ("VERSION", Left),
        ("BY", Left),
        ("REASON", Left),
    ]);
    for e in events {
        let version = match (e.from, e.to, e.version) {
            (from, Some(to), _) => step(from, to),
            (_, None, Some(version)) => version.to_string(),
            (_, None, None) => dash(),
        };
        table.row(&[
            e.seq.to_string(),
            second_of(&e.at),
            format!("{}{}", e.event.replace('_', " "), if e.forced { ", forced" } else { "" }),
            version,
            e.actor.clone().unwrap_or_else(dash),
            e.reason.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

/// The table of `tidetable canary DATASET`: what is current, and the canary below it.
pub(crate) fn canary_table(current: Option<u64>, canary: &Canary) -> String {
    let mut table = Columns::new(&[
        ("ARM", Left),
        ("VERSION", Right),
        ("LOOKUPS", Right),
        ("HIT RATE", Right),
        ("P50", Right),
        ("P99", Right),
        ("ERRORS", Right),
    ]);
    let arms = &canary.arms;
    for (name, version, counts) in
        [("current", current, &arms.current), ("canary", Some(canary.version), &arms.canary)]
    {
        let looked_up = counts.hits + counts.misses;
        #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
        let hit_rate = 100.0 * counts.hits as f64 / looked_up as f64;
        table.row(&[
            name.to_owned(),
            version.map_or_else(dash, |v| v.to_string()),
            grouped(counts.lookups),
            if looked_up == 0 { dash() } else { format!("{hit_rate:.2} %") },
            counts.p50_us.map_or_else(dash, microseconds),
            counts.p99_us.map_or_else(dash, microseconds),
            grouped(counts.errors),
        ]);
    }
    table.text()
}

/// Everything a person may ask about one version.
pub(crate) fn version_text(v: &Version, now: DateTime<Utc>) -> String {
    let mut lines = vec![
        ("version", format!("{}{}", v.version, if v.current { " (current)" } else { "" })),
        ("state", v.state.clone()),
        ("label", v.label.clone().unwrap_or_else(dash)),
        ("as of", v.as_of.clone().unwrap_or_else(dash)),
        ("records", v.records.map_or_else(dash, grouped)),
        ("size", v.bytes.map_or_else(dash, bytes)),
    ];
    let times =
        [("created", &v.created_at), ("ready", &v.ready_at), ("activated", &v.activated_at)];
    for (name, at) in times {
        if let Some(at) = at {
            lines.push((name, format!("{} ({})", second_of(at), age_of(Some(at), now))));
        }
    }
    lines.push(("content", v.content_digest.clone().unwrap_or_else(dash)));
    if v.duplicates_dropped > 0 {
        let rows = counted(v.duplicates_dropped, "row");
        lines.push(("dropped", format!("{rows} with a key twice")));
    }
    for gate in &v.gates {
        let verdict = if gate.passed { "passed" } else { "refused" };
        lines.push(("gate", format!("{} {verdict}: {}", gate.gate, gate.detail)));
    }
    if let Some(damaged) = &v.damaged {
        lines.push(("damaged", format!("{}: {}", damaged.file, damaged.detail)));
    }
    let reasons = [("reason", &v.reason), ("detail", &v.detail)];
    lines.extend(reasons.iter().filter_map(|(name, text)| Some((*name, (*text).clone()?))));
    lines.extend(v.problems.iter().map(|problem| ("problem", problem.clone())));
    let lines = lines.iter().map(|(name, text)| format!("{name:<10}{}", printable(text)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_of_versions_marks_the_current_one_and_stays_aligned() {
        let version = |version, state: &str, current| Version {
            version,
            state: state.to_owned(),
            current,
            records: Some(200_000),
            bytes: Some(86_000_000),
            created_at: Some("2026-11-23T11:57:00Z".to_owned()),
            ..Version::default()
        };
        let mut bad = version(9, "bad", false);
        bad.reason = Some("half\nof it is \u{1b}[31mempty".to_owned());
        bad.label = Some("run-9".to_owned());
        let text = versions_table(&[bad, version(10, "active", true)], at("2026-11-23T12:00:00Z"));
        let expected = "\
VERSION  STATE   RECORDS   SIZE  CREATED    ACTIVATED  LABEL  NOTE
      9  bad     200,000  86 MB  3 min ago  -          run-9  half\\nof it is \\u{1b}[31mempty
    *10  active  200,000  86 MB  3 min ago  -          -";
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn the_table_of_datasets_says_what_needs_a_look_and_why() {
        use crate::cli::api::Watch;
        let held = Dataset {
            dataset: "course-recs".to_owned(),
            current: Some(41),
            state: "rolled_back".to_owned(),
            held: true,
            hold: Some(Hold { reason: Some("bad run".to_owned()), actor: "ops".to_owned() }),
            versions: 3,
            ..Dataset::default()
        };
        let fresh = Dataset { dataset: "a".to_owned(), ..Dataset::default() };
        let fell = Watch { verdict: "fell".to_owned(), detail: "5 of 9 failed".to_owned() };
        let stale = Dataset {
            dataset: "b".to_owned(),
            state: "stale".to_owned(),
            stale: true,
            last_push_at: Some("2026-11-23T09:00:00Z".to_owned()),
            watch: Some(fell),
            ..Dataset::default()
        };
        let text = datasets_table(&[held, fresh, stale], at("2026-11-23T12:00:00Z"));
        let expected = "\
DATASET      STATE        CURRENT  RECORDS  SIZE  VERSIONS  ACTIVATED  AS OF  NOTE
course-recs  rolled back       41        -     -         3  -          -      held by ops: bad run
a            -                  -        -     -         0  -          -
b            stale              -        -     -         0  -          -      a push is overdue: the last was 3 h ago; watch: 5 of 9 failed";
        assert_eq!(text, expected, "\n{text}");
        assert!(datasets_table(&[], at("2026-11-23T12:00:00Z")).contains("tidetable push"));
    }

    #[test]
    fn the_note_says_what_an_operator_would_otherwise_have_to_look_for() {
        let note = |dataset: &Dataset| dataset_note(dataset, at("2026-11-23T12:00:00Z"));
        let why = "refused by min_records: 3 records; the fewest allowed are 10";
        let push = |state: &str, reason: Option<String>| {
            Some(FailedPush { version: 45, state: state.to_owned(), reason })
        };
        let failed_push = push("failed", None);
        let failed = Dataset { failed_push, ..Dataset::default() };
        assert_eq!(note(&failed), "the newest push, 45, failed");
        let failed_push = push("failed", Some("x".repeat(1000)));
        assert!(note(&Dataset { failed_push, ..Dataset::default() }).chars().count() < 200);
        let dataset = Dataset {
            held: true,
            waiting: Some(44),
            damaged: vec![41],
            failed_push: push("rejected", Some(why.to_owned())),
            ..Dataset::default()
        };
        assert_eq!(
            note(&dataset),
            format!(
                "files of version 41 are damaged; held; version 44 waits for a release; \
                 the newest push, 45, was rejected: {why}"
            )
        );
        let dataset = Dataset { damaged: vec![3, 4], ..Dataset::default() };
        assert_eq!(note(&dataset), "files of versions 3, 4 are damaged");
    }

    #[test]
    fn the_history_shows_steps() {
        let event = |seq, event: &str, from, to, version| Event {
            seq,
            at: "2026-11-23T11:57:00.123Z".to_owned(),
            event: event.to_owned(),
            from,
            to,
            version,
            actor: Some("ops".to_owned()),
            ..Event::default()
        };
        let text = history_table(&[
            event(12, "rolled_back", Some(42), Some(41), None),
            event(2, "activated", None, Some(1), Some(1)),
            event(1, "admitted", None, None, Some(1)),
        ]);
        let expected = "\
SEQ  AT                    EVENT        VERSION   BY   REASON
 12  2026-11-23 11:57:00Z  rolled back  42 → 41   ops
  2  2026-11-23 11:57:00Z  activated    none → 1  ops
  1  2026-11-23 11:57:00Z  admitted     1         ops";
        assert_eq!(text, expected, "\n{text}");
    }
}
