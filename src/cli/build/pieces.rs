//! Pieces of a snapshot: which one a process makes, and all of them made one.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use serde_json::json;
use tidetable_storage::{Beside, CutKey, Pieces, Share};

use super::note;
use crate::cli::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{bytes, counted, duration};
use crate::cli::progress::Progress;

/// `2/8`: which piece of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceOf {
    number: u32,
    of: u32,
}

impl FromStr for PieceOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a piece of so many, like 2/8".to_owned();
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let parse = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let (number, of) = (parse(number)?, parse(of)?);
        let share = Share { number, of, cuts: None };
        share.check().map_err(|e| e.detail().to_owned())?;
        Ok(Self { number, of })
    }
}

impl PieceOf {
    /// The same with the keys at which pieces are cut, if they are told.
    pub(super) fn share(self, split_at: &[String]) -> Result<Share, Failure> {
        let cuts = match split_at {
            [] => None,
            [one] if one.starts_with('@') => Some(read_keys(Path::new(&one[1..]))?),
            keys => Some(keys.to_vec()),
        };
        let cut = |key: String| CutKey(key.into_bytes());
        let cuts = cuts.map(|keys| keys.into_iter().map(cut).collect());
        let share = Share { number: self.number, of: self.of, cuts };
        share.check().map_err(|e| Failure::usage(format!("--split-at: {}", e.detail())))?;
        Ok(share)
    }
}

fn read_keys(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::io("read the keys of --split-at in", path.display(), &e))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Makes one snapshot of all pieces.
pub(super) fn merge(dirs: &[PathBuf], out: &Path, context: &Context<'_>) -> Result<(), Failure> {
    let began = Instant::now();
    let pieces = Pieces::find(dirs).map_err(refused)?;
    let place = Beside::begin(out)?;
    place.anew("merge")?;
    let mut progress =
        Progress::begin(format!("merging {} pieces", dirs.len()), Some(pieces.bytes()));
    let merged = pieces.merge(&place.dir(), &mut |bytes| progress.at(bytes));
    progress.end();
    let merged = match merged {
        Ok(merged) => merged,
        Err(error) => {
            place.give_up();
            return Err(refused(error));
        }
    };
    place.finish()?;
    match (merged.files_kept, merged.files_copied) {
        (0, _) => note(
            "the pieces were compressed differently, so all records were written anew; \
             pieces of the same sources, or with the same --like, are linked",
        ),
        (_, 0) => {}
        (kept, copied) => note(format_args!("{copied} of {kept} files were copied, not linked")),
    }
    let manifest = merged.snapshot.manifest();
    let dir = out.display().to_string();
    let json = json!({
        "out": dir, "parts": dirs.len(), "records": manifest.records, "bytes": manifest.bytes(),
        "raw_bytes": manifest.key_bytes + manifest.value_bytes,
        "content_digest": manifest.content_digest,
        "files_kept": merged.files_kept, "files_copied": merged.files_copied,
    });
    context.out.either(json.to_string(), || {
        format!(
            "{dir} holds all {} pieces: {}, {}, in {}",
            dirs.len(),
            counted(manifest.records, "record"),
            bytes(manifest.bytes()),
            duration(began.elapsed())
        )
    })
}

/// What is wrong with pieces is refused, as rows are that cannot be used.
fn refused(error: tidetable_storage::Error) -> Failure {
    let exit = Exit::of_push(Some(error.code().as_str()));
    let mut failure = Failure::from(error);
    failure.exit = exit;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_one_of_so_many() {
        let piece = |text: &str| text.parse::<PieceOf>().map(|p| (p.number, p.of));
        assert_eq!((piece("2/8"), piece("1/1")), (Ok((2, 8)), Ok((1, 1))));
        for bad in ["", "2", "0/8", "9/8", "2/", "/8", "-1/2", "2/8/9", "1/0", "1/4294967296"] {
            assert!(piece(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_are_cut_at_keys_that_are_told_or_stand_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cuts");
        std::fs::write(&file, "b, c\nm\n").unwrap();
        let share = |keys: &[&str]| {
            let keys: Vec<_> = keys.iter().map(|&key| key.to_owned()).collect();
            PieceOf { number: 2, of: 3 }.share(&keys).map(|share| share.cuts)
        };
        let cuts =
            |keys: &[&str]| Some(keys.iter().map(|k| CutKey(k.as_bytes().to_vec())).collect());
        assert_eq!(share(&["b", "m"]).unwrap(), cuts(&["b", "m"]));
        assert_eq!(share(&[&format!("@{}", file.display())]).unwrap(), cuts(&["b, c", "m"]));
        assert_eq!(share(&[]).unwrap(), None);
        for bad in [&["b"][..], &["m", "b"], &["b", "b"], &["", "b"], &["b", "c", "d"]] {
            assert_eq!(share(bad).unwrap_err().exit, Exit::Usage, "{bad:?}");
        }
        assert_eq!(share(&["@nowhere"]).unwrap_err().exit, Exit::NotFound);
    }
}
