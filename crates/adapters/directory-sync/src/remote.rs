//! The registry as a source of parts.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;
use tonic::transport::Channel;
use truc_directory::{PART_LIMIT_BYTES, PartRef};
use truc_model::Digest;
use truc_wire::registry::registry_client::RegistryClient;
use truc_wire::registry::{Part, PartsRequest};

use crate::connect::sentence;
use crate::update::Source;

/// Parts asked for at once.
const BATCH: usize = 256;
/// Most bytes fetched for one version.
const FETCH_LIMIT: u64 = 1024 * 1024 * 1024;

/// The registry's door, with the time that it has for each answer.
pub(crate) struct Remote {
    pub(crate) client: RegistryClient<Channel>,
    pub(crate) answer: Duration,
}

#[async_trait]
impl Source for Remote {
    async fn fetch(&self, wanted: &[PartRef]) -> Result<HashMap<Digest, Bytes>, String> {
        within(wanted, FETCH_LIMIT)?;
        let mut got = HashMap::with_capacity(wanted.len());
        for batch in wanted.chunks(BATCH) {
            self.batch(batch, &mut got).await?;
        }
        Ok(got)
    }
}

impl Remote {
    async fn batch(&self, batch: &[PartRef], got: &mut HashMap<Digest, Bytes>) -> Result<(), String> {
        let digests = batch.iter().map(|p| Bytes::copy_from_slice(p.digest.as_bytes())).collect();
        let mut client = self.client.clone();
        let answer = timeout(self.answer, client.parts(PartsRequest { digests })).await;
        let mut stream = answer.map_err(|_| silent(self.answer))?.map_err(|e| sentence(&e))?.into_inner();
        for expected in batch {
            let message = timeout(self.answer, stream.message()).await.map_err(|_| silent(self.answer))?;
            let Part { content, .. } =
                message.map_err(|e| sentence(&e))?.ok_or("the registry sent fewer parts than asked for")?;
            got.insert(expected.digest, checked(expected, &content)?);
        }
        Ok(())
    }
}

/// Refuses to ask for more than a node takes for one version.
pub(crate) fn within(wanted: &[PartRef], limit: u64) -> Result<(), String> {
    let all = wanted.iter().map(|p| p.size).fold(0u64, u64::saturating_add);
    if all > limit || wanted.iter().any(|p| p.size > PART_LIMIT_BYTES) {
        return Err("the head lists more than a node takes".to_owned());
    }
    Ok(())
}

/// The part's content, if it is what was asked for, whatever the message says that it is.
pub(crate) fn checked(expected: &PartRef, content: &Bytes) -> Result<Bytes, String> {
    if content.len() as u64 != expected.size || Digest::of(content) != expected.digest {
        return Err(format!("part {} is not what the head lists", expected.name));
    }
    Ok(own(content))
}

/// What stays in memory must not keep the buffer alive that it came in.
pub(crate) fn own(content: &Bytes) -> Bytes {
    Bytes::copy_from_slice(content)
}

pub(crate) fn silent(limit: Duration) -> String {
    format!("the registry was silent for {} s", limit.as_secs())
}
