//! The one writer of the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidetable_storage::{AuditLog, Digest, LogLimits, Result, Store};
use tracing::warn;

use super::allowance::Allowance;
use super::line::{Kind, Line};
use crate::metrics::Metrics;

/// How long a line may be in memory only.
pub(super) const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often it is noted where the changes stand, while there are some.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// The log, and what is known of it.
pub(super) struct Writer {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    /// `None` as long as it cannot be opened.
    log: Option<AuditLog>,
    /// Of whoever has no good token, whom a stranger can be; and of tokens.
    strangers: Allowance,
    denials: Allowance,
    refusals: Allowance,
    synced: Instant,
    noted: Instant,
    /// When it was last written how many lines there was no place for.
    told: Option<Instant>,
    /// The last change that is noted.
    change: u64,
    /// The last attempt failed, which was said.
    fails: bool,
}

impl Writer {
    pub(super) fn new(store: Arc<Store>, metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        Self {
            store,
            metrics,
            log: None,
            strangers: Allowance::new(now),
            denials: Allowance::new(now),
            refusals: Allowance::new(now),
            synced: now,
            noted: now,
            told: None,
            change: 0,
            fails: false,
        }
    }

    /// The last line and its chain; `None` as long as the log cannot be opened.
    pub(super) fn head(&self) -> Option<(u64, Digest)> {
        self.log.as_ref().map(AuditLog::head)
    }

    /// The server has started.
    pub(super) fn began(&mut self) {
        self.note("started");
        self.sync();
    }

    /// The server is about to end.
    pub(super) fn ends(&mut self) {
        self.tell_left_out();
        self.note("stopped");
        self.sync();
    }

    /// Writes a line, if there is a place for one more.
    pub(super) fn write(&mut self, line: &Line) {
        let allowance = match line.kind() {
            Kind::Denial if line.is_of_a_token() => &mut self.denials,
            Kind::Denial => &mut self.strangers,
            Kind::Refusal | Kind::Note => &mut self.refusals,
        };
        if allowance.takes(Instant::now()) {
            self.append(line);
        } else {
            self.metrics.audit.left_out(line.kind());
        }
    }

    /// What is due now and then, after each line and when there is none.
    pub(super) fn tidy(&mut self) {
        // At once when it begins, so that nobody takes the log for whole; then now and then.
        if self.told.is_none_or(|told| told.elapsed() >= NOTE_EVERY) {
            self.tell_left_out();
        }
        if self.noted.elapsed() >= NOTE_EVERY {
            if self.store.changes_head().0 != self.change {
                self.note("changes");
            }
            self.noted = Instant::now();
        }
        if self.synced.elapsed() >= SYNC_EVERY {
            self.sync();
        }
    }

    fn note(&mut self, action: &str) {
        let head = self.store.changes_head();
        self.append(&Line::noting(action, head));
        self.change = head.0;
    }

    fn tell_left_out(&mut self) {
        let (denials, refusals) = self.metrics.audit.take_untold();
        if denials + refusals > 0 {
            self.append(&Line::left_out(denials, refusals));
            self.told = Some(Instant::now());
        }
    }

    fn append(&mut self, line: &Line) {
        let written = self.opened().and_then(|log| log.append(line));
        match written {
            Ok(()) => self.metrics.audit.written(),
            Err(_) => self.metrics.audit.failed(),
        }
        self.says(written);
    }

    fn sync(&mut self) {
        self.synced = Instant::now();
        let synced = self.log.as_mut().map_or(Ok(()), AuditLog::sync);
        self.says(synced);
    }

    fn opened(&mut self) -> Result<&mut AuditLog> {
        if self.log.is_none() {
            self.log = Some(AuditLog::open(self.store.layout(), LogLimits::default())?);
        }
        Ok(self.log.as_mut().expect("it was opened two lines above"))
    }

    /// Of a disk that fails for every line, one is told.
    fn says(&mut self, done: Result<()>) {
        match done {
            Ok(()) => self.fails = false,
            Err(error) => {
                if !std::mem::replace(&mut self.fails, true) {
                    warn!(%error, "refusals and denials cannot be written to the audit log");
                }
            }
        }
    }
}
