//! Keys of learners: `learner:000000000042`.

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 20;

/// The key of a learner. Twelve digits are what `redis-benchmark` makes of `__rand_int__`.
pub(crate) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"learner:000000000000";
    let mut left = number;
    for place in key[8..].iter_mut().rev() {
        *place = digit(left % 10);
        left /= 10;
    }
    key
}

pub(crate) fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number).expect("one digit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_twelve_digits() {
        assert_eq!(&key(0), b"learner:000000000000");
        assert_eq!(&key(1_999_999), b"learner:000001999999");
    }
}
