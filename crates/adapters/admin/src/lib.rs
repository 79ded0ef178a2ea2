//! The operator's door: a node's REST/JSON API under `/api/v1` and the client that the command line uses for it
//! (design §8 and §12, `docs/admin-api.md`).
//!
//! Every request carries a token with a name and a role; every change is a decision in the node's journal, under the
//! token's name, before it is answered with 2xx. The node itself is behind [`AdminBackend`]. This crate must not decide
//! who may call a service (that is `truc-policy`), keep anything on disk, or carry messages of the bus.

mod backend;
mod client;
mod explain;
mod extract;
mod fault;
mod handlers;
pub mod health;
mod plain;
mod router;
mod serve;
pub mod small_server;
mod tokens;
mod view;

pub use backend::{AdminBackend, Decide};
pub use client::{AdminClient, ClientError};
pub use fault::{AdminCode, AdminFault, FaultBody, FaultText};
pub use router::{
    BODY_LIMIT, CONCURRENCY, EVIDENCE_ASKED, EVIDENCE_READS, EVIDENCE_WAIT, POLICY_BODY_LIMIT,
    REQUEST_DEADLINE, Route, routes,
};
pub use serve::serve;
pub use tokens::{Role, TokenEntry, TokenError, TokenTable};
pub use view::{
    AccessEntry, AccessFilter, AuditFilter, AuditPart, CheckAnswer, CheckCall, CheckedRight, DirectoryStatus,
    DirectoryView, DiskView, EvidenceEntry, EvidenceFilter, EvidencePage, EvidenceRecord, EvidenceSearch,
    EvidenceShown, Grant, GroupEntry, GroupFilter, GroupMemberBody, GroupView, HeadsDocument, HeadsFilter,
    HoldAnswer, HoldRelease, HoldView, KeepingView, MemberView, MissingLeaf, MonthView, NewGroup, NewHold,
    NodeStatus, NodeView, Notice, Offered, PlaceEntry, PlanLine, PlanView, PolicyFilter, PolicyText,
    Refreshed, SubsystemView, SuccessionEntry, WitnessHeads, freshness_word, service_from_json,
    service_to_json,
};
