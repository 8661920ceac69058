//! The `[sources.NAME]` of the settings file: from where the server may fetch data by itself.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use crate::remote::{Location, Settings};

const FIELDS: [&str; 4] = ["url", "endpoint", "region", "allow_http"];
/// The longest name.
const MAX_NAME_BYTES: usize = 63;

/// A prefix in a store, and how it is reached. Credentials are those of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Everything that is fetched lies beneath it.
    pub(crate) prefix: Location,
    pub(crate) settings: Settings,
}

/// Those that are named, by their names.
pub(crate) type Sources = BTreeMap<String, Source>;

/// The sources in a table; an error says at which byte of the file it is.
pub(super) fn sources(value: &Spanned<DeValue<'_>>) -> Result<Sources, (usize, String)> {
    let at = value.span().start;
    let Some(table) = value.get_ref().as_table() else {
        return Err((at, "sources is a section [sources.NAME] for each, with a url".to_owned()));
    };
    let source = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let text: &str = AsRef::<str>::as_ref(name.get_ref());
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        let is_name = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(fits);
        if !is_name {
            let expected = "expected lower-case letters, digits, - and _";
            return Err((name.span().start, format!("the source {text:?}: {expected}")));
        }
        Ok((text.to_owned(), parse(text, value)?))
    };
    table.iter().map(source).collect()
}

fn parse(name: &str, value: &Spanned<DeValue<'_>>) -> Result<Source, (usize, String)> {
    let at = value.span().start;
    let Some(table) = value.get_ref().as_table() else {
        return Err((at, format!("the source {name} is a section [sources.{name}]")));
    };
    if let Some(key) = table.keys().find(|key| !FIELDS.contains(&&**key.get_ref())) {
        let text =
            format!("{} is no field of a source; it has {}", key.get_ref(), FIELDS.join(", "));
        return Err((key.span().start, text));
    }
    let text = |field: &str| match table.get(field) {
        None => Ok(None),
        Some(value) => match value.get_ref().as_str() {
            Some(text) => Ok(Some((value.span().start, text.to_owned()))),
            None => Err((value.span().start, format!("{field} of a source is a text"))),
        },
    };
    let (at, url) = text("url")?.ok_or_else(|| (at, format!("the source {name} has no url")))?;
    let prefix = Location::prefix(&url).map_err(|why| (at, format!("url: {why}")))?;
    let allow_http = match table.get("allow_http").map(|value| (value, value.get_ref())) {
        None => false,
        Some((_, DeValue::Boolean(allow))) => *allow,
        Some((value, _)) => {
            return Err((value.span().start, "allow_http is true or false".to_owned()));
        }
    };
    let endpoint = text("endpoint")?;
    if let Some((at, endpoint)) = &endpoint {
        let is_http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        if !is_http || endpoint.contains('@') {
            return Err((
                *at,
                "endpoint: expected an address like https://s3.example.org".to_owned(),
            ));
        }
    }
    let endpoint = endpoint.map(|(_, text)| text);
    let region = text("region")?.map(|(_, text)| text);
    Ok(Source { prefix, settings: Settings { endpoint, region, allow_http } })
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn read(text: &str) -> Result<Sources, (usize, String)> {
        let table = DeTable::parse(text).unwrap();
        sources(table.get_ref().get("sources").unwrap())
    }

    #[test]
    fn a_source_is_a_prefix_with_a_name() {
        let text = "[sources.lake]\nurl = \"s3://lake/recs/\"\nendpoint = \"http://127.0.0.1:9000\"\n\
                    allow_http = true\nregion = \"eu-west-1\"\n[sources.files]\nurl = \"https://h/d/\"\n";
        let sources = read(text).unwrap();
        assert_eq!(sources["lake"].prefix.to_string(), "s3://lake/recs/");
        assert!(sources["lake"].settings.allow_http && sources.contains_key("files"));
        for (text, part) in [
            ("sources = 1", "[sources.NAME]"),
            ("[sources.A]\nurl = \"s3://b/\"", "lower-case"),
            ("[sources.a]\nurl = \"s3://b/c\"", "ends in /"),
            ("[sources.a]\nurl = \"/data/\"", "like s3://bucket/prefix/"),
            ("[sources.a]\nregion = \"x\"", "has no url"),
            ("[sources.a]\nurl = \"s3://b/\"\nsecret = \"x\"", "secret is no field"),
            ("[sources.a]\nurl = \"s3://b/\"\nallow_http = 1", "true or false"),
            ("[sources.a]\nurl = \"s3://b/\"\nendpoint = \"here\"", "endpoint"),
        ] {
            let (_, why) = read(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
