//! The file that travels between the registry and the machines where root keys are kept.

use serde::{Deserialize, Serialize};
use truc_directory::{Endorsed, Endorsement, PublicKey, Root, TrustServices, V1};
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer};

use super::public_key;
use crate::{Command, GovernanceError};

/// What the root keys are asked to sign, with the signatures so far. Documents are carried as the exact bytes to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Draft {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// The root in force, whose threshold must agree; none for an instance that is yet to be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Root>,
    /// A new root version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Endorsed>,
    /// A new trust-service list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Endorsed>,
}

/// Which signatures one document still needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// `the new root` or `the list of trust services`.
    pub document: &'static str,
    /// Whose threshold it is.
    pub by: &'static str,
    /// How many must sign.
    pub threshold: u32,
    /// Who has signed.
    pub signed: Vec<PublicKey>,
    /// Who has not.
    pub unsigned: Vec<PublicKey>,
}

impl Needed {
    /// How many signatures are missing.
    pub fn missing(&self) -> usize {
        usize::try_from(self.threshold).unwrap_or(usize::MAX).saturating_sub(self.signed.len())
    }
}

fn invalid(why: impl ToString) -> GovernanceError {
    GovernanceError::Endorsement(why.to_string())
}

impl Draft {
    /// Reads the file and checks that what it asks for can be.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`].
    pub fn parse(bytes: &[u8]) -> Result<Self, GovernanceError> {
        let draft: Self = serde_json::from_slice(bytes)
            .map_err(|e| invalid(format!("this is no file of `truc registry root draft`: {e}")))?;
        draft.check()?;
        Ok(draft)
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`], should it not be writable as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, GovernanceError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(invalid)?;
        text.push(b'\n');
        Ok(text)
    }

    fn check(&self) -> Result<(), GovernanceError> {
        let (root, trust) = (self.new_root()?, self.new_trust()?);
        let foreign = |what: &str, found: &str| {
            invalid(format!("{what} is of instance {found}, the file of {}", self.instance))
        };
        if let Some(current) = self.current.as_ref().filter(|c| c.instance != self.instance) {
            return Err(foreign("the root in force", &current.instance));
        }
        if let Some(trust) = trust.as_ref().filter(|t| t.instance != self.instance) {
            return Err(foreign("the list of trust services", &trust.instance));
        }
        let Some(root) = root else {
            return if trust.is_some() && self.current.is_some() {
                Ok(())
            } else {
                Err(invalid("the file asks for no signature"))
            };
        };
        if root.instance != self.instance {
            return Err(foreign("the new root", &root.instance));
        }
        let (due, epoch) = self.current.as_ref().map_or((1, 1), |c| (c.version.saturating_add(1), c.epoch));
        if root.version != due || root.epoch < epoch {
            return Err(invalid(format!(
                "root version {due} of epoch {epoch} or later is due, version {} of epoch {} came; draft it again",
                root.version, root.epoch
            )));
        }
        if self.current.is_none() && trust.is_none() {
            return Err(invalid("a first root comes with a first list of trust services"));
        }
        Ok(())
    }

    /// The new root, if there is one.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`].
    pub fn new_root(&self) -> Result<Option<Root>, GovernanceError> {
        self.root.as_ref().map(|e| Root::parse(&e.payload)).transpose().map_err(invalid)
    }

    /// The new trust-service list, if there is one.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`].
    pub fn new_trust(&self) -> Result<Option<TrustServices>, GovernanceError> {
        self.trust.as_ref().map(|e| TrustServices::parse(&e.payload)).transpose().map_err(invalid)
    }

    /// Every threshold that must be met, with who signed. Only signatures that verify count.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`].
    pub fn needed(&self) -> Result<Vec<Needed>, GovernanceError> {
        const ROOT: &str = "the new root";
        const CURRENT: &str = "the root keys in force";
        const NEW: &str = "the new root keys";
        let mut all = Vec::new();
        let next = self.new_root()?;
        if let (Some(envelope), Some(next)) = (&self.root, &next) {
            if let Some(current) = &self.current {
                all.push(needed(ROOT, CURRENT, envelope, current));
            }
            let same = self
                .current
                .as_ref()
                .is_some_and(|c| (c.threshold, &c.root_keys) == (next.threshold, &next.root_keys));
            if !same {
                all.push(needed(ROOT, NEW, envelope, next));
            }
        }
        if let Some(envelope) = &self.trust {
            let (by, root) = match (&next, &self.current) {
                (Some(next), _) => (NEW, next),
                (None, Some(current)) => (CURRENT, current),
                (None, None) => return Err(invalid("the file names no root keys")),
            };
            all.push(needed("the list of trust services", by, envelope, root));
        }
        Ok(all)
    }

    /// Adds the signatures of one root key to every document that asks for them.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`] when the key is none of those that are asked, or does not sign.
    pub async fn sign(
        &mut self,
        signer: &dyn Signer,
        label: &KeyLabel,
    ) -> Result<PublicKey, GovernanceError> {
        let key = public_key(signer, label).map_err(invalid)?;
        let asked: Vec<&'static str> = self
            .needed()?
            .into_iter()
            .filter(|n| n.signed.contains(&key) || n.unsigned.contains(&key))
            .map(|n| n.document)
            .collect();
        if asked.is_empty() {
            return Err(invalid(format!(
                "the root key {} is not among those that are asked to sign this file",
                hexadecimal(&key)
            )));
        }
        let root = asked.contains(&"the new root");
        let trust = asked.contains(&"the list of trust services");
        let documents = [self.root.as_mut().filter(|_| root), self.trust.as_mut().filter(|_| trust)];
        for envelope in documents.into_iter().flatten() {
            let signature = signer.sign(label, SignatureAlgorithm::Ed25519, envelope.payload.clone()).await;
            let signature = signature.map_err(invalid)?.into();
            envelope.signatures.retain(|s| s.key != key.id());
            envelope.signatures.push(Endorsement { key: key.id(), signature });
        }
        Ok(key)
    }

    /// Takes over the signatures of a copy that somebody else signed.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`] when it is not a copy of the same draft.
    pub fn merge(&mut self, copy: &Self) -> Result<(), GovernanceError> {
        let bare = |draft: &Self| {
            let payload = |e: &Option<Endorsed>| e.as_ref().map(|e| e.payload.clone());
            (draft.instance.clone(), draft.current.clone(), payload(&draft.root), payload(&draft.trust))
        };
        if bare(self) != bare(copy) {
            return Err(invalid("the files are not copies of one draft"));
        }
        for (ours, theirs) in [(&mut self.root, &copy.root), (&mut self.trust, &copy.trust)] {
            let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
            let new: Vec<_> =
                theirs.signatures.iter().filter(|s| !ours.signatures.contains(s)).cloned().collect();
            ours.signatures.extend(new);
        }
        Ok(())
    }

    /// What the registry is asked once every threshold is met.
    ///
    /// # Errors
    /// [`GovernanceError::Endorsement`] says how many signatures are missing, and whose.
    pub fn command(mut self) -> Result<Command, GovernanceError> {
        self.check()?;
        let missing: Vec<String> = self.needed()?.iter().filter(|n| n.missing() > 0).map(shortfall).collect();
        if !missing.is_empty() {
            return Err(invalid(missing.join("; ")));
        }
        self.keep_what_counts()?;
        match (self.current, self.root, self.trust) {
            (None, Some(root), Some(trust)) => Ok(Command::Initialise { root, trust }),
            (Some(_), Some(root), trust) => Ok(Command::InstallRoot { root, trust }),
            (Some(_), None, Some(trust)) => Ok(Command::InstallTrustServices { trust }),
            _ => Err(invalid("the file asks for no signature")),
        }
    }

    /// Drops signatures that nobody asked for or that do not verify: what is published stays for ever.
    fn keep_what_counts(&mut self) -> Result<(), GovernanceError> {
        let needed = self.needed()?;
        let counting = |document: &str| -> Vec<truc_model::Digest> {
            let mut all: Vec<_> = needed
                .iter()
                .filter(|n| n.document == document)
                .flat_map(|n| &n.signed)
                .map(PublicKey::id)
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let (root, trust) = (counting("the new root"), counting("the list of trust services"));
        for (envelope, keys) in [(&mut self.root, root), (&mut self.trust, trust)] {
            let Some(envelope) = envelope else { continue };
            let payload = envelope.payload.clone();
            let all: Vec<PublicKey> = needed.iter().flat_map(|n| n.signed.clone()).collect();
            let mut kept: Vec<Endorsement> = Vec::new();
            for id in keys {
                let key = all.iter().find(|k| k.id() == id);
                let verified =
                    |s: &&Endorsement| s.key == id && key.is_some_and(|k| k.verify(&payload, &s.signature));
                kept.extend(envelope.signatures.iter().find(verified).cloned());
            }
            envelope.signatures = kept;
        }
        Ok(())
    }
}

fn needed(document: &'static str, by: &'static str, envelope: &Endorsed, root: &Root) -> Needed {
    let signed_by = |key: &PublicKey| envelope.meets(1, std::slice::from_ref(key));
    let (signed, unsigned) = root.root_keys.iter().copied().partition(signed_by);
    Needed { document, by, threshold: root.threshold, signed, unsigned }
}

/// How many signatures a document lacks, and whose they may be.
pub fn shortfall(needed: &Needed) -> String {
    let keys: Vec<String> = needed.unsigned.iter().map(hexadecimal).collect();
    format!(
        "{} needs {} of {}, {} signed: {} missing, of {}",
        needed.document,
        needed.threshold,
        needed.by,
        needed.signed.len(),
        needed.missing(),
        keys.join(" or ")
    )
}

/// A public key as people read and type it.
pub(crate) fn hexadecimal(key: &PublicKey) -> String {
    key.0.iter().map(|b| format!("{b:02x}")).collect()
}
