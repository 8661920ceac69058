//! Whether a line of the audit was changed or taken away, as far as the lines themselves and
//! heads that were noted elsewhere can tell.
//!
//! What the lines alone show: damage; a line that was changed, put in or taken out by somebody
//! who did not write anew all that follows, in the changes and in the log; an end that was cut
//! off the changes, if the log has noted more. What they cannot show: a forgery that writes all
//! of that anew, lines that were cut off the end of the log, and old files of the log that are
//! gone (they are given up for their size as well), or all of them: a directory that no server has
//! opened has none either. Files that are there and empty do show, until a server
//! opens the log. A noted head shows each of these for what was written before it was noted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::changes::refuse_damage;
use super::head::AuditHead;
use super::log::{self, Line};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::journal::{self, JournalReport};
use crate::layout::Layout;

/// What was found.
#[derive(Debug)]
pub struct AuditReport {
    /// The first and the last change there is; nothing before the first is in the audit.
    pub changes: (u64, u64),
    /// The first and the last line of the log.
    pub lines: (u64, u64),
    /// Where both chains stand.
    pub head: AuditHead,
    /// What does not fit together, each naming its place.
    pub findings: Vec<String>,
}

/// Reads all of the audit beneath `root`, and follows both chains; compares them with heads that
/// were noted elsewhere. Changes nothing, and may run beside a server.
pub fn verify_audit(root: &Path, noted: &[AuditHead]) -> Result<AuditReport> {
    let layout = Layout::new(root);
    let mut check = Check::default();
    // The log first: all that it notes of changes is on the disk.
    let lines = check.log(&layout, noted)?;
    noted.iter().for_each(|head| check.expect_change(head.changes, "the head that you name"));
    let changes = check.changes(&layout)?;
    let head = AuditHead { changes: (changes.last, changes.chain), log: (lines.last, lines.chain) };
    Ok(AuditReport {
        changes: (changes.first, changes.last),
        lines: (lines.first, lines.last),
        head,
        findings: check.findings,
    })
}

#[derive(Default)]
struct Check {
    findings: Vec<String>,
    /// What the chain is to be at a change, and who says so.
    expected: BTreeMap<u64, Vec<(Digest, String)>>,
}

/// One of the two chains, as far as it was followed.
struct Followed {
    first: u64,
    last: u64,
    chain: Digest,
}

impl Check {
    fn expect_change(&mut self, (seq, chain): (u64, Digest), who: &str) {
        if seq > 0 {
            self.expected.entry(seq).or_default().push((chain, who.to_owned()));
        }
    }

    fn log(&mut self, layout: &Layout, noted: &[AuditHead]) -> Result<Followed> {
        let mut at: Option<Followed> = None;
        let files = log::log_files(layout)?;
        let there_are_some = !files.is_empty();
        for (first, path) in files {
            let bytes = fs::read(&path).map_err(|e| Error::io("read the audit log", &path, e))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lines = bytes.split_inclusive(|b| *b == b'\n').filter(|l| l.ends_with(b"\n"));
            // A file is begun for a line, and a server begins with one.
            if bytes.is_empty() {
                self.findings.push(format!(
                    "{name} is empty: its lines were taken away, or a server was killed or the disk \
                     full when it had just been begun"
                ));
            }
            for (line, seq) in lines.zip(first..) {
                self.line(&mut at, line, seq, &name, noted);
            }
        }
        if there_are_some && at.is_none() && self.findings.is_empty() {
            self.findings.push("the log has files, and no whole line: it was emptied".to_owned());
        }
        for (seq, _) in noted.iter().map(|head| head.log) {
            if seq > at.as_ref().map_or(0, |at| at.last) {
                self.findings.push(format!(
                    "the log ends before line {seq}, which the head that you name has: lines were taken away"
                ));
            }
        }
        Ok(at.unwrap_or_else(|| Followed { first: 0, last: 0, chain: log::start() }))
    }

    fn line(
        &mut self,
        at: &mut Option<Followed>,
        line: &[u8],
        seq: u64,
        name: &str,
        noted: &[AuditHead],
    ) {
        let mut found = |what: &str| self.findings.push(format!("{name}, line {seq}: {what}"));
        let Some(line) = Line::parse(line) else {
            found("this is no line of the log: it was changed or is damaged");
            return;
        };
        // Without the one before, only what a file says of it is known.
        let before = match &at {
            Some(at) if at.last + 1 != line.seq => {
                found(&format!("line {} comes after line {}", line.seq, at.last));
                line.previous.unwrap_or(at.chain)
            }
            Some(at) => at.chain,
            None => line.previous.unwrap_or_else(log::start),
        };
        if line.previous.is_some_and(|previous| previous != before) {
            found("the line before it is not the one that it follows: that one was changed");
        }
        if log::link(&before, line.said) != line.chain {
            found("its chain does not fit it and the line before it: one of them was changed");
        }
        for head in noted.iter().filter(|head| head.log.0 == line.seq) {
            if head.log.1 != line.chain {
                found(
                    "its chain is not that of the head that you name: it, or one before it, was changed",
                );
            }
        }
        let first = at.as_ref().map_or(line.seq, |at| at.first);
        *at = Some(Followed { first, last: line.seq, chain: line.chain });
        if let Some(notes) = line.notes {
            self.expect_change(notes, &format!("line {} of the log", line.seq));
        }
    }

    fn changes(&mut self, layout: &Layout) -> Result<Followed> {
        let journal = layout.journal();
        // The journal first: what a checkpoint takes out of it meanwhile is in the list then.
        let last = self.file(&journal)?;
        let mut all = Vec::new();
        for (first, path) in journal::folded_files(&journal)? {
            // What is still the journal, or was before a repair.
            if first <= last.folded_seq {
                all.retain(|(known, _)| *known != first);
                all.push((first, path));
            }
        }
        let mut at: Option<Followed> = None;
        for (_, path) in all {
            let report = self.file(&path)?;
            self.follow(&mut at, &path, &report);
        }
        self.follow(&mut at, &journal, &last);
        let at = at.expect("the journal was followed");
        for (seq, of) in std::mem::take(&mut self.expected) {
            for (_, who) in of {
                self.findings.push(if seq > at.last {
                    format!(
                        "{who} has change {seq}, and the changes end with {}: some were taken \
                             away (as a repair does that cuts the journal)",
                        at.last
                    )
                } else {
                    format!("{who} has change {seq}, which is not here: it was taken away")
                });
            }
        }
        Ok(at)
    }

    /// Reads one file of changes, and compares what is expected of those in it.
    fn file(&mut self, path: &Path) -> Result<JournalReport> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let report = journal::read_chained(path, |seq, _, chain| {
            for (expected, who) in self.expected.remove(&seq).unwrap_or_default() {
                if expected != *chain {
                    self.findings.push(format!(
                        "{name}, change {seq}: its chain is not that of {who}: it, or one before \
                         it, was changed"
                    ));
                }
            }
            Ok(())
        })?;
        if let Err(error) = refuse_damage(path, &report) {
            self.findings.push(format!("{name}: {}", error.detail()));
        }
        Ok(report)
    }

    fn follow(&mut self, at: &mut Option<Followed>, path: &Path, report: &JournalReport) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (before, first) = match &at {
            None => (report.chain_before, report.folded_seq + 1),
            Some(at) => {
                let (has, needs) = (report.folded_seq, at.last);
                if has != needs {
                    self.findings.push(format!(
                        "{name} begins after change {has}, and the file before it ends with \
                         {needs}: changes were taken away"
                    ));
                }
                (at.chain, at.first)
            }
        };
        if at.is_none() && !report.is_beginning() {
            self.findings.push(format!(
                "{name} begins after change {}: the changes before it were kept when it was \
                 begun, and are gone",
                report.folded_seq
            ));
        }
        if before != report.chain_before {
            self.findings.push(format!(
                "{name} does not go on where the file before it ends: one of them was changed"
            ));
        }
        *at = Some(Followed { first, last: report.last_seq, chain: report.chain });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditLog, LogLimits};
    use crate::config::DatasetConfig;
    use crate::event::Cause;
    use crate::names::DatasetName;
    use crate::store::{Store, StoreOptions};
    use serde_json::json;

    /// A directory with 60 changes by `actor` in three files, and a log that notes some of them.
    fn written(actor: &str) -> (tempfile::TempDir, AuditHead) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let limits = LogLimits { file_bytes: 2000, files: 100 };
        let mut log = AuditLog::open(store.layout(), limits).unwrap();
        for n in 1..=60 {
            let name = DatasetName::parse(&format!("d{n}")).unwrap();
            let cause = Cause { at: n, actor: actor.to_owned(), ..Cause::default() };
            store.configure(&name, &DatasetConfig::default(), cause).unwrap();
            if n % 20 == 0 {
                store.checkpoint_now();
            }
            if n % 7 == 0 {
                let (change, chain) = store.changes_head();
                log.append(&json!({ "n": n, "change": change, "changes_chain": chain })).unwrap();
            }
            log.append(&json!({ "kind": "denial", "n": n })).unwrap();
        }
        let head = AuditHead { changes: store.changes_head(), log: log.head() };
        (dir, head)
    }

    fn findings(dir: &tempfile::TempDir, noted: &[AuditHead]) -> Vec<String> {
        verify_audit(dir.path(), noted).unwrap().findings
    }

    #[test]
    fn what_is_as_it_was_written_has_no_finding() {
        let (dir, head) = written("job");
        let report = verify_audit(dir.path(), &[head]).unwrap();
        assert_eq!(report.findings, [""; 0]);
        assert_eq!((report.changes, report.lines, report.head), ((1, 60), (1, 68), head));
        assert!(log::log_files(&Layout::new(dir.path())).unwrap().len() > 3);
    }

    #[test]
    fn a_file_that_is_gone_shows() {
        let (dir, head) = written("job");
        let layout = Layout::new(dir.path());
        let files = journal::folded_files(&layout.journal()).unwrap();
        assert_eq!(files.len(), 3);
        for (_, path) in files {
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let found = findings(&dir, &[]);
            assert!(
                found.iter().any(|text| text.contains("taken away") || text.contains("gone")),
                "{found:?}"
            );
            fs::write(&path, bytes).unwrap();
        }
        // The oldest files of the log are given up for their size, so that shows nothing.
        let files = log::log_files(&layout).unwrap();
        fs::remove_file(&files[0].1).unwrap();
        assert_eq!(findings(&dir, &[head]), [""; 0]);
        fs::remove_file(&files[2].1).unwrap();
        assert!(findings(&dir, &[]).iter().any(|text| text.contains("comes after line")));
    }

    #[test]
    fn a_log_that_was_emptied_shows_and_one_that_is_gone_against_a_head_alone() {
        let (dir, head) = written("job");
        let files = log::log_files(&Layout::new(dir.path())).unwrap();
        let (_, last) = files.last().unwrap();
        fs::write(last, "").unwrap();
        let found = findings(&dir, &[]);
        assert!(found.len() == 1 && found[0].contains("is empty"), "{found:?}");
        for (_, path) in &files {
            fs::write(path, "").unwrap();
        }
        assert_eq!(findings(&dir, &[]).len(), files.len());
        // A byte of a line is no line.
        files.iter().for_each(|(_, path)| fs::write(path, "{").unwrap());
        assert!(findings(&dir, &[])[0].contains("emptied"));
        files.iter().for_each(|(_, path)| fs::remove_file(path).unwrap());
        assert_eq!(findings(&dir, &[]), [""; 0], "nobody can tell");
        assert!(!findings(&dir, &[head]).is_empty());
    }

    /// Changes that say another thing and are sound in themselves.
    #[test]
    fn changes_that_were_written_anew_show_against_the_log_or_a_noted_head() {
        let (dir, head) = written("job");
        let (forged, _) = written("nobody");
        let layout = Layout::new(dir.path());
        for name in ["journal", "audit/changes-00000000000000000001.journal"] {
            let sound = fs::read(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name), fs::read(forged.path().join(name)).unwrap()).unwrap();
            assert!(!findings(&dir, &[]).is_empty(), "{name}");
            fs::write(dir.path().join(name), sound).unwrap();
        }
        // All of them, but not the log.
        let mut names = vec![layout.journal()];
        names.extend(journal::folded_files(&layout.journal()).unwrap().into_iter().map(|f| f.1));
        for path in names {
            let name = path.strip_prefix(dir.path()).unwrap();
            fs::write(&path, fs::read(forged.path().join(name)).unwrap()).unwrap();
        }
        let found = findings(&dir, &[]);
        assert!(found[0].contains("is not that of line 7 of the log"), "{found:?}");
        // Nor does it show if the log is written anew as well, but against a noted head.
        assert_eq!(findings(&forged, &[]), [""; 0]);
        let found = findings(&forged, &[head]);
        assert!(found.iter().any(|text| text.contains("the head that you name")), "{found:?}");
    }

    #[test]
    fn every_byte_of_the_log_counts() {
        let (dir, head) = written("job");
        let (_, path) = log::log_files(&Layout::new(dir.path())).unwrap().pop().unwrap();
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut changed = sound.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            // Without its end the last line is one that was cut short, which a head shows.
            let noted = if at + 1 == sound.len() { &[head][..] } else { &[] };
            assert!(!findings(&dir, noted).is_empty(), "byte {at}");
        }
    }
}
