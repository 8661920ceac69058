//! A walk over what Parquet writes in Thrift's compact protocol: its footer, and the heads of its pages.
//!
//! parquet-rs passes over fields that it does not know, and over a collection of booleans without
//! reading a byte for each: of 2³⁰ of them it counts to that. Parquet has such collections in neither place,
//! so they are refused. Each other item takes at least a byte, so that what is walked is no longer than
//! what there is.
//!
//! What parquet-rs knows it takes for what it should be, whatever type it is said to have. A known field
//! of another type is refused too: otherwise one could hide in it what is not walked over.

use std::io::{self, ErrorKind, Read};

/// Structs and lists in each other, at most. Parquet's own are seven.
const MOST_NESTED: usize = 32;
/// Bytes of a number of 64 bits, at most.
const MOST_OF_NUMBER: u32 = 10;

/// What the fields of a struct are that parquet-rs knows.
pub(super) struct Shape {
    /// Their types by number from 1 on, as [`kind`] calls them; `-`: one that it does not know; and
    /// [`CRYPTO`].
    kinds: &'static [u8],
    /// Those that are structs, or lists of structs, with fields that it knows.
    parts: &'static [(i16, Self)],
}

/// A field that parquet-rs does not know as it is built here. Where it is, the column is encrypted.
const CRYPTO: u8 = b'e';

const fn plain(kinds: &'static [u8]) -> Shape {
    Shape { kinds, parts: &[] }
}

/// `PageHeader`, with `DataPageHeader`, `DictionaryPageHeader` and `DataPageHeaderV2`.
pub(super) const PAGE_HEAD: Shape = Shape {
    kinds: b"iiiissss",
    parts: &[(5, plain(b"iiii")), (7, plain(b"iib")), (8, plain(b"iiiiiib"))],
};

/// `FileMetaData`, with `SchemaElement`, `RowGroup`, `KeyValue` and `ColumnOrder`.
pub(super) const FOOTER: Shape = Shape {
    kinds: b"ililltl",
    parts: &[(2, ELEMENT), (4, GROUP), (5, plain(b"tt")), (7, plain(b"sss"))],
};
const ELEMENT: Shape = Shape { kinds: b"iiitiiiiis", parts: &[(10, LOGICAL_TYPE)] };
const LOGICAL_TYPE: Shape = Shape {
    kinds: b"ssssssss-ssssssssss",
    parts: &[
        (5, plain(b"ii")),
        (7, TIME),
        (8, TIME),
        (10, plain(b"yb")),
        (16, plain(b"y")),
        (17, plain(b"t")),
        (18, plain(b"ti")),
    ],
};
const TIME: Shape = Shape { kinds: b"bs", parts: &[(2, plain(b"sss"))] };
const GROUP: Shape = Shape { kinds: b"liili-i", parts: &[(1, CHUNK), (4, plain(b"ibb"))] };
const CHUNK: Shape = Shape { kinds: b"tisiiiie", parts: &[(3, COLUMN)] };
const COLUMN: Shape = Shape {
    kinds: b"il-iiii-iiisliiss",
    parts: &[(12, plain(b"ttiittbbi")), (13, plain(b"iii")), (16, plain(b"ill")), (17, PLACES)],
};
const PLACES: Shape = Shape { kinds: b"sl", parts: &[(1, plain(b"dddddddd"))] };

/// What a type of the protocol is called here: of numbers all but bytes are written the same way.
fn kind(wire: u8) -> u8 {
    match wire {
        1 | 2 => b'b',
        3 => b'y',
        4..=6 => b'i',
        7 => b'd',
        8 => b't',
        9 => b'l',
        12 => b's',
        _ => b'?',
    }
}

fn refused(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// What a walk has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// The length of the struct.
    pub(super) bytes: u64,
    /// Of a page's head: how long the page is once it is decompressed.
    page_bytes: i32,
    /// How many values there are in it, if it is a dictionary.
    dictionary: i32,
    /// Of a footer: whether a column is encrypted.
    pub(super) has_encrypted: bool,
}

/// Walks over one struct.
pub(super) fn walk(reader: impl Read, shape: &Shape) -> io::Result<Walked> {
    let mut walk = Walk { reader, walked: Walked::default(), top: 0 };
    walk.fields(Some(shape), 0)?;
    Ok(walk.walked)
}

impl Walked {
    /// parquet-rs makes room for all values that a dictionary is said to have, before it reads one. Each takes
    /// a byte at least.
    pub(super) fn check_dictionary(self) -> io::Result<()> {
        let Self { page_bytes, dictionary, .. } = self;
        if (0..=page_bytes.max(0)).contains(&dictionary) {
            return Ok(());
        }
        Err(refused(format!("it has a dictionary of {dictionary} values in {page_bytes} bytes")))
    }
}

struct Walk<R> {
    reader: R,
    walked: Walked,
    /// The field of the outermost struct that it is in.
    top: i16,
}

impl<R: Read> Walk<R> {
    fn fields(&mut self, shape: Option<&Shape>, depth: usize) -> io::Result<()> {
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            let (step, wire) = (head >> 4, head & 0xf);
            if wire == 0 {
                return Ok(());
            }
            let next = match step {
                0 => self.signed().map(|number| i16::try_from(number).ok())?,
                _ => number.checked_add(step.into()),
            };
            number = next.ok_or_else(|| refused("a field's number has over 16 bits".to_owned()))?;
            let (expected, part) = shape.map_or((None, None), |shape| shape.field(number));
            if expected == Some(CRYPTO) {
                self.walked.has_encrypted = true;
            } else if expected.is_some_and(|expected| expected != kind(wire)) {
                return Err(refused(format!("its field {number} has type {wire}, not its own")));
            }
            if depth == 0 {
                self.top = number;
            }
            match (wire, depth, self.top, number) {
                (4..=6, 0, 2, 2) => self.walked.page_bytes = self.of_32_bits()?,
                (4..=6, 1, 7, 1) => self.walked.dictionary = self.of_32_bits()?,
                _ => self.value(wire, part, depth)?,
            }
        }
    }

    fn value(&mut self, wire: u8, part: Option<&Shape>, depth: usize) -> io::Result<()> {
        if depth == MOST_NESTED {
            return Err(refused(format!("its structs are nested over {MOST_NESTED} deep")));
        }
        match wire {
            1 | 2 => Ok(()),
            3 => self.pass(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let bytes = self.number()?;
                self.pass(bytes)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.number()?,
                    few => few.into(),
                };
                self.items(count, &[head & 0xf], part, depth)
            }
            11 => match self.number()? {
                0 => Ok(()),
                count => {
                    let types = self.byte()?;
                    self.items(count, &[types >> 4, types & 0xf], None, depth)
                }
            },
            12 => self.fields(part, depth + 1),
            13 => self.pass(16),
            _ => Err(refused(format!("it has something of type {wire}, which is none"))),
        }
    }

    fn items(
        &mut self,
        count: u64,
        types: &[u8],
        part: Option<&Shape>,
        depth: usize,
    ) -> io::Result<()> {
        if count > 0 && types.iter().any(|&wire| kind(wire) == b'b') {
            return Err(refused(format!("it has a list of {count} booleans, where there is none")));
        }
        for _ in 0..count {
            types.iter().try_for_each(|wire| self.value(*wire, part, depth + 1))?;
        }
        Ok(())
    }

    /// parquet-rs would take the last 32 bits of a longer one.
    fn of_32_bits(&mut self) -> io::Result<i32> {
        let number = self.signed()?;
        i32::try_from(number).map_err(|_| refused(format!("{number} has over 32 bits")))
    }

    fn signed(&mut self) -> io::Result<i64> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for at in 0..MOST_OF_NUMBER {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(refused("a number has over 64 bits".to_owned()))
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        self.walked.bytes += 1;
        Ok(byte[0])
    }

    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.reader.by_ref().take(bytes), &mut io::sink())?;
        self.walked.bytes += passed;
        if passed == bytes { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }
}

impl Shape {
    /// What the field of this number should be, and its own shape.
    fn field(&self, number: i16) -> (Option<u8>, Option<&Self>) {
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let kind = at.and_then(|at| self.kinds.get(at)).copied().filter(|kind| *kind != b'-');
        let part = self.parts.iter().find(|(of, _)| *of == number);
        (kind, part.map(|(_, shape)| shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of 2³⁰ booleans that has none, behind its field's head.
    const BOOLEANS: [u8; 6] = [0xf1, 0x80, 0x80, 0x80, 0x80, 4];

    fn walked(bytes: &[u8]) -> Result<u64, String> {
        let walked = walk(bytes, &PAGE_HEAD).and_then(|walked| {
            walked.check_dictionary()?;
            Ok(walked.bytes)
        });
        walked.map_err(|error| error.to_string())
    }

    #[track_caller]
    fn assert_refused(bytes: &[u8], part: &str) {
        let error = walked(bytes).unwrap_err();
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }

    #[test]
    fn a_head_is_as_long_as_it_is_whatever_follows() {
        let mut head = vec![0x15_u8, 0, 0x15, 0x28, 0x15, 0x28];
        head.extend([0x2c, 0x15, 6, 0x15, 0, 0x15, 6, 0x15, 6, 0]);
        // By its number 100, and then what is not known: a set, an empty list, maps, a struct, a UUID.
        head.extend([0x08, 0xc8, 1, 2, b'a', b'b', 0x1a, 0x25, 2, 4, 0x19, 0, 0x1b, 0]);
        head.extend([0x1b, 1, 0x58, 2, 1, b'v', 0x1c, 0x11, 0x12, 0x13, 7, 0, 0x1d]);
        head.extend([0; 16]);
        head.extend([0x17, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
        let long = head.len() as u64;
        assert_eq!(walked(&head), Ok(long));
        assert_eq!(walked(&[&head[..], b"page"].concat()), Ok(long));
        for cut in 0..head.len() {
            assert!(walked(&head[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn collections_of_booleans_are_refused_wherever_they_are() {
        let many = "1073741824 booleans";
        assert_refused(&[&[0xf9_u8][..], &BOOLEANS].concat(), many);
        assert_refused(&[&[0xfa_u8][..], &BOOLEANS].concat(), many);
        assert_refused(&[&[0xfc_u8, 0x19][..], &BOOLEANS].concat(), many);
        assert_refused(&[&[0xf9_u8, 0x19][..], &BOOLEANS].concat(), many);
        assert_refused(&[&[0x5c_u8, 0x59][..], &BOOLEANS].concat(), many);
        for types in [0x11, 0x15, 0x51, 0x22] {
            assert_refused(&[0xfb, 0x80, 0x80, 0x80, 0x80, 4, types], many);
        }
        assert_refused(&[0xf9, 0x11, 1, 0], "1 booleans");
    }

    #[test]
    fn what_is_known_has_its_own_type() {
        assert_refused(&[0x18, 0, 0], "field 1 has type 8");
        assert_refused(&[0x55, 2, 0], "field 5 has type 5");
        assert_refused(&[0x5c, 0x1c, 0, 0, 0], "field 1 has type 12");
        assert_refused(&[0x7c, 0x39, 0x15, 2, 0, 0], "field 3 has type 9");
        // Numbers are written the same way, however many bits they have.
        assert_eq!(walked(&[0x16, 2, 0]), Ok(3));
    }

    #[test]
    fn a_dictionary_has_no_more_values_than_bytes() {
        // A page of 20 bytes, and in its head a dictionary of so many values.
        let of = |values: &[u8]| [&[0x15_u8, 4, 0x15, 40, 0x5c, 0x15], values, &[0, 0]].concat();
        assert_eq!(walked(&of(&[40])), Ok(9));
        assert_refused(&of(&[42]), "21 values in 20 bytes");
        assert_refused(&of(&[1]), "-1 values in 20 bytes");
        assert_refused(&of(&[0x80, 0x80, 0x80, 0x80, 0x20]), "over 32 bits");
        assert_refused(&of(&[0xfe, 0xff, 0xff, 0xff, 0xf]), "2147483647 values");
    }

    #[test]
    fn numbers_and_depth_have_bounds() {
        assert_refused(&[&[0x15_u8][..], &[0xff; 10]].concat(), "over 64 bits");
        assert_eq!(walked(&[&[0x15_u8][..], &[0xff; 9], &[1, 0]].concat()), Ok(12));
        assert_refused(&[0x05, 0xff, 0xff, 0xff, 0x7f], "over 16 bits");
        assert_refused(&[0x05, 0xfe, 0xff, 0x03, 0, 0xf5, 0], "over 16 bits");
        assert_refused(&[0xfc; 64], "nested");
        assert_refused(&[&[0xf9_u8][..], &[0x19; 64]].concat(), "nested");
        assert_refused(&[0xfe, 0], "type 14");
        assert_refused(&[0xf9, 0x10, 0], "type 0");
    }
}
