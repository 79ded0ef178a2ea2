//! [`SegmentStore`] of an open journal: the folder's side is in `keeping`, here is what only the writer knows.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_evidence::{
    Archived, ClassMonth, ClassMonthState, ClosedSegment, DiskUse, SegmentStore, StoreError, YearMonth,
};

use super::indexer::current;
use super::{EvidenceJournal, Readers, STEM};
use crate::bodies::{self, BodyRef};
use crate::journal::scan::{Place, SegmentId, segment_id};
use crate::keeping::{self, Folder};

/// How long the index may take to come to the end of a segment that is to make way.
const SETTLE_WAIT: Duration = Duration::from_secs(30);
const TRAILS: &str =
    "the index trails behind the segment that is to make way for its copy in the archive; it is tried again";

impl EvidenceJournal {
    async fn kept<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reading(move |r| work(&r.folder)).await
    }

    /// Puts on stable storage what is made from `segment`, so that no start needs it again: it is about to leave this disk, and the
    /// archive may be away when the power comes back.
    async fn settle_beyond(&self, segment: SegmentId) -> Result<(), StoreError> {
        let mut indexed = self.indexer.indexed.clone();
        let beyond = |place: &Place| place.segment > segment;
        let there = |reached: &Option<Place>| reached.as_ref().is_some_and(beyond);
        // What waits any longer is told by what follows.
        let _ = tokio::time::timeout(SETTLE_WAIT, indexed.wait_for(there)).await;
        self.reading(move |r| {
            let trails = || StoreError::Failed(TRAILS.into());
            let derived = current(&r.slot).ok_or_else(trails)?;
            let point = derived.settle_all().map_err(StoreError::Failed)?;
            point.filter(|point| point.place.segment > segment).map(drop).ok_or_else(trails)
        })
        .await
    }
}

fn place_of(reference: &BodyRef) -> Option<ClassMonth> {
    let BodyRef::At { class, month, .. } = reference else { return None };
    let month: YearMonth = format!("{:06}", month.0).parse().ok()?;
    Some(ClassMonth { class: class.parse().ok()?, month })
}

fn hold(readers: &Readers, sequence: u64) -> Result<bool, StoreError> {
    let (_, reference) = readers.record(sequence)?;
    if let Some(body) = bodies::read(&readers.bodies, &*readers.keys, &readers.shelf, sequence, &reference)? {
        keeping::keep_held(&readers.folder.holds(), &*readers.keys, &readers.options, sequence, &body)?;
        return Ok(true);
    }
    Ok(keeping::read_held(&readers.folder.holds(), &*readers.keys, sequence)?.is_some())
}

#[async_trait]
impl SegmentStore for EvidenceJournal {
    async fn closed(&self) -> Result<Vec<ClosedSegment>, StoreError> {
        // What lies there first, then what is open: a segment that is begun in between must not be taken for a closed one.
        let bodies = self.kept(Folder::body_segments).await?;
        let closed = self.journal()?.closed().await?;
        self.kept(move |folder| folder.closed(&closed.journal, bodies, &closed.open_bodies)).await
    }

    async fn bytes(&self, file: &str) -> Result<Bytes, StoreError> {
        let file = file.to_owned();
        self.kept(move |folder| folder.bytes(&file)).await
    }

    async fn remove(&self, archived: &Archived) -> Result<(), StoreError> {
        if let Some(segment) = segment_id(&archived.file, STEM) {
            self.settle_beyond(segment).await?;
        }
        let archived = archived.clone();
        self.kept(move |folder| folder.remove(&archived)).await
    }

    async fn class_months(&self) -> Result<Vec<ClassMonthState>, StoreError> {
        self.kept(Folder::class_months).await
    }

    async fn begin_expiry(&self, of: &ClassMonth, plan: Bytes) -> Result<(), StoreError> {
        // Nobody may go on writing into what is destroyed.
        self.journal()?.leave(of.folder()).await?;
        let of = of.clone();
        self.kept(move |folder| folder.begin_expiry(&of, &plan)).await
    }

    async fn destroy_key(&self, of: &ClassMonth) -> Result<(), StoreError> {
        let of = of.clone();
        self.kept(move |folder| folder.destroy_key(&of)).await
    }

    async fn remove_segments(&self, of: &ClassMonth) -> Result<(), StoreError> {
        let of = of.clone();
        self.kept(move |folder| folder.remove_segments(&of)).await
    }

    async fn end_expiry(&self, of: &ClassMonth) -> Result<(), StoreError> {
        let of = of.clone();
        self.kept(move |folder| folder.end_expiry(&of)).await
    }

    async fn body_place(&self, sequence: u64) -> Result<Option<ClassMonth>, StoreError> {
        self.reading(move |r| Ok(place_of(&r.record(sequence)?.1))).await
    }

    async fn hold_body(&self, sequence: u64) -> Result<bool, StoreError> {
        self.reading(move |r| hold(r, sequence)).await
    }

    async fn held(&self) -> Result<Vec<u64>, StoreError> {
        self.kept(Folder::held).await
    }

    async fn release_body(&self, sequence: u64) -> Result<(), StoreError> {
        self.kept(move |folder| folder.release(sequence)).await
    }

    async fn disk(&self) -> Result<DiskUse, StoreError> {
        let records = (self.readers.extent)().1.map_or(0, |end| end.sequence);
        self.kept(move |folder| folder.disk(records)).await
    }
}
