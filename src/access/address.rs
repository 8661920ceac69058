//! Where a server may listen: what other machines reach has tokens and TLS, unless the person
//! who starts it says that the network itself is trusted.

use std::net::SocketAddr;

/// Refuses an address, and says what to do. `tokens`: whether the data directory ever had one.
pub(crate) fn check_address(
    listen: SocketAddr,
    insecure: bool,
    tls: bool,
    tokens: bool,
) -> Result<(), String> {
    if listen.ip().is_loopback() || insecure || (tls && tokens) {
        return Ok(());
    }
    let lacks = match (tls, tokens) {
        (false, false) => "it has neither TLS nor tokens",
        (false, true) => "it has no TLS, without which tokens and values can be read on their way",
        _ => "it has no tokens: whoever reaches it may do everything",
    };
    let make = if tokens {
        ""
    } else {
        " `tidetable token create NAME --role admin --data DIR` makes the first token."
    };
    Err(format!(
        "listen is {listen}, which other machines can reach, and {lacks}.{make} Or listen on \
         127.0.0.1 behind a proxy; or add --insecure if the network itself is trusted"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_let_in_with_tokens_and_tls_or_when_it_is_spelled_out() {
        let may = |listen: &str, insecure, tls, tokens| {
            check_address(listen.parse().unwrap(), insecure, tls, tokens)
        };
        for open in ["0.0.0.0:7070", "[::]:7070", "10.0.0.5:7070", "[2001:db8::1]:1"] {
            for (tls, tokens) in [(false, false), (true, false), (false, true)] {
                let text = may(open, false, tls, tokens).unwrap_err();
                assert!(text.contains("--insecure") && text.contains(open), "{text}");
                assert_eq!(text.contains("token create"), !tokens, "{text}");
                assert!(may(open, true, tls, tokens).is_ok());
            }
            assert!(may(open, false, true, true).is_ok());
        }
        for local in ["127.0.0.1:7070", "[::1]:0", "127.9.9.9:1"] {
            assert!(may(local, false, false, false).is_ok(), "{local}");
        }
    }
}
