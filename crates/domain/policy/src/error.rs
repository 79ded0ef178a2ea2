//! Why an event does not fit the policy in force.

use truc_model::{ServiceId, SubsystemId};

use crate::evidence_settings::BodyClass;
use crate::right::RightId;
use crate::subject::GroupCode;

/// Why a decision about services, rights or groups is refused; the policy stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The subsystem belongs to another node.
    #[error("{0} is not hosted by this node: make the change at the node that hosts it")]
    NotHosted(SubsystemId),
    /// The code names a service of the bus itself.
    #[error("{0} is reserved for the bus: choose another service code")]
    ReservedCode(String),
    /// A service with this id is there.
    #[error(
        "service {0} exists already: replace its definition (PUT, or truc service add --replace), or choose another code"
    )]
    ServiceExists(ServiceId),
    /// There is no such service.
    #[error(
        "there is no service {0} at this node: truc service list shows those there are, truc service add adds one"
    )]
    UnknownService(ServiceId),
    /// A field of the definition breaks a rule.
    #[error("{field}: {problem}")]
    Definition {
        /// The JSON key.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// It names a retention class that the node does not declare.
    #[error(
        "service {service} names the retention class \"{class}\", which node.toml does not declare, so that its bodies would be kept for \
         ever; declared are {}: name one of these, or add [[evidence.retention]] with class = \"{class}\" and bodies = \"10y\" (or \
         \"forever\") to node.toml and start the node anew",
        classes(declared)
    )]
    UndeclaredClass {
        /// The service.
        service: ServiceId,
        /// What it names.
        class: BodyClass,
        /// What the node declares.
        declared: Vec<BodyClass>,
    },
    /// The same right was granted before.
    #[error("this right was granted before, as {0}; nothing is left to do")]
    RightExists(RightId),
    /// There is no such right.
    #[error("there is no right {0} at this node: truc access list shows those there are")]
    UnknownRight(RightId),
    /// The subject is of another instance.
    #[error(
        "{0} is of another instance than the service: only subjects of the same instance can be granted rights"
    )]
    ForeignSubject(String),
    /// The owner has a group with this code.
    #[error("{owner} has a local group {code} already: use it, or choose another code")]
    GroupExists {
        /// The owner.
        owner: SubsystemId,
        /// The code.
        code: GroupCode,
    },
    /// The owner has no group with this code.
    #[error(
        "{owner} has no local group {code}: truc access group list shows those there are, truc access group add makes one"
    )]
    UnknownGroup {
        /// The owner.
        owner: SubsystemId,
        /// The code.
        code: GroupCode,
    },
    /// A right names the group.
    #[error("local group {code} is named by right {right}: revoke that right first")]
    GroupInUse {
        /// The code.
        code: GroupCode,
        /// One of the rights.
        right: RightId,
    },
    /// It is in the group already.
    #[error("{0} is in the group already; nothing is left to do")]
    AlreadyInGroup(String),
    /// It is not in the group.
    #[error("{0} is not in the group: truc access group list shows who is")]
    NotInGroup(String),
    /// A batch within a batch.
    #[error("a batch of changes holds no batch itself")]
    Nested,
    /// Several rights say this, under different conditions.
    #[error("several rights say this, under different conditions: name one by its id: {}", ids(.0))]
    Ambiguous(Vec<RightId>),
}

/// With `default`, which needs no declaration.
fn classes(declared: &[BodyClass]) -> String {
    let default = BodyClass::default();
    let all = std::iter::once(&default).chain(declared.iter().filter(|class| **class != default));
    all.map(BodyClass::as_str).collect::<Vec<_>>().join(", ")
}

fn ids(rights: &[RightId]) -> String {
    rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
