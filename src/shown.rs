//! Text from outside, as it may stand in a message: short, whatever was sent.

/// How many characters of it are told.
const MOST: usize = 80;

/// Its beginning, quoted and escaped.
pub(crate) fn shown(text: &str) -> String {
    format!("{:?}", beginning(text))
}

/// Its beginning, as it is.
pub(crate) fn beginning(text: &str) -> &str {
    text.char_indices().nth(MOST).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_quoted_escaped_and_short() {
        assert_eq!(shown("a\n\"b\u{1b}"), r#""a\n\"b\u{1b}""#);
        assert_eq!(shown(""), r#""""#);
        let eighty = "é".repeat(80);
        assert_eq!(beginning(&eighty), eighty);
        assert_eq!(beginning(&"é".repeat(81)), eighty);
        assert_eq!(shown(&"é".repeat(1_000_000)), format!("{eighty:?}"));
    }
}
