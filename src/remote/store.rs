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
}

impl Stores {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, open: HashMap::new() }
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
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                let builder = builder.with_http_connector(Connector { local: false });
                let store = builder.with_retry(retry()).build();
                Arc::new(store.map_err(|_| unusable("GOOGLE_…"))?)
            }
            Scheme::Azure => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
                let builder = builder.with_http_connector(Connector { local: false });
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
