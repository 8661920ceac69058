//! LZ4 blocks of single values, with a dictionary that is prepared once.
//!
//! A value of some hundred bytes repeats little within itself; its neighbours repeat it. So
//! each value is compressed by itself, and may refer to a dictionary that all values of a
//! snapshot share. Libraries hash the dictionary anew for each block, which costs a hundred
//! times the compression of a small value; here it is hashed once.
//!
//! The format is LZ4's block format with an external dictionary
//! (`lz4_Block_format.md` of the LZ4 project), and is read with `lz4_flex`.

/// The shortest match that the format can express.
const MIN_MATCH: usize = 4;
/// The format: the last match begins at least so many bytes before the end…
const LAST_MATCH: usize = 12;
/// …and the last bytes are literals.
const LAST_LITERALS: usize = 5;
/// The farthest a match may lie back.
const MAX_OFFSET: usize = u16::MAX as usize;
/// Entries of the table of the value itself, as a power of two. 16 KiB: stays in the
/// processor's first cache.
const HERE_BITS: u32 = 12;
/// Entries of the dictionary's table, as a power of two.
const DICTIONARY_BITS: u32 = 15;
/// After as many positions without a match the search begins to skip.
const PATIENCE_BITS: u32 = 6;

/// Compresses values, one by one.
pub(crate) struct Compressor {
    dictionary: Box<[u8]>,
    /// Where in the dictionary four bytes with this hash stand, plus one; 0: nowhere.
    in_dictionary: Vec<u16>,
    /// Where in the value they stand, plus `base`. Anything below `base` is of an earlier
    /// value, so the table need not be cleared.
    here: Vec<u32>,
    base: u32,
}

impl Compressor {
    /// A compressor whose blocks may refer to `dictionary`, of which the last 65,535 bytes
    /// count.
    pub(crate) fn new(dictionary: &[u8]) -> Self {
        let dictionary = &dictionary[dictionary.len().saturating_sub(MAX_OFFSET)..];
        let mut in_dictionary = vec![0; 1 << DICTIONARY_BITS];
        for at in 0..(dictionary.len() + 1).saturating_sub(MIN_MATCH) {
            let place = u16::try_from(at + 1).expect("a dictionary is shorter than 65,536 bytes");
            in_dictionary[hash(word(dictionary, at), DICTIONARY_BITS)] = place;
        }
        let here = vec![0; 1 << HERE_BITS];
        Self { dictionary: dictionary.into(), in_dictionary, here, base: 1 }
    }

    /// Appends the block of `value` to `out`.
    pub(crate) fn compress(&mut self, value: &[u8], out: &mut Vec<u8>) {
        let length = u32::try_from(value.len()).expect("values are at most 16 MiB");
        if self.base.checked_add(length).is_none() {
            self.here.fill(0);
            self.base = 1;
        }
        let mut literals = 0;
        let (mut at, mut misses) = (0, 0);
        while at + LAST_MATCH <= value.len() {
            let Some(found) = self.find(value, at) else {
                at += 1 + (misses >> PATIENCE_BITS);
                misses += 1;
                continue;
            };
            let found = found.reach_back(&value[literals..at]);
            let begin = at - found.back;
            sequence(&value[literals..begin], Some(&found), out);
            at = begin + found.length;
            (literals, misses) = (at, 0);
            // A place near the end of the match, so that what follows it is found again.
            self.note(value, at - 2);
        }
        sequence(&value[literals..], None, out);
        self.base += length;
    }

    /// The longer of the match in the value and the one in the dictionary.
    fn find<'a>(&'a mut self, value: &'a [u8], at: usize) -> Option<Match<'a>> {
        let word = word(value, at);
        let rest = &value[at..value.len() - LAST_LITERALS];
        let before = self.here[hash(word, HERE_BITS)];
        self.note(value, at);
        let here = before.checked_sub(self.base).map(|place| place as usize);
        let here = here.filter(|place| at - place <= MAX_OFFSET).map(|place| Match {
            length: common(&value[place..], rest),
            offset: at - place,
            before: &value[..place],
            back: 0,
        });
        let place = usize::from(self.in_dictionary[hash(word, DICTIONARY_BITS)]).checked_sub(1);
        let reach = at + self.dictionary.len();
        let there = place.filter(|place| reach - place <= MAX_OFFSET).map(|place| Match {
            length: common(&self.dictionary[place..], rest),
            offset: reach - place,
            before: &self.dictionary[..place],
            back: 0,
        });
        let longest = match (here, there) {
            (Some(here), Some(there)) => {
                Some(if there.length > here.length { there } else { here })
            }
            (one, other) => one.or(other),
        };
        longest.filter(|found| found.length >= MIN_MATCH)
    }

    fn note(&mut self, value: &[u8], at: usize) {
        let place = u32::try_from(at).expect("values are at most 16 MiB");
        self.here[hash(word(value, at), HERE_BITS)] = self.base + place;
    }
}

/// Bytes of a value that stand earlier, too.
struct Match<'a> {
    length: usize,
    /// How far back.
    offset: usize,
    /// What stands before it where it was found.
    before: &'a [u8],
    /// By how much it begins before the place it was found for.
    back: usize,
}

impl Match<'_> {
    /// The same match, begun earlier where `literals`, which would be written as they are,
    /// end like what stands before it.
    fn reach_back(mut self, literals: &[u8]) -> Self {
        let pairs = literals.iter().rev().zip(self.before.iter().rev());
        self.back = pairs.take_while(|(a, b)| a == b).count();
        self.length += self.back;
        self
    }
}

/// Writes literals and the match that follows them, if one does.
fn sequence(literals: &[u8], found: Option<&Match<'_>>, out: &mut Vec<u8>) {
    let beyond = found.map_or(0, |found| found.length - MIN_MATCH);
    let nibble = |length: usize| u8::try_from(length.min(15)).expect("at most 15");
    out.push(nibble(literals.len()) << 4 | nibble(beyond));
    more(literals.len(), out);
    out.extend_from_slice(literals);
    if let Some(found) = found {
        let offset = u16::try_from(found.offset).expect("no match lies farther back");
        out.extend_from_slice(&offset.to_le_bytes());
        more(beyond, out);
    }
}

/// Writes what of a length does not fit its four bits.
fn more(length: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(15) else { return };
    while rest >= 255 {
        out.push(255);
        rest -= 255;
    }
    out.push(u8::try_from(rest).expect("less than 255"));
}

/// How many bytes both begin with.
fn common(a: &[u8], b: &[u8]) -> usize {
    let eight = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    let mut same = 0;
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let differing = eight(a) ^ eight(b);
        if differing != 0 {
            return same + differing.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    let rest = a[same..].iter().zip(&b[same..]);
    same + rest.take_while(|(a, b)| a == b).count()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn hash(word: u32, bits: u32) -> usize {
    (word.wrapping_mul(2_654_435_761) >> (32 - bits)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::block::decompress_with_dict;
    use proptest::prelude::*;

    fn round_trip(compressor: &mut Compressor, value: &[u8]) -> usize {
        let mut block = Vec::new();
        compressor.compress(value, &mut block);
        let back = decompress_with_dict(&block, value.len(), &compressor.dictionary).unwrap();
        assert!(back == value, "{} bytes came back as {}", value.len(), back.len());
        block.len()
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let words = prop::sample::select(vec![
            "\"course\":\"",
            "databases",
            "0.25",
            "},{",
            "aaaaaaaa",
            "x",
            "\u{0}\u{0}",
            "learner:42",
        ]);
        prop::collection::vec(words, 0..200).prop_map(|words| words.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn every_value_comes_back(
            dictionary in text(),
            values in prop::collection::vec(prop_oneof![text(), prop::collection::vec(any::<u8>(), 0..300)], 1..20),
        ) {
            let mut compressor = Compressor::new(&dictionary);
            for value in &values {
                round_trip(&mut compressor, value);
            }
        }
    }

    #[test]
    fn a_dictionary_shrinks_what_is_like_it() {
        let value = |n: u32| {
            let one = |i: u32| {
                format!(
                    "{{\"course\":\"c-{:05}\",\"score\":0.{}}}",
                    n * 7919 % 5000 + i,
                    n % 97 + i
                )
            };
            (0..10).map(one).collect::<Vec<_>>().join(",").into_bytes()
        };
        let dictionary: Vec<u8> = (0..60).flat_map(value).collect();
        let (mut with, mut without) = (Compressor::new(&dictionary), Compressor::new(b""));
        let sum = |compressor: &mut Compressor| {
            (100..200).map(|n| round_trip(compressor, &value(n))).sum::<usize>()
        };
        let (with, without) = (sum(&mut with), sum(&mut without));
        assert!(with * 4 < without * 3, "{with} bytes with it, {without} without");
    }

    #[test]
    fn long_values_and_long_dictionaries_keep_within_the_offsets() {
        let noise = |seed: u64, length: usize| {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            (0..length).map(|_| next()).collect::<Vec<_>>()
        };
        let dictionary = noise(1, 100_000);
        let mut compressor = Compressor::new(&dictionary);
        let mut value = noise(2, 70_000);
        value.extend_from_slice(&dictionary[50_000..]);
        value.extend_from_within(..70_000);
        for length in [0, 1, 3, 4, 5, 11, 12, 13, 16, 17, 270, 65_535, 65_536, value.len()] {
            round_trip(&mut compressor, &value[..length]);
            round_trip(&mut compressor, &dictionary[99_000 - length.min(90_000)..99_000]);
        }
    }

    #[test]
    fn the_table_is_cleared_when_its_places_run_out() {
        let mut compressor = Compressor::new(b"");
        compressor.base = u32::MAX - 100;
        let value = b"abcdefgh".repeat(30);
        let first = round_trip(&mut compressor, &value);
        assert!(compressor.base < 1000, "{}", compressor.base);
        assert_eq!(round_trip(&mut compressor, &value), first);
    }
}
