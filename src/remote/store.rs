//! Opening a store: which credentials, which endpoint, how often to ask again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::connector::Connector;
use super::error::{RemoteError, Why};
use super::location::{Location, Scheme};
use super::profile::Profile;

/// How often a request is repeated whose answer is a 5xx, or that broke off. What breaks off in
/// the middle of an object is begun again beyond that, by its reader.
const RETRIES: usize = 5;

/// What the environment does not say of a store, or says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where an S3-compatible store answers.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// Whether it may be spoken to without TLS.
    pub(crate) allow_http: bool,
}

/// The stores of one command or import: each bucket is opened once.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    settings: Settings,
    open: HashMap<(Scheme, String), Arc<dyn ObjectStore>>,
    /// How long objects were looked at one by one so far.
    pub(super) looking: Duration,
}

impl Stores {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, open: HashMap::new(), looking: Duration::ZERO }
    }

    /// The store that `location` is in. Nothing is sent yet.
    pub(super) fn of(&mut self, location: &Location) -> Result<Arc<dyn ObjectStore>, RemoteError> {
        if location.scheme == Scheme::Http {
            return self.settings.open(location);
        }
        let id = (location.scheme, location.bucket.clone());
        if let Some(store) = self.open.get(&id) {
            return Ok(Arc::clone(store));
        }
        let store = self.settings.open(location)?;
        self.open.insert(id, Arc::clone(&store));
        Ok(store)
    }
}

impl Settings {
    fn open(&self, location: &Location) -> Result<Arc<dyn ObjectStore>, RemoteError> {
        let bucket = location.bucket.as_str();
        let unusable = |names: &str| {
            let why = format!("the settings of the environment for it ({names}) cannot be used");
            RemoteError::new(Why::Usage, location, why)
        };
        Ok(match location.scheme {
            Scheme::S3 => {
                let (builder, connector) = self.s3(location)?;
                let builder = builder.with_bucket_name(bucket).with_http_connector(connector);
                let store = builder.with_retry(retry()).build();
                Arc::new(store.map_err(|_| unusable("AWS_…"))?)
            }
            Scheme::Google => {
                let builder = google(bucket).with_http_connector(Connector { local: false });
                let store = builder.with_retry(retry()).build();
                Arc::new(store.map_err(|_| unusable("GOOGLE_…"))?)
            }
            Scheme::Azure => {
                let builder = azure(bucket).with_http_connector(Connector { local: false });
                let store = builder.with_retry(retry()).build();
                Arc::new(store.map_err(|_| unusable("AZURE_…"))?)
            }
            Scheme::Http => {
                // What is read is the address as it stands, and nothing beneath it.
                let address = location.address.as_deref().unwrap_or_default();
                let options = ClientOptions::new().with_allow_http(true);
                let builder = HttpBuilder::new().with_url(address).with_client_options(options);
                let builder = builder.with_http_connector(Connector { local: is_local(bucket) });
                let store = builder.with_retry(retry()).build();
                let odd = |_| RemoteError::new(Why::Usage, location, "the address cannot be used");
                Arc::new(store.map_err(odd)?)
            }
        })
    }

    fn s3(&self, location: &Location) -> Result<(AmazonS3Builder, Connector), RemoteError> {
        let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        let mut builder = AmazonS3Builder::from_env();
        if let Some(endpoint) = &self.endpoint {
            // The more specific of the two: nothing of the environment goes before it.
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        if self.allow_http {
            builder = builder.with_config(allow_http, "true");
        }
        let known = |key| builder.get_config_value(&key).filter(|text| !text.is_empty());
        let endpoint =
            known(AmazonS3ConfigKey::S3Endpoint).or_else(|| known(AmazonS3ConfigKey::Endpoint));
        let in_the_clear = endpoint.as_deref().is_some_and(|text| text.starts_with("http:"));
        if in_the_clear && known(allow_http).as_deref() != Some("true") {
            let why = "the endpoint of the store begins with http:, and whoever is between can read \
                       what is sent: set AWS_ALLOW_HTTP=true if that is meant";
            return Err(RemoteError::new(Why::Usage, location, why));
        }
        let region =
            known(AmazonS3ConfigKey::Region).or_else(|| known(AmazonS3ConfigKey::DefaultRegion));
        let names_none = [
            AmazonS3ConfigKey::AccessKeyId,
            AmazonS3ConfigKey::WebIdentityTokenFile,
            AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
            AmazonS3ConfigKey::ContainerCredentialsFullUri,
        ];
        let names_none = names_none.into_iter().all(|key| known(key).is_none());
        let profile = Profile::of_environment();
        if names_none
            && let (Some(id), Some(secret)) = (profile.access_key_id, profile.secret_access_key)
        {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = profile.session_token {
                builder = builder.with_token(token);
            }
        }
        if let Some(region) = self.region.clone().or(region).or(profile.region) {
            builder = builder.with_region(region);
        }
        let local = endpoint.is_some_and(|endpoint| is_local(&endpoint));
        Ok((builder, Connector { local }))
    }
}

/// A bucket of Google's, with the credentials that the environment names.
fn google(bucket: &str) -> GoogleCloudStorageBuilder {
    GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket)
}

/// The same of Azure.
fn azure(container: &str) -> MicrosoftAzureBuilder {
    MicrosoftAzureBuilder::from_env().with_container_name(container)
}

/// Whether an address is on this machine, as far as its name tells.
fn is_local(address: &str) -> bool {
    let uri: Option<http::Uri> = address.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::host);
    matches!(host, Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(if cfg!(test) { 1 } else { 100 }),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: Duration::from_secs(60),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use object_store::azure::AzureConfigKey;
    use object_store::gcp::GoogleConfigKey;

    use super::*;

    /// What docs/sources.md says of each store.
    const GOOGLE: [(&str, GoogleConfigKey); 3] = [
        ("GOOGLE_SERVICE_ACCOUNT", GoogleConfigKey::ServiceAccount),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", GoogleConfigKey::ServiceAccountKey),
        ("GOOGLE_APPLICATION_CREDENTIALS", GoogleConfigKey::ApplicationCredentials),
    ];
    const AZURE: [(&str, AzureConfigKey); 7] = [
        ("AZURE_STORAGE_ACCOUNT_NAME", AzureConfigKey::AccountName),
        ("AZURE_STORAGE_ACCOUNT_KEY", AzureConfigKey::AccessKey),
        ("AZURE_STORAGE_SAS_TOKEN", AzureConfigKey::SasKey),
        ("AZURE_STORAGE_CLIENT_ID", AzureConfigKey::ClientId),
        ("AZURE_STORAGE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
        ("AZURE_STORAGE_TENANT_ID", AzureConfigKey::AuthorityId),
        ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
    ];

    /// Runs the test of that name in a process of its own, where each of these variables has its
    /// own name for a value: an environment is one for all threads of a process.
    fn with_variables(test: &str, names: &[&str]) {
        let test = format!("remote::store::tests::{test}");
        let mut command = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars_os() {
            let is_of = |store: &str| name.to_string_lossy().starts_with(store);
            if is_of("GOOGLE_") || is_of("AZURE_") {
                command.env_remove(name);
            }
        }
        command.args(["--exact", test.as_str(), "--ignored"]);
        command.envs(names.iter().map(|name| (name, name)));
        let run = command.output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
    }

    /// All of them at once fit no store: that is told before anything is sent.
    fn assert_refused(address: &str, names: &str) {
        let location = Location::parse(address).unwrap().unwrap();
        let error = Settings::default().open(&location).unwrap_err();
        assert!(error.kind == Why::Usage && error.why.contains(names), "{error}");
    }

    #[test]
    fn the_credentials_of_google_are_those_of_the_environment() {
        with_variables("google_has_each_variable", &GOOGLE.map(|(name, _)| name));
    }

    #[test]
    #[ignore = "for the test before it, which sets the environment"]
    fn google_has_each_variable() {
        let builder = google("recs");
        for (name, key) in GOOGLE {
            assert_eq!(builder.get_config_value(&key).as_deref(), Some(name));
        }
        let bucket = builder.get_config_value(&GoogleConfigKey::Bucket);
        assert_eq!(bucket.as_deref(), Some("recs"));
        assert_refused("gs://recs/a.csv", "(GOOGLE_…)");
    }

    #[test]
    fn the_credentials_of_azure_are_those_of_the_environment() {
        with_variables("azure_has_each_variable", &AZURE.map(|(name, _)| name));
    }

    #[test]
    #[ignore = "for the test before it, which sets the environment"]
    fn azure_has_each_variable() {
        let builder = azure("recs");
        for (name, key) in AZURE {
            assert_eq!(builder.get_config_value(&key).as_deref(), Some(name));
        }
        let container = builder.get_config_value(&AzureConfigKey::ContainerName);
        assert_eq!(container.as_deref(), Some("recs"));
        assert_refused("az://recs/a.csv", "(AZURE_…)");
    }
}
