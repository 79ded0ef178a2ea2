//! Gathers one exchange from a store.

use std::collections::BTreeMap;

use bytes::Bytes;
use truc_directory::{Endorsed, FormatError, Head, MemberIndex, SignedHead, TrustServices, part};
use truc_message::{Header, Kind, manifest};
use truc_model::{Digest, Fingerprint, MemberId, MessageId};
use truc_trust::{Certificate, cms};

use super::names;
use super::notes::{HeadNote, MessageNote, RecordNote};
use crate::proof::{Batch, ProofStore};
use crate::record::{RecordKind, StoredRecord};
use crate::store::{EvidenceStore, StoreError};

/// Why no container was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Nothing is recorded of this exchange.
    #[error("no records of exchange {0} in this store: check the id, or ask the other node's operator")]
    NotFound(MessageId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record refers to something that is not in the journal.
    #[error("the journal lacks {what} {digest}, which a record refers to: run truc evidence fsck")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// A record cannot be read.
    #[error("the record at {sequence} is damaged: {why}: run truc evidence fsck")]
    Damaged {
        /// Place in the log.
        sequence: u64,
        /// What is wrong.
        why: String,
    },
    /// Longer than [`super::SIZE_LIMIT`].
    #[error("the exchange is too big for one container")]
    TooLarge,
}

/// Everything that goes into one container.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub(super) request: MessageId,
    pub(super) records: Vec<RecordNote>,
    pub(super) messages: Vec<Message>,
    /// Supporting files by name.
    pub(super) supporting: BTreeMap<String, Bytes>,
    /// Evidence records by the record's sequence.
    pub(super) evidence_records: BTreeMap<u64, Bytes>,
    /// Heads of the log with their text and the token over their batch, in order.
    pub(super) heads: Vec<(HeadNote, Bytes, Bytes)>,
}

/// One signed message, as stored.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) note: MessageNote,
    pub(super) header: Bytes,
    pub(super) body: Option<Bytes>,
    pub(super) manifest: Bytes,
    pub(super) cms: Bytes,
}

impl Exchange {
    /// The request that began it.
    pub const fn request(&self) -> MessageId {
        self.request
    }

    /// Whether an answer is recorded, or what stood in for one.
    pub fn is_answered(&self) -> bool {
        self.records.iter().any(|record| record.kind != RecordKind::Request)
    }

    /// Whether every record is under a time-stamp.
    pub fn is_stamped(&self) -> bool {
        self.records.iter().all(|record| record.stamped.is_some())
    }

    fn message(&self, record: &RecordNote) -> Option<&Message> {
        self.messages.iter().find(|m| Some(m.note) == record.message)
    }

    /// The digests of the record's data objects (`docs/evidence.md` §3.1); `None` without a signed message.
    pub(super) fn group(&self, record: &RecordNote) -> Option<Vec<Digest>> {
        let message = self.message(record)?;
        let signed = [Digest::of(&message.manifest), Digest::of(&message.cms)];
        Some(signed.into_iter().chain(record.statuses.iter().copied()).collect())
    }

    /// Who signed the record's message.
    pub(super) fn signer(&self, record: &RecordNote) -> Option<Fingerprint> {
        let signature = cms::read(&self.message(record)?.cms).ok()?;
        Some(signature.certificate().fingerprint())
    }

    /// The request alone, without what came of it. There is no answer alone: it names its request by digest, and proves
    /// nothing without it.
    #[must_use]
    pub fn request_only(mut self) -> Self {
        self.records.retain(|record| record.kind == RecordKind::Request);
        self.messages.retain(|message| message.note.kind == Kind::Request);
        let records = &self.records;
        self.heads.retain(|(head, ..)| {
            records.iter().any(|r| r.stamped.as_ref().is_some_and(|stamp| stamp.head == head.head))
        });
        self
    }
}

/// Gathers all records of the exchange that `id` began, with bodies, statuses and the directory of the time.
///
/// # Errors
/// [`ExportError`]; a container is whole or it is not made.
pub async fn collect(store: &dyn EvidenceStore, id: MessageId) -> Result<Exchange, ExportError> {
    let stored = store.exchange(id).await?;
    if stored.is_empty() {
        return Err(ExportError::NotFound(id));
    }
    let mut gathering = Gathering {
        store,
        exchange: Exchange {
            request: id,
            records: vec![],
            messages: vec![],
            supporting: BTreeMap::new(),
            evidence_records: BTreeMap::new(),
            heads: vec![],
        },
    };
    for record in &stored {
        gathering.record(record).await?;
    }
    let Exchange { records, messages, .. } = &mut gathering.exchange;
    for note in records.iter_mut().filter_map(|record| record.message.as_mut()) {
        // A later record may have brought the body.
        if let Some(message) = messages.iter().find(|m| m.note.kind == note.kind && m.note.id == note.id) {
            *note = message.note;
        }
    }
    Ok(gathering.exchange)
}

/// Sees to it that a directory in the container lists the batch's time-stamp authority: where it was approved only after the
/// exchange, the newest record's directory head goes in too, with its roots and trust part.
pub(super) async fn add_authority(
    store: &dyn EvidenceStore,
    proofs: &dyn ProofStore,
    exchange: &mut Exchange,
    batch: &Batch,
) -> Result<(), ExportError> {
    let lists = |bytes: &Bytes| {
        Endorsed::parse(bytes)
            .and_then(|e| TrustServices::parse(&e.payload))
            .is_ok_and(|t| t.timestamp_authorities.iter().any(|a| a.name == batch.authority))
    };
    let is_trust = |name: &String| name.ends_with(&format!("/{}", names::TRUST));
    if exchange.supporting.iter().any(|(name, bytes)| is_trust(name) && lists(bytes)) {
        return Ok(());
    }
    let newest = proofs.log_size().await?.saturating_sub(1);
    for later in [batch.next, newest] {
        let record = match store.read(later).await {
            Ok(record) => record,
            Err(StoreError::NotFound) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut gathering = Gathering { store, exchange: exchange.clone() };
        gathering.head(&record).await?;
        if gathering.exchange.supporting.iter().any(|(name, bytes)| is_trust(name) && lists(bytes)) {
            *exchange = gathering.exchange;
            break;
        }
    }
    Ok(())
}

struct Gathering<'a> {
    store: &'a dyn EvidenceStore,
    exchange: Exchange,
}

fn damaged(record: &StoredRecord, why: impl ToString) -> ExportError {
    ExportError::Damaged { sequence: record.sequence, why: why.to_string() }
}

impl Gathering<'_> {
    async fn record(&mut self, record: &StoredRecord) -> Result<(), ExportError> {
        let message = match record.kind {
            RecordKind::Unsigned => None,
            _ => Some(self.message(record).await?),
        };
        for digest in &record.statuses {
            let bytes = self.artifact("the certificate status", *digest).await?;
            self.exchange.supporting.insert(names::status(*digest), bytes);
        }
        for list in record.local.trust.iter().flat_map(|t| &t.revocation_lists) {
            // Longer ones are not kept (ADR 0019): the CA has them.
            if let Some(bytes) = self.store.artifact(list.digest).await? {
                self.exchange.supporting.insert(names::list(list.digest), bytes);
            }
        }
        self.directory(record).await?;
        let local = String::from_utf8(record.local_bytes.to_vec()).map_err(|e| damaged(record, e))?;
        self.exchange.records.push(RecordNote {
            sequence: record.sequence,
            kind: record.kind,
            owner: record.owner.clone(),
            message,
            manifest_digest: record.manifest_digest,
            statuses: record.statuses.clone(),
            local,
            leaf: record.leaf().hash,
            statuses_after: vec![],
            stamped: None,
        });
        Ok(())
    }

    async fn artifact(&self, what: &'static str, digest: Digest) -> Result<Bytes, ExportError> {
        self.store.artifact(digest).await?.ok_or(ExportError::Missing { what, digest })
    }

    /// Both halves of a node may have recorded the same message: it goes in once, with its body if either has it.
    async fn message(&mut self, record: &StoredRecord) -> Result<MessageNote, ExportError> {
        let header = Header::parse(&record.header).map_err(|e| damaged(record, e))?;
        let body = if record.has_body { self.store.body(record.sequence).await? } else { None };
        let note = MessageNote { kind: header.kind, id: header.id, body: body.is_some() };
        let known =
            self.exchange.messages.iter_mut().find(|m| m.note.kind == note.kind && m.note.id == note.id);
        if let Some(known) = known {
            if known.header != record.header || known.cms != record.cms {
                return Err(damaged(record, "two different messages bear one id"));
            }
            if known.body.is_none() && body.is_some() {
                known.body = body;
                known.note.body = true;
            }
            return Ok(known.note);
        }
        let manifest = match body.as_ref().map(|body| Digest::of(body)).or(record.body_digest) {
            Some(body) => manifest::write(note.kind, note.id, Digest::of(&record.header), body).into(),
            // An older record without body has no digest of it either, and kept the manifest instead.
            None => {
                self.artifact("the manifest of a message without its body", record.manifest_digest).await?
            }
        };
        if Digest::of(&manifest) != record.manifest_digest {
            return Err(damaged(record, "header and body do not give the manifest that was signed"));
        }
        self.certificates(record)?;
        let (header, cms) = (record.header.clone(), record.cms.clone());
        self.exchange.messages.push(Message { note, header, body, manifest, cms });
        Ok(note)
    }

    fn certificates(&mut self, record: &StoredRecord) -> Result<(), ExportError> {
        let signature = cms::read(&record.cms).map_err(|e| damaged(record, e))?;
        self.certificate(signature.certificate());
        signature.intermediates().iter().for_each(|c| self.certificate(c));
        Ok(())
    }

    /// CAs at the top are taken from the anchor's directory, never from the container: self-signed ones stay out.
    fn certificate(&mut self, certificate: &Certificate) {
        if certificate.subject_raw() != certificate.issuer_raw() {
            let name = names::certificate(certificate.fingerprint());
            self.exchange.supporting.insert(name, super::write::pem(certificate.der()).into());
        }
    }

    /// The head in force with the parts that show who the members were (protocol P5.5).
    async fn directory(&mut self, record: &StoredRecord) -> Result<(), ExportError> {
        let Some(head) = self.head(record).await? else { return Ok(()) };
        let folder = names::directory(record.local.directory);
        for member in members(record) {
            let Some(listed) = self.listed(record, &head, &folder, &member).await? else { continue };
            // A third member that owns a node is stored only where the recording node had it.
            if let Some(bytes) = self.store.artifact(listed).await? {
                self.exchange.supporting.insert(format!("{folder}{}", names::member(listed)), bytes);
            }
        }
        Ok(())
    }

    /// The head in force, its roots and its trust part; `None` where it was not stored again.
    async fn head(&mut self, record: &StoredRecord) -> Result<Option<Head>, ExportError> {
        let digest = record.local.directory;
        let folder = names::directory(digest);
        let Some(envelope) = self.store.artifact(digest).await? else {
            // An unsigned fault refers to the head in force without storing it again.
            return match record.kind {
                RecordKind::Unsigned => Ok(None),
                _ => Err(ExportError::Missing { what: "the directory head", digest }),
            };
        };
        let unreadable = |e: FormatError| damaged(record, e);
        let head = SignedHead::parse(&envelope).and_then(|h| h.unverified()).map_err(unreadable)?;
        self.exchange.supporting.insert(format!("{folder}{}", names::HEAD), envelope);
        for (version, listed) in (1u64..).zip(head.root_parts()) {
            let root = self.artifact("the root document", listed.digest).await?;
            self.exchange.supporting.insert(format!("{folder}{}", names::root(version)), root);
        }
        if let Some(listed) = head.part(part::TRUST) {
            let trust = self.artifact("the trust-service part", listed.digest).await?;
            let services =
                Endorsed::parse(&trust).and_then(|e| TrustServices::parse(&e.payload)).map_err(unreadable)?;
            for der in services.authorities.iter().flat_map(|a| &a.intermediates) {
                let certificate = Certificate::from_der(der.as_bytes()).map_err(|e| damaged(record, e))?;
                self.certificate(&certificate);
            }
            self.exchange.supporting.insert(format!("{folder}{}", names::TRUST), trust);
        }
        Ok(Some(head))
    }

    /// The digest of a member's part: as the head lists it, or as the index part does, which then goes in too.
    async fn listed(
        &mut self,
        record: &StoredRecord,
        head: &Head,
        folder: &str,
        member: &MemberId,
    ) -> Result<Option<Digest>, ExportError> {
        if let Some(listed) = head.part(&part::member(member)) {
            return Ok(Some(listed.digest));
        }
        let Some(index) = head.part(&part::bucket(member)).map(|listed| listed.digest) else {
            return Ok(None);
        };
        let Some(bytes) = self.store.artifact(index).await? else { return Ok(None) };
        let listed = MemberIndex::parse(&bytes).map_err(|e| damaged(record, e))?;
        self.exchange.supporting.insert(format!("{folder}{}", names::index(index)), bytes);
        Ok(listed.find(member).map(|m| m.digest))
    }
}

/// The two members, and those that own the two nodes.
fn members(record: &StoredRecord) -> Vec<MemberId> {
    let mut all =
        vec![record.local.client.member(), record.local.service.member(), record.local.peer.owner()];
    if let Ok(header) = Header::parse(&record.header) {
        all.extend([header.from.owner(), header.to.owner()]);
    }
    all.sort();
    all.dedup();
    all
}
