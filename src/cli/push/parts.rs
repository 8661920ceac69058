//! Sending the parts of a push.
//!
//! - A part is read once and hashed on the way; what the server says it has stored must
//!   have the same digest and length.
//! - A part that the server already holds with the same bytes is not sent again.
//! - A file or object that changes while it is sent fails the push. Standard input and pipes cannot
//!   be read twice: once the first byte is sent, a failure is final.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tidetable_storage::MAX_PARTS;

use super::Push;
use crate::cli::api::{self, List, version_path};
use crate::cli::client::encoded;
use crate::cli::exit::{Exit, Failure, Retry};
use crate::cli::notes;
use crate::cli::progress::Progress;
use crate::cli::rows::{Origin, Source};
use crate::ingest::part_names;
use crate::remote::RemoteError;

/// One part: a source under the name the server knows it by.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    source: Source,
    /// Its digest is announced, so that the server keeps nothing else.
    is_announced: bool,
    /// A pipe: whoever opened it anew would wait for one who writes anew.
    pipe: OnceLock<File>,
}

/// Names the parts after their files, so that the server's messages name the files:
/// `rows.csv row 17`. Files of the same name in several directories get their number in
/// the order of the push before it.
pub(crate) fn name(sources: Vec<Source>) -> Result<Vec<Part>, Failure> {
    let stdin = sources.iter().filter(|source| source.origin == Origin::Stdin).count();
    if stdin > 1 {
        return Err(Failure::usage("standard input (-) can be pushed once only"));
    }
    if sources.len() > MAX_PARTS {
        let text = format!(
            "SOURCE names {} files, and one push may have {MAX_PARTS}: nothing was sent",
            sources.len()
        );
        let hint = "combine files, or make a snapshot of them with `tidetable build`, which takes as \
                    many as there are, and push that";
        return Err(Failure::usage(text).hint(hint));
    }
    let names: Vec<String> = sources.iter().map(file_name).collect();
    let parts = part_names(&names).into_iter().zip(sources);
    Ok(parts.map(|(name, source)| Part::new(name, source, false)).collect())
}

/// Fails unless every file can be opened: better now than when a version is begun for them. A pipe
/// would be waited for.
pub(super) fn check_readable(parts: &[Part]) -> Result<(), Failure> {
    for part in parts {
        if let Origin::File(path) = &part.source.origin
            && part.bytes()?.is_some()
        {
            File::open(path).map_err(|e| Failure::io("open", path.display(), &e))?;
        }
    }
    Ok(())
}

fn file_name(source: &Source) -> String {
    match &source.origin {
        Origin::Stdin => "stdin".to_owned(),
        Origin::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Origin::Object(object) => object.location().file_name().to_owned(),
    }
}

impl Push<'_> {
    /// Sends what the server does not hold yet. Gives the bytes of all parts.
    pub(super) fn send(&self, version: u64, parts: &[Part]) -> Result<u64, Failure> {
        self.interrupt.say(self.dataset, Some(version), self.leftover(version));
        let there = if self.resume { self.stored(version)? } else { HashMap::new() };
        let mut total = 0;
        for (i, part) in parts.iter().enumerate() {
            let bytes = part.bytes()?;
            let stored = there.get(&part.name).filter(|stored| Some(stored.bytes) == bytes);
            let is_compared = part.is_announced || stored.is_some();
            let digest = match is_compared && !part.is_read_once() {
                true => Some(part.read_whole()?.digest),
                false => None,
            };
            if let Some(stored) = stored
                && Some(&stored.digest) == digest.as_ref()
            {
                notes::say(format_args!("{} is there already", part.source.name));
                total += stored.bytes;
                continue;
            }
            let what = match parts.len() {
                1 => format!("sending {}", part.source.name),
                n => format!("sending {} ({} of {n})", part.source.name, i + 1),
            };
            let mut progress = Progress::begin(what, bytes);
            let announced = digest.as_deref().filter(|_| part.is_announced);
            let sent = self.send_part(version, part, (bytes, announced), &mut progress);
            progress.end();
            total += sent?;
        }
        Ok(total)
    }

    fn send_part(
        &self,
        version: u64,
        part: &Part,
        (bytes, announced): (Option<u64>, Option<&str>),
        progress: &mut Progress,
    ) -> Result<u64, Failure> {
        let path = format!("{}/parts/{}", version_path(self.dataset, version), encoded(&part.name));
        self.client.persist(|| {
            let mut reader = part.open(bytes, progress)?;
            let answer = self.client.put_stream(&path, &mut reader, bytes, announced);
            let read = reader.finish();
            if let Some(why) = read.fault {
                return Err(Failure::new(Exit::Failed, why));
            }
            let stored = match answer {
                Ok(answer) => {
                    answer.json::<api::Part>().ok().filter(|part| !part.digest.is_empty())
                }
                Err(failure) => {
                    let again = read.bytes == 0 || !part.is_read_once();
                    if failure.retry == Retry::Never || again {
                        return Err(failure);
                    }
                    // Only the answer may be missing: all was read, and perhaps stored.
                    None
                }
            };
            let stored = match stored {
                Some(stored) => Some(stored),
                None => self.stored(version)?.remove(&part.name),
            };
            let expected = (read.bytes, read.digest.as_str());
            match stored {
                Some(stored) if (stored.bytes, stored.digest.as_str()) == expected => {
                    Ok(read.bytes)
                }
                other => Err(part.differs(other.as_ref(), read.bytes)),
            }
        })
    }

    /// Fails unless what an earlier run with this key has committed is this push: other data
    /// under the same key would otherwise be left out, and that called a success.
    pub(super) fn same_as_before(&self, version: u64, parts: &[Part]) -> Result<(), Failure> {
        let Some(why) = difference(&self.list(version)?, parts)? else { return Ok(()) };
        let text = format!(
            "{} {version} was pushed with this idempotency key before, from other data: {why}; \
             nothing was sent",
            self.dataset
        );
        let mut failure = Failure::new(Exit::Conflict, text);
        failure.code = Some("idempotency_key_reused".to_owned());
        Err(failure.about(self.dataset, Some(version)))
    }

    /// The parts that the server holds, by name.
    fn stored(&self, version: u64) -> Result<HashMap<String, api::Part>, Failure> {
        let parts = self.list(version)?.into_iter();
        Ok(parts.map(|part| (part.part.clone(), part)).collect())
    }

    /// The same in the order of the rows.
    fn list(&self, version: u64) -> Result<Vec<api::Part>, Failure> {
        let path = format!("{}/parts", version_path(self.dataset, version));
        List::read(self.client, &path, "parts", None)?.items()
    }
}

/// In what `parts` are not those that were committed.
fn difference(committed: &[api::Part], parts: &[Part]) -> Result<Option<String>, Failure> {
    let before: Vec<&str> = committed.iter().map(|part| part.part.as_str()).collect();
    if !parts.iter().map(|part| part.name.as_str()).eq(before.iter().copied()) {
        return Ok(Some(format!("its parts were {}", before.join(", "))));
    }
    for (part, before) in parts.iter().zip(committed) {
        let read = part.read_whole()?;
        if (read.bytes, read.digest.as_str()) != (before.bytes, before.digest.as_str()) {
            return Ok(Some(format!("{} has other bytes", part.source.name)));
        }
    }
    Ok(None)
}

impl Part {
    /// A file of a snapshot, which goes under its own name. One on this machine is sent with its
    /// digest; an object would have to be fetched twice for that.
    pub(super) fn of_snapshot(name: &str, source: Source) -> Self {
        let is_announced = matches!(source.origin, Origin::File(_));
        Self::new(name.to_owned(), source, is_announced)
    }

    fn new(name: String, source: Source, is_announced: bool) -> Self {
        Self { name, source, is_announced, pipe: OnceLock::new() }
    }

    /// What was read of it once is gone: standard input, a pipe, a device.
    fn is_read_once(&self) -> bool {
        match &self.source.origin {
            Origin::File(path) => {
                self.pipe.get().is_some() || path.metadata().is_ok_and(|found| !found.is_file())
            }
            Origin::Object(_) => false,
            Origin::Stdin => true,
        }
    }

    /// How many bytes it has, if it is a file or an object.
    fn bytes(&self) -> Result<Option<u64>, Failure> {
        let path = match &self.source.origin {
            Origin::File(path) => path,
            Origin::Object(object) => return Ok(Some(object.bytes())),
            Origin::Stdin => return Ok(None),
        };
        let found = path.metadata().map_err(|e| Failure::io("find", path.display(), &e))?;
        // A pipe or a device has no length worth believing.
        Ok(found.is_file().then_some(found.len()))
    }

    fn open<'a>(
        &self,
        bytes: Option<u64>,
        progress: &'a mut Progress,
    ) -> Result<Hashed<'a>, Failure> {
        let mut watched = None;
        let input: Box<dyn Read> = match &self.source.origin {
            Origin::Stdin => Box::new(io::stdin()),
            Origin::Object(object) => Box::new(object.open()),
            Origin::File(path) => {
                let failed = |e: io::Error| Failure::io("open", path.display(), &e);
                let file = self.open_file(path).map_err(failed)?;
                watched = Watched::begin(&file).map_err(failed)?;
                Box::new(file)
            }
        };
        Ok(Hashed {
            input,
            watched,
            name: self.source.name.clone(),
            expected: bytes,
            bytes: 0,
            sums: Sha256::new(),
            fault: None,
            progress,
        })
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        if !self.is_read_once() {
            return File::open(path);
        }
        let pipe = match self.pipe.get() {
            Some(pipe) => pipe,
            None => {
                let opened = File::open(path)?;
                self.pipe.get_or_init(|| opened)
            }
        };
        pipe.try_clone()
    }

    fn read_whole(&self) -> Result<WasRead, Failure> {
        let bytes = self.bytes()?;
        let mut progress = Progress::begin(format!("comparing {}", self.source.name), bytes);
        let mut reader = self.open(bytes, &mut progress)?;
        let copied = io::copy(&mut reader, &mut io::sink());
        let read = reader.finish();
        progress.end();
        match (&read.fault, copied) {
            (Some(why), _) => Err(Failure::new(Exit::Failed, why.clone())),
            (None, Err(error)) => Err(Failure::io("read", &self.source.name, &error)),
            (None, Ok(_)) => Ok(read),
        }
    }

    fn differs(&self, stored: Option<&api::Part>, read: u64) -> Failure {
        let name = &self.source.name;
        let text = match stored {
            None => format!("the server did not keep what was sent of {name}"),
            Some(stored) => format!(
                "{name} arrived differently: {read} bytes were sent, {} stored, and their \
                 digests must agree",
                stored.bytes
            ),
        };
        let failure = Failure::new(Exit::Failed, text);
        if self.is_read_once() {
            let what =
                if self.source.origin == Origin::Stdin { "standard input" } else { "a pipe" };
            let hint = format!("{what} cannot be read twice: write it to a file, and push that");
            return failure.hint(hint);
        }
        failure.retry(Retry::Soon)
    }
}

/// Reads a source, and counts and hashes what was read.
struct Hashed<'a> {
    input: Box<dyn Read>,
    watched: Option<Watched>,
    name: String,
    expected: Option<u64>,
    bytes: u64,
    sums: Sha256,
    fault: Option<String>,
    progress: &'a mut Progress,
}

/// A file that is read, and how it was before that.
struct Watched {
    file: File,
    before: Metadata,
}

impl Watched {
    /// `None` for what has no content of its own: a pipe, a device.
    fn begin(file: &File) -> io::Result<Option<Self>> {
        let before = file.metadata()?;
        if !before.is_file() {
            return Ok(None);
        }
        Ok(Some(Self { file: file.try_clone()?, before }))
    }

    /// Whether something was written into it since, as far as the file system tells.
    fn has_changed(&self) -> io::Result<bool> {
        let (before, after) = (&self.before, self.file.metadata()?);
        let content = |of: &Metadata| (of.ino(), of.len(), of.mtime(), of.mtime_nsec());
        let change = |of: &Metadata| (of.ctime(), of.ctime_nsec());
        // One that gets another name, or is replaced by another file, is whole in our hands; and
        // that changes its links and their time alone.
        let is_linked_otherwise = before.nlink() != after.nlink();
        Ok(content(before) != content(&after)
            || (change(before) != change(&after) && !is_linked_otherwise))
    }
}

/// What was read of a source.
struct WasRead {
    bytes: u64,
    digest: String,
    fault: Option<String>,
}

impl Hashed<'_> {
    fn finish(mut self) -> WasRead {
        // What was promised has been read, and that was not all: half a row may be its end.
        let is_more = self.expected == Some(self.bytes)
            && self.fault.is_none()
            && matches!(self.input.read(&mut [0]), Ok(1));
        if is_more {
            self.fault = Some(format!("{} became longer while it was sent", self.name));
        }
        if self.fault.is_none() {
            self.fault = match self.watched.as_ref().map(Watched::has_changed) {
                None | Some(Ok(false)) => None,
                Some(Ok(true)) => Some(format!("{} was changed while it was sent", self.name)),
                Some(Err(error)) => Some(format!("cannot look at {} again: {error}", self.name)),
            };
        }
        WasRead { bytes: self.bytes, digest: written(self.sums), fault: self.fault }
    }

    fn fail(&mut self, why: String) -> io::Error {
        self.fault = Some(why.clone());
        io::Error::other(why)
    }
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.expected.map(|expected| expected - self.bytes);
        let room = left.map_or(buffer.len(), |left| {
            usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len())
        });
        let read = match self.input.read(&mut buffer[..room]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            // What fails elsewhere says by itself what it is.
            Err(error)
                if error
                    .get_ref()
                    .is_some_and(<dyn std::error::Error + Send + Sync>::is::<RemoteError>) =>
            {
                return Err(self.fail(format!("cannot read {error}")));
            }
            Err(error) => return Err(self.fail(format!("cannot read {}: {error}", self.name))),
        };
        // The length is promised in the request's head: a shorter body would hang there.
        if read == 0 && left.is_some_and(|left| left > 0) && !buffer.is_empty() {
            return Err(self.fail(format!("{} became shorter while it was sent", self.name)));
        }
        self.sums.update(&buffer[..read]);
        self.bytes += read as u64;
        self.progress.at(self.bytes);
        Ok(read)
    }
}

/// `sha-256=:base64:`, as `Content-Digest` writes it.
fn written(sums: Sha256) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sums.finalize()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(path: &str) -> Source {
        Source { name: path.to_owned(), origin: Origin::File(path.into()) }
    }

    #[test]
    fn parts_are_named_after_their_files() {
        let names = |paths: &[&str]| {
            let parts = name(paths.iter().map(|path| file(path)).collect()).unwrap();
            parts.into_iter().map(|part| part.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["a/rows.csv", "b.csv.gz"]), ["rows.csv", "b.csv.gz"]);
        assert_eq!(names(&["a/p.csv", "b/p.csv", "q"]), ["1-p.csv", "2-p.csv", "3-q"]);
        assert_eq!(names(&["_x y.csv"]), ["part_x_y.csv"]);
        assert_eq!(names(&["größe.csv"]), ["gr__e.csv"]);
        let long = names(&[&format!("{}.parquet", "é".repeat(300))]).remove(0);
        assert!(long.len() <= 128 && long.ends_with(".parquet"), "{long}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told_before_a_version_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "id\n1\n").unwrap();
        let stdin = Source { name: "-".to_owned(), origin: Origin::Stdin };
        let parts = name(vec![stdin, file(path.to_str().unwrap())]).unwrap();
        check_readable(&parts).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).unwrap();
        // An administrator may read what nobody may.
        let is_readable = File::open(&path).is_ok();
        assert_eq!(check_readable(&parts).is_ok(), is_readable);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(check_readable(&parts).unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn standard_input_is_pushed_once_only() {
        let stdin = || Source { name: "-".to_owned(), origin: Origin::Stdin };
        assert_eq!(name(vec![stdin()]).unwrap()[0].name, "stdin");
        assert_eq!(name(vec![stdin(), stdin()]).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn digests_are_written_as_the_header_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "hello").unwrap();
        let part = name(vec![file(path.to_str().unwrap())]).unwrap().remove(0);
        let expected = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
        assert_eq!(part.read_whole().unwrap().digest, expected);
    }

    #[test]
    fn a_file_that_becomes_shorter_is_a_fault_and_not_a_hang() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "id\n1\n").unwrap();
        let part = name(vec![file(path.to_str().unwrap())]).unwrap().remove(0);
        let mut progress = Progress::begin("sending", Some(100));
        let mut reader = part.open(Some(100), &mut progress).unwrap();
        let mut all = Vec::new();
        assert!(reader.read_to_end(&mut all).is_err());
        assert!(reader.finish().fault.unwrap().contains("shorter"));
    }

    #[test]
    fn a_file_that_is_written_to_has_changed_and_one_that_is_replaced_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "id\n1\n").unwrap();
        // The clock of files may stand still for some milliseconds.
        let aged = File::options().write(true).open(&path).unwrap();
        aged.set_modified(std::time::UNIX_EPOCH).unwrap();
        let file = File::open(&path).unwrap();
        let watched = Watched::begin(&file).unwrap().unwrap();
        assert!(!watched.has_changed().unwrap());
        std::fs::write(dir.path().join("b.csv"), "id\n2\n").unwrap();
        // As a job does that puts a new file in place of the old one.
        let (from, to) = (dir.path().join("b.csv"), &path);
        assert!(std::process::Command::new("mv").arg(from).arg(to).status().unwrap().success());
        assert!(!watched.has_changed().unwrap());
        io::Write::write_all(&mut &aged, b"id\n3\n").unwrap();
        assert!(watched.has_changed().unwrap());
    }

    #[test]
    fn a_pipe_is_opened_once_and_read_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let part = name(vec![file(path.to_str().unwrap())]).unwrap().remove(0);
        assert!(part.is_read_once());
        let write = std::thread::spawn(move || std::fs::write(path, "id\n1\n").unwrap());
        let mut progress = Progress::begin("sending", None);
        let mut head = [0; 3];
        let mut reader = part.open(None, &mut progress).unwrap();
        reader.read_exact(&mut head).unwrap();
        assert_eq!(reader.finish().fault, None);
        // Another opening would wait for another writer.
        let mut rest = String::new();
        part.open(None, &mut progress).unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!((&head[..], rest.as_str()), (&b"id\n"[..], "1\n"));
        write.join().unwrap();
    }
}
