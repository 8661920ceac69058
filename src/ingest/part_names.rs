//! The names under which sources become parts of a push, so that messages about rows name them:
//! `rows.csv row 17`.

use std::collections::HashMap;

/// Longer names are cut at their beginning, so that there is room for a number.
const MOST: usize = 100;

/// Names in the pattern of parts, `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`, one for each source, from
/// the last names of their paths. If two of these are alike, all get their number before them.
pub(crate) fn part_names(names: &[String]) -> Vec<String> {
    let plain: Vec<String> = names.iter().map(|name| part_name(name)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in &plain {
        *counts.entry(name).or_default() += 1;
    }
    if counts.values().all(|&count| count == 1) {
        return plain;
    }
    plain.iter().enumerate().map(|(i, name)| format!("{}-{name}", i + 1)).collect()
}

/// The end of a long name is kept: the extension tells the format.
fn part_name(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let safe: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let tail = &safe[safe.len().saturating_sub(MOST)..];
    match tail.chars().next() {
        Some(first) if first.is_ascii_alphanumeric() => tail.to_owned(),
        _ => format!("part{tail}"),
    }
}
