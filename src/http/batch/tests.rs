//! Where batches are answered, and that each is counted once.

use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::http::plain::tests::Stored;
use crate::http::router;

/// The status, and the body as text: the values of the dataset are no JSON.
async fn post(stored: &Stored, path: &str, body: &Value) -> (u16, String) {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json");
    let request = request.header("host", "x").body(Body::from(body.to_string())).unwrap();
    let response = router(&stored.app).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The status of a batch of the value of 300,000 bytes, so many times.
async fn batch_of_long(stored: &Stored, count: usize) -> u16 {
    let body = json!({ "keys": vec!["long"; count] });
    post(stored, "/v1/datasets/recs/batch-get", &body).await.0
}

/// A store whose values are in memory, as far as the server knows.
async fn in_memory() -> Stored {
    let stored = Stored::new();
    assert_eq!(batch_of_long(&stored, 1).await, 200);
    stored.app.store.live().look().unwrap();
    stored
}

#[tokio::test]
async fn a_batch_of_long_values_leaves_the_thread_that_serves() {
    let stored = in_memory().await;
    // Who leaves that thread needs a permit of those that wait for the disk.
    let most = stored.app.config.max_cold_reads.0;
    let permits: Vec<_> = (0..most).map(|_| stored.app.limiter.cold().unwrap()).collect();
    assert_eq!(batch_of_long(&stored, 3).await, 200);
    assert_eq!(batch_of_long(&stored, 4).await, 503);
    // The datasets of one request have one bound.
    let of_two = json!({ "dataset": "recs", "keys": ["long", "long"] });
    let of_all = json!({ "requests": [of_two, of_two] });
    let (status, text) = post(&stored, "/v1/batch-get", &of_all).await;
    assert_eq!((status, text.matches("\"found\":true").count()), (200, 2));
    assert_eq!(text.matches("\"code\":\"overloaded\"").count(), 1);
    drop(permits);
    assert_eq!(batch_of_long(&stored, 4).await, 200);
}

/// Nobody has looked: whoever watches how a version does is not to take it for a failure of that.
#[tokio::test]
async fn a_batch_that_is_refused_for_want_of_a_place_is_no_failed_lookup() {
    let stored = in_memory().await;
    let recs = DatasetName::parse("recs").unwrap();
    let counted = || {
        let served = stored.app.metrics.dataset(&recs).served();
        (served.errors, served.lookups())
    };
    let before = counted();
    let most = stored.app.config.max_cold_reads.0;
    let permits: Vec<_> = (0..most).map(|_| stored.app.limiter.cold().unwrap()).collect();
    let body = json!({ "keys": vec!["long"; 4] });
    let (status, text) = post(&stored, "/v1/datasets/recs/batch-get", &body).await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("\"code\":\"overloaded\"") && text.contains("max_cold_reads"), "{text}");
    let several = json!({ "requests": [{ "dataset": "recs", "keys": vec!["long"; 4] }] });
    let (status, text) = post(&stored, "/v1/batch-get", &several).await;
    assert_eq!((status, text.matches("\"code\":\"overloaded\"").count()), (200, 1), "{text}");
    assert_eq!((counted(), before.0), (before, 0));
    drop(permits);
    assert_eq!(batch_of_long(&stored, 4).await, 200);
    assert_eq!(counted(), (0, before.1 + 4));
}

#[tokio::test]
async fn a_batch_that_begins_on_one_thread_and_ends_on_another_is_counted_once() {
    let stored = in_memory().await;
    let recs = DatasetName::parse("recs").unwrap();
    let hits = || stored.app.metrics.dataset(&recs).served().hits;
    let before = hits();
    assert_eq!(batch_of_long(&stored, 5).await, 200);
    assert_eq!(hits() - before, 5);
}

#[tokio::test]
async fn a_field_that_is_null_is_as_one_that_is_left_out() {
    let stored = Stored::new();
    let plain = json!({ "dataset": "recs", "keys": ["a/b"] });
    let nulls = json!({
        "dataset": "recs", "keys": ["a/b"], "fields": null, "version": null, "key_encoding": null,
    });
    let of_several = |one: &Value| json!({ "requests": [one] });
    let of_one = |one: &Value| {
        let mut one = one.clone();
        one.as_object_mut().unwrap().remove("dataset");
        one
    };
    for (path, plain, nulls) in [
        ("/v1/datasets/recs/batch-get", of_one(&plain), of_one(&nulls)),
        ("/v1/batch-get", of_several(&plain), of_several(&nulls)),
    ] {
        let wanted = post(&stored, path, &plain).await;
        assert!(wanted.0 == 200 && wanted.1.contains("\"value\":1"), "{}", wanted.1);
        assert_eq!(post(&stored, path, &nulls).await, wanted, "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_told_with_its_place() {
    let stored = Stored::new();
    for (batch, said) in [
        (json!({ "keys": ["ada", "", "a/b"] }), "\"keys[1]: the key is empty\""),
        (
            json!({ "keys": ["YQ", "YQ="], "key_encoding": "base64url" }),
            "\"keys[1]: the key is not",
        ),
        (json!({ "keys": ["nobody", "ada", "a/b"], "fields": ["k"] }), "\"keys[2]: fields needs"),
    ] {
        let (status, text) = post(&stored, "/v1/datasets/recs/batch-get", &batch).await;
        assert!(status == 400 && text.contains(said), "{batch}: {text}");
        let mut named = batch;
        named["dataset"] = json!("recs");
        let (status, text) = post(&stored, "/v1/batch-get", &json!({ "requests": [named] })).await;
        assert!(status == 200 && text.contains(said), "{named}: {text}");
    }
    let unreadable = json!({ "requests": [
        { "dataset": "recs", "keys": ["ada"] }, { "dataset": "recs", "keys": ["ada", 1] },
    ] });
    let (status, text) = post(&stored, "/v1/batch-get", &unreadable).await;
    let said = "requests[1].keys[1]: expected a text, found the number 1";
    assert!(status == 400 && text.contains(said), "{text}");
}
