//! The declarative form: services, local groups and rights as one TOML text that people keep and compare.
//!
//! Text → [`Declared`] ([`Declared::parse`], every mistake with its line) → [`Plan`] against the policy in force → one
//! [`PolicyEvent::Applied`](crate::PolicyEvent::Applied), so that all of it counts or nothing. [`Declared::of`] and
//! [`Declared::to_toml`] go the other way; what is written is read back as the same. Secrets have no place in it.

mod plan;
mod read;
mod section;
#[cfg(test)]
mod tests;
mod units;
mod write;

use std::collections::BTreeMap;

use truc_model::{Digest, MemberId, ServiceId, SubsystemId};

use crate::policy::Policy;
use crate::right::{Right, RightId};
use crate::service::ServiceDefinition;
use crate::subject::{GroupCode, LocalGroup};

pub use plan::{Plan, PlanItem, Step};

/// The version of the text's format.
const FORMAT: &str = "1";

/// All that a node's operators decide about services, or the part of one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// The member whose part it is; the whole node while there is none.
    pub member: Option<MemberId>,
    /// The services.
    pub services: BTreeMap<ServiceId, DeclaredService>,
    /// The local groups.
    pub groups: BTreeMap<(SubsystemId, GroupCode), LocalGroup>,
}

/// A service with the rights to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredService {
    /// Its definition; of its endpoints those that are listed by hand.
    pub definition: ServiceDefinition,
    /// The rights to it.
    pub rights: BTreeMap<RightId, Right>,
}

/// One mistake of a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to write.
    pub problem: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl Declared {
    /// What a policy says, or its part of `member`.
    pub fn of(policy: &Policy, member: Option<&MemberId>) -> Self {
        let scoped = member.map(|member| policy.of_member(member));
        let policy = scoped.as_ref().unwrap_or(policy);
        let services = policy.services().map(|service| {
            let mut definition = ServiceDefinition::clone(service);
            definition.endpoints.retain(|endpoint| !endpoint.generated);
            let rights = policy.rights_on(&service.id).iter();
            let rights = rights.map(|right| (right.id(), right.clone())).collect();
            (service.id.clone(), DeclaredService { definition, rights })
        });
        let groups = policy.local_groups();
        let groups = groups.map(|group| ((group.owner.clone(), group.code.clone()), group.clone()));
        Self { member: member.cloned(), services: services.collect(), groups: groups.collect() }
    }

    /// The state's fingerprint, by which a change between plan and application shows: SHA-256 over the text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_toml().as_bytes())
    }
}
