//! Who asks, why, and under which idempotency key: the [`Cause`] of what a request does.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tidetable_storage::{Cause, DatasetName, Idempotency, hex};

use crate::access::Caller;
use crate::problem::{Answer, Fault, Problem};
use crate::state::AppState;
use crate::telemetry::RequestId;

const MAX_KEY_BYTES: usize = 255;
const MAX_REASON_BYTES: usize = 2000;

/// Who asks, in which request, and under which idempotency key.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    request_id: RequestId,
    key: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let Ok(request_id) = RequestId::from_request_parts(parts, state).await;
        let key = idempotency_key(&parts.headers)?.map(str::to_owned);
        Ok(Self { caller, request_id, key })
    }
}

impl Asker {
    /// The `Idempotency-Key` of the request, if it has one.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The cause of what is done once for each key. `asked` is what makes two requests the same
    /// one: the operation's name and its body, as they were understood.
    pub(crate) fn cause(&self, reason: Option<String>, asked: &impl Serialize) -> Answer<Cause> {
        let key = self.key.as_ref();
        let idempotency =
            key.map(|key| Idempotency { key: key.clone(), fingerprint: fingerprint(asked) });
        Ok(Cause { idempotency, ..self.cause_without_key(reason)? })
    }

    /// The same, of a push that begins with a body: `asked` is what was understood of it. Earlier
    /// versions of this program went by the body as it was `written`: who repeats what one of them has
    /// done is known by that.
    pub(crate) fn cause_of_push(
        &self,
        app: &AppState,
        dataset: &DatasetName,
        asked: &impl Serialize,
        written: &impl Serialize,
    ) -> Answer<Cause> {
        let before = self.cause(None, written)?;
        let known = |id| matches!(app.store.catalog().replay(dataset, id), Ok(Some(_)));
        match before.idempotency.as_ref().is_some_and(known) {
            true => Ok(before),
            false => self.cause(None, asked),
        }
    }

    /// The cause of what comes to the same if it is done twice.
    pub(crate) fn cause_without_key(&self, reason: Option<String>) -> Answer<Cause> {
        if reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
            let text = format!("the reason is longer than {MAX_REASON_BYTES} bytes");
            return Err(Problem::new(Fault::MalformedBody, text));
        }
        Ok(Cause {
            at: 0,
            actor: self.caller.name().to_owned(),
            request_id: self.request_id.as_str().to_owned(),
            reason,
            idempotency: None,
        })
    }
}

/// The `Idempotency-Key` of a request, if it has one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Answer<Option<&str>> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    // HTTP/1.1 has taken spaces off the ends already; a key is the same in HTTP/2.
    let text = value.to_str().ok().map(str::trim).filter(|text| {
        let is_printable = |byte: u8| (0x20..=0x7e).contains(&byte);
        (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(is_printable)
    });
    match (text, values.next()) {
        (Some(text), None) => Ok(Some(text)),
        _ => Err(Problem::new(
            Fault::InvalidHeader,
            format!(
                "Idempotency-Key is one text of 1 to {MAX_KEY_BYTES} printable ASCII characters"
            ),
        )),
    }
}

fn fingerprint(asked: &impl Serialize) -> String {
    let json = serde_json::to_vec(asked).expect("what is asked is plain data");
    hex(&Sha256::digest(json)[..16])
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::{Value, json};
    use tidetable_storage::{Admission, Code, NewPush, Outcome};

    use super::*;
    use crate::http::plain::tests::Stored;

    #[test]
    fn a_push_that_was_begun_before_an_upgrade_is_known_by_its_body() {
        let (stored, recs) = (Stored::new(), DatasetName::parse("recs").unwrap());
        let (caller, request_id) = (Caller::everybody(), RequestId::fresh());
        let asker = Asker { caller, request_id, key: Some("night-7".to_owned()) };
        let (asked, written) = (("create", "[\"id\"]"), ("create", json!({ "key": "id" })));
        let cause = |written: &(&str, Value)| {
            asker.cause_of_push(&stored.app, &recs, &asked, written).unwrap()
        };
        let admit = |cause| stored.app.store.admit(&recs, &Admission::default(), cause);
        let told = |cause: &Cause| cause.idempotency.clone().unwrap().fingerprint;
        assert_eq!(told(&cause(&written)), fingerprint(&asked));
        // As it was done before.
        let version = admit(asker.cause(None, &written).unwrap()).unwrap().number().unwrap();
        assert_eq!(told(&cause(&written)), fingerprint(&written));
        assert_eq!(admit(cause(&written)).unwrap(), NewPush::Repeated(Outcome::Pushed(version)));
        let other = admit(cause(&("create", json!({ "key": "other" })))).unwrap_err();
        assert_eq!(other.code(), Code::IdempotencyKeyReused);
    }

    #[test]
    fn an_idempotency_key_is_printable_ascii() {
        let key = |text: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_bytes(text).unwrap());
            idempotency_key(&headers).map(|key| key.map(str::to_owned))
        };
        for (text, read) in [("run 7", "run 7"), (" run-7 ", "run-7"), ("~!", "~!")] {
            assert_eq!(key(text.as_bytes()).unwrap().as_deref(), Some(read));
        }
        assert!(key(&[b'a'; MAX_KEY_BYTES]).is_ok());
        for bad in [b"".as_slice(), b"  ", b"run\t7", b"caf\xc3\xa9", &[b'a'; MAX_KEY_BYTES + 1]] {
            assert!(key(bad).is_err(), "{}", bad.escape_ascii());
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }
}
