//! `tidetable build`: rows become a snapshot on this machine, without a server. With
//! [`crate::pushes`]'s own code, so that the same rows have the same content digest.

mod cuts;
mod pieces;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;
use tidetable_storage::{
    Beside, Builder, Code, Compression, DatasetName, MANIFEST, PIECE, Share, VerifiedSnapshot,
    make_empty_piece, make_piece, piece_in,
};

use super::Context;
use super::exit::{Exit, Failure};
use super::notes;
use super::output::{bytes, counted, duration};
use super::progress::Progress;
use super::rows::{RowOptions, SourceOptions};
use crate::config::Bytes;
use crate::ingest::{self, Gathered, GrowthLimits, IngestError, Input};
use crate::pushes::{self, Job, Phase, Sizes};
use pieces::PieceOf;

/// Build a snapshot of rows on this machine, to be pushed whole
///
/// Reads the sources as `push` does, and writes into a new directory the files that a server would
/// have built of them, every byte read back. `tidetable push DATASET DIR` sends them: the
/// server compares and opens them, and parses nothing. The same rows give the same content digest as
/// a push of them. DATASET is for messages; a snapshot may be pushed as any.
///
/// It is made in DIR.tmp and renamed when it is whole. A directory with something in it is refused.
///
/// Several processes, on several machines, can build it together without talking to each other. Tell
/// each which piece of how many it makes (--part 2/8), and at which keys pieces are cut (--split-at):
/// all may read the same sources, and each keeps the rows of its keys. Without --split-at, give each
/// sources whose keys all come before, or all behind, those of the others, compared byte by byte (`9`
/// comes behind `10`). --merge makes one snapshot of all pieces. It refuses them if one is missing, if
/// they overlap, or if they were built differently. It links files instead of copying them if the
/// pieces were compressed alike, which they are if they have the same sources or the same --like.
#[derive(Args, Debug)]
#[command(
    override_usage = "tidetable build [OPTIONS] <DATASET> <SOURCE>... --key <FIELD,…> --out <DIR>\n       \
                      tidetable build --merge <PIECE>... --out <DIR>",
    after_help = "\
Examples:
  tidetable build course-recs recs.parquet --key learner_id --out course-recs.snapshot
  tidetable push course-recs course-recs.snapshot
  tidetable build recs 'out/*.parquet' --key learner_id --cuts 4 > cuts
  tidetable build recs 'out/*.parquet' --key learner_id --split-at @cuts --part 1/4 --out piece-1
  tidetable build --merge piece-1 piece-2 piece-3 piece-4 --out recs.snapshot"
)]
pub(crate) struct BuildArgs {
    /// The dataset that it is for
    #[arg(required_unless_present = "merge")]
    dataset: Option<DatasetName>,
    /// Files, directories, globs, addresses of a store, or - for standard input: as for push
    #[arg(value_name = "SOURCE", required_unless_present = "merge")]
    sources: Vec<String>,
    #[command(flatten)]
    how: SourceOptions,
    #[command(flatten)]
    rows: RowOptions,

    /// The directory to make
    #[arg(long, value_name = "DIR", required_unless_present = "cuts", help_heading = "Building")]
    out: Option<PathBuf>,
    /// How values are compressed
    #[arg(long, value_enum, default_value_t, help_heading = "Building")]
    compression: CompressionName,
    /// How much memory sorting may use; the rest is sorted on the disk, beside DIR
    #[arg(long, value_name = "SIZE", default_value = "512MiB", help_heading = "Building")]
    sort_memory: Bytes,

    /// Make this piece of so many: 2/8
    #[arg(long, value_name = "I/N", help_heading = "Several processes")]
    part: Option<PieceOf>,
    /// The first key of every piece but the first, ascending byte by byte; or @FILE, with a key a line
    #[arg(
        long,
        value_name = "KEY,…|@FILE",
        value_delimiter = ',',
        requires = "part",
        help_heading = "Several processes"
    )]
    split_at: Vec<String>,
    /// Compress with what the snapshot or piece in DIR was compressed with, so that pieces of different
    /// sources can be merged without being written anew
    #[arg(long, value_name = "DIR", help_heading = "Several processes")]
    like: Option<PathBuf>,
    /// Build nothing: print keys that cut the sources into so many pieces of about the same number of
    /// keys, for --split-at
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(2..=1000),
        conflicts_with_all = ["out", "part", "merge"],
        help_heading = "Several processes"
    )]
    cuts: Option<u32>,
    /// Make one snapshot of all pieces
    #[arg(
        long,
        value_name = "PIECE",
        num_args = 1..,
        conflicts_with_all = ["dataset", "sources", "part", "split_at", "like", "compression"],
        help_heading = "Several processes"
    )]
    merge: Vec<PathBuf>,
}

/// The names of [`Compression`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CompressionName {
    /// Not at all
    None,
    /// LZ4
    #[default]
    Lz4,
    /// Zstandard: smaller, slower
    Zstd,
}

pub(crate) fn run(args: &BuildArgs, context: &Context<'_>) -> Result<(), Failure> {
    if let Some(out) = args.out.as_deref().filter(|_| !args.merge.is_empty()) {
        args.refuse_rows()?;
        return pieces::merge(&args.merge, out, context);
    }
    args.rows.check()?;
    if let Some(number) = args.cuts {
        return cuts::print((&args.sources, &args.how), &args.rows, number, &context.out);
    }
    let (Some(out), Some(dataset)) = (args.out.as_deref(), &args.dataset) else {
        return Err(Failure::usage("a build needs DATASET, SOURCE and --out"));
    };
    let share = args.part.as_ref().map(|part| part.share(&args.split_at)).transpose()?;
    let place = Beside::begin(out)?;
    place.anew("build")?;
    let began = std::time::Instant::now();
    let build = Build { args, share: share.as_ref(), place: &place, dataset };
    let made = match build.run() {
        Ok(made) => made,
        Err(failure) => {
            place.give_up();
            return Err(failure);
        }
    };
    place.finish()?;
    let dir = out.display().to_string();
    context.out.either(made.json(dataset, &dir, share.as_ref()), || {
        format!("{}, in {}", made.text(dataset, &dir, share.as_ref()), duration(began.elapsed()))
    })
}

/// What was built.
struct Built {
    /// `None`: a piece without a record.
    snapshot: Option<VerifiedSnapshot>,
    gathered: Gathered,
}

struct Build<'a> {
    args: &'a BuildArgs,
    share: Option<&'a Share>,
    place: &'a Beside,
    dataset: &'a DatasetName,
}

impl Build<'_> {
    fn run(&self) -> Result<Built, Failure> {
        let options = serde_json::to_string(&self.args.rows).map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot write the row options: {e}"))
        })?;
        if self.share.is_some() {
            // Sources that are not there are no piece without records.
            ingest::expand_sources(&self.args.sources, &self.args.how).map_err(of_rows)?;
        }
        let made = match (self.make(), self.share) {
            (Err(error), Some(share)) if error.code == Code::NoRows => {
                let dir = self.place.dir();
                // What was begun there has no file yet that is of use.
                let _ = std::fs::remove_dir_all(&dir);
                make_empty_piece(&dir, share, &options)?;
                return Ok(Built { snapshot: None, gathered: Gathered::default() });
            }
            (made, _) => made.map_err(of_rows)?,
        };
        let what = format!("reading {} back", self.dataset);
        let mut progress = Progress::begin(what, Some(made.snapshot.verify_bytes()));
        let snapshot = made.snapshot.verify(&mut |bytes| progress.at(bytes));
        progress.end();
        let snapshot = snapshot?;
        if let Some(share) = self.share {
            make_piece(&snapshot, share, &options)?;
        }
        Ok(Built { snapshot: Some(snapshot), gathered: made.gathered })
    }

    fn make(&self) -> Result<pushes::Made, IngestError> {
        let args = self.args;
        let inputs = || ingest::expand_sources(&args.sources, &args.how);
        let dictionary = self.dictionary(&inputs)?;
        let out = self.place.dir();
        let job = Job {
            arrival: None,
            inputs: &inputs,
            options: &args.rows,
            erased: None,
            share: self.share,
            compression: args.compression.into(),
            dictionary: dictionary.as_deref(),
            out: &out,
            sort_memory: args.sort_memory.0,
            sizes: Sizes::MOST,
            growth: GrowthLimits::default(),
        };
        let mut shown: Option<(Phase, Progress)> = None;
        let made = pushes::make_snapshot(&job, &mut |phase, read| {
            let is_other = shown.as_ref().is_none_or(|(shown, _)| *shown != phase);
            if is_other {
                shown.take().into_iter().for_each(|(_, before)| before.end());
                let (what, total) = match phase {
                    Phase::Reading => ("reading", read.total_bytes),
                    _ => ("sorting and writing", None),
                };
                shown = Some((phase, Progress::begin(format!("{what} {}", self.dataset), total)));
            }
            if let Some((_, bar)) = &mut shown {
                bar.at(read.bytes);
                bar.say_on_bar(&counted(read.rows, "row"));
            }
        });
        shown.into_iter().for_each(|(_, bar)| bar.end());
        made
    }

    /// What values are compressed with, if that is not learnt from the rows of this build alone.
    fn dictionary(
        &self,
        inputs: &dyn Fn() -> Result<Vec<Input>, IngestError>,
    ) -> Result<Option<Vec<u8>>, IngestError> {
        let compression = self.args.compression.into();
        if let Some(like) = &self.args.like {
            return dictionary_in(like, compression).map(Some);
        }
        if self.share.is_none_or(|share| share.cuts.is_none()) {
            return Ok(None);
        }
        // All processes read these sources, and learn the same from them.
        let inputs = inputs()?;
        are_read_twice(&inputs)?;
        let samples = ingest::common_samples(inputs, &self.args.rows, GrowthLimits::default())?;
        Ok(Some(Builder::dictionary_of(compression, &samples)))
    }
}

/// Refuses what can be read once only: whoever opened a pipe again would wait for ever.
fn are_read_twice(inputs: &[Input]) -> Result<(), IngestError> {
    let Some(input) = inputs.iter().find(|input| !input.can_be_read_again()) else { return Ok(()) };
    Err(IngestError::setting(format!(
        "with --split-at sources are read twice, which {} cannot be: write it to a file, and build \
         of that",
        input.name
    )))
}

/// The dictionary of the snapshot or piece in that directory, which must be of that compression.
fn dictionary_in(dir: &Path, compression: Compression) -> Result<Vec<u8>, IngestError> {
    // What cannot be looked at is told by the reading.
    let is_absent = |name: &str| matches!(dir.join(name).try_exists(), Ok(false));
    if is_absent(MANIFEST) && is_absent(PIECE) {
        let text = format!("--like names {}: no snapshot or piece is there", dir.display());
        return Err(IngestError { absent: true, ..IngestError::setting(text) });
    }
    let (found, dictionary) = tidetable_storage::dictionary_in(dir)?;
    if found == compression {
        return Ok(dictionary);
    }
    let name = |compression| format!("{compression:?}").to_ascii_lowercase();
    Err(IngestError::setting(format!(
        "--like names {}, whose values are compressed otherwise: --compression {}",
        dir.display(),
        name(found)
    )))
}

impl BuildArgs {
    fn refuse_rows(&self) -> Result<(), Failure> {
        match given_row_options(&self.rows).first() {
            None => Ok(()),
            Some(flag) => Err(Failure::usage(format!(
                "{flag} says how rows become records, and pieces have records already"
            ))),
        }
    }
}

/// The flags of row options that were given.
pub(super) fn given_row_options(rows: &RowOptions) -> Vec<String> {
    let Ok(serde_json::Value::Object(given)) = serde_json::to_value(rows) else {
        return Vec::new();
    };
    given.keys().map(|name| format!("--{}", name.replace('_', "-"))).collect()
}

/// Rows that cannot be used are refused, as they would be when a server reads them.
pub(super) fn of_rows(error: IngestError) -> Failure {
    let exit = match error.code {
        Code::InvalidSetting => Exit::Usage,
        code => Exit::of_push(Some(code.as_str())),
    };
    let is_absent = error.absent;
    let mut failure = Failure::from(error);
    if !is_absent {
        failure.exit = exit;
    }
    failure
}

impl From<CompressionName> for Compression {
    fn from(name: CompressionName) -> Self {
        match name {
            CompressionName::None => Self::None,
            CompressionName::Lz4 => Self::Lz4,
            CompressionName::Zstd => Self::Zstd,
        }
    }
}

impl Built {
    fn text(&self, dataset: &DatasetName, dir: &str, share: Option<&Share>) -> String {
        let size = self.snapshot.as_ref().map_or_else(
            || "no records".to_owned(),
            |snapshot| {
                let manifest = snapshot.manifest();
                format!("{}, {}", counted(manifest.records, "record"), bytes(manifest.bytes()))
            },
        );
        let duplicates = match self.gathered.duplicates_dropped {
            0 => String::new(),
            n => format!(", {} dropped", counted(n, "duplicate row")),
        };
        match share {
            None => format!("{dir} holds {dataset}: {size}{duplicates}"),
            Some(Share { number, of, .. }) => {
                format!("{dir} is piece {number} of {of} of {dataset}: {size}{duplicates}")
            }
        }
    }

    fn json(&self, dataset: &DatasetName, dir: &str, share: Option<&Share>) -> String {
        let manifest = self.snapshot.as_ref().map(VerifiedSnapshot::manifest);
        json!({
            "dataset": dataset, "out": dir,
            "part": share.map(|share| share.number), "parts": share.map(|share| share.of),
            "records": manifest.map_or(0, |m| m.records),
            "bytes": manifest.map_or(0, tidetable_storage::Manifest::bytes),
            "raw_bytes": manifest.map_or(0, |m| m.key_bytes + m.value_bytes),
            "content_digest": manifest.map(|m| m.content_digest),
            "duplicates_dropped": self.gathered.duplicates_dropped,
        })
        .to_string()
    }
}

/// Why a directory is no snapshot that could be pushed or read back, if it is a piece of one.
pub(super) fn refuse_piece(dir: &Path) -> Result<(), Failure> {
    let Some(Share { number, of, .. }) = piece_in(dir) else { return Ok(()) };
    let text = format!(
        "{} is piece {number} of {of} of a snapshot, and not the whole of it",
        dir.display()
    );
    let hint = "`tidetable build --merge` makes one of all pieces, and reads every byte of them";
    Err(Failure::new(Exit::Refused, text).hint(hint))
}

/// Says on standard error what a program need not know.
fn note(text: impl std::fmt::Display) {
    notes::say(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_once_is_not_read_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.ndjson");
        std::fs::write(&path, "{}").unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let file = || Input::file("rows.ndjson", &path);
        are_read_twice(&[file()]).unwrap();
        for once in [Input::file("pipe", &pipe), Input::reader("standard input", std::io::empty())]
        {
            let name = once.name.clone();
            let error = are_read_twice(&[file(), once]).unwrap_err();
            assert_eq!(error.code, Code::InvalidSetting);
            assert!(error.detail.contains(&format!("which {name} cannot be")), "{error}");
        }
    }
}
