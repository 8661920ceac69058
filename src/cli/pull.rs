//! `tidetable pull`: a whole version is taken away, file by file.
//!
//! What arrives is compared with what its server had said of it before, by digests that lead to one
//! that names the version. A file that broke off is gone on with where it did.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tidetable_storage::{
    Beside, Code, DatasetName, Digest, Version, is_snapshot_file, verify_snapshot,
};

use super::Context;
use super::api::{self, version_path};
use super::client::{Client, Patience, encoded};
use super::exit::{Exit, Failure, Retry};
use super::notes;
use super::output::{bytes, counted, duration};
use super::progress::Progress;

/// Take a whole version away, for a backup or another server
///
/// Writes the files of the version into a new directory and compares every byte with what was
/// published. `tidetable push DATASET DIR` pushes it, to this server or another one, which then gives the
/// same answers; `tidetable verify DIR` reads it again. Labels, settings and the history stay behind.
///
/// It is made in DIR.tmp and renamed when it is whole: run it again to go on where it was cut off. If
/// another version serves by then, it begins anew, unless --version names the one that was begun. Needs
/// the right to read values. A version that may hold bytes of erased keys is not given (exit code 5).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable pull course-recs --out course-recs.snapshot
  tidetable pull course-recs --version 43 --out /backup/course-recs-43
  tidetable push course-recs course-recs.snapshot --server http://other:7070")]
pub(crate) struct PullArgs {
    /// The dataset
    dataset: DatasetName,
    /// The version to take [default: the one that serves]
    #[arg(long, value_name = "V")]
    version: Option<Version>,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How often a request is repeated while the server cannot be reached or is busy
    #[arg(
        long,
        value_name = "N",
        default_value_t = 6,
        value_parser = clap::value_parser!(u32).range(..=100)
    )]
    retries: u32,
}

/// What a version consists of.
#[derive(Debug, Deserialize)]
struct Listing {
    digest: Digest,
    bytes: u64,
    files: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    blake3: Digest,
}

pub(crate) fn run(args: &PullArgs, context: &Context<'_>) -> Result<(), Failure> {
    let began = Instant::now();
    let client = context.client()?.with_patience(Patience::job(args.retries));
    let name = args.dataset.as_str();
    let version = match args.version {
        Some(version) => version.0,
        None => current(&client, name)?,
    };
    let path = format!("{}/snapshot", version_path(name, version));
    let listing = client.get(&path).map_err(|f| f.about(name, Some(version)))?;
    let listing: Listing = listing.json()?;
    refuse_strange(&listing)?;

    let place = Beside::begin(&args.out)?;
    // What another version, or another content of this one, has left is of no use.
    let state =
        json!({ "dataset": name, "version": version, "digest": listing.digest }).to_string();
    let left = place.state();
    if left.as_deref() != Some(&state) {
        if let Some(left) = left.filter(|_| place.dir().exists()) {
            notes::say(begins_anew(&left, name, version));
        }
        place.anew(&state)?;
    }
    let dir = place.dir();
    std::fs::create_dir_all(&dir).map_err(|e| Failure::io("make", dir.display(), &e))?;
    let pull = Pull { client: &client, path: &path, dir: &dir, version };
    let fetched = pull.all(&listing, &format!("{name} {version}"));
    fetched.map_err(|f| f.about(name, Some(version)))?;
    let manifest = pull.verify(&listing)?;
    place.finish()?;

    let out = args.out.display().to_string();
    let json = json!({
        "dataset": name, "version": version, "out": out, "records": manifest.records,
        "bytes": manifest.bytes(), "content_digest": manifest.content_digest,
        "digest": listing.digest,
    });
    context.out.either(json.to_string(), || {
        format!(
            "{out} holds {name} {version}: {}, {}, in {}",
            counted(manifest.records, "record"),
            bytes(listing.bytes),
            duration(began.elapsed())
        )
    })
}

fn current(client: &Client, dataset: &str) -> Result<u64, Failure> {
    api::dataset(client, dataset)?.current.ok_or_else(|| {
        let text = format!("no version of {dataset} was activated yet");
        let mut failure = Failure::new(Exit::NotFound, text);
        failure.code = Some("no_current_version".to_owned());
        failure.about(dataset, None)
    })
}

/// Names become files here: only those of a snapshot do.
fn refuse_strange(listing: &Listing) -> Result<(), Failure> {
    let strange = listing.files.iter().find(|file| !is_snapshot_file(&file.name));
    strange.map_or(Ok(()), |file| {
        let text = format!("the server lists {:?}, which is no file of a snapshot", file.name);
        Err(Failure::new(Exit::Failed, text).hint("nothing was written"))
    })
}

/// What is said before what an earlier attempt has `left` is removed.
fn begins_anew(left: &str, dataset: &str, version: u64) -> String {
    /// What such an attempt has noted.
    #[derive(Deserialize)]
    struct Left {
        dataset: String,
        version: u64,
    }
    match serde_json::from_str::<Left>(left) {
        Ok(left) if (left.dataset.as_str(), left.version) == (dataset, version) => {
            format!("{dataset} {version} was rewritten since it was begun: it begins anew")
        }
        Ok(left) => format!(
            "what had arrived is of {} {}, and {dataset} {version} is fetched: it begins anew",
            left.dataset, left.version
        ),
        Err(_) => "what was begun there is no pull: it begins anew".to_owned(),
    }
}

struct Pull<'a> {
    client: &'a Client,
    path: &'a str,
    dir: &'a Path,
    version: u64,
}

impl Pull<'_> {
    fn all(&self, listing: &Listing, what: &str) -> Result<(), Failure> {
        let there = |file: &Listed| self.length(file).min(file.bytes);
        let before: u64 = listing.files.iter().map(there).sum();
        if before > 0 {
            notes::say(format_args!("{} are there already", bytes(before)));
        }
        let mut progress = Progress::begin(format!("fetching {what}"), Some(listing.bytes));
        let mut done = 0;
        for file in &listing.files {
            let mut at = |length| progress.at(done + length);
            let fetched = self.client.persist(|| self.fetch(file, &mut at));
            fetched.map_err(|failure| match failure.exit {
                Exit::Unreachable => failure.hint(format!(
                    "what has arrived is kept: run it again with --version {} to go on",
                    self.version
                )),
                _ => failure,
            })?;
            done += file.bytes;
        }
        progress.end();
        Ok(())
    }

    /// One attempt to fetch what there is not of a file yet.
    fn fetch(&self, file: &Listed, at: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let path = self.dir.join(&file.name);
        let failed = |e: &std::io::Error| Failure::io("write", path.display(), e);
        let mut length = self.length(file);
        if length > file.bytes {
            length = 0;
        }
        if length == file.bytes {
            return Ok(());
        }
        let tag = format!("\"{}\"", file.blake3);
        let mut headers = Vec::new();
        if length > 0 {
            headers = vec![("range", format!("bytes={length}-")), ("if-range", tag.clone())];
        }
        let mut answer =
            self.client.open(&format!("{}/{}", self.path, encoded(&file.name)), &headers)?;
        if answer.header("etag") != Some(&tag) {
            let text = "the version was rewritten while it was fetched";
            return Err(Failure::new(Exit::Conflict, text).hint("run it again: it begins anew"));
        }
        if answer.status != 206 {
            length = 0;
        }
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut out = opened.map_err(|e| failed(&e))?;
        out.set_len(length).and_then(|()| out.seek(SeekFrom::End(0))).map_err(|e| failed(&e))?;
        let mut buffer = vec![0; 1 << 20];
        while length < file.bytes {
            let read = answer.body.read(&mut buffer);
            let broken = |why: String| {
                let text = format!("{} broke off behind {length} bytes: {why}", file.name);
                Failure::new(Exit::Unreachable, text).retry(Retry::Soon)
            };
            match read {
                Ok(0) => return Err(broken("the answer ended".to_owned())),
                Ok(read) => {
                    let room = usize::try_from(file.bytes - length).unwrap_or(usize::MAX);
                    let read = read.min(room);
                    out.write_all(&buffer[..read]).map_err(|e| failed(&e))?;
                    length += read as u64;
                    at(length);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error.to_string())),
            }
        }
        Ok(())
    }

    /// How much of a file there is.
    fn length(&self, file: &Listed) -> u64 {
        let open = File::open(self.dir.join(&file.name));
        open.and_then(|file| file.metadata()).map_or(0, |metadata| metadata.len())
    }

    /// Compares every byte with what the server has said; what is not as it should be is removed, so
    /// that the next attempt fetches it.
    fn verify(&self, listing: &Listing) -> Result<tidetable_storage::Manifest, Failure> {
        let total = listing.bytes * 2;
        let mut progress = Progress::begin("comparing what has arrived", Some(total));
        let verified =
            verify_snapshot(self.dir, Some(&listing.digest), &mut |bytes| progress.at(bytes));
        progress.end();
        verified.map_err(|error| not_as_said(self.dir, error))
    }
}

/// What there is to do about what has arrived in `dir`. A file at fault is removed.
fn not_as_said(dir: &Path, error: tidetable_storage::Error) -> Failure {
    let Some(path) = error.path().filter(|path| path.parent() == Some(dir)) else {
        let begun = dir.parent().unwrap_or(dir).display();
        return Failure::from(error).hint(format!("remove {begun}, and run it again"));
    };
    // If it stays, the next attempt says so.
    let _ = std::fs::remove_file(path);
    let failure = if error.code() == Code::DataCorrupt {
        // What there is to do about a damaged version is not to be done about this one.
        let text =
            format!("what has arrived is not what the server has said of it: {}", path.display());
        Failure::of_code(Code::DataCorrupt, text)
    } else {
        Failure::from(error)
    };
    failure.hint("run it again: that file is fetched once more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_damaged_is_fetched_once_more_and_not_pushed_again() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("manifest.json");
        std::fs::write(&manifest, "{}").unwrap();
        let error =
            verify_snapshot(dir.path(), Some(&Digest::of(b"other")), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("push the data again"), "{error}");
        let failure = not_as_said(dir.path(), error);
        assert!(!failure.text().contains("push the data again"), "{}", failure.text());
        assert!(failure.message.contains(manifest.to_str().unwrap()), "{}", failure.message);
        assert!(failure.hint.as_deref().unwrap().contains("run it again"), "{}", failure.text());
        assert_eq!(failure.code.as_deref(), Some("data_corrupt"));
        assert!(!manifest.exists(), "it is fetched once more");
    }

    #[test]
    fn no_name_of_a_server_leads_out_of_the_directory() {
        let listing = |names: &[&str]| Listing {
            digest: Digest::of(b""),
            bytes: 0,
            files: names
                .iter()
                .map(|name| Listed { name: (*name).into(), bytes: 1, blake3: Digest::of(b"") })
                .collect(),
        };
        refuse_strange(&listing(&["manifest.json", "dictionary", "000001.sst"])).unwrap();
        for bad in ["../x", "/etc/passwd", "db", "000001.sst/../x", "", "."] {
            assert!(refuse_strange(&listing(&["manifest.json", bad])).is_err(), "{bad}");
        }
    }
}
