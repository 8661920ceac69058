//! How far the compressed sources of a push may grow.
//!
//! Batch outputs shrink to a fifth or a fiftieth; a file that is made to fill disks and to keep
//! processors busy, to a thousandth or a millionth. What all sources of one reading have come to
//! is counted together, so that many small bombs are one large one.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Up to here anything may be decompressed: it is read in no time, and constant rows shrink well.
pub(crate) const FREE_BYTES: u64 = 256 << 20;

/// What decompressed sources may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrowthLimits {
    /// Bytes that one compressed byte may become, beyond [`FREE_BYTES`].
    pub(crate) ratio: u64,
    /// Bytes in all.
    pub(crate) bytes: u64,
}

impl Default for GrowthLimits {
    /// For files on a machine of one's own.
    fn default() -> Self {
        Self { ratio: 200, bytes: u64::MAX }
    }
}

/// What the sources of one reading have come to so far.
#[derive(Clone, Debug)]
pub(crate) struct Growth(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    limits: GrowthLimits,
    /// Bytes of sources as they are stored.
    stored: AtomicU64,
    /// Bytes that were decompressed.
    grown: AtomicU64,
}

impl Growth {
    pub(crate) fn new(limits: GrowthLimits) -> Self {
        let (stored, grown) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Counts { limits, stored, grown }))
    }

    /// Notes that so many bytes of a source were used.
    pub(crate) fn used(&self, bytes: u64) {
        self.0.stored.fetch_add(bytes, Relaxed);
    }

    /// Notes that so many bytes came of it. The error says which limit that exceeds.
    fn grew(&self, bytes: u64) -> Result<(), String> {
        let Counts { limits, stored, grown } = &*self.0;
        let grown = grown.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let GrowthLimits { ratio, bytes: most } = *limits;
        if grown > most {
            return Err(format!(
                "decompressed it has more than the {most} bytes that a push may have here \
                 (max_decompressed_bytes)"
            ));
        }
        if grown > FREE_BYTES && grown / ratio > stored.load(Relaxed) {
            return Err(format!(
                "it grows more than {ratio} times when decompressed (max_decompression_ratio), \
                 {grown} bytes so far: push it in a plainer form if that is really its content"
            ));
        }
        Ok(())
    }
}

/// Decompressed bytes, which end with [`io::ErrorKind::QuotaExceeded`] when they are too many.
pub(crate) struct Bounded<R> {
    reader: R,
    growth: Growth,
}

impl<R> Bounded<R> {
    pub(crate) fn new(reader: R, growth: &Growth) -> Self {
        Self { reader, growth: growth.clone() }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        let grew = self.growth.grew(count as u64);
        grew.map_err(|why| io::Error::new(io::ErrorKind::QuotaExceeded, why))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(ratio: u64, bytes: u64) -> Growth {
        Growth::new(GrowthLimits { ratio, bytes })
    }

    #[test]
    fn the_ratio_counts_beyond_what_is_free_and_over_all_sources() {
        let growth = growth(200, u64::MAX);
        growth.used(10);
        growth.grew(FREE_BYTES).unwrap();
        assert!(growth.grew(1).unwrap_err().contains("more than 200 times"));
        growth.used(FREE_BYTES / 200);
        growth.grew(1).unwrap();
        assert!(growth.clone().grew(FREE_BYTES).is_err(), "another source of the same reading");
    }

    #[test]
    fn all_bytes_together_have_a_limit_of_their_own() {
        let growth = growth(200, 1000);
        growth.used(1_000_000);
        growth.grew(1000).unwrap();
        assert!(growth.grew(1).unwrap_err().contains("more than the 1000 bytes"));
    }
}
