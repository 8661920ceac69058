//! A fair sample of the records of a version, drawn while they go by.

use super::fields::FieldsOf;
use super::{Profile, SampleRecord, Sizes};
use crate::error::Result;
use crate::packed::Unpacker;

/// Records in the sample, at most: a share of them is right to within ±0.4 points.
const MOST_RECORDS: usize = 65_536;
/// Bytes in the sample, at most. Of large values it has fewer.
const MOST_BYTES: usize = 32 << 20;
/// Records that are shown.
const SHOWN: usize = 5;
/// Characters of a value that are shown.
const VALUE_SHOWN: usize = 1_000;

/// Draws the sample: Vitter's algorithm R ("Random sampling with a reservoir", 1985). The numbers
/// drawn are the same each time, so that the same records have the same profile.
pub(crate) struct Sampler {
    records: Vec<Kept>,
    /// How many it may have.
    room: usize,
    most_bytes: usize,
    bytes: usize,
    seen: u64,
    key_ends: Ends,
    value_ends: Ends,
    random: fastrand::Rng,
}

/// A record of the sample.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    key: Vec<u8>,
    /// As it was given to [`Sampler::keep`].
    value: Vec<u8>,
    /// How long the value is, unpacked.
    value_bytes: usize,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.key.len() + self.value_bytes
    }
}

/// Where a record that was drawn is kept.
pub(crate) struct Drawn {
    place: usize,
    value_bytes: usize,
}

impl Sampler {
    pub(crate) fn new() -> Self {
        Self::of(MOST_RECORDS, MOST_BYTES)
    }

    fn of(room: usize, most_bytes: usize) -> Self {
        Self {
            records: Vec::new(),
            room,
            most_bytes,
            bytes: 0,
            seen: 0,
            key_ends: Ends::default(),
            value_ends: Ends::default(),
            random: fastrand::Rng::with_seed(0),
        }
    }

    /// A record goes by. Costs some nanoseconds, and a copy of the few that are drawn.
    pub(crate) fn offer(&mut self, key: &[u8], value: &[u8]) {
        if let Some(drawn) = self.draw(key.len(), value.len()) {
            self.keep(&drawn, key, value);
        }
    }

    /// A record goes by, of which only the lengths are known. Where it is to be kept, if it is drawn:
    /// then [`Sampler::keep`] is to come next.
    pub(crate) fn draw(&mut self, key_bytes: usize, value_bytes: usize) -> Option<Drawn> {
        self.seen += 1;
        self.key_ends.note(key_bytes);
        self.value_ends.note(value_bytes);
        if self.records.len() < self.room {
            return Some(Drawn { place: self.records.len(), value_bytes });
        }
        let place = usize::try_from(self.random.u64(..self.seen)).unwrap_or(usize::MAX);
        (place < self.records.len()).then_some(Drawn { place, value_bytes })
    }

    /// Keeps a record that was drawn. A packed value is kept packed, since most that are drawn make
    /// way for others: see [`Sampler::unpack`].
    pub(crate) fn keep(&mut self, drawn: &Drawn, key: &[u8], value: &[u8]) {
        if drawn.place == self.records.len() {
            self.records.push(Kept::default());
        }
        let kept = &mut self.records[drawn.place];
        self.bytes -= kept.bytes();
        refill(&mut kept.key, key);
        refill(&mut kept.value, value);
        kept.value_bytes = drawn.value_bytes;
        self.bytes += kept.bytes();
        // One record alone may be larger.
        while self.bytes > self.most_bytes && self.records.len() > 1 {
            self.halve();
        }
    }

    /// Gives up half of the sample, drawn fairly; it stays that small.
    fn halve(&mut self) {
        self.random.shuffle(&mut self.records);
        self.room = self.records.len() / 2;
        self.records.truncate(self.room);
        self.bytes = self.records.iter().map(Kept::bytes).sum();
    }

    /// Unpacks what was kept packed, once no more records come. Fails with `snapshot_refused` if a value
    /// is not what was packed.
    pub(crate) fn unpack(&mut self, unpacker: &mut Unpacker) -> Result<()> {
        self.records.iter_mut().try_for_each(|kept| {
            kept.value = unpacker.unpack(&kept.key, &kept.value)?.to_vec();
            Ok(())
        })
    }

    /// Works the profile out. Takes about a tenth of a second for each ten million bytes.
    pub(crate) fn profile(mut self) -> Profile {
        let mut fields = FieldsOf::default();
        self.records.iter().for_each(|kept| fields.note(&kept.value));
        let sizes = |ends: Ends, length: fn(&Kept) -> usize| {
            let mut lengths: Vec<_> = self.records.iter().map(length).collect();
            lengths.sort_unstable();
            ends.with_quantiles_of(&lengths)
        };
        let key_bytes = sizes(self.key_ends, |kept| kept.key.len());
        let value_bytes = sizes(self.value_ends, |kept| kept.value_bytes);
        let sampled = self.records.len() as u64;
        self.random.shuffle(&mut self.records);
        self.records.truncate(SHOWN);
        self.records.sort_unstable();
        let samples = self.records.iter().map(SampleRecord::of).collect();
        let (objects, fields, fields_cut) = fields.end();
        Profile { sampled, key_bytes, value_bytes, objects, fields, fields_cut, samples }
    }
}

/// Puts other bytes in the place of what was kept. What is left of the room that a longer one took is
/// bounded: each place would come to hold as much as the longest that it ever had.
fn refill(kept: &mut Vec<u8>, bytes: &[u8]) {
    kept.clear();
    kept.extend_from_slice(bytes);
    kept.shrink_to(2 * bytes.len());
}

impl SampleRecord {
    fn of(Kept { key, value, value_bytes }: &Kept) -> Self {
        // A character has at most four bytes; what is cut in the middle is replaced, and cut off.
        let beginning = &value[..value.len().min(4 * VALUE_SHOWN)];
        let value_shown = String::from_utf8_lossy(beginning).chars().take(VALUE_SHOWN).collect();
        Self { key: key.to_vec(), value: value_shown, value_bytes: *value_bytes as u64 }
    }
}

/// The smallest and the largest length of all.
#[derive(Clone, Copy)]
struct Ends {
    min: usize,
    max: usize,
}

impl Default for Ends {
    fn default() -> Self {
        Self { min: usize::MAX, max: 0 }
    }
}

impl Ends {
    fn note(&mut self, length: usize) {
        self.min = self.min.min(length);
        self.max = self.max.max(length);
    }

    fn with_quantiles_of(self, sorted: &[usize]) -> Sizes {
        let at = |share: f64| quantile(sorted, share).map_or(0, |length| length as u64);
        let min = self.min.min(self.max) as u64;
        Sizes { min, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: self.max as u64 }
    }
}

/// The smallest of the sorted numbers that so large a share of them does not exceed: the
/// nearest-rank quantile.
pub(super) fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Compression;
    use crate::packed::Packing;
    use crate::record_list::RecordList;

    fn sample(sampler: &mut Sampler, records: usize, value: impl Fn(usize) -> String) {
        (0..records).for_each(|n| sampler.offer(format!("{n:06}").as_bytes(), value(n).as_bytes()));
    }

    #[test]
    fn a_small_version_is_told_exactly() {
        let mut sampler = Sampler::new();
        sample(&mut sampler, 1000, |n| "x".repeat(n));
        let profile = sampler.profile();
        assert_eq!(profile.sampled, 1000);
        assert_eq!(profile.key_bytes, Sizes { min: 6, p50: 6, p90: 6, p99: 6, max: 6 });
        assert_eq!(profile.value_bytes, Sizes { min: 0, p50: 499, p90: 899, p99: 989, max: 999 });
        assert_eq!((profile.objects, profile.fields.len()), (0, 0));
        assert_eq!(profile.samples.len(), SHOWN);
        assert!(profile.samples.is_sorted_by_key(|record| record.key.clone()));
    }

    #[test]
    fn a_large_one_is_sampled_from_everywhere_and_the_same_each_time() {
        let draw = || {
            let mut sampler = Sampler::of(1000, usize::MAX);
            sample(&mut sampler, 100_000, |n| format!("{{\"half\":{}}}", n < 50_000));
            let tenths: Vec<usize> = (0..10)
                .map(|tenth| {
                    let begins = format!("{tenth}");
                    let of = |kept: &&Kept| kept.key[1..].starts_with(begins.as_bytes());
                    sampler.records.iter().filter(of).count()
                })
                .collect();
            (tenths, sampler.profile())
        };
        let (tenths, profile) = draw();
        assert!(tenths.iter().all(|tenth| (60..140).contains(tenth)), "{tenths:?}");
        assert_eq!(profile.sampled, 1000);
        assert_eq!(profile.fields["half"].present, 1000);
        assert_eq!(draw().1, profile);
    }

    #[test]
    fn large_values_take_no_more_memory_and_stay_fair() {
        let mut sampler = Sampler::of(1000, 100_000);
        // The values grow, so the sample is halved again and again while it is drawn.
        sample(&mut sampler, 20_000, |n| "x".repeat(n / 10));
        assert!(
            sampler.bytes <= 100_000 && sampler.records.len() >= 25,
            "{}",
            sampler.records.len()
        );
        let mean = sampler.records.iter().map(|kept| kept.value_bytes).sum::<usize>()
            / sampler.records.len();
        assert!((600..1400).contains(&mean), "{mean}");
        let profile = sampler.profile();
        assert_eq!((profile.value_bytes.min, profile.value_bytes.max), (0, 1999));
    }

    #[test]
    fn small_values_give_back_what_large_ones_took() {
        let mut sampler = Sampler::of(100, usize::MAX);
        sample(&mut sampler, 10_000, |n| "x".repeat(if n < 1_000 { 10_000 } else { 10 }));
        let taken = |kept: &Kept| kept.key.capacity() + kept.value.capacity();
        let taken: usize = sampler.records.iter().map(taken).sum();
        // Of a few bytes there is always room for some more.
        let most = 2 * sampler.bytes + 16 * sampler.records.len();
        assert!(taken <= most, "{taken} bytes for {} are more than {most}", sampler.bytes);
    }

    #[test]
    fn what_is_shown_of_a_value_is_cut_at_a_character() {
        let long = "é".repeat(3000);
        let shown = |key: &[u8], value: &[u8]| {
            let (key, value_bytes) = (key.to_vec(), value.len());
            SampleRecord::of(&Kept { key, value: value.to_vec(), value_bytes })
        };
        let record = shown(b"\xff", long.as_bytes());
        assert_eq!(record.value.chars().count(), VALUE_SHOWN);
        assert_eq!((record.value_bytes, record.key), (6000, vec![0xff]));
        assert_eq!(shown(b"k", b"[1]").value, "[1]");
    }

    /// Packed values are another way to the same profile.
    #[test]
    fn packed_values_have_the_profile_of_what_was_packed() {
        let value = |n: usize| format!("{{\"course\":\"{}\",\"score\":{n}}}", "x".repeat(n % 40));
        let packing = Packing::of_samples(Compression::Lz4, &[value(39).into_bytes()]);
        let (mut plain, mut packed) = (Sampler::of(500, 20_000), Sampler::of(500, 20_000));
        let mut packer = packing.packer().unwrap();
        for n in 0..5000 {
            let (key, value) = (format!("{n:06}").into_bytes(), value(n).into_bytes());
            plain.offer(&key, &value);
            let mut list = RecordList::default();
            list.push(&key, b"", &value);
            if let Some(drawn) = packed.draw(key.len(), value.len()) {
                packed.keep(&drawn, &key, packer.pack(&list).unwrap().last().unwrap().value);
            }
        }
        packed.unpack(&mut packing.unpacker()).unwrap();
        assert!(plain.room < 500, "the sample was halved");
        assert_eq!(packed.profile(), plain.profile());
    }

    #[test]
    fn nothing_has_an_empty_profile() {
        let profile = Sampler::new().profile();
        assert_eq!(profile, Profile::default());
    }
}
