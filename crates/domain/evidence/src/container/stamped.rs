//! What was proved of an exchange after it was recorded: evidence records, later statuses, the log (`docs/evidence.md` §4).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use truc_model::{Digest, MessageId};

use super::collect::{Exchange, ExportError, add_authority, collect};
use super::names;
use super::notes::{HeadNote, RecordNote, StampNote};
use crate::ers::{EvidenceRecord, Tree, group_hash};
use crate::proof::{Batch, ProofStore};
use crate::store::EvidenceStore;

/// Gathers an exchange as [`collect`] does, and all that was proved of it: evidence records with their tokens, the statuses
/// issued after them, and the head of the log with each record's inclusion proof. Of a record that is not stamped yet
/// there is none of it, and the container says so.
///
/// # Errors
/// [`ExportError`].
pub async fn collect_proved(
    store: &dyn EvidenceStore,
    proofs: &dyn ProofStore,
    id: MessageId,
) -> Result<Exchange, ExportError> {
    let mut exchange = collect(store, id).await?;
    let mut batches: BTreeMap<u64, StampedBatch> = BTreeMap::new();
    for index in 0..exchange.records.len() {
        let Some(record) = exchange.records.get(index).cloned() else { break };
        let Some(batch) = proofs.batch_of(record.sequence).await? else { continue };
        let next = batch.next;
        let batch = match batches.entry(next) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                add_authority(store, proofs, &mut exchange, &batch).await?;
                place.insert(StampedBatch::gather(proofs, batch).await?)
            }
        };
        let stamped =
            StampNote { head: batch.note.head, inclusion: proofs.inclusion(record.sequence, next).await? };
        let mut later = None;
        if let Some(group) = exchange.group(&record) {
            let ers = batch.evidence_record(&record, &group)?;
            exchange.evidence_records.insert(record.sequence, ers);
            if let Some(signer) = exchange.signer(&record) {
                later = proofs.status_after(signer, batch.note.gen_time).await?;
            }
        }
        if let Some(record) = exchange.records.get_mut(index) {
            record.stamped = Some(stamped);
            if let Some(status) = later {
                let digest = Digest::of(&status.response);
                record.statuses_after = vec![digest];
                exchange.supporting.insert(names::status(digest), status.response);
            }
        }
    }
    exchange.heads =
        batches.into_values().map(|b| (b.note, Bytes::from(b.batch.head), b.batch.token)).collect();
    Ok(exchange)
}

/// A batch with the way of each of its leaves.
struct StampedBatch {
    batch: Batch,
    note: HeadNote,
    tree: Tree,
    /// The group hashes of its records, and with them their place among the leaves.
    groups: Vec<Option<Digest>>,
}

impl StampedBatch {
    async fn gather(proofs: &dyn ProofStore, batch: Batch) -> Result<Self, ExportError> {
        let groups = proofs.groups(batch.first, batch.next).await?;
        // A batch may have a million leaves.
        let work = tokio::task::spawn_blocking(move || {
            let head = Digest::of(batch.head.as_bytes());
            let leaves: Vec<Digest> = groups.iter().flatten().copied().chain([head]).collect();
            let last = leaves.len() - 1;
            let tree = Tree::new(leaves).map_err(|why| damaged(batch.first, &why))?;
            let note = HeadNote {
                head,
                first: batch.first,
                next: batch.next,
                authority: batch.authority.clone(),
                gen_time: batch.gen_time,
                path: tree.path(last).unwrap_or_default(),
            };
            Ok(Self { batch, note, tree, groups })
        });
        work.await.map_err(|why| ExportError::Damaged { sequence: 0, why: why.to_string() })?
    }

    fn evidence_record(&self, record: &RecordNote, group: &[Digest]) -> Result<Bytes, ExportError> {
        let place = usize::try_from(record.sequence.saturating_sub(self.batch.first)).unwrap_or(usize::MAX);
        let known = self.groups.get(place).copied().flatten();
        let hash = match group {
            [manifest, cms, statuses @ ..] => Some(group_hash(*manifest, *cms, statuses)),
            _ => None,
        };
        if known.is_none() || known != hash {
            let why = "its group hash is not that of the time-stamped batch";
            return Err(damaged(record.sequence, &why));
        }
        let leaf = self.groups.iter().take(place).flatten().count();
        let path = self.tree.path(leaf).unwrap_or_default();
        let ers = EvidenceRecord::new(group, &path, &self.batch.token);
        let der = ers.and_then(|ers| ers.to_der()).map_err(|why| damaged(record.sequence, &why))?;
        Ok(der.into())
    }
}

fn damaged(sequence: u64, why: &dyn std::fmt::Display) -> ExportError {
    ExportError::Damaged { sequence, why: why.to_string() }
}

/// The data objects of one evidence record: manifest, signature and statuses, by name and digest.
pub(super) struct Group<'a> {
    pub(super) manifest: (&'a str, Digest),
    pub(super) signature: (&'a str, Digest),
    pub(super) statuses: &'a [Digest],
}

impl Group<'_> {
    /// What the first list of the evidence record must hold.
    pub(super) fn digests(&self) -> Vec<Digest> {
        let signed = [self.manifest.1, self.signature.1];
        signed.into_iter().chain(self.statuses.iter().copied()).collect()
    }

    /// `ASiCEvidenceRecordManifest` (EN 319 162-1 §4.4, annex A.4): the evidence record, and exactly the objects it is about.
    /// There is no registered media type of RFC 4998 records, so its reference states none.
    pub(super) fn manifest_of(&self, ers: &str) -> Vec<u8> {
        let object = |uri: &str, media: &str, digest: Digest| {
            format!(
                "<asic:DataObjectReference MimeType=\"{media}\" URI=\"{uri}\">\
                 <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/>\
                 <ds:DigestValue>{}</ds:DigestValue></asic:DataObjectReference>",
                STANDARD.encode(digest.as_bytes())
            )
        };
        let mut objects = object(self.manifest.0, "text/xml", self.manifest.1);
        objects.push_str(&object(self.signature.0, "application/pkcs7-signature", self.signature.1));
        let mut named: Vec<Digest> = Vec::new();
        for status in self.statuses {
            // One status may stand twice in a record; a manifest names each file once.
            if !named.contains(status) {
                named.push(*status);
                objects.push_str(&object(&names::status(*status), "application/ocsp-response", *status));
            }
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <asic:ASiCManifest xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" \
             xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\
             <asic:SigReference URI=\"{ers}\"/>{objects}</asic:ASiCManifest>\n"
        )
        .into_bytes()
    }
}
