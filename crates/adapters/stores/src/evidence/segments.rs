//! [`SegmentStore`] of an open journal: the folder's side is in `keeping`, here is what only the writer knows.

use async_trait::async_trait;
use bytes::Bytes;
use truc_evidence::{
    Archived, ClassMonth, ClassMonthState, ClosedSegment, DiskUse, SegmentStore, StoreError, YearMonth,
};

use super::{EvidenceJournal, Readers};
use crate::bodies::{self, BodyRef};
use crate::keeping::{self, Folder};

impl EvidenceJournal {
    async fn kept<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reading(move |r| work(&r.folder)).await
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
        let closed = self.journal()?.closed().await?;
        self.kept(move |folder| folder.closed(&closed.journal, &closed.open_bodies)).await
    }

    async fn bytes(&self, file: &str) -> Result<Bytes, StoreError> {
        let file = file.to_owned();
        self.kept(move |folder| folder.bytes(&file)).await
    }

    async fn remove(&self, archived: &Archived) -> Result<(), StoreError> {
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
