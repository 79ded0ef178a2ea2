//! A real signed directory with keys of its own, published as often as a test likes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::{
    Aliases, Anchor, ApprovedAuthority, AuditLogHead, Directory, Endorsed, Endorsement, Groups,
    HEAD_LIFETIME, Head, MemberEntry, PartRef, PublicKey, RegistryAddress, Root, SignedHead, TrustServices,
    V1, part,
};
use truc_exchange::ports::CurrentDirectory;
use truc_model::{Digest, Fingerprint, MemberId, Timestamp};

const INSTANCE: &str = "VN";

/// The directory in force at one node.
#[derive(Default)]
pub struct InForce(ArcSwapOption<Directory>);

impl InForce {
    /// Puts a directory in force.
    pub fn set(&self, directory: Arc<Directory>) {
        self.0.store(Some(directory));
    }
}

impl CurrentDirectory for InForce {
    fn current(&self) -> Option<Arc<Directory>> {
        self.0.load_full()
    }
}

/// An Ed25519 key from a seed.
pub(crate) fn ed25519(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub(crate) fn public(key: &Ed25519KeyPair) -> PublicKey {
    PublicKey::from_slice(key.public_key().as_ref()).unwrap()
}

fn endorse(payload: Bytes, key: &Ed25519KeyPair) -> Bytes {
    let signature = Bytes::copy_from_slice(key.sign(&payload).as_ref());
    Endorsed { v: V1, payload, signatures: vec![Endorsement { key: public(key).id(), signature }] }.to_bytes()
}

/// What the registry has decided so far.
struct Decided {
    version: u64,
    previous: Option<Digest>,
    members: BTreeMap<MemberId, MemberEntry>,
    authorities: Vec<ApprovedAuthority>,
}

/// A registry in miniature: one root key, one publishing key.
pub struct Registry {
    root_key: Ed25519KeyPair,
    publishing: Ed25519KeyPair,
    decided: Mutex<Decided>,
}

impl Registry {
    /// A registry that approves these authorities and lists these members.
    pub fn new(authorities: Vec<ApprovedAuthority>, members: Vec<MemberEntry>) -> Self {
        let members = members.into_iter().map(|member| (member.id.clone(), member)).collect();
        let decided = Mutex::new(Decided { version: 0, previous: None, members, authorities });
        Self { root_key: ed25519(1), publishing: ed25519(2), decided }
    }

    /// The anchor by which nodes trust it.
    pub fn anchor(&self) -> Anchor {
        Anchor {
            v: V1,
            instance: INSTANCE.into(),
            epoch: None,
            threshold: 1,
            root_keys: vec![public(&self.root_key)],
            registry: vec![RegistryAddress {
                address: "127.0.0.1:4001".into(),
                tls_certificate: Fingerprint([9; 32]),
            }],
        }
    }

    /// Changes the members; they count from the next [`Registry::publish`] on.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<MemberId, MemberEntry>)) {
        change(&mut self.decided.lock().unwrap_or_else(PoisonError::into_inner).members);
    }

    /// The next version, issued `now`, as a node assembles it from its anchor.
    pub fn publish(&self, now: Timestamp) -> Arc<Directory> {
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        decided.version += 1;
        let chain = vec![self.root()];
        let parts = self.parts(&decided);
        let roots = chain.iter().zip(1..).map(|(bytes, n)| (part::root(n), bytes.clone()));
        let mut listed: Vec<PartRef> = parts
            .iter()
            .cloned()
            .chain(roots)
            .map(|(name, b)| PartRef { name, digest: Digest::of(&b), size: b.len() as u64 })
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let head = Head {
            v: V1,
            instance: INSTANCE.into(),
            epoch: 1,
            version: decided.version,
            previous: decided.previous,
            parts: listed,
            audit_log: AuditLogHead { sequence: decided.version, chain: Digest([3; 32]) },
            issued: now,
            expires: now.plus(HEAD_LIFETIME),
        };
        decided.previous = Some(head.content_digest());
        let head = head.to_bytes();
        let signature = Bytes::copy_from_slice(self.publishing.sign(&head).as_ref());
        let signed = SignedHead { v: V1, key: public(&self.publishing).id(), signature, head };
        let store: HashMap<Digest, Bytes> = parts.into_iter().map(|(_, b)| (Digest::of(&b), b)).collect();
        Arc::new(Directory::assemble(&self.anchor(), &chain, &signed, |d| store.get(d).cloned()).unwrap())
    }

    fn root(&self) -> Bytes {
        let root = Root {
            v: V1,
            instance: INSTANCE.into(),
            version: 1,
            epoch: 1,
            threshold: 1,
            root_keys: vec![public(&self.root_key)],
            publishing_keys: vec![public(&self.publishing)],
            issued: Timestamp::from_millis(1_700_000_000_000),
        };
        endorse(root.to_bytes(), &self.root_key)
    }

    fn parts(&self, decided: &Decided) -> Vec<(String, Bytes)> {
        let trust = TrustServices {
            version: 1,
            authorities: decided.authorities.clone(),
            ..TrustServices::empty(INSTANCE)
        };
        let groups = Groups { v: V1, instance: INSTANCE.into(), groups: vec![] };
        let aliases = Aliases { v: V1, instance: INSTANCE.into(), aliases: vec![] };
        let mut parts = vec![
            (part::TRUST.to_owned(), endorse(trust.to_bytes(), &self.root_key)),
            (part::GROUPS.to_owned(), groups.to_bytes()),
            (part::ALIASES.to_owned(), aliases.to_bytes()),
        ];
        parts.extend(decided.members.values().map(|member| (part::member(&member.id), member.to_bytes())));
        parts
    }
}
