//! The declarative form, and the succession of rights.

use serde::{Deserialize, Serialize};
use truc_directory::GroupMember;
use truc_model::{Digest, MemberId, SubsystemId};
use truc_policy::{Carried, GroupCode, Plan};

use super::AccessEntry;

/// Services, groups and rights as one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyText {
    /// The text, in TOML.
    pub text: String,
    /// The hosted member to which it is limited; the whole node unless given.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub member: Option<MemberId>,
    /// What is in force, by its digest: told with an export and a plan; asked for when the text is to be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Which part of the policy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyFilter {
    /// Of this hosted member only.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::plain::option")]
    pub member: Option<MemberId>,
}

/// What changes, or has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanView {
    /// Whether it has been put into force.
    pub applied: bool,
    /// The digest of what is in force; give it back to apply this very plan.
    pub digest: Digest,
    /// The changes; empty when nothing is left to do.
    pub changes: Vec<PlanLine>,
    /// What keeps calls from the services, and what of their OpenAPI documents could not be listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanLine {
    /// `add`, `change` or `remove`.
    pub step: String,
    /// `service`, `right` or `group`.
    pub kind: String,
    /// Its name; of a right the service, then what it says.
    pub what: String,
    /// What changes of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl PlanView {
    pub(crate) fn of(plan: &Plan, digest: Digest, applied: bool, notes: Vec<String>) -> Self {
        let line = |item: &truc_policy::PlanItem| PlanLine {
            step: item.step.as_str().to_owned(),
            kind: item.kind.to_owned(),
            what: item.what.clone(),
            details: item.details.clone(),
        };
        Self { applied, digest, changes: plan.items.iter().map(line).collect(), notes }
    }
}

/// What a closed member leaves to its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SuccessionEntry {
    /// The closed member.
    #[serde(with = "crate::plain")]
    pub member: MemberId,
    /// Who took over from it.
    #[serde(with = "crate::plain")]
    pub successor: MemberId,
    /// The rights that the successor is given.
    pub rights: Vec<AccessEntry>,
    /// The places in local groups that it is given.
    pub places: Vec<PlaceEntry>,
}

/// A place in a local group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceEntry {
    /// Whose group.
    #[serde(with = "crate::plain")]
    pub owner: SubsystemId,
    /// Its code.
    pub code: GroupCode,
    /// Who is put into it.
    pub member: GroupMember,
}

impl From<&Carried> for SuccessionEntry {
    fn from(carried: &Carried) -> Self {
        let place = |place: &truc_policy::Place| PlaceEntry {
            owner: place.owner.clone(),
            code: place.code.clone(),
            member: place.member.clone(),
        };
        Self {
            member: carried.of.clone(),
            successor: carried.to.clone(),
            rights: carried.rights.iter().map(AccessEntry::from).collect(),
            places: carried.places.iter().map(place).collect(),
        }
    }
}
