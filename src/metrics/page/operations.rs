//! The part of the page that tells of operations: phases of pushes, gates, rollbacks, the disk,
//! and how the server is.

use std::fmt::Result;
use std::sync::atomic::Ordering::Relaxed;

use tidetable_storage::EvenPoisoned as _;

use super::{Writer, dataset_and, dataset_label};
use crate::metrics::{Metrics, PUSH_BOUNDS_S};

pub(super) fn write(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    write_phases(metrics, page)?;
    write_happened(metrics, page)?;
    write_refusals(metrics, page)?;
    write_now(metrics, page)
}

fn write_phases(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let times = metrics.phases.each();
    let times = times.map(|(phase, counts, sum)| (vec![("phase", phase.to_owned())], counts, sum));
    let help = "Time of one phase of a push that came through it";
    page.histograms("push_phase_seconds", help, &PUSH_BOUNDS_S, times)
}

fn write_happened(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let all = metrics.each().into_iter().map(|(name, d)| (name, d.happened.counts()));
    let all: Vec<_> = all.collect();
    let verdicts = all.iter().flat_map(|(name, counts)| {
        counts.verdicts.iter().flat_map(move |(gate, counted)| {
            ["passed", "refused"].into_iter().zip(*counted).map(move |(verdict, count)| {
                let mut labels = dataset_and(name, "gate", gate);
                labels.push(("verdict", verdict.to_owned()));
                (labels, count)
            })
        })
    });
    page.counters("gate_verdicts", "What gates said of versions", verdicts)?;
    let rollbacks = all.iter().flat_map(|(name, counts)| {
        [("person", counts.by_person), ("watch", counts.by_watch)]
            .map(|(by, count)| (dataset_and(name, "by", by), count))
    });
    page.counters("rollbacks", "Rollbacks, by dataset and who did it", rollbacks)
}

fn write_refusals(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let counts = &metrics.access;
    let counts = [
        ("absent", &counts.absent),
        ("invalid", &counts.invalid),
        ("forbidden", &counts.forbidden),
    ];
    let counts =
        counts.map(|(token, count)| (vec![("token", token.to_owned())], count.load(Relaxed)));
    let help =
        "Requests refused for their token: there is none, it is not good, it is not for this";
    page.counters("access_refusals", help, counts)
}

fn write_now(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let now = metrics.now.lock().even_poisoned().clone();
    if let Some(bytes) = now.disk_free {
        page.gauge("disk_free_bytes", "Bytes free on the disk of the data directory", bytes)?;
    }
    let help = "Of the free bytes, those that no push takes";
    page.gauge("disk_reserved_bytes", help, now.disk_reserved)?;
    page.gauge("open_snapshots", "Versions whose files are open", now.open_snapshots)?;
    let help = "Seconds until the last token of a name expires; less than 0 for a week after";
    let expiries = now.token_expiries.iter();
    let expiries = expiries.map(|(name, left)| (vec![("token", name.clone())], *left));
    page.gauges("token_expires_in_seconds", help, expiries)?;
    let help = "Memory taken by copies of records that are looked up most";
    page.gauge("record_copies_bytes", help, now.copied_bytes)?;
    page.gauge("ready", "1 while /readyz answers 200", u64::from(now.is_ready))?;
    let help = "0 once the journal takes nothing more until a restart";
    page.gauge("accepts_changes", help, u64::from(now.accepts_changes))?;
    let help =
        "0 while no push may begin: the disk is too full, read-only, or nothing may be changed";
    page.gauge("accepts_pushes", help, u64::from(now.accepts_pushes))?;
    let unusable = now.unusable.iter().map(|(name, is)| (dataset_label(name), u64::from(*is)));
    page.gauges("unusable", "1 while the current version cannot be served", unusable)?;
    let damaged = now.damaged.iter().map(|(name, count)| (dataset_label(name), *count));
    let help = "Versions that are kept and damaged on the disk";
    page.gauges("damaged_versions", help, damaged)?;
    if let Some(at) = now.read_longest_ago {
        let help = "When the version was read again that was read longest ago";
        page.gauge("scrub_oldest_timestamp_seconds", help, at)?;
    }
    let help = "How often every version is read again; 0: never";
    page.gauge("scrub_interval_seconds", help, now.scrub_interval)?;
    page.counters("scrub_bytes", "Bytes of versions read again", [(Vec::new(), now.scrubbed.0)])?;
    let outcomes = [("sound", now.scrubbed.1), ("damaged", now.scrubbed.2)];
    let outcomes = outcomes.map(|(what, n)| (vec![("outcome", what.to_owned())], n));
    page.counters("scrubs", "Versions read again, by what was found", outcomes)
}
