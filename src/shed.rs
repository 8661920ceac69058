//! What is refused since too much runs already: its classes, the words for each, and how often.
//!
//! How much of each may run is the limiter's to know (`limiter.rs`). These stand apart from it,
//! since it counts in the metrics, and the metrics have these counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::problem::{Fault, Problem};

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Read,
    /// A read that waits for the disk.
    Cold,
    /// What takes long, on a thread that is late.
    Late,
    /// What may be answered at length, while many such answers are still to be taken.
    Answer,
    Push,
    /// A look at a version once its push has ended.
    Wait,
    /// The body of a push.
    Body,
    /// A file of a snapshot that is sent.
    File,
    /// A comparison of versions, or one that waits for its turn.
    Comparison,
    Operation,
    Health,
}

impl Class {
    pub(crate) const ALL: [Self; 11] = [
        Self::Read,
        Self::Cold,
        Self::Late,
        Self::Answer,
        Self::Push,
        Self::Wait,
        Self::Body,
        Self::File,
        Self::Comparison,
        Self::Operation,
        Self::Health,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Cold => "cold",
            Self::Late => "late",
            Self::Answer => "answer",
            Self::Push => "push",
            Self::Wait => "wait",
            Self::Body => "body",
            Self::File => "file",
            Self::Comparison => "comparison",
            Self::Operation => "operation",
            Self::Health => "health",
        }
    }

    fn refusal(self) -> Problem {
        let text = match self {
            Self::Read => "as many reads run as this server takes (max_reads)",
            Self::Cold => {
                "as many reads wait for the disk as this server lets wait (max_cold_reads)"
            }
            Self::Late => "this server is behind with what it has to do (overload_after)",
            Self::Answer => {
                "clients are still taking as much of other answers as this server keeps for them \
                 (max_answers_in_memory)"
            }
            Self::Push => "as many requests of pushes run as this server takes (max_push_requests)",
            Self::Wait => "as many requests wait for pushes to end as this server lets wait (1024)",
            Self::Body => "as many bodies are received as this server takes (max_bodies)",
            Self::File => "as many files of snapshots are sent as this server sends (16)",
            Self::Comparison => {
                "as many comparisons wait for their turn as this server lets wait (4)"
            }
            Self::Operation => "as many operations run as this server takes (max_operations)",
            Self::Health => "this server is asked for its health too often at the same time",
        };
        Problem::new(Fault::Overloaded, format!("{text}: ask again in a moment"))
    }
}

/// Requests that were refused, by class.
#[derive(Debug, Default)]
pub(crate) struct Shed([AtomicU64; Class::ALL.len()]);

impl Shed {
    pub(crate) fn each(&self) -> [(&'static str, u64); Class::ALL.len()] {
        Class::ALL.map(|class| (class.as_str(), self.0[class as usize].load(Relaxed)))
    }

    /// Counts a refusal, and gives its words.
    pub(crate) fn refuse(&self, class: Class) -> Problem {
        self.0[class as usize].fetch_add(1, Relaxed);
        class.refusal()
    }
}
