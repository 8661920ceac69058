//! Requests are parsed here, once: past this line a name is a name and a key is a key.
//!
//! Everything is strict. A parameter or field that a route does not have is refused by
//! name, because a misspelt `expect_curent` that is silently ignored moves a pointer that
//! its sender meant to guard.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tidetable_storage::{Code, DatasetName, Error, Version};

use super::error::{Answer, Fault, Problem};
use super::keys::{KeyEncoding, check_percent};

/// The largest JSON body, in bytes: 1,000 keys of 64 KiB do not fit, 1,000 of 4 KiB do.
pub(crate) const MAX_JSON_BYTES: usize = 4 * 1024 * 1024;

// ---------------------------------------------------------------- names in the path

/// `{dataset}` of the path.
pub(crate) struct Dataset(pub(crate) DatasetName);

impl<S: Send + Sync> FromRequestParts<S> for Dataset {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let text = path_parameter(parts, state, "dataset").await?;
        Ok(Self(DatasetName::parse(&text)?))
    }
}

/// `{dataset}` and `{version}` of the path.
pub(crate) struct DatasetVersion(pub(crate) DatasetName, pub(crate) Version);

impl<S: Send + Sync> FromRequestParts<S> for DatasetVersion {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let Dataset(dataset) = Dataset::from_request_parts(parts, state).await?;
        let text = path_parameter(parts, state, "version").await?;
        Ok(Self(dataset, Version::parse(&text)?))
    }
}

/// `{dataset}`, `{version}` and `{part}` of the path.
pub(crate) struct DatasetVersionPart(
    pub(crate) DatasetName,
    pub(crate) Version,
    pub(crate) PartName,
);

impl<S: Send + Sync> FromRequestParts<S> for DatasetVersionPart {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let DatasetVersion(dataset, version) =
            DatasetVersion::from_request_parts(parts, state).await?;
        let text = path_parameter(parts, state, "part").await?;
        Ok(Self(dataset, version, PartName::parse(&text)?))
    }
}

/// The name of a part of a push: `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`, safe as a file
/// name as it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PartName(String);

impl PartName {
    /// Parses a name, or says what a name looks like (`invalid_name`).
    pub(crate) fn parse(text: &str) -> tidetable_storage::Result<Self> {
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        let fits = (1..=128).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes.iter().all(inner);
        if fits {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Error::new(
            Code::InvalidName,
            format!(
                "{shown:?} is not a part name: 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
            ),
        ))
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PartName {
    type Error = Error;
    fn try_from(text: String) -> tidetable_storage::Result<Self> {
        Self::parse(&text)
    }
}

impl From<PartName> for String {
    fn from(name: PartName) -> Self {
        name.0
    }
}

/// One decoded parameter. What is not UTF-8 is no name of anything.
async fn path_parameter<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Answer<String> {
    let not_text = || {
        let detail = format!("the {name} in the path is not UTF-8 after percent-decoding");
        Problem::from(Error::new(Code::InvalidName, detail))
    };
    let found = RawPathParams::from_request_parts(parts, state).await.map_err(|_| not_text())?;
    let value = found.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    value.ok_or_else(|| {
        Problem::new(Fault::Internal, "the server mislaid a part of the path")
            .because(format!("the matched route has no {{{name}}}"))
    })
}

/// `{dataset}` and the undecoded `{key}` of `/v1/datasets/{dataset}/keys/{key}[/…]`. The
/// path is split here and not by the router, whose parameters must be UTF-8, and which
/// copies each.
pub(crate) fn key_path(uri: &Uri) -> Answer<(DatasetName, &str)> {
    let mut segments = uri.path().split('/').skip(3);
    let (dataset, _, key) = (segments.next(), segments.next(), segments.next());
    let dataset = dataset.unwrap_or_default();
    if dataset.contains('%') {
        check_percent(dataset)?;
        let decoded = percent_decode_str(dataset).decode_utf8_lossy();
        return Ok((DatasetName::parse(&decoded)?, key.unwrap_or_default()));
    }
    Ok((DatasetName::parse(dataset)?, key.unwrap_or_default()))
}

/// The dataset, and the key's bytes, of a lookup's URL. A copy only if the key has escapes.
pub(crate) fn dataset_and_key(
    uri: &Uri,
    encoding: KeyEncoding,
) -> Answer<(DatasetName, Cow<'_, [u8]>)> {
    let (dataset, segment) = key_path(uri)?;
    Ok((dataset, encoding.decode_segment(segment)?))
}

// ---------------------------------------------------------------- the query

/// Query parameters as a struct. `T` must be `#[serde(deny_unknown_fields)]` and must not
/// use `flatten`; where parameters are shared between structs, use [`Params`].
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        parse_query(&parts.uri).map(Self)
    }
}

/// [`Query`] for whoever has only the URL.
pub(crate) fn parse_query<T: DeserializeOwned>(uri: &Uri) -> Answer<T> {
    if let Some(query) = uri.query() {
        check_query(query)?;
    }
    axum::extract::Query::<T>::try_from_uri(uri).map(|query| query.0).map_err(|rejection| {
        let text = rejection.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        match quoted_after(text, "unknown field `") {
            Some(name) => unknown_parameter(name, &known_list(text)),
            None => match quoted_after(text, "duplicate field `") {
                Some(name) => repeated_parameter(name),
                None => Problem::new(Fault::InvalidParameter, format!("query parameter {text}")),
            },
        }
    })
}

/// Refuses escapes that would be guessed at.
fn check_query(query: &str) -> Answer<()> {
    let escapes = check_percent(query);
    let text = percent_decode_str(query).decode_utf8();
    if escapes.is_err() || text.is_err() {
        return Err(Problem::new(
            Fault::InvalidParameter,
            "the query is not percent-encoded UTF-8; '%' itself is %25",
        ));
    }
    Ok(())
}

fn unknown_parameter(name: &str, known: &str) -> Problem {
    let name = shown(name);
    let detail = match known {
        "" => format!("{name} is not a parameter of this route; it has none"),
        known => format!("{name} is not a parameter of this route; it has {known}"),
    };
    Problem::new(Fault::UnknownParameter, detail)
}

fn repeated_parameter(name: &str) -> Problem {
    let detail = format!("the parameter {} is given twice; give it once", shown(name));
    Problem::new(Fault::InvalidParameter, detail)
}

/// The name that a message of serde quotes.
fn quoted_after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(marker)?;
    Some(rest.split_once('`').map_or(rest, |(name, _)| name))
}

/// The names that serde says it would have taken: "`a`", "`a` or `b`", "one of `a`, …".
fn known_list(text: &str) -> String {
    match text.rsplit_once(", expected ") {
        Some((_, known)) => {
            known.strip_prefix("one of ").unwrap_or(known).replace("` or `", "`, `")
        }
        None => String::new(),
    }
}

fn shown(name: &str) -> String {
    let head: String = name.chars().take(80).collect();
    format!("{head:?}")
}

/// Query parameters taken one by one, by whoever owns each; [`Params::finish`] refuses
/// what nobody took. For routes whose parameters belong to several structs.
#[derive(Debug)]
pub(crate) struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Params {
    /// Splits and decodes a query; refuses a parameter that is given twice.
    pub(crate) fn parse(query: &str) -> Answer<Self> {
        check_query(query)?;
        let mut given: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (form_decode(name), form_decode(value));
            if given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(repeated_parameter(&name));
            }
            given.push((name, value));
        }
        Ok(Self { given, known: Vec::new() })
    }

    /// The value of a parameter, if it was given.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.given.iter().position(|(given, _)| given == name)?;
        Some(self.given.remove(at).1)
    }

    /// The same, parsed; the message names the parameter, its value and what the type
    /// says of it.
    pub(crate) fn take_parsed<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Answer<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| {
            let detail = format!("the parameter {name} is {}: {error}", shown(&text));
            Problem::new(Fault::InvalidParameter, detail)
        })
    }

    /// Refuses the first parameter that nobody took.
    pub(crate) fn finish(self) -> Answer<()> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        Err(unknown_parameter(name, &self.known.join(", ")))
    }
}

fn form_decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

// ---------------------------------------------------------------- JSON bodies

/// A JSON body. `T` must be `#[serde(deny_unknown_fields)]`. An empty body is `{}`, so
/// that operations whose fields are all optional need none. At most [`MAX_JSON_BYTES`].
///
/// A body must say that it is JSON, or say nothing: `text/plain` and form bodies are what
/// a hostile page can make a browser send without asking.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let (parts, body) = request.into_parts();
        refuse_encoding(&parts.headers)?;
        let bytes = collect(&parts.headers, body, MAX_JSON_BYTES).await?;
        if !bytes.is_empty() {
            require_json(&parts.headers)?;
        }
        parse_json(&bytes).map(Self)
    }
}

/// Parses a body that was read already, with the same errors as [`Json`].
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let (fault, detail) = match quoted_after(&text, "unknown field `") {
            Some(name) => {
                let known = text.rsplit_once(" at line ").map_or(text.as_str(), |(head, _)| head);
                let takes = match known_list(known).as_str() {
                    "" => "it has none".to_owned(),
                    known => format!("it has {known}"),
                };
                let name = shown(name);
                (Fault::UnknownField, format!("{name} is not a field of this body; {takes}"))
            }
            None => (Fault::MalformedBody, format!("the body is not the JSON expected: {text}")),
        };
        Problem::new(fault, detail)
    })
}

/// Reads a whole body of at most `most` bytes; refuses a longer one before reading it if
/// it announces its length.
pub(crate) async fn collect(headers: &HeaderMap, body: Body, most: usize) -> Answer<Bytes> {
    let too_large = || {
        Problem::new(
            Fault::PayloadTooLarge,
            format!("the body is longer than the {most} bytes this route takes"),
        )
    };
    if content_length(headers).is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    match http_body_util::Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) => Err(broken_body(&*error)),
    }
}

/// The problem of a body that stopped: too slow, or the connection went away.
pub(crate) fn broken_body(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(stalled) = error.downcast_ref::<crate::server::BodyStalled>() {
            return Problem::new(Fault::BodyTimeout, stalled.to_string());
        }
        cause = error.source();
    }
    Problem::new(Fault::BodyIncomplete, "the body ended before it was complete").because(error)
}

/// `Content-Length`, if it was sent. (HTTP itself has refused malformed ones.)
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn refuse_encoding(headers: &HeaderMap) -> Answer<()> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(()),
        Some(_) => Err(Problem::new(
            Fault::UnsupportedEncoding,
            "this route takes its JSON uncompressed; only the data of a push may be compressed",
        )),
    }
}

fn require_json(headers: &HeaderMap) -> Answer<()> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    let detail =
        format!("the body is {}; send it with Content-Type: application/json", shown(&essence));
    Err(Problem::new(Fault::UnsupportedMediaType, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::request::Builder;
    use axum::routing::{get, post, put};
    use serde::Deserialize;
    use tower::ServiceExt as _;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Paging {
        limit: Option<u32>,
        cursor: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Roll {
        to: Option<u64>,
        reason: Option<String>,
    }

    fn query(text: &str) -> Result<Paging, (&'static str, String)> {
        let uri: Uri = format!("/x?{text}").parse().unwrap();
        parse_query::<Paging>(&uri).map_err(|p| (p.code(), p.detail().to_owned()))
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused_by_name() {
        let paging = query("limit=5&cursor=a%2Bb").unwrap();
        assert_eq!((paging.limit, paging.cursor.as_deref()), (Some(5), Some("a+b")));
        let (code, detail) = query("limti=5").unwrap_err();
        assert_eq!(code, "unknown_parameter");
        for part in ["limti", "limit", "cursor"] {
            assert!(detail.contains(part), "{detail}");
        }
        let (code, detail) = query("limit=5&limit=6").unwrap_err();
        assert_eq!(code, "invalid_parameter");
        assert!(detail.contains("\"limit\" is given twice"), "{detail}");
        let (code, detail) = query("limit=many").unwrap_err();
        assert_eq!(code, "invalid_parameter");
        assert!(detail.contains("limit"), "{detail}");
        assert_eq!(query("cursor=%ff").unwrap_err().0, "invalid_parameter");
        assert_eq!(query("cursor=%4").unwrap_err().0, "invalid_parameter");
    }

    #[test]
    fn parameters_of_several_owners_are_strict_too() {
        let mut params = Params::parse("key=a+b&limit=3&wait").unwrap();
        assert_eq!(params.take("key").as_deref(), Some("a b"));
        assert_eq!(params.take_parsed::<u32>("limit").unwrap(), Some(3));
        assert_eq!(params.take_parsed::<u32>("absent").unwrap(), None);
        let problem = params.finish().unwrap_err();
        assert_eq!(problem.code(), "unknown_parameter");
        assert!(problem.detail().contains("\"wait\"") && problem.detail().contains("limit"));
        assert_eq!(Params::parse("a=1&a=1").unwrap_err().code(), "invalid_parameter");
        let problem = Params::parse("n=x").unwrap().take_parsed::<u32>("n").unwrap_err();
        assert!(problem.detail().contains("parameter n is \"x\""), "{}", problem.detail());
        assert!(Params::parse("").unwrap().finish().is_ok());
    }

    #[test]
    fn keys_are_split_from_the_undecoded_path() {
        let lookup = |path: &str| {
            let uri: Uri = path.parse().unwrap();
            dataset_and_key(&uri, KeyEncoding::Utf8)
                .map(|(dataset, key)| (dataset.to_string(), key.into_owned()))
                .map_err(|problem| problem.code())
        };
        assert_eq!(lookup("/v1/datasets/recs/keys/a%2Fb").unwrap(), ("recs".into(), b"a/b".into()));
        assert_eq!(lookup("/v1/datasets/recs/keys/k/history").unwrap().1, b"k");
        assert_eq!(lookup("/v1/datasets/r%65cs/keys/k").unwrap().0, "recs");
        assert_eq!(lookup("/v1/datasets/recs/keys/"), Err("invalid_key"));
        for bad in ["%2e%2e", "..", "A", "%00", "%ff", "a%2fb", &"a".repeat(10_000)] {
            assert_eq!(lookup(&format!("/v1/datasets/{bad}/keys/k")), Err("invalid_name"), "{bad}");
        }
    }

    fn router() -> Router {
        Router::new()
            .route("/d/{dataset}", get(|Dataset(name): Dataset| async move { name.to_string() }))
            .route(
                "/d/{dataset}/v/{version}/p/{part}",
                put(|DatasetVersionPart(d, v, p): DatasetVersionPart| async move {
                    format!("{d} {v} {}", p.as_str())
                }),
            )
            .route(
                "/roll",
                post(|Json(roll): Json<Roll>| async move { format!("{:?} {:?}", roll.to, roll.reason) }),
            )
    }

    async fn send(request: Builder, body: impl Into<Body>) -> (u16, String) {
        let response = router().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        if let Some(problem) = response.extensions().get::<Problem>() {
            return (status, format!("{}: {}", problem.code(), problem.detail()));
        }
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn path_names_are_parsed_or_refused() {
        let fetch = |uri: &str| send(Request::get(uri), Body::empty());
        assert_eq!(fetch("/d/recs").await, (200, "recs".into()));
        for bad in ["%2e%2e", "%00", "%ff", "%c0%ae", "RECS", "a%20", "a%2fb"] {
            let (status, text) = fetch(&format!("/d/{bad}")).await;
            assert_eq!((status, &text[..13]), (400, "invalid_name:"), "{bad}");
        }
        let put = |uri: &str| send(Request::put(uri), Body::empty());
        assert_eq!(put("/d/recs/v/3/p/part-0001.csv").await, (200, "recs 3 part-0001.csv".into()));
        for bad in ["/d/recs/v/0/p/1", "/d/recs/v/x/p/1", "/d/recs/v/1/p/..", "/d/recs/v/1/p/a%2Fb"]
        {
            assert_eq!(put(bad).await.0, 400, "{bad}");
        }
    }

    #[tokio::test]
    async fn bodies_are_strict_json() {
        let json =
            || Request::post("/roll").header(CONTENT_TYPE, "application/json; charset=utf-8");
        assert_eq!(send(json(), r#"{"to":4}"#).await, (200, "Some(4) None".into()));
        assert_eq!(send(Request::post("/roll"), "").await, (200, "None None".into()));
        assert_eq!(send(Request::post("/roll"), "{}").await.0, 200);

        let (status, text) = send(json(), r#"{"too":4}"#).await;
        assert_eq!(status, 400);
        assert!(text.starts_with("unknown_field: \"too\""), "{text}");
        assert!(text.contains("`to`, `reason`") && !text.contains("at line"), "{text}");

        for bad in [r#"{"to":"#, r#"{"to":"x"}"#, "[1]", "\u{feff}{}", r#"{"to":1,"to":2}"#, "{}{}"]
        {
            let (status, text) = send(json(), bad).await;
            assert_eq!((status, &text[..15]), (400, "malformed_body:"), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(send(json(), deep).await.0, 400);
    }

    #[tokio::test]
    async fn bodies_of_another_kind_or_size_are_refused() {
        let form = Request::post("/roll").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        assert_eq!(send(form, "{}").await.0, 415);
        let packed = Request::post("/roll").header(CONTENT_ENCODING, "gzip");
        assert_eq!(send(packed, "{}").await.0, 415);
        let (status, text) = send(Request::post("/roll"), vec![b' '; MAX_JSON_BYTES + 1]).await;
        assert_eq!(status, 413, "{text}");
        let announced = Request::post("/roll").header(CONTENT_LENGTH, MAX_JSON_BYTES + 1);
        assert_eq!(send(announced, "{}").await.0, 413);
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_a_timeout_and_one_that_breaks_is_not() {
        let stalled = crate::server::BodyStalled::after(std::time::Duration::from_secs(30));
        assert_eq!(broken_body(&stalled).status(), 408);
        let wrapped = axum::Error::new(stalled);
        assert_eq!(broken_body(&wrapped).status(), 408);
        assert_eq!(broken_body(&std::io::Error::other("reset")).code(), "body_incomplete");
    }
}
