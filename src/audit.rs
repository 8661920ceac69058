//! What was refused and denied, on its way to the log of the audit. (What was changed stands in
//! the journal; `http/audit.rs` shows both.)
//!
//! - No request waits for it: a line goes into a queue, and where that is full it is counted.
//! - The log has a bounded size, so a flood must not push out what came before: each kind of
//!   line has its allowance (`allowance.rs`), and so have denials of tokens and of whoever has none.
//!   What is beyond that is counted, and the count is written.
//! - If the disk fails, requests go on and the lines are counted as lost; changes are the
//!   journal's, and that refuses what it cannot write.
//!
//! A line holds the matched route and never the URL, the code of the refusal and never its
//! sentence: those may quote keys, values, or a token put in the wrong place.

mod allowance;
mod counts;
mod line;
mod writer;

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use tidetable_storage::{Digest, EvenPoisoned as _, Store};

pub(crate) use counts::Counts;
pub(crate) use line::{Kind, Line, NotGranted};
use writer::Writer;

use crate::metrics::Metrics;

/// Lines that wait to be written.
const QUEUE: usize = 4096;
/// How long somebody who reads waits until what was refused before is written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// The name of whoever asks where nobody has to say who they are.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// What the thread that writes is sent.
#[derive(Debug)]
enum Message {
    Write(Box<Line>),
    /// Tells when all lines before it are written.
    Tell(SyncSender<()>),
    Stop,
}

/// Where lines are sent, and the thread that writes them; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Message>,
    /// Until the thread has it.
    messages: Mutex<Option<Receiver<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
    /// The last line that is written, and its chain.
    head: Mutex<Option<(u64, Digest)>>,
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Audit {
    /// Takes lines; they are written once it is started.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        Self(Arc::new(Shared {
            queue,
            messages: Mutex::new(Some(messages)),
            thread: Mutex::default(),
            metrics,
            head: Mutex::default(),
            reading: Arc::default(),
        }))
    }

    /// Starts the thread that writes into the directory of `store`.
    pub(crate) fn start(&self, store: &Arc<Store>) -> anyhow::Result<()> {
        let messages = self.0.messages.lock().even_poisoned().take();
        let messages = messages.context("the audit log is written already")?;
        let writer = Writer::new(Arc::clone(store), Arc::clone(&self.0.metrics));
        let audit = self.clone();
        let thread = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run(writer, &messages, &audit))
            .context("cannot start the thread that writes the audit log")?;
        *self.0.thread.lock().even_poisoned() = Some(thread);
        Ok(())
    }

    /// Ends the thread once all that was logged is on the disk.
    pub(crate) fn stop(&self) {
        if let Some(thread) = self.0.thread.lock().even_poisoned().take() {
            let _ = self.0.queue.send(Message::Stop);
            let _ = thread.join();
        }
    }

    /// Puts a line into the log, soon.
    pub(crate) fn log(&self, line: Line) {
        let kind = line.kind();
        // Gone: the server has stopped, and what is refused now is refused by nobody.
        if let Err(TrySendError::Full(_)) = self.0.queue.try_send(Message::Write(Box::new(line))) {
            self.0.metrics.audit.left_out(kind);
        }
    }

    /// The last line and its chain, once all that was logged before is written. Waits for that:
    /// nothing for a thread that serves.
    pub(crate) fn head(&self) -> Option<(u64, Digest)> {
        let (tell, told) = sync_channel(1);
        if self.0.queue.try_send(Message::Tell(tell)).is_ok() {
            let _ = told.recv_timeout(WRITTEN_WITHIN);
        }
        *self.0.head.lock().even_poisoned()
    }

    /// Held by the one who reads: files are read whole, and one reader at a time bounds the
    /// memory.
    pub(crate) async fn reading(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.0.reading).lock_owned().await
    }

    fn show(&self, head: Option<(u64, Digest)>) {
        *self.0.head.lock().even_poisoned() = head;
    }
}

fn run(mut writer: Writer, messages: &Receiver<Message>, audit: &Audit) {
    writer.began();
    audit.show(writer.head());
    loop {
        match messages.recv_timeout(writer::SYNC_EVERY) {
            Ok(Message::Write(line)) => writer.write(&line),
            Ok(Message::Tell(tell)) => {
                audit.show(writer.head());
                // Whoever asked may have gone.
                let _ = tell.send(());
            }
            Ok(Message::Stop) => break,
            Err(_) => {}
        }
        writer.tidy();
    }
    writer.ends();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidetable_storage::{StoreOptions, newest_log_lines, verify_audit};

    fn denial(actor: &str) -> Line {
        Line::denial_for_tests(actor)
    }

    #[test]
    fn a_flood_is_counted_and_leaves_the_other_kind_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), StoreOptions::default()).unwrap().0);
        let metrics = Arc::new(Metrics::new());
        let audit = Audit::new(Arc::clone(&metrics));
        audit.start(&store).unwrap();
        for n in 0..3000 {
            audit.log(denial(&format!("guesser-{n}")));
            if n % 1000 == 0 {
                audit.head().unwrap();
            }
        }
        audit.log(Line::refusal_for_tests("job"));
        audit.head().unwrap();
        audit.stop();
        let (mut lines, mut denials, mut refusals, mut left_out) = (0, 0, 0, 0);
        newest_log_lines(store.layout(), u64::MAX, |_, line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            lines += 1;
            denials += u64::from(line["kind"] == "denial");
            refusals += u64::from(line["kind"] == "refusal");
            left_out += line["denials"].as_u64().unwrap_or_default();
            true
        })
        .unwrap();
        assert_eq!(refusals, 1);
        assert!((1000..1500).contains(&denials), "{denials}");
        assert_eq!(denials + left_out, 3000, "of {lines} lines");
        let report = verify_audit(dir.path(), &[]).unwrap();
        assert_eq!(report.findings, [""; 0]);
        assert_eq!(report.lines, (1, lines));
    }

    #[test]
    fn whoever_has_no_token_hides_no_denial_of_one_and_the_gap_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), StoreOptions::default()).unwrap().0);
        let audit = Audit::new(Arc::new(Metrics::new()));
        audit.start(&store).unwrap();
        for n in 0..3000 {
            audit.log(denial("anonymous"));
            if n % 1000 == 0 {
                audit.head().unwrap();
            }
        }
        audit.log(Line::denial_of_a_token_for_tests("job"));
        audit.head().unwrap();
        audit.stop();
        let mut written = Vec::new();
        newest_log_lines(store.layout(), u64::MAX, |_, line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            written.push((line["actor"] == "job", line["action"] == "left_out"));
            true
        })
        .unwrap();
        // Newest first.
        written.reverse();
        let first_gap = written.iter().position(|(_, is_gap)| *is_gap).unwrap();
        let of_the_token = written.iter().position(|(is_of_it, _)| *is_of_it).unwrap();
        assert!(first_gap < of_the_token, "{first_gap} and {of_the_token}");
    }
}
