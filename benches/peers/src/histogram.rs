//! Durations counted in buckets that are less than 1 % wide, as HdrHistogram does it: below
//! 128 one bucket for each nanosecond, above that 128 for each doubling.

/// Buckets of a doubling, as a power of two.
const FINE_BITS: u32 = 7;
const FINE: usize = 1 << FINE_BITS;

#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; FINE * (64 - FINE_BITS as usize + 1)], total: 0, largest: 0 }
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.largest = self.largest.max(nanos);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        (self.total, self.largest) = (0, 0);
    }

    /// The duration, in microseconds, that a share of all is not above; 0 if there are none.
    pub(crate) fn micros_at(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return upper(bucket).min(self.largest) as f64 / 1_000.0;
            }
        }
        self.micros_at_most()
    }

    pub(crate) fn micros_at_most(&self) -> f64 {
        self.largest as f64 / 1_000.0
    }
}

fn bucket(nanos: u64) -> usize {
    let doublings = (64 - nanos.leading_zeros()).saturating_sub(FINE_BITS + 1);
    let fine = usize::try_from(nanos >> doublings).expect("below two times FINE");
    // The upper half of each doubling is new; the lower half is the doubling before.
    doublings as usize * FINE + fine
}

/// The largest duration that falls into a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < 2 * FINE {
        return bucket as u64;
    }
    let doublings = bucket / FINE - 1;
    let fine = (bucket - doublings * FINE) as u64;
    ((fine + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut before = 0;
        for nanos in (0..5_000).chain((13..57).map(|bits| (1u64 << bits) - 1)) {
            let bucket = bucket(nanos);
            assert!(bucket >= before);
            before = bucket;
            let upper = upper(bucket);
            assert!(upper >= nanos && upper as f64 <= nanos as f64 * 1.01 + 1.0, "{nanos} {upper}");
        }
    }

    #[test]
    fn shares_of_a_uniform_distribution() {
        let mut histogram = Histogram::new();
        (1..=100_000).for_each(|micros| histogram.record(micros * 1_000));
        for share in [0.5, 0.99, 0.999] {
            let found = histogram.micros_at(share);
            let expected = 100_000.0 * share;
            assert!((found - expected).abs() <= expected * 0.01, "{share}: {found}");
        }
        assert_eq!(histogram.micros_at(1.0), 100_000.0);
        assert_eq!(histogram.total(), 100_000);
    }
}
