//! `tidetable repair`: what is wrong with a journal, and cutting it when told to.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Asked;
use super::exit::{Exit, Failure};
use super::offline::{self, Fault, Journal};
use super::output::grouped;

/// Show what is wrong with the journal of a data directory, and cut it when told to
///
/// For when the server does not start because its journal is damaged. Without --cut
/// nothing is changed (exit code 1 if the journal is damaged). With --cut everything
/// behind the sound part is taken away: activations and pushes that stood there are
/// forgotten, and versions only they knew are removed at the next start. The whole
/// journal is kept beside it as journal.before-cut-N; a backup is better than a cut.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable repair /var/lib/tidetable                    look; change nothing
  tidetable repair /var/lib/tidetable --cut              with the server stopped")]
pub(crate) struct RepairArgs {
    /// The data directory of a stopped server
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Cut the journal behind its sound part
    #[arg(long)]
    cut: bool,
}

pub(crate) fn run(args: &RepairArgs, asked: &Asked<'_>) -> Result<(), Failure> {
    let journal = offline::check_journal(&args.dir)?;
    let cut = args.cut && journal.fault.is_some();
    if cut {
        offline::cut_journal(&args.dir)?;
    }
    let damage = match &journal.fault {
        Some(Fault::Damaged(what)) => Some(what.as_str()),
        _ => None,
    };
    let report = json!({
        "records": journal.records,
        "sound_bytes": journal.sound_bytes,
        "file_bytes": journal.file_bytes,
        "torn": journal.fault == Some(Fault::Torn),
        "damage": damage,
        "cut": cut,
    });
    asked.out.either(report.to_string(), || text(&journal, args.cut))?;
    if damage.is_none() || cut {
        return Ok(());
    }
    let dir = args.dir.display();
    let mut failure = Failure::new(Exit::Failed, "the journal is damaged; nothing was changed");
    failure.code = Some("journal_corrupt".to_owned());
    Err(failure.hint(format!(
        "restore it from a backup; or, with the server stopped, `tidetable repair {dir} --cut` \
         forgets what stands behind byte {}",
        journal.sound_bytes
    )))
}

fn text(journal: &Journal, cut: bool) -> String {
    let (n, at) = (grouped(journal.records), grouped(journal.sound_bytes));
    let behind = grouped(journal.file_bytes.saturating_sub(journal.sound_bytes));
    let sound = format!("the journal: {n} sound records in {at} bytes");
    match &journal.fault {
        None if cut => format!("{sound}, and nothing wrong: nothing was cut"),
        None => format!("{sound}, and nothing wrong"),
        Some(Fault::Torn) => format!(
            "{sound}, then {behind} bytes of an append that a crash cut short: {}",
            if cut { "cut" } else { "nothing acknowledged is lost; the server cuts them at start" }
        ),
        Some(Fault::Damaged(what)) => format!(
            "{sound}, then damage: {what}; {behind} bytes from there on {}",
            if cut { "are cut, and kept in journal.before-cut-…" } else { "cannot be trusted" }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(fault: Option<Fault>) -> Journal {
        Journal { records: 120, sound_bytes: 4_000, file_bytes: 4_100, fault }
    }

    #[test]
    fn the_report_says_what_is_sound_what_is_not_and_what_was_done() {
        let sound = text(&journal(None), true);
        assert!(sound.contains("120 sound records") && sound.contains("nothing was cut"));
        assert!(text(&journal(Some(Fault::Torn)), false).contains("nothing acknowledged is lost"));
        let damaged = || journal(Some(Fault::Damaged("crc of record 121".to_owned())));
        let kept = text(&damaged(), false);
        assert!(kept.contains("crc of record 121") && kept.contains("cannot be trusted"), "{kept}");
        assert!(text(&damaged(), true).contains("are cut"));
    }
}
