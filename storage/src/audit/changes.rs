//! Changes: the events of the journal, and of the journals that checkpoints have folded.

use std::collections::VecDeque;

use super::settings::Settings;
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::event::{Cause, Event, Millis};
use crate::journal::{self, JournalFault, JournalReport, Record};
use crate::layout::Layout;
use crate::names::{DatasetName, Version};

/// One change, as whoever looks into the audit sees it. It holds no key and no value: the
/// settings of a dataset name keys, and why a push failed quotes its rows, so both stay out.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its place among all changes, from 1 on without a gap.
    pub seq: u64,
    /// When.
    pub at: Millis,
    /// What: the name of the event.
    pub action: &'static str,
    /// Whose, as far as it is known.
    pub actor: String,
    /// In which request; empty for what the server did by itself.
    pub request_id: String,
    /// Why, in the words of who asked.
    pub reason: Option<String>,
    /// The datasets it happened to.
    pub datasets: Vec<DatasetName>,
    /// The version it is about, if about one of one dataset.
    pub version: Option<Version>,
    /// The swaps it made.
    pub moves: Vec<Moves>,
    /// `done`, or the code of why a push came to nothing.
    pub outcome: String,
    /// Whether a person overrode the gates or a `bad` mark.
    pub forced: bool,
    /// The batch run's name for a push.
    pub label: Option<String>,
    /// Records and bytes of a version that was published, and the digest of its manifest.
    pub published: Option<(u64, u64, Digest)>,
    /// The gates that refused.
    pub refused_by: Vec<String>,
    /// The names of the settings that were changed.
    pub settings: Vec<String>,
    /// The chain up to it.
    pub chain: Digest,
}

/// One swap of one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moves {
    /// Which dataset.
    pub dataset: DatasetName,
    /// The version before.
    pub from: Option<Version>,
    /// The version after.
    pub to: Version,
}

/// Which changes are asked for.
#[derive(Clone, Debug, Default)]
pub struct ChangeFilter {
    /// Those of this dataset.
    pub dataset: Option<DatasetName>,
    /// Those of this actor.
    pub actor: Option<String>,
    /// Those of then or later.
    pub since: Option<Millis>,
    /// Those before then.
    pub until: Option<Millis>,
}

impl ChangeFilter {
    /// Whether this time is asked for.
    pub fn takes_time(&self, at: Millis) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    fn takes(&self, cause: &Cause, event: &Event) -> bool {
        let dataset = self.dataset.as_ref();
        self.takes_time(cause.at)
            && self.actor.as_ref().is_none_or(|actor| *actor == cause.actor)
            && dataset.is_none_or(|wanted| event.datasets().any(|name| name == wanted))
    }
}

/// The newest changes before number `before` that `filter` takes, newest first, and `most` of
/// them at most. Files are read whole, one at a time, until there are enough; one that was
/// written before `filter.since` ends it. What is appended meanwhile does no harm.
///
/// [`Code::JournalCorrupt`] if it comes to a file that is damaged.
pub fn newest_changes(
    layout: &Layout,
    before: u64,
    filter: &ChangeFilter,
    most: usize,
) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    let mut end = before;
    let journal = layout.journal();
    // The journal comes first: what a checkpoint takes out of it meanwhile is in the list then.
    let mut next = Some(journal.clone());
    let mut folded = None;
    while let Some(path) = next {
        let mut file = OfFile { end, most: most - found.len(), ..OfFile::default() };
        let report = journal::read_chained(&path, |seq, record, chain| {
            file.take(seq, record, chain, filter);
            Ok(())
        })?;
        refuse_damage(&path, &report)?;
        let is_older = filter.since.is_some_and(|since| file.last_at.is_some_and(|at| at < since));
        found.extend(file.found.into_iter().rev());
        if found.len() >= most || is_older {
            break;
        }
        end = end.min(report.folded_seq + 1);
        let files = match &mut folded {
            None => folded.insert(journal::folded_files(&journal)?),
            Some(files) => files,
        };
        // Of one that a repair has replaced, and of one that is still the journal, nothing is left.
        files.retain(|(first, _)| *first < end);
        next = files.pop().map(|(_, path)| path);
    }
    Ok(found)
}

pub(super) fn refuse_damage(path: &std::path::Path, report: &JournalReport) -> Result<()> {
    match &report.fault {
        Some(JournalFault::Damaged(what)) => {
            let text = format!(
                "changes before this cannot be shown: the file is damaged behind record {}: {what}",
                report.last_seq
            );
            Err(Error::new(Code::JournalCorrupt, text).at(path))
        }
        // Somebody appends right now.
        _ => Ok(()),
    }
}

/// The newest of one file that were asked for, oldest first.
#[derive(Default)]
struct OfFile {
    end: u64,
    most: usize,
    found: VecDeque<Change>,
    last_at: Option<Millis>,
    settings: Settings,
}

impl OfFile {
    fn take(&mut self, seq: u64, record: Record, chain: &Digest, filter: &ChangeFilter) {
        let takes = match &record {
            Record::Event(cause, event) => seq < self.end && filter.takes(cause, event),
            Record::Checkpoint { .. } => false,
        };
        let settings = self.settings.take(&record, takes);
        let Record::Event(cause, event) = record else { return };
        self.last_at = self.last_at.max(Some(cause.at));
        if !takes {
            return;
        }
        if self.found.len() == self.most {
            self.found.pop_front();
        }
        let change = Change::of(seq, *cause, &event, chain);
        self.found.push_back(Change { settings, ..change });
    }
}

impl Change {
    fn of(seq: u64, cause: Cause, event: &Event, chain: &Digest) -> Self {
        let moves = event.activations().iter().map(|swap| Moves {
            dataset: swap.dataset.clone(),
            from: swap.from,
            to: swap.to,
        });
        let refused = match event {
            Event::Published(e) => &e.gates[..],
            Event::Rejected(e) => &e.gates,
            _ => &[],
        };
        let refused = refused.iter().filter(|verdict| !verdict.passed);
        let refused_by: Vec<String> = refused.map(|verdict| verdict.gate.clone()).collect();
        let outcome = match event {
            Event::Failed(e) => e.code.as_str(),
            _ if !refused_by.is_empty() => Code::GateRefused.as_str(),
            _ => "done",
        };
        Self {
            seq,
            at: cause.at,
            action: event.name(),
            actor: cause.actor,
            request_id: cause.request_id,
            reason: cause.reason,
            datasets: event.datasets().cloned().collect(),
            version: event.version(),
            moves: moves.collect(),
            outcome: outcome.to_owned(),
            forced: event.activations().iter().any(|swap| swap.forced),
            label: match event {
                Event::Admitted(e) => e.label.clone(),
                _ => None,
            },
            published: match event {
                Event::Published(e) => {
                    Some((e.stats.records, e.stats.bytes, Digest::from_bytes(e.manifest)))
                }
                _ => None,
            },
            refused_by,
            settings: Vec::new(),
            chain: *chain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Admission;
    use crate::config::DatasetConfig;
    use crate::store::{Store, StoreOptions};

    fn store(dir: &tempfile::TempDir) -> Store {
        Store::open(dir.path(), StoreOptions::default()).unwrap().0
    }

    fn push(store: &Store, name: &str, actor: &str, at: Millis) {
        let name = DatasetName::parse(name).unwrap();
        let cause = || Cause { at, actor: actor.to_owned(), ..Cause::default() };
        store.ensure_dataset(&name, cause()).unwrap();
        let version = store.admit(&name, &Admission::default(), cause()).unwrap().number().unwrap();
        store.delete(&name, version, cause()).unwrap();
    }

    fn seqs(found: &[Change]) -> Vec<u64> {
        found.iter().map(|change| change.seq).collect()
    }

    #[test]
    fn changes_are_read_across_checkpoints_newest_first_and_page_by_page() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        for n in 1..=40 {
            push(&store, if n % 2 == 0 { "even" } else { "odd" }, &format!("job-{n}"), 1000 * n);
            if n % 10 == 0 {
                store.checkpoint_now();
            }
        }
        let files = journal::folded_files(&store.layout().journal()).unwrap();
        assert!(files.len() > 1, "{files:?}");
        let (last, chain) = store.changes_head();
        let read = |before, filter: &ChangeFilter, most| {
            newest_changes(store.layout(), before, filter, most).unwrap()
        };
        let all = read(last + 1, &ChangeFilter::default(), 1000);
        assert_eq!(seqs(&all), (1..=last).rev().collect::<Vec<_>>());
        assert_eq!(all[0].chain, chain);
        for most in [1, 7, 30] {
            let (mut paged, mut before) = (Vec::new(), last + 1);
            while before > 1 {
                let page = read(before, &ChangeFilter::default(), most);
                before = page.last().unwrap().seq;
                paged.extend(page);
            }
            assert_eq!(paged, all, "{most} at a time");
        }
        let of_actor = ChangeFilter { actor: Some("job-3".to_owned()), ..ChangeFilter::default() };
        let of_three = read(last + 1, &of_actor, 1000);
        assert_eq!(of_three.len(), 2, "admitted and aborted: {of_three:?}");
        let odd = Some(DatasetName::parse("odd").unwrap());
        let early = ChangeFilter { dataset: odd, until: Some(10_000), ..ChangeFilter::default() };
        let early = read(last + 1, &early, 1000);
        assert_eq!(early.len(), 11, "made once, then two each of 1, 3, 5, 7 and 9");
        let late = ChangeFilter { since: Some(40_000), ..ChangeFilter::default() };
        assert!(read(last + 1, &late, 1000).iter().all(|change| change.actor == "job-40"));
    }

    #[test]
    fn a_change_of_settings_names_them_also_after_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let name = DatasetName::parse("recs").unwrap();
        let mut config = DatasetConfig { retain: 4, ..DatasetConfig::default() };
        store.configure(&name, &config, Cause::default()).unwrap();
        store.checkpoint_now();
        config.retain = 5;
        store.configure(&name, &config, Cause::default()).unwrap();
        config.gates.min_records = Some(7);
        store.configure(&name, &config, Cause::default()).unwrap();
        let found = newest_changes(store.layout(), u64::MAX, &ChangeFilter::default(), 3).unwrap();
        let settings: Vec<_> = found.into_iter().map(|change| change.settings).collect();
        assert_eq!(settings, [vec!["gates.min_records"], vec!["retain"], vec![]]);
    }

    #[test]
    fn what_a_deleted_dataset_had_done_is_still_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        push(&store, "gone", "job", 1);
        let gone = DatasetName::parse("gone").unwrap();
        store.delete_dataset(&gone, Cause::default()).unwrap();
        for n in 0..30 {
            push(&store, "other", "job", n);
        }
        store.checkpoint_now();
        let filter = ChangeFilter { dataset: Some(gone), ..ChangeFilter::default() };
        let found = newest_changes(store.layout(), u64::MAX, &filter, 10).unwrap();
        let actions: Vec<_> = found.iter().map(|change| change.action).collect();
        assert_eq!(actions, ["dataset_deleted", "deleted", "admitted", "created"]);
    }
}
