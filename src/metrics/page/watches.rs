//! What watches have seen, and how fresh datasets are.

use std::fmt::Result;

use super::super::Metrics;
use super::super::watched::GAUGES;
use super::{Writer, dataset_label};

pub(super) fn write(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let all = metrics.each();
    let alarms = all.iter().map(|(name, d)| (dataset_label(name), d.watched.alarms()));
    let help = "Versions that did worse than the one before, as their watches saw it";
    page.counters("watch_alarms", help, alarms)?;
    let read: Vec<_> = all.iter().map(|(name, d)| (name, d.watched.gauges())).collect();
    for (at, (gauge, help)) in GAUGES.into_iter().enumerate() {
        let samples = read.iter().map(|(name, values)| (dataset_label(name), values[at]));
        page.gauges(gauge, help, samples)?;
    }
    Ok(())
}
