//! LZ4 blocks of single values, with a dictionary that is prepared once.
//!
//! A value of some hundred bytes repeats little within itself; its neighbours repeat it. So
//! each value is compressed by itself, and may refer to a dictionary that all values of a
//! snapshot share. Libraries hash the dictionary anew for each block, which costs a hundred
//! times the compression of a small value; here it is hashed once.
//!
//! What values repeat is mostly longer than what a search finds first: of `{"course":"`, which
//! stands everywhere, one place goes on with the same course. So the search goes on at the end
//! of what it found, and takes a match instead that reaches back over all of it, or nearly so.
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
/// The dictionary is searched for so many bytes: fewer stand nearly everywhere in it.
const CONTEXT_BYTES: usize = 6;
/// Of those with which a longer match is searched, so many are beyond the shorter one.
const CONTEXT_BEYOND: usize = 3;
/// What a longer match may leave to literals of the shorter one: the bytes of one more sequence.
const GIVE_UP: usize = 3;
/// After as many positions without a match the search begins to skip.
const PATIENCE_BITS: u32 = 6;

/// Compresses values, one by one.
pub(crate) struct Compressor {
    dictionary: Box<[u8]>,
    /// Where in the dictionary [`CONTEXT_BYTES`] with this hash stand, plus one; 0: nowhere.
    in_dictionary: Vec<u16>,
    /// Where in the value four bytes stand, plus `base`. Anything below `base` is of an earlier
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
        for at in 0..(dictionary.len() + 1).saturating_sub(8) {
            let place = u16::try_from(at + 1).expect("a dictionary is shorter than 65,536 bytes");
            in_dictionary[hash_context(context(dictionary, at))] = place;
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
            let before = self.note(value, at);
            let Some(found) = self.find(value, at, before) else {
                at += 1 + (misses >> PATIENCE_BITS);
                misses += 1;
                continue;
            };
            let mut found = found.reach_back(value, literals);
            while let Some(longer) = self.find_beyond(value, literals, &found) {
                found = longer;
            }
            sequence(&value[literals..found.begin], Some(&found), out);
            at = found.end();
            (literals, misses) = (at, 0);
            // A place near the end of the match, so that what follows it is found again.
            self.note(value, at - 2);
        }
        sequence(&value[literals..], None, out);
        self.base += length;
    }

    /// The longer of the match in the value, where the entry `before` of its table says, and
    /// the one in the dictionary.
    fn find<'a>(&'a self, value: &'a [u8], at: usize, before: u32) -> Option<Match<'a>> {
        let rest = &value[at..value.len() - LAST_LITERALS];
        let here = before.checked_sub(self.base).map(|place| place as usize);
        let is_it =
            |place: &usize| at - place <= MAX_OFFSET && word(value, *place) == word(value, at);
        let here = here.filter(is_it).map(|place| Match {
            begin: at,
            length: common(&value[place..], rest),
            offset: at - place,
            before: &value[..place],
        });
        let there = self.find_in_dictionary(value, at).map(|(place, offset)| Match {
            begin: at,
            length: common(&self.dictionary[place..], rest),
            offset,
            before: &self.dictionary[..place],
        });
        match (here, there) {
            (Some(here), Some(there)) => {
                Some(if there.length > here.length { there } else { here })
            }
            (one, other) => one.or(other),
        }
    }

    /// A match in the dictionary that begins as `found` does, or little later, and reaches
    /// farther; not before `literals`.
    fn find_beyond<'a>(
        &'a self,
        value: &[u8],
        literals: usize,
        found: &Match<'_>,
    ) -> Option<Match<'a>> {
        let at = found.end() + CONTEXT_BEYOND - CONTEXT_BYTES;
        if at + 8 > value.len() {
            return None;
        }
        let (place, offset) = self.find_in_dictionary(value, at)?;
        let back = common_end(&value[literals..at], &self.dictionary[..place]);
        let begin = at - back;
        if begin > found.begin + GIVE_UP || begin + LAST_MATCH > value.len() {
            return None;
        }
        let rest = &value[at..value.len() - LAST_LITERALS];
        let length = back + common(&self.dictionary[place..], rest);
        let before = &self.dictionary[..place - back];
        (begin + length > found.end()).then_some(Match { begin, length, offset, before })
    }

    /// Where in the dictionary the [`CONTEXT_BYTES`] stand that the value has at `at`, and how far
    /// back that is.
    fn find_in_dictionary(&self, value: &[u8], at: usize) -> Option<(usize, usize)> {
        let sought = context(value, at);
        let place = usize::from(self.in_dictionary[hash_context(sought)]).checked_sub(1)?;
        let offset = at + self.dictionary.len() - place;
        let is_it = context(&self.dictionary, place) == sought && offset <= MAX_OFFSET;
        is_it.then_some((place, offset))
    }

    /// Enters a place of the value into its table; what stood there before.
    fn note(&mut self, value: &[u8], at: usize) -> u32 {
        let place = u32::try_from(at).expect("values are at most 16 MiB");
        let entry = &mut self.here[hash(word(value, at))];
        std::mem::replace(entry, self.base + place)
    }
}

/// Bytes of a value that stand earlier, too.
struct Match<'a> {
    begin: usize,
    length: usize,
    /// How far back.
    offset: usize,
    /// What stands before it where it was found.
    before: &'a [u8],
}

impl Match<'_> {
    fn end(&self) -> usize {
        self.begin + self.length
    }

    /// The same match, begun earlier where what comes before it, back to `literals`, ends like
    /// what stands before it where it was found.
    fn reach_back(mut self, value: &[u8], literals: usize) -> Self {
        let back = common_end(&value[literals..self.begin], self.before);
        self.begin -= back;
        self.length += back;
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
fn common(mut a: &[u8], mut b: &[u8]) -> usize {
    let mut same = 0;
    while let (Some((eight_a, rest_a)), Some((eight_b, rest_b))) =
        (a.split_first_chunk(), b.split_first_chunk())
    {
        let differing = u64::from_le_bytes(*eight_a) ^ u64::from_le_bytes(*eight_b);
        if differing != 0 {
            return same + differing.trailing_zeros() as usize / 8;
        }
        (a, b, same) = (rest_a, rest_b, same + 8);
    }
    same + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// How many bytes both end with.
fn common_end(mut a: &[u8], mut b: &[u8]) -> usize {
    let mut same = 0;
    while let (Some((rest_a, eight_a)), Some((rest_b, eight_b))) =
        (a.split_last_chunk(), b.split_last_chunk())
    {
        let differing = u64::from_le_bytes(*eight_a) ^ u64::from_le_bytes(*eight_b);
        if differing != 0 {
            return same + differing.leading_zeros() as usize / 8;
        }
        (a, b, same) = (rest_a, rest_b, same + 8);
    }
    same + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// [`CONTEXT_BYTES`] at a place behind which eight bytes are.
fn context(bytes: &[u8], at: usize) -> u64 {
    let eight = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    eight << (64 - 8 * CONTEXT_BYTES)
}

fn hash_context(context: u64) -> usize {
    (context.wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - DICTIONARY_BITS)) as usize
}

fn hash(word: u32) -> usize {
    (word.wrapping_mul(2_654_435_761) >> (32 - HERE_BITS)) as usize
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
        let (last_match, literals) = end_of(&block);
        assert!(literals >= LAST_LITERALS.min(value.len()));
        assert!(last_match.is_none_or(|begin| begin + LAST_MATCH <= value.len()));
        block.len()
    }

    fn take<'a>(block: &mut &'a [u8], count: usize) -> &'a [u8] {
        block.split_off(..count).unwrap_or_default()
    }

    /// What [`more`] wrote, after a nibble.
    fn length(nibble: usize, block: &mut &[u8]) -> usize {
        let mut length = nibble;
        let mut last = if nibble == 15 { 255 } else { 0 };
        while last == 255 {
            last = usize::from(take(block, 1)[0]);
            length += last;
        }
        length
    }

    /// Where in its value the last match of a block begins, and how many literals follow it.
    fn end_of(mut block: &[u8]) -> (Option<usize>, usize) {
        let (mut at, mut last_match) = (0, None);
        loop {
            let token = usize::from(take(&mut block, 1)[0]);
            let literals = length(token >> 4, &mut block);
            take(&mut block, literals);
            at += literals;
            if take(&mut block, 2).is_empty() {
                return (last_match, literals);
            }
            last_match = Some(at);
            at += length(token & 15, &mut block) + MIN_MATCH;
        }
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

    /// Every entry begins alike; the one that goes on alike is found, wherever it stands, but
    /// for a few whose places in the table others took.
    #[test]
    fn a_match_is_the_longest_that_begins_alike() {
        let entry = |n: u32| format!("{{\"course\":\"{n:03}-course\",\"score\":").into_bytes();
        let dictionary: Vec<u8> = (0..100).flat_map(entry).collect();
        let mut compressor = Compressor::new(&dictionary);
        // Token, the rest of a length, offset; token, literals.
        let shortest = 1 + 1 + 2 + 1 + 12;
        let value = |n| [&entry(n)[..], b"0.123456789}"].concat();
        let found = (0..100).filter(|n| round_trip(&mut compressor, &value(*n)) == shortest);
        assert!(found.count() > 90);
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
