//! The registry as a program: its folder, configuration, running service, admin API, and what stands behind the
//! verbs of `truc registry …`.
//!
//! It wires governance, key store, journal and the gRPC door together. It must not decide anything itself (that is
//! `truc-governance`) and never prints: the command line shows what these functions return.

mod admin;
mod audit;
mod backup;
mod ceremony;
mod closed;
mod code_lists;
mod codes;
mod config;
mod door;
mod error;
mod files;
mod heads;
mod inspector;
mod issuing;
mod lifecycle;
mod office;
mod requests;
mod run;
mod setup;
mod verbs;

pub use audit::{AuditReport, audit_log, shown as shown_decision, verify_audit};
pub use backup::{Restored, backup, restore};
pub use ceremony::{Installed, RootWishes, head_number, new_root_key, sign_draft};
pub use code_lists::{
    CodeEntry, CodeListDocument, CodeListError, CodeLists, CodeStatus, Confidence, OPENAPI, PublishedList,
    Version, check_entries, read_entries, serve_code_lists,
};
pub use codes::{
    AGENCY_CODES, AGENCY_CODES_NAME, CodesLoaded, LoadCodes, LoadOptions, LoadPlan, PlannedRow, Registered,
    Step, agency_codes, plan_codes,
};
pub use config::{ConfigError, IssuingSettings, OfficerToken, RegistryConfig};
pub use door::Door;
pub use error::RegistryError;
pub use inspector::{CaInspector, CertificateProblem, Expectation, Offered};
pub use issuing::PilotCa;
pub use lifecycle::{
    Approve, AttachLevel, Certify, DisableSubsystem, EnableSubsystem, Invite, Refuse, ReinstateMember,
    ReinstateNode, RemoveNode, RemoveSubsystem, SetMaintenance, SetValidity, SuspendMember, SuspendNode,
    WithdrawInvitation,
};
pub use office::Office;
pub use run::{Running, run, start};
pub use setup::{AwaitingRoot, InitOptions, Initialised, init, init_offline};
pub use truc_stores::{HeadNumber, Manifest};
pub use verbs::{
    AddAlias, AddMember, AddSubsystem, AddToGroup, CloseMember, Continuation, CreateGroup, InstallRoot,
    InstallTrust, MoveNode, Outcome, RegisterCertificate, RegisterNode, RemoveFromGroup, RenameMember,
    RevokeCertificate, Serve, StopServing, Verb,
};
