//! Why something in a store cannot be read, in one sentence for whoever asked.
//!
//! What a store answers is not repeated: it holds key ids, signed texts and whatever a hostile one
//! likes. Of it only the error code is shown, if it looks like one.

use std::fmt;

use object_store::Error;

use super::location::{Location, Scheme};

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The bucket, the object or everything beneath the prefix is not there.
    NotFound,
    /// What was asked for cannot be meant, or a setting is wrong.
    Usage,
    /// It is not what it was when it was found.
    Changed,
    /// Whoever asks may not read it.
    Denied,
    /// The store, or the way to it, fails: asking again may help.
    Failed,
}

/// Why it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteError {
    pub(crate) kind: Why,
    /// What could not be read.
    pub(crate) place: String,
    /// Why not, beginning in lower case.
    pub(crate) why: String,
}

impl RemoteError {
    pub(super) fn new(kind: Why, place: impl fmt::Display, why: impl Into<String>) -> Self {
        Self { kind, place: place.to_string(), why: why.into() }
    }

    /// Whether the store, and the bucket, are there, but not what was named in it.
    pub(crate) fn is_of_name(&self) -> bool {
        self.kind == Why::NotFound && self.why.starts_with(NOT_THERE)
    }

    /// What an error of the store means for `place`.
    pub(super) fn of(error: &Error, place: &Location) -> Self {
        let text = error.to_string();
        let code = code_in(&text);
        let (kind, why) = match code.as_deref().and_then(|code| of_code(code, place)) {
            Some(known) => known,
            None => of_kind(error, &text, place),
        };
        let why = match code {
            Some(code) => format!("{why} ({code})"),
            None => why,
        };
        Self::new(kind, place, why)
    }
}

const NOT_THERE: &str = "it is not there";

/// What the codes mean that stores answer with.
fn of_code(code: &str, place: &Location) -> Option<(Why, String)> {
    Some(match code {
        "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName" => {
            (Why::NotFound, format!("the bucket {} is not there", place.bucket))
        }
        "NoSuchKey" | "BlobNotFound" => (Why::NotFound, NOT_THERE.to_owned()),
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => {
            (Why::Denied, "the credentials have expired: renew them".to_owned())
        }
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "InvalidSecurity"
        | "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "UnrecognizedClientException" => {
            (Why::Denied, format!("the credentials are not accepted: check {}", variables(place)))
        }
        "AccessDenied"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "PublicAccessNotPermitted" => (
            Why::Denied,
            "access is denied: reading takes the rights to list and to get".to_owned(),
        ),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" => {
            (Why::Usage, "the bucket is in another region: set AWS_REGION".to_owned())
        }
        "RequestTimeTooSkewed" => {
            (Why::Failed, "the clock of this machine is not that of the store".to_owned())
        }
        "InvalidObjectState" | "BlobArchived" => {
            (Why::Failed, "it is archived, and must be restored before it can be read".to_owned())
        }
        "SlowDown" | "InternalError" | "ServiceUnavailable" | "ServerBusy"
        | "OperationTimedOut" => {
            (Why::Failed, "the store fails or is overloaded, also when asked again".to_owned())
        }
        _ => return None,
    })
}

fn of_kind(error: &Error, text: &str, place: &Location) -> (Why, String) {
    let said = |kind, why: &str| (kind, why.to_owned());
    match error {
        Error::NotFound { .. } => said(Why::NotFound, NOT_THERE),
        Error::Precondition { .. } => {
            said(Why::Changed, "it was changed after it was found: begin again")
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => said(
            Why::Denied,
            &format!(
                "access is denied: are the credentials right, and not expired? ({})",
                variables(place)
            ),
        ),
        Error::NotSupported { .. } => said(
            Why::Failed,
            "its server does not give parts of files, so that it cannot be resumed",
        ),
        Error::InvalidPath { .. } => said(Why::Usage, "the store has names that are not read"),
        _ if is_about_credentials(text) => said(
            Why::Denied,
            &format!(
                "no credentials: there are none in the environment ({}), and this machine has \
                      none of its own",
                variables(place)
            ),
        ),
        _ if text.contains("BareRedirect") || text.contains("redirect without LOCATION") => {
            said(Why::Usage, "the bucket is in another region: set AWS_REGION")
        }
        _ => (Why::Failed, reason(error, text)),
    }
}

/// Where whoever asks would look first.
fn variables(place: &Location) -> &'static str {
    match place.scheme {
        Scheme::S3 => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
        Scheme::Google => "GOOGLE_APPLICATION_CREDENTIALS",
        Scheme::Azure => "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
        Scheme::Http => "the address",
    }
}

/// Credentials of the machine itself are asked for at these addresses.
fn is_about_credentials(text: &str) -> bool {
    ["169.254.169.254", "169.254.170.2", "metadata.google.internal", "/latest/api/token"]
        .iter()
        .any(|address| text.contains(address))
}

/// The status of the answer, or what broke the connection.
fn reason(error: &Error, text: &str) -> String {
    if let Some((_, rest)) = text.split_once("status code: ") {
        let status: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return match status.as_str() {
            "301" | "302" | "303" | "307" | "308" => {
                "the answer is a redirect, which is not followed: name the address it leads to"
                    .to_owned()
            }
            _ => format!("the store answered {status}"),
        };
    }
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let is_of_the_way = last.is::<std::io::Error>()
        || last.is::<rustls::Error>()
        || text.contains("error sending request")
        || text.contains("error decoding response body");
    match is_of_the_way {
        true => format!("the store cannot be reached, or breaks off: {}", short(&last.to_string())),
        false if text.contains("Content-Length") => {
            "its server does not say how long it is".to_owned()
        }
        false => "the store gives answers that are not understood".to_owned(),
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(160).collect()
}

/// The `<Code>` of an error document, if it looks like one.
fn code_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_code = (1..=60).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    is_code.then(|| code.to_owned())
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

impl std::error::Error for RemoteError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_by_its_code_alone() {
        let place = Location::parse("s3://lake/recs/a.csv").unwrap().unwrap();
        let answered = |body: &str| {
            let source =
                format!("Server returned non-2xx status code: 403 Forbidden: {body}").into();
            RemoteError::of(&Error::Generic { store: "S3", source }, &place)
        };
        let error = answered(
            "<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>",
        );
        assert_eq!(error.kind, Why::Denied);
        let text = error.to_string();
        assert!(
            text.contains("s3://lake/recs/a.csv") && text.contains("InvalidAccessKeyId"),
            "{text}"
        );
        assert!(!text.contains("AKIASECRET"), "{text}");
        let text = answered("<Code>Quite-Hostile<b></Code>").to_string();
        assert!(text.ends_with("the store answered 403"), "{text}");
        assert_eq!(answered("<Code>NoSuchBucket</Code>").kind, Why::NotFound);
        assert!(answered("<Code>NoSuchBucket</Code>").why.contains("bucket lake"));
        assert!(answered("<Code>ExpiredToken</Code>").why.contains("expired"));
    }
}
