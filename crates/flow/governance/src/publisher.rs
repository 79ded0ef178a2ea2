//! From the state to the signed directory that nodes fetch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use truc_directory::{Directory, HEAD_LIFETIME, Head, PartRef, SignedHead, V1, part};
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer};
use truc_model::{Clock, Digest};

use crate::ceremony::public_key;
use crate::error::PublishError;
use crate::governance::Governance;
use crate::ports::{PartStore, PartStoreError};
use crate::state::State;

/// How often a head is signed again (protocol P6.2).
pub const RESIGN_EVERY: Duration = Duration::from_secs(60);

/// A directory as it was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The signed head's envelope.
    pub signed_head: Bytes,
    /// The directory, verified the way nodes verify it.
    pub directory: Arc<Directory>,
}

/// Makes parts and heads and keeps them.
pub struct Publisher {
    signer: Arc<dyn Signer>,
    key: KeyLabel,
    parts: Arc<dyn PartStore>,
    clock: Arc<dyn Clock>,
    last: Option<Head>,
}

impl Publisher {
    /// Goes on from the last head in `parts`. `key` is the publishing key's label.
    ///
    /// # Errors
    /// [`PublishError::Parts`] when the last head cannot be read.
    pub async fn open(
        signer: Arc<dyn Signer>,
        key: KeyLabel,
        parts: Arc<dyn PartStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PublishError> {
        let last = match parts.head().await? {
            None => None,
            Some(bytes) => {
                let head = SignedHead::parse(&bytes).and_then(|signed| signed.unverified());
                Some(head.map_err(|e| PartStoreError::Failed(format!("the last head: {e}")))?)
            }
        };
        Ok(Self { signer, key, parts, clock, last })
    }

    /// Publishes what was decided; when nothing was decided since the last time, signs the same version again. Call it
    /// after each decision and every [`RESIGN_EVERY`].
    ///
    /// # Errors
    /// [`PublishError`]; the head published before still counts.
    pub async fn publish(&mut self, governance: &mut Governance) -> Result<Published, PublishError> {
        let epoch = governance.state()?.root().epoch;
        let behind = self.last.as_ref().filter(|l| l.epoch == epoch && l.version > governance.decisions());
        if let Some(last) = behind {
            return Err(PublishError::JournalBehind {
                published: last.version,
                journal: governance.decisions(),
            });
        }
        let unchanged = self.last.clone().filter(|l| (l.epoch, l.version) == (epoch, governance.decisions()));
        let (mut head, bytes) = match unchanged {
            Some(last) => (last, self.documents(governance.state()?)),
            None => self.next_version(governance).await?,
        };
        let now = self.clock.now();
        head.issued = self.last.as_ref().map_or(now, |l| l.issued.max(now));
        head.expires = head.issued.plus(HEAD_LIFETIME);
        let signed = self.sign(&head).await?;
        let published = check(governance.state()?, &signed, &bytes)?;
        for (_, document) in bytes {
            self.parts.put(document).await?;
        }
        self.parts.set_head(published.signed_head.clone()).await?;
        self.last = Some(head);
        Ok(published)
    }

    async fn next_version(
        &self,
        governance: &mut Governance,
    ) -> Result<(Head, Vec<(String, Bytes)>), PublishError> {
        let audit = match governance.audit() {
            Some(audit) => audit,
            None => {
                let receipt = governance.resume().await?;
                truc_directory::AuditLogHead { sequence: receipt.sequence, chain: receipt.chain }
            }
        };
        let state = governance.state()?;
        let documents = self.documents(state);
        let mut parts: Vec<PartRef> = documents
            .iter()
            .map(|(name, b)| PartRef { name: name.clone(), digest: Digest::of(b), size: b.len() as u64 })
            .collect();
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        let now = self.clock.now();
        let head = Head {
            v: V1,
            instance: state.instance().to_owned(),
            epoch: state.root().epoch,
            version: governance.decisions(),
            previous: self.last.as_ref().map(Head::content_digest),
            parts,
            audit_log: audit,
            issued: now,
            expires: now.plus(HEAD_LIFETIME),
        };
        Ok((head, documents))
    }

    /// Every document of the directory with its name.
    fn documents(&self, state: &State) -> Vec<(String, Bytes)> {
        let mut documents = vec![
            (part::TRUST.to_owned(), state.trust_part.clone()),
            (part::GROUPS.to_owned(), state.groups().to_bytes()),
            (part::ALIASES.to_owned(), state.aliases().to_bytes()),
        ];
        documents.extend((1u64..).zip(&state.roots).map(|(n, bytes)| (part::root(n), bytes.clone())));
        documents.extend(state.members.values().map(|m| (part::member(&m.id), m.to_bytes())));
        documents
    }

    async fn sign(&self, head: &Head) -> Result<SignedHead, PublishError> {
        let key = public_key(self.signer.as_ref(), &self.key)?;
        let bytes = head.to_bytes();
        let signature = self.signer.sign(&self.key, SignatureAlgorithm::Ed25519, bytes.clone()).await?;
        Ok(SignedHead { v: V1, head: bytes, key: key.id(), signature: Bytes::from(signature) })
    }
}

/// Nothing is published that a node would refuse.
fn check(
    state: &State,
    signed: &SignedHead,
    documents: &[(String, Bytes)],
) -> Result<Published, PublishError> {
    let store: HashMap<Digest, &Bytes> = documents.iter().map(|(_, b)| (Digest::of(b), b)).collect();
    let directory =
        Directory::assemble(&state.anchor()?, &state.roots, signed, |d| store.get(d).copied().cloned())?;
    Ok(Published { signed_head: signed.to_bytes(), directory: Arc::new(directory) })
}
