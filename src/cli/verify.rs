//! `tidetable verify`: is every byte on the disk still what was pushed? Of a directory, which
//! it reads itself, or of a dataset, whose server reads it (`verify/served.rs`).

mod served;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tidetable_storage::{DatasetName, JournalFault, JournalReport, Version};

use super::Context;
use super::exit::{Exit, Failure};
use super::offline::{self, Contents, Stored, Whole};
use super::output::{Output, bytes, counted, grouped};
use super::progress::Progress;

/// Re-read every byte of a data directory, of one snapshot, or of a dataset that a server has
///
/// If you name a dataset, and no directory here has that name, the server reads the versions of
/// the dataset, or the one that you name, compares them with what was published, and remembers
/// what it finds. A damaged version is not activated until it is sound again.
///
/// If you name a data directory, the command reads its journal and all versions that the journal
/// owns from the disk, and compares them with their checksums and each version with what was
/// pushed. It changes nothing, and may run beside the server; it reads as many bytes as the
/// versions have. It names the first damaged or missing file of each version, and ends with exit
/// code 1 if there is one. Directories that no event owns are listed, and not read. If one is of a
/// version that the journal does not know, the journal is older than the data, and no server starts
/// on them: exit code 1, and `repair` is for that.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable verify
  tidetable verify /var/lib/tidetable
  tidetable verify /var/lib/tidetable/datasets/course-recs/43
  tidetable verify course-recs                           every version that its server keeps
  tidetable verify course-recs 43")]
pub(crate) struct VerifyArgs {
    /// A data directory, the directory of one version, or a dataset
    #[arg(
        value_name = "DIR|DATASET",
        env = "TIDETABLE_DATA",
        hide_env_values = true,
        default_value = "tidetable-data"
    )]
    dir: PathBuf,
    /// Of a dataset, this version alone
    version: Option<Version>,
}

impl VerifyArgs {
    /// The dataset that is meant, if it is no directory.
    fn dataset(&self) -> Result<Option<DatasetName>, Failure> {
        let name = self.dir.to_str().and_then(|text| DatasetName::parse(text).ok());
        match (name, self.version) {
            (None, Some(_)) => {
                let text = format!("{} is no name of a dataset", self.dir.display());
                Err(Failure::usage(text).hint("a version is one of a dataset: name both"))
            }
            (Some(name), Some(_)) => Ok(Some(name)),
            (None, None) => Ok(None),
            (Some(name), None) => match self.dir.try_exists() {
                Ok(there) => Ok(Some(name).filter(|_| !there)),
                Err(error) => Err(Failure::io("look for", self.dir.display(), &error)),
            },
        }
    }
}

pub(crate) fn run(args: &VerifyArgs, context: &Context<'_>) -> Result<(), Failure> {
    if let Some(dataset) = args.dataset()? {
        let served = served::verify_served(&dataset, args.version, context);
        return served.map_err(|failure| match args.version {
            Some(_) => failure,
            None => neither(&dataset, failure),
        });
    }
    let Contents { journal, snapshots } = offline::contents(&args.dir)?;
    let mut check = Check::of(&args.dir, &context.out);
    // With a damaged journal it is not known what is owned: every directory is read.
    let mut all = true;
    check.is_alone = journal.is_none();
    if let Some(journal) = journal {
        all = !check.journal(&journal)?;
    }
    for stored in &snapshots {
        check.version(stored, all)?;
    }
    check.conclude()
}

/// A word that is no directory here may be one that was mistyped, and no dataset either.
fn neither(name: &DatasetName, mut failure: Failure) -> Failure {
    if failure.code.as_deref() == Some("dataset_not_found") {
        failure.message = format!(
            "there is no directory {name} here, and the server has no dataset of that name either"
        );
        return failure.hint(
            "name the data directory of a server (its --data), or a dataset: `tidetable datasets` \
             lists them",
        );
    }
    if failure.exit == Exit::Unreachable {
        failure.message = format!(
            "there is no directory {name} here, and no server to ask for a dataset of that name: {}",
            failure.message
        );
    }
    failure
}

/// What was found so far.
struct Check<'a> {
    dir: &'a Path,
    out: &'a Output,
    /// What is wrong with the journal, and what to do.
    journal: Option<(String, String)>,
    /// Versions that are damaged.
    damaged: Vec<(String, String)>,
    /// Versions that are of a later time than the journal.
    ahead: Vec<(String, String)>,
    /// Versions of which it is not known, since they could not be read, and the code of the first.
    unread: Vec<(String, String)>,
    unread_code: Option<String>,
    /// Whether it is one snapshot, of no data directory.
    is_alone: bool,
    sound: u64,
    read: u64,
}

impl<'a> Check<'a> {
    fn of(dir: &'a Path, out: &'a Output) -> Self {
        Self {
            dir,
            out,
            journal: None,
            damaged: Vec::new(),
            ahead: Vec::new(),
            unread: Vec::new(),
            unread_code: None,
            is_alone: false,
            sound: 0,
            read: 0,
        }
    }
}

impl Check<'_> {
    /// Whether the journal is sound.
    fn journal(&mut self, journal: &Result<JournalReport, Failure>) -> Result<bool, Failure> {
        let (fault, hint) = match journal {
            Ok(JournalReport { fault: Some(JournalFault::Damaged(what)), sound_bytes, .. }) => {
                let dir = self.dir.display();
                let hint =
                    format!("`tidetable repair {dir}` shows what a cut of the journal loses");
                (format!("at byte {sound_bytes}: {what}"), hint)
            }
            Ok(report) => {
                let (n, size) = (report.records, report.sound_bytes);
                self.out.either(
                    json!({"file": "journal", "sound": true, "records": n, "bytes": size})
                        .to_string(),
                    || format!("journal: sound, {}, {}", counted(n, "record"), bytes(size)),
                )?;
                return Ok(true);
            }
            // Of one that has no sound part nothing would be left.
            Err(failure) => {
                let hint = "restore the journal from a backup of the same instant as the data";
                (failure.message.clone(), hint.to_owned())
            }
        };
        self.out.either(
            json!({"file": "journal", "sound": false, "code": "journal_corrupt", "detail": fault})
                .to_string(),
            || format!("journal: DAMAGED: {fault}"),
        )?;
        self.journal = Some((fault, hint));
        Ok(false)
    }

    fn version(&mut self, stored: &Stored, all: bool) -> Result<(), Failure> {
        let name = &stored.name;
        if !all && stored.digest.is_none() {
            return self.unowned(stored);
        }
        let failure = match self.read_back(stored) {
            Ok(whole) => {
                self.sound += 1;
                self.read += whole.bytes;
                return self.out.either(
                    json!({"snapshot": name, "sound": true, "records": whole.records,
                           "bytes": whole.bytes})
                    .to_string(),
                    || sound(stored, &whole),
                );
            }
            Err(failure) => failure,
        };
        if !all && !offline::is_still_owned(self.dir, stored) {
            return self.out.either(json!({"snapshot": name, "owned": false}).to_string(), || {
                format!("{name}: deleted meanwhile")
            });
        }
        let found = (name.clone(), failure.message.clone());
        // Of what this release cannot read, or this user may not, nothing is known.
        let what = if matches!(failure.code.as_deref(), Some("unknown_format" | "io_failed")) {
            self.unread.push(found);
            self.unread_code = self.unread_code.take().or_else(|| failure.code.clone());
            "NOT READ"
        } else {
            self.damaged.push(found);
            "DAMAGED"
        };
        self.out.either(
            json!({"snapshot": name, "sound": false, "code": failure.code,
                   "detail": failure.message})
            .to_string(),
            || format!("{name}: {what}: {}", failure.message),
        )
    }

    /// Of a directory that no event owns: is it what a crash may leave?
    fn unowned(&mut self, stored: &Stored) -> Result<(), Failure> {
        let name = &stored.name;
        let Some(says) = &stored.ahead else {
            let text = "no event of the journal owns it (yet); not read";
            return self.out.either(json!({"snapshot": name, "owned": false}).to_string(), || {
                format!("{name}: {text}")
            });
        };
        let text = format!("{says}: it is older than the data, or was cut");
        self.ahead.push((name.clone(), text.clone()));
        self.out.either(
            json!({"snapshot": name, "owned": false, "code": "journal_corrupt", "detail": text})
                .to_string(),
            || format!("{name}: NOT OWNED: {text}; not read"),
        )
    }

    fn read_back(&self, stored: &Stored) -> Result<Whole, Failure> {
        let total = offline::bytes_to_verify(&stored.dir);
        let mut progress = Progress::begin(format!("reading {}", stored.name), total);
        let whole = offline::verify(stored, &mut |read| progress.at(read));
        progress.end();
        whole
    }

    /// Says how it ended.
    fn conclude(self) -> Result<(), Failure> {
        let (mut wrong, mut hints) = (Vec::new(), Vec::new());
        let damaged = self.damaged.len() as u64 + u64::from(self.journal.is_some());
        if damaged > 0 {
            wrong.push(so_many_damaged(damaged));
        }
        if !self.damaged.is_empty() {
            hints.push(if self.is_alone { IF_ALONE } else { IF_DAMAGED }.to_owned());
        }
        if !self.unread.is_empty() {
            let n = counted(self.unread.len() as u64, "version");
            wrong.push(format!("{n} could not be read"));
            hints.push(IF_UNREAD.to_owned());
        }
        if !self.ahead.is_empty() {
            let n = counted(self.ahead.len() as u64, "version");
            wrong.push(format!("the journal is older than {n}, and no server starts"));
            hints.push(format!(
                "restore the newer journal, or see `tidetable repair {}`, which shows what --cut \
                 would set aside",
                self.dir.display()
            ));
        }
        let journal = self.journal.map(|(fault, hint)| {
            hints.push(hint);
            ("journal".to_owned(), fault)
        });
        if wrong.is_empty() {
            let n = counted(self.sound, "version");
            let said = || self.out.line(format!("all sound: {n}, {}", bytes(self.read)));
            return if self.out.json { Ok(()) } else { said() };
        }
        let mut failure = Failure::new(Exit::Failed, wrong.join("; "));
        failure.code = match (damaged, self.ahead.is_empty()) {
            (1.., _) => Some("data_corrupt".to_owned()),
            (0, false) => Some("journal_corrupt".to_owned()),
            (0, true) => self.unread_code,
        };
        let of_versions = self.damaged.into_iter().chain(self.unread).chain(self.ahead);
        let problems = journal.into_iter().chain(of_versions);
        failure.problems = problems.map(|(name, what)| format!("{name}: {what}")).collect();
        Err(failure.hint(hints.join(". ")))
    }
}

/// What to do now.
const IF_DAMAGED: &str = "damaged data is never served as a value. `tidetable rollback` serves an \
                          earlier version, or push the data again";

/// The same of a snapshot that no server has.
const IF_ALONE: &str = "pull or build it again, or restore it from a backup";

/// The same of what could not be read.
const IF_UNREAD: &str = "what could not be read may be sound or not: run this as the user that the \
                         server runs as, and with the release that wrote it";

fn so_many_damaged(count: u64) -> String {
    format!("{} of what was read is damaged", grouped(count))
}

fn sound(stored: &Stored, whole: &Whole) -> String {
    let records = counted(whole.records, "record");
    format!("{}: sound, {records}, {}", stored.name, bytes(whole.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    use tidetable_storage::{
        Admission, BuildOptions, Builder, Cause, DatasetName, Layout, PartSums, Store,
        StoreOptions, Version,
    };

    /// A data directory in which `a` has so many versions.
    fn directory(versions: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let a: DatasetName = "a".parse().unwrap();
        store.ensure_dataset(&a, Cause::default()).unwrap();
        for n in 1..=versions {
            let push = Admission::default();
            let version = store.admit(&a, &push, Cause::default()).unwrap().number().unwrap();
            let part = store.begin_part(&a, version, "1").unwrap();
            store.receive_part(&a, version, part.close(PartSums::default())).unwrap();
            store.seal(&a, version, true, None, Cause::default()).unwrap();
            let out = store.layout().build(&a, version, 1);
            let mut builder = Builder::create(&out, BuildOptions::default(), &[]).unwrap();
            builder.add(b"k", n.to_string().as_bytes()).unwrap();
            let snapshot = builder.finish().unwrap().verify(&mut |_| {}).unwrap();
            store.publish(&a, version, &snapshot, 0, &[], Cause::default()).unwrap();
        }
        dir
    }

    fn place(dir: &tempfile::TempDir, version: u64) -> PathBuf {
        Layout::new(dir.path()).version(&"a".parse().unwrap(), Version(version))
    }

    /// Whether it ended well, and what was printed.
    fn verified(dir: &Path, json: bool) -> (Result<(), Failure>, String) {
        let server = String::new();
        let global = super::super::Global { server, token: None, tls: Default::default(), json };
        let context = Context { global: &global, out: Output::captured(json) };
        let result = run(&VerifyArgs { dir: dir.to_owned(), version: None }, &context);
        (result, context.out.text())
    }

    #[test]
    fn what_is_whole_is_sound() {
        let dir = directory(2);
        let (result, text) = verified(dir.path(), false);
        result.unwrap();
        assert!(text.contains("a 1: sound") && text.contains("all sound: 2 versions"), "{text}");
        let (result, text) = verified(&place(&dir, 1), true);
        result.unwrap();
        assert!(text.contains("\"sound\":true"), "{text}");
    }

    #[test]
    fn a_version_that_is_missing_or_another_one_is_damaged() {
        let dir = directory(3);
        std::fs::remove_dir_all(place(&dir, 1)).unwrap();
        std::fs::remove_dir_all(place(&dir, 2)).unwrap();
        // Sound in itself, but not what was published under this number.
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([place(&dir, 3), place(&dir, 2)])
            .status();
        assert!(copied.unwrap().success());
        let (result, text) = verified(dir.path(), false);
        let failure = result.unwrap_err();
        assert_eq!(failure.problems.len(), 2, "{failure:?}");
        assert!(text.contains("a 1: DAMAGED") && text.contains("a 2: DAMAGED"), "{text}");
        assert!(text.contains("not the one that was published"), "{text}");
        assert!(text.contains("a 3: sound"), "{text}");
    }

    #[test]
    fn a_damaged_journal_is_among_the_lines_and_the_versions_are_read_all_the_same() {
        let dir = directory(1);
        let journal = dir.path().join("journal");
        let mut bytes = std::fs::read(&journal).unwrap();
        // A record, and then the head, of which `repair` mends the first alone.
        for (at, may_be_cut) in [(20, true), (3, false)] {
            bytes[at] ^= 1;
            std::fs::write(&journal, &bytes).unwrap();
            let (result, text) = verified(dir.path(), true);
            let failure = result.unwrap_err();
            assert_eq!(failure.problems.len(), 1);
            let hint = failure.hint.as_deref().unwrap();
            assert_eq!(hint.contains("tidetable repair"), may_be_cut, "{hint}");
            assert_eq!(hint.contains("from a backup"), !may_be_cut, "{hint}");
            assert!(!hint.contains("rollback"), "no version is damaged: {hint}");
            let lines: Vec<serde_json::Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!((&lines[0]["file"], &lines[0]["sound"]), (&json!("journal"), &json!(false)));
            assert_eq!((&lines[1]["snapshot"], &lines[1]["sound"]), (&json!("a 1"), &json!(true)));
        }
    }

    #[test]
    fn what_no_event_owns_is_said_and_not_read() {
        let dir = directory(1);
        // What a rewriting leaves that was killed before its record.
        std::fs::create_dir(place(&dir, 1).with_file_name("1.1")).unwrap();
        let (result, text) = verified(dir.path(), false);
        result.unwrap();
        assert!(text.contains("a 1.1: no event of the journal owns it"), "{text}");
        assert!(text.contains("all sound: 1 version,"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_not_called_damaged() {
        let dir = directory(1);
        let alone = tempfile::tempdir().unwrap();
        let manifest = std::fs::read_to_string(place(&dir, 1).join("manifest.json")).unwrap();
        let other = manifest.replacen("\"format\": 2", "\"format\": 1", 1);
        assert_ne!(manifest, other);
        std::fs::write(alone.path().join("manifest.json"), other).unwrap();
        let (result, text) = verified(alone.path(), false);
        let failure = result.unwrap_err();
        assert_eq!((failure.exit, failure.code.as_deref()), (Exit::Failed, Some("unknown_format")));
        assert!(text.contains("NOT READ") && !text.contains("DAMAGED"), "{text}");
        assert!(text.contains("build it again") && !text.contains("a later one"), "{text}");
        assert_eq!(failure.hint.as_deref(), Some(IF_UNREAD));
    }

    #[test]
    fn a_snapshot_that_no_server_has_is_not_to_be_rolled_back() {
        let dir = directory(1);
        let path = place(&dir, 1).join("notes");
        std::fs::write(&path, "").unwrap();
        let (result, text) = verified(&place(&dir, 1), false);
        assert_eq!(result.unwrap_err().hint.as_deref(), Some(IF_ALONE));
        assert!(text.contains("move it away") && !text.contains("push the data again"), "{text}");
    }

    #[test]
    fn a_journal_older_than_its_versions_is_no_sound_directory() {
        let dir = directory(3);
        std::fs::create_dir(place(&dir, 7)).unwrap();
        let (result, text) = verified(dir.path(), false);
        assert_eq!(result.unwrap_err().problems.len(), 1);
        assert!(text.contains("a 7: NOT OWNED: the journal never gave that number"), "{text}");
        let journal = dir.path().join("journal");
        let bytes = std::fs::read(&journal).unwrap();
        std::fs::write(&journal, &bytes[..30]).unwrap();
        for json in [false, true] {
            let (result, text) = verified(dir.path(), json);
            let failure = result.unwrap_err();
            assert_eq!((failure.exit, failure.problems.len()), (Exit::Failed, 4), "{failure:?}");
            assert_eq!(failure.code.as_deref(), Some("journal_corrupt"));
            let hint = failure.hint.as_deref().unwrap();
            assert!(
                hint.contains(&format!("tidetable repair {}`", dir.path().display())),
                "{hint}"
            );
            assert!(!text.contains("all sound"), "{text}");
        }
    }

    #[test]
    fn a_word_is_a_directory_if_there_is_one_and_a_dataset_with_a_version() {
        let dir = tempfile::tempdir().unwrap();
        let means = |word: &str, version: Option<u64>| {
            let version = version.map(Version);
            let named = VerifyArgs { dir: word.into(), version }.dataset();
            named.map(|name| name.map(|name| name.to_string())).map_err(|failure| failure.exit)
        };
        let there = dir.path().to_str().unwrap();
        assert_eq!(means(there, None), Ok(None));
        assert_eq!(means("no-such-directory", None), Ok(Some("no-such-directory".to_owned())));
        assert_eq!(means("src", None), Ok(None), "it is a directory here");
        assert_eq!(means("src", Some(3)), Ok(Some("src".to_owned())));
        assert_eq!(means(there, Some(3)), Err(Exit::Usage));
    }

    #[test]
    fn a_word_that_is_neither_a_directory_nor_a_dataset_is_told_as_both() {
        use super::super::stub::{Reply, Stub};
        let asked_of = |server: String| {
            let global =
                super::super::Global { server, token: None, tls: Default::default(), json: false };
            let context = Context { global: &global, out: Output::captured(false) };
            let args = VerifyArgs { dir: "tidetable-dtaa".into(), version: None };
            run(&args, &context).unwrap_err()
        };
        let absent = json!({"code": "dataset_not_found", "detail": "there is no dataset x"});
        let stub = Stub::answering(vec![Reply::json(404, absent)]);
        let failure = asked_of(stub.address());
        stub.finish();
        assert_eq!(failure.exit, Exit::NotFound);
        let text = failure.text();
        assert!(text.contains("no directory tidetable-dtaa here"), "{text}");
        assert!(text.contains("no dataset of that name") && text.contains("--data"), "{text}");
        // A port that was free a moment ago, and that nobody listens on.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let failure = asked_of(nobody);
        assert_eq!(failure.exit, Exit::Unreachable);
        let text = failure.text();
        assert!(text.contains("no directory tidetable-dtaa here, and no server"), "{text}");
    }

    #[test]
    fn damage_ends_with_1_and_names_what_is_damaged() {
        let out = Output::captured(false);
        assert!(Check::of(Path::new("d"), &out).conclude().is_ok());
        let mut check = Check::of(Path::new("d"), &out);
        check.damaged.push(("a 3".to_owned(), "000001.sst: crc32 differs".to_owned()));
        let failure = check.conclude().unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.text().contains("a 3: 000001.sst"), "{}", failure.text());
    }
}
