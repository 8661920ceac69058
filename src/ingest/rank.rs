//! Ranks: `--order-by` as bytes, so that sorting records by key and then by rank, byte for
//! byte, is the order that was asked for.
//!
//! Numbers come before texts before booleans before nulls (a missing field is null). Within
//! numbers the order is exact, by their first 1,000 digits. Descending turns all that
//! round except that nulls stay last: the best come first, the unknown at the end.

use tidetable_storage::quoted;

use super::cells::Scalar;
use super::error::Fault;
use super::option_values::Nan;

/// The longest rank of one field, and of all together, in bytes: it is held in memory for each row
/// that sorts, and the sorter takes no longer one.
const MAX_RANK_BYTES: usize = 64 * 1024;
/// Digits of a number that count; beyond them numbers are equal in order.
const MAX_DIGITS: usize = 1_000;

const NUMBER: u8 = 0x10;
const TEXT: u8 = 0x20;
const BOOLEAN: u8 = 0x30;
/// Not turned round when descending.
const NULL: u8 = 0xff;

/// Appends the rank of one field.
pub(crate) fn push_rank(
    rank: &mut Vec<u8>,
    field: &str,
    value: &Scalar<'_>,
    descending: bool,
    nan: Nan,
) -> Result<(), Fault> {
    let start = rank.len();
    match value {
        Scalar::Null => {
            rank.push(NULL);
            return Ok(());
        }
        Scalar::NotFinite if nan == Nan::Null => {
            rank.push(NULL);
            return Ok(());
        }
        Scalar::Number(number) => push_number(rank, number),
        Scalar::Time { instant, .. } => push_number(rank, &instant.to_string()),
        Scalar::Text(text) => push_bytes(rank, text.as_bytes()),
        Scalar::Bytes(bytes) => push_bytes(rank, bytes),
        Scalar::Boolean(boolean) => rank.extend([BOOLEAN, u8::from(*boolean)]),
        Scalar::NotFinite => {
            return no_rank(field, "is not a finite number (--nan null makes it null)");
        }
        Scalar::Nested => return no_rank(field, "is an object or array, which has no order"),
    }
    if rank.len() - start > MAX_RANK_BYTES {
        return no_rank(field, &format!("is longer than {MAX_RANK_BYTES} bytes"));
    }
    if descending {
        rank[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(())
}

/// Refuses the ranks of all fields if together they are longer than one may be: the sorter would, without
/// a word of the row.
pub(crate) fn check_whole(rank: &[u8]) -> Result<(), Fault> {
    if rank.len() > MAX_RANK_BYTES {
        return Err(Fault::new(format!(
            "its fields of --order-by have {} bytes together; the most is {MAX_RANK_BYTES}",
            rank.len()
        )));
    }
    Ok(())
}

fn no_rank(field: &str, why: &str) -> Result<(), Fault> {
    Err(Fault::new(format!("the field {} of --order-by {why}", quoted(field))))
}

/// Bytes in their order, with an end that sorts below every byte that may follow.
fn push_bytes(rank: &mut Vec<u8>, bytes: &[u8]) {
    rank.push(TEXT);
    for byte in bytes {
        rank.push(*byte);
        if *byte == 0 {
            rank.push(0xff);
        }
    }
    rank.extend([0, 0]);
}

/// A JSON number as sign, magnitude and digits: 0.d₁d₂d₃… × 10^magnitude, where d₁ is not
/// zero. Of negative numbers, what follows the sign is turned round.
fn push_number(rank: &mut Vec<u8>, number: &str) {
    let (negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let leading_zeros = digits().take_while(|digit| *digit == b'0').count();
    rank.push(NUMBER);
    if leading_zeros == whole.len() + fraction.len() {
        rank.push(1);
        return;
    }
    rank.push(if negative { 0 } else { 2 });
    let start = rank.len();
    // The lengths are those of a row in memory, so the sum is far from overflowing.
    let magnitude = whole.len() as i64 - leading_zeros as i64 + exponent;
    // With the sign bit flipped, signed numbers sort as bytes.
    rank.extend(((magnitude as u64) ^ (1 << 63)).to_be_bytes());
    rank.extend(digits().skip(leading_zeros).take(MAX_DIGITS));
    while rank.last() == Some(&b'0') && rank.len() > start + 8 {
        rank.pop();
    }
    rank.push(0);
    if negative {
        rank[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// Exponents beyond anything that can be told apart are as good as the largest.
fn exponent_of(text: &str) -> i64 {
    const MOST: i64 = 1 << 60;
    let digits = text.trim_start_matches(['+', '-']);
    let size = digits.parse::<i64>().map_or(MOST, |size| size.min(MOST));
    if text.starts_with('-') { -size } else { size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rank(json: &str, descending: bool) -> Vec<u8> {
        let mut rank = Vec::new();
        push_rank(&mut rank, "f", &Scalar::of_json(json).unwrap(), descending, Nan::Fail).unwrap();
        rank
    }

    const ASCENDING: [&str; 27] = [
        "-1e999999999999999999999",
        "-1e400",
        "-18446744073709551616",
        "-10",
        "-9.5",
        "-9",
        "-1",
        "-0.5",
        "-1e-400",
        "0",
        "1e-400",
        "0.05",
        "0.5",
        "0.51",
        "1",
        "1.5",
        "9",
        "10",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551616",
        "1e400",
        "\"\"",
        "\"a\\u0000b\"",
        "\"b\"",
        "false",
        "true",
    ];

    #[test]
    fn ranks_sort_as_their_values_do() {
        for pair in ASCENDING.windows(2) {
            assert!(rank(pair[0], false) < rank(pair[1], false), "{pair:?}");
            assert!(rank(pair[0], true) > rank(pair[1], true), "{pair:?} descending");
        }
    }

    #[test]
    fn nulls_are_last_both_ways() {
        for value in ASCENDING {
            assert!(rank(value, false) < rank("null", false), "{value}");
            assert!(rank(value, true) < rank("null", true), "{value} descending");
        }
    }

    #[test]
    fn one_number_has_one_rank_however_it_is_written() {
        for same in [["0", "-0"], ["0.0", "0e9"], ["1", "1.00"], ["100", "1e2"], ["0.01", "1E-2"]] {
            assert_eq!(rank(same[0], false), rank(same[1], false), "{same:?}");
        }
    }

    #[test]
    fn the_end_of_a_text_sorts_before_more_text_whatever_follows() {
        let two = |a: &str, b: &str| [rank(a, false), rank(b, false)].concat();
        assert!(two("\"a\"", "true") < two("\"aa\"", "0"));
        assert!(two("\"a\"", "true") < two("\"a\\u0000\"", "0"));
        let down = |a: &str, b: &str| [rank(a, true), rank(b, false)].concat();
        assert!(down("\"a\"", "0") > down("\"aa\"", "true"));
    }

    #[test]
    fn what_has_no_order_is_refused() {
        let refused =
            |scalar: &Scalar<'_>, nan| push_rank(&mut Vec::new(), "f", scalar, false, nan).is_err();
        assert!(refused(&Scalar::Nested, Nan::Null));
        assert!(refused(&Scalar::NotFinite, Nan::Fail));
        assert!(!refused(&Scalar::NotFinite, Nan::Null));
        assert!(refused(&Scalar::Text("x".repeat(70_000).into()), Nan::Fail));
    }

    /// What the sorter refuses has no place.
    #[test]
    fn a_rank_is_no_longer_than_the_sorter_takes() {
        assert_eq!(MAX_RANK_BYTES, tidetable_storage::MAX_KEY_BYTES);
        assert!(check_whole(&[0; MAX_RANK_BYTES]).is_ok());
        assert!(check_whole(&[0; MAX_RANK_BYTES + 1]).unwrap_err().what.contains("65537 bytes"));
    }

    proptest! {
        #[test]
        fn whole_numbers_sort(a in any::<i128>(), b in any::<i128>()) {
            let (ra, rb) = (rank(&a.to_string(), false), rank(&b.to_string(), false));
            prop_assert_eq!(ra.cmp(&rb), a.cmp(&b));
        }

        #[test]
        fn floats_sort(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let json = |f: f64| serde_json::to_string(&f).unwrap();
            let order = rank(&json(a), false).cmp(&rank(&json(b), false));
            prop_assert_eq!(Some(order), a.partial_cmp(&b));
        }

        #[test]
        fn texts_sort(a in any::<String>(), b in any::<String>()) {
            let json = |text: &String| serde_json::to_string(text).unwrap();
            prop_assert_eq!(rank(&json(&a), false).cmp(&rank(&json(&b), false)), a.cmp(&b));
            prop_assert_eq!(rank(&json(&a), true).cmp(&rank(&json(&b), true)), b.cmp(&a));
        }
    }
}
