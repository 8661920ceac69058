//! `tidetable verify`: is every byte on the disk still what was pushed?

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Asked;
use super::exit::{Exit, Failure};
use super::offline::{self, Fault, Stored, Whole};
use super::output::{bytes, grouped};
use super::progress::Progress;

/// Re-read every byte of a data directory, or of one snapshot
///
/// Reads all versions of a data directory, and its journal, from the disk and compares
/// them with their checksums; changes nothing, and may run beside the server (it reads as
/// much as the versions are big). Names each damaged file; exit code 1 if there is one.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable verify
  tidetable verify /var/lib/tidetable
  tidetable verify /var/lib/tidetable/datasets/course-recs/43")]
pub(crate) struct VerifyArgs {
    /// A data directory, or the directory of one version
    #[arg(
        value_name = "DIR",
        env = "TIDETABLE_DATA",
        hide_env_values = true,
        default_value = "tidetable-data"
    )]
    dir: PathBuf,
}

pub(crate) fn run(args: &VerifyArgs, asked: &Asked<'_>) -> Result<(), Failure> {
    let snapshots = offline::snapshots(&args.dir)?;
    let mut damaged = Vec::new();
    let mut read = 0;
    // A snapshot that stands alone has no journal.
    let alone = matches!(snapshots.as_slice(), [one] if one.dir == args.dir);
    if !alone && let Some(fault) = journal_fault(&args.dir)? {
        damaged.push(("journal".to_owned(), fault));
    }
    for stored in &snapshots {
        match verify_one(stored) {
            Ok(whole) => {
                read += whole.bytes;
                asked.out.either(
                    json!({"snapshot": stored.name, "sound": true, "records": whole.records,
                           "bytes": whole.bytes})
                    .to_string(),
                    || sound(stored, &whole),
                )?;
            }
            Err(failure) => {
                asked.out.either(
                    json!({"snapshot": stored.name, "sound": false, "code": failure.code,
                           "detail": failure.message})
                    .to_string(),
                    || format!("{}: DAMAGED: {}", stored.name, failure.message),
                )?;
                damaged.push((stored.name.clone(), failure.message));
            }
        }
    }
    if !asked.out.json && damaged.is_empty() {
        let n = grouped(snapshots.len() as u64);
        asked.out.line(format!("all sound: {n} versions, {}", bytes(read)))?;
    }
    conclude(damaged)
}

fn verify_one(stored: &Stored) -> Result<Whole, Failure> {
    let total = offline::bytes_to_verify(&stored.dir)?;
    let mut progress = Progress::begin(format!("reading {}", stored.name), Some(total));
    let whole = offline::verify(&stored.dir, &mut |read| progress.at(read));
    progress.end();
    whole
}

fn sound(stored: &Stored, whole: &Whole) -> String {
    format!("{}: sound, {} records, {}", stored.name, grouped(whole.records), bytes(whole.bytes))
}

fn journal_fault(dir: &std::path::Path) -> Result<Option<String>, Failure> {
    let journal = offline::check_journal(dir)?;
    Ok(match journal.fault {
        Some(Fault::Damaged(what)) => Some(format!("at byte {}: {what}", journal.sound_bytes)),
        Some(Fault::Torn) | None => None,
    })
}

fn conclude(damaged: Vec<(String, String)>) -> Result<(), Failure> {
    if damaged.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(
        Exit::Failed,
        format!("{} of what was read is damaged", grouped(damaged.len() as u64)),
    );
    failure.code = Some("data_corrupt".to_owned());
    failure.problems = damaged.into_iter().map(|(name, what)| format!("{name}: {what}")).collect();
    Err(failure.hint(
        "damaged data is never served as a value. `tidetable rollback` serves an earlier \
         version, or push the data again; `tidetable repair DIR` is for the journal",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_ends_with_1_and_names_what_is_damaged() {
        assert!(conclude(Vec::new()).is_ok());
        let damaged = vec![("a 3".to_owned(), "000001.sst: crc32 differs".to_owned())];
        let failure = conclude(damaged).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.text().contains("a 3: 000001.sst"), "{}", failure.text());
    }
}
