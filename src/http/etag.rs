//! Entity tags: a strong validator made from the bytes that are sent, so that a value
//! which did not change still answers 304 after a swap.
//!
//! The tag is the XXH64 of the bytes and their length. It is compared with the tag of an
//! earlier value of the same URL only, so an accident needs two values of one key with
//! equal length and equal 64-bit hash: 1 in 2^64 a change. It costs about 50 ns for 430
//! bytes; a cryptographic hash costs ten times that, and buys nothing here: whoever can
//! push values can change them anyway.

use std::io::Write as _;

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use twox_hash::XxHash64;

/// The seed is part of the tag's meaning: all servers of all releases agree on it.
const SEED: u64 = 0;
/// Quotes, 16 hex digits, a dash, and a length of up to 16 hex digits.
const MOST: usize = 36;

/// A strong entity tag with its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ETag {
    text: [u8; MOST],
    len: usize,
}

impl ETag {
    /// The tag of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut text = [0; MOST];
        let mut rest = &mut text[..];
        let hash = XxHash64::oneshot(SEED, bytes);
        write!(rest, "\"{hash:016x}-{:x}\"", bytes.len()).expect("MOST holds the longest tag");
        let len = MOST - rest.len();
        Self { text, len }
    }

    /// The header value.
    pub(crate) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).expect("quotes, hex digits and a dash")
    }

    /// The tag with its quotes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Whether this is what the client means (`If-Match`: a list of tags, or `*`), or it does not
    /// say what it means; else 412 is the answer. Comparison is strong: `W/"x"` is no `"x"`. What
    /// cannot be parsed matches nothing.
    pub(crate) fn is_meant(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(IF_MATCH).iter().peekable();
        let is_own = |value: &HeaderValue| matches(self.as_bytes(), value.as_bytes(), By::Strong);
        given.peek().is_none() || given.any(is_own)
    }

    /// Whether the client has this already (`If-None-Match`: a list of tags, or `*`),
    /// so that 304 is the answer. Comparison is weak, as RFC 9110 has it: `W/"x"` and
    /// `"x"` are the same. What cannot be parsed matches nothing: then the value is sent.
    pub(crate) fn is_known(&self, headers: &HeaderMap) -> bool {
        headers.get_all(IF_NONE_MATCH).iter().any(|value| self.is_in(value.as_bytes()))
    }

    /// The same for one such header.
    pub(crate) fn is_in(&self, list: &[u8]) -> bool {
        is_listed(self.as_bytes(), list)
    }
}

/// Whether one header `If-None-Match` lists this tag, which has its quotes.
pub(super) fn is_listed(tag: &[u8], list: &[u8]) -> bool {
    matches(tag, list, By::Weak)
}

/// How tags are compared (RFC 9110, 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// What is marked as weak is no other.
    Strong,
    Weak,
}

/// Whether a list of tags, or `*`, has this strong one.
fn matches(tag: &[u8], list: &[u8], by: By) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = trim_separators(rest);
        let unmarked = rest.strip_prefix(b"W/");
        let listed = unmarked.unwrap_or(rest);
        // A tag may hold commas, so the list is not split at them.
        let Some(inner) = listed.strip_prefix(b"\"") else { return false };
        let Some(end) = inner.iter().position(|&b| b == b'"') else { return false };
        if &listed[..end + 2] == tag && (unmarked.is_none() || by == By::Weak) {
            return true;
        }
        rest = &inner[end + 1..];
    }
}

fn trim_separators(mut list: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b',', rest @ ..] = list {
        list = rest;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(tag: &ETag, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
        tag.is_known(&headers)
    }

    #[test]
    fn the_tag_follows_the_bytes_and_nothing_else() {
        assert_eq!(ETag::of(b"abc"), ETag::of(b"abc"));
        assert_ne!(ETag::of(b"abc"), ETag::of(b"abd"));
        assert_ne!(ETag::of(b""), ETag::of(b"\0"));
        // Clients keep tags across upgrades: this one is for ever (XXH64 of "abc", seed 0).
        assert_eq!(ETag::of(b"abc").as_bytes(), b"\"44bc2cf5ad770999-3\"");
        assert_eq!(ETag::of(b"").value(), "\"ef46db3751d8e999-0\"");
    }

    #[test]
    fn if_none_match_is_a_list_a_star_or_nothing() {
        let tag = ETag::of(b"abc");
        let own = "\"44bc2cf5ad770999-3\"";
        assert!(known(&tag, own));
        assert!(known(&tag, &format!("W/{own}")));
        assert!(known(&tag, &format!("\"a,b\" , W/\"x\",,{own}")));
        assert!(known(&tag, " * "));
        for other in ["", "\"other\"", "44bc2cf5ad770999-3", "\"44bc2cf5ad770999-3", "W/", "\"*\""]
        {
            assert!(!known(&tag, other), "{other}");
        }
        assert!(!tag.is_known(&HeaderMap::new()));
        let mut two = HeaderMap::new();
        two.append(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        two.append(IF_NONE_MATCH, HeaderValue::from_str(own).unwrap());
        assert!(tag.is_known(&two));
    }

    #[test]
    fn if_match_takes_strong_tags_or_a_star() {
        let tag = ETag::of(b"abc");
        let own = "\"44bc2cf5ad770999-3\"";
        let meant = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, HeaderValue::from_str(value).unwrap());
            }
            tag.is_meant(&headers)
        };
        assert!(meant(&[]), "whoever does not say takes any");
        assert!(meant(&[own]) && meant(&["*"]) && meant(&["\"a\"", own]));
        assert!(meant(&[&format!("\"a,b\" , W/{own},,{own}")]));
        for other in ["", "\"other\"", "44bc2cf5ad770999-3", "\"*\"", &format!("W/{own}")] {
            assert!(!meant(&[other]), "{other}");
        }
    }
}
