//! An archive in a bucket of an S3-compatible object store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{BackoffConfig, Error, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig};
use truc_evidence::{ArchiveError, ArchiveStore, ArchivedObject, check_name};
use zeroize::Zeroizing;

use crate::OpenError;
use crate::transport::Transport;

/// A request that fails is tried so often again, within so long.
const RETRIES: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Whatever the requests in it do, a call ends within this.
const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// A list is not longer.
const MOST_OBJECTS: usize = 1_000_000;

/// Where the bucket is and how this node speaks for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// `https://host[:port]`; `http://` only to this machine or over a network that is closed.
    pub endpoint: String,
    /// The bucket; it must be there.
    pub bucket: String,
    /// Put before every name, without `/` at either end; empty for none. Each node has its own.
    pub prefix: String,
    /// The region that signatures name; most stores other than AWS take any.
    pub region: String,
    /// File with the access key's id, one line.
    pub access_key_file: PathBuf,
    /// File with the secret key, one line, mode 0600.
    pub secret_key_file: PathBuf,
    /// PEM of the CAs that the store's certificate is trusted by.
    pub ca_file: Option<PathBuf>,
}

/// [`ArchiveStore`] over S3's API: path-style addresses, signature version 4, conditional puts.
#[derive(Debug)]
pub struct S3Archive {
    store: AmazonS3,
    prefix: String,
}

impl S3Archive {
    /// Reads the files that the settings name; connects to nothing yet. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(settings: &S3Settings) -> Result<Self, OpenError> {
        let plain = settings.endpoint.starts_with("http://");
        if !plain && !settings.endpoint.starts_with("https://") {
            return Err(OpenError::Settings(format!(
                "endpoint {:?} does not begin with https://",
                settings.endpoint
            )));
        }
        if !plain && settings.ca_file.is_none() {
            return Err(OpenError::Settings(
                "an https endpoint needs ca-file: there are no built-in CAs".into(),
            ));
        }
        if !settings.prefix.is_empty() {
            check_name(&settings.prefix)?;
        }
        let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 3.0 };
        let store = AmazonS3Builder::new()
            .with_http_connector(Transport::new(settings.ca_file.as_deref())?)
            .with_endpoint(&settings.endpoint)
            .with_allow_http(plain)
            .with_region(&settings.region)
            .with_bucket_name(&settings.bucket)
            .with_access_key_id(read_line(&settings.access_key_file)?.as_str())
            .with_secret_access_key(read_line(&settings.secret_key_file)?.as_str())
            .with_disable_tagging(true)
            .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_WITHIN });
        let store = store.build().map_err(|e| OpenError::Settings(e.to_string()))?;
        Ok(Self { store, prefix: settings.prefix.clone() })
    }

    fn key(&self, name: &str) -> Key {
        if self.prefix.is_empty() { Key::from(name) } else { Key::from(format!("{}/{name}", self.prefix)) }
    }

    async fn in_time<T>(
        &self,
        name: &str,
        work: impl Future<Output = object_store::Result<T>> + Send,
    ) -> Result<T, ArchiveError> {
        let done = tokio::time::timeout(DEADLINE, work).await;
        let late = || ArchiveError::Away(format!("{name}: not done within {} s", DEADLINE.as_secs()));
        done.map_err(|_| late())?.map_err(|e| failure(name, &e))
    }
}

/// A file with one line; its line end does not count.
fn read_line(path: &Path) -> Result<Zeroizing<String>, OpenError> {
    let bad = |problem: String| OpenError::File { path: path.to_owned(), problem };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?);
    let line = text.trim();
    if line.is_empty() || line.contains('\n') {
        return Err(bad("must hold one line".into()));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn failure(name: &str, error: &Error) -> ArchiveError {
    let text = format!("{name}: {}", with_causes(error));
    // The bucket itself is not there: nothing says that the object is lost.
    if text.contains("NoSuchBucket") {
        return ArchiveError::Refused(text);
    }
    match error {
        Error::NotFound { .. } => ArchiveError::Missing(name.to_owned()),
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::AlreadyExists { .. }
        | Error::Precondition { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. } => ArchiveError::Refused(text),
        _ => ArchiveError::Away(text),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[async_trait]
impl ArchiveStore for S3Archive {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        check_name(name)?;
        let key = self.key(name);
        let put = self.store.put_opts(&key, bytes.clone().into(), PutMode::Create.into());
        let outcome = tokio::time::timeout(DEADLINE, put).await;
        match outcome {
            Ok(Ok(_)) => Ok(()),
            // Also when the answer to an earlier try of this call was lost.
            Ok(Err(Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                if self.get(name).await? == bytes {
                    return Ok(());
                }
                Err(ArchiveError::Refused(format!("{name} is there already with other bytes")))
            }
            Ok(Err(error)) => Err(failure(name, &error)),
            Err(_) => Err(ArchiveError::Away(format!("{name}: not done within {} s", DEADLINE.as_secs()))),
        }
    }

    async fn get(&self, name: &str) -> Result<Bytes, ArchiveError> {
        check_name(name)?;
        let key = self.key(name);
        let read = self.in_time(name, async { self.store.get(&key).await?.bytes().await }).await;
        if let Err(ArchiveError::Missing(_)) = &read {
            // Some servers say so too where the bucket itself is not there, which says nothing of the object.
            self.in_time(name, async { self.store.list(Some(&key)).try_next().await }).await?;
        }
        read
    }

    async fn delete(&self, name: &str) -> Result<(), ArchiveError> {
        check_name(name)?;
        let key = self.key(name);
        match self.in_time(name, self.store.delete(&key)).await {
            Err(ArchiveError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ArchivedObject>, ArchiveError> {
        if !prefix.is_empty() {
            check_name(prefix)?;
        }
        let below = self.key(prefix);
        let whole = (!below.as_ref().is_empty()).then_some(&below);
        let mut found = Vec::new();
        let reading = async {
            let mut objects = self.store.list(whole);
            while let Some(object) = objects.try_next().await? {
                let name = object.location.as_ref();
                let name = match self.prefix.as_str() {
                    "" => Some(name),
                    own => name.strip_prefix(own).and_then(|rest| rest.strip_prefix('/')),
                };
                found.extend(name.map(|n| ArchivedObject { name: n.to_owned(), length: object.size }));
                if found.len() > MOST_OBJECTS {
                    break;
                }
            }
            Ok(())
        };
        self.in_time(prefix, reading).await?;
        if found.len() > MOST_OBJECTS {
            return Err(ArchiveError::Refused(format!("more than {MOST_OBJECTS} objects below {prefix:?}")));
        }
        found.sort();
        Ok(found)
    }
}
