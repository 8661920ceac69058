//! Notices that the files of the certificate have changed, or is told by SIGHUP.
//!
//! They are looked at every second, through links, since that is how many systems put new
//! certificates in place. A change counts once it has been there for two looks: certificate and
//! key are two files, and whoever writes them has done one before the other.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Files, Tls};
use crate::server::Stop;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

impl Tls {
    /// Reloads what has changed, on a thread of its own, until the server stops.
    pub(crate) fn watch(self: &Arc<Self>, stop: &Stop) -> anyhow::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime that looks after the certificate")?;
        let hangups = {
            let _context = runtime.enter();
            signal(SignalKind::hangup()).context("cannot hear SIGHUP")?
        };
        let (tls, stop) = (Arc::clone(self), stop.clone());
        let seen = Seen::new(tls.at_start.clone());
        thread::Builder::new()
            .name("tls".to_owned())
            .spawn(move || runtime.block_on(tls.look_after(seen, hangups, &stop)))
            .context("cannot start the thread that looks after the certificate")
    }

    async fn look_after(&self, mut seen: Seen, mut hangups: Signal, stop: &Stop) {
        let mut looks = tokio::time::interval(EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                () = stop.asked() => return,
                _ = hangups.recv() => {
                    seen = Seen::new(look(&self.files));
                    true
                }
                _ = looks.tick() => seen.settles(look(&self.files)),
            };
            if is_due {
                self.reload();
            }
        }
    }
}

/// How a file looks from outside; `None` if it is not there.
pub(super) type Print = Option<(i64, i64, u64, u64)>;

/// How the files look now.
pub(super) fn look(files: &Files) -> Vec<Print> {
    let print = |path: &Path| {
        let metadata = path.metadata().ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec(), metadata.ino(), metadata.len()))
    };
    let client_ca = files.client_ca.as_deref();
    [Some(&*files.certificate), Some(&*files.key), client_ca]
        .into_iter()
        .flatten()
        .map(print)
        .collect()
}

/// How the files looked when they were loaded, and at the last look.
#[derive(Debug)]
struct Seen {
    loaded: Vec<Print>,
    last: Vec<Print>,
}

impl Seen {
    fn new(now: Vec<Print>) -> Self {
        Self { loaded: now.clone(), last: now }
    }

    /// Whether they are other files than those that were loaded, and have stopped changing.
    fn settles(&mut self, now: Vec<Print>) -> bool {
        let settled = now == self.last;
        self.last = now;
        let is_due = settled && self.last != self.loaded;
        if is_due {
            self.loaded.clone_from(&self.last);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_stood_for_two_looks() {
        let files = |cert: i64, key: i64| vec![Some((cert, 0, 1, 1)), Some((key, 0, 2, 1))];
        let mut seen = Seen::new(files(1, 1));
        let looks = [
            (files(1, 1), false),
            (files(2, 1), false), // The certificate was written,
            (files(2, 2), false), // then the key.
            (files(2, 2), true),
            (files(2, 2), false),
            (vec![None, Some((2, 0, 2, 1))], false),
            (vec![None, Some((2, 0, 2, 1))], true),
            (files(2, 2), false),
            (files(2, 2), true),
        ];
        for (number, (now, is_due)) in looks.into_iter().enumerate() {
            assert_eq!(seen.settles(now), is_due, "look {number}");
        }
    }
}
