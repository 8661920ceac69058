//! Keys: the fields that `--key` names, as the bytes that rows are looked up by.
//!
//! Strings are their text. Whole numbers are their decimal text, so 42 and "42" are one
//! key; a number counts as whole only if it is written without fraction and exponent: 1.0
//! and 1e3 come from columns of fractions, whose text may differ from job to job. Booleans
//! are `true` and `false`, dates and moments their ISO text, bytes themselves. Nulls,
//! fractions and nested values are no keys.

use tidetable_storage::{MAX_KEY_BYTES, quoted, quoted_bytes};

use super::cells::Scalar;
use super::error::Fault;

/// Appends what one field adds to a key. `separator`: what must not occur in it, if the key
/// has several fields.
pub(crate) fn push_component(
    key: &mut Vec<u8>,
    field: &str,
    value: &Scalar<'_>,
    separator: Option<&str>,
) -> Result<(), Fault> {
    let bytes: &[u8] = match value {
        Scalar::Text(text) => text.as_bytes(),
        Scalar::Bytes(bytes) => bytes,
        Scalar::Time { text, .. } => text.as_bytes(),
        Scalar::Boolean(true) => b"true",
        Scalar::Boolean(false) => b"false",
        Scalar::Number(number) if &**number == "-0" => b"0",
        Scalar::Number(number) if super::json::is_integer(number) => number.as_bytes(),
        Scalar::Number(number) => {
            return no_key(field, &format!("the fraction {}", quoted(number)), WHOLE);
        }
        Scalar::NotFinite => return no_key(field, "not a finite number", WHOLE),
        Scalar::Null => return no_key(field, "null", "each row needs its key"),
        Scalar::Nested => return no_key(field, "an object or array", WHOLE),
    };
    if let Some(separator) = separator
        && contains(bytes, separator.as_bytes())
    {
        return Err(Fault::new(format!(
            "the field {} of --key is {}, which contains the separator {}: choose another with \
             --key-separator",
            quoted(field),
            quoted_bytes(bytes),
            quoted(separator)
        )));
    }
    if key.len() + bytes.len() > MAX_KEY_BYTES {
        return Err(Fault::new(format!(
            "its key {}… has {} bytes; the most is {MAX_KEY_BYTES}",
            quoted_bytes(&bytes[..bytes.len().min(20)]),
            key.len() + bytes.len()
        )));
    }
    key.extend_from_slice(bytes);
    Ok(())
}

/// Refuses a component that makes another separator together with the one that follows it: with `::`,
/// "x:" before "y" would be the same key as "x" before ":y".
pub(crate) fn check_end(component: &[u8], field: &str, separator: &str) -> Result<(), Fault> {
    let separator = separator.as_bytes();
    // A separator of one byte has no part of itself to begin with.
    let is_begun = (1..separator.len()).any(|length| {
        component.ends_with(&separator[..length]) && separator.starts_with(&separator[length..])
    });
    if is_begun {
        return Err(Fault::new(format!(
            "the field {} of --key is {}, whose end and the separator {} after it could be parted in \
             two ways: choose another with --key-separator",
            quoted(field),
            quoted_bytes(component),
            quoted_bytes(separator)
        )));
    }
    Ok(())
}

/// Refuses a whole key that is empty.
pub(crate) fn check_whole(key: &[u8], names: &[String]) -> Result<(), Fault> {
    if key.is_empty() {
        return Err(Fault::new(format!("its key, {}, is empty", quoted(&names.join(",")))));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(Fault::new(format!(
            "its key has {} bytes; the most is {MAX_KEY_BYTES}",
            key.len()
        )));
    }
    Ok(())
}

/// The fault of a row that lacks a field of its key.
pub(crate) fn missing(field: &str) -> Fault {
    Fault::new(format!("it lacks the field {} of --key", quoted(field)))
}

const WHOLE: &str = "whole numbers, strings, booleans and dates make keys";

fn no_key(field: &str, found: &str, expected: &str) -> Result<(), Fault> {
    Err(Fault::new(format!("the field {} of --key is {found}: {expected}", quoted(field))))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    match part {
        [] => false,
        [byte] => bytes.contains(byte),
        part => bytes.windows(part.len()).any(|window| window == part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &Scalar<'_>, separator: Option<&str>) -> Result<String, String> {
        let mut key = Vec::new();
        push_component(&mut key, "id", value, separator).map_err(|fault| fault.what)?;
        Ok(String::from_utf8(key).unwrap())
    }

    #[test]
    fn scalars_that_are_whole_make_keys() {
        for (json, expected) in [
            ("42", "42"),
            ("-7", "-7"),
            ("-0", "0"),
            ("18446744073709551616", "18446744073709551616"),
            ("true", "true"),
            ("false", "false"),
            ("\"a b\"", "a b"),
            ("\"\\u00e9/\"", "é/"),
            ("\"1.5\"", "1.5"),
            ("\"null\"", "null"),
        ] {
            assert_eq!(key(&Scalar::of_json(json).unwrap(), None).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_key_says_why() {
        for (json, part) in [
            ("1.5", "fraction \"1.5\""),
            ("1.0", "fraction"),
            ("1e3", "fraction"),
            ("null", "is null"),
            ("{}", "object or array"),
            ("[]", "object or array"),
        ] {
            let error = key(&Scalar::of_json(json).unwrap(), None).unwrap_err();
            assert!(error.contains(part) && error.contains("\"id\""), "{json}: {error}");
        }
        assert_eq!(Scalar::of_json("\"\\ud800\""), None);
        assert!(key(&Scalar::NotFinite, None).is_err());
    }

    #[test]
    fn a_component_may_not_contain_the_separator() {
        let text = |text: &'static str| Scalar::Text(text.into());
        assert!(key(&text("a:b"), None).is_ok());
        assert!(key(&text("a:b"), Some(":")).unwrap_err().contains("--key-separator"));
        assert!(key(&text("a::b"), Some("::")).is_err());
        assert!(key(&text("a:b"), Some("::")).is_ok());
    }

    #[test]
    fn a_component_may_not_begin_the_separator_that_follows_it() {
        let end = |component: &str, separator| check_end(component.as_bytes(), "id", separator);
        for (component, separator) in [("x:", "::"), ("_", "__"), ("x-", "--"), ("xab", "aba")] {
            let fault = end(component, separator).unwrap_err();
            assert!(fault.what.contains("--key-separator"), "{component}{separator}");
        }
        for (component, separator) in
            [(":x", "::"), ("", "::"), ("x:", ":"), ("x-", "->"), ("xa", "aba")]
        {
            assert!(end(component, separator).is_ok(), "{component}{separator}");
        }
    }

    #[test]
    fn keys_have_a_size() {
        let names = ["id".to_owned()];
        assert!(check_whole(b"", &names).unwrap_err().what.contains("is empty"));
        let long = "x".repeat(MAX_KEY_BYTES);
        assert!(key(&Scalar::Text(long.as_str().into()), None).is_ok());
        let longer = "x".repeat(MAX_KEY_BYTES + 1);
        let error = key(&Scalar::Text(longer.as_str().into()), None).unwrap_err();
        assert!(error.contains("65537 bytes") && error.len() < 200, "{error}");
    }
}
