//! `${NAME}` in the texts of a job file: values of the environment, or of `--set`.
//!
//! `${NAME}` is the variable's value; one that is not set is an error, since an empty label
//! or path would mean something else. `${NAME:-text}` is `text` if it is not set or empty; a text
//! with a variable of its own is an error, since it would be taken as it is written.
//! `$$` is a dollar sign; one before anything but `{` and `$` stands for itself.

use std::collections::BTreeSet;

use super::node::{Content, Diagnostic, Node, Position};

/// What was found in the texts.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every variable that is named.
    pub(super) names: BTreeSet<String>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Where the texts with these diagnostics stand: what else they would be is not known.
    pub(super) unfilled: Vec<Position>,
}

/// Puts values in place of the variables in all texts of `node`, which was read from `file`.
pub(super) fn fill(
    node: &mut Node,
    file: &str,
    value_of: &dyn Fn(&str) -> Option<String>,
    found: &mut Found,
) {
    let at = node.at;
    match &mut node.content {
        Content::List(items) => items.iter_mut().for_each(|item| fill(item, file, value_of, found)),
        Content::Map(entries) => {
            entries.iter_mut().for_each(|entry| fill(&mut entry.value, file, value_of, found));
        }
        Content::Text { text, filled } if text.contains('$') => {
            let before = found.diagnostics.len();
            let mut filling = Filling { file, at, value_of, found, braces: 0, filled };
            *text = filling.filled(text);
            if found.diagnostics.len() > before {
                found.unfilled.push(at);
            }
        }
        _ => {}
    }
}

/// One text while it is filled.
struct Filling<'a> {
    file: &'a str,
    at: Position,
    value_of: &'a dyn Fn(&str) -> Option<String>,
    found: &'a mut Found,
    /// How many `${` were passed.
    braces: usize,
    filled: &'a mut bool,
}

impl Filling<'_> {
    fn filled(&mut self, text: &str) -> String {
        let mut made = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            made.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                made.push('$');
                // `$${` is no variable, but is passed as one when its position is looked for.
                self.braces += usize::from(after.starts_with('{'));
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let (within, after) = match after.split_once('}') {
                    Some((within, after)) => (Some(within), after),
                    None => (None, ""),
                };
                match self.value(within) {
                    Ok(value) => made.push_str(&value),
                    Err(what) => {
                        let diagnostic = Diagnostic::new(self.position(), what);
                        self.found.diagnostics.push(diagnostic);
                    }
                }
                *self.filled = true;
                self.braces += 1 + within.map_or(0, |within| within.matches("${").count());
                rest = after;
            } else {
                made.push('$');
            }
        }
        made.push_str(rest);
        made
    }

    /// What `${within}` stands for.
    fn value(&mut self, within: Option<&str>) -> Result<String, String> {
        let within = within.ok_or("${ without its }; $$ writes a dollar sign")?;
        let (name, default) = match within.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (within, None),
        };
        if !is_name(name) {
            return Err(format!(
                "${{{within}}} names no variable: expected ${{NAME}} or ${{NAME:-default}}; $$ \
                 writes a dollar sign"
            ));
        }
        self.found.names.insert(name.to_owned());
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!(
                "the default of the variable {name} has a ${{ in it, and defaults are taken as \
                 they are written: expected ${{{name}:-text}}, with a text without variables"
            ));
        }
        let value = (self.value_of)(name);
        match (value, default) {
            (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(format!(
                "the variable {name} is not set: --set {name}=… sets it, ${{{name}:-…}} gives a \
                 default"
            )),
        }
    }

    /// The position of the `${` that was come to: as many as before it in the text stand before
    /// it in the file, however the text is quoted there.
    fn position(&self) -> Position {
        let Some(start) = self.at.byte.filter(|&byte| self.file.is_char_boundary(byte)) else {
            return self.at;
        };
        let Some((offset, _)) = self.file[start..].match_indices("${").nth(self.braces) else {
            return self.at;
        };
        let byte = start + offset;
        let before = &self.file[..byte];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Position {
            line: count(before.matches('\n').count() + 1),
            column: count(before[line_start..].chars().count() + 1),
            byte: Some(byte),
        }
    }
}

/// Whether this names a variable, as shells have it.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(fits) && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::super::node::parse;
    use super::*;

    fn value_of(name: &str) -> Option<String> {
        let known = [("RUN", "r-7"), ("N", "20"), ("EMPTY", "")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn filled(text: &str) -> (Node, Found) {
        let mut node = parse(text).unwrap();
        let mut found = Found::default();
        fill(&mut node, text, &value_of, &mut found);
        (node, found)
    }

    #[test]
    fn variables_become_their_values_wherever_a_text_stands() {
        for (text, expected) in [
            ("${RUN}", "r-7"),
            ("a-${RUN}-${N}", "a-r-7-20"),
            ("\"${RUN}\"", "r-7"),
            ("${NONE:-x y}", "x y"),
            ("${EMPTY:-d}", "d"),
            ("'${EMPTY}'", ""),
            ("${NONE:-}", ""),
            ("$$RUN $${RUN} $5 US$", "$RUN ${RUN} $5 US$"),
        ] {
            let (node, found) = filled(&format!("- {text}"));
            assert_eq!(found.diagnostics, [], "{text}");
            assert_eq!(node.json()[0], expected, "{text}");
        }
        let (_, found) = filled("[\"${RUN}\", {a: \"${NONE:-x}\"}]");
        assert_eq!(found.names.into_iter().collect::<Vec<_>>(), ["NONE", "RUN"]);
    }

    #[test]
    fn what_is_not_set_or_no_variable_is_told_at_its_line_and_column() {
        let place = |text: &str| {
            let (_, found) = filled(text);
            let [diagnostic] = &found.diagnostics[..] else { panic!("{text}: {found:?}") };
            (diagnostic.at.line, diagnostic.at.column, diagnostic.what.clone())
        };
        let (line, column, what) = place("label: ä-${RUN}-${NONE}\n");
        assert_eq!((line, column), (1, 17), "{what}");
        assert!(what.contains("NONE is not set") && what.contains("--set NONE="), "{what}");
        let (line, column, _) = place("a:\n  - \"$${x} ${RUN}\n    ${NONE}\"\n");
        assert_eq!((line, column), (3, 5));
        for bad in ["${}", "${1A}", "${A-b}", "${A B}", "${A:?x}"] {
            let (line, column, what) = place(&format!("a: 'x{bad}'"));
            assert_eq!((line, column), (1, 6), "{bad}");
            assert!(what.contains("${NAME:-default}"), "{what}");
        }
        assert!(place("a: 'x${RUN'").2.contains("without its }"));
    }

    #[test]
    fn a_default_has_no_variables_in_it() {
        // Also where the variable is set: the file is wrong all the same.
        for text in ["${NONE:-${RUN}}", "${RUN:-a-${N}-b}", "${EMPTY:-${N:-x}}"] {
            let (_, found) = filled(&format!("label: \"x ${{RUN}} {text} ${{ABSENT}}\"\n"));
            let [nested, absent] = &found.diagnostics[..] else { panic!("{text}: {found:?}") };
            assert_eq!((nested.at.line, nested.at.column), (1, 18), "{text}");
            assert!(nested.what.contains("a text without variables"), "{}", nested.what);
            // What comes behind it is told at its own place.
            let column = 18 + text.len() as u64 + 1;
            assert_eq!((absent.at.line, absent.at.column), (1, column), "{text}");
        }
        let (node, found) = filled("- ${NONE:-a$b $$}");
        assert_eq!(found.diagnostics, []);
        assert_eq!(node.json()[0], "a$b $$");
    }
}
