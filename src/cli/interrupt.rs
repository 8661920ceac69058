//! Ctrl-C and SIGTERM during a push: say what is left behind and how to go on, then end.
//!
//! What is left behind is never served: a version whose push was not committed is
//! `receiving`, and the server drops it after a day. So nothing is undone here; undoing
//! would also take the parts from whoever wants to resume.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use tidetable_storage::EvenPoisoned as _;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Exit, Failure};
use crate::ending::end;

/// What a person is told if the push is interrupted now.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<Left>>);

/// What is left behind, and in words how to go on.
#[derive(Default)]
struct Left {
    dataset: Option<String>,
    version: Option<u64>,
    text: String,
}

impl Interrupt {
    /// From now on an interruption prints what was said last, as `json` if programs read it,
    /// and ends the process.
    pub(crate) fn watch(json: bool) -> Self {
        let interrupt = Self::default();
        let told = interrupt.clone();
        std::thread::spawn(move || {
            if wait_for_signal().is_ok() {
                let failure = told.failure();
                let said = if json { failure.json() } else { format!("\n{}\n", failure.message) };
                // Whether or not somebody reads it: the exit code says the same.
                let _ = std::io::stderr().write_all(said.as_bytes());
                end(Exit::Interrupted.code());
            }
            // Without a handler the signal ends the process as it always does.
        });
        interrupt
    }

    /// Replaces what is said on interruption.
    pub(crate) fn say(&self, dataset: &str, version: Option<u64>, text: impl Into<String>) {
        let left = Left { dataset: Some(dataset.to_owned()), version, text: text.into() };
        *self.0.lock().even_poisoned() = left;
    }

    fn failure(&self) -> Failure {
        let left = self.0.lock().even_poisoned();
        let mut failure = Failure::new(Exit::Interrupted, format!("interrupted: {}", left.text));
        failure.dataset.clone_from(&left.dataset);
        failure.version = left.version;
        failure
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_last_is_told_with_what_it_is_about() {
        let interrupt = Interrupt::default();
        interrupt.say("recs", None, "nothing was pushed to recs");
        interrupt.say("recs", Some(43), "recs 43 is left receiving");
        let failure = interrupt.failure();
        assert_eq!(failure.message, "interrupted: recs 43 is left receiving");
        let said: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        let error = &said["error"];
        assert_eq!(error["dataset"], "recs");
        assert_eq!(error["version"], 43);
        assert_eq!(error["exit"], 130);
    }
}
