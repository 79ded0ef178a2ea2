//! Evidence: what is recorded of an exchange, the ports that keep it, and the container a court can check.
//!
//! Design §5, protocol P4.2–P4.5 and P5. This crate must not open a file or know a disk: [`EvidenceStore`] and
//! [`DecisionLog`] are kept by adapters (`truc-stores`). It makes [`Recorded`], the last link of the chain
//! `Received → Verified → Admitted → Recorded`, and nothing else can.

mod claims;
pub mod container;
pub mod contract;
mod decision;
mod directory_proof;
mod ending;
mod leaf;
mod record;
mod recorder;
mod store;
mod under_way;

pub use claims::{Claim, Claims, Known};
pub use decision::{Decision, DecisionLog};
pub use ending::Ending;
pub use leaf::leaf_hash;
pub use record::{
    Artifact, Direction, ExchangeSummary, KeyedHash, ListNote, LocalPart, NewRecord, Outcome, Query,
    RecordKind, Role, StoredRecord, TrustNote, caller_id,
};
pub use recorder::{Ended, IndexKey, OpenRequest, Past, Recorded, Recorder};
pub use store::{EvidenceStore, Receipt, Reservation, StoreError};
pub use under_way::UnderWay;
