//! Changes of the policy, as they stand in the node's journal of decisions.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use truc_directory::GroupMember;
use truc_model::{MemberId, ServiceId, SubsystemId};

use crate::right::Right;
use crate::service::{Endpoint, ServiceDefinition};
use crate::subject::GroupCode;

/// One change. In the journal: its kind, and a payload whose shape belongs to the kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum PolicyEvent {
    /// A service is offered from now on.
    #[serde(rename = "service.added")]
    ServiceAdded(ServiceDefinition),
    /// A service has another definition. Whether it is paused does not change by this.
    #[serde(rename = "service.changed")]
    ServiceChanged(ServiceDefinition),
    /// A service is gone, and every right to it.
    #[serde(rename = "service.removed")]
    ServiceRemoved {
        /// Which.
        service: ServiceId,
    },
    /// A service is paused.
    #[serde(rename = "service.disabled")]
    ServiceDisabled {
        /// Which.
        service: ServiceId,
        /// What callers read.
        notice: String,
    },
    /// A service is no longer paused.
    #[serde(rename = "service.enabled")]
    ServiceEnabled {
        /// Which.
        service: ServiceId,
    },
    /// A service's OpenAPI document was read again.
    #[serde(rename = "service.refreshed")]
    ServiceRefreshed {
        /// Which.
        service: ServiceId,
        /// The generated endpoints from now on; those added by hand stay.
        endpoints: Vec<Endpoint>,
    },
    /// A right is given.
    #[serde(rename = "access.granted")]
    RightGranted(Right),
    /// A right is taken back.
    #[serde(rename = "access.revoked")]
    RightRevoked(Right),
    /// A local group exists from now on, empty.
    #[serde(rename = "local-group.added")]
    LocalGroupAdded {
        /// Whose.
        owner: SubsystemId,
        /// Its code.
        code: GroupCode,
        /// What people call it.
        description: String,
    },
    /// A local group is gone.
    #[serde(rename = "local-group.removed")]
    LocalGroupRemoved {
        /// Whose.
        owner: SubsystemId,
        /// Its code.
        code: GroupCode,
    },
    /// Someone is in a local group from now on.
    #[serde(rename = "local-group.member-added")]
    LocalGroupMemberAdded {
        /// Whose.
        owner: SubsystemId,
        /// Its code.
        code: GroupCode,
        /// Who.
        member: GroupMember,
    },
    /// Someone is no longer in a local group.
    #[serde(rename = "local-group.member-removed")]
    LocalGroupMemberRemoved {
        /// Whose.
        owner: SubsystemId,
        /// Its code.
        code: GroupCode,
        /// Who.
        member: GroupMember,
    },
    /// A local group has another description.
    #[serde(rename = "local-group.changed")]
    LocalGroupChanged {
        /// Whose.
        owner: SubsystemId,
        /// Its code.
        code: GroupCode,
        /// What people call it from now on.
        description: String,
    },
    /// Several changes that count together or not at all, in this order; none of them is of this kind itself.
    #[serde(rename = "policy.applied")]
    Applied {
        /// The changes.
        changes: Vec<Self>,
    },
    /// A successor is given what a closed member had (protocol P6.4).
    #[serde(rename = "access.succession")]
    Succeeded(Carried),
}

/// What is carried over from a closed member to its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Carried {
    /// The closed member.
    pub of: MemberId,
    /// Who took over from it.
    pub to: MemberId,
    /// Rights equal to those of the closed member, for the successor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<Right>,
    /// Places in local groups, for the successor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

impl Carried {
    /// True when nothing is left to carry over.
    pub fn is_empty(&self) -> bool {
        self.rights.is_empty() && self.places.is_empty()
    }
}

/// A place in a local group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// Whose group.
    pub owner: SubsystemId,
    /// Its code.
    pub code: GroupCode,
    /// Who is in it.
    pub member: GroupMember,
}

/// A journal entry of one of our kinds whose payload is not of that kind's shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the decision {kind} has a payload that this version cannot read: {problem}")]
pub struct BadEvent {
    /// The kind.
    pub kind: String,
    /// What is wrong.
    pub problem: String,
}

impl PolicyEvent {
    /// Every kind.
    pub const KINDS: &'static [&'static str] = &[
        "service.added",
        "service.changed",
        "service.removed",
        "service.disabled",
        "service.enabled",
        "access.granted",
        "access.revoked",
        "local-group.added",
        "local-group.removed",
        "local-group.member-added",
        "local-group.member-removed",
        "service.refreshed",
        "local-group.changed",
        "policy.applied",
        "access.succession",
    ];

    /// The kind, as a decision carries it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ServiceAdded(_) => "service.added",
            Self::ServiceChanged(_) => "service.changed",
            Self::ServiceRemoved { .. } => "service.removed",
            Self::ServiceDisabled { .. } => "service.disabled",
            Self::ServiceEnabled { .. } => "service.enabled",
            Self::RightGranted(_) => "access.granted",
            Self::RightRevoked(_) => "access.revoked",
            Self::LocalGroupAdded { .. } => "local-group.added",
            Self::LocalGroupRemoved { .. } => "local-group.removed",
            Self::LocalGroupMemberAdded { .. } => "local-group.member-added",
            Self::LocalGroupMemberRemoved { .. } => "local-group.member-removed",
            Self::ServiceRefreshed { .. } => "service.refreshed",
            Self::LocalGroupChanged { .. } => "local-group.changed",
            Self::Applied { .. } => "policy.applied",
            Self::Succeeded(_) => "access.succession",
        }
    }

    /// The payload, as a decision carries it.
    pub fn payload(&self) -> Value {
        // Texts, numbers and lists only: this cannot fail, and the tests write one event of each kind.
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        whole.get_mut("payload").map(Value::take).unwrap_or_default()
    }

    /// Reads a decision. `None` when its kind is not one of [`PolicyEvent::KINDS`]: it belongs to someone else.
    ///
    /// # Errors
    /// [`BadEvent`] when the payload does not fit the kind; then the journal is of a newer version or damaged.
    pub fn from_parts(kind: &str, payload: &Value) -> Option<Result<Self, BadEvent>> {
        Self::KINDS.contains(&kind).then(|| {
            serde_json::from_value(json!({ "kind": kind, "payload": payload }))
                .map_err(|e| BadEvent { kind: kind.to_owned(), problem: e.to_string() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::right::MethodPattern;
    use crate::{PathGlob, Subject};

    fn one_of_each() -> Vec<PolicyEvent> {
        let service: ServiceId = "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap();
        let definition = ServiceDefinition::rest(service.clone(), "http://127.0.0.1:9000".parse().unwrap());
        let subject: Subject = "LOCALGROUP:doi-tac".parse().unwrap();
        let right = Right::new(subject, service.clone(), MethodPattern::Any, PathGlob::every());
        let owner = service.subsystem();
        let code: GroupCode = "doi-tac".parse().unwrap();
        let member = GroupMember::Member("VN/GOV/H26".parse().unwrap());
        vec![
            PolicyEvent::ServiceAdded(definition.clone()),
            PolicyEvent::ServiceChanged(definition),
            PolicyEvent::ServiceRemoved { service: service.clone() },
            PolicyEvent::ServiceDisabled { service: service.clone(), notice: "bảo trì".into() },
            PolicyEvent::ServiceEnabled { service: service.clone() },
            PolicyEvent::RightGranted(right.clone()),
            PolicyEvent::RightRevoked(right),
            PolicyEvent::LocalGroupAdded {
                owner: owner.clone(),
                code: code.clone(),
                description: "Đối tác".into(),
            },
            PolicyEvent::LocalGroupRemoved { owner: owner.clone(), code: code.clone() },
            PolicyEvent::LocalGroupMemberAdded {
                owner: owner.clone(),
                code: code.clone(),
                member: member.clone(),
            },
            PolicyEvent::LocalGroupMemberRemoved {
                owner: owner.clone(),
                code: code.clone(),
                member: member.clone(),
            },
            PolicyEvent::ServiceRefreshed { service: service.clone(), endpoints: vec![] },
            PolicyEvent::LocalGroupChanged {
                owner: owner.clone(),
                code: code.clone(),
                description: "Bạn".into(),
            },
            PolicyEvent::Applied { changes: vec![PolicyEvent::ServiceRemoved { service }] },
            PolicyEvent::Succeeded(Carried {
                of: "VN/GOV/H02".parse().unwrap(),
                to: "VN/GOV/H26".parse().unwrap(),
                rights: vec![],
                places: vec![Place { owner, code, member }],
            }),
        ]
    }

    #[test]
    fn every_event_is_read_back_from_its_parts() {
        let events = one_of_each();
        assert_eq!(events.iter().map(PolicyEvent::kind).collect::<Vec<_>>(), PolicyEvent::KINDS);
        for event in events {
            let payload = event.payload();
            assert!(payload.is_object(), "{event:?}");
            assert_eq!(PolicyEvent::from_parts(event.kind(), &payload), Some(Ok(event.clone())));
            let mut more = payload;
            more["stranger"] = json!(1);
            assert!(matches!(PolicyEvent::from_parts(event.kind(), &more), Some(Err(_))), "{event:?}");
        }
        assert_eq!(PolicyEvent::from_parts("directory.seen", &json!({})), None);
    }

    /// Golden: journals hold these for ever.
    #[test]
    fn payloads_keep_their_shape() {
        let texts: Vec<String> = one_of_each().iter().skip(2).map(|e| e.payload().to_string()).collect();
        assert_eq!(texts[1], r#"{"notice":"bảo trì","service":"SERVICE:VN/GOV/G01/csdl-dancu/tra-cuu"}"#);
        assert_eq!(
            texts[7],
            r#"{"code":"doi-tac","member":"MEMBER:VN/GOV/H26","owner":"SUBSYSTEM:VN/GOV/G01/csdl-dancu"}"#
        );
        assert_eq!(
            texts[11],
            r#"{"changes":[{"kind":"service.removed","payload":{"service":"SERVICE:VN/GOV/G01/csdl-dancu/tra-cuu"}}]}"#
        );
        assert_eq!(
            texts[12],
            r#"{"of":"MEMBER:VN/GOV/H02","places":[{"code":"doi-tac","member":"MEMBER:VN/GOV/H26","owner":"SUBSYSTEM:VN/GOV/G01/csdl-dancu"}],"to":"MEMBER:VN/GOV/H26"}"#
        );
    }
}
