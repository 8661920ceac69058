//! Ctrl-C and SIGTERM during a push: say what is left behind and how to go on, then end.
//!
//! What is left behind is never served: a version whose push was not committed is
//! `receiving`, and the server drops it after a day. So nothing is undone here; undoing
//! would also take the parts from whoever wants to resume.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Exit, Failure};
use crate::ending::end;

/// What a person is told if the push is interrupted now.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<String>>);

impl Interrupt {
    /// From now on an interruption prints what was said last, as `json` if programs read it,
    /// and ends the process.
    pub(crate) fn watch(json: bool) -> Self {
        let interrupt = Self::default();
        let told = interrupt.clone();
        std::thread::spawn(move || {
            if wait_for_signal().is_ok() {
                let text = told.text();
                let failure = Failure::new(Exit::Interrupted, text.as_str());
                let said = if json { failure.json() } else { format!("\n{text}\n") };
                // Whether or not somebody reads it: the exit code says the same.
                let _ = std::io::stderr().write_all(said.as_bytes());
                end(Exit::Interrupted.code());
            }
            // Without a handler the signal ends the process as it always does.
        });
        interrupt
    }

    /// Replaces what is said on interruption.
    pub(crate) fn say(&self, text: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
    }

    fn text(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        format!("interrupted: {text}")
    }
}

fn wait_for_signal() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
