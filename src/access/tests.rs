use tempfile::TempDir;
use tidetable_storage::{Cause, NewToken, StoreOptions};

use super::*;

struct Directory {
    store: Store,
    access: Access,
    _dir: TempDir,
}

impl Directory {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), StoreOptions::default()).unwrap();
        Self { store, access: Access::new(Arc::new(Metrics::new())), _dir: dir }
    }

    /// A token with these grants: its id, and the header to send it in.
    fn token(&self, grants: &str, expires_at: Option<Millis>) -> (TokenId, String) {
        let (id, text, hash) = TokenText::generate().unwrap();
        let (name, grants) = ("ada".to_owned(), grants.to_owned());
        let new = NewToken { id, name, hash, grants, expires_at };
        self.store.create_token(&new, Cause::default()).unwrap();
        self.access.learn(&self.store);
        (id, format!("Bearer {}", text.reveal()))
    }

    fn may_look_up(&self, header: Option<&str>, dataset: &str) -> bool {
        let dataset = DatasetName::parse(dataset).unwrap();
        self.access.may_look_up(header.map(str::as_bytes), &dataset)
    }
}

const READER: &str = r#"{"roles":["reader"],"datasets":["a","b*"]}"#;

#[test]
fn everybody_may_look_up_until_there_is_a_token_and_only_its_owner_from_then_on() {
    let directory = Directory::new();
    assert!(directory.access.is_open() && directory.may_look_up(None, "a"));
    let (id, header) = directory.token(READER, None);
    assert!(!directory.access.is_open() && !directory.may_look_up(None, "a"));
    let may = |dataset| directory.may_look_up(Some(&header), dataset);
    assert!(may("a") && may("b") && may("b2") && !may("c"));
    directory.store.revoke_token(id, Cause::default()).unwrap();
    directory.access.learn(&directory.store);
    assert!(!may("a"), "from the next request on");
    assert!(!directory.access.is_open() && !directory.may_look_up(None, "a"), "no way back");
}

#[test]
fn a_token_is_good_until_it_expires() {
    let directory = Directory::new();
    let (_, gone) = directory.token(READER, Some(now()));
    let (_, good) = directory.token(READER, Some(now() + 1_000_000));
    assert!(!directory.may_look_up(Some(&gone), "a"));
    assert!(directory.may_look_up(Some(&good), "a"));
}

#[test]
fn a_token_whose_grants_are_not_understood_opens_nothing() {
    let directory = Directory::new();
    for grants in ["", "{}", r#"{"roles":["owner"],"datasets":["*"]}"#] {
        let (_, header) = directory.token(grants, None);
        assert!(!directory.may_look_up(Some(&header), "a"), "{grants}");
    }
}

#[test]
fn roles_that_read_no_values_look_nothing_up() {
    let directory = Directory::new();
    for (role, may) in [
        ("pusher", false),
        ("operator", false),
        ("monitor", false),
        ("reader", true),
        ("admin", true),
    ] {
        let (_, header) =
            directory.token(&format!(r#"{{"roles":["{role}"],"datasets":["*"]}}"#), None);
        assert_eq!(directory.may_look_up(Some(&header), "a"), may, "{role}");
    }
}

#[test]
fn the_dataset_of_a_path_is_the_one_that_its_handler_reads() {
    let of = |path: &str| dataset_of(path).ok().map(|name| name.to_string());
    assert_eq!(of("/v1/datasets/recs").as_deref(), Some("recs"));
    assert_eq!(of("/v1/datasets/r%65cs/keys/a%2Fb").as_deref(), Some("recs"));
    for none in [
        "/v1/datasets",
        "/v1/datasets/",
        "/v1/datasets//keys/a",
        "/v1/datasets/a%2Fb/keys/k",
        "/v1/datasets/%2e%2e/keys/k",
        "/v1/datasets/%ff",
        "/v1/datasets/A",
        "/v1/tokens",
        "//v1/datasets/recs",
    ] {
        assert_eq!(of(none), None, "{none}");
    }
}
