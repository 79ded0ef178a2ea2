//! Who may call what: services, rights and local groups of the subsystems a node hosts, and the decision over one call
//! (design §8, protocol P1.5 and P4.6).
//!
//! Default deny, at the provider. [`Policy`] is an immutable snapshot; it changes only by a [`PolicyEvent`], which the
//! node writes to its journal before the new snapshot counts. [`Policy::admit`] is the only maker of [`Admitted`], the
//! third link of the chain `Received → Verified → Admitted → Recorded`. This crate must not open a file, a socket or
//! a clock, and must not call a service: it answers yes or no. Beside that it reads the OpenAPI documents that services
//! are described by ([`OpenApi`]), from bytes that are handed to it.

mod admit;
mod classes;
mod conditions;
mod declared;
mod error;
mod event;
mod evidence_settings;
mod explain;
mod glob;
mod judge;
mod metaservice;
mod openapi;
mod policy;
mod right;
mod service;
mod subject;
mod subject_place;
mod succession;
mod url;

pub use admit::{Admitted, NotAdmitted, SideEffectFree};
pub use conditions::{Conditions, Hours, InvalidHours};
pub use declared::{Declared, DeclaredService, Mistake, Plan, PlanItem, Step};
pub use error::PolicyError;
pub use event::{BadEvent, Carried, Place, PolicyEvent};
pub use evidence_settings::{Bodies, BodyClass, EvidenceSettings, InvalidBodyClass, OtherWord, TimeStamp};
pub use explain::{Considered, Explanation, Miss};
pub use glob::{InvalidGlob, PathGlob};
pub use judge::{Call, Judgement, Lack, ServiceTarget};
pub use metaservice::{METASERVICE_BODY_LIMIT, Metaservice, RESERVED_CODES, is_reserved};
pub use openapi::{DESCRIPTION_LIMIT, DescriptionError, OpenApi, Operations};
pub use policy::Policy;
pub use right::{InvalidMethod, InvalidRightId, MethodPattern, Right, RightId};
pub use service::{
    DEFAULT_MAX_BODY, DEFAULT_TIMEOUT, DOCUMENT_LIMIT, Endpoint, MAX_BODY, MAX_TIMEOUT, ServiceDefinition,
    ServiceKind,
};
pub use subject::{GroupCode, InvalidSubject, LocalGroup, Subject};
pub use subject_place::{
    InvalidPlace, JsonPointer, NoSubject, PathSegment, QueryName, SUBJECT_BODY_LIMIT, SubjectPlace,
};
pub use url::{InvalidUrl, ServiceUrl};
