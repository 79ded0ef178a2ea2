//! From the state to the signed directory that nodes fetch. A publication costs what changed, not what there is.

mod documents;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use truc_directory::{AuditLogHead, Directory, HEAD_LIFETIME, Head, PartRef, SignedHead, V1};
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer};
use truc_model::{Clock, Digest};

use crate::ceremony::public_key;
use crate::error::PublishError;
use crate::governance::Governance;
use crate::ports::{PartStore, PartStoreError};
use crate::state::State;
use documents::Documents;

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
    documents: Documents,
    /// What was published last, from which the next one is verified as a node would: by what changed.
    directory: Option<Arc<Directory>>,
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
        Ok(Self { signer, key, parts, clock, last, documents: Documents::default(), directory: None })
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
        let mut head = match unchanged {
            Some(last) => {
                self.documents.follow(governance.state()?);
                last
            }
            None => self.next_version(governance).await?,
        };
        let now = self.clock.now();
        head.issued = self.last.as_ref().map_or(now, |l| l.issued.max(now));
        head.expires = head.issued.plus(HEAD_LIFETIME);
        let signed = self.sign(&head).await?;
        let published = self.check(governance.state()?, &head, &signed).await?;
        for document in self.documents.fresh().values() {
            self.parts.put(document.clone()).await?;
        }
        self.parts.set_head(published.signed_head.clone()).await?;
        self.documents.kept();
        self.directory = Some(Arc::clone(&published.directory));
        self.last = Some(head);
        Ok(published)
    }

    async fn next_version(&mut self, governance: &mut Governance) -> Result<Head, PublishError> {
        let audit = match governance.audit() {
            Some(audit) => audit,
            None => {
                let receipt = governance.resume().await?;
                AuditLogHead { sequence: receipt.sequence, chain: receipt.chain }
            }
        };
        let state = governance.state()?;
        let parts = self.documents.follow(state);
        let now = self.clock.now();
        Ok(Head {
            v: V1,
            instance: state.instance().to_owned(),
            epoch: state.root().epoch,
            version: governance.decisions(),
            previous: self.last.as_ref().map(Head::content_digest),
            parts,
            audit_log: audit,
            issued: now,
            expires: now.plus(HEAD_LIFETIME),
        })
    }

    async fn sign(&self, head: &Head) -> Result<SignedHead, PublishError> {
        let key = public_key(self.signer.as_ref(), &self.key)?;
        let bytes = head.to_bytes();
        let signature = self.signer.sign(&self.key, SignatureAlgorithm::Ed25519, bytes.clone()).await?;
        Ok(SignedHead { v: V1, head: bytes, key: key.id(), signature: Bytes::from(signature) })
    }

    /// Nothing is published that a node would refuse.
    async fn check(
        &self,
        state: &State,
        head: &Head,
        signed: &SignedHead,
    ) -> Result<Published, PublishError> {
        let older = self.older_forms(head).await?;
        let fresh = self.documents.fresh();
        let find = |digest: &Digest| fresh.get(digest).or_else(|| older.get(digest)).cloned();
        let directory = match &self.directory {
            Some(before) => before.update(&state.roots, signed, find)?.directory,
            None => Directory::assemble(&state.anchor()?, &state.roots, signed, find)?,
        };
        Ok(Published { signed_head: signed.to_bytes(), directory: Arc::new(directory) })
    }

    /// Parts that a head signed again lists and this version would write otherwise: a version keeps its form.
    async fn older_forms(&self, head: &Head) -> Result<HashMap<Digest, Bytes>, PublishError> {
        let here = |listed: &&PartRef| {
            self.documents.fresh().contains_key(&listed.digest)
                || self.directory.as_ref().is_some_and(|d| d.holds(listed))
        };
        let mut found = HashMap::new();
        for listed in head.parts.iter().filter(|listed| !here(listed)) {
            if let Some(bytes) = self.parts.get(&listed.digest).await? {
                found.insert(listed.digest, bytes);
            }
        }
        Ok(found)
    }
}
