//! How calls are written as requests: the one place of paths, parameters and bodies.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue, IF_NONE_MATCH};
use serde::Serialize;

use crate::{Error, Key, Lookup};

/// As many keys as the server takes in one batch, unless its settings say otherwise.
pub(crate) const MOST_KEYS: usize = 1_000;
/// As many records as it gives in one page.
pub(crate) const MOST_RECORDS: u64 = 1_000;
/// For whom a request reads.
pub(crate) const UNIT: &str = "tidetable-unit";
/// Of a key in a path, in characters: longer ones go in a body. The server takes more, and proxies do
/// not: their buffer for the first line has 8,000 characters mostly.
const LONGEST_SEGMENT: usize = 6_000;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What of a value, of which version and for whom; all, the current one, and the client's unit,
/// unless said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Selection {
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) version: Option<u64>,
    pub(crate) unit: Option<String>,
}

/// A request, which may be sent several times.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) url: Url,
    /// A GET unless there is one.
    pub(crate) body: Option<String>,
    pub(crate) etag: Option<String>,
    /// Instead of the one that the client sends with each.
    pub(crate) unit: Option<HeaderValue>,
}

impl Request {
    pub(crate) fn build(&self, client: &reqwest::Client) -> reqwest::RequestBuilder {
        let request = match (&self.body, &self.etag) {
            (Some(body), _) => client
                .post(self.url.clone())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body.clone()),
            (None, Some(etag)) => client.get(self.url.clone()).header(IF_NONE_MATCH, etag),
            (None, None) => client.get(self.url.clone()),
        };
        match &self.unit {
            Some(unit) => request.header(UNIT, unit.clone()),
            None => request,
        }
    }
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Base(String);

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Base {
    pub(crate) fn parse(address: &str) -> Result<(Self, Url), Error> {
        let refuse = |what| Err(Error::usage(format!("the address of the server {what}")));
        let Ok(url) = Url::parse(address) else {
            return refuse("is http://host:port or https://…");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return refuse("is http://host:port or https://…");
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return refuse("has no user, query or fragment");
        }
        Ok((Self(url.as_str().trim_end_matches('/').to_owned()), url))
    }

    pub(crate) fn get(
        &self,
        dataset: &str,
        key: &Key,
        selection: &Selection,
        etag: Option<String>,
    ) -> Result<Request, Error> {
        let (segment, encoding) = segment(key);
        let mut query = Query::default();
        if let Some(encoding) = encoding {
            query.add("key_encoding", encoding);
        }
        query.select(selection)?;
        let url = self.url(dataset, &format!("/keys/{segment}{}", query.0))?;
        Ok(Request { url, body: None, etag, unit: unit_of(selection)? })
    }

    pub(crate) fn page(
        &self,
        dataset: &str,
        prefix: Option<&Key>,
        limit: u64,
        selection: &Selection,
        cursor: Option<&str>,
    ) -> Result<Request, Error> {
        let mut query = Query::default();
        match prefix.map(|prefix| (prefix.text(), prefix)) {
            None => {}
            Some((Some(text), _)) => query.add("prefix", &percent(text)),
            Some((None, bytes)) => {
                query.add("prefix", &bytes.base64url());
                query.add("key_encoding", "base64url");
            }
        }
        query.add("limit", &limit.to_string());
        query.select(selection)?;
        if let Some(cursor) = cursor {
            query.add("cursor", &percent(cursor));
        }
        let url = self.url(dataset, &format!("/scan{}", query.0))?;
        Ok(Request { url, body: None, etag: None, unit: unit_of(selection)? })
    }

    pub(crate) fn batch(&self, lookup: &Lookup) -> Result<Request, Error> {
        let url = self.url(&lookup.dataset, "/batch-get")?;
        let body = Some(json(&Keys::of(lookup, None)));
        Ok(Request { url, body, etag: None, unit: unit_of(&lookup.selection)? })
    }

    pub(crate) fn multi(&self, lookups: &[Lookup], unit: Option<&str>) -> Result<Request, Error> {
        #[derive(Serialize)]
        struct All<'a> {
            requests: Vec<Keys<'a>>,
        }
        let requests = lookups.iter().map(|one| Keys::of(one, Some(&one.dataset))).collect();
        let url = parse(&format!("{}/v1/batch-get", self.0))?;
        let (body, unit) = (Some(json(&All { requests })), unit.map(unit_value).transpose()?);
        Ok(Request { url, body, etag: None, unit })
    }

    fn url(&self, dataset: &str, rest: &str) -> Result<Url, Error> {
        if matches!(dataset, "" | "." | "..") {
            return Err(Error::usage(format!("{dataset:?} is no name of a dataset")));
        }
        parse(&format!("{}/v1/datasets/{}{rest}", self.0, percent(dataset)))
    }
}

/// A unit as a header: of any script, but nothing that could break out of it or that would be
/// altered on the way.
pub(crate) fn unit_value(unit: &str) -> Result<HeaderValue, Error> {
    let is_good = (1..=1_024).contains(&unit.len())
        && unit.trim_matches(' ') == unit
        && !unit.bytes().any(|b| b.is_ascii_control());
    let value = HeaderValue::from_bytes(unit.as_bytes()).ok().filter(|_| is_good);
    let refuse = || {
        Error::usage(
            "a unit is text of 1 to 1,024 bytes, without control characters or spaces around it",
        )
    };
    value.ok_or_else(refuse)
}

fn unit_of(selection: &Selection) -> Result<Option<HeaderValue>, Error> {
    selection.unit.as_deref().map(unit_value).transpose()
}

/// Whether the key has to be looked up in a batch of one.
pub(crate) fn is_long(key: &Key) -> bool {
    key.as_bytes().len() > LONGEST_SEGMENT / 3 && segment(key).0.len() > LONGEST_SEGMENT
}

/// Whether keys go as text: one encoding holds for all of a batch.
pub(crate) fn in_text(lookup: &Lookup) -> bool {
    lookup.keys.iter().all(|key| key.text().is_some())
}

/// The key as a path segment, and how it is encoded if not as text.
fn segment(key: &Key) -> (String, Option<&'static str>) {
    match key.plain() {
        Some(text) => (percent(text), None),
        None => (key.base64url(), Some("base64url")),
    }
}

fn percent(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|error| Error::usage(format!("no address comes of it: {error}")))
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("texts and numbers can be written as JSON")
}

/// Parameters, encoded already.
#[derive(Default)]
struct Query(String);

impl Query {
    fn add(&mut self, name: &str, value: &str) {
        let mark = if self.0.is_empty() { '?' } else { '&' };
        self.0.extend([mark]);
        self.0.extend([name, "=", value]);
    }

    fn select(&mut self, selection: &Selection) -> Result<(), Error> {
        if let Some(fields) = &selection.fields {
            if let Some(name) = fields.iter().find(|name| name.contains(',')) {
                let text = format!("the field {name:?} has a comma: ask for it by get_many");
                return Err(Error::Usage(text));
            }
            let names: Vec<_> = fields.iter().map(|name| percent(name)).collect();
            self.add("fields", &names.join(","));
        }
        if let Some(version) = selection.version {
            self.add("version", &version.to_string());
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Keys<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<&'a str>,
    keys: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl<'a> Keys<'a> {
    fn of(lookup: &'a Lookup, dataset: Option<&'a str>) -> Self {
        let as_text = in_text(lookup);
        let written = |key: &'a Key| match key.text() {
            Some(text) if as_text => text.into(),
            _ => key.base64url().into(),
        };
        Self {
            dataset,
            keys: lookup.keys.iter().map(written).collect(),
            key_encoding: (!as_text).then_some("base64url"),
            fields: lookup.selection.fields.as_deref(),
            version: lookup.selection.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(key: impl Into<Key>) -> String {
        let (base, _) = Base::parse("http://h:1/gate/").unwrap();
        base.get("d", &key.into(), &Selection::default(), None).unwrap().url.into()
    }

    #[test]
    fn every_key_is_one_segment() {
        assert_eq!(get("a/b c+%ü"), "http://h:1/gate/v1/datasets/d/keys/a%2Fb%20c%2B%25%C3%BC");
        assert_eq!(get(".."), "http://h:1/gate/v1/datasets/d/keys/Li4?key_encoding=base64url");
        assert_eq!(get("..."), "http://h:1/gate/v1/datasets/d/keys/...");
        assert_eq!(get("%2e%2e"), "http://h:1/gate/v1/datasets/d/keys/%252e%252e");
        let bytes = get(vec![0xff, 0]);
        assert_eq!(bytes, "http://h:1/gate/v1/datasets/d/keys/_wA?key_encoding=base64url");
    }

    #[test]
    fn addresses_that_are_none_are_refused_without_what_they_hold() {
        for address in ["", "nonsense", "ftp://h/", "http://", "http://u:secret@h/", "http://h/?a"]
        {
            let error = Base::parse(address).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_keys_that_make_long_paths_go_in_bodies() {
        assert!(!is_long(&"x".repeat(6_000).into()));
        assert!(is_long(&"x".repeat(6_001).into()));
        assert!(!is_long(&"ü".repeat(1_000).into()));
        assert!(is_long(&"ü".repeat(1_001).into()));
        assert!(!is_long(&vec![0_u8; 4_500].into()));
        assert!(is_long(&vec![0_u8; 4_501].into()));
    }
}
