//! The log of what was refused and denied: lines of JSON, chained, in files of a bounded size
//! and number.
//!
//! ```text
//! {"seq":17,<what the line says>,"chain":"<64 digits>"}
//! ```
//!
//! The chain of a line is BLAKE3 of the chain before it (32 bytes) and of the line up to
//! `,"chain"`. The first line of each file also says `"previous"`, the chain before it, so that a
//! file can be checked when those before it were given up.
//!
//! Written lines survive the process. They survive power loss once [`AuditLog::sync`] has
//! answered: a denial is no reason to make a disk write.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::json::line_of;
use crate::digest::Digest;
use crate::durable;
use crate::error::{Error, Result};
use crate::layout::{self, Layout};
use crate::versions;

/// How much is kept of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// From which size on another file is begun, in bytes.
    pub file_bytes: u64,
    /// How many files are kept.
    pub files: usize,
}

impl Default for LogLimits {
    /// 64 MiB.
    fn default() -> Self {
        Self { file_bytes: 4 << 20, files: 16 }
    }
}

/// The log of a data directory, open for appending. There is one writer: whoever has the
/// directory's lock.
#[derive(Debug)]
pub struct AuditLog {
    dir: PathBuf,
    limits: LogLimits,
    /// `None` until there is a line to be written, and after a failure.
    current: Option<Current>,
    last: u64,
    chain: Digest,
}

#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    bytes: u64,
    synced: bool,
}

impl AuditLog {
    /// Opens the log. A line that a crash cut short goes; behind damage another file is begun.
    pub fn open(layout: &Layout, limits: LogLimits) -> Result<Self> {
        let dir = layout.audit();
        durable::create_dir_all(&dir)?;
        let mut log = Self { dir, limits, current: None, last: 0, chain: start() };
        for (first, path) in log_files(layout)?.into_iter().rev() {
            if log.go_on_with(first, path)? {
                break;
            }
        }
        Ok(log)
    }

    /// Whether there is a line in that file, behind which the log goes on.
    fn go_on_with(&mut self, first: u64, path: PathBuf) -> Result<bool> {
        let bytes = fs::read(&path).map_err(|e| Error::io("read the audit log", &path, e))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<&[u8]> = bytes[..whole].split_inclusive(|b| *b == b'\n').collect();
        let Some(last) = lines.last() else {
            fs::remove_file(&path).map_err(|e| Error::io("remove the empty file", &path, e))?;
            return Ok(false);
        };
        self.last = first + lines.len() as u64 - 1;
        let sound = Line::parse(last).filter(|line| line.seq == self.last);
        let is_sound = sound.is_some();
        let known = sound.or_else(|| lines.iter().rev().find_map(|line| Line::parse(line)));
        self.chain = known.map_or_else(start, |line| line.chain);
        if is_sound {
            let file = OpenOptions::new().append(true).open(&path);
            let file = file.map_err(|e| Error::io("open the audit log", &path, e))?;
            file.set_len(whole as u64).map_err(|e| Error::io("cut the audit log", &path, e))?;
            self.current = Some(Current { file, path, bytes: whole as u64, synced: false });
        }
        Ok(true)
    }

    /// The last line, and its chain.
    pub fn head(&self) -> (u64, Digest) {
        (self.last, self.chain)
    }

    /// Writes one line: an object that says at least something. After an error it is not in the
    /// log, and the next may be.
    pub fn append(&mut self, says: &impl Serialize) -> Result<()> {
        let begins = self.current.as_ref().is_none_or(|c| c.bytes >= self.limits.file_bytes);
        if begins {
            self.begin_file()?;
        }
        let current = self.current.as_mut().expect("a file was begun if there was none");
        let says = line_of(says);
        let says = &says[1..says.len() - 1];
        let mut line = format!("{{\"seq\":{},{says}", self.last + 1);
        if current.bytes == 0 {
            line.push_str(&format!(",\"previous\":\"{}\"", self.chain));
        }
        let chain = link(&self.chain, line.as_bytes());
        line.push_str(&format!("{MARK}{chain}\"}}\n"));
        if let Err(error) = current.file.write_all(line.as_bytes()) {
            let error = Error::io("write to the audit log", &current.path, error);
            // What was written of it must not stand before the next line.
            if current.file.set_len(current.bytes).is_err() {
                self.current = None;
            }
            return Err(error);
        }
        current.bytes += line.len() as u64;
        current.synced = false;
        self.last += 1;
        self.chain = chain;
        Ok(())
    }

    /// Waits until what was written is on the disk.
    pub fn sync(&mut self) -> Result<()> {
        let Some(current) = self.current.as_mut().filter(|current| !current.synced) else {
            return Ok(());
        };
        let synced = durable::sync_file(&current.file, &current.path);
        match synced.and_then(|()| durable::sync_dir(&self.dir)) {
            Ok(()) => current.synced = true,
            // A failed fsync is final: whatever comes goes to another file.
            Err(error) => {
                self.current = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn begin_file(&mut self) -> Result<()> {
        self.sync()?;
        let path = self.dir.join(layout::audit_log(self.last + 1));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::io("begin a file of the audit log", &path, e))?;
        // One that no line was written to, if there is one.
        file.set_len(0).map_err(|e| Error::io("empty the file", &path, e))?;
        self.current = Some(Current { file, path, bytes: 0, synced: false });
        let files = log_files_in(&self.dir)?;
        let too_many = files.len().saturating_sub(self.limits.files.max(1));
        for (_, path) in &files[..too_many] {
            fs::remove_file(path).map_err(|e| Error::io("give up the oldest lines", path, e))?;
        }
        Ok(())
    }
}

/// Gives the lines of the log before number `before` to `each`, newest first, until it has
/// enough. Files are read whole, one at a time. A line that cannot be read is left out: to look
/// for those is what [`super::verify_audit`] is for.
pub fn newest_log_lines(
    layout: &Layout,
    before: u64,
    mut each: impl FnMut(u64, &str) -> bool,
) -> Result<()> {
    for (first, path) in log_files(layout)?.into_iter().rev() {
        if first >= before {
            continue;
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            // Given up just now.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("read the audit log", &path, e)),
        };
        let whole = bytes.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
        let lines: Vec<&[u8]> = whole.collect();
        for line in lines.into_iter().rev() {
            let Some(known) = Line::parse(line).filter(|known| known.seq < before) else {
                continue;
            };
            if !each(known.seq, known.text) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The files of the log, with the first line of each, in order.
pub(super) fn log_files(layout: &Layout) -> Result<Vec<(u64, PathBuf)>> {
    log_files_in(&layout.audit())
}

fn log_files_in(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = versions::entries(dir)?.into_iter();
    // Their names sort as their numbers do.
    Ok(entries.filter_map(|(name, path)| Some((layout::audit_log_of(&name)?, path))).collect())
}

const MARK: &str = ",\"chain\":\"";

/// What the chain of the log is before its first line.
pub(super) fn start() -> Digest {
    Digest::of(b"tidetable: the chain of the audit log")
}

pub(super) fn link(before: &Digest, said: &[u8]) -> Digest {
    Digest::of(&[&before.as_bytes()[..], said].concat())
}

/// A line as far as the chain needs it.
pub(super) struct Line<'a> {
    pub(super) seq: u64,
    pub(super) chain: Digest,
    pub(super) previous: Option<Digest>,
    /// The last change that it notes, and its chain.
    pub(super) notes: Option<(u64, Digest)>,
    /// All of it but the line end.
    pub(super) text: &'a str,
    /// What its chain is made of.
    pub(super) said: &'a [u8],
}

#[derive(Deserialize)]
struct Known {
    seq: u64,
    chain: Digest,
    previous: Option<Digest>,
    change: Option<u64>,
    changes_chain: Option<Digest>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let known: Known = serde_json::from_str(text).ok()?;
        let said = &text.as_bytes()[..text.rfind(MARK)?];
        let (seq, chain, previous) = (known.seq, known.chain, known.previous);
        let notes = known.change.zip(known.changes_chain);
        Some(Self { seq, chain, previous, notes, text, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn open(dir: &tempfile::TempDir, file_bytes: u64) -> AuditLog {
        let limits = LogLimits { file_bytes, files: 3 };
        AuditLog::open(&Layout::new(dir.path()), limits).unwrap()
    }

    fn read(dir: &tempfile::TempDir) -> Vec<u64> {
        let mut found = Vec::new();
        let each = |seq, line: &str| {
            assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["n"], seq);
            found.push(seq);
            true
        };
        newest_log_lines(&Layout::new(dir.path()), u64::MAX, each).unwrap();
        found
    }

    fn write(log: &mut AuditLog, numbers: std::ops::RangeInclusive<u64>) {
        numbers.for_each(|n| log.append(&json!({ "n": n, "reason": "a}\n\"b\"}" })).unwrap());
    }

    #[test]
    fn lines_go_on_after_a_restart_and_the_oldest_files_go() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..=20 {
            let mut log = open(&dir, 400);
            write(&mut log, n..=n);
            log.sync().unwrap();
            assert_eq!(log.head().0, n);
        }
        let read = read(&dir);
        assert!(read.len() < 20, "a bounded number of files");
        assert_eq!(read, (21 - read.len() as u64..=20).rev().collect::<Vec<_>>());
        assert_eq!(log_files(&Layout::new(dir.path())).unwrap().len(), 3);
    }

    #[test]
    fn a_line_that_was_cut_short_goes_wherever_it_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        write(&mut open(&dir, 1 << 20), 1..=3);
        let (_, path) = log_files(&Layout::new(dir.path())).unwrap().remove(0);
        let bytes = fs::read(&path).unwrap();
        for len in 0..bytes.len() {
            let whole = bytes[..len].iter().filter(|b| **b == b'\n').count() as u64;
            for tail in [&b""[..], &[0; 700]] {
                fs::write(&path, [&bytes[..len], tail].concat()).unwrap();
                let mut log = open(&dir, 1 << 20);
                assert_eq!(log.head().0, whole, "{len}");
                write(&mut log, whole + 1..=whole + 1);
                assert_eq!(read(&dir), (1..=whole + 1).rev().collect::<Vec<_>>(), "{len}");
            }
        }
    }

    #[test]
    fn behind_damage_another_file_is_begun_and_no_number_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        write(&mut open(&dir, 1 << 20), 1..=3);
        let layout = Layout::new(dir.path());
        let (_, path) = log_files(&layout).unwrap().remove(0);
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 5] = b'x';
        fs::write(&path, bytes).unwrap();
        write(&mut open(&dir, 1 << 20), 4..=5);
        assert_eq!(read(&dir), [5, 4, 2, 1]);
        assert_eq!(log_files(&layout).unwrap().len(), 2);
    }
}
