//! The way to the bucket: credentials, region, TLS.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    AppName, ProvideCredentials as _, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use tokio::sync::Mutex;

use super::Settings;
use super::failure::words;
use super::stall::Watched;
use crate::store::Key;

const CONNECT: Duration = Duration::from_secs(10);

/// A bucket, and the client for it, made when it is first needed: that may ask the network for credentials. And again when
/// the file of the credentials has changed: keys are exchanged while daemons run.
#[derive(Debug)]
pub struct Link {
    pub settings: Settings,
    /// PEM.
    ca: Option<Vec<u8>>,
    client: Mutex<Option<(Option<Stamp>, Client)>>,
}

/// What another file, or another content of it, has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl Link {
    pub fn new(settings: Settings, ca: Option<Vec<u8>>) -> Self {
        Self { settings, ca, client: Mutex::default() }
    }

    /// The whole name of an object in the bucket.
    pub fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.settings.prefix)
    }

    /// A name in the bucket, for people.
    pub fn place(&self, name: &str) -> String {
        format!("s3://{}/{name}", self.settings.bucket)
    }

    /// # Errors
    /// There are no credentials, or no region.
    pub async fn client(&self) -> Result<Client> {
        let mut made = self.client.lock().await;
        let stamp = self.stamp().await;
        if let Some((of, client)) = &*made
            && (stamp.is_none() || *of == stamp)
        {
            return Ok(client.clone());
        }
        match (self.connect().await, &*made) {
            (Ok(client), _) => {
                *made = Some((stamp, client.clone()));
                Ok(client)
            }
            // Somebody may be writing it just now; what it had before serves, or is refused by the store.
            (Err(error), Some((_, client))) => {
                tracing::info!("the credentials of before are used: {error:#}");
                Ok(client.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Of the file of the credentials; nothing where there is none, or none that is named.
    async fn stamp(&self) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = tokio::fs::metadata(self.settings.credentials_file.as_ref()?).await.ok()?;
        Some(Stamp { inode: meta.ino(), size: meta.len(), modified: meta.modified().ok() })
    }

    async fn connect(&self) -> Result<Client> {
        let http = SharedHttpClient::new(Watched::new(self.ca.as_deref(), self.settings.stall_timeout)?);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.clone())
            .app_name(AppName::new("pgtend").context("a name for the user agent")?);
        if self.settings.credentials_file.is_some() || self.settings.profile.is_some() {
            loader = loader.credentials_provider(self.profile(http));
        }
        if let Some(region) = &self.settings.region {
            loader = loader.region(Region::new(region.clone()));
        } else if self.settings.endpoint.is_some() {
            // A store that is not AWS mostly does not care; and on a host that is not AWS's nobody answers for it.
            loader = loader.region(
                RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                    .or_else(ProfileFileRegionProvider::new())
                    .or_else(Region::new("us-east-1")),
            );
        }
        let shared = loader.load().await;
        if shared.region().is_none() {
            return Err(anyhow!(
                "no region is known for s3://{}; write `region` in the store's table, or set AWS_REGION",
                self.settings.bucket
            ));
        }
        self.must_have_credentials(&shared).await?;
        let mut config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(self.settings.path_style)
            // Trailers with checksums are refused by many stores; parts have a digest of our own.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // Trying again, and what stalls, is ours: see `patience` and `stall`.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build());
        if let Some(endpoint) = &self.settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(Client::from_conf(config.build()))
    }

    /// The profile that was named, and not what the environment may say besides.
    fn profile(&self, http: SharedHttpClient) -> ProfileFileCredentialsProvider {
        // A profile may say to ask somebody else.
        let region = self.settings.region.clone().map(Region::new);
        let config = ProviderConfig::without_region().with_region(region).with_http_client(http);
        let mut profile = ProfileFileCredentialsProvider::builder().configure(&config);
        if let Some(name) = &self.settings.profile {
            profile = profile.profile_name(name);
        }
        if let Some(path) = &self.settings.credentials_file {
            let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, path);
            profile = profile.profile_files(files.build());
        }
        profile.build()
    }

    async fn must_have_credentials(&self, shared: &aws_config::SdkConfig) -> Result<()> {
        let provider = shared.credentials_provider().context("the AWS SDK has no source of credentials")?;
        provider.provide_credentials().await.map(drop).map_err(|error| {
            let Settings { bucket, credentials_file, profile, .. } = &self.settings;
            let profile = profile.as_deref().unwrap_or("default");
            let looked = match credentials_file {
                Some(path) => format!("looked for the profile {profile} in {}", path.display()),
                None if self.settings.profile.is_some() => format!("looked for the profile {profile} in ~/.aws"),
                None => "looked for AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, \
                         AWS_WEB_IDENTITY_TOKEN_FILE, those of the container, those of the instance"
                    .into(),
            };
            anyhow!("there are no credentials for s3://{bucket}; {looked}; the AWS SDK says: {}", words(&error))
        })
    }
}
