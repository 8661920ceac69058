//! JSON values keep what was written, and what is no JSON is refused with its place.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;

fn compact(text: &str) -> Result<String, JsonFault> {
    let mut out = String::new();
    compact_value(text, Nan::Fail, &mut out).map(|()| out)
}

fn object(text: &str, nan: Nan) -> Result<(String, Vec<(String, String)>), JsonFault> {
    let (mut cuts, mut fields) = (Cuts::default(), Vec::new());
    scan_object(text, nan, &mut cuts, &mut fields)?;
    let copy = |range: Range<usize>| {
        let mut out = String::new();
        cuts.copy(text, range.clone(), &mut out);
        assert!(!cuts.spare(&range) || out == text[range]);
        out
    };
    let pairs = fields.iter().map(|field| {
        assert!(copy(field.whole.clone()).ends_with(&copy(field.value.clone())));
        (field.name(text).to_owned(), copy(field.value.clone()))
    });
    Ok((copy(0..text.len()), pairs.collect()))
}

#[test]
fn compacting_takes_white_space_and_nothing_else() {
    for (text, expected) in [
        (r#"{"a":1}"#, r#"{"a":1}"#),
        (" { \"a\" : [ 1 , 2.50e+07 , { } , [ ] ] }\r\n", r#"{"a":[1,2.50e+07,{},[]]}"#),
        ("\t\"x  y\\u00e9\\n\"", "\"x  y\\u00e9\\n\""),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ("-0", "-0"),
        ("1E400", "1E400"),
        ("\"\\ud800\"", "\"\\ud800\""),
        (r#"{"a":1, "a":2}"#, r#"{"a":1,"a":2}"#),
        ("[true,false,null]", "[true,false,null]"),
    ] {
        assert_eq!(compact(text).unwrap(), expected);
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for (text, what) in [
        ("", "expected a JSON value, found the end, at byte 1"),
        ("{", "expected a field name in quotes, found the end, at byte 2"),
        ("{\"a\"}", "expected ':' after the field name, found '}', at byte 5"),
        ("{\"a\":}", "expected a JSON value, found '}', at byte 6"),
        ("{\"a\":1,}", "expected a field name in quotes, found '}', at byte 8"),
        ("{\"a\":1 \"b\":2}", "expected ',' or '}' after the field, found '\"', at byte 8"),
        ("{a:1}", "expected a field name in quotes, found 'a', at byte 2"),
        ("[1,]", "expected a JSON value, found ']', at byte 4"),
        ("[1 2]", "expected ',' or ']' after the element, found '2', at byte 4"),
        ("[", "expected a JSON value, found the end, at byte 2"),
        ("01", "expected nothing more, found '1', at byte 2"),
        ("1.", "expected a digit, found the end, at byte 3"),
        (".5", "expected a JSON value, found '.', at byte 1"),
        ("-", "expected a digit, found the end, at byte 2"),
        ("1e", "expected a digit, found the end, at byte 3"),
        ("+1", "expected a JSON value, found '+', at byte 1"),
        ("tru", "expected a JSON value, found 't', at byte 1"),
        ("truex", "expected nothing more, found 'x', at byte 5"),
        ("'a'", "expected a JSON value, found '\\'', at byte 1"),
        ("\"a", "this string has no closing quote, at byte 1"),
        ("\"\\x\"", "this is no escape of JSON, at byte 2"),
        ("\"\\u12g4\"", "expected four hexadecimal digits after \\u, at byte 2"),
        ("\"\\u12", "expected four hexadecimal digits after \\u, at byte 2"),
        ("\"\\", "this is no escape of JSON, at byte 2"),
        ("\"a\tb\"", "the control character 0x09 must be escaped in a string, at byte 3"),
        (
            "\"123456789\u{1}\"",
            "the control character 0x01 must be escaped in a string, at byte 11",
        ),
        ("NaN", "NaN is no JSON (--nan null makes it null), at byte 1"),
        ("[1] // x", "expected nothing more, found '/', at byte 5"),
        ("\u{feff}1", "expected a JSON value, found '\\u{feff}', at byte 1"),
        ("é", "expected a JSON value, found 'é', at byte 1"),
    ] {
        assert_eq!(compact(text).unwrap_err().what, what, "{text:?}");
    }
}

#[test]
fn depth_is_bounded_without_using_up_the_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(compact(&nested(MAX_DEPTH)).is_ok());
    assert!(compact(&nested(MAX_DEPTH + 1)).unwrap_err().what.contains("nested deeper than 120"));
    assert!(compact(&"[".repeat(1_000_000)).is_err());
    assert!(compact(&"{\"a\":".repeat(1_000_000)).is_err());
    let collected = format!("[{}]", nested(MAX_DEPTH));
    assert!(serde_json::from_str::<Value>(&collected).is_ok(), "readers can follow");
}

#[test]
fn fields_are_found_wherever_white_space_was() {
    for text in [
        r#"{"a":1,"b c":"x","d":{"a":[2]}}"#,
        r#" { "a" : 1 , "b c" :"x","d": { "a" : [ 2 ] } } "#,
        r#"{"\u0061":1,"b c":"x","d":{"a":[2]}}"#,
        r#"{ "\u0061" : 1,"b\u0020c":"x","d":{"a":[2]}}"#,
    ] {
        let (_, fields) = object(text, Nan::Fail).unwrap();
        let expected = [("a", "1"), ("b c", "\"x\""), ("d", r#"{"a":[2]}"#)];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    assert_eq!(object("{}", Nan::Fail).unwrap().1, []);
}

#[test]
fn rows_are_objects_without_repeated_fields() {
    let fault = |text: &str| object(text, Nan::Fail).unwrap_err().what;
    assert!(fault("[{\"a\":1}]").contains("jq -c"));
    assert!(fault("1").contains("expected a JSON object, found '1'"));
    assert!(fault("{} {}").contains("expected nothing more"));
    assert!(fault(r#"{"a":1,"b":2,"a":1}"#).contains(r#"the field "a" is there twice"#));
    assert!(fault(r#"{"a":1,"\u0061":1}"#).contains("twice"));
    assert!(fault(r#"{"\ud800":1}"#).contains("Unicode"));
    let many: Vec<String> = (0..100).map(|n| format!("\"f{}\":1", n % 99)).collect();
    assert!(fault(&format!("{{{}}}", many.join(","))).contains("\"f0\" is there twice"));
}

#[test]
fn not_a_number_becomes_null_on_request() {
    let (text, fields) =
        object(r#"{"a":NaN, "b":[-Infinity,Infinity,nan],"c":"NaN"}"#, Nan::Null).unwrap();
    assert_eq!(text, r#"{"a":null,"b":[null,null,null],"c":"NaN"}"#);
    assert_eq!(fields[2].1, "\"NaN\"");
}

#[test]
fn plain_length_stops_at_the_first_special_byte() {
    for special in (0..0x20).chain([b'"', b'\\']) {
        for before in 0..20 {
            let mut bytes = vec![0xffu8; before];
            bytes.push(special);
            bytes.extend([b'"'; 9]);
            assert_eq!(plain_length(&bytes), before, "{special:#x} after {before}");
        }
    }
    for plain in (0x20..=0xffu8).filter(|byte| !matches!(byte, b'"' | b'\\')) {
        assert_eq!(plain_length(&[plain; 19]), 19);
    }
}

#[test]
fn whole_numbers_are_told_from_others() {
    for whole in ["0", "-1", "42", "18446744073709551616", "-0"] {
        assert!(is_integer(whole) && is_number(whole), "{whole}");
    }
    for other in ["", "-", "01", "+1", "1.0", "1e3", " 1", "0x1"] {
        assert!(!is_integer(other), "{other}");
    }
    for other in ["", "-", "01", "+1", ".5", "5.", "1e", "NaN", "1 ", "1,5", "٣"] {
        assert!(!is_number(other), "{other}");
    }
}

/// Any JSON, with white space of any kind between its tokens.
fn any_json() -> impl Strategy<Value = String> {
    let space = || "[ \t\n\r]{0,2}";
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?";
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"([ -!#-\\[\\]-~]|\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-fA-F]{2}){0,12}\"",
    ];
    let string = string.boxed();
    let leaf = prop_oneof![
        number.prop_map(|text| text),
        string.clone(),
        prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, b, c)| format!("{a}{b}{c}"));
        let member = (space(), string.clone(), space(), element.clone())
            .prop_map(|(a, name, b, value)| format!("{a}{name}{b}:{value}"));
        prop_oneof![
            proptest::collection::vec(element, 0..6).prop_map(|all| format!("[{}]", all.join(","))),
            proptest::collection::vec(member, 0..6)
                .prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

/// The same text as an independent parser sees it, with every number as it was written.
fn tokens(text: &str) -> String {
    let raw: &RawValue = serde_json::from_str(text).unwrap();
    let text = raw.get();
    match text.as_bytes()[0] {
        b'[' => {
            let all: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            let all: Vec<String> = all.iter().map(|value| tokens(value.get())).collect();
            format!("[{}]", all.join(","))
        }
        b'{' => {
            let all: Members<'_> = serde_json::from_str(text).unwrap();
            let all: Vec<String> =
                all.0.iter().map(|(k, v)| format!("{}:{}", k.get(), tokens(v.get()))).collect();
            format!("{{{}}}", all.join(","))
        }
        _ => text.to_owned(),
    }
}

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> serde::de::Visitor<'de> for Each {
            type Value = Vec<(&'de RawValue, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Each).map(Members)
    }
}

proptest! {
    #[test]
    fn compacting_keeps_every_token_as_written(text in any_json()) {
        prop_assert_eq!(compact(&text).unwrap(), tokens(&text));
    }

    #[test]
    fn what_is_accepted_is_what_other_parsers_accept(text in "[\\[\\]{}\",:0-9eE.+\\- \\\\untrfalsb\u{1}é]{0,14}") {
        // RawValue checks syntax alone, as we do.
        let theirs = serde_json::from_str::<&RawValue>(&text).is_ok();
        prop_assert_eq!(compact(&text).is_ok(), theirs, "{:?}", text);
    }

    #[test]
    fn a_flipped_byte_never_panics(text in any_json(), at in any::<prop::sample::Index>(), byte in 0u8..128) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert_eq!(compact(text).is_ok(), serde_json::from_str::<&RawValue>(text).is_ok());
        }
    }
}
