//! The kinds of value that settings have, as people write them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// A size in bytes: `32MiB`, `1GB`, `65536`. Units of 1,024 end in `iB`, those of 1,000 in
/// `B`; a single letter (`512K`) would leave that open and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = number_and_unit(text).and_then(|(number, unit)| {
            let factor = match unit {
                "" => 1,
                unit => SIZES.iter().find(|(name, _)| *name == unit)?.1,
            };
            number.checked_mul(factor)
        });
        bytes.map(Self).ok_or_else(|| {
            "expected a size such as 512MiB or 1GB: a whole number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"
                .to_owned()
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = &SIZES[..4];
        match binary.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Bytes {
    /// As a length in memory.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Bytes in a second: `20MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rate(pub(crate) u64);

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let size = text.strip_suffix("/s").unwrap_or(text);
        let rate = size.trim_end().parse().ok().filter(|Bytes(bytes)| *bytes > 0);
        rate.map(|Bytes(bytes)| Self(bytes)).ok_or("expected bytes in a second, such as 20MiB/s")
    }
}

/// A time: `500ms`, `30s`, `5m`, `24h`, `7d`, `2w`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

/// The longest time a setting can have: whatever it is added to, nothing overflows.
const LONGEST_MS: u64 = 100 * 365 * 86_400_000;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = number_and_unit(text).and_then(|(number, unit)| {
            let factor = match unit {
                "ms" => 1,
                "" | "s" => 1000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 7 * 86_400_000,
                _ => return None,
            };
            number.checked_mul(factor).filter(|ms| *ms <= LONGEST_MS)
        });
        ms.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(|| {
            "expected a time such as 30s: a whole number and ms, s, m, h, d or w".to_owned()
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{}s", self.0.as_secs()),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

/// An address and a port. `localhost` is 127.0.0.1. Other names are none: what a resolver says of them
/// would decide who can reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = local.as_deref().unwrap_or(text).parse::<SocketAddr>();
        address.map(Self).map_err(|_| {
            "expected an address and a port, such as 127.0.0.1:7070, or localhost:7070; other names \
             than localhost are not looked up: give the address"
        })
    }
}

/// A whole number from 1 on; `auto` is the number of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count(pub(crate) usize);

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "auto" {
            return Ok(Self(std::thread::available_parallelism().map_or(1, usize::from)));
        }
        let number = text.parse().ok().filter(|number| (1..=1_000_000_000).contains(number));
        number
            .map(Self)
            .ok_or("expected a whole number from 1 to 1000000000, or auto: one for each processor")
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "true" | "1" => Ok(Self(true)),
            "false" | "0" => Ok(Self(false)),
            _ => Err("expected true or false"),
        }
    }
}

/// What a server is for, in one word of those who run it; `none` is no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvironmentName(pub(crate) Option<String>);

impl FromStr for EnvironmentName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "none" => Ok(Self(None)),
            name if (1..=32).contains(&name.chars().count())
                && name.trim() == name
                && !name.chars().any(char::is_control) =>
            {
                Ok(Self(Some(name.to_owned())))
            }
            _ => Err("expected a name of 1 to 32 characters, or none"),
        }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json"),
        }
    }
}

/// "512 MiB" as 512 and "MiB".
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("512MB", 512_000_000),
            ("1 GiB", 1 << 30),
            ("8KiB", 8192),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for bad in ["", "1K", "1.5GiB", "-1", "GiB", "1gib", "99999999999TiB", "1GiBs", "+1"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        assert_eq!(Bytes(8192).to_string(), "8KiB");
        assert_eq!(Bytes(8193).to_string(), "8193B");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in [
            ("250ms", 250),
            ("30", 30_000),
            ("30s", 30_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_millis(), ms, "{text}");
        }
        for bad in ["", "s", "1.5s", "-1s", "1y", "1W", "18446744073709551615d", "9999w"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_listens_at_addresses_and_at_localhost() {
        for (text, address) in [
            ("127.0.0.1:7070", "127.0.0.1:7070"),
            ("localhost:7070", "127.0.0.1:7070"),
            ("localhost:0", "127.0.0.1:0"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(text.parse(), Ok(Listen(address.parse().unwrap())), "{text}");
        }
        for bad in [
            "",
            "localhost",
            "127.0.0.1",
            ":7070",
            "7070",
            "localhost:",
            "localhost:+1",
            "localhost:65536",
            "localhost.example:1",
            "tide.example:7070",
            "::1:7070",
        ] {
            let text = bad.parse::<Listen>().unwrap_err();
            assert!(text.contains("give the address"), "{bad}");
        }
    }

    #[test]
    fn switches_and_counts_take_nothing_else() {
        assert!("yes".parse::<Switch>().is_err());
        assert!("0".parse::<Count>().is_err());
        assert!("-1".parse::<Count>().is_err());
        let named = |text: &str| text.parse::<EnvironmentName>().map(|name| name.0);
        assert_eq!(named("none"), Ok(None));
        assert_eq!(named("production eu"), Ok(Some("production eu".to_owned())));
        for bad in ["", " x", "a\nb", "x".repeat(33).as_str()] {
            assert!(named(bad).is_err(), "{bad:?}");
        }
        assert_eq!("20MiB/s".parse(), Ok(Rate(20 << 20)));
        assert_eq!("1MB".parse(), Ok(Rate(1_000_000)));
        assert!(["0", "0B/s", "fast", "1/h"].iter().all(|bad| bad.parse::<Rate>().is_err()));
        assert!("auto".parse::<Count>().unwrap().0 >= 1);
        assert!("JSON".parse::<LogFormat>().is_err());
    }
}
