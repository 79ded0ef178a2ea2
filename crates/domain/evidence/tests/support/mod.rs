//! A small PKI, a directory, an exchange signed under both, and a store in memory; with knobs to spoil them.

mod stamps;
mod zips;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber, SigningKey,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use truc_directory::*;
use truc_evidence::container;
use truc_evidence::{
    Artifact, Direction, EvidenceStore, Found, ListNote, LocalPart, NewRecord, Outcome, Query, Receipt,
    RecordKind, Reservation, Role, StoreError, StoredRecord, TrustNote, leaf_hash,
};
use truc_keys::SignatureAlgorithm;
use truc_message::{Body, BodyInfo, DirectoryRef, Header, InReplyTo, Kind, Leaf, Sealed, Signature, Signed};
use truc_model::{Digest, Fingerprint, MessageId, Timestamp};
use truc_trust::ocsp::{self, CertId};
use truc_trust::{Certificate, Verdict, cms};

use stamps::Stamped;
pub(crate) use stamps::{Authorities, MemoryProofs, Stamping};
pub(crate) use zips::{Entry, by_hand, entries, installed, unpack, zipped};

pub(crate) const CLIENT: &str = "VN/GOV/H26/mot-cua-so-1";
pub(crate) const SERVICE: &str = "VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan";

/// Long past: every certificate here has expired, which evidence must outlive.
pub(crate) fn sent() -> Timestamp {
    "2021-11-21T03:04:05.678Z".parse().unwrap()
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// A certificate with the key behind it.
pub(crate) struct Party {
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Party {
    fn params(name: &str, identifier: Option<&str>) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CountryName, "VN");
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(identifier) = identifier {
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 97]), identifier);
        }
        params.not_before = rcgen::date_time_ymd(2021, 1, 1);
        params.not_after = rcgen::date_time_ymd(2022, 1, 1);
        params
    }

    fn authority(mut params: CertificateParams) -> CertificateParams {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params
    }

    fn root(name: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = Self::authority(Self::params(name, None));
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { certificate: Certificate::from_der(&der).unwrap(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, mut params: CertificateParams, serial: u64) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Self { certificate: Certificate::from_der(&der).unwrap(), issuer: Issuer::new(params, key) }
    }

    fn seal(&self, member: &str, serial: u64) -> Self {
        let mut params = Self::params("Con dấu số", Some(member));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
        self.issue(params, serial)
    }

    /// A seal whose certificate ended before the request was sent.
    fn ended(&self, member: &str, serial: u64) -> Self {
        let mut params = Self::params("Con dấu số", Some(member));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
        params.not_after = rcgen::date_time_ymd(2021, 6, 1);
        self.issue(params, serial)
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(bytes).unwrap()
    }
}

struct RootKey(Ed25519KeyPair);

impl RootKey {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }
    fn public(&self) -> PublicKey {
        PublicKey::from_slice(self.0.public_key().as_ref()).unwrap()
    }
    fn sign(&self, bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(self.0.sign(bytes).as_ref())
    }
    fn endorse(&self, payload: Bytes) -> Bytes {
        let signatures = vec![Endorsement { key: self.public().id(), signature: self.sign(&payload) }];
        Endorsed { v: V1, payload, signatures }.to_bytes()
    }
}

/// What is to be different from a good exchange, seen from one node.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) role: Role,
    /// The client's certificate is in the directory.
    pub(crate) registered: bool,
    /// What the CA says of the client's certificate.
    pub(crate) verdict: Verdict,
    /// How old that was when the request was sent.
    pub(crate) status_age: Duration,
    /// No status at all of the client's certificate.
    pub(crate) no_status: bool,
    /// The digest of the request that the answer names, if another.
    pub(crate) answers: Option<Digest>,
    /// The answer's body was not stored.
    pub(crate) digest_only: bool,
    /// The client's node belongs to a third member.
    pub(crate) hosted: bool,
    /// The client's certificate names another member.
    pub(crate) other_name: bool,
    /// When the head in force was signed.
    pub(crate) head_issued: Timestamp,
    /// Seals are issued by an intermediate CA that the trust part lists.
    pub(crate) intermediate: bool,
    /// An unsigned fault instead of an answer.
    pub(crate) unsigned: bool,
    /// The answer is recorded under another head of the directory.
    pub(crate) second_head: bool,
    /// One node is both ends: each half records both messages.
    pub(crate) both: bool,
    /// The head lists members and groups through index parts.
    pub(crate) indexed: bool,
    /// What the client's status was made after the sending, instead of before.
    pub(crate) status_later: Option<Duration>,
    /// The body of a signed refusal, instead of a response.
    pub(crate) refusal: Option<&'static [u8]>,
    /// What the node, or a forger, writes into the records' unsigned parts.
    pub(crate) noted: fn(RecordKind, &mut LocalPart),
    /// The seed of the root key that the anchor names.
    pub(crate) anchor_seed: u8,
    /// A time-stamp over the records, and their log.
    pub(crate) stamping: Option<Stamping>,
    /// Instead of an OCSP response, the client's status was a revocation list.
    pub(crate) list: bool,
    /// The client's certificate had ended when the request was sent.
    pub(crate) ended: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            role: Role::Consumer,
            registered: true,
            verdict: Verdict::Good,
            status_age: minutes(10),
            no_status: false,
            answers: None,
            digest_only: false,
            hosted: false,
            other_name: false,
            head_issued: sent().minus(minutes(1)),
            intermediate: false,
            unsigned: false,
            second_head: false,
            both: false,
            indexed: false,
            status_later: None,
            refusal: None,
            noted: |_, _| {},
            anchor_seed: 1,
            stamping: None,
            list: false,
            ended: false,
        }
    }
}

/// A finished exchange in a store.
pub(crate) struct Scene {
    pub(crate) store: MemoryStore,
    pub(crate) id: MessageId,
    pub(crate) anchor: Anchor,
    pub(crate) ca: Certificate,
    pub(crate) proofs: Option<MemoryProofs>,
    /// What a stranger is given as the time-stamp authority's certificate.
    pub(crate) tsa: Option<Certificate>,
    /// The CA above it.
    pub(crate) tsa_ca: Option<Certificate>,
}

impl Scene {
    /// The container, with what was proved of the records where anything was.
    pub(crate) async fn export(&self) -> Vec<u8> {
        let exchange = match &self.proofs {
            Some(proofs) => container::collect_proved(&self.store, proofs, self.id).await,
            None => container::collect(&self.store, self.id).await,
        };
        container::write(&exchange.unwrap()).unwrap()
    }
}

struct Published {
    head: Artifact,
    artifacts: Vec<Artifact>,
}

impl Plan {
    pub(crate) async fn play(&self) -> Scene {
        let ca = Party::root("Trục Pilot CA");
        let middle = ca.issue(Party::authority(Party::params("Trục Pilot Sub CA", None)), 5);
        let above = if self.intermediate { &middle } else { &ca };
        let client = above.seal(if self.other_name { "VN/GOV/H27" } else { "VN/GOV/H26" }, 101);
        let service = above.seal("VN/GOV/G01", 102);
        let client = if self.ended { above.ended("VN/GOV/H26", 101) } else { client };
        let authorities = self.stamping.as_ref().map(|_| Authorities::new());
        let tsa = authorities.as_ref().zip(self.stamping.as_ref());
        let listed = tsa.filter(|(_, s)| !s.unlisted).map(|(a, s)| a.entry(s));
        let publish = |at| self.publish(&ca, &middle, &client, &service, at, listed.as_ref());
        let published = publish(self.head_issued);

        let id = MessageId::new(sent(), [7; 10]);
        let request = sign(self.request_header(id), br#"{"soDinhDanh":"001099000001"}"#, &client);
        let as_of = self.status_later.map_or(sent().minus(self.status_age), |later| sent().plus(later));
        let client_status = status(above, &client, self.verdict, as_of);
        let store = MemoryStore::beginning(self.stamping.as_ref().map_or(0, |s| s.neighbours as u64));
        let mut record = self.record(&request, RecordKind::Request, &published);
        if self.list {
            attach_list(&mut record, above, &client, as_of, self.verdict);
        } else if !self.no_status {
            attach(&mut record, &client_status);
        }
        (self.noted)(record.kind, &mut record.local);
        let mut receipt = store.append(record, None).await.unwrap();
        let far_end = Self { role: Role::Provider, ..self.clone() };
        if self.both {
            let mut record = far_end.record(&request, RecordKind::Request, &published);
            attach(&mut record, &client_status);
            receipt = store.append(record, None).await.unwrap();
        }
        if self.unsigned {
            let mut record = self.record(&request, RecordKind::Unsigned, &published);
            record.header = Bytes::new();
            record.cms = Bytes::new();
            record.manifest_digest = Digest::of(b"");
            record.body = None;
            record.artifacts = vec![];
            record.local.outcome = Some(Outcome::Failed);
            record.local.fault = Some("UNAVAILABLE".into());
            (self.noted)(record.kind, &mut record.local);
            store.append(record, None).await.unwrap();
        } else {
            let header = self.answer_header(&request, receipt.leaf);
            let answer =
                sign(header, self.refusal.unwrap_or(br#"{"hoTen":"NGUY\u1ec4N V\u0102N A"}"#), &service);
            let kind = if self.refusal.is_some() { RecordKind::Refusal } else { RecordKind::Response };
            let later = if self.second_head { publish(sent()) } else { published };
            if self.both {
                let mut record = far_end.record(&answer, kind, &later);
                attach(&mut record, &status(above, &service, Verdict::Good, sent().minus(minutes(20))));
                store.append(record, None).await.unwrap();
            }
            let mut record = self.record(&answer, kind, &later);
            record.local.outcome = self.refusal.is_none().then_some(Outcome::Ok);
            attach(&mut record, &status(above, &service, Verdict::Good, sent().minus(minutes(20))));
            // The peer node's own status travels along; it is of another certificate.
            attach(&mut record, &client_status);
            (self.noted)(record.kind, &mut record.local);
            if self.digest_only {
                record.body = None;
                record.artifacts.push(Artifact::new(answer.sealed.manifest().clone()));
            }
            store.append(record, None).await.unwrap();
        }
        let node = request.header();
        let node = if self.role == Role::Provider { &node.to } else { &node.from };
        let records = store.records();
        let proofs = tsa.map(|(authorities, stamping)| {
            let stamped = Stamped { records: &records, node, authorities, issuer: above, client: &client };
            MemoryProofs::new(stamping, &stamped)
        });
        let tsa = tsa.map(|(authorities, stamping)| authorities.listed(stamping));
        let tsa_ca = authorities.map(|authorities| authorities.ca.certificate);
        Scene { store, id, anchor: self.anchor(), ca: ca.certificate.clone(), proofs, tsa, tsa_ca }
    }

    fn anchor(&self) -> Anchor {
        Anchor {
            v: V1,
            instance: "VN".into(),
            epoch: None,
            threshold: 1,
            root_keys: vec![RootKey::new(self.anchor_seed).public()],
            registry: vec![RegistryAddress {
                address: "127.0.0.1:4001".into(),
                tls_certificate: Fingerprint([9; 32]),
            }],
        }
    }

    fn publish(
        &self,
        ca: &Party,
        middle: &Party,
        client: &Party,
        service: &Party,
        issued: Timestamp,
        tsa: Option<&TimestampAuthority>,
    ) -> Published {
        let (root_key, publishing) = (RootKey::new(1), RootKey::new(2));
        let root = Root {
            v: V1,
            instance: "VN".into(),
            version: 1,
            epoch: 1,
            threshold: 1,
            root_keys: vec![root_key.public()],
            publishing_keys: vec![publishing.public()],
            issued: "2021-01-01T00:00:00.000Z".parse().unwrap(),
        };
        let der = |c: &Party| Der(Bytes::copy_from_slice(c.certificate.der()));
        let trust = TrustServices {
            version: 1,
            authorities: vec![ApprovedAuthority {
                name: "Trục Pilot CA".into(),
                certificate: der(ca),
                intermediates: if self.intermediate { vec![der(middle)] } else { vec![] },
                usages: vec![Usage::Sign, Usage::Auth],
                profile: Profile::Truc1,
                ocsp: vec!["http://127.0.0.1:4100/ocsp".into()],
                crl: None,
            }],
            timestamp_authorities: tsa.into_iter().cloned().collect(),
            ..TrustServices::empty("VN")
        };
        let client_seal = self.registered.then(|| client.certificate.fingerprint());
        let mut h26 = member("H26", "mot-cua-so-1", client_seal, !self.hosted);
        h26.valid_from = "2021-01-01T00:00:00.000Z".parse().unwrap();
        let mut h99 = member("H99", "khac", None, true);
        h99.nodes[0].serves.push(CLIENT.parse().unwrap());
        let g01 = member("G01", "csdl-dancu", Some(service.certificate.fingerprint()), true);
        let groups = Groups { v: V1, instance: "VN".into(), groups: vec![] };
        let aliases = Aliases { v: V1, instance: "VN".into(), aliases: vec![] };
        let named = [
            (part::root(1), root_key.endorse(root.to_bytes())),
            (part::TRUST.to_owned(), root_key.endorse(trust.to_bytes())),
            (part::GROUPS.to_owned(), groups.to_bytes()),
            (part::ALIASES.to_owned(), aliases.to_bytes()),
            (part::member(&g01.id), g01.to_bytes()),
            (part::member(&h26.id), h26.to_bytes()),
            (part::member(&h99.id), h99.to_bytes()),
        ];
        let listed = |(name, b): &(String, Bytes)| PartRef {
            name: name.clone(),
            digest: Digest::of(b),
            size: b.len() as u64,
        };
        let buckets: Vec<(String, Bytes)> = [&g01.id, &h26.id, &h99.id]
            .map(|id| {
                let part = named.iter().find(|(name, _)| *name == part::member(id)).map(listed).unwrap();
                let member = MemberRef { id: id.clone(), digest: part.digest, size: part.size };
                let index = MemberIndex { v: V1, instance: "VN".into(), members: vec![member] };
                (part::bucket(id), index.to_bytes())
            })
            .into();
        let groups = GroupIndex { v: V1, instance: "VN".into(), groups: vec![] };
        let groups = (part::GROUP_INDEX.to_owned(), groups.to_bytes());
        let mut parts: Vec<PartRef> = if self.indexed {
            let direct = [0, 1, 3].map(|i| &named[i]);
            direct.into_iter().chain([&groups]).chain(&buckets).map(listed).collect()
        } else {
            named.iter().map(listed).collect()
        };
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        let head = Head {
            v: V1,
            instance: "VN".into(),
            epoch: 1,
            version: 4,
            previous: None,
            parts,
            audit_log: AuditLogHead { sequence: 7, chain: Digest([3; 32]) },
            issued,
            expires: issued.plus(HEAD_LIFETIME),
        };
        let head = head.to_bytes();
        let signed =
            SignedHead { v: V1, key: publishing.public().id(), signature: publishing.sign(&head), head };
        let head = Artifact::new(signed.to_bytes());
        // As the recorder does it: roots, trust part, the two members; nothing else.
        let mut kept = [0, 1, 4, 5].map(|i| Artifact::new(named[i].1.clone())).to_vec();
        if self.indexed {
            kept.extend(buckets.iter().take(2).map(|(_, bytes)| Artifact::new(bytes.clone())));
        }
        Published { artifacts: [vec![head.clone()], kept].concat(), head }
    }

    fn client_node(&self) -> &'static str {
        if self.hosted { "VN/GOV/H99/ss1" } else { "VN/GOV/H26/ss1" }
    }

    fn request_header(&self, id: MessageId) -> Header {
        Header {
            v: 1,
            kind: Kind::Request,
            id,
            instance: "VN".into(),
            client: CLIENT.parse().unwrap(),
            service: SERVICE.parse().unwrap(),
            from: self.client_node().parse().unwrap(),
            to: "VN/GOV/G01/ss1".parse().unwrap(),
            directory: DirectoryRef { epoch: 1, version: 4 },
            sent: sent(),
            expires: sent().plus(minutes(1)),
            method: Some("POST".into()),
            path: Some("/cong-dan".into()),
            query: Some("chiTiet=1".into()),
            headers: vec![],
            user_id: Some("cb-0042".into()),
            agency: Some("UBND phường Hàng Bạc".into()),
            purpose: Some("Đăng ký khai sinh".into()),
            legal_basis: None,
            consent: None,
            represented_party: None,
            issue: None,
            client_message_id: None,
            idempotency_key: None,
            trace: None,
            body: Some(BodyInfo { media_type: Some("application/json".into()), length: None }),
            status: None,
            in_reply_to: None,
            leaf: None,
        }
    }

    fn answer_header(&self, request: &Signed, leaf: Leaf) -> Header {
        let asked = request.header();
        let digest = self.answers.unwrap_or(request.digest());
        Header {
            kind: if self.refusal.is_some() { Kind::Refusal } else { Kind::Response },
            id: MessageId::new(sent(), [8; 10]),
            from: asked.to.clone(),
            to: asked.from.clone(),
            sent: sent().plus(Duration::from_millis(40)),
            method: None,
            path: None,
            query: None,
            status: Some(if self.refusal.is_some() { 403 } else { 200 }),
            in_reply_to: Some(InReplyTo { id: asked.id, digest }),
            leaf: (self.both || self.role == Role::Provider)
                .then_some(leaf)
                .or(Some(Leaf { index: 99, hash: Digest([4; 32]) })),
            ..asked.clone()
        }
    }

    fn record(&self, message: &Signed, kind: RecordKind, published: &Published) -> NewRecord {
        let header = message.header();
        let request = header.in_reply_to.map_or(header.id, |reply| reply.id);
        let sends = (self.role == Role::Consumer) == (header.kind == Kind::Request);
        let member =
            if self.role == Role::Provider { header.service.member() } else { header.client.member() };
        NewRecord {
            kind,
            owner: member,
            header: message.sealed.header_bytes().clone(),
            manifest_digest: message.digest(),
            cms: message.signature.cms().clone(),
            statuses: vec![],
            local: LocalPart {
                v: 1,
                at: header.sent.plus(Duration::from_millis(5)),
                role: self.role,
                direction: if sends { Direction::Sent } else { Direction::Received },
                request,
                client: header.client.clone(),
                service: header.service.clone(),
                peer: if sends { header.to.clone() } else { header.from.clone() },
                directory: published.head.digest,
                trust: None,
                officer: None,
                subject: None,
                dossier: None,
                outcome: None,
                fault: None,
            },
            body: message.sealed.body().bytes().cloned(),
            body_digest: Some(message.sealed.body().digest()),
            class: truc_evidence::BodyClass::default(),
            artifacts: published.artifacts.clone(),
        }
    }
}

fn member(code: &str, subsystem: &str, seal: Option<Fingerprint>, speaks: bool) -> MemberEntry {
    let id = format!("VN/GOV/{code}").parse::<truc_model::MemberId>().unwrap();
    let serves = if speaks { vec![id.subsystem(subsystem).unwrap()] } else { vec![] };
    MemberEntry {
        v: V1,
        name_vi: format!("Cơ quan {code}"),
        name_en: format!("Agency {code}"),
        valid_from: "2021-01-01T00:00:00.000Z".parse().unwrap(),
        valid_to: None,
        status: MemberStatus::Active,
        succession: None,
        subsystems: vec![SubsystemEntry {
            code: subsystem.into(), name: "Hệ thống".into(), disabled: false
        }],
        sign_certificates: seal
            .into_iter()
            .map(|fingerprint| SignCertificate { fingerprint, der: None })
            .collect(),
        nodes: vec![NodeEntry {
            id: id.node("ss1").unwrap(),
            address: "127.0.0.1:5500".into(),
            auth_certificates: vec![Fingerprint::of(code.as_bytes())],
            log_key: RootKey::new(3).public(),
            versions: vec![1],
            serves,
            suspended: false,
            maintenance: None,
        }],
        id,
    }
}

fn sign(header: Header, body: &'static [u8], seal: &Party) -> Signed {
    let sent = header.sent;
    let sealed = Sealed::seal(header, Body::new(Bytes::from_static(body)), vec![]).unwrap();
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let to_sign = cms::prepare(sealed.manifest(), &seal.certificate, algorithm, sent).unwrap();
    let value = seal.sign(to_sign.bytes());
    let signature = Signature::Single(to_sign.assemble(&value).unwrap().into());
    Signed { sealed, signature }
}

fn status(ca: &Party, of: &Party, verdict: Verdict, this_update: Timestamp) -> Bytes {
    let id = CertId::of(&of.certificate, &ca.certificate);
    let entry = ocsp::Entry { id, verdict, this_update, next_update: Some(this_update.plus(minutes(60))) };
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let to_sign = ocsp::prepare_response(&[entry], &ca.certificate, this_update, algorithm).unwrap();
    let value = ca.sign(to_sign.bytes());
    to_sign.without_certificate().assemble(&value).unwrap().into()
}

/// A revocation list of `ca`, in force for a week.
fn attach_list(record: &mut NewRecord, ca: &Party, of: &Party, as_of: Timestamp, verdict: Verdict) {
    let time = |at: Timestamp| {
        rcgen::date_time_ymd(2021, 1, 1)
            + Duration::from_secs(u64::try_from(at.seconds()).unwrap() - 1_609_459_200)
    };
    let revoked = match verdict {
        Verdict::Revoked { at } => vec![RevokedCertParams {
            serial_number: SerialNumber::from_slice(of.certificate.serial()),
            revocation_time: time(at),
            reason_code: None,
            invalidity_date: None,
        }],
        _ => vec![],
    };
    let next = as_of.plus(minutes(60 * 24 * 7));
    let list = CertificateRevocationListParams {
        this_update: time(as_of),
        next_update: time(next),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked,
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let bytes = Bytes::copy_from_slice(list.signed_by(&ca.issuer).unwrap().der());
    let artifact = Artifact::new(bytes);
    let note = ListNote { digest: artifact.digest, this_update: as_of, next_update: next };
    record.local.trust = Some(TrustNote {
        signer: of.certificate.fingerprint(),
        status_this_update: Some(as_of),
        status_graced: false,
        directory_degraded: false,
        revocation_lists: vec![note],
    });
    record.artifacts.push(artifact);
}

fn attach(record: &mut NewRecord, status: &Bytes) {
    let artifact = Artifact::new(status.clone());
    record.statuses.push(artifact.digest);
    record.artifacts.push(artifact);
}

/// Keeps records in memory, as the port promises but for the disk.
#[derive(Default)]
pub(crate) struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The sequence of the first record.
    base: u64,
    records: Vec<(StoredRecord, Option<Bytes>)>,
    artifacts: HashMap<Digest, Bytes>,
}

impl MemoryStore {
    /// Whose first record has this sequence.
    fn beginning(base: u64) -> Self {
        let store = Self::default();
        store.inner.lock().unwrap().base = base;
        store
    }
    /// Loses an artifact, as damage would.
    pub(crate) fn forget(&self, digest: Digest) {
        self.inner.lock().unwrap().artifacts.remove(&digest);
    }
    /// Spells a record's local part otherwise; its leaf is computed anew, as a forger would.
    pub(crate) fn respell(&self, sequence: usize, spell: impl Fn(&str) -> String) {
        let record = &mut self.inner.lock().unwrap().records[sequence].0;
        let text = String::from_utf8(record.local_bytes.to_vec()).unwrap();
        record.local_bytes = spell(&text).into();
    }
    pub(crate) fn records(&self) -> Vec<StoredRecord> {
        self.inner.lock().unwrap().records.iter().map(|(r, _)| r.clone()).collect()
    }
}

#[async_trait]
impl EvidenceStore for MemoryStore {
    async fn reserve(&self, _bytes: u64) -> Result<Reservation, StoreError> {
        Ok(Reservation::new(|| {}))
    }

    async fn append(&self, record: NewRecord, _room: Option<Reservation>) -> Result<Receipt, StoreError> {
        let mut inner = self.inner.lock().unwrap();
        let sequence = inner.base + inner.records.len() as u64;
        let local_bytes = Bytes::from(serde_json::to_vec(&record.local).unwrap());
        let hash = leaf_hash(
            sequence,
            record.kind,
            record.manifest_digest,
            &record.cms,
            &record.statuses,
            &local_bytes,
        );
        for artifact in record.artifacts {
            inner.artifacts.insert(artifact.digest, artifact.bytes);
        }
        let stored = StoredRecord {
            sequence,
            kind: record.kind,
            owner: record.owner,
            header: record.header,
            manifest_digest: record.manifest_digest,
            cms: record.cms,
            statuses: record.statuses,
            local: record.local,
            local_bytes,
            has_body: record.body.is_some(),
            body_digest: record.body.as_ref().map(|body| Digest::of(body)).or(record.body_digest),
        };
        inner.records.push((stored, record.body));
        Ok(Receipt {
            sequence,
            chain: Digest::of(&sequence.to_be_bytes()),
            leaf: Leaf { index: sequence, hash },
        })
    }

    async fn read(&self, sequence: u64) -> Result<StoredRecord, StoreError> {
        self.records().into_iter().find(|r| r.sequence == sequence).ok_or(StoreError::NotFound)
    }

    async fn exchange(&self, request: MessageId) -> Result<Vec<StoredRecord>, StoreError> {
        Ok(self.records().into_iter().filter(|r| r.local.request == request).collect())
    }

    async fn body(&self, sequence: u64) -> Result<Option<Bytes>, StoreError> {
        let inner = self.inner.lock().unwrap();
        let found = inner.records.iter().find(|(r, _)| r.sequence == sequence);
        found.map(|(_, body)| body.clone()).ok_or(StoreError::NotFound)
    }

    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.inner.lock().unwrap().artifacts.get(&digest).cloned())
    }

    async fn list(&self, _query: Query) -> Result<Found, StoreError> {
        Ok(Found::default())
    }

    async fn replay(&self, _since: Timestamp) -> Result<Vec<StoredRecord>, StoreError> {
        Ok(self.records())
    }
}
