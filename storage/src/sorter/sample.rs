//! Some of the values, drawn fairly while they are pushed.
//!
//! Each record draws a number that depends on nothing but its place in the input, so the same input
//! gives the same sample. A record is kept if its number is within a limit. Whenever the sample
//! grows too large, the limit is halved, and the records beyond it go. So in the end all records
//! have had the same chance, wherever they stood and whatever pattern the input follows. Each costs
//! one multiplication or two.

/// What a sample is to take in memory at most, its bookkeeping included.
pub(super) const SAMPLE_BYTES: usize = 256 * 1024;
/// No more of one value is kept.
const MOST_OF_ONE: usize = 4 * 1024;

/// Draws the sample of one sorter.
pub(super) struct Sampler {
    kept: Vec<Kept>,
    bytes: usize,
    /// What `bytes` may be; more than one value takes.
    limit: usize,
    /// Numbers up to this one are small enough.
    most: u64,
    seen: u64,
}

struct Kept {
    drawn: u64,
    value: Vec<u8>,
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.value.len()
    }
}

impl Sampler {
    /// A sampler that takes `limit` bytes of memory: several times 4 KiB.
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), bytes: 0, limit, most: u64::MAX, seen: 0 }
    }

    /// The value of the next record.
    pub(super) fn offer(&mut self, value: &[u8]) {
        let drawn = mix(self.seen);
        self.seen = self.seen.wrapping_add(1);
        if drawn > self.most || value.is_empty() {
            return;
        }
        let kept = Kept { drawn, value: value[..value.len().min(MOST_OF_ONE)].to_vec() };
        self.bytes += kept.bytes();
        self.kept.push(kept);
        while self.bytes > self.limit {
            self.most /= 2;
            self.kept.retain(|kept| kept.drawn <= self.most);
            self.bytes = self.kept.iter().map(Kept::bytes).sum();
        }
    }

    /// The sample, in the order of the pushes.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.kept).into_iter().map(|kept| kept.value).collect()
    }
}

/// SplitMix64: consecutive numbers become numbers that look random.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
        let mut sampler = Sampler::new(SAMPLE_BYTES);
        for value in values {
            sampler.offer(&value);
            assert!(sampler.bytes <= SAMPLE_BYTES);
        }
        sampler.take()
    }

    #[test]
    fn a_small_input_is_its_own_sample() {
        let values: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 50]).collect();
        assert_eq!(sample(values.clone()), values);
        assert_eq!(sample([Vec::new(), b"x".to_vec(), Vec::new()]), [b"x".to_vec()]);
    }

    #[test]
    fn it_is_bounded_and_nearly_full_whatever_the_values_are() {
        for length in [1, 30, 430, 4_000, 100_000] {
            let kept = sample((0..20_000).map(|_| vec![b'x'; length]));
            let bytes: usize = kept.iter().map(|value| size_of::<Kept>() + value.len()).sum();
            assert!(bytes > SAMPLE_BYTES / 3, "{bytes} bytes of values of {length}");
            assert!(kept.iter().all(|value| value.len() == length.min(MOST_OF_ONE)));
        }
    }

    /// Of each tenth of the input and of each kind of record about as many are kept.
    #[test]
    fn it_is_fair_to_every_place_and_pattern() {
        let kept = sample((0..200_000u32).map(|n| [n.to_le_bytes(); 50].concat()));
        let numbers = kept.iter().map(|v| u32::from_le_bytes(v[..4].try_into().unwrap()));
        let numbers: Vec<u32> = numbers.collect();
        assert!(numbers.len() > 500 && numbers.is_sorted());
        let fair = |groups: usize, group: &dyn Fn(u32) -> u32| {
            let mut counts = vec![0usize; groups];
            numbers.iter().for_each(|n| counts[group(*n) as usize] += 1);
            let each = numbers.len() / groups;
            let few_or_many = counts.iter().find(|count| count.abs_diff(each) > each / 2);
            assert_eq!(few_or_many, None, "{counts:?}");
        };
        fair(10, &|n| n / 20_000);
        for period in [2, 3, 7, 8] {
            fair(period as usize, &|n| n % period);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_sample() {
        let values = || (0..50_000u32).map(|n| n.to_string().repeat(20).into_bytes());
        assert_eq!(sample(values()), sample(values()));
    }
}
