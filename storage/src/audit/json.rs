//! A line of JSON that is safe to look at with anything.

use serde::Serialize;

/// `line` as JSON on one line. Names, reasons and user agents come from outside: whatever would
/// move a cursor, break a line or turn text around is escaped, also what JSON itself would let
/// stand (DEL, the C1 controls, marks of direction).
pub fn line_of(line: &impl Serialize) -> String {
    let json = serde_json::to_string(line).expect("a line is plain data");
    if !json.chars().any(is_unsafe) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        if is_unsafe(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Whether a character does something to the text around it instead of being text. All of these
/// are below U+10000, so one escape each is enough.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_break_a_line_or_move_a_cursor() {
        let hostile = "a\r\nb\u{1b}[2Jc\u{7f}d\u{9b}e\u{202e}f\u{2028}g\"\\h ü";
        let line = line_of(&serde_json::json!({ "reason": hostile }));
        assert!(!line.chars().any(is_unsafe), "{line:?}");
        assert!(line.contains("ü"));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["reason"], hostile, "nothing of it is lost");
    }
}
