//! Waiting for the server to settle a committed version.

use std::time::{Duration, Instant};

use super::Push;
use super::request::Data;
use crate::cli::api::{self, version_path};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{counted, duration};
use crate::cli::progress::Progress;

/// The longest pause between two questions, should the server answer at once.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a version that is ready, and not yet activated, is asked about again before
/// that is taken for the last word.
const LAST_WORDS: u32 = 5;

impl Push<'_> {
    /// Waits until the server is through with the version; gives it, and its JSON.
    pub(super) fn settle(
        &self,
        version: u64,
        data: &Data,
    ) -> Result<(api::Version, String), Failure> {
        let started = Instant::now();
        let until = self.timeout.map(|timeout| started + timeout);
        let mut shown = Shown::default();
        let (mut ready, mut is_there) = (0, false);
        loop {
            let asked = Instant::now();
            let left = self.time_left(version, started, data)?;
            let longest = if self.watched { 1 } else { 30 };
            // In the last second the server is to answer at once: else nobody would be there for it.
            let wait = left.map_or(longest, |left| left.as_secs().min(longest));
            let path = format!("{}?wait={wait}", version_path(self.dataset, version));
            let answer = self.client.asking_until(until, |client| client.get(&path));
            let is_late = || until.is_some_and(|until| Instant::now() + PAUSE >= until);
            let answer = answer.map_err(|failure| match self.timeout {
                // What was left of the time has gone by, and before there were answers.
                Some(timeout) if is_there && failure.exit == Exit::Unreachable && is_late() => {
                    self.late(version, timeout, data)
                }
                _ => {
                    let hint = self.left_alone(version, data, Some(&failure));
                    failure.hint(hint)
                }
            })?;
            is_there = true;
            let found: api::Version = answer.json()?;
            if is_settled(&found) && (!may_go_on(&found) || ready >= LAST_WORDS) {
                shown.end();
                return Ok((found, answer.text()));
            }
            ready += u32::from(is_settled(&found));
            shown.show(&found);
            std::thread::sleep(PAUSE.saturating_sub(asked.elapsed()));
        }
    }

    /// What becomes of a version that nobody waits for any more: for the time is over, or because of
    /// this failure.
    fn left_alone(&self, version: u64, data: &Data, failure: Option<&Failure>) -> String {
        let goes_on = match data {
            // A refusal that names the version is about what has become of it.
            Data::Elsewhere if failure.is_some_and(|failure| failure.version.is_some()) => {
                return format!(
                    "nothing works at the import any more. To make it again, or to go on with it if all of its \
                     data is there: {}",
                    self.again
                );
            }
            Data::Rows(_) | Data::Snapshot(_) => {
                "all of it is sent and committed, and the server goes on with it when it can"
            }
            Data::Elsewhere => {
                "the server fetches the data by itself, and goes on with it when it can; if it was stopped \
                 before it had all of it, the import has failed, and is to be made again"
            }
        };
        format!("{goes_on}: `tidetable versions {} {version}` tells how it ended", self.dataset)
    }

    fn time_left(
        &self,
        version: u64,
        started: Instant,
        data: &Data,
    ) -> Result<Option<Duration>, Failure> {
        let Some(timeout) = self.timeout else { return Ok(None) };
        let left = timeout.saturating_sub(started.elapsed());
        if left.is_zero() { Err(self.late(version, timeout, data)) } else { Ok(Some(left)) }
    }

    fn late(&self, version: u64, timeout: Duration, data: &Data) -> Failure {
        let text = format!(
            "the server was not through with {} {version} in {}",
            self.dataset,
            duration(timeout)
        );
        Failure::new(Exit::Failed, text).hint(self.left_alone(version, data, None))
    }
}

/// Whether the server is through with it.
fn is_settled(version: &api::Version) -> bool {
    !matches!(version.state.as_str(), "receiving" | "building" | "verifying")
        && version.progress.is_none()
}

/// Whether a version that is settled may still be activated in the next moment: it is
/// ready, wants to be, and nothing says why it is not. (An older server says it of few.)
fn may_go_on(version: &api::Version) -> bool {
    let explained = version.detail.is_some() || version.reason.is_some();
    version.state == "ready" && version.activate && !version.held && !explained
}

/// What a person sees of the server's work: a bar or line for each phase.
#[derive(Default)]
struct Shown {
    phase: String,
    bar: Option<Progress>,
}

impl Shown {
    fn show(&mut self, version: &api::Version) {
        let Some(progress) = &version.progress else { return };
        if progress.phase != self.phase {
            self.end();
            self.phase.clone_from(&progress.phase);
            let total = Some(progress.total_bytes).filter(|&total| total > 0);
            self.bar = Some(Progress::begin(format!("the server: {}", progress.phase), total));
        }
        if let Some(bar) = &mut self.bar {
            bar.at(progress.bytes);
            if progress.rows > 0 {
                bar.say_on_bar(&counted(progress.rows, "row"));
            }
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(state: &str) -> api::Version {
        api::Version { state: state.to_owned(), activate: true, ..api::Version::default() }
    }

    #[test]
    fn a_version_is_settled_once_the_server_is_through_with_it() {
        for state in ["receiving", "building", "verifying"] {
            assert!(!is_settled(&version(state)), "{state}");
        }
        for state in ["ready", "active", "retired", "failed", "rejected", "bad", "deleted"] {
            assert!(is_settled(&version(state)), "{state}");
        }
        let busy = api::Version { progress: Some(api::Progress::default()), ..version("ready") };
        assert!(!is_settled(&busy));
    }

    #[test]
    fn only_a_ready_version_without_an_explanation_may_go_on() {
        assert!(may_go_on(&version("ready")));
        assert!(!may_go_on(&version("active")));
        assert!(!may_go_on(&api::Version { held: true, ..version("ready") }));
        assert!(!may_go_on(&api::Version { activate: false, ..version("ready") }));
        let told = api::Version { detail: Some("superseded".to_owned()), ..version("ready") };
        assert!(!may_go_on(&told));
    }
}
