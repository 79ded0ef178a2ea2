//! A directory with keys that everyone knows, so that what a fuzzer invents is signed and believed.

use std::collections::HashMap;

use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::{
    Anchor, AuditLogHead, Directory, DirectoryError, Endorsed, Endorsement, Head, PartRef, PublicKey,
    RegistryAddress, Root, SignedHead, V1, part,
};
use truc_model::{Digest, Fingerprint};

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn public(key: &Ed25519KeyPair) -> PublicKey {
    PublicKey::from_slice(key.public_key().as_ref()).unwrap()
}

fn signature(key: &Ed25519KeyPair, bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key.sign(bytes).as_ref())
}

/// With the root key's signature.
pub fn endorsed(payload: Bytes) -> Bytes {
    let root = key(1);
    let signatures = vec![Endorsement { key: public(&root).id(), signature: signature(&root, &payload) }];
    Endorsed { v: V1, payload, signatures }.to_bytes()
}

/// Publishes these parts and reads them back as a node does; `trust` is endorsed first.
///
/// # Errors
/// What the node says.
pub fn assemble(trust: &[u8], mut parts: Vec<(String, Bytes)>) -> Result<Directory, DirectoryError> {
    let publishing = key(2);
    let root = Root {
        v: V1,
        instance: "VN".into(),
        version: 1,
        epoch: 1,
        threshold: 1,
        root_keys: vec![public(&key(1))],
        publishing_keys: vec![public(&publishing)],
        issued: "2026-01-01T00:00:00.000Z".parse().unwrap(),
    };
    let chain = vec![endorsed(root.to_bytes())];
    parts.push((part::TRUST.to_owned(), endorsed(Bytes::copy_from_slice(trust))));
    let mut listed = parts.clone();
    listed.push((part::root(1), chain[0].clone()));
    listed.sort_by(|a, b| a.0.cmp(&b.0));
    listed.dedup_by(|a, b| a.0 == b.0);
    let head = Head {
        v: V1,
        instance: "VN".into(),
        epoch: 1,
        version: 1,
        previous: None,
        parts: listed
            .iter()
            .map(|(name, b)| PartRef { name: name.clone(), digest: Digest::of(b), size: b.len() as u64 })
            .collect(),
        audit_log: AuditLogHead { sequence: 7, chain: Digest([3; 32]) },
        issued: "2026-11-21T03:00:00.000Z".parse().unwrap(),
        expires: "2026-11-24T03:00:00.000Z".parse().unwrap(),
    };
    let bytes = head.to_bytes();
    let signed = SignedHead {
        v: V1,
        key: public(&publishing).id(),
        signature: signature(&publishing, &bytes),
        head: bytes,
    };
    let anchor = Anchor {
        v: V1,
        instance: "VN".into(),
        epoch: None,
        threshold: 1,
        root_keys: vec![public(&key(1))],
        registry: vec![RegistryAddress {
            address: "127.0.0.1:4001".into(),
            tls_certificate: Fingerprint([9; 32]),
        }],
    };
    let store: HashMap<Digest, Bytes> = listed.into_iter().map(|(_, b)| (Digest::of(&b), b)).collect();
    Directory::assemble(&anchor, &chain, &signed, |d| store.get(d).cloned())
}
