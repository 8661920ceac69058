//! What a user names: `s3://bucket/prefix/`, `gs://…`, `az://container/…`, `https://…`.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Longer keys no store has.
pub(super) const MAX_KEY_BYTES: usize = 1024;

/// What stands for itself in the path of an address.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Which kind of store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    S3,
    Google,
    Azure,
    Http,
}

/// A place in a store: an object, or a prefix of objects if it ends in `/`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(super) scheme: Scheme,
    /// The bucket, or the container; of an HTTP address scheme and host.
    pub(super) bucket: String,
    /// What follows it, without the first `/`; of an HTTP address without its query.
    pub(super) path: String,
    /// An HTTP address as it was given: its query may hold a signature.
    pub(super) address: Option<String>,
}

impl Location {
    /// What `text` names, if it is an address and no file; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let known = match scheme.to_ascii_lowercase().as_str() {
            // The others are what Hadoop calls it.
            "s3" | "s3a" | "s3n" => Scheme::S3,
            "gs" => Scheme::Google,
            "az" | "azure" => Scheme::Azure,
            "http" | "https" => return Some(Self::of_address(text)),
            other => {
                let is_scheme = other.starts_with(|c: char| c.is_ascii_alphabetic())
                    && other.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                return is_scheme.then(|| {
                    Err(format!("{other}:// is not read: expected s3, gs, az, http or https"))
                });
            }
        };
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self::of(known, bucket, path))
    }

    fn of(scheme: Scheme, bucket: &str, path: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_name = (1..=255).contains(&bucket.len()) && bucket.chars().all(fits);
        if !is_name || bucket.starts_with('.') {
            let name = scheme.name();
            return Err(format!("expected {name}://bucket/path, found {bucket:?} for the bucket"));
        }
        check_path(path)?;
        Ok(Self { scheme, bucket: bucket.to_owned(), path: path.to_owned(), address: None })
    }

    fn of_address(text: &str) -> Result<Self, String> {
        let like = || "expected an address like https://files.example.org/rows.csv".to_owned();
        let uri: http::Uri = text.parse().map_err(|_| like())?;
        let authority = uri.authority().filter(|a| !a.host().is_empty()).ok_or_else(like)?;
        if authority.as_str().contains('@') {
            return Err("a name and password in an address are not sent".to_owned());
        }
        let bucket = format!("{}://{authority}", uri.scheme_str().unwrap_or_default());
        let path = uri.path().trim_start_matches('/').to_owned();
        if path.is_empty() || path.ends_with('/') {
            return Err(format!(
                "{bucket}/{path} names no file, and what there is cannot be listed over HTTP: name \
                 each file"
            ));
        }
        Ok(Self { scheme: Scheme::Http, bucket, path, address: Some(text.to_owned()) })
    }

    /// A prefix that everything lies beneath: `s3://bucket/prefix/`, `https://host/directory/`.
    pub(crate) fn prefix(text: &str) -> Result<Self, String> {
        let expected = || "expected a prefix that ends in /, like s3://bucket/prefix/".to_owned();
        let is_address = text.starts_with("http://") || text.starts_with("https://");
        let location = match text.strip_suffix('/').filter(|_| is_address) {
            // Of an address without its end the name of a file.
            Some(file) if file.matches('/').count() > 2 => {
                let file = Self::of_address(file)?;
                let address = file.address.as_deref().filter(|address| !address.contains('?'));
                let address = address.map(|address| format!("{address}/")).ok_or_else(expected)?;
                Self { path: format!("{}/", file.path), address: Some(address), ..file }
            }
            _ => Self::parse(text).ok_or_else(expected)??,
        };
        if location.is_prefix() { Ok(location) } else { Err(expected()) }
    }

    /// Another place in the same bucket.
    pub(crate) fn with_path(&self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    /// What stands at `path` beneath this prefix; the error says why nothing can: it would lie
    /// elsewhere, or be no plain name.
    pub(crate) fn beneath(&self, path: &str) -> Result<Self, String> {
        let path = format!("{}{path}", self.path);
        check_path(&path)?;
        let Some(rest) = path.strip_prefix(&self.path) else {
            return Err("it is not beneath the prefix".to_owned());
        };
        let address = self.address.as_ref().map(|prefix| {
            let names = rest.split('/').map(|name| utf8_percent_encode(name, SEGMENT).to_string());
            format!("{prefix}{}", names.collect::<Vec<_>>().join("/"))
        });
        if address.is_some() && (rest.is_empty() || rest.ends_with('/')) {
            return Err("what there is cannot be listed over HTTP: name a file".to_owned());
        }
        Ok(Self { address, ..self.with_path(path.clone()) })
    }

    /// Whether all that begins with it is meant.
    pub(crate) fn is_prefix(&self) -> bool {
        self.path.is_empty() || self.path.ends_with('/')
    }

    /// Whether `other` is beneath this prefix.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        (self.scheme, &self.bucket) == (other.scheme, &other.bucket)
            && other.path.starts_with(&self.path)
    }

    /// Whether it is in a store of objects, and no plain HTTP address.
    pub(crate) fn is_in_store(&self) -> bool {
        self.scheme != Scheme::Http
    }

    /// All that tells it from others, which may hold a signature: not for messages.
    pub(crate) fn whole(&self) -> String {
        self.address.clone().unwrap_or_else(|| self.to_string())
    }

    /// Its path, without a `/` at its beginning.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The last name of its path.
    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Refuses what a store, or a proxy before it, could take for another path than it is.
fn check_path(path: &str) -> Result<(), String> {
    if path.len() > MAX_KEY_BYTES {
        return Err(format!("its path has more than {MAX_KEY_BYTES} bytes"));
    }
    let plain = path.strip_suffix('/').unwrap_or(path);
    if plain.is_empty() && path.is_empty() {
        return Ok(());
    }
    for name in plain.split('/') {
        if name.is_empty() || name == "." || name == ".." {
            return Err(format!("its path has a part {name:?}, which is not read"));
        }
        if name.chars().any(char::is_control) {
            return Err("its path has a control character".to_owned());
        }
    }
    Ok(())
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
            Self::Http => "http",
        }
    }
}

/// Without the query of an address.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Http => write!(f, "{}/{}", self.bucket, self.path),
            scheme => write!(f, "{}://{}/{}", scheme.name(), self.bucket, self.path),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Location {
        Location::parse(text).unwrap().unwrap()
    }

    #[test]
    fn addresses_are_told_from_files_and_shown_without_their_secrets() {
        for file in ["a.csv", "dir/", "C:\\a", "a:b", "-", "1://x"] {
            assert!(Location::parse(file).is_none(), "{file}");
        }
        assert_eq!(parse("s3a://lake/recs/").to_string(), "s3://lake/recs/");
        assert_eq!(parse("gs://lake").to_string(), "gs://lake/");
        let signed = parse("https://h:1/a/b.csv?X-Amz-Signature=secret");
        assert_eq!(signed.to_string(), "https://h:1/a/b.csv");
        assert!(!format!("{signed:?}").contains("secret"));
        assert_eq!((signed.file_name(), signed.is_in_store()), ("b.csv", false));
        assert_ne!(signed.whole(), parse("https://h:1/a/b.csv?part=2").whole());
        assert_eq!(parse("s3a://lake/recs/x").whole(), parse("s3://lake/recs/x").whole());
        for bad in [
            "s3://",
            "s3:///x",
            "s3://a b/x",
            "hdfs://n/x",
            "https://u:p@h/x",
            "http://h/",
            "s3://b/a//b",
            "s3://b/../c",
            "s3://b/a/./c",
            "s3://b/a\nb",
            "s3://.b/c",
            "https:///x",
        ] {
            assert!(Location::parse(bad).unwrap().is_err(), "{bad}");
        }
        assert!(Location::parse(&format!("s3://b/{}", "x".repeat(1025))).unwrap().is_err());
    }

    #[test]
    fn what_is_beneath_a_prefix_cannot_leave_it() {
        let prefix = parse("s3://lake/recs/");
        assert_eq!(prefix.beneath("2026/a.csv").unwrap().to_string(), "s3://lake/recs/2026/a.csv");
        assert_eq!(prefix.beneath("").unwrap(), prefix);
        for bad in ["../secret", "a/../../b", "/etc", "a//b", "./a", "..", "a/..", "/", "a\0b"] {
            assert!(prefix.beneath(bad).is_err(), "{bad}");
        }
        let served = Location::prefix("https://h/dir/").unwrap();
        let file = served.beneath("a b.csv").unwrap();
        assert_eq!(
            (file.to_string().as_str(), file.address.as_deref()),
            ("https://h/dir/a b.csv", Some("https://h/dir/a%20b.csv"))
        );
        assert!(served.beneath("").is_err() && served.beneath("../x").is_err());
        for bad in ["s3://lake/recs", "https://h/", "https://h/d/?a/", "recs/", "https://h/d"] {
            assert!(Location::prefix(bad).is_err(), "{bad}");
        }
        assert!(prefix.holds(&parse("s3://lake/recs/x")) && prefix.is_prefix());
        for other in ["s3://lake/recs", "s3://lake/rec/x", "s3://sea/recs/x", "gs://lake/recs/x"] {
            assert!(!prefix.holds(&parse(other)), "{other}");
        }
    }
}
