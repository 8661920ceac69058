//! The `[[webhooks]]` of the settings file: whom to tell, and of what.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidetable_storage::DatasetName;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::outbound::Url;
use crate::webhooks::Kind;

/// The shortest secret: guessing 16 bytes is hopeless.
const MIN_SECRET_BYTES: usize = 16;
/// Most targets: one thread serves them all.
const MOST: usize = 20;
const FIELDS: [&str; 5] = ["url", "secret", "secret_file", "events", "datasets"];

/// A result whose error says at which byte of the file what is wrong.
type Placed<T> = Result<T, (usize, String)>;
/// A text, and at which byte of the file it stands.
type Text<'a> = (usize, &'a str);

/// One receiver of notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) secret: Secret,
    /// What it is told of.
    pub(crate) events: BTreeSet<Kind>,
    /// Of which datasets; `None`: of all.
    pub(crate) datasets: Option<BTreeSet<DatasetName>>,
}

impl Target {
    /// Whether it is told of this.
    pub(crate) fn wants(&self, kind: Kind, dataset: &DatasetName) -> bool {
        self.events.contains(&kind)
            && self.datasets.as_ref().is_none_or(|datasets| datasets.contains(dataset))
    }
}

/// What notices are signed with. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(bytes: Vec<u8>) -> Result<Self, String> {
        // As Standard Webhooks writes secrets; any other is taken as it stands.
        let bytes = match bytes.strip_prefix(b"whsec_") {
            Some(base64) => STANDARD
                .decode(base64)
                .map_err(|_| "what follows whsec_ in the secret is not base64".to_owned())?,
            None => bytes,
        };
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(format!(
                "the secret has {} bytes: expected at least {MIN_SECRET_BYTES}, for instance from \
                 `openssl rand -hex 32`",
                bytes.len()
            ));
        }
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The targets in an array of tables.
pub(super) fn targets(value: &Spanned<DeValue<'_>>) -> Placed<Vec<Target>> {
    let at = value.span().start;
    let Some(array) = value.get_ref().as_array() else {
        let text = "webhooks is one [[webhooks]] section for each receiver, with url and secret";
        return Err((at, text.to_owned()));
    };
    if array.len() > MOST {
        return Err((at, format!("{} webhooks; the most is {MOST}", array.len())));
    }
    array.iter().map(target).collect()
}

fn target(value: &Spanned<DeValue<'_>>) -> Placed<Target> {
    let at = value.span().start;
    let Some(table) = value.get_ref().as_table() else {
        return Err((at, "a webhook is a section [[webhooks]] with url and secret".to_owned()));
    };
    let unknown = table.keys().find(|key| !FIELDS.contains(&&**key.get_ref()));
    if let Some(key) = unknown {
        let text =
            format!("{} is no field of a webhook; it has {}", key.get_ref(), FIELDS.join(", "));
        return Err((key.span().start, text));
    }
    let url = text(table, "url")?.ok_or_else(|| (at, "a webhook without url".to_owned()))?;
    let url = Url::parse(url.1).map_err(|expected| (url.0, format!("url: {expected}")))?;
    let secret = match (text(table, "secret")?, text(table, "secret_file")?) {
        (Some((at, secret)), None) => {
            Secret::new(secret.as_bytes().to_vec()).map_err(|text| (at, text))?
        }
        (None, Some((at, path))) => secret_in(Path::new(path)).map_err(|text| (at, text))?,
        _ => return Err((at, "a webhook has either secret or secret_file".to_owned())),
    };
    let events = match texts(table, "events")? {
        None => Kind::ALL.into_iter().collect(),
        Some(events) => events.into_iter().map(event).collect::<Result<_, _>>()?,
    };
    let datasets = texts(table, "datasets")?.map(|names| {
        let name = |(at, name)| DatasetName::parse(name).map_err(|e| (at, e.detail().to_owned()));
        names.into_iter().map(name).collect::<Result<_, _>>()
    });
    Ok(Target { url, secret, events, datasets: datasets.transpose()? })
}

fn event((at, name): Text<'_>) -> Placed<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::as_str).join(", ");
        (at, format!("{name:?} is no event of a webhook; they are {known}"))
    })
}

fn secret_in(path: &Path) -> Result<Secret, String> {
    let bytes = std::fs::read(path)
        .map_err(|error| format!("cannot read the secret in {}: {error}", path.display()))?;
    // Editors and `echo` end a file with a line end, which nobody means.
    Secret::new(bytes.trim_ascii_end().to_vec())
}

fn text<'a>(table: &'a DeTable<'_>, name: &str) -> Placed<Option<Text<'a>>> {
    let Some(value) = table.get(name) else { return Ok(None) };
    let at = value.span().start;
    match value.get_ref().as_str() {
        Some(text) => Ok(Some((at, text))),
        None => Err((at, format!("{name} of a webhook is a text"))),
    }
}

fn texts<'a>(table: &'a DeTable<'_>, name: &str) -> Placed<Option<Vec<Text<'a>>>> {
    let Some(value) = table.get(name) else { return Ok(None) };
    let odd = |at| (at, format!("{name} of a webhook is a list of texts, and not empty"));
    let array = value.get_ref().as_array().filter(|array| !array.is_empty());
    let array = array.ok_or_else(|| odd(value.span().start))?;
    let texts = array.iter().map(|item| {
        let at = item.span().start;
        item.get_ref().as_str().map(|text| (at, text)).ok_or_else(|| odd(at))
    });
    texts.collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Target>, (usize, String)> {
        let table = DeTable::parse(text).unwrap();
        targets(table.get_ref().get("webhooks").unwrap())
    }

    const GOOD: &str =
        "[[webhooks]]\nurl = \"https://a.example/x\"\nsecret = \"0123456789abcdef\"\n";

    #[test]
    fn a_target_wants_what_it_names_and_all_if_it_names_nothing() {
        let dataset = |name: &str| DatasetName::parse(name).unwrap();
        let filtered = format!("{GOOD}events = [\"failed\", \"stale\"]\ndatasets = [\"recs\"]\n");
        let targets = parse(&format!("{GOOD}{filtered}")).unwrap();
        assert!(Kind::ALL.iter().all(|kind| targets[0].wants(*kind, &dataset("any"))));
        let wants = |kind, name| targets[1].wants(kind, &dataset(name));
        assert!(wants(Kind::Failed, "recs") && wants(Kind::Stale, "recs"));
        assert!(!wants(Kind::Failed, "other") && !wants(Kind::Activated, "recs"));
    }

    #[test]
    fn a_secret_may_stand_in_a_file_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        let file = format!("[[webhooks]]\nurl = \"http://a/\"\nsecret_file = {path:?}\n");
        let target = &parse(&file).unwrap()[0];
        assert_eq!(target.secret, parse(GOOD).unwrap()[0].secret);
        let shown = format!("{target:?}");
        assert!(!shown.contains("0123") && !shown.contains("48"), "{shown}");
        std::fs::write(&path, "whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n").unwrap();
        assert_eq!(target.secret, parse(&file).unwrap()[0].secret);
        std::fs::write(&path, "short\n").unwrap();
        assert!(parse(&file).unwrap_err().1.contains("5 bytes"));
        std::fs::remove_file(&path).unwrap();
        assert!(parse(&file).unwrap_err().1.contains("cannot read"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let line = |text: &str| {
            let (at, message) = parse(text).unwrap_err();
            (1 + text[..at].matches('\n').count(), message)
        };
        let (at, text) = line(&format!("{GOOD}events = [\"failed\", \"faild\"]\n"));
        assert!(
            at == 4 && text.contains("\"faild\"") && text.contains("rolled_back"),
            "{at} {text}"
        );
        let (at, text) = line(&format!("{GOOD}dataset = [\"recs\"]\n"));
        assert!(at == 4 && text.contains("dataset is no field"), "{at} {text}");
        for (extra, said) in [
            ("secret_file = \"x\"\n", "either secret or secret_file"),
            ("events = []\n", "not empty"),
            ("events = \"failed\"\n", "list of texts"),
            ("datasets = [\"A\"]\n", "is not a dataset name"),
        ] {
            assert!(line(&format!("{GOOD}{extra}")).1.contains(said), "{extra}");
        }
        for (text, said) in [
            ("webhooks = 1\n", "[[webhooks]]"),
            ("webhooks = [1]\n", "section"),
            ("[[webhooks]]\n", "without url"),
            ("[[webhooks]]\nurl = 1\n", "is a text"),
            ("[[webhooks]]\nurl = \"a\"\n", "https://"),
            ("[[webhooks]]\nurl = \"http://a/\"\n", "either secret"),
            ("[[webhooks]]\nurl = \"http://a/\"\nsecret = \"x\"\n", "at least 16"),
        ] {
            assert!(line(text).1.contains(said), "{text}: {}", line(text).1);
        }
        assert!(line(&GOOD.repeat(21)).1.contains("the most is 20"));
    }
}
