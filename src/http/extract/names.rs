//! Names that stand in the path.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Uri;
use axum::http::request::Parts;
use tidetable_storage::{Code, DatasetName, Error, Version, quoted};

use crate::access::dataset_of;
use crate::keys::KeyEncoding;
use crate::problem::{Answer, Fault, Problem};

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

/// `{dataset}`, `{version}` and `{file}` of the path.
pub(crate) struct DatasetVersionFile(
    pub(crate) DatasetName,
    pub(crate) Version,
    pub(crate) PartName,
);

impl<S: Send + Sync> FromRequestParts<S> for DatasetVersionFile {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let DatasetVersion(dataset, version) =
            DatasetVersion::from_request_parts(parts, state).await?;
        let text = path_parameter(parts, state, "file").await?;
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
        let text = quoted(text);
        Err(Error::new(
            Code::InvalidName,
            format!(
                "{text} is not a part name: 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
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

/// The dataset, and the key's bytes, of `/v1/datasets/{dataset}/keys/{key}[/…]`. A copy only if the
/// key has escapes. The path is split here and not by the router, whose parameters must be UTF-8,
/// and which copies each.
pub(crate) fn dataset_and_key(
    uri: &Uri,
    encoding: KeyEncoding,
) -> Answer<(DatasetName, Cow<'_, [u8]>)> {
    let dataset = dataset_of(uri.path())?;
    let segment = uri.path().split('/').nth(5).unwrap_or_default();
    Ok((dataset, encoding.decode_segment(segment)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::http::request::Builder;
    use axum::routing::{get, put};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

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
    }

    async fn send(request: Builder) -> (u16, String) {
        let response = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        if let Some(problem) = response.extensions().get::<Problem>() {
            return (status, format!("{}: {}", problem.code(), problem.detail()));
        }
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn path_names_are_parsed_or_refused() {
        let fetch = |uri: &str| send(Request::get(uri));
        assert_eq!(fetch("/d/recs").await, (200, "recs".into()));
        for bad in ["%2e%2e", "%00", "%ff", "%c0%ae", "RECS", "a%20", "a%2fb"] {
            let (status, text) = fetch(&format!("/d/{bad}")).await;
            assert_eq!((status, &text[..13]), (400, "invalid_name:"), "{bad}");
        }
        let put = |uri: &str| send(Request::put(uri));
        assert_eq!(put("/d/recs/v/3/p/part-0001.csv").await, (200, "recs 3 part-0001.csv".into()));
        for bad in ["/d/recs/v/0/p/1", "/d/recs/v/x/p/1", "/d/recs/v/1/p/..", "/d/recs/v/1/p/a%2Fb"]
        {
            assert_eq!(put(bad).await.0, 400, "{bad}");
        }
    }

    /// What a handler that is told the dataset by the router gets, if it is asked at all.
    async fn handled(path: &str) -> Option<String> {
        let handler = get(|Dataset(name): Dataset| async move { name.to_string() });
        let router: Router = Router::new().route("/v1/datasets/{dataset}/history", handler);
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        if response.status() != StatusCode::OK {
            return None;
        }
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn rights_are_asked_for_on_the_dataset_that_is_read() {
        for (segment, name) in [
            ("recs", Some("recs")),
            ("r%65cs", Some("recs")),
            ("%72%65%63%73", Some("recs")),
            // Decoded once.
            ("r%2565cs", None),
            // No UTF-8, and what a lossy decoding makes of it.
            ("%ff", None),
            ("recs%ff", None),
            ("recs%c3", None),
            ("%c0%ae%c0%ae", None),
            ("recs%ef%bf%bd", None),
            ("r%c3%a9cs", None),
            ("r\u{e9}cs", None),
            ("%52ecs", None),
            ("%2e%2e", None),
            ("recs%00", None),
            ("recs%2fkeys", None),
            ("recs%", None),
            ("recs%4", None),
            ("recs%zz", None),
        ] {
            let path = format!("/v1/datasets/{segment}");
            let of = dataset_of(&format!("{path}/keys/k")).ok().map(|name| name.to_string());
            assert_eq!(of.as_deref(), name, "{segment}");
            let uri: Uri = format!("{path}/keys/k").parse().unwrap();
            let read = dataset_and_key(&uri, KeyEncoding::Utf8).ok();
            assert_eq!(read.map(|(name, _)| name.to_string()), of, "{segment}");
            assert_eq!(handled(&format!("{path}/history")).await, of, "{segment}");
        }
    }
}
