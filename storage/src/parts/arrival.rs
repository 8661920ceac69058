//! A part that still arrives, as those see it who read it meanwhile.
//!
//! Whoever receives it says how far its file is written, and what it is when it has arrived. A reader
//! that has come to the end of what is there waits for more.

use std::sync::{Condvar, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::poison::EvenPoisoned as _;

/// What a part is that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Its size.
    pub bytes: u64,
    /// The XXH3 (64 bits) of its bytes.
    pub xxh3: u64,
}

/// How much of a part is there.
#[derive(Debug, Default)]
pub struct Arrival {
    there: Mutex<There>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct There {
    bytes: u64,
    arrived: Option<Arrived>,
}

impl Arrival {
    /// So many bytes are in its file by now.
    pub fn grew(&self, bytes: u64) {
        self.there().bytes = bytes;
        self.changed.notify_all();
    }

    /// All of it is.
    pub fn ended(&self, arrived: Arrived) {
        *self.there() = There { bytes: arrived.bytes, arrived: Some(arrived) };
        self.changed.notify_all();
    }

    /// What it is, if it has arrived.
    pub fn arrived(&self) -> Option<Arrived> {
        self.there().arrived
    }

    /// Waits until so many bytes are there, or all; how many are.
    pub fn wait_for(&self, bytes: u64) -> u64 {
        self.wait(|there| there.bytes >= bytes || there.arrived.is_some()).bytes
    }

    /// Waits until all of it is there; what it is then.
    pub fn wait_until_arrived(&self) -> Arrived {
        let there = self.wait(|there| there.arrived.is_some());
        there.arrived.expect("that was waited for")
    }

    fn wait(&self, is_enough: impl Fn(&There) -> bool) -> There {
        let mut there = self.there();
        while !is_enough(&there) {
            there = self.changed.wait(there).even_poisoned();
        }
        *there
    }

    fn there(&self) -> MutexGuard<'_, There> {
        self.there.lock().even_poisoned()
    }
}
