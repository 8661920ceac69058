//! How far long work is: a bar with bytes, rate and time left on a terminal, a plain
//! line now and then otherwise, so that the log of a batch job stays short. All of it
//! goes to standard error, and nothing of it is said with `--json`.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::notes;
use super::output::{bytes, duration};

/// Without a terminal, a line is written this often at most.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// One piece of work that goes through a number of bytes.
pub(crate) struct Progress {
    what: String,
    bar: Option<ProgressBar>,
    total: Option<u64>,
    done: u64,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// Begins `what` ("sending rows.csv"), of `total` bytes if that is known.
    pub(crate) fn begin(what: impl Into<String>, total: Option<u64>) -> Self {
        let what = what.into();
        let shown = notes::are_allowed() && io::stderr().is_terminal();
        let bar = shown.then(|| bar(&what, total));
        if bar.is_none() {
            let size = total.map(|total| format!(" ({})", bytes(total))).unwrap_or_default();
            notes::say(format_args!("{what}{size}"));
        }
        let now = Instant::now();
        Self { what, bar, total, done: 0, started: now, told: now }
    }

    /// `done` bytes are through, counted from the beginning.
    pub(crate) fn at(&mut self, done: u64) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            notes::say(line(&self.what, done, self.total, self.started.elapsed()));
        }
    }

    /// Shows `message` behind the bar; without a terminal it is not worth a line.
    pub(crate) fn say_on_bar(&self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
        }
    }

    /// The work is over: the bar goes, since the summary that follows says it all.
    pub(crate) fn end(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        } else if self.started.elapsed() >= LINE_EVERY {
            notes::say(line(&self.what, self.done, self.total, self.started.elapsed()));
        }
    }
}

fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = if total.is_some() {
        "{prefix} [{bar:24}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left {msg}"
    } else {
        "{prefix} {spinner} {decimal_bytes} {decimal_bytes_per_sec} {msg}"
    };
    let style = ProgressStyle::with_template(template).expect("a constant template parses");
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// `sending rows.csv: 40 MB of 86 MB (46 %), 4.0 MB/s, 11.5 s left`.
fn line(what: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let mut text = format!("{what}: {}", bytes(done));
    let total = total.filter(|&total| total > 0);
    if let Some(total) = total {
        let percent = u128::from(done) * 100 / u128::from(total);
        text.push_str(&format!(" of {} ({percent} %)", bytes(total)));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate shown with two or three digits"
    )]
    let rate = (done as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    text.push_str(&format!(", {}/s", bytes(rate)));
    if let Some(left) = total.and_then(|total| total.checked_sub(done)?.checked_div(rate)) {
        text.push_str(&format!(", {} left", duration(Duration::from_secs(left))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long_still() {
        let second = Duration::from_secs(1);
        assert_eq!(
            line("sending a", 40_000_000, Some(80_000_000), second * 10),
            "sending a: 40 MB of 80 MB (50 %), 4.0 MB/s, 10.0 s left"
        );
        assert_eq!(line("reading -", 1_000, None, second), "reading -: 1.0 kB, 1.0 kB/s");
        assert_eq!(line("sending a", 0, Some(0), second), "sending a: 0 B, 0 B/s");
        assert_eq!(line("x", 0, Some(10), second), "x: 0 B of 10 B (0 %), 0 B/s");
    }
}
