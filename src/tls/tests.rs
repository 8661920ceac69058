use std::fs;
use std::sync::atomic::Ordering::Relaxed;

use super::testing::{Authority, load};
use super::*;

#[test]
fn what_is_wrong_with_a_pair_is_told_with_its_file() {
    let authority = Authority::new("a");
    let dir = tempfile::tempdir().unwrap();
    let refusal = || format!("{:#}", load(dir.path(), None).unwrap_err());
    assert!(refusal().contains("cannot read") && refusal().contains("server.crt"), "{}", refusal());
    let (certificate, key) = authority.signs(2100).write(dir.path());
    load(dir.path(), None).unwrap();
    let sound = fs::read(&certificate).unwrap();
    fs::write(&certificate, "no certificate").unwrap();
    assert!(refusal().contains("(tls_certificate) has no certificate"), "{}", refusal());
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&certificate, damaged).unwrap();
    assert!(refusal().contains("is damaged"), "{}", refusal());
    fs::write(&certificate, &sound).unwrap();
    fs::write(&key, authority.signs(2100).key).unwrap();
    assert!(refusal().contains("(tls_key) is not that of the certificate"), "{}", refusal());
    fs::write(&key, "-----BEGIN SECRET-----\nhidden\n").unwrap();
    let text = refusal();
    assert!(text.contains("(tls_key) has no key") && !text.contains("hidden"), "{text}");
    fs::remove_file(&key).unwrap();
    assert!(refusal().contains("server.key (tls_key)"), "{}", refusal());
    authority.signs(2100).write(dir.path());
    let authorities = dir.path().join("clients.crt");
    fs::write(&authorities, "nobody").unwrap();
    let text = format!("{:#}", load(dir.path(), Some(&authorities)).unwrap_err());
    assert!(text.contains("(tls_client_ca) has no certificate"), "{text}");
}

#[test]
fn a_bad_pair_keeps_the_one_before() {
    let authority = Authority::new("a");
    let dir = tempfile::tempdir().unwrap();
    let (_, key) = authority.signs(2100).write(dir.path());
    let tls = load(dir.path(), None).unwrap();
    let counts = || {
        let counts = &tls.metrics.tls;
        (counts.reloads.load(Relaxed), counts.failed_reloads.load(Relaxed))
    };
    let before = tls.current.load_full();
    let first = tls.metrics.tls.expires_in().unwrap();

    fs::write(&key, authority.signs(2100).key).unwrap();
    tls.reload();
    assert_eq!(counts(), (0, 1));
    assert!(Arc::ptr_eq(&before, &tls.current.load_full()));

    authority.signs(2001).write(dir.path());
    tls.reload();
    assert_eq!(counts(), (0, 2), "one that has run out is no better");
    assert!(Arc::ptr_eq(&before, &tls.current.load_full()));

    authority.signs(2200).write(dir.path());
    tls.reload();
    assert_eq!(counts(), (1, 2));
    assert!(!Arc::ptr_eq(&before, &tls.current.load_full()));
    let hundred_years = tls.metrics.tls.expires_in().unwrap() - first;
    assert!((3_155_000_000..3_156_000_000).contains(&hundred_years), "{hundred_years}");
}

#[test]
fn one_that_has_run_out_serves_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    Authority::new("a").signs(2001).write(dir.path());
    let tls = load(dir.path(), None).unwrap();
    assert!(tls.metrics.tls.expires_in().unwrap() < 0);
    assert_eq!(Metrics::new().tls.expires_in(), None);
}
