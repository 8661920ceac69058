//! Where both chains stand, as one word to be noted elsewhere.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The last change and the last line of the log, each with its chain. As text:
/// `changes=120:<64 digits>,log=35:<64 digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The last change and its chain.
    pub changes: (u64, Digest),
    /// The last line of the log and its chain.
    pub log: (u64, Digest),
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (changes, log) = (&self.changes, &self.log);
        write!(f, "changes={}:{},log={}:{}", changes.0, changes.1, log.0, log.1)
    }
}

impl FromStr for AuditHead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = |part: &str, name: &str| {
            let (number, chain) = part.strip_prefix(name)?.split_once(':')?;
            Some((number.parse().ok()?, Digest::parse(chain).ok()?))
        };
        let parts = text.trim().split_once(',');
        let head = parts.and_then(|(changes, log)| {
            Some(Self { changes: at(changes, "changes=")?, log: at(log, "log=")? })
        });
        head.ok_or_else(|| {
            "a head is written changes=NUMBER:CHAIN,log=NUMBER:CHAIN, as an answer of the audit \
             gives it"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head = AuditHead { changes: (120, Digest::of(b"a")), log: (0, Digest::of(b"b")) };
        assert_eq!(format!(" {head}\n").parse(), Ok(head));
        for bad in ["", "changes=1:ab,log=2:cd", &head.to_string()[1..], "log=1:a,changes=2:b"] {
            assert!(bad.parse::<AuditHead>().is_err(), "{bad}");
        }
    }
}
