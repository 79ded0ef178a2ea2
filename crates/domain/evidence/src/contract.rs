//! The contracts every store keeps; each adapter's tests run them.
//!
//! [`evidence`] and [`decisions`] take an empty store and fill it; [`evidence_reopened`] and [`decisions_reopened`] take what a store
//! that is kept on disk shows after it was closed and opened again. [`Sample`] makes well-formed records.

mod archive_store;

mod proofs;

mod search;

use std::time::Duration;

use bytes::Bytes;
use truc_message::{DirectoryRef, Header, InReplyTo, Kind, VERSION, manifest};
use truc_model::{Digest, Fingerprint, MessageId, ServiceId, SubsystemId, Timestamp};

use crate::{
    Artifact, Decision, DecisionLog, Decisions, Direction, EvidenceStore, KeyedHash, LocalPart, NewRecord,
    Outcome, Query, Receipt, RecordKind, Role, StoreError, StoredRecord, TrustNote, leaf_hash,
};

pub use archive_store::archive;

pub use proofs::{proofs, proofs_reopened};

pub use search::{search, search_reopened};

type Check = Result<(), String>;

/// An answer is recorded so long after its request.
const SECOND: Duration = Duration::from_secs(1);

fn ensure(holds: bool, clause: &str) -> Check {
    if holds { Ok(()) } else { Err(clause.to_owned()) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// One made-up exchange of a consumer's node; `number` makes its ids.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The request's id.
    pub request: MessageId,
    /// When the request is recorded; the answer follows one second later.
    pub at: Timestamp,
    /// The caller.
    pub client: SubsystemId,
    /// The called service.
    pub service: ServiceId,
    number: u64,
}

impl Sample {
    /// Exchange `number`, at 2026-11-21T03:00:00.000Z plus so many minutes.
    ///
    /// # Errors
    /// Never, as long as the ids in it are well-formed.
    pub fn new(number: u64) -> Result<Self, String> {
        let start: Timestamp = "2026-11-21T03:00:00.000Z".parse().map_err(text)?;
        let at = start.plus(Duration::from_secs(number * 60));
        Ok(Self {
            request: Self::id(at, 0, number),
            at,
            client: "VN/GOV/H26/mot-cua-so-1".parse().map_err(text)?,
            service: "VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan".parse().map_err(text)?,
            number,
        })
    }

    fn id(at: Timestamp, part: u8, number: u64) -> MessageId {
        let mut random = [part; 10];
        let (_, low) = random.split_at_mut(2);
        low.copy_from_slice(&number.to_be_bytes());
        MessageId::new(at, random)
    }

    fn local(&self, direction: Direction, at: Timestamp) -> Result<LocalPart, String> {
        let hash = |of: &str| KeyedHash { key_id: "index-1".into(), hash: Digest::of(of.as_bytes()) };
        Ok(LocalPart {
            v: 1,
            at,
            role: Role::Consumer,
            direction,
            request: self.request,
            client: self.client.clone(),
            service: self.service.clone(),
            peer: "VN/GOV/G01/ss1".parse().map_err(text)?,
            directory: Digest::of(b"a directory head"),
            trust: Some(TrustNote {
                signer: Fingerprint::of(b"a certificate"),
                status_this_update: Some(self.at),
                status_graced: false,
                directory_degraded: false,
                revocation_lists: Vec::new(),
            }),
            officer: Some(hash("officer")),
            subject: Some(hash(&format!("subject {}", self.number))),
            dossier: Some(hash(&format!("dossier {}", self.number))),
            outcome: None,
            fault: None,
        })
    }

    fn header(&self, kind: Kind, sent: Timestamp) -> Result<Header, String> {
        let request = kind == Kind::Request;
        let reply = InReplyTo { id: self.request, digest: Digest::of(b"the request's manifest") };
        let nodes = ("VN/GOV/H26/ss1", "VN/GOV/G01/ss1");
        let (from, to) = if request { nodes } else { (nodes.1, nodes.0) };
        Ok(Header {
            v: VERSION,
            kind,
            id: if request { self.request } else { Self::id(sent, 1, self.number) },
            instance: "VN".into(),
            client: self.client.clone(),
            service: self.service.clone(),
            from: from.parse().map_err(text)?,
            to: to.parse().map_err(text)?,
            directory: DirectoryRef { epoch: 1, version: 7 },
            sent,
            expires: sent.plus(Duration::from_secs(60)),
            method: request.then(|| "GET".to_owned()),
            path: request.then(|| "/cong-dan".to_owned()),
            query: None,
            headers: Vec::new(),
            user_id: request.then(|| "cb-0123".to_owned()),
            agency: None,
            purpose: None,
            legal_basis: None,
            consent: None,
            represented_party: None,
            issue: None,
            client_message_id: None,
            idempotency_key: None,
            trace: None,
            body: None,
            status: (!request).then_some(200),
            in_reply_to: (!request).then_some(reply),
            leaf: None,
        })
    }

    fn message(&self, kind: RecordKind, sent: Timestamp, body: &[u8]) -> Result<NewRecord, String> {
        let message = kind.message_kind().ok_or("an unsigned fault is no message")?;
        let header = self.header(message, sent)?;
        let bytes = header.to_bytes().map_err(text)?;
        let manifest = manifest::write(message, header.id, Digest::of(&bytes), Digest::of(body));
        let status = Artifact::new(Bytes::from(format!("OCSP response of hour {}", self.number / 60)));
        let direction = if kind == RecordKind::Request { Direction::Sent } else { Direction::Received };
        Ok(NewRecord {
            kind,
            owner: self.client.member(),
            header: bytes.into(),
            manifest_digest: Digest::of(&manifest),
            cms: Bytes::from(format!("signature {} {}", message.as_str(), self.number)),
            statuses: vec![status.digest],
            local: self.local(direction, sent)?,
            body: Some(Bytes::copy_from_slice(body)),
            body_digest: None,
            class: crate::BodyClass::default(),
            artifacts: vec![status],
        })
    }

    /// The request's record, with this body.
    ///
    /// # Errors
    /// Never, as long as the ids in it are well-formed.
    pub fn request(&self, body: &[u8]) -> Result<NewRecord, String> {
        self.message(RecordKind::Request, self.at, body)
    }

    /// The record of a request to which its caller gave an id of its own, or none.
    ///
    /// # Errors
    /// Never, as long as the ids in it are well-formed.
    pub fn request_of(&self, caller_id: Option<&str>) -> Result<NewRecord, String> {
        let mut record = self.request(b"")?;
        let mut header = self.header(Kind::Request, self.at)?;
        header.client_message_id = caller_id.map(str::to_owned);
        record.header = header.to_bytes().map_err(text)?.into();
        let (of_header, of_body) = (Digest::of(&record.header), Digest::of(b""));
        record.manifest_digest = Digest::of(&manifest::write(Kind::Request, header.id, of_header, of_body));
        Ok(record)
    }

    /// The record of the service's answer.
    ///
    /// # Errors
    /// Never, as long as the ids in it are well-formed.
    pub fn response(&self, body: &[u8]) -> Result<NewRecord, String> {
        self.message(RecordKind::Response, self.at.plus(SECOND), body)
    }

    /// The record of a signed refusal with this fault code.
    ///
    /// # Errors
    /// Never, as long as the ids in it are well-formed.
    pub fn refusal(&self, fault: &str, outcome: Option<Outcome>) -> Result<NewRecord, String> {
        let mut record = self.message(RecordKind::Refusal, self.at.plus(SECOND), b"{}")?;
        (record.local.fault, record.local.outcome) = (Some(fault.to_owned()), outcome);
        Ok(record)
    }

    /// The record of an unsigned fault.
    ///
    /// # Errors
    /// Never, as long as the ids in it are well-formed.
    pub fn unsigned(&self, fault: &str, outcome: Option<Outcome>) -> Result<NewRecord, String> {
        let at = self.at.plus(SECOND);
        let mut local = self.local(Direction::Received, at)?;
        (local.fault, local.outcome) = (Some(fault.to_owned()), outcome);
        Ok(NewRecord {
            kind: RecordKind::Unsigned,
            owner: self.client.member(),
            header: Bytes::new(),
            manifest_digest: Digest::of(b""),
            cms: Bytes::new(),
            statuses: Vec::new(),
            local,
            body: None,
            body_digest: None,
            class: crate::BodyClass::default(),
            artifacts: Vec::new(),
        })
    }
}

/// What the filled store holds, for the checks before and after it was reopened.
fn script() -> Result<Vec<NewRecord>, String> {
    let sample = Sample::new;
    let mut digest_only = sample(3)?.response(b"too long to keep")?;
    digest_only.body = None;
    Ok(vec![
        sample(0)?.request(b"")?,
        sample(0)?.response(b"{\"hoTen\":\"Nguy\xe1\xbb\x85n V\xc4\x83n A\"}")?,
        sample(1)?.request(b"one")?,
        sample(2)?.request(b"two")?,
        sample(1)?.refusal("NO_RIGHT", None)?,
        sample(2)?.unsigned("TIMEOUT", Some(Outcome::Unknown))?,
        sample(3)?.request(b"three")?,
        digest_only,
        sample(4)?.request(b"four, never answered")?,
        sample(5)?.request(b"five")?,
        sample(5)?.unsigned("UNAVAILABLE", None)?,
    ])
}

fn same(stored: &StoredRecord, new: &NewRecord, sequence: u64) -> bool {
    stored.sequence == sequence
        && stored.kind == new.kind
        && stored.owner == new.owner
        && stored.header == new.header
        && stored.manifest_digest == new.manifest_digest
        && stored.cms == new.cms
        && stored.statuses == new.statuses
        && stored.local == new.local
        && serde_json::from_slice::<LocalPart>(&stored.local_bytes).is_ok_and(|l| l == new.local)
        && stored.has_body == new.body.is_some()
}

/// Fills an empty store and checks all that it promises while it is open.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn evidence(store: &dyn EvidenceStore) -> Check {
    ensure(
        store.list(Query::default()).await.map_err(text)?.exchanges.is_empty(),
        "the store under test must be empty",
    )?;
    let mut receipts: Vec<Receipt> = Vec::new();
    for record in script()? {
        let room = store.reserve(4096).await.map_err(text)?;
        receipts.push(store.append(record, Some(room)).await.map_err(text)?);
        let last = receipts.len() as u64 - 1;
        ensure(store.read(last).await.is_ok(), "a record can be read as soon as its append returned")?;
    }
    for (i, receipt) in receipts.iter().enumerate() {
        let place = i as u64;
        ensure(
            receipt.sequence == place && receipt.leaf.index == place,
            "sequences begin at 0 and have no gap",
        )?;
        let record = store.read(place).await.map_err(text)?;
        let leaf = leaf_hash(
            place,
            record.kind,
            record.manifest_digest,
            &record.cms,
            &record.statuses,
            &record.local_bytes,
        );
        ensure(receipt.leaf.hash == leaf, "the receipt's leaf is that of the record as read back")?;
        let repeated = receipts.iter().filter(|r| r.chain == receipt.chain).count();
        ensure(repeated == 1, "every record changes the chain hash")?;
    }
    let unused = store.reserve(1 << 20).await.map_err(text)?;
    drop(unused);
    evidence_reopened(store).await
}

/// Checks a store that [`evidence`] filled, whether it was closed since or not.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn evidence_reopened(store: &dyn EvidenceStore) -> Check {
    let script = script()?;
    let end = script.len() as u64;
    for (i, new) in script.iter().enumerate() {
        let sequence = i as u64;
        let stored = store.read(sequence).await.map_err(text)?;
        ensure(same(&stored, new, sequence), "a record is read back as it was appended")?;
        let body = store.body(sequence).await.map_err(text)?;
        ensure(body == new.body, "a body is read back as it was appended, and none where none was")?;
        for artifact in &new.artifacts {
            let found = store.artifact(artifact.digest).await.map_err(text)?;
            ensure(found.as_ref() == Some(&artifact.bytes), "an artifact is found by its digest")?;
        }
    }
    ensure(store.read(end).await == Err(StoreError::NotFound), "what was never appended is NotFound")?;
    ensure(store.body(end).await == Err(StoreError::NotFound), "so is its body")?;
    let nothing = store.artifact(Digest::of(b"nothing")).await.map_err(text)?;
    ensure(nothing.is_none(), "an unknown artifact is None")?;
    exchanges(store).await?;
    lists(store).await?;
    replays(store).await
}

async fn sequences(store: &dyn EvidenceStore, number: u64) -> Result<Vec<u64>, String> {
    let records = store.exchange(Sample::new(number)?.request).await.map_err(text)?;
    Ok(records.iter().map(|r| r.sequence).collect())
}

async fn exchanges(store: &dyn EvidenceStore) -> Check {
    let in_order = "an exchange is its records in order";
    ensure(sequences(store, 0).await? == [0, 1], in_order)?;
    ensure(sequences(store, 1).await? == [2, 4], in_order)?;
    ensure(sequences(store, 4).await? == [8], in_order)?;
    ensure(sequences(store, 99).await?.is_empty(), "an unknown request has no records")
}

async fn listed(store: &dyn EvidenceStore, query: Query) -> Result<Vec<MessageId>, String> {
    Ok(store.list(query).await.map_err(text)?.exchanges.into_iter().map(|e| e.id).collect())
}

async fn lists(store: &dyn EvidenceStore) -> Check {
    let all = store.list(Query::default()).await.map_err(text)?.exchanges;
    let outcomes: Vec<_> = all.iter().map(|e| (e.outcome, e.fault.as_deref())).collect();
    let expected = [
        (Outcome::Failed, Some("UNAVAILABLE")),
        (Outcome::Unknown, None),
        (Outcome::Ok, None),
        (Outcome::Unknown, Some("TIMEOUT")),
        (Outcome::Refused, Some("NO_RIGHT")),
        (Outcome::Ok, None),
    ];
    ensure(
        outcomes == expected,
        "a list shows each exchange once, newest first, with its outcome and fault",
    )?;
    let (first, third) = (Sample::new(0)?, Sample::new(3)?);
    let oldest = all.last().ok_or("the list is empty")?;
    ensure(
        oldest.time == first.at && oldest.records == [0, 1],
        "its time is the request's, its records are in order",
    )?;
    let ids: Vec<MessageId> = all.iter().map(|e| e.id).collect();
    let only = |query: Query| async { listed(store, query).await };
    let by_client = Query { client: Some(first.client.clone()), ..Query::default() };
    ensure(only(by_client).await? == ids, "a query by client finds that client's exchanges")?;
    let by_service = Query { service: Some(first.service.clone()), ..Query::default() };
    ensure(only(by_service).await? == ids, "a query by service finds that service's exchanges")?;
    let other =
        Query { client: "VN/GOV/H26/khac".parse().ok(), service: Some(first.service), ..Query::default() };
    ensure(only(other).await?.is_empty(), "every set field of a query must match")?;
    let span = Query { since: Some(first.at), until: Some(third.at), ..Query::default() };
    ensure(only(span).await?.as_slice() == ids.get(3..).unwrap_or_default(), "since counts, until does not")?;
    let newest = Query { since: Some(third.at), limit: 2, ..Query::default() };
    ensure(only(newest).await?.as_slice() == ids.get(..2).unwrap_or_default(), "a limit keeps the newest")?;
    let one = Query { message: Some(third.request), ..Query::default() };
    ensure(only(one).await? == [third.request], "a query by request finds that one")
}

/// Appends requests to an empty store, of which two have the same id of their caller, and looks for them by it.
///
/// # Errors
/// The clause that does not hold.
pub async fn caller_ids(store: &dyn EvidenceStore) -> Check {
    for (number, id) in [(0, Some("lap/1 đ")), (1, Some("khac")), (2, None), (3, Some("lap/1 đ"))] {
        let record = Sample::new(number)?.request_of(id)?;
        store.append(record, None).await.map_err(text)?;
    }
    caller_ids_reopened(store).await
}

/// What [`caller_ids`] appended is found, also after the store was reopened or its index made again.
///
/// # Errors
/// The clause that does not hold.
pub async fn caller_ids_reopened(store: &dyn EvidenceStore) -> Check {
    let id = |number| Sample::new(number).map(|sample| sample.request);
    let (old, other, new) = (id(0)?, id(1)?, id(3)?);
    let only = |query: Query| async { listed(store, query).await };
    let given = |id: &str| Query { caller_id: Some(id.to_owned()), ..Query::default() };
    let all = only(given("lap/1 đ")).await?;
    ensure(all == [new, old], "a caller's id finds all that bear it, newest first")?;
    ensure(only(given("khac")).await? == [other], "a caller's id finds the one that bears it")?;
    ensure(only(given("lap")).await?.is_empty(), "a part of an id finds nothing")?;
    let both = |request| Query { message: Some(request), ..given("khac") };
    ensure(only(both(other)).await? == [other], "a request and its caller's id go together")?;
    ensure(only(both(new)).await?.is_empty(), "a request and another one's id do not")?;
    let strange = Query { client: "VN/GOV/H26/khac".parse().ok(), ..given("khac") };
    ensure(only(strange).await?.is_empty(), "a caller's id is looked for among that client's only")?;
    let later = Query { since: Some(Sample::new(1)?.at), ..given("lap/1 đ") };
    ensure(only(later).await? == [new], "a caller's id and a time go together")
}

async fn replays(store: &dyn EvidenceStore) -> Check {
    let since = Sample::new(5)?.at;
    let found = store.replay(since).await.map_err(text)?;
    let found: Vec<u64> = found.iter().map(|r| r.sequence).collect();
    ensure(
        found == [8, 9, 10],
        "a replay has what was made since then, and older requests without an answer",
    )?;
    let all = store.replay(Timestamp::from_millis(0)).await.map_err(text)?;
    ensure(all.iter().enumerate().all(|(i, r)| r.sequence == i as u64), "a replay is in order")?;
    ensure(all.len() == script()?.len(), "a replay from the beginning has everything")
}

fn decision(number: u64) -> Result<Decision, String> {
    Ok(Decision {
        kind: "access.granted".into(),
        actor: "init".into(),
        at: Sample::new(number)?.at,
        payload: serde_json::json!({ "number": number, "note": "quyền truy cập" }),
    })
}

const DECISIONS: u64 = 20;

/// Fills an empty log and checks all that it promises while it is open.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn decisions(log: &dyn DecisionLog) -> Check {
    ensure(log.replay().await.map_err(text)?.is_empty(), "the log under test must be empty")?;
    ensure(log.end().await == Ok(None), "an empty log has no end")?;
    let mut chains = Vec::new();
    for number in 0..DECISIONS {
        let receipt = log.append(decision(number)?).await.map_err(text)?;
        ensure(receipt.sequence == number, "sequences begin at 0 and have no gap")?;
        ensure(!chains.contains(&receipt.chain), "every decision changes the chain hash")?;
        chains.push(receipt.chain);
        let end = Decisions { next: number + 1, chain: receipt.chain };
        ensure(log.end().await == Ok(Some(end)), "the end is after the last receipt")?;
    }
    decisions_reopened(log).await
}

/// Checks a log that [`decisions`] filled, whether it was closed since or not.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn decisions_reopened(log: &dyn DecisionLog) -> Check {
    let expected = (0..DECISIONS).map(decision).collect::<Result<Vec<_>, _>>()?;
    let end = log.end().await.map_err(text)?;
    ensure(end.is_some_and(|end| end.next == DECISIONS), "the end is after the last decision")?;
    ensure(
        log.replay().await.map_err(text)? == expected,
        "a replay has every decision as it was appended, in order",
    )
}
