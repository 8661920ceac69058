//! Reads a received part, and finds at its end whether it is what arrived.

use std::fs::File;
use std::hash::Hasher as _;
use std::io::{self, Read};
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::{Arrival, Arrived};

/// What a part should be that is read.
#[derive(Clone, Debug)]
pub enum ExpectedPart {
    /// What it was when it arrived: a part of this XXH3.
    Xxh3(u64),
    /// What it will be when it has arrived.
    Arriving(Arc<Arrival>),
}

/// Reads a part from its beginning, and fails at its end if it is not what arrived. If it still
/// arrives, waits where there is no more of it yet.
pub struct PartReader {
    file: File,
    at: u64,
    xxh3: XxHash3_64,
    expected: ExpectedPart,
}

impl PartReader {
    /// Reads `file`, which is to be what is `expected`.
    pub fn new(file: File, expected: ExpectedPart) -> Self {
        Self { file, at: 0, xxh3: XxHash3_64::new(), expected }
    }

    /// How many of `most` bytes may be read now; 0 if all were.
    fn there(&self, most: usize) -> usize {
        match &self.expected {
            ExpectedPart::Xxh3(_) => most,
            ExpectedPart::Arriving(arrival) => {
                let more = arrival.wait_for(self.at + 1).saturating_sub(self.at);
                usize::try_from(more).unwrap_or(usize::MAX).min(most)
            }
        }
    }

    fn is_as_expected(&self) -> bool {
        let xxh3 = self.xxh3.finish();
        match &self.expected {
            ExpectedPart::Xxh3(expected) => xxh3 == *expected,
            ExpectedPart::Arriving(arrival) => {
                arrival.arrived() == Some(Arrived { bytes: self.at, xxh3 })
            }
        }
    }
}

impl Read for PartReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.there(out.len());
        let count = self.file.read(&mut out[..there])?;
        self.xxh3.write(&out[..count]);
        self.at += count as u64;
        if count == 0 && !out.is_empty() && !self.is_as_expected() {
            let text = "it is not what arrived any more: push again, and have the disk checked";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}
