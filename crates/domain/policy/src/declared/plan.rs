//! From what is to what is declared: the differences for people, and the one event that makes them.

use std::collections::{BTreeMap, BTreeSet};

use truc_model::ServiceId;

use super::{Declared, DeclaredService};
use crate::event::PolicyEvent;
use crate::policy::Policy;
use crate::service::{Endpoint, ServiceDefinition, ServiceKind};
use crate::subject::LocalGroup;

/// What happens to one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is new.
    Add,
    /// It says something else from then on.
    Change,
    /// It is gone.
    Remove,
}

impl Step {
    /// A stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Remove => "remove",
        }
    }
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanItem {
    /// What happens.
    pub step: Step,
    /// To what: `service`, `right` or `group`.
    pub kind: &'static str,
    /// Its name; of a right the service, then what it says.
    pub what: String,
    /// Of a change, what changes: `timeoutMs: 60000 → 20000`.
    pub details: Vec<String>,
}

/// What has to be done so that a policy says what is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The differences, for people.
    pub items: Vec<PlanItem>,
    /// The changes, in an order in which each fits.
    pub changes: Vec<PolicyEvent>,
}

impl Plan {
    /// True when nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The one event that makes all of it; none when nothing is left to do.
    pub fn event(&self) -> Option<PolicyEvent> {
        (!self.changes.is_empty()).then(|| PolicyEvent::Applied { changes: self.changes.clone() })
    }

    fn item(&mut self, step: Step, kind: &'static str, what: String, details: Vec<String>) {
        self.items.push(PlanItem { step, kind, what, details });
    }
}

impl Declared {
    /// The services whose OpenAPI document has to be read before this can be put into force over `policy`.
    pub fn to_read<'a>(&'a self, policy: &Policy) -> Vec<&'a ServiceDefinition> {
        let open_api = self.services.values().map(|service| &service.definition);
        let open_api = open_api.filter(|definition| definition.kind == ServiceKind::OpenApi);
        let same = |definition: &ServiceDefinition| {
            policy.service(&definition.id).is_some_and(|known| known.is_described_as(definition))
        };
        open_api.filter(|definition| !same(definition)).collect()
    }

    /// What has to be done so that `policy`, or the part of it that this is limited to, says what is declared. `read` are
    /// the endpoints of the documents of [`Declared::to_read`], which count for the changes and not for the items.
    pub fn plan(&self, policy: &Policy, read: &BTreeMap<ServiceId, Vec<Endpoint>>) -> Plan {
        let now = Self::of(policy, self.member.as_ref());
        let mut plan = Plan::default();
        self.add_groups(&now, &mut plan);
        for (id, wanted) in &self.services {
            wanted.make(now.services.get(id), read.get(id), &mut plan);
        }
        for (id, known) in now.services.iter().filter(|(id, _)| !self.services.contains_key(id)) {
            let rights = known.rights.len();
            let details = if rights > 0 { vec![format!("with {rights} rights to it")] } else { Vec::new() };
            plan.item(Step::Remove, "service", id.to_string(), details);
            plan.changes.push(PolicyEvent::ServiceRemoved { service: id.clone() });
        }
        // Last, when no right names them any more.
        for (key, known) in now.groups.iter().filter(|(key, _)| !self.groups.contains_key(*key)) {
            plan.item(Step::Remove, "group", group_name(known), Vec::new());
            let (owner, code) = key.clone();
            plan.changes.push(PolicyEvent::LocalGroupRemoved { owner, code });
        }
        plan
    }

    fn add_groups(&self, now: &Self, plan: &mut Plan) {
        for (key, wanted) in &self.groups {
            let (owner, code) = key.clone();
            let known = now.groups.get(key);
            let mut details = Vec::new();
            let description = wanted.description.clone();
            match known {
                None => {
                    let (owner, code) = (owner.clone(), code.clone());
                    plan.changes.push(PolicyEvent::LocalGroupAdded { owner, code, description });
                }
                Some(known) if known.description != description => {
                    details.push(format!("description: {:?} → {description:?}", known.description));
                    let (owner, code) = (owner.clone(), code.clone());
                    plan.changes.push(PolicyEvent::LocalGroupChanged { owner, code, description });
                }
                Some(_) => {}
            }
            let none = BTreeSet::new();
            let members = known.map_or(&none, |known| &known.members);
            for member in wanted.members.difference(members).cloned() {
                details.push(format!("+ {member:?}"));
                let (owner, code) = (owner.clone(), code.clone());
                plan.changes.push(PolicyEvent::LocalGroupMemberAdded { owner, code, member });
            }
            for member in members.difference(&wanted.members).cloned() {
                details.push(format!("- {member:?}"));
                let (owner, code) = (owner.clone(), code.clone());
                plan.changes.push(PolicyEvent::LocalGroupMemberRemoved { owner, code, member });
            }
            match known {
                None => plan.item(Step::Add, "group", group_name(wanted), details),
                Some(_) if !details.is_empty() => {
                    plan.item(Step::Change, "group", group_name(wanted), details);
                }
                Some(_) => {}
            }
        }
    }
}

impl DeclaredService {
    /// Adds or changes the service, then its rights.
    fn make(&self, known: Option<&Self>, read: Option<&Vec<Endpoint>>, plan: &mut Plan) {
        let mut definition = self.definition.clone();
        if let Some(read) = read {
            definition.set_generated(read.clone());
        }
        let id = &self.definition.id;
        match known {
            None => {
                plan.item(Step::Add, "service", id.to_string(), Vec::new());
                plan.changes.push(PolicyEvent::ServiceAdded(definition));
            }
            Some(known) if known.definition != self.definition => {
                let details = differences(&known.definition, &self.definition);
                plan.item(Step::Change, "service", id.to_string(), details);
                plan.changes.extend(changed(&known.definition, definition));
            }
            Some(_) => {}
        }
        let none = BTreeMap::new();
        let given = known.map_or(&none, |known| &known.rights);
        for right in given.values().filter(|right| !self.rights.contains_key(&right.id())) {
            plan.item(Step::Remove, "right", format!("{id}: {right}"), Vec::new());
            plan.changes.push(PolicyEvent::RightRevoked(right.clone()));
        }
        for right in self.rights.values().filter(|right| !given.contains_key(&right.id())) {
            plan.item(Step::Add, "right", format!("{id}: {right}"), Vec::new());
            plan.changes.push(PolicyEvent::RightGranted(right.clone()));
        }
    }
}

/// The events of a change; a pause is an event of its own.
fn changed(known: &ServiceDefinition, wanted: ServiceDefinition) -> Vec<PolicyEvent> {
    let mut events = Vec::new();
    let service = wanted.id.clone();
    let pause = match (&known.disabled, &wanted.disabled) {
        (before, after) if before == after => None,
        (_, Some(notice)) => Some(PolicyEvent::ServiceDisabled { service, notice: notice.clone() }),
        (_, None) => Some(PolicyEvent::ServiceEnabled { service }),
    };
    let same = ServiceDefinition { disabled: known.disabled.clone(), ..wanted.clone() };
    let listed = |d: &ServiceDefinition| d.endpoints.iter().filter(|e| !e.generated).cloned().collect();
    let only_by_hand = ServiceDefinition { endpoints: listed(&same), ..same };
    if only_by_hand != *known {
        events.push(PolicyEvent::ServiceChanged(wanted));
    }
    events.extend(pause);
    events
}

/// What differs, key by key.
fn differences(known: &ServiceDefinition, wanted: &ServiceDefinition) -> Vec<String> {
    // Texts, numbers and lists only: writing them cannot fail.
    let [before, after] = [known, wanted].map(|d| serde_json::to_value(d).unwrap_or_default());
    let keys = [&before, &after].into_iter().filter_map(|json| json.as_object());
    let keys: BTreeSet<&String> = keys.flat_map(|object| object.keys()).collect();
    let differing = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let shown = |json: &serde_json::Value, key: &str| {
        json.get(key).map_or_else(|| "none".to_owned(), ToString::to_string)
    };
    let told = differing.map(|key| match key.as_str() {
        "document" => "document".to_owned(),
        key => format!("{key}: {} → {}", shown(&before, key), shown(&after, key)),
    });
    told.collect()
}

fn group_name(group: &LocalGroup) -> String {
    format!("{} {}", group.owner, group.code)
}
