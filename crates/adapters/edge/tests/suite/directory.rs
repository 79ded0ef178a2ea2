//! A directory with two members, signed with fixed keys.

use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::*;
use truc_model::{Digest, Fingerprint, MemberId, Timestamp};

fn key(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey::from_slice(key.public_key().as_ref()).unwrap();
    (key, public)
}

fn endorse(payload: Bytes, seed: u8) -> Bytes {
    let (key, public) = key(seed);
    let signature = Bytes::copy_from_slice(key.sign(&payload).as_ref());
    Endorsed { v: V1, payload, signatures: vec![Endorsement { key: public.id(), signature }] }.to_bytes()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn member(code: &str, status: MemberStatus, seed: u8) -> (String, Bytes) {
    let id: MemberId = format!("VN/GOV/{code}").parse().unwrap();
    let entry = MemberEntry {
        v: V1,
        name_vi: format!("Cơ quan <{code}>"),
        name_en: format!("Agency {code}"),
        valid_from: at("2026-01-01T00:00:00.000Z"),
        valid_to: None,
        status,
        succession: None,
        subsystems: vec![SubsystemEntry {
            code: "he-thong".into(),
            name: "Hệ thống".into(),
            disabled: false,
        }],
        sign_certificates: vec![SignCertificate { fingerprint: Fingerprint([seed; 32]), der: None }],
        nodes: vec![],
        id: id.clone(),
    };
    (part::member(&id), entry.to_bytes())
}

/// G01 is active, H26, G12.18 and H29.14 are closed, and there are old codes of some; G12.18 is an alias too. The head expires 2026-11-24T03:00.
pub(crate) fn directory() -> Directory {
    let (_, root_key) = key(1);
    let (publishing, publishing_key) = key(2);
    let root = Root {
        v: V1,
        instance: "VN".into(),
        version: 1,
        epoch: 1,
        threshold: 1,
        root_keys: vec![root_key],
        publishing_keys: vec![publishing_key],
        issued: at("2026-01-01T00:00:00.000Z"),
    };
    let chain = vec![endorse(root.to_bytes(), 1)];
    let registry =
        RegistryAddress { address: "127.0.0.1:4001".into(), tls_certificate: Fingerprint([9; 32]) };
    let anchor = Anchor {
        v: V1,
        instance: "VN".into(),
        epoch: None,
        threshold: 1,
        root_keys: vec![root_key],
        registry: vec![registry],
    };
    let trust = TrustServices { version: 1, ..TrustServices::empty("VN") };
    let groups = Groups { v: V1, instance: "VN".into(), groups: vec![] };
    let alias = |(old, code): (&str, &str)| Alias {
        alias: old.into(),
        member: format!("VN/GOV/{code}").parse().unwrap(),
    };
    let table =
        [("000.00.00.G01", "G01"), ("000.00.00.H26", "H26"), ("242.00.00.H55", "H26"), ("G12.18", "G01")];
    let aliases = Aliases { v: V1, instance: "VN".into(), aliases: table.map(alias).to_vec() };
    let mut parts = [
        (part::TRUST.to_owned(), endorse(trust.to_bytes(), 1)),
        (part::GROUPS.to_owned(), groups.to_bytes()),
        (part::ALIASES.to_owned(), aliases.to_bytes()),
        member("G01", MemberStatus::Active, 11),
        member("H26", MemberStatus::Closed, 12),
        member("G12.18", MemberStatus::Closed, 13),
        member("H29.14", MemberStatus::Closed, 14),
        (part::root(1), chain[0].clone()),
    ];
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    let listed = |(name, b): &(String, Bytes)| PartRef {
        name: name.clone(),
        digest: Digest::of(b),
        size: b.len() as u64,
    };
    let head = Head {
        v: V1,
        instance: "VN".into(),
        epoch: 1,
        version: 1,
        previous: None,
        parts: parts.iter().map(listed).collect(),
        audit_log: AuditLogHead { sequence: 7, chain: Digest([3; 32]) },
        issued: at("2026-11-21T03:00:00.000Z"),
        expires: at("2026-11-24T03:00:00.000Z"),
    }
    .to_bytes();
    let signature = Bytes::copy_from_slice(publishing.sign(&head).as_ref());
    let signed = SignedHead { v: V1, key: publishing_key.id(), signature, head };
    let find = |digest: &Digest| parts.iter().find(|(_, b)| Digest::of(b) == *digest).map(|(_, b)| b.clone());
    Directory::assemble(&anchor, &chain, &signed, find).unwrap()
}
