//! What a frame holds: a record with its body, statuses and manifest; a proof; a decision.

use truc_evidence::{Decision, Decisions, Proof, StoredRecord};
use truc_message::{Header, manifest};
use truc_model::Digest;

use super::Check;
use super::away::buried;
use crate::bodies::{self, BodyRef};
use crate::evidence::indexer::group_of;
use crate::evidence::record_format::decode;
use crate::journal::format::{Frame, FrameType};
use crate::journal::scan::{Place, Segment};
use crate::keys::RecordKeys;

impl Check<'_> {
    pub(super) fn content(
        &mut self,
        keys: &dyn RecordKeys,
        frame: &Frame<'_>,
        content: Vec<u8>,
        (segment, place): (&Segment, Place),
    ) -> Result<(), String> {
        let index = self.index.as_ref();
        match frame.kind {
            FrameType::Artifact => {
                let digest = Digest::of(&content);
                self.known.insert(digest);
                self.artifact.iter().for_each(|shown| shown(&content));
                index.map_or(Ok(()), |index| index.artifact(&digest, place))
            }
            FrameType::Decision => serde_json::from_slice::<Decision>(&content)
                .map(drop)
                .map_err(|e| format!("not a decision: {e}")),
            FrameType::Proof => {
                let proof = Proof::decode(&content).map_err(|e| e.to_string())?;
                let found = index.map_or(Ok(()), |index| index.proof(&proof, place));
                self.proof(segment, place, proof);
                found
            }
            FrameType::Record | FrameType::Body => {
                let (record, body) =
                    decode(frame.sequence, content).ok_or("a record of an unknown format")?;
                let found = index.map_or(Ok(()), |index| index.record(record.sequence, place));
                let told = (record.local.at, self.chain);
                if let Some(log) = &mut self.log
                    && let Err(error) =
                        log.record(record.sequence, record.leaf().hash, group_of(&record), told)
                {
                    self.failed = Some(error);
                }
                self.record(keys, &record, &body, (segment, place))?;
                found
            }
        }
    }

    fn proof(&mut self, segment: &Segment, place: Place, proof: Proof) {
        let Some(log) = &mut self.log else { return };
        match proof {
            Proof::Batch(batch) => log.batch(&segment.path, place.offset, batch),
            Proof::Archived(archived) => log.archived.push(archived),
            Proof::Tombstone(tombstone) => match buried(&tombstone.note, self.log_keys) {
                Ok(of) => drop(self.buried.insert(of)),
                Err(what) => self.problem(&segment.path, place.offset, what),
            },
            Proof::Decisions(said) => {
                if let Err(what) = self.decided(&said) {
                    self.problem(&segment.path, place.offset, what);
                }
            }
            hold @ (Proof::Hold(_) | Proof::Release(_)) => self.holds.push(hold),
            Proof::Status(_) | Proof::Acknowledged(_) => {}
        }
    }

    /// Compares the journal of decisions with what the evidence says of it. Said once: later ones would say the same.
    fn decided(&mut self, said: &Decisions) -> Result<(), String> {
        let Ok(known) = self.decided else { return Ok(()) };
        let there = self.decisions.len() as u64;
        let last = said.next.checked_sub(1).and_then(|last| usize::try_from(last).ok());
        let chain = last.and_then(|last| self.decisions.get(last).copied());
        let what = match chain {
            None => format!(
                "the journal of decisions has {there}, and this says that there were {}: decision {there} and later ones are missing",
                said.next
            ),
            Some(chain) if chain == Some(said.chain) => {
                self.decided = Ok(known.max(said.next));
                return Ok(());
            }
            // What could not be read is told already.
            Some(None) => return Ok(()),
            Some(_) => format!(
                "the journal of decisions is another than this says: among the decisions {} to {} one was changed, removed or added",
                known.min(said.next - 1),
                said.next - 1
            ),
        };
        self.decided = Err(());
        Err(what)
    }

    fn record(
        &mut self,
        keys: &dyn RecordKeys,
        record: &StoredRecord,
        body: &BodyRef,
        (segment, place): (&Segment, Place),
    ) -> Result<(), String> {
        let missing = record.statuses.iter().find(|s| !self.known.contains(s) && !self.known_before(s));
        if let Some(status) = missing {
            return Err(format!("record {}: the status {status} is not in the journal", record.sequence));
        }
        // What lies in the archive is read when one is given; its digest was compared before it was removed here.
        if self.archive.is_none()
            && let Some(away) = bodies::lies_away(&self.bodies, body)
        {
            self.report.bodies_away += 1;
            self.away.entry(away).or_insert_with(|| (record.sequence, segment.path.clone(), place.offset));
            return Ok(());
        }
        let bytes = bodies::read(&self.bodies, keys, &self.shelf, record.sequence, body);
        let bytes = bytes.map_err(|e| format!("record {}: its body: {e}", record.sequence))?;
        self.report.bodies += u64::from(bytes.is_some());
        if let (None, BodyRef::At { class, month, .. }) = (&bytes, body) {
            let first = (record.sequence, segment.path.clone(), place.offset);
            self.gone.entry((class.clone(), month.0)).or_insert(first);
            self.gone_of.push((record.local.request, record.sequence));
        }
        let Some(kind) = record.kind.message_kind() else {
            return Ok(());
        };
        let header = Header::parse(&record.header).map_err(|e| format!("record {}: {e}", record.sequence))?;
        // Of a body that has expired the record still says what it was.
        let bytes = bytes.map(|bytes| Digest::of(&bytes));
        // Of a body that an older program did not keep, the manifest itself is, as an artifact.
        let Some(body) = bytes.or(record.body_digest) else { return Ok(()) };
        let manifest = manifest::write(kind, header.id, Digest::of(&record.header), body);
        if Digest::of(&manifest) == record.manifest_digest
            && record.body_digest.is_none_or(|said| said == body)
        {
            Ok(())
        } else {
            Err(format!("record {}: header and body do not give its manifest digest", record.sequence))
        }
    }
}
