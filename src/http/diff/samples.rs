//! A few records of each kind, drawn fairly from all of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::keys::KeyText;

/// A longer value is not shown; its length is.
const MOST_VALUE_BYTES: usize = 16 * 1024;

/// One key, with its values.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    #[serde(flatten)]
    key: KeyText,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

impl Sample {
    /// A record of the two versions, `None` where one does not have it.
    pub(super) fn new(is_json: bool, key: &[u8], from: Option<&[u8]>, to: Option<&[u8]>) -> Self {
        let is_short = |value: &&[u8]| value.len() <= MOST_VALUE_BYTES;
        let shown = |value: Option<&[u8]>| value.filter(is_short).map(|value| show(is_json, value));
        let length = |value: Option<&[u8]>| value.filter(|value| !is_short(value)).map(<[u8]>::len);
        Self {
            key: KeyText::of(key),
            from: shown(from),
            from_bytes: length(from),
            to: shown(to),
            to_bytes: length(to),
            encoding: (!is_json).then_some("base64"),
        }
    }
}

/// A value as JSON: as it stands, or in base64.
fn show(is_json: bool, value: &[u8]) -> Box<RawValue> {
    let stored = || String::from_utf8(value.to_vec()).ok();
    let inline = is_json.then(stored).flatten().and_then(|text| RawValue::from_string(text).ok());
    inline.unwrap_or_else(|| {
        let text = format!("\"{}\"", STANDARD.encode(value));
        RawValue::from_string(text).expect("base64 in quotes is JSON")
    })
}

/// A fair sample of what is offered, of a fixed size: Vitter's algorithm R ("Random sampling
/// with a reservoir", 1985). The numbers drawn are the same each time.
pub(super) struct Samples {
    kept: Vec<Kept>,
    most: usize,
    offered: u64,
    random: fastrand::Rng,
}

/// A sample, with the number under which it was offered and the bytes of its key.
struct Kept {
    number: u64,
    key: Vec<u8>,
    sample: Sample,
}

impl Samples {
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most, offered: 0, random: fastrand::Rng::with_seed(0) }
    }

    /// Offers a record; `make` is called only if it is kept.
    pub(super) fn offer(&mut self, key: &[u8], make: impl FnOnce() -> Sample) {
        self.offered += 1;
        let number = self.offered;
        let kept = || Kept { number, key: key.to_vec(), sample: make() };
        if self.kept.len() < self.most {
            self.kept.push(kept());
            return;
        }
        let drawn = usize::try_from(self.random.u64(..self.offered)).unwrap_or(usize::MAX);
        if let Some(place) = self.kept.get_mut(drawn) {
            *place = kept();
        }
    }

    /// What was kept and is shown, in the order in which it was offered.
    pub(super) fn in_order(mut self, is_shown: impl Fn(&[u8]) -> bool) -> Vec<Sample> {
        self.kept.retain(|kept| is_shown(&kept.key));
        self.kept.sort_by_key(|kept| kept.number);
        self.kept.into_iter().map(|kept| kept.sample).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(samples: Samples) -> Vec<String> {
        samples.in_order(|_| true).into_iter().map(|sample| sample.key.text().to_owned()).collect()
    }

    #[test]
    fn a_sample_comes_from_everywhere_in_order() {
        let mut samples = Samples::new(100);
        for n in 0..10_000 {
            let key = format!("{n:05}");
            samples.offer(key.as_bytes(), || Sample::new(true, key.as_bytes(), None, Some(b"1")));
        }
        let keys = keys(samples);
        assert!(keys.len() == 100 && keys.is_sorted());
        let below = keys.iter().filter(|key| key.as_str() < "05000").count();
        assert!((25..75).contains(&below), "{below}");
    }

    #[test]
    fn few_are_all_kept_and_none_if_none_are_wanted() {
        for most in [0, 3] {
            let mut samples = Samples::new(most);
            (0..3).for_each(|n| samples.offer(b"k", || Sample::new(true, &[b'a' + n], None, None)));
            assert_eq!(keys(samples).len(), most);
        }
    }

    #[test]
    fn values_stand_as_they_are_stored_or_in_base64_or_by_their_length() {
        let json = |sample: Sample| serde_json::to_string(&sample).unwrap();
        let sample = Sample::new(true, b"k", Some(b"1.50"), Some(br#"{"a":2}"#));
        assert_eq!(json(sample), r#"{"key":"k","from":1.50,"to":{"a":2}}"#);
        let sample = Sample::new(false, b"\xff", None, Some(b"ab"));
        let expected = r#"{"key":"_w","key_encoding":"base64url","to":"YWI=","encoding":"base64"}"#;
        assert_eq!(json(sample), expected);
        let long = vec![b'1'; MOST_VALUE_BYTES + 1];
        assert_eq!(
            json(Sample::new(true, b"k", Some(&long), None)),
            r#"{"key":"k","from_bytes":16385}"#
        );
    }
}
