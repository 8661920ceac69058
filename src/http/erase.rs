//! `/v1/erase`: keys that no version gives any more, and what a read of one is told.

use axum::extract::State;
use base64::Engine as _;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tidetable_storage::{
    Catalog, Cause, DatasetName, Erasure, Gates, Key, RewriteStep, Scope, Served, Version,
};

use super::arm::Choice;
use super::asker::Asker;
use super::blocking::blocking;
use super::extract::{Json, Query};
use super::page::{PageQuery, page};
use super::read::key_not_found;
use super::versions::NoParameters;
use crate::access::{Caller, Right};
use crate::keys::{BASE64URL, KeyEncoding};
use crate::problem::{Answer, Fault, Problem};
use crate::pushes::PushOf;
use crate::rewrites::Rewrites;
use crate::state::AppState;
use crate::time::rfc3339;

/// Keys of one request.
const MOST_KEYS: usize = 1000;
/// Digits of a key's digest that are shown: enough to tell keys apart.
const SHOWN_DIGITS: usize = 16;

/// The body of an erasure, and of lifting one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EraseRequest {
    keys: Vec<String>,
    #[serde(default)]
    key_encoding: KeyEncoding,
    /// `null` is all datasets: it must be said.
    #[serde(deserialize_with = "given")]
    datasets: Option<Vec<String>>,
    reason: String,
    #[serde(default)]
    now: bool,
}

/// A request, parsed.
struct ParsedErase {
    keys: Vec<Vec<u8>>,
    scopes: Vec<Scope>,
    datasets: Option<Vec<DatasetName>>,
    now: bool,
    cause: Cause,
}

/// `POST /v1/erase`: answers when no version gives the keys any more.
pub(crate) async fn erase(
    State(app): State<AppState>,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<EraseRequest>,
) -> Answer<axum::Json<Value>> {
    let parsed = request.parse(&asker)?;
    if parsed.keys.is_empty() && !parsed.now {
        return Err(malformed("keys is empty: name one at least"));
    }
    blocking(move || {
        let erasing = app.store.erase(&parsed.scopes, &parsed.keys()?, parsed.cause.clone())?;
        let held_by: Vec<PushOf> = {
            let catalog = app.store.catalog();
            let held = catalog.erasures().held_by().filter(|(dataset, _)| parsed.covers(dataset));
            held.map(|(dataset, version)| (dataset.clone(), version)).collect()
        };
        let mut rewriting = Vec::new();
        if parsed.now {
            rewriting.clone_from(&held_by);
            Rewrites::ask(&app, held_by.clone(), &parsed.scopes, &parsed.cause)?;
        }
        let catalog = app.store.catalog();
        let shown =
            |of: &[PushOf]| of.iter().map(|of| version_of(&catalog, of)).collect::<Vec<_>>();
        Ok(axum::Json(json!({
            "erased": erasing.erased, "already": erasing.already, "seq": erasing.seq,
            "datasets": parsed.datasets, "held_by": shown(&held_by), "rewriting": shown(&rewriting),
            "named_in_settings": parsed.named_in_settings(&catalog),
        })))
    })
    .await
}

/// `POST /v1/erase/lift`: versions that still have the keys give them again.
pub(crate) async fn lift(
    State(app): State<AppState>,
    Query(_): Query<NoParameters>,
    asker: Asker,
    Json(request): Json<EraseRequest>,
) -> Answer<axum::Json<Value>> {
    let parsed = request.parse(&asker)?;
    if parsed.keys.is_empty() || parsed.now {
        return Err(malformed("to lift an erasure name its keys; nothing is rewritten for that"));
    }
    blocking(move || {
        let lifting =
            app.store.lift_erasure(&parsed.scopes, &parsed.keys()?, parsed.cause.clone())?;
        Ok(axum::Json(json!({
            "lifted": lifting.lifted, "still_erased": lifting.still_erased,
            "datasets": parsed.datasets,
        })))
    })
    .await
}

/// `GET /v1/erase`, newest first.
pub(crate) async fn list(
    State(app): State<AppState>,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Value>> {
    let standing = app.rewrites.standing();
    let catalog = app.store.catalog();
    let at = |erasure: &Erasure| {
        let dataset = erasure.scope.dataset().map_or("*", DatasetName::as_str);
        format!("{}-{dataset}", erasure.seq)
    };
    let items = catalog.erasures().iter().map(|erasure| (at(erasure), erasure));
    let digests = catalog.erasures().digests();
    let show = |erasure: &Erasure| {
        let keys = digests.get(&(erasure.seq, &erasure.scope)).into_iter().flatten();
        let keys = keys.map(|digest| digest.to_string()[..SHOWN_DIGITS].to_owned());
        erasure_of(&catalog, erasure, &keys.collect::<Vec<_>>())
    };
    let mut shown = page("erasures", &query, items, show)?;
    let rewriting = standing.rewriting.iter().map(|(of, step)| {
        let mut shown = version_of(&catalog, of);
        let (phase, done, total) = told(*step);
        shown["phase"] = json!(phase);
        shown["done"] = json!(done);
        shown["total"] = json!(total);
        shown
    });
    shown["rewriting"] = rewriting.collect();
    let failed = standing.failed.iter().map(|(of, why)| {
        let mut shown = version_of(&catalog, of);
        shown["code"] = json!(why.code());
        shown["detail"] = json!(why.detail());
        shown
    });
    shown["failed"] = failed.collect();
    Ok(axum::Json(shown))
}

fn told(step: Option<RewriteStep>) -> (&'static str, u64, u64) {
    match step {
        None => ("waiting", 0, 0),
        Some(RewriteStep::Looking(done, total)) => ("looking", done, total),
        Some(RewriteStep::Writing(done, total)) => ("writing", done, total),
        Some(RewriteStep::Verifying(done, total)) => ("verifying", done, total),
    }
}

fn erasure_of(catalog: &Catalog, erasure: &Erasure, key_hashes: &[String]) -> Value {
    let held_by = erasure.held_by.iter().map(|holder| {
        let mut shown = version_of(catalog, &(holder.dataset.clone(), holder.version));
        shown["in_parts"] = json!(holder.in_parts);
        shown
    });
    json!({
        "seq": erasure.seq, "dataset": erasure.scope.dataset(), "keys": erasure.keys,
        "key_hashes": key_hashes, "erased_at": rfc3339(erasure.at),
        "actor": erasure.actor, "request_id": erasure.request_id, "reason": erasure.reason,
        "held_by": held_by.collect::<Vec<_>>(), "gone_at": erasure.gone_at.map(rfc3339),
    })
}

fn version_of(catalog: &Catalog, (dataset, version): &PushOf) -> Value {
    let state = catalog.entry(dataset, *version).map(|entry| entry.state.as_str()).ok();
    json!({ "dataset": dataset, "version": version, "state": state })
}

impl EraseRequest {
    fn parse(self, asker: &Asker) -> Answer<ParsedErase> {
        if self.keys.len() > MOST_KEYS {
            let text = format!("{} keys; the most is {MOST_KEYS}: send several", self.keys.len());
            return Err(Problem::new(Fault::TooManyKeys, text));
        }
        if self.reason.trim().is_empty() {
            return Err(malformed("reason is empty: say why; it is kept for ever"));
        }
        let keys = self.keys.iter().enumerate().map(|(number, key)| {
            let key = self.key_encoding.decode_text(key).map(std::borrow::Cow::into_owned);
            key.map_err(|problem| problem.of_key(number))
        });
        let keys = keys.collect::<Answer<Vec<_>>>()?;
        let names = |names: &Vec<String>| -> Answer<Vec<DatasetName>> {
            Ok(names.iter().map(|n| DatasetName::parse(n)).collect::<Result<_, _>>()?)
        };
        let datasets = self.datasets.as_ref().map(names).transpose()?;
        if datasets.as_ref().is_some_and(Vec::is_empty) {
            return Err(malformed("datasets is empty: name one at least, or null for all"));
        }
        let scopes = match &datasets {
            None if !asker.caller.may_everywhere(Right::Administer) => {
                return Err(asker.caller.forbidden_everywhere(Right::Administer));
            }
            None => vec![Scope::Everywhere],
            Some(names) => {
                let is_admin = |name| asker.caller.require(Right::Administer, name);
                names.iter().try_for_each(is_admin)?;
                names.iter().cloned().map(Scope::Dataset).collect()
            }
        };
        // A repetition changes nothing, so no idempotency key is needed; what is asked for is
        // not kept, nor a fingerprint of it.
        let cause = asker.cause_without_key(Some(self.reason))?;
        if names_a_key(cause.reason.as_deref().unwrap_or_default(), &self.keys, &keys) {
            return Err(malformed(
                "the reason names a key, and is kept for ever: name no key in it",
            ));
        }
        Ok(ParsedErase { keys, scopes, datasets, now: self.now, cause })
    }
}

impl ParsedErase {
    fn keys(&self) -> Answer<Vec<Key<'_>>> {
        Ok(self.keys.iter().map(|key| Key::new(key)).collect::<Result<_, _>>()?)
    }

    fn covers(&self, dataset: &DatasetName) -> bool {
        self.scopes.iter().any(|scope| scope.covers(dataset))
    }

    /// The datasets whose settings name one of the keys: those are texts of the operator's, which
    /// nobody erases.
    fn named_in_settings<'c>(&self, catalog: &'c Catalog) -> Vec<&'c DatasetName> {
        let names = |gates: &Gates| {
            let required = gates.required_keys.iter().flatten();
            let looked_up = gates.sample_lookups.iter().flatten().map(|lookup| &lookup.key);
            required
                .chain(looked_up)
                .any(|name| self.keys.iter().any(|key| *key == name.as_bytes()))
        };
        let datasets = catalog
            .datasets()
            .filter(|(name, dataset)| self.covers(name) && names(&dataset.config.gates));
        datasets.map(|(name, _)| name).collect()
    }
}

/// What a lookup of an erased key is told. Whoever may not know that it was erased is told what
/// is told of any key that is not there.
pub(crate) fn erased_key(
    served: &Served,
    version: Version,
    choice: &Choice,
    caller: &Caller,
) -> Problem {
    if !may_know(caller, served) {
        return key_not_found(served, version, choice);
    }
    choice.on(erased(served).in_version(version))
}

/// The problem of an erased key, for whoever may know.
pub(crate) fn erased(served: &Served) -> Problem {
    let text = format!("the key was erased from {}: no version of it gives it", served.name);
    Problem::new(Fault::Erased, text)
}

/// Whether whoever asks may know that a key was erased: operators may.
pub(crate) fn may_know(caller: &Caller, served: &Served) -> bool {
    caller.may(Right::Operate, &served.name)
}

/// Whether a key stands in the reason: as the request writes it, as it is, in base64url, or any of
/// these with `%`. (Of a key of one byte the base64url is too often something else.)
fn names_a_key(reason: &str, given: &[String], keys: &[Vec<u8>]) -> bool {
    let undone: Vec<u8> = percent_decode_str(reason).collect();
    let texts = [reason.as_bytes(), undone.as_slice()];
    let stands = |word: &[u8]| texts.iter().any(|text| stands_in(text, word));
    let in_base64url = |key: &[u8]| key.len() > 1 && stands(BASE64URL.encode(key).as_bytes());
    given.iter().any(|key| stands(key.as_bytes()))
        || keys.iter().any(|key| stands(key) || in_base64url(key))
}

/// Whether a word stands in the text with no letter or digit beside it.
fn stands_in(text: &[u8], word: &[u8]) -> bool {
    // No character has more bytes than this.
    const LONGEST: usize = 4;
    let is_apart = |beside: Option<char>| beside.is_none_or(|c| !c.is_alphanumeric());
    text.windows(word.len().max(1)).enumerate().filter(|(_, part)| *part == word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let before = String::from_utf8_lossy(&before[before.len().saturating_sub(LONGEST)..]);
        let after = String::from_utf8_lossy(&after[..after.len().min(LONGEST)]);
        is_apart(before.chars().next_back()) && is_apart(after.chars().next())
    })
}

fn malformed(text: &str) -> Problem {
    Problem::new(Fault::MalformedBody, text)
}

/// A field that must be given, be it as `null`.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    Option::deserialize(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_a_key_however_it_is_written() {
        let names = |reason: &str, given: &str, key: &[u8]| {
            names_a_key(reason, &[given.to_owned()], &[key.to_vec()])
        };
        for reason in [
            "learner:7",
            "forget learner:7, who asked",
            "ticket/learner:7/2026",
            "of=learner:7;x",
            "\u{201e}learner:7\u{201c}",
            "forget learner%3A7.",
            "forget bGVhcm5lcjo3.",
            "forget bGVhcm5lcjo3%3D",
        ] {
            assert!(names(reason, "learner:7", b"learner:7"), "{reason}");
        }
        for reason in ["request 1177", "learner:77", "a learner", "xlearner:7", "\u{e9}learner:7"] {
            assert!(!names(reason, "learner:7", b"learner:7"), "{reason}");
        }
        assert!(names("forget learner:7,", "bGVhcm5lcjo3", b"learner:7"), "sent in base64url");
        assert!(names("it is %FF%FE.", "__4", &[0xff, 0xfe]), "no UTF-8");
        assert!(!names("the MQ has it", "1", b"1"));
    }
}
