//! JSON bodies, each of their fields known by name.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_path_to_error::{Path, Segment};
use tidetable_storage::{Version, quoted};

use super::super::content_encoding::{Declared, unsupported};
use super::body::collect;
use super::{known_list, quoted_after};
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;

/// The largest JSON bodies, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonLimits {
    /// Of a batch, which names many keys.
    batch: usize,
    /// Of everything else.
    other: usize,
}

impl FromRef<AppState> for JsonLimits {
    fn from_ref(app: &AppState) -> Self {
        let config = &app.config;
        Self { batch: config.max_batch_bytes.as_usize(), other: config.max_json_bytes.as_usize() }
    }
}

/// A JSON body. `T` must be `#[serde(deny_unknown_fields)]`. An empty body is `{}`, so
/// that operations whose fields are all optional need none.
///
/// A body must say that it is JSON, or say nothing of what it is.
pub(crate) struct Json<T>(pub(crate) T);

/// The same for a batch, which may be longer.
pub(crate) struct BatchJson<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T>
where
    JsonLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        read(request, JsonLimits::from_ref(state).other, "max_json_bytes").await.map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for BatchJson<T>
where
    JsonLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        read(request, JsonLimits::from_ref(state).batch, "max_batch_bytes").await.map(Self)
    }
}

async fn read<T: DeserializeOwned>(request: Request, most: usize, setting: &str) -> Answer<T> {
    let (parts, body) = request.into_parts();
    refuse_encoding(&parts.headers)?;
    let bytes = collect(&parts.headers, body, most, setting).await?;
    if !bytes.is_empty() {
        require_json(&parts.headers)?;
    }
    parse_json(&bytes)
}

/// Parses a body that was read already, with the same errors as [`Json`].
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let parsed = serde_json::from_slice(bytes).map(|Object(body)| body);
    parsed.map_err(|error| wrong::<T>(bytes, &error))
}

/// What is wrong with a body, and where in it.
fn wrong<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let (said, at) = match (error.line(), text.rsplit_once(" at line ")) {
        (1.., Some((said, at))) => (said, format!(", at line {at}")),
        _ => (text.as_str(), String::new()),
    };
    if let Some(name) = quoted_after(said, "unknown field `") {
        let takes = match known_list(said).as_str() {
            "" => "it has none".to_owned(),
            known => format!("it has {known}"),
        };
        let detail = format!("{} is not a field of this body; {takes}", quoted(name));
        return Problem::new(Fault::UnknownField, detail);
    }
    // Of one of several words serde_json says, as of broken JSON, that there is no value.
    let is_word = said == "expected value" && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    let said = if is_word { "expected a text".to_owned() } else { in_words(said) };
    let place = place_in::<T>(bytes).map(|place| format!("{place}: ")).unwrap_or_default();
    let detail = format!("the body is not the JSON expected: {place}{said}{at}");
    Problem::new(Fault::MalformedBody, detail)
}

/// Where in a body it goes wrong. It is read once more for that: those that are right are read faster
/// without.
fn place_in<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let error = serde_path_to_error::deserialize::<_, Object<T>>(&mut json).err()?;
    shown_place(error.path())
}

/// A place as `requests[3].keys[1]`; `None` if it is the whole.
fn shown_place(path: &Path) -> Option<String> {
    /// Bodies of ours go no deeper.
    const MOST: usize = 6;
    let mut shown = String::new();
    for segment in path.iter().take(MOST) {
        match segment {
            Segment::Seq { index } => shown.push_str(&format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                if !shown.is_empty() {
                    shown.push('.');
                }
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                match (1..=64).contains(&name.len()) && name.bytes().all(is_plain) {
                    true => shown.push_str(name),
                    false => shown.push_str(&quoted(name)),
                }
            }
            Segment::Unknown => {}
        }
    }
    Some(shown).filter(|shown| !shown.is_empty())
}

/// What serde says of a value, for whoever wrote that and need not know Rust. A text is not repeated:
/// it may be long.
fn in_words(said: &str) -> String {
    if let Some(name) = quoted_after(said, "unknown variant `") {
        return format!("{} is none of {}", quoted(name), known_list(said));
    }
    let wrong =
        said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    let Some((found, expected)) = wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) else {
        return said.to_owned();
    };
    let (kind, value) = (found.split(' ').next(), found.split('`').nth(1));
    let found = match (kind.unwrap_or_default(), value) {
        ("integer" | "floating", Some(number)) => format!("the number {number}"),
        ("boolean", Some(value)) => value.to_owned(),
        ("string", _) => "a text".to_owned(),
        ("sequence", _) => "an array".to_owned(),
        ("map", _) => "an object".to_owned(),
        _ => found.to_owned(),
    };
    let expected = match expected {
        "u64" | "usize" => format!("a whole number from 0 to {}", u64::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "string or map" => "a text".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    };
    format!("expected {expected}, found {found}")
}

/// What must be an object. What serde derives takes an array too, as its fields in their order: past
/// `deny_unknown_fields`, and where all of them may be left out an empty one as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A list in a body each of whose items must be an object, as the body itself.
pub(crate) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(object)| object).collect())
}

/// The number of a version in a body: as in a path, it counts from 1 on.
pub(crate) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    deserializer.deserialize_u64(VersionVisitor)
}

struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = Version;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 1 to {}", u64::MAX)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Version, E> {
        match number {
            0 => {
                Err(E::custom(format!("0 is not a version: a whole number from 1 to {}", u64::MAX)))
            }
            number => Ok(Version(number)),
        }
    }
}

/// The same where it may be left out or `null`; used together with `#[serde(default)]`.
pub(crate) fn optional_version<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Version>, D::Error> {
    Ok(Option::<Checked>::deserialize(deserializer)?.map(|Checked(version)| version))
}

#[derive(Deserialize)]
struct Checked(#[serde(deserialize_with = "version")] Version);

/// A field for which `null` is the same as to leave it out; used together with `#[serde(default)]`.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn refuse_encoding(headers: &HeaderMap) -> Answer<()> {
    match Declared::from_headers(headers) {
        Ok(Declared::Plain) => Ok(()),
        _ => Err(unsupported(
            "identity",
            "this route takes its JSON uncompressed; only the data of a push may be compressed",
        )),
    }
}

fn require_json(headers: &HeaderMap) -> Answer<()> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // What many clients (`curl -d`, say) send unless they are told otherwise says nothing of
    // the body. A page that makes a browser send it is refused by the edge, or learns nothing.
    const UNTOLD: &str = "application/x-www-form-urlencoded";
    if ["application/json", UNTOLD].contains(&essence.as_str())
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    let detail =
        format!("the body is {}; send it with Content-Type: application/json", quoted(&essence));
    Err(Problem::new(Fault::UnsupportedMediaType, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyEncoding;
    use axum::Router;
    use axum::body::Body;
    use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
    use axum::http::request::Builder;
    use axum::routing::post;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Roll {
        to: Option<u64>,
        reason: Option<String>,
    }

    const LIMITS: JsonLimits = JsonLimits { batch: 400_000, other: 200_000 };

    fn router() -> Router {
        let roll =
            |Json(roll): Json<Roll>| async move { format!("{:?} {:?}", roll.to, roll.reason) };
        let batch = |BatchJson(roll): BatchJson<Roll>| async move { format!("{:?}", roll.to) };
        Router::new().route("/roll", post(roll)).route("/batch", post(batch)).with_state(LIMITS)
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

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Several {
        #[serde(deserialize_with = "objects")]
        rolls: Vec<Roll>,
    }

    #[test]
    fn an_array_is_no_object() {
        for bad in ["[]", "[4]", r#"[4,"why"]"#, "null", "4"] {
            let problem = parse_json::<Roll>(bad.as_bytes()).map(drop).unwrap_err();
            assert_eq!(problem.code(), "malformed_body", "{bad}");
            assert!(problem.detail().contains("expected an object"), "{}", problem.detail());
        }
        let several = |json: &str| parse_json::<Several>(json.as_bytes()).map(|it| it.rolls.len());
        assert_eq!(several(r#"{"rolls":[{"to":4},{}]}"#).unwrap(), 2);
        for bad in [r#"{"rolls":[[4]]}"#, r#"{"rolls":[{},[]]}"#, r#"{"rolls":{}}"#, "[[]]", "{}"] {
            assert_eq!(several(bad).unwrap_err().code(), "malformed_body", "{bad}");
        }
        let unknown = several(r#"{"rolls":[{"too":4}]}"#).unwrap_err();
        assert_eq!(unknown.code(), "unknown_field");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_in_plain_words() {
        let told = |json: &str| {
            let problem = parse_json::<Several>(json.as_bytes()).map(drop).unwrap_err();
            assert_eq!(problem.code(), "malformed_body", "{json}");
            problem.detail().to_owned()
        };
        let number = "a whole number from 0 to 18446744073709551615";
        for (json, expected) in [
            (
                r#"{"rolls":[{},{"to":"1"}]}"#,
                format!("rolls[1].to: expected {number}, found a text"),
            ),
            (
                r#"{"rolls":[{"to":-1}]}"#,
                format!("rolls[0].to: expected {number}, found the number -1"),
            ),
            (r#"{"rolls":[{"to":1.5}]}"#, format!("expected {number}, found the number 1.5")),
            (
                r#"{"rolls":[{"reason":[]}]}"#,
                "rolls[0].reason: expected a text, found an array".into(),
            ),
            (r#"{"rolls":[{"reason":true}]}"#, "expected a text, found true".into()),
            (r#"{"rolls":7}"#, "rolls: expected an array, found the number 7".into()),
            (r#"{"rolls":null}"#, "rolls: expected an array, found null".into()),
            (r#"{"rolls":[{},[]]}"#, "rolls[1]: expected an object, found an array".into()),
            (r#"{"rolls":[{"to":1,"to":2}]}"#, "rolls[0]: duplicate field `to`".into()),
        ] {
            let said = told(json);
            assert!(said.contains(&expected), "{json}: {said}");
            assert!(said.contains(", at line 1 column "), "{json}: {said}");
        }
        assert_eq!(
            told("{}"),
            "the body is not the JSON expected: missing field `rolls`, at line 1 column 2"
        );
        let long = format!(r#"{{"rolls":[{{"to":"{}"}}]}}"#, "x".repeat(100_000));
        assert!(told(&long).len() < 200, "{}", told(&long).len());
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Chosen {
        #[serde(deserialize_with = "version")]
        version: Version,
        #[serde(default, deserialize_with = "or_default")]
        key_encoding: KeyEncoding,
    }

    #[test]
    fn versions_and_words_are_told_as_what_they_are() {
        let parse = |json: &str| parse_json::<Chosen>(json.as_bytes());
        let chosen = parse(r#"{"version":18446744073709551615,"key_encoding":null}"#).unwrap();
        assert_eq!((chosen.version, chosen.key_encoding), (Version(u64::MAX), KeyEncoding::Utf8));
        let range = "a whole number from 1 to 18446744073709551615";
        for (json, expected) in [
            (r#"{"version":0}"#, format!("version: 0 is not a version: {range}")),
            (r#"{"version":"1"}"#, format!("version: expected {range}, found a text")),
            (r#"{"version":-1}"#, format!("version: expected {range}, found the number -1")),
            (
                r#"{"version":18446744073709551616}"#,
                format!("version: expected {range}, found the number 1"),
            ),
            (r#"{"version":1,"key_encoding":5}"#, "key_encoding: expected a text".into()),
            (
                r#"{"version":1,"key_encoding":"rot13"}"#,
                "key_encoding: \"rot13\" is none of `utf8`, `base64url`, `hex`".into(),
            ),
            (r#"{"version":x}"#, "expected value".into()),
        ] {
            let problem = parse(json).unwrap_err();
            assert!(problem.detail().contains(&expected), "{json}: {}", problem.detail());
        }
    }

    #[tokio::test]
    async fn bodies_of_another_kind_or_size_are_refused() {
        let text = Request::post("/roll").header(CONTENT_TYPE, "text/plain");
        assert_eq!(send(text, "{}").await.0, 415);
        let untold =
            Request::post("/roll").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        assert_eq!(send(untold, "{}").await.0, 200);
        let plain = Request::post("/roll").header(CONTENT_ENCODING, "Identity");
        assert_eq!(send(plain, "{}").await.0, 200);
        let packed = Request::post("/roll").header(CONTENT_ENCODING, "gzip");
        assert_eq!(send(packed, "{}").await.0, 415);
        for (path, most, setting) in
            [("/roll", LIMITS.other, "max_json_bytes"), ("/batch", LIMITS.batch, "max_batch_bytes")]
        {
            let body = |bytes: usize| [b"{}".as_slice(), &vec![b' '; bytes - 2]].concat();
            assert_eq!(send(Request::post(path), body(most)).await.0, 200);
            let (status, text) = send(Request::post(path), body(most + 1)).await;
            assert!(status == 413 && text.contains(setting), "{text}");
            let announced = Request::post(path).header(CONTENT_LENGTH, most + 1);
            assert_eq!(send(announced, "{}").await.0, 413);
        }
    }
}
