//! What a command prints: tables for people, the API's JSON for programs.
//!
//! Results go to standard output, everything else (progress, warnings, errors) to
//! standard error, so that a pipe carries results only. The functions that make text are
//! pure: they take the time and give a `String`.

use std::io::{self, IsTerminal, Write};

use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use tidetable_storage::is_unsafe;

use super::api::{Canary, Dataset, Event, Version};
use super::exit::Failure;

/// Standard output, for people or for programs.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    sink: Sink,
}

#[derive(Clone, Debug)]
enum Sink {
    Stdout,
    #[cfg(test)]
    Memory(std::sync::Arc<std::sync::Mutex<Vec<u8>>>),
}

impl Output {
    /// The output of this process.
    pub(crate) fn stdout(json: bool) -> Self {
        Self { json, sink: Sink::Stdout }
    }

    /// Writes `text` and a line end.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.write(&[text.as_ref().as_bytes(), b"\n"].concat())
    }

    /// Writes `json` with `--json`, else what `text` makes.
    pub(crate) fn either(
        &self,
        json: impl AsRef<str>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json { self.line(json.as_ref().trim_end()) } else { self.line(text()) }
    }

    /// Writes bytes as they are; a line end follows only on a terminal.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(bytes)?;
        if io::stdout().is_terminal() { self.write(b"\n") } else { Ok(()) }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        match &self.sink {
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()?;
            }
            #[cfg(test)]
            Sink::Memory(bytes_so_far) => bytes_so_far.lock().unwrap().extend_from_slice(bytes),
        }
        Ok(())
    }
}

#[cfg(test)]
impl Output {
    /// An output that a test can read.
    pub(crate) fn captured(json: bool) -> Self {
        Self { json, sink: Sink::Memory(std::sync::Arc::default()) }
    }

    /// What was written to a captured output.
    pub(crate) fn text(&self) -> String {
        match &self.sink {
            Sink::Stdout => panic!("not captured"),
            Sink::Memory(bytes) => String::from_utf8(bytes.lock().unwrap().clone()).unwrap(),
        }
    }
}

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
    let hold = d.hold.as_ref().and_then(|hold| hold.reason.as_deref()).filter(|r| !r.is_empty());
    let held =
        d.held.then(|| hold.map_or_else(|| "held".to_owned(), |reason| format!("held: {reason}")));
    let stale = d.stale.then(|| match d.last_push_at.as_deref() {
        None => "a push is overdue: there was none yet".to_owned(),
        Some(at) => format!("a push is overdue: the last was {}", age_of(Some(at), now)),
    });
    let fell = d.watch.as_ref().filter(|watch| watch.verdict == "fell");
    // What a rollback by the watch has seen is the reason of the hold.
    let fell = fell.filter(|_| !d.held).map(|watch| format!("watch: {}", watch.detail));
    let canary = d.canary.as_ref();
    let canary = canary.map(|canary| format!("canary {}, {} %", canary.version, canary.percent));
    [held, stale, fell, canary].into_iter().flatten().collect::<Vec<_>>().join("; ")
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
            v.reason.clone().unwrap_or_default(),
        ]);
    }
    table.text()
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

/// A short time: `3.5 µs`, `140 µs`, `1.2 ms`.
fn microseconds(us: f64) -> String {
    let (n, unit) = if us < 999.5 { (us, "µs") } else { (us / 1000.0, "ms") };
    let digits = usize::from(n < 9.95);
    format!("{n:.digits$} {unit}")
}

/// `41 → 42`, or `none → 42`.
pub(crate) fn step(from: Option<u64>, to: u64) -> String {
    from.map_or_else(|| format!("none → {to}"), |from| format!("{from} → {to}"))
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
        lines.push(("dropped", format!("{} rows with a key twice", grouped(v.duplicates_dropped))));
    }
    for gate in &v.gates {
        let verdict = if gate.passed { "passed" } else { "refused" };
        lines.push(("gate", format!("{} {verdict}: {}", gate.gate, gate.detail)));
    }
    let reasons = [("reason", &v.reason), ("detail", &v.detail)];
    lines.extend(reasons.iter().filter_map(|(name, text)| Some((*name, (*text).clone()?))));
    lines.extend(v.problems.iter().map(|problem| ("problem", problem.clone())));
    let lines = lines.iter().map(|(name, text)| format!("{name:<10}{}", printable(text)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A count with thousands separated: `200,000`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in decimal units: `86 MB`, `1.2 GB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with two or three digits")]
    let mut size = n as f64;
    let mut unit = 0;
    // 999.5 would be written 1000.
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(size < 9.95);
    format!("{size:.digits$} {}", UNITS[unit])
}

/// A duration: `0.4 s`, `3.2 s`, `2 min 5 s`, `1 h 4 min`.
pub(crate) fn duration(d: std::time::Duration) -> String {
    let seconds = d.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", d.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long ago `at` (RFC 3339) was: `3 min ago`. Text that is no time is shown as it is.
pub(crate) fn age_of(at: Option<&str>, now: DateTime<Utc>) -> String {
    let Some(at) = at else { return dash() };
    let Ok(time) = DateTime::parse_from_rfc3339(at) else { return at.to_owned() };
    let seconds = (now - time.with_timezone(&Utc)).num_seconds();
    let (n, unit) = match seconds {
        ..0 => return second_of(at),
        0..2 => return "now".to_owned(),
        2..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{n} {unit} ago")
}

/// A time of the server as a person reads it: `2026-11-23 08:43:45Z`.
pub(crate) fn second_of(at: &str) -> String {
    match DateTime::parse_from_rfc3339(at) {
        Ok(time) => time.with_timezone(&Utc).format("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => at.to_owned(),
    }
}

/// Text from outside as it may go to a terminal: no control characters and no marks of
/// direction, so that a label cannot move the cursor, break a row of a table or turn it around.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(is_unsafe) {
        return text.to_owned();
    }
    let escaped = |c: char| if is_unsafe(c) { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}

fn dash() -> String {
    "-".to_owned()
}

/// The first `most` characters, and a mark if there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

pub(crate) use CellAlignment::{Left, Right};

/// A table without lines: it is read by people and cut by `awk` alike.
pub(crate) struct Columns(Table);

impl Columns {
    pub(crate) fn new(columns: &[(&str, CellAlignment)]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|(name, _)| *name));
        for (i, (_, alignment)) in columns.iter().enumerate() {
            let column = table.column_mut(i).expect("the header has made it");
            column.set_cell_alignment(*alignment);
            // One space on the left would indent every line.
            column.set_padding((0, 2));
        }
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.0.add_row(cells.iter().map(|cell| printable(cell)));
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.0.lines().map(|line| line.trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_written_for_people() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (200_000, "200,000")];
        for (n, text) in cases {
            assert_eq!(grouped(n), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        let sizes: &[(u64, &str)] = &[
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_960, "10 kB"),
            (86_000_000, "86 MB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_234_000_000, "1.2 GB"),
            (u64::MAX, "18447 PB"),
        ];
        for (n, text) in sizes {
            assert_eq!(bytes(*n), *text, "{n}");
        }
        let durations = [(400, "0.4 s"), (3_200, "3.2 s"), (125_000, "2 min 5 s")];
        for (ms, text) in durations {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn ages_count_in_the_unit_a_person_would_use() {
        let now = at("2026-11-23T12:00:00Z");
        let cases = [
            ("2026-11-23T12:00:00Z", "now"),
            ("2026-11-23T11:59:30.5Z", "29 s ago"),
            ("2026-11-23T12:57:00+01:00", "3 min ago"),
            ("2026-11-23T03:00:00Z", "9 h ago"),
            ("2026-11-10T12:00:00Z", "13 days ago"),
            ("2026-11-23T12:10:00Z", "2026-11-23 12:10:00Z"),
            ("yesterday", "yesterday"),
        ];
        for (text, age) in cases {
            assert_eq!(age_of(Some(text), now), age, "{text}");
        }
        assert_eq!(age_of(None, now), "-");
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
        use super::super::api::{Hold, Watch};
        let held = Dataset {
            dataset: "course-recs".to_owned(),
            current: Some(41),
            state: "rolled_back".to_owned(),
            held: true,
            hold: Some(Hold { reason: Some("bad run".to_owned()) }),
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
course-recs  rolled back       41        -     -         3  -          -      held: bad run
a            -                  -        -     -         0  -          -
b            stale              -        -     -         0  -          -      a push is overdue: the last was 3 h ago; watch: 5 of 9 failed";
        assert_eq!(text, expected, "\n{text}");
        assert!(datasets_table(&[], at("2026-11-23T12:00:00Z")).contains("tidetable push"));
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
