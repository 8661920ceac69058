//! The credentials that `aws configure` writes, for machines where nothing else names any.

use std::collections::HashMap;
use std::path::PathBuf;

/// More than any such file has.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a profile says.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<String>,
    pub(super) session_token: Option<String>,
    pub(super) region: Option<String>,
}

impl Profile {
    /// The profile that `AWS_PROFILE` names, else `default`, from the files of the environment.
    pub(super) fn of_environment() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let home = var("HOME").map(PathBuf::from);
        let file = |name: &str, default: &str| {
            let path = var(name).map(PathBuf::from);
            let path =
                path.or_else(|| home.as_ref().map(|home| home.join(".aws").join(default)))?;
            let length = path.metadata().ok()?.len();
            (length <= MAX_FILE_BYTES).then(|| std::fs::read_to_string(path).ok())?
        };
        let name = var("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials").unwrap_or_default();
        let config = file("AWS_CONFIG_FILE", "config").unwrap_or_default();
        Self::parse(&credentials, &config, &name)
    }

    fn parse(credentials: &str, config: &str, name: &str) -> Self {
        let mut known = section(config, &format!("profile {name}"));
        known.extend(section(config, name));
        known.extend(section(credentials, name));
        Self {
            access_key_id: known.remove("aws_access_key_id"),
            secret_access_key: known.remove("aws_secret_access_key"),
            session_token: known.remove("aws_session_token"),
            region: known.remove("region"),
        }
    }
}

/// The lines `name = value` beneath `[wanted]`.
fn section(text: &str, wanted: &str) -> HashMap<String, String> {
    let mut inside = false;
    let mut found = HashMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = header.split_whitespace().eq(wanted.split_whitespace());
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((name, value)) = line.split_once('=')
        {
            found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_in_both_files() {
        let credentials = "[default]\naws_access_key_id = A\naws_secret_access_key=S=1\n\
                           # no\n[ batch ]\naws_access_key_id=B\naws_session_token = T\n";
        let config = "[profile batch]\nregion = eu-west-1\n[default]\nregion=us-east-2\n";
        let default = Profile::parse(credentials, config, "default");
        assert_eq!(default.access_key_id.as_deref(), Some("A"));
        assert_eq!(default.secret_access_key.as_deref(), Some("S=1"));
        assert_eq!((default.session_token, default.region), (None, Some("us-east-2".into())));
        let batch = Profile::parse(credentials, config, "batch");
        assert_eq!(
            (batch.session_token.as_deref(), batch.region.as_deref()),
            (Some("T"), Some("eu-west-1"))
        );
        assert!(Profile::parse(credentials, config, "nobody") == Profile::default());
    }
}
