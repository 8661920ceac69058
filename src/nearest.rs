//! What was probably meant by a name that is none of those there are.

/// Longer names are not compared, as that takes time by the product of their lengths.
const MOST_BYTES: usize = 64;
/// How many names are looked at; a source may have any number of columns.
const MOST_NAMES: usize = 1000;

/// The name that a word was probably meant to be.
pub(crate) fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if word.len() > MOST_BYTES {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    let far = |name: &str| {
        let name = plain(name);
        let short = word.len().min(name.len());
        let begins = short >= 4 && (name.starts_with(&word) || word.starts_with(&name));
        let apart = strsim::damerau_levenshtein(&word, &name);
        (begins || apart <= 1 + short / 4).then_some(apart)
    };
    let names = names.into_iter().take(MOST_NAMES).filter(|name| name.len() <= MOST_BYTES);
    names.filter_map(|name| Some((far(name)?, name))).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_meant_and_what_is_far_or_long_is_not() {
        let names = ["sort_memory", "block_cache", "learner_id", "id"];
        for (word, meant) in [
            ("sort_mem", Some("sort_memory")),
            ("SORT-MEMORY", Some("sort_memory")),
            ("blok_cache", Some("block_cache")),
            ("learnerid", Some("learner_id")),
            ("di", Some("id")),
            ("score", None),
        ] {
            assert_eq!(nearest(word, names), meant, "{word}");
        }
        let long = "x".repeat(1_000_000);
        assert_eq!(nearest(&long, [long.as_str()]), None);
        assert_eq!(nearest("xxxx", [long.as_str()]), None);
    }
}
