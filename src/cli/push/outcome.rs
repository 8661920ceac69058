//! What has become of a push: one line for a person, or the failure it ends with.

use std::time::Duration;

use crate::cli::api::Version;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{bytes, counted, duration};

/// A push that the server is through with.
pub(super) struct Pushed<'a> {
    pub(super) dataset: &'a str,
    /// What served before.
    pub(super) was: Option<u64>,
    /// Bytes of all parts; `None` if an earlier run with this key had pushed them.
    pub(super) sent: Option<u64>,
    pub(super) took: Duration,
}

impl Pushed<'_> {
    /// `course-recs 43 is current (was 42): 200,000 records, 86 MB, in 3.2 s`, or why the
    /// version is of no use.
    pub(super) fn summary(&self, version: &Version) -> Result<String, Failure> {
        let (name, v) = (self.dataset, version.version);
        let size = self.size(version);
        let text = match version.state.as_str() {
            "active" => {
                let was = self.was.map(|was| format!(" (was {was})")).unwrap_or_default();
                format!("{name} {v} is current{was}: {size}")
            }
            "ready" if version.code.is_some() => return Err(self.failure(version)),
            "ready" if !version.activate => {
                format!("{name} {v} is ready; `tidetable activate {name} {v}` serves it: {size}")
            }
            "ready" if version.held => format!(
                "{name} {v} is ready, but not current: {name} is held. \
                 `tidetable release {name}` ends that: {size}"
            ),
            // The server's own words; older servers have none.
            "ready" => format!(
                "{name} {v} is not current: {}: {size}",
                explanation(version)
                    .unwrap_or("it is ready, but a newer version became current before it")
            ),
            "retired" => format!("{name} {v} was current, and has been replaced since: {size}"),
            _ => return Err(self.failure(version)),
        };
        Ok(text)
    }

    fn size(&self, version: &Version) -> String {
        let mut text = match version.records {
            Some(records) => counted(records, "record"),
            None => self.sent.map(bytes).unwrap_or_default(),
        };
        if let Some(size) = version.bytes {
            text.push_str(&format!(", {}", bytes(size)));
        }
        if version.duplicates_dropped > 0 {
            let rows = counted(version.duplicates_dropped, "duplicate row");
            text.push_str(&format!(", {rows} dropped"));
        }
        match self.sent {
            Some(_) => text.push_str(&format!(", in {}", duration(self.took))),
            None => text.push_str("; pushed before with this key: nothing was sent"),
        }
        text
    }

    fn failure(&self, version: &Version) -> Failure {
        let (name, v) = (self.dataset, version.version);
        let why = explanation(version).unwrap_or("the server does not say why");
        let (exit, code, text) = match version.state.as_str() {
            "ready" => (
                Exit::Failed,
                version.code.as_deref(),
                format!("{name} {v} is ready, but could not be activated: {why}"),
            ),
            "rejected" => (
                Exit::Refused,
                version.code.as_deref().or(Some("gate_refused")),
                format!("{name} {v} was rejected: {why}"),
            ),
            "failed" => (
                Exit::of_push(version.code.as_deref()),
                version.code.as_deref(),
                format!("{name} {v} failed: {why}"),
            ),
            "bad" => (Exit::Conflict, None, format!("{name} {v} was rolled back from: {why}")),
            "deleted" => (Exit::Conflict, None, format!("{name} {v} was deleted")),
            other => (
                Exit::Failed,
                None,
                format!("{name} {v} is in a state that this tidetable does not know: {other}"),
            ),
        };
        let mut failure = Failure::new(exit, text);
        failure.code = code.map(str::to_owned);
        failure.problems.clone_from(&version.problems);
        let refused = version.gates.iter().filter(|gate| !gate.passed && gate.detail != why);
        failure.problems.extend(refused.map(|gate| format!("{}: {}", gate.gate, gate.detail)));
        failure.about(name, Some(v))
    }
}

fn explanation(version: &Version) -> Option<&str> {
    version.detail.as_deref().or(version.reason.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::api::Gate;

    const PUSHED: Pushed<'_> = Pushed {
        dataset: "course-recs",
        was: Some(42),
        sent: Some(1),
        took: Duration::from_millis(3_200),
    };

    fn version(state: &str) -> Version {
        Version {
            version: 43,
            state: state.to_owned(),
            records: Some(200_000),
            bytes: Some(86_000_000),
            activate: true,
            ..Version::default()
        }
    }

    #[test]
    fn the_summary_says_what_serves_now() {
        assert_eq!(
            PUSHED.summary(&version("active")).unwrap(),
            "course-recs 43 is current (was 42): 200,000 records, 86 MB, in 3.2 s"
        );
        let first = Pushed { was: None, ..PUSHED };
        assert!(first.summary(&version("active")).unwrap().contains("43 is current: 200,000"));
        let before = Pushed { sent: None, was: None, ..PUSHED };
        assert_eq!(
            before.summary(&version("active")).unwrap(),
            "course-recs 43 is current: 200,000 records, 86 MB; pushed before with this key: \
             nothing was sent"
        );
    }

    #[test]
    fn a_version_that_does_not_serve_is_never_called_current() {
        let held = Version { held: true, ..version("ready") };
        let text = PUSHED.summary(&held).unwrap();
        assert!(text.contains("is held") && text.contains("tidetable release"), "{text}");
        // A release activates what asked for it: not this one, whether held or not.
        for held in [false, true] {
            let parked = Version { activate: false, held, ..version("ready") };
            let text = PUSHED.summary(&parked).unwrap();
            assert!(text.contains("tidetable activate course-recs 43"), "{text}");
            assert!(!text.contains("release"), "{text}");
        }
        let late = Version { detail: Some("44 was first".to_owned()), ..version("ready") };
        let text = PUSHED.summary(&late).unwrap();
        assert!(text.contains("43 is not current: 44 was first: 200,000"), "{text}");
        let silent = PUSHED.summary(&version("ready")).unwrap();
        assert!(silent.contains("43 is not current: it is ready, but a newer"), "{silent}");
    }

    #[test]
    fn what_was_refused_ends_with_3_and_names_rows_or_gates() {
        let failed = Version {
            code: Some("bad_rows".to_owned()),
            reason: Some("2 rows cannot be used".to_owned()),
            problems: vec!["rows.csv row 17: no learner_id".to_owned()],
            ..version("failed")
        };
        let failure = PUSHED.summary(&failed).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.text().contains("rows.csv row 17"), "{}", failure.text());

        let gate = Gate {
            gate: "max_shrink_percent".to_owned(),
            passed: false,
            detail: "60 % fewer records than 42; at most 50 % are allowed".to_owned(),
        };
        let rejected = Version { gates: vec![gate], ..version("rejected") };
        let failure = PUSHED.summary(&rejected).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        let text = failure.text();
        assert!(text.contains("max_shrink_percent: 60 %") && text.contains("--force"), "{text}");
    }

    #[test]
    fn what_is_not_the_rows_fault_ends_with_1() {
        let full = Version { code: Some("disk_full".to_owned()), ..version("failed") };
        assert_eq!(PUSHED.summary(&full).unwrap_err().exit, Exit::Failed);
        assert_eq!(PUSHED.summary(&version("bad")).unwrap_err().exit, Exit::Conflict);
        let stuck = Version {
            code: Some("version_unusable".to_owned()),
            detail: Some("its files do not fit".to_owned()),
            ..version("ready")
        };
        let failure = PUSHED.summary(&stuck).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        let text = failure.text();
        assert!(text.contains("could not be activated: its files do not fit"), "{text}");
        assert_eq!(PUSHED.summary(&version("novel")).unwrap_err().exit, Exit::Failed);
    }
}
