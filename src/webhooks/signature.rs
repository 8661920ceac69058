//! How a receiver knows that a notice is ours, unchanged and recent: the scheme of Standard
//! Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`), which has ready-made
//! verification in most languages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// The value of `webhook-signature`: HMAC-SHA256 of id, time and body, joined by dots.
pub(super) fn sign(secret: &Secret, id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length");
    mac.update(id.as_bytes());
    mac.update(format!(".{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that another program computed:
    /// `printf 'msg_1.1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef -binary | base64`
    #[test]
    fn it_signs_as_another_program_does() {
        let secret = Secret::new(b"0123456789abcdef".to_vec()).unwrap();
        let signature = sign(&secret, "msg_1", 1_700_000_000, b"{\"a\":1}");
        assert_eq!(signature, "v1,41C4mdfM4X7k7EqLRBhc2OjUAQFwQVsqMUoL0CbTfxc=");
        assert_ne!(signature, sign(&secret, "msg_1", 1_700_000_001, b"{\"a\":1}"));
        assert_ne!(signature, sign(&secret, "msg_2", 1_700_000_000, b"{\"a\":1}"));
        assert_ne!(signature, sign(&secret, "msg_1", 1_700_000_000, b"{\"a\":2}"));
    }
}
