//! Evidence: what is recorded of an exchange, the ports that keep it, and the container a court can check.
//!
//! Design §5, protocol P4.2–P4.5 and P5. This crate must not open a file or know a disk: [`EvidenceStore`] and
//! [`DecisionLog`] are kept by adapters (`truc-stores`). It makes [`Recorded`], the last link of the chain
//! `Received → Verified → Admitted → Recorded`, and nothing else can.

mod archive_store;
mod claims;
pub mod container;
pub mod contract;
mod decision;
mod directory_proof;
mod ending;
pub mod ers;
mod keeping;
mod leaf;
mod proof;
mod query;
mod record;
mod recorder;
mod store;
mod under_way;

pub use archive_store::{
    ArchiveError, ArchiveStore, ArchivedObject, Content, OBJECT_LIMIT, check_name, fetch,
};
pub use claims::{Claim, Claims, Known};
pub use decision::{Decision, DecisionLog};
pub use ending::Ending;
pub use keeping::{
    ClassMonth, ClassMonthState, ClosedSegment, DiskUse, Retention, SegmentStore, YearMonth, archived,
    holds_in_force, object_name,
};
pub use leaf::leaf_hash;
pub use proof::{
    Acknowledged, AcknowledgedLeaf, Archived, Batch, Decisions, Hold, LaterStatus, Proof, ProofStore,
    Release, Tombstone,
};
pub use query::{ExchangeSummary, Found, Indexed, PAGE_LIMIT, Query};
pub use record::{
    Artifact, Direction, KeyedHash, ListNote, LocalPart, NewRecord, Outcome, RecordKind, Role, StoredRecord,
    TrustNote,
};
pub use recorder::{Ended, IndexKey, OpenRequest, Past, Recorded, Recorder, SubjectCounts};
pub use store::{EvidenceStore, Receipt, Reservation, StoreError};
pub use truc_policy::BodyClass;
pub use under_way::UnderWay;
