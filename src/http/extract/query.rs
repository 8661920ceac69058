//! Query parameters, each known by name.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tidetable_storage::quoted;

use super::{known_list, quoted_after};
use crate::keys::check_percent;
use crate::problem::{Answer, Fault, Problem};

/// The longest `?wait`, in seconds.
const MAX_WAIT: u64 = 300;

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
    let name = quoted(name);
    let detail = match known {
        "" => format!("{name} is not a parameter of this route; it has none"),
        known => format!("{name} is not a parameter of this route; it has {known}"),
    };
    Problem::new(Fault::UnknownParameter, detail)
}

fn repeated_parameter(name: &str) -> Problem {
    let detail = format!("the parameter {} is given twice; give it once", quoted(name));
    Problem::new(Fault::InvalidParameter, detail)
}

/// How long a request waits that asks for so many seconds (`?wait`).
pub(crate) fn wait_of(seconds: u64) -> Answer<Duration> {
    if seconds > MAX_WAIT {
        let text = format!("the parameter wait is {seconds}; it can be up to {MAX_WAIT} seconds");
        return Err(Problem::new(Fault::InvalidParameter, text));
    }
    Ok(Duration::from_secs(seconds))
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
    /// Splits and decodes a query.
    pub(crate) fn parse(query: &str) -> Answer<Self> {
        check_query(query)?;
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decode(name), form_decode(value))
        });
        Ok(Self { given: decoded.collect(), known: Vec::new() })
    }

    /// The value of a parameter that is taken later.
    pub(crate) fn peek(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, if it was given.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.given.iter().position(|(given, _)| given == name)?;
        Some(self.given.remove(at).1)
    }

    /// Every value of a parameter that may be given several times.
    pub(crate) fn take_all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let taken = self.given.extract_if(.., |pair| pair.0 == name);
        taken.map(|(_, value)| value).collect()
    }

    /// [`Params::take`], parsed; the message names the parameter, its value and what the type
    /// says of it.
    pub(crate) fn take_parsed<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Answer<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| {
            let detail = format!("the parameter {name} is {}: {error}", quoted(&text));
            Problem::new(Fault::InvalidParameter, detail)
        })
    }

    /// Refuses the first parameter that nobody took, or that one value was taken of and that
    /// has more.
    pub(crate) fn finish(self) -> Answer<()> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        if self.known.contains(&name.as_str()) {
            return Err(repeated_parameter(name));
        }
        Err(unknown_parameter(name, &self.known.join(", ")))
    }
}

fn form_decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Paging {
        limit: Option<u32>,
        cursor: Option<String>,
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
        let mut params = Params::parse("a=1&list=x&a=1&list=y,z").unwrap();
        assert_eq!(params.take("a").as_deref(), Some("1"));
        assert_eq!(params.take_all("list"), ["x", "y,z"]);
        assert!(params.take_all("absent").is_empty());
        let problem = params.finish().unwrap_err();
        assert_eq!(problem.code(), "invalid_parameter");
        assert!(problem.detail().contains("\"a\" is given twice"), "{}", problem.detail());
        let problem = Params::parse("n=x").unwrap().take_parsed::<u32>("n").unwrap_err();
        assert!(problem.detail().contains("parameter n is \"x\""), "{}", problem.detail());
        assert!(Params::parse("").unwrap().finish().is_ok());
    }
}
