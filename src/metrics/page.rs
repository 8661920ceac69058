//! The counters as one page of OpenMetrics text.

use std::fmt::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use tidetable_storage::{DatasetName, EvenPoisoned as _, process_memory};

use super::arms::LOOKUP_BOUNDS_NS;
use super::{
    Arm, ArmTotals, BATCH_BOUNDS, DatasetMetrics, Metrics, PUSH_BOUNDS_S, PushOutcome, ServedGauges,
};

mod limits;
mod operations;
mod watches;

/// Reads one gauge of what a dataset serves.
type Gauge = fn(&ServedGauges) -> u64;
/// Labels of one sample.
type Labels = Vec<(&'static str, String)>;

pub(super) fn render(metrics: &Arc<Metrics>) -> String {
    let mut registry = Registry::with_prefix("tidetable");
    registry.register_collector(Box::new(Page(Arc::clone(metrics))));
    let mut page = String::with_capacity(16 * 1024);
    text::encode(&mut page, &registry).expect("a String takes all that is written to it");
    page
}

#[derive(Debug)]
struct Page(Arc<Metrics>);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
        let mut page = Writer(encoder);
        write_server(&self.0, &mut page)?;
        limits::write(&self.0, &mut page)?;
        write_requests(&self.0, &mut page)?;
        write_lookups(&self.0, &mut page)?;
        write_pushes(&self.0, &mut page)?;
        write_datasets(&self.0, &mut page)?;
        watches::write(&self.0, &mut page)?;
        operations::write(&self.0, &mut page)
    }
}

fn write_server(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    page.info("build", "The version of this server", "version", env!("CARGO_PKG_VERSION"))?;
    let started = metrics.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    page.gauge("started_timestamp_seconds", "When this server started", started)?;
    let connections = &metrics.connections;
    let open = connections.open.load(Relaxed);
    page.gauge("connections", "Open connections", open)?;
    for (name, help, counter) in [
        ("connections_accepted", "Connections accepted", &connections.accepted),
        ("connections_refused", "Connections closed at once: too many", &connections.refused),
        ("connections_timed_out", "Connections closed for silence", &connections.timed_out),
        ("accept_errors", "Times the system gave no connection", &connections.accept_errors),
        ("panics", "Requests that ended in a panic", &metrics.panics),
        (
            "pushes_read_along",
            "Pushes whose builder was started while their body arrived",
            &metrics.read_along,
        ),
    ] {
        page.counters(name, help, [(Labels::new(), counter.load(Relaxed))])?;
    }
    let webhooks = metrics.webhooks.each().map(|(what, n)| (vec![("outcome", what.to_owned())], n));
    page.counters("webhooks", "Notices by outcome; failed counts attempts", webhooks)?;
    let audit = metrics.audit.each().map(|(what, n)| (vec![("outcome", what.to_owned())], n));
    page.counters("audit_lines", "Lines of the audit log by outcome", audit)?;
    page.gauge("journal_bytes", "Length of the journal", metrics.journal_bytes.load(Relaxed))?;
    if let Some(bytes) = process_memory("VmRSS") {
        page.gauge("memory_bytes", "Memory of this process in RAM", bytes)?;
    }
    if let Some(files) = open_files() {
        page.gauge("open_files", "Files and sockets this process has open", files)?;
    }
    Ok(())
}

fn write_requests(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let routes = metrics.requests.read().even_poisoned();
    let samples = routes.iter().flat_map(|(route, counters)| {
        counters.all().into_iter().map(move |(status, count)| {
            (vec![("route", route.clone()), ("status", status.to_string())], count)
        })
    });
    page.counters("requests", "Requests answered, by route and status", samples)
}

fn write_lookups(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let all = metrics.each();
    // Of an arm that nobody has read there is nothing to tell; what is current is always there.
    let arms = all.iter().flat_map(|(name, dataset)| {
        let read = |arm: &Arm| *arm == Arm::Current || dataset.totals(*arm) != ArmTotals::default();
        Arm::ALL.into_iter().filter(read).map(move |arm| (name, arm, dataset.totals(arm)))
    });
    let arms: Vec<(&DatasetName, Arm, ArmTotals)> = arms.collect();
    let seconds = |ns: u64| ns as f64 / 1e9;
    let times = arms.iter().map(|(name, arm, totals)| {
        let labels = dataset_and(name, "arm", arm.as_str());
        (labels, totals.times.to_vec(), seconds(totals.sum_ns))
    });
    let help = "Time the store took for one lookup, by dataset and arm";
    page.histograms("lookup_seconds", help, &LOOKUP_BOUNDS_NS.map(seconds), times)?;
    let samples = arms.iter().flat_map(|(name, arm, totals)| {
        let results = [("hit", totals.hits), ("miss", totals.misses), ("error", totals.errors)];
        results.map(|(result, count)| {
            let mut labels = dataset_and(name, "arm", arm.as_str());
            labels.push(("result", result.to_owned()));
            (labels, count)
        })
    });
    page.counters("lookups", "Keys looked up, by dataset, arm and result", samples)?;
    let batches = all.iter().filter_map(|(name, dataset)| {
        let (mut sizes, mut keys) = ([0; BATCH_BOUNDS.len() + 1], 0);
        for shard in &**dataset.batches.get()? {
            for (sum, size) in sizes.iter_mut().zip(&shard.sizes) {
                *sum += size.load(Relaxed);
            }
            keys += shard.keys.load(Relaxed);
        }
        Some((dataset_label(name), sizes.to_vec(), keys as f64))
    });
    let bounds = BATCH_BOUNDS.map(|keys| keys as f64);
    page.histograms("batch_keys", "Keys of one batch, by dataset", &bounds, batches)
}

fn write_pushes(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let all = metrics.each();
    let samples = all.iter().flat_map(|(name, dataset)| {
        PushOutcome::ALL.iter().zip(&dataset.pushes).map(move |(outcome, count)| {
            (dataset_and(name, "outcome", outcome.as_str()), count.load(Relaxed))
        })
    });
    page.counters("pushes", "Pushes ended, by dataset and outcome", samples)?;
    let left_out = all.iter().map(|(name, d)| (dataset_label(name), d.erased_rows.load(Relaxed)));
    page.counters(
        "erased_rows",
        "Rows that pushes left out, since their keys are erased",
        left_out,
    )?;
    let help = "Time from the beginning of the build of a push to its end";
    let times = {
        let times = metrics.push_times.lock().even_poisoned();
        [(Labels::new(), times.buckets.to_vec(), times.sum)]
    };
    page.histograms("push_seconds", help, &PUSH_BOUNDS_S, times)
}

fn write_datasets(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let all = metrics.each();
    let served = |dataset: &DatasetMetrics| *dataset.served.lock().even_poisoned();
    let gauges: [(&str, &str, Gauge); 7] = [
        ("current_version", "The version being served; 0 for none", |s| s.version),
        ("current_records", "Records in the version being served", |s| s.records),
        ("current_bytes", "Bytes on disk of the version being served", |s| s.bytes),
        ("activated_timestamp_seconds", "When it was activated", |s| s.activated_at),
        ("as_of_timestamp_seconds", "The time its data is of; 0 if not named", |s| s.as_of),
        ("held", "1 while the dataset is held", |s| u64::from(s.held)),
        ("canary_version", "The version that is a canary; 0 for none", |s| {
            s.canary.map_or(0, |canary| canary.version)
        }),
    ];
    for (name, help, value) in gauges {
        let samples = all.iter().map(|(name, d)| (dataset_label(name), value(&served(d))));
        page.gauges(name, help, samples)?;
    }
    let share = |d: &DatasetMetrics| served(d).canary.map_or(0.0, |canary| canary.percent);
    let shares = all.iter().map(|(name, d)| (dataset_label(name), share(d)));
    page.gauges("canary_percent", "The share of the units that a canary serves", shares)?;
    let versions = all.iter().map(|(name, d)| (dataset_label(name), d.versions.load(Relaxed)));
    page.gauges("versions", "Versions on disk", versions)?;
    let bytes = all.iter().map(|(name, d)| (dataset_label(name), d.disk_bytes.load(Relaxed)));
    page.gauges("disk_bytes", "Bytes on disk of all versions", bytes)
}

fn dataset_label(name: &impl ToString) -> Labels {
    vec![("dataset", name.to_string())]
}

fn dataset_and(name: &impl ToString, label: &'static str, value: &str) -> Labels {
    vec![("dataset", name.to_string()), (label, value.to_owned())]
}

/// The shapes of metric that this page is made of.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn info(&mut self, name: &str, help: &str, label: &'static str, value: &str) -> Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&[(label, value)])
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| match labels.as_slice() {
            [] => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
            _ => metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None),
        })
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        samples
            .into_iter()
            .try_for_each(|(labels, value)| metric.encode_family(&labels)?.encode_gauge(&value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Of each sample its labels, one count more than there are bounds (what is above them
    /// all), and the sum.
    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64],
        samples: impl IntoIterator<Item = (Labels, Vec<u64>, f64)>,
    ) -> Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        samples.into_iter().try_for_each(|(labels, counts, sum)| {
            if counts.len() != bounds.len() + 1 {
                return Err(Error);
            }
            let count = counts.iter().sum();
            let bounds = bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts).collect();
            match labels.as_slice() {
                [] => metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None),
                _ => {
                    let mut sample = metric.encode_family(&labels)?;
                    sample.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
                }
            }
        })
    }
}

fn open_files() -> Option<u64> {
    Some(Path::new("/proc/self/fd").read_dir().ok()?.count() as u64)
}
