//! What the index may hold of people: hashes under a key of the member (protocol P5.2).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::hmac;
use truc_message::Signed;
use truc_model::{Digest, MemberId};
use truc_policy::{NoSubject, SubjectPlace};

use crate::record::KeyedHash;

/// A member's key for hashing officers, dossiers and subjects into the index (protocol P5.2).
#[derive(Clone)]
pub struct IndexKey {
    /// Which of the member's index keys.
    pub key_id: String,
    /// The HMAC key.
    pub key: Arc<hmac::Key>,
}

impl IndexKey {
    /// Takes 32 secret bytes.
    pub fn new(key_id: impl Into<String>, secret: &[u8; 32]) -> Self {
        Self { key_id: key_id.into(), key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)) }
    }

    /// A text about a person as the index may hold it.
    pub fn hash(&self, text: &str) -> KeyedHash {
        let tag = hmac::sign(&self.key, text.as_bytes());
        KeyedHash {
            key_id: self.key_id.clone(),
            hash: Digest::from_slice(tag.as_ref()).unwrap_or(Digest([0; 32])),
        }
    }
}

/// How often requests to services that say where their subject is named one, since the node started; for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubjectCounts {
    /// One was found and hashed.
    pub found: u64,
    /// None was, in the order of [`NoSubject::ALL`].
    pub none: [u64; NoSubject::ALL.len()],
}

/// The index keys of the hosted members: of each the current one first, then older generations.
pub(super) struct IndexKeys {
    keys: HashMap<MemberId, Vec<IndexKey>>,
    found: AtomicU64,
    none: [AtomicU64; NoSubject::ALL.len()],
}

impl IndexKeys {
    pub(super) fn new(keys: HashMap<MemberId, Vec<IndexKey>>) -> Self {
        Self { keys, found: AtomicU64::new(0), none: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// As a record holds it: under the current key.
    pub(super) fn hash(&self, member: &MemberId, text: Option<&str>) -> Option<KeyedHash> {
        Some(self.keys.get(member)?.first()?.hash(text?))
    }

    /// As records of any age may hold it.
    pub(super) fn hashes(&self, member: &MemberId, text: &str) -> Vec<KeyedHash> {
        self.keys.get(member).into_iter().flatten().map(|key| key.hash(text)).collect()
    }

    /// Whom a request is about. What was found leaves this only hashed, and is told to no log.
    pub(super) fn subject(
        &self,
        member: &MemberId,
        request: &Signed,
        place: &SubjectPlace,
    ) -> Option<KeyedHash> {
        let body = request.sealed.body().bytes();
        match place.find(request.header(), body.map(AsRef::as_ref)) {
            Ok(text) => {
                self.found.fetch_add(1, Ordering::Relaxed);
                self.hash(member, Some(&text))
            }
            Err(why) => {
                let counts = NoSubject::ALL.iter().zip(&self.none).find(|(reason, _)| **reason == why);
                if let Some((_, count)) = counts {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                None
            }
        }
    }

    pub(super) fn counts(&self) -> SubjectCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SubjectCounts { found: of(&self.found), none: self.none.each_ref().map(of) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_under_every_key_it_may_have() {
        let member: MemberId = "VN/GOV/G01".parse().unwrap();
        let keys = vec![IndexKey::new("index-2", &[2; 32]), IndexKey::new("index-1", &[1; 32])];
        let index = IndexKeys::new(HashMap::from([(member.clone(), keys)]));
        let hashes = index.hashes(&member, "001");
        assert_eq!(
            hashes.iter().map(|hash| hash.key_id.as_str()).collect::<Vec<_>>(),
            ["index-2", "index-1"]
        );
        assert_ne!(hashes[0].hash, hashes[1].hash);
        assert_eq!(index.hash(&member, Some("001")).as_ref(), hashes.first(), "new records: the current key");
        let stranger: MemberId = "VN/GOV/H26".parse().unwrap();
        assert!(index.hashes(&stranger, "001").is_empty() && index.hash(&stranger, Some("001")).is_none());
        assert_eq!(index.hash(&member, None), None);
    }
}
