//! Closed segments, in order: put, read back, proved, and only then removed here.

use std::collections::BTreeMap;

use truc_evidence::{
    ArchiveError, ArchiveStore, Archived, ClosedSegment, Content, Proof, archived, fetch, object_name,
};

use crate::error::KeepingError;
use crate::keeper::Keeper;

/// What one round moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Keeper {
    /// Moves every closed segment to the archive, if there is one; stops at the first that cannot be moved.
    ///
    /// # Errors
    /// [`KeepingError`]; what was moved before stays moved.
    pub async fn move_closed(&self) -> Result<Moved, KeepingError> {
        let Some(archive) = &self.archive else { return Ok(Moved::default()) };
        let _one = self.one.lock().await;
        let known = archived(&self.proofs.marks().await?);
        let expiring: Vec<_> = self.segments.class_months().await?;
        let expiring: Vec<_> = expiring.into_iter().filter(|m| m.plan.is_some()).map(|m| m.of).collect();
        let mut closed = self.segments.closed().await?;
        closed.retain(|segment| !expiring.iter().any(|of| of.holds(&segment.file)));
        let closed = self.without_those_of_a_start(closed).await?;
        let mut moved = Moved::default();
        self.tell_waiting(&closed);
        for (i, segment) in closed.iter().enumerate() {
            self.move_one(archive.as_ref(), segment, &known).await?;
            moved.segments += 1;
            moved.bytes += segment.length;
            self.lock().moved += 1;
            self.tell_waiting(closed.get(i + 1..).unwrap_or_default());
        }
        Ok(moved)
    }

    /// All but the journal's segments from the first on that a start reads.
    async fn without_those_of_a_start(
        &self,
        closed: Vec<ClosedSegment>,
    ) -> Result<Vec<ClosedSegment>, KeepingError> {
        let (mut moving, mut stays) = (Vec::with_capacity(closed.len()), false);
        for segment in closed {
            if segment.chain.is_some() {
                stays = stays || self.is_read_at_start(&segment).await?;
                if stays {
                    continue;
                }
            }
            moving.push(segment);
        }
        Ok(moving)
    }

    /// A start reads the records that requests which come again may belong to, and the last batch: its proof lies behind the records that it
    /// covers.
    async fn is_read_at_start(&self, segment: &ClosedSegment) -> Result<bool, KeepingError> {
        if self.young.is_zero() {
            return Ok(false);
        }
        if self.proofs.last_batch().await?.is_some_and(|batch| batch.next <= segment.next) {
            return Ok(true);
        }
        let Some(last) = segment.next.checked_sub(1).filter(|last| *last >= segment.first) else {
            return Ok(false);
        };
        let record = self.evidence.read(last).await?;
        Ok(self.clock.now() < record.local.at.plus(self.young))
    }

    fn tell_waiting(&self, closed: &[ClosedSegment]) {
        let mut state = self.lock();
        state.waiting = closed.len() as u64;
        state.waiting_bytes = closed.iter().map(|s| s.length).sum();
    }

    async fn move_one(
        &self,
        archive: &dyn ArchiveStore,
        segment: &ClosedSegment,
        known: &BTreeMap<String, Archived>,
    ) -> Result<(), KeepingError> {
        let bytes = self.segments.bytes(&segment.file).await?;
        let content = Content::of(&bytes);
        let name = object_name(&segment.file, content.sha256);
        archive.put(&name, bytes).await?;
        if let Err(error) = fetch(archive, &name, &content).await {
            if matches!(error, ArchiveError::Damaged(_)) {
                // It would be in the way of the next try. Nothing counts on it: the segment is still here.
                tracing::debug!(%error, name, "the archive did not keep what it was given");
                archive.delete(&name).await?;
            }
            return Err(error.into());
        }
        let proved = known.get(&segment.file).filter(|a| a.sha256 == content.sha256);
        let archived = match proved {
            Some(archived) => archived.clone(),
            None => {
                let archived = Archived {
                    file: segment.file.clone(),
                    first: segment.first,
                    next: segment.next,
                    chain: segment.chain,
                    sha256: content.sha256,
                    length: content.length,
                    at: self.clock.now(),
                };
                self.proofs.prove(Proof::Archived(archived.clone())).await?;
                archived
            }
        };
        self.segments.remove(&archived).await?;
        tracing::info!(file = segment.file, name, bytes = content.length, "a segment was archived");
        Ok(())
    }
}
