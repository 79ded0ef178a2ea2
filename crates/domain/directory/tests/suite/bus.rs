//! A small directory with fixed keys and times, and knobs to spoil it.

use std::collections::HashMap;

use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::*;
use truc_model::{Digest, Fingerprint, Timestamp};

pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }
    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_slice(self.0.public_key().as_ref()).unwrap()
    }
    pub(crate) fn sign(&self, bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(self.0.sign(bytes).as_ref())
    }
}

pub(crate) fn endorse(payload: Bytes, keys: &[&Key]) -> Bytes {
    let signatures =
        keys.iter().map(|k| Endorsement { key: k.public().id(), signature: k.sign(&payload) }).collect();
    Endorsed { v: V1, payload, signatures }.to_bytes()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn member(code: &str, seed: u8) -> MemberEntry {
    let id = format!("VN/GOV/{code}").parse::<truc_model::MemberId>().unwrap();
    MemberEntry {
        v: V1,
        name_vi: format!("Cơ quan {code}"),
        name_en: format!("Agency {code}"),
        valid_from: at("2026-01-01T00:00:00.000Z"),
        valid_to: None,
        status: MemberStatus::Active,
        succession: None,
        subsystems: vec![SubsystemEntry {
            code: "he-thong".into(),
            name: "Hệ thống".into(),
            disabled: false,
        }],
        sign_certificates: vec![SignCertificate { fingerprint: Fingerprint([seed; 32]), der: None }],
        nodes: vec![NodeEntry {
            id: id.node("ss1").unwrap(),
            address: "127.0.0.1:5500".into(),
            auth_certificates: vec![Fingerprint([seed + 100; 32])],
            log_key: Key::new(seed).public(),
            versions: vec![1],
            serves: vec![id.subsystem("he-thong").unwrap()],
            suspended: false,
            maintenance: None,
        }],
        id,
    }
}

fn listed(name: String, bytes: &Bytes) -> PartRef {
    PartRef { name, digest: Digest::of(bytes), size: bytes.len() as u64 }
}

/// Everything a registry would publish.
pub(crate) struct Bus {
    pub(crate) anchor: Anchor,
    pub(crate) chain: Vec<Bytes>,
    pub(crate) parts: Vec<(String, Bytes)>,
    pub(crate) head: Head,
    pub(crate) publishing: Key,
    /// Whether members and groups are listed by index parts.
    pub(crate) indexed: bool,
    /// The index parts and the groups' own parts, made of `parts`.
    pub(crate) made: Vec<(String, Bytes)>,
}

pub(crate) fn root(version: u64, threshold: u32, keys: &[&Key], publishing: &Key) -> Root {
    Root {
        v: V1,
        instance: "VN".into(),
        version,
        epoch: 1,
        threshold,
        root_keys: keys.iter().map(|k| k.public()).collect(),
        publishing_keys: vec![publishing.public()],
        issued: at("2026-01-01T00:00:00.000Z"),
    }
}

impl Bus {
    /// One root key, two members.
    pub(crate) fn new() -> Self {
        let (root_key, publishing) = (Key::new(1), Key::new(2));
        let chain = vec![endorse(root(1, 1, &[&root_key], &publishing).to_bytes(), &[&root_key])];
        Self::with(1, &[&root_key], chain, &[&root_key])
    }

    pub(crate) fn with(threshold: u32, anchored: &[&Key], chain: Vec<Bytes>, trust_signers: &[&Key]) -> Self {
        let anchor = Anchor {
            v: V1,
            instance: "VN".into(),
            epoch: None,
            threshold,
            root_keys: anchored.iter().map(|k| k.public()).collect(),
            registry: vec![RegistryAddress {
                address: "127.0.0.1:4001".into(),
                tls_certificate: Fingerprint([9; 32]),
            }],
        };
        let trust = TrustServices {
            version: 1,
            authorities: vec![ApprovedAuthority {
                name: "Trục Pilot CA".into(),
                certificate: Der(Bytes::from_static(b"a certificate")),
                intermediates: vec![],
                usages: vec![Usage::Sign, Usage::Auth],
                profile: Profile::Truc1,
                ocsp: vec!["http://127.0.0.1:4100/ocsp".into()],
                crl: None,
            }],
            timestamp_authorities: vec![],
            ..TrustServices::empty("VN")
        };
        let groups = Groups {
            v: V1,
            instance: "VN".into(),
            groups: vec![Group {
                code: "mot-cua".into(),
                name: "Một cửa".into(),
                members: vec![GroupMember::Member("VN/GOV/H26".parse().unwrap())],
            }],
        };
        let aliases = Aliases {
            v: V1,
            instance: "VN".into(),
            aliases: vec![Alias { alias: "000.00.00.H26".into(), member: "VN/GOV/H26".parse().unwrap() }],
        };
        let parts = vec![
            (part::TRUST.to_owned(), endorse(trust.to_bytes(), trust_signers)),
            (part::GROUPS.to_owned(), groups.to_bytes()),
            (part::ALIASES.to_owned(), aliases.to_bytes()),
            ("member/VN/GOV/G01".to_owned(), member("G01", 11).to_bytes()),
            ("member/VN/GOV/H26".to_owned(), member("H26", 12).to_bytes()),
        ];
        let head = Head {
            v: V1,
            instance: "VN".into(),
            epoch: 1,
            version: 1,
            previous: None,
            parts: vec![],
            audit_log: AuditLogHead { sequence: 7, chain: Digest([3; 32]) },
            issued: at("2026-11-21T03:00:00.000Z"),
            expires: at("2026-11-24T03:00:00.000Z"),
        };
        let (indexed, made) = (false, vec![]);
        let mut bus = Self { anchor, chain, parts, head, publishing: Key::new(2), indexed, made };
        bus.relist();
        bus
    }

    /// The same bus as a registry of today lists it.
    pub(crate) fn indexed() -> Self {
        let mut bus = Self { indexed: true, ..Self::new() };
        bus.relist();
        bus
    }

    /// Lists the parts in the head as they now are.
    pub(crate) fn relist(&mut self) {
        self.made = if self.indexed { self.make() } else { vec![] };
        self.list();
    }

    /// Lists them in the head without making index parts anew.
    pub(crate) fn list(&mut self) {
        let roots = self.chain.iter().zip(1..).map(|(b, n)| (part::root(n), b.clone()));
        let own = |name: &str| name.starts_with("member/") || name == part::GROUPS;
        let parts = self.parts.iter().filter(|(name, _)| !self.indexed || !own(name)).cloned();
        let made = self.made.iter().filter(|(name, _)| !name.starts_with("group/")).cloned();
        let mut parts: Vec<PartRef> =
            parts.chain(made).chain(roots).map(|(name, b)| listed(name, &b)).collect();
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        self.head.parts = parts;
    }

    fn make(&self) -> Vec<(String, Bytes)> {
        let (v, instance) = (V1, "VN".to_owned());
        let mut made = vec![];
        let mut buckets = std::collections::BTreeMap::<String, Vec<MemberRef>>::new();
        for (name, bytes) in self.parts.iter().filter(|(name, _)| name.starts_with("member/")) {
            let id: truc_model::MemberId = name["member/".len()..].parse().unwrap();
            let PartRef { digest, size, .. } = listed(String::new(), bytes);
            buckets.entry(part::bucket(&id)).or_default().push(MemberRef { id, digest, size });
        }
        for (name, mut members) in buckets {
            members.sort_by(|a, b| a.id.cmp(&b.id));
            made.push((name, MemberIndex { v, instance: instance.clone(), members }.to_bytes()));
        }
        let groups = self.parts.iter().find(|(name, _)| name == part::GROUPS).unwrap().1.clone();
        let groups: Groups = parse("the groups", &groups).unwrap();
        let mut refs = vec![];
        for Group { code, name, members } in groups.groups {
            let instance = groups.instance.clone();
            let bytes = GroupPart { v, instance, code: code.clone(), name, members }.to_bytes();
            let PartRef { digest, size, .. } = listed(String::new(), &bytes);
            made.push((part::group(&code), bytes));
            refs.push(GroupRef { code, digest, size });
        }
        refs.sort_by(|a, b| a.code.cmp(&b.code));
        made.push((part::GROUP_INDEX.to_owned(), GroupIndex { v, instance, groups: refs }.to_bytes()));
        made
    }

    /// Puts another document in the place of one that was made, and lists it.
    pub(crate) fn spoil(&mut self, name: &str, bytes: Bytes) {
        self.made.retain(|(n, _)| n != name);
        self.made.push((name.to_owned(), bytes));
        self.list();
    }

    pub(crate) fn made(&self, name: &str) -> Bytes {
        self.made.iter().find(|(n, _)| n == name).unwrap().1.clone()
    }

    pub(crate) fn set(&mut self, name: &str, bytes: Bytes) {
        self.parts.retain(|(n, _)| n != name);
        self.parts.push((name.to_owned(), bytes));
        self.relist();
    }

    pub(crate) fn signed(&self) -> SignedHead {
        let head = self.head.to_bytes();
        SignedHead { v: V1, key: self.publishing.public().id(), signature: self.publishing.sign(&head), head }
    }

    pub(crate) fn store(&self) -> HashMap<Digest, Bytes> {
        self.parts.iter().chain(&self.made).map(|(_, b)| (Digest::of(b), b.clone())).collect()
    }

    pub(crate) fn update(&self, before: &Directory) -> Result<Updated, DirectoryError> {
        let store = self.store();
        before.update(&self.chain, &self.signed(), |d| store.get(d).cloned())
    }

    pub(crate) fn assemble(&self) -> Result<Directory, DirectoryError> {
        let store = self.store();
        Directory::assemble(&self.anchor, &self.chain, &self.signed(), |d| store.get(d).cloned())
    }
}
