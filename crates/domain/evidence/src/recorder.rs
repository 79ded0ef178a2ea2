//! Turns what an exchange knows into records; the only place that makes [`Recorded`].

mod index;
mod past;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use truc_directory::Directory;
use truc_message::{Freshness, Header, Kind, Signed, WHOLE_BODY};
use truc_model::{Clock, Digest, Fault, MemberId, MessageId, NodeId};
use truc_policy::{Admitted, Bodies, BodyClass, EvidenceSettings};
use truc_trust::{Answer, ReliedList, Request, TrustState, Verified};

use self::index::IndexKeys;
pub use self::index::{IndexKey, SubjectCounts};
pub use self::past::{OpenRequest, Past};
use crate::claims::{Claim, Claims, Known};
use crate::directory_proof::DirectoryProofs;
use crate::ending::Ending;
use crate::record::{
    Artifact, Direction, KeyedHash, ListNote, LocalPart, NewRecord, RecordKind, Role, StoredRecord, TrustNote,
};
use crate::store::{EvidenceStore, Receipt, Reservation, StoreError};
use crate::under_way::{Exchanges, UnderWay};

/// A thing whose record is durable in this node's evidence. Its constructor is private to this crate:
///
/// ```compile_fail
/// # fn skip<T>(admitted: T, receipt: truc_evidence::Receipt) {
/// let forged = truc_evidence::Recorded { inner: admitted, receipt }; // private fields
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Recorded<T> {
    inner: T,
    receipt: Receipt,
}

impl<T> Recorded<T> {
    /// What was recorded.
    pub const fn inner(&self) -> &T {
        &self.inner
    }
    /// Where it lies.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

/// The body that [`Recorder::reserve_answer`] keeps room for, and the room in all: header, signature, statuses and the
/// directory's parts besides.
const SMALL_BODY: usize = 64 * 1024;
const ANSWER_ROOM: u64 = 256 * 1024;

/// Records the steps of exchanges, claims requests, and knows which were left open.
pub struct Recorder {
    store: Arc<dyn EvidenceStore>,
    clock: Arc<dyn Clock>,
    claims: Claims,
    index: IndexKeys,
    /// What the consumer's half keeps of bodies.
    consumer: EvidenceSettings,
    directories: DirectoryProofs,
    under_way: Exchanges,
}

impl Recorder {
    /// A recorder over `store`; `index_keys` has the keys of each hosted member, the current one first, then older generations.
    /// As consumer it keeps bodies whole, in the class `default`.
    pub fn new(
        store: Arc<dyn EvidenceStore>,
        clock: Arc<dyn Clock>,
        index_keys: HashMap<MemberId, Vec<IndexKey>>,
    ) -> Self {
        let claims = Claims::new(Freshness::default().memory());
        let (directories, under_way) = (DirectoryProofs::default(), Exchanges::default());
        let (index, consumer) = (IndexKeys::new(index_keys), EvidenceSettings::default());
        Self { store, clock, claims, index, consumer, directories, under_way }
    }

    /// As consumer it keeps this of bodies, in this class.
    #[must_use]
    pub fn keeping(mut self, bodies: Bodies, retention: BodyClass) -> Self {
        self.consumer = EvidenceSettings { bodies, retention, ..EvidenceSettings::default() };
        self
    }

    /// A text about a person as this node's records of `member` may hold it: under the current index key, then under older
    /// ones. What to look for in `local.officer`, `local.dossier` and `local.subject`.
    pub fn hashes(&self, member: &MemberId, text: &str) -> Vec<KeyedHash> {
        self.index.hashes(member, text)
    }

    /// How often requests named their subject where their service says it is.
    pub fn subjects(&self) -> SubjectCounts {
        self.index.counts()
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn EvidenceStore> {
        &self.store
    }

    /// Claims a verified request: the first step of its record.
    ///
    /// # Errors
    /// [`Known`] when it came before.
    pub fn claim(&self, request: &Verified<Request>) -> Result<Claim, Known> {
        let message = request.message();
        let header = message.header();
        self.claims.claim(&header.from, header.id, message.digest(), self.clock.now())
    }

    /// Keeps room for the answer's record and a small body, before the service is called (protocol P4.4). For a bigger
    /// body there is no promise: when its time comes and there is no room, the record keeps the body's digest only.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub async fn reserve_answer(&self) -> Result<Reservation, StoreError> {
        self.store.reserve(ANSWER_ROOM).await
    }

    /// Consumer: keeps room for the record of a request with a body of `body` bytes, before anything is sent: a node that
    /// cannot record asks nobody else to.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub async fn reserve_request(&self, body: u64) -> Result<Reservation, StoreError> {
        let stored = self.consumer.bodies == Bodies::Full && body <= WHOLE_BODY;
        let body = if stored { body } else { 0 };
        self.store.reserve(ANSWER_ROOM - SMALL_BODY as u64 + body).await
    }

    /// Says that the exchange is being carried out, until the guard is dropped: it may take as long as its bodies take.
    pub fn under_way(&self, role: Role, request: MessageId) -> UnderWay {
        self.under_way.begin(role, request)
    }

    /// Provider: records an admitted request; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`]; then the claim is given back.
    pub async fn admitted_request(
        &self,
        admitted: Admitted<Verified<Request>>,
        claim: Claim,
        directory: &Directory,
    ) -> Result<Recorded<Admitted<Verified<Request>>>, StoreError> {
        let said = admitted.target().evidence();
        let receipt = self.received_request(admitted.request(), claim, &said, directory).await?;
        Ok(Recorded { inner: admitted, receipt })
    }

    /// Provider: records a verified request that was not admitted, ahead of its signed refusal; `said` is what its service
    /// says about its evidence.
    ///
    /// # Errors
    /// [`StoreError`]; then the claim is given back.
    pub async fn refused_request(
        &self,
        request: &Verified<Request>,
        claim: Claim,
        said: &EvidenceSettings,
        directory: &Directory,
    ) -> Result<Receipt, StoreError> {
        self.received_request(request, claim, said, directory).await
    }

    async fn received_request(
        &self,
        request: &Verified<Request>,
        claim: Claim,
        said: &EvidenceSettings,
        directory: &Directory,
    ) -> Result<Receipt, StoreError> {
        let place =
            Place { role: Role::Provider, direction: Direction::Received, request: request.header().id };
        let trust = Some(request.state());
        let mut record = self.message_record(request.message(), place, trust, None, said, directory);
        let subject = said.subject.as_ref();
        record.local.subject =
            subject.and_then(|place| self.index.subject(&record.owner, request.message(), place));
        // Kept before the append: whoever stops waiting for it must not make the request claimable again.
        claim.keep();
        let appended = self.store.append(record, None).await;
        if appended.is_err() {
            self.claims.release(request.header().id);
        }
        appended
    }

    /// Provider: records the answer that this node signed; `said` is what its service says about its evidence.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sent_answer(
        &self,
        answer: &Signed,
        statuses: &[Bytes],
        ending: Ending,
        said: &EvidenceSettings,
        directory: &Directory,
        room: Option<Reservation>,
    ) -> Result<Receipt, StoreError> {
        let header = answer.header();
        let request = header.in_reply_to.map_or(header.id, |reply| reply.id);
        let place = Place { role: Role::Provider, direction: Direction::Sent, request };
        let mut record = self.message_record(answer, place, None, Some(ending), said, directory);
        attach_statuses(&mut record, statuses);
        let receipt = self.append_answer(record, answer.sealed.manifest().clone(), room).await?;
        self.claims.answered(request, receipt.sequence);
        Ok(receipt)
    }

    async fn append_answer(
        &self,
        mut record: NewRecord,
        manifest: Bytes,
        room: Option<Reservation>,
    ) -> Result<Receipt, StoreError> {
        let small = record.body.as_ref().is_none_or(|body| body.len() <= SMALL_BODY);
        if small {
            return self.store.append(record, room).await;
        }
        match self.store.append(record.clone(), None).await {
            Err(StoreError::Full) => {
                record.body = None;
                record.artifacts.push(Artifact::new(manifest));
                self.store.append(record, room).await
            }
            done => done,
        }
    }

    /// Consumer: records the request that this node signed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sent_request(
        &self,
        request: &Signed,
        statuses: &[Bytes],
        directory: &Directory,
        room: Option<Reservation>,
    ) -> Result<Receipt, StoreError> {
        let id = request.header().id;
        self.claims.sent(id, request.digest(), self.clock.now());
        let place = Place { role: Role::Consumer, direction: Direction::Sent, request: id };
        let mut record = self.message_record(request, place, None, None, &self.consumer, directory);
        attach_statuses(&mut record, statuses);
        self.store.append(record, room).await
    }

    /// Consumer: records the verified answer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn received_answer(
        &self,
        answer: &Verified<Answer>,
        ending: Ending,
        directory: &Directory,
        room: Option<Reservation>,
    ) -> Result<Recorded<()>, StoreError> {
        let header = answer.header();
        let request = header.in_reply_to.map_or(header.id, |reply| reply.id);
        let place = Place { role: Role::Consumer, direction: Direction::Received, request };
        let trust = Some(answer.state());
        let record =
            self.message_record(answer.message(), place, trust, Some(ending), &self.consumer, directory);
        let manifest = answer.message().sealed.manifest().clone();
        let receipt = self.append_answer(record, manifest, room).await?;
        Ok(Recorded { inner: (), receipt })
    }

    /// Consumer: records that the exchange ended in an unsigned fault (protocol P4.6).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unsigned(&self, request: Ended<'_>, fault: &Fault) -> Result<Receipt, StoreError> {
        let local = self.unsigned_local(request, fault);
        let owner = local.client.member();
        let record = NewRecord {
            kind: RecordKind::Unsigned,
            owner,
            header: Bytes::new(),
            manifest_digest: Digest::of(b""),
            cms: Bytes::new(),
            statuses: Vec::new(),
            local,
            body: None,
            body_digest: None,
            class: BodyClass::default(),
            artifacts: Vec::new(),
        };
        self.store.append(record, None).await
    }

    fn unsigned_local(&self, request: Ended<'_>, fault: &Fault) -> LocalPart {
        let ending = Ending::of(fault.code);
        let (request, client, service, peer, directory) = match request {
            Ended::Signed(message, directory) => {
                let h = message.header();
                let proof = self.directories.of(directory, h, self.clock.now());
                (h.id, h.client.clone(), h.service.clone(), h.to.clone(), proof.head)
            }
            Ended::Begun(h, directory) => {
                let proof = self.directories.of(directory, h, self.clock.now());
                (h.id, h.client.clone(), h.service.clone(), h.to.clone(), proof.head)
            }
            Ended::Stored(record) => {
                let l = &record.local;
                (l.request, l.client.clone(), l.service.clone(), l.peer.clone(), l.directory)
            }
        };
        LocalPart {
            v: 1,
            at: self.clock.now(),
            role: Role::Consumer,
            direction: Direction::Received,
            request,
            client,
            service,
            peer,
            directory,
            trust: None,
            officer: None,
            subject: None,
            dossier: None,
            outcome: Some(ending.outcome),
            fault: Some(fault.code.as_str().to_owned()),
        }
    }

    fn message_record(
        &self,
        message: &Signed,
        place: Place,
        trust: Option<&TrustState>,
        ending: Option<Ending>,
        said: &EvidenceSettings,
        directory: &Directory,
    ) -> NewRecord {
        let header = message.header();
        let owner =
            if place.role == Role::Provider { header.service.member() } else { header.client.member() };
        let peer: NodeId =
            if place.direction == Direction::Sent { header.to.clone() } else { header.from.clone() };
        let proof = self.directories.of(directory, header, self.clock.now());
        let officer = self.index.hash(&owner, header.user_id.as_deref());
        let dossier = self.index.hash(&owner, header.issue.as_deref());
        let local = LocalPart {
            v: 1,
            at: self.clock.now(),
            role: place.role,
            direction: place.direction,
            request: place.request,
            client: header.client.clone(),
            service: header.service.clone(),
            peer,
            directory: proof.head,
            trust: trust.map(note),
            officer,
            subject: None,
            dossier,
            outcome: ending.as_ref().map(|e| e.outcome),
            fault: ending.and_then(|e| e.fault).map(|code| code.as_str().to_owned()),
        };
        let mut record = NewRecord {
            kind: kind_of(header.kind),
            owner,
            header: message.sealed.header_bytes().clone(),
            manifest_digest: message.digest(),
            cms: message.signature.cms().clone(),
            statuses: Vec::new(),
            local,
            body: message
                .sealed
                .body()
                .bytes()
                .filter(|body| is_kept(header.kind, body, said.bodies))
                .cloned(),
            body_digest: Some(message.sealed.body().digest()),
            class: said.retention.clone(),
            artifacts: proof.artifacts,
        };
        if let Some(state) = trust {
            attach_statuses(&mut record, &state.statuses);
            attach_lists(&mut record, &state.lists);
        }
        record
    }
}

/// The request that an unsigned fault ended: in hand, or found on record at start-up.
#[derive(Clone, Copy)]
pub enum Ended<'a> {
    /// In hand, with the directory in force.
    Signed(&'a Signed, &'a Directory),
    /// Begun and never signed, with the directory in force: the other node refused it while its body was on its way.
    Begun(&'a Header, &'a Directory),
    /// From the journal.
    Stored(&'a StoredRecord),
}

/// Whether a body goes into the journal. A refusal's is the bus's own word, without which an exchange's end could not be told
/// again; of an empty one there is nothing to leave out.
fn is_kept(kind: Kind, body: &Bytes, bodies: Bodies) -> bool {
    let stored = bodies == Bodies::Full || kind == Kind::Refusal || body.is_empty();
    stored && body.len() as u64 <= WHOLE_BODY
}

#[derive(Clone, Copy)]
struct Place {
    role: Role,
    direction: Direction,
    request: MessageId,
}

const fn kind_of(kind: Kind) -> RecordKind {
    match kind {
        Kind::Response => RecordKind::Response,
        Kind::Refusal => RecordKind::Refusal,
        _ => RecordKind::Request,
    }
}

fn note(state: &TrustState) -> TrustNote {
    TrustNote {
        signer: state.signer,
        status_this_update: Some(state.status_this_update),
        status_graced: state.status_graced,
        directory_degraded: state.directory_degraded,
        revocation_lists: state.lists.iter().map(list_note).collect(),
    }
}

const fn list_note(list: &ReliedList) -> ListNote {
    ListNote { digest: list.digest, this_update: list.this_update, next_update: list.next_update }
}

/// A longer list is on record by its digest alone: a CA's list may have any length, and changes with every revocation.
const LIST_LIMIT: usize = 32 * 1024;

/// Lists are no OCSP responses and so not among the record's statuses; the local part names them.
fn attach_lists(record: &mut NewRecord, lists: &[ReliedList]) {
    let kept = lists.iter().filter(|list| list.bytes.len() <= LIST_LIMIT);
    record.artifacts.extend(kept.map(|list| Artifact { digest: list.digest, bytes: list.bytes.clone() }));
}

fn attach_statuses(record: &mut NewRecord, statuses: &[Bytes]) {
    for status in statuses {
        let artifact = Artifact::new(status.clone());
        if !record.statuses.contains(&artifact.digest) {
            record.statuses.push(artifact.digest);
            record.artifacts.push(artifact);
        }
    }
}
