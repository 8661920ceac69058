//! LZ4 blocks of single values, with a dictionary that is prepared once.
//!
//! A value of some hundred bytes repeats little within itself, but much of its neighbours. So each
//! value is compressed by itself, and may refer to a dictionary that all values of a snapshot
//! share. Libraries hash the dictionary anew for each block, which takes a hundred times as long as
//! compressing a small value. Here it is hashed once.
//!
//! How matches are found:
//! - A search by a few bytes gives one of the places where they stand, and often not the best:
//!   `{"course":"` stands everywhere, but few places go on with the same course. So the search is
//!   repeated, in the dictionary, with the bytes at the end of the match. What it finds there takes
//!   the place of the match if it reaches farther and begins as early, or nearly so. If it begins
//!   later, it is the next match.
//! - The value is copied behind the dictionary, so that one number says any place in either.
//! - There is a margin before and behind both, so that bytes are compared and copied in wide steps
//!   up to the very end.
//! - Most of the time goes into waiting for one lookup to say where the next one is. So there are
//!   few lookups, in small tables.
//!
//! The format is LZ4's block format with an external dictionary (`lz4_Block_format.md` of the LZ4
//! project). It is read with `lz4_flex`.

/// The shortest match that the format can express.
const MIN_MATCH: usize = 4;
/// The format: the last match begins at least so many bytes before the end…
const LAST_MATCH: usize = 12;
/// …and the last bytes are literals.
const LAST_LITERALS: usize = 5;
/// The farthest a match may lie back.
const MAX_OFFSET: usize = u16::MAX as usize;
/// Lengths from this one on do not fit their four bits.
const LONG: usize = 15;
/// Bytes that are compared, or copied, in one step.
const STEP: usize = 16;
/// Bytes before and behind what is compressed, for steps that reach beyond it.
const MARGIN: usize = STEP;
/// The window keeps its memory up to so many bytes; what a larger value took is given back.
const MOST_KEPT: usize = 1 << 20;
/// Entries of the table of the value itself, as a power of two. 16 KiB: stays in the
/// processor's first cache.
const HERE_BITS: u32 = 12;
/// Entries of the dictionary's table, as a power of two. With 32 KiB it is fast; twice the
/// entries save 1 % of the bytes.
const DICTIONARY_BITS: u32 = 14;
/// The dictionary is searched for so many bytes: fewer stand nearly everywhere in it.
const CONTEXT_BYTES: usize = 6;
/// Of those with which a longer match is searched, so many are beyond the shorter one.
const CONTEXT_BEYOND: usize = 2;
/// What a longer match may leave to literals of the shorter one: the bytes of one more sequence.
const GIVE_UP: usize = 3;
/// A longer match than one of so many bytes is not searched: there is rarely one.
const ENOUGH: usize = 32;
/// What was found in search of a longer match is taken as the next one if so much of it is
/// left, which also keeps it within [`LAST_MATCH`].
const NEXT_MATCH: usize = LAST_MATCH - LAST_LITERALS;
/// After as many positions without a match the search begins to skip.
const PATIENCE_BITS: u32 = 6;

/// Compresses values, one by one.
pub(crate) struct Compressor {
    /// A margin, the dictionary, and while one is compressed the value and a margin.
    window: Vec<u8>,
    dictionary_end: usize,
    /// Where in the window [`CONTEXT_BYTES`] of the dictionary with this hash stand; its begin
    /// if nowhere.
    in_dictionary: Box<[u16; 1 << DICTIONARY_BITS]>,
    /// Where in the window four bytes of the value stand, plus `base`. Anything below `base` is
    /// of an earlier value, so the table need not be cleared.
    here: Box<[u32; 1 << HERE_BITS]>,
    base: u32,
}

impl Compressor {
    /// A compressor whose blocks may refer to `dictionary`, of which the last 65,519 bytes
    /// count.
    pub(crate) fn new(dictionary: &[u8]) -> Self {
        let dictionary = &dictionary[dictionary.len().saturating_sub(MAX_OFFSET - MARGIN)..];
        let window = [&[0; MARGIN], dictionary].concat();
        let in_dictionary = places(&window);
        let here = Box::new([0; 1 << HERE_BITS]);
        Self { dictionary_end: window.len(), window, in_dictionary, here, base: 1 }
    }

    /// Appends the block of `value` to `out`.
    pub(crate) fn compress(&mut self, value: &[u8], out: &mut Vec<u8>) {
        self.window.extend_from_slice(value);
        self.window.extend_from_slice(&[0; MARGIN]);
        let places = u32::try_from(self.window.len()).expect("values are at most 16 MiB");
        if self.base.checked_add(places).is_none() {
            self.here.fill(0);
            self.base = 1;
        }
        let mut block = Block::after(out, value.len());
        let (mut literals, mut at, mut misses) = (self.dictionary_end, self.dictionary_end, 0);
        while at + LAST_MATCH <= self.end() {
            let Some(mut found) = self.find(at, literals) else {
                at += 1 + (misses >> PATIENCE_BITS);
                misses += 1;
                continue;
            };
            while let Some(mut beyond) = self.find_beyond(&found, literals) {
                if beyond.begin > found.begin + GIVE_UP {
                    block.sequence(&self.window, literals, &found);
                    (literals, beyond.begin) = (found.end, found.end);
                }
                found = beyond;
            }
            block.sequence(&self.window, literals, &found);
            (literals, at, misses) = (found.end, found.end, 0);
            // A place near the end of the match, so that what follows it is found again.
            self.note(at - 2);
        }
        block.end(&self.window[literals..self.end()]);
        self.base += places;
        self.window.truncate(self.dictionary_end);
        self.window.shrink_to(MOST_KEPT);
    }

    /// Where in the window the value ends.
    fn end(&self) -> usize {
        self.window.len() - MARGIN
    }

    /// A match in the dictionary or else in the value itself. It begins at `at`, or before it
    /// where what comes before, back to `literals`, is the same too.
    fn find(&mut self, at: usize, literals: usize) -> Option<Match> {
        let place = self.find_in_dictionary(at).or_else(|| self.find_here(at))?;
        let (mut begin, offset) = (at, at - place);
        while begin > literals
            && begin - offset > MARGIN
            && self.window[begin - 1] == self.window[begin - offset - 1]
        {
            begin -= 1;
        }
        Some(Match { begin, end: at + self.common(place, at), offset })
    }

    /// A match in the dictionary that reaches farther than `found`. Either it begins as `found`
    /// does, or little later, but not before `literals`; or it can be the next one.
    fn find_beyond(&self, found: &Match, literals: usize) -> Option<Match> {
        let at = found.end + CONTEXT_BEYOND - CONTEXT_BYTES;
        if found.end - found.begin >= ENOUGH || at + LAST_MATCH > self.end() {
            return None;
        }
        let place = self.find_in_dictionary(at)?;
        let begin = at - self.common_back(place, at, literals);
        let end = at + self.common(place, at);
        let least = if begin > found.begin + GIVE_UP { NEXT_MATCH } else { 1 };
        (end >= found.end + least).then_some(Match { begin, end, offset: at - place })
    }

    /// Where in the dictionary the [`CONTEXT_BYTES`] stand that the value has at `at`.
    fn find_in_dictionary(&self, at: usize) -> Option<usize> {
        let sought = context(&self.window, at);
        let place = usize::from(self.in_dictionary[hash_context(sought)]);
        let is_it = context(&self.window, place) == sought && may_refer(at, place);
        is_it.then_some(place)
    }

    /// Where in the value the four bytes stood before that it has at `at`.
    fn find_here(&mut self, at: usize) -> Option<usize> {
        let before = self.note(at).wrapping_sub(self.base) as usize;
        let place = before.min(at);
        let is_it = word(&self.window, place) == word(&self.window, at) && may_refer(at, place);
        is_it.then_some(place)
    }

    /// Enters a place of the value into its table; what stood there before.
    fn note(&mut self, at: usize) -> u32 {
        let place = u32::try_from(at).expect("values are at most 16 MiB");
        let entry = &mut self.here[hash(word(&self.window, at))];
        std::mem::replace(entry, self.base + place)
    }

    /// How many bytes are the same from `place` and from `at` on, but for the last literals.
    fn common(&self, place: usize, at: usize) -> usize {
        let most = self.end() - LAST_LITERALS - at;
        let (a, _) = self.window[place..].as_chunks::<STEP>();
        let (b, _) = self.window[at..].as_chunks::<STEP>();
        let mut same = 0;
        for (a, b) in a.iter().zip(b) {
            let differing = u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b);
            if differing != 0 {
                return most.min(same + differing.trailing_zeros() as usize / 8);
            }
            same += STEP;
        }
        most
    }

    /// How many bytes are the same before `place` and before `at`, back to `literals`.
    fn common_back(&self, place: usize, at: usize, literals: usize) -> usize {
        let most = (at - literals).min(place - MARGIN);
        let (_, a) = self.window[..place].as_rchunks::<STEP>();
        let (_, b) = self.window[..at].as_rchunks::<STEP>();
        let mut same = 0;
        for (a, b) in a.iter().rev().zip(b.iter().rev()) {
            let differing = u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b);
            if differing != 0 {
                return most.min(same + differing.leading_zeros() as usize / 8);
            }
            same += STEP;
        }
        most
    }
}

/// The table of a dictionary, which stands in `window` behind a margin. Of several places of one
/// context it has the last; a context that stands at one place only makes way for others.
fn places(window: &[u8]) -> Box<[u16; 1 << DICTIONARY_BITS]> {
    let nowhere = u16::try_from(MARGIN).expect("it is small");
    let mut places = Box::new([nowhere; 1 << DICTIONARY_BITS]);
    let mut repeated = vec![false; 1 << DICTIONARY_BITS];
    for at in MARGIN..(window.len() + 1).saturating_sub(8) {
        let slot = hash_context(context(window, at));
        let before = usize::from(places[slot]);
        let again = before < at && context(window, before) == context(window, at);
        if again || !repeated[slot] {
            places[slot] = u16::try_from(at).expect("a dictionary is shorter than 65,536 bytes");
            repeated[slot] = again;
        }
    }
    places
}

/// Bytes of a value that stand earlier, too.
struct Match {
    begin: usize,
    end: usize,
    /// How far back.
    offset: usize,
}

/// A block that is being written.
struct Block<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
}

impl<'a> Block<'a> {
    /// One behind what `out` has, with room for all that a value of `length` bytes can become.
    fn after(out: &'a mut Vec<u8>, length: usize) -> Self {
        let at = out.len();
        out.resize(at + length + length / 255 + 4 * STEP, 0);
        Self { out, at }
    }

    /// Writes the literals from `literals` on and the match that follows them.
    // Saves 5 % of the whole.
    #[inline(always)]
    fn sequence(&mut self, window: &[u8], literals: usize, found: &Match) {
        let (count, beyond) = (found.begin - literals, found.end - found.begin - MIN_MATCH);
        self.token(count, beyond);
        if count < LONG {
            // Mostly. A whole step is one instruction; what is too much is written over.
            let step = &window[literals..literals + STEP];
            self.out[self.at..self.at + STEP].copy_from_slice(step);
        } else {
            self.more(count);
            self.out[self.at..self.at + count].copy_from_slice(&window[literals..found.begin]);
        }
        self.at += count;
        let offset = u16::try_from(found.offset).expect("no match lies farther back");
        self.out[self.at..self.at + 2].copy_from_slice(&offset.to_le_bytes());
        self.at += 2;
        self.more(beyond);
    }

    /// Writes the last literals, and nothing behind them.
    fn end(mut self, literals: &[u8]) {
        self.token(literals.len(), 0);
        self.more(literals.len());
        self.out.truncate(self.at);
        self.out.extend_from_slice(literals);
    }

    fn token(&mut self, literals: usize, beyond: usize) {
        let token = literals.min(LONG) << 4 | beyond.min(LONG);
        self.out[self.at] = u8::try_from(token).expect("twice four bits");
        self.at += 1;
    }

    /// Writes what of a length does not fit its four bits.
    fn more(&mut self, length: usize) {
        let Some(mut rest) = length.checked_sub(LONG) else { return };
        while rest >= 255 {
            self.out[self.at] = 255;
            self.at += 1;
            rest -= 255;
        }
        self.out[self.at] = u8::try_from(rest).expect("less than 255");
        self.at += 1;
    }
}

/// Whether a match at `at` may refer to `place`, which is not behind it.
fn may_refer(at: usize, place: usize) -> bool {
    (at - place).wrapping_sub(1) < MAX_OFFSET
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
        let dictionary = &compressor.window[MARGIN..compressor.dictionary_end];
        let back = decompress_with_dict(&block, value.len(), dictionary).unwrap();
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

    /// A value that goes on where the dictionary ends, with itself.
    #[test]
    fn a_match_may_reach_from_the_dictionary_into_the_value() {
        for length in [0, 1, 3, 5, 7, 8, 9, 17, 40] {
            let dictionary: Vec<u8> = (0..length).map(|n| b'a' + n).collect();
            let mut compressor = Compressor::new(&dictionary);
            for begin in 0..dictionary.len().max(1) {
                let value = dictionary[begin..].repeat(9);
                let block = round_trip(&mut compressor, &value);
                let one_match = 1 + 1 + 2 + 1 + LAST_LITERALS + 1;
                assert!(value.len() < 40 || dictionary.len() < begin + 8 || block <= one_match);
            }
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
