//! The part of the page that tells whom the server did not serve, and how long its certificate
//! lasts.

use std::fmt::Result;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::metrics::MetricType;

use super::{Labels, Writer};
use crate::metrics::Metrics;

pub(super) fn write(metrics: &Metrics, page: &mut Writer<'_>) -> Result {
    let shed = metrics.shed.each().map(|(class, count)| (vec![("class", class.to_owned())], count));
    page.counters("shed", "Requests refused because too much ran already, by class", shed)?;
    let tls = &metrics.tls;
    let failed = tls.failed_handshakes.load(Relaxed);
    page.counters(
        "tls_handshakes_failed",
        "TLS handshakes that came to nothing",
        [(Labels::new(), failed)],
    )?;
    let reloads = [("done", &tls.reloads), ("failed", &tls.failed_reloads)];
    let reloads =
        reloads.map(|(what, count)| (vec![("outcome", what.to_owned())], count.load(Relaxed)));
    page.counters("tls_reloads", "Times the certificate was read anew, by outcome", reloads)?;
    let help = "Seconds until the certificate ends; less than 0 once it has";
    let name = "tls_certificate_expires_in_seconds";
    let mut gauge = page.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
    tls.expires_in().map_or(Ok(()), |seconds| gauge.encode_gauge(&seconds))
}
