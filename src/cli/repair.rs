//! `tidetable repair`: what is wrong with a journal, and cutting it when told to.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tidetable_storage::{DatasetName, JournalFault, Repair, Standing, Version};

use super::Context;
use super::exit::{Exit, Failure};
use super::offline;
use super::output::{counted, grouped};

/// Show what is wrong with the journal of a data directory, and cut it when told to
///
/// For when the server does not start because its journal is damaged, or older than the
/// versions on the disk. Without --cut nothing is changed, and the command says what a cut
/// would do (exit code 1 if there is something to do). With --cut what stands behind the
/// sound part is taken away: activations, rollbacks, holds and pushes that stood there are
/// forgotten. No version number that may have been given is given again, and no data is
/// removed: the whole journal is kept beside it as journal.before-cut-N, and versions that
/// the shortened one does not own are moved to cut-N. After it the server starts. Killed
/// half-way, run it again. A backup is better than a cut.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  tidetable repair /var/lib/tidetable                    look; change nothing
  tidetable repair /var/lib/tidetable --cut              with the server stopped")]
pub(crate) struct RepairArgs {
    /// The data directory of a stopped server
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Cut the journal behind its sound part, and set aside what it then does not own
    #[arg(long)]
    cut: bool,
}

pub(crate) fn run(args: &RepairArgs, context: &Context<'_>) -> Result<(), Failure> {
    let repair = offline::repair(&args.dir, args.cut)?;
    context.out.either(json(&repair, args).to_string(), || text(&repair, args))?;
    if !args.cut && repair.stops_a_start() {
        let text = match &repair.journal.fault {
            Some(JournalFault::Damaged(_)) => "the journal is damaged; nothing was changed",
            Some(JournalFault::Torn) => "the journal has lost its end; nothing was changed",
            None => "the journal is older than the data; nothing was changed",
        };
        let mut failure = Failure::new(Exit::Failed, text);
        failure.code = Some("journal_corrupt".to_owned());
        return Err(failure.hint(format!(
            "restore it from a backup; or, with the server stopped, `tidetable repair {} --cut` \
             does what is listed here, and the server starts again",
            args.dir.display()
        )));
    }
    repair.erasure_key.map_or(Ok(()), |lost| Err(lost.into()))
}

fn json(repair: &Repair, args: &RepairArgs) -> Value {
    let journal = &repair.journal;
    let damage = match &journal.fault {
        Some(JournalFault::Damaged(what)) => Some(what.as_str()),
        _ => None,
    };
    let versions = |list: &[(DatasetName, Version)]| -> Vec<Value> {
        list.iter().map(|(dataset, v)| json!({"dataset": dataset, "version": v})).collect()
    };
    let path = |path: &Path| path.display().to_string();
    let moved = |(from, to): &(PathBuf, PathBuf)| json!({"from": path(from), "to": path(to)});
    let standing = |s: &Standing| {
        json!({"dataset": s.dataset, "current": s.current, "files_missing": s.files_missing,
               "cut_part_says": s.cut})
    };
    json!({
        "records": journal.records,
        "last_seq": journal.last_seq,
        "sound_bytes": journal.sound_bytes,
        "file_bytes": journal.file_bytes,
        "torn": journal.fault == Some(JournalFault::Torn),
        "damage": damage,
        "cut": args.cut && repair.is_needed(),
        "kept": repair.kept.as_deref().map(path),
        "lost_records": repair.lost_records,
        "numbers_used_up": versions(&repair.used_up),
        "failed": versions(&repair.failed),
        "deleted": versions(&repair.deleted),
        "held": repair.held,
        "set_aside": repair.set_aside.iter().map(moved).collect::<Vec<_>>(),
        "current": repair.standing.iter().map(standing).collect::<Vec<_>>(),
        "erasure_key": repair.erasure_key.as_ref().map(ToString::to_string),
    })
}

fn text(repair: &Repair, args: &RepairArgs) -> String {
    let mut lines = vec![journal_text(repair, args.cut)];
    if repair.stops_a_start() {
        lines.push(if args.cut { "It was cut:" } else { "A cut would do this:" }.to_owned());
        lines.extend(done(repair, &args.dir));
    }
    lines.join("\n")
}

fn journal_text(repair: &Repair, cut: bool) -> String {
    let journal = &repair.journal;
    let (records, at) = (counted(journal.records, "sound record"), grouped(journal.sound_bytes));
    let behind = grouped(journal.file_bytes.saturating_sub(journal.sound_bytes));
    let sound = format!("the journal: {records} in {at} bytes");
    match &journal.fault {
        None if repair.stops_a_start() => {
            format!("{sound}; but it is older than what is on the disk")
        }
        None if cut => format!("{sound}, and nothing wrong: nothing was cut"),
        None => format!("{sound}, and nothing wrong"),
        Some(JournalFault::Torn) if repair.stops_a_start() => format!(
            "{sound}, then {behind} bytes of a record that has no end; and it is older than what is \
             on the disk: more was behind it, and is lost"
        ),
        Some(JournalFault::Torn) => format!(
            "{sound}, then {behind} bytes of an append that a crash cut short: {}",
            if cut { "cut" } else { "nothing acknowledged is lost; the server cuts them at start" }
        ),
        Some(JournalFault::Damaged(what)) => format!(
            "{sound}, then damage: {what}; {behind} bytes from there on cannot be trusted, and up \
             to {} of them cannot be read",
            counted(repair.lost_records, "record")
        ),
    }
}

/// One line for each thing that a cut does.
fn done(repair: &Repair, dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |what: &str, which: String| lines.push(format!("  {what:<16}{which}"));
    let within = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    if let Some(kept) = &repair.kept {
        line("journal kept", within(kept));
    }
    for (from, to) in &repair.set_aside {
        line("set aside", format!("{} → {}", within(from), within(to)));
    }
    for (dataset, version) in &repair.failed {
        line("failed", format!("{dataset} {version}: it may have been served; push again"));
    }
    for (dataset, version) in &repair.deleted {
        line("deleted", format!("{dataset} {version}: its files are gone"));
    }
    for (dataset, version) in &repair.used_up {
        line("numbers", format!("{dataset}: those up to {version} are not given again"));
    }
    for dataset in &repair.held {
        let why = "a ready version waits that may have been rolled back";
        line("held", format!("{dataset}: {why}"));
    }
    for standing in &repair.standing {
        line("current", standing_text(standing));
    }
    lines
}

fn standing_text(standing: &Standing) -> String {
    let current = standing.current.map_or_else(|| "none".to_owned(), |v| v.to_string());
    let mut text = format!("{}: {current}", standing.dataset);
    if standing.files_missing {
        text.push_str(", whose files are not there: activate another");
    }
    if let Some(cut) = standing.cut.filter(|cut| Some(*cut) != standing.current) {
        text.push_str(&format!(" (the cut part had made {cut} current)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidetable_storage::{Digest, JournalReport};

    fn repair(fault: Option<JournalFault>) -> Repair {
        let of = |version| ("a".parse().unwrap(), Version(version));
        let mut repair = Repair {
            journal: JournalReport {
                records: 120,
                last_seq: 120,
                folded_seq: 0,
                chain_before: Digest::of(b""),
                chain: Digest::of(b""),
                sound_bytes: 4_000,
                file_bytes: 4_100,
                fault,
            },
            kept: None,
            lost_records: 0,
            used_up: Vec::new(),
            failed: Vec::new(),
            deleted: Vec::new(),
            held: Vec::new(),
            set_aside: Vec::new(),
            standing: Vec::new(),
            erasure_key: None,
        };
        if matches!(repair.journal.fault, Some(JournalFault::Damaged(_))) {
            repair.lost_records = 2;
            repair.used_up = vec![of(9)];
            repair.failed = vec![of(7)];
            repair.deleted = vec![of(3)];
            repair.held = vec![of(1).0];
            repair.set_aside = vec![("d/datasets/a/7".into(), "d/cut-4100/a/7".into())];
            let (current, cut) = (Some(Version(5)), Some(Version(7)));
            let standing = Standing { dataset: of(5).0, current, files_missing: true, cut };
            repair.standing = vec![standing];
        }
        repair
    }

    fn args(cut: bool) -> RepairArgs {
        RepairArgs { dir: "d".into(), cut }
    }

    #[test]
    fn the_report_says_what_is_sound_and_what_is_not() {
        let sound = text(&repair(None), &args(true));
        assert!(sound.contains("120 sound records") && sound.contains("nothing was cut"));
        let torn = repair(Some(JournalFault::Torn));
        assert!(text(&torn, &args(false)).contains("nothing acknowledged is lost"));
        assert!(!torn.stops_a_start() && !repair(None).stops_a_start());
        // What stands on the disk says that more than an append was lost.
        let mut lost = torn;
        lost.set_aside = vec![("d/datasets/a/7".into(), "d/cut-4100/a/7".into())];
        let looked = text(&lost, &args(false));
        assert!(!looked.contains("nothing acknowledged is lost"), "{looked}");
        assert!(looked.contains("more was behind it") && looked.contains("A cut would do this"));
    }

    #[test]
    fn a_look_lists_all_that_a_cut_would_do() {
        let damaged = repair(Some(JournalFault::Damaged("crc of record 121".to_owned())));
        let looked = text(&damaged, &args(false));
        for part in [
            "crc of record 121",
            "up to 2 records",
            "A cut would do this",
            "datasets/a/7 → cut-4100/a/7",
            "those up to 9 are not given again",
            "a 7: it may have been served",
            "a 3: its files are gone",
            "a: 5, whose files are not there",
            "the cut part had made 7 current",
            "held",
        ] {
            assert!(looked.contains(part), "{part}: {looked}");
        }
        assert!(text(&damaged, &args(true)).contains("It was cut"));
        let json = json(&damaged, &args(false));
        assert_eq!(json["numbers_used_up"], json!([{"dataset": "a", "version": 9}]));
        assert_eq!(json["set_aside"][0]["to"], "d/cut-4100/a/7");
        assert_eq!(json["cut"], false);
    }
}
