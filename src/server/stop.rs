//! Asking the server to stop: from a signal, or from whoever started it.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::ending::end;

/// How far stopping has come. It only goes on, never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Connections are accepted.
    Serving,
    /// None is accepted; running requests may end.
    Draining,
    /// Everything is cut off.
    Now,
}

/// The handle; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Sender<Stage>);

impl Stop {
    /// Nobody has asked yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Stage::Serving))
    }

    /// Stop accepting, and let running requests end within their time.
    pub(crate) fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Stop at once.
    pub(crate) fn now(&self) {
        self.advance(Stage::Now);
    }

    /// Whether anyone has asked: then the server is not ready any more.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow() > Stage::Serving
    }

    fn advance(&self, to: Stage) {
        self.0.send_if_modified(|stage| {
            let further = to > *stage;
            *stage = to.max(*stage);
            further
        });
    }

    /// Waits until anyone has asked.
    pub(crate) async fn asked(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Waits until stopping has come at least this far.
    pub(super) async fn reached(&self, stage: Stage) {
        let mut stages = self.0.subscribe();
        // The sender lives in self: the channel cannot be closed while this waits.
        let _ = stages.wait_for(|now| *now >= stage).await;
    }

    /// From now on SIGTERM and SIGINT mean [`Stop::drain`], a second one means
    /// [`Stop::now`], and a third ends the process on the spot. Works on a thread of its own until the process ends.
    pub(crate) fn on_signals(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot start the runtime that hears signals")?;
        let (terminate, interrupt) = {
            let _context = runtime.enter();
            let hear = |kind| signal(kind).context("cannot hear signals");
            (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?)
        };
        let stop = self.clone();
        let hear = move || runtime.block_on(stop.hear(terminate, interrupt));
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(hear)
            .context("cannot start the thread that hears signals")?;
        Ok(())
    }

    async fn hear(
        self,
        mut terminate: tokio::signal::unix::Signal,
        mut interrupt: tokio::signal::unix::Signal,
    ) {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            self.heard(name);
        }
    }

    /// Does what this signal means, and then says so: a log that takes nothing must not keep the
    /// server from stopping.
    fn heard(&self, name: &str) {
        let stage = *self.0.borrow();
        match stage {
            Stage::Serving => {
                self.drain();
                tracing::info!("{name}: no new connections; running requests may end");
            }
            Stage::Draining => {
                self.now();
                tracing::warn!("{name} again: stopping at once");
            }
            Stage::Now => {
                // Whoever asks a third time must not have to look for SIGKILL.
                tracing::error!("{name} a third time: the process ends as it is");
                end(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};

    #[tokio::test]
    async fn one_signal_drains_and_two_stop() {
        let stop = Stop::new();
        stop.on_signals().unwrap();
        assert!(!stop.is_asked());
        kill_process(getpid(), Signal::TERM).unwrap();
        stop.reached(Stage::Draining).await;
        assert_eq!(*stop.0.borrow(), Stage::Draining);
        kill_process(getpid(), Signal::INT).unwrap();
        stop.reached(Stage::Now).await;
    }

    #[test]
    fn a_signal_is_obeyed_before_the_log_hears_of_it() {
        let stop = Stop::new();
        for stage in [Stage::Draining, Stage::Now] {
            let broken = || -> std::io::Stderr { panic!("on purpose") };
            let log = tracing_subscriber::fmt().with_writer(broken).finish();
            let heard = || tracing::subscriber::with_default(log, || stop.heard("SIGTERM"));
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(heard));
            assert!(outcome.is_err(), "the log was asked");
            assert_eq!(*stop.0.borrow(), stage);
        }
    }

    #[test]
    fn stopping_never_goes_back() {
        let stop = Stop::new();
        stop.now();
        stop.drain();
        assert_eq!(*stop.0.borrow(), Stage::Now);
    }
}
