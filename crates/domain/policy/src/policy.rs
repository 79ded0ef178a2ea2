//! The policy in force: an immutable snapshot that changes only by events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use truc_directory::GroupMember;
use truc_model::{MemberId, ServiceId, SubsystemId};

use crate::error::PolicyError;
use crate::event::{Carried, Place, PolicyEvent};
use crate::right::{Right, RightId};
use crate::service::{Endpoint, ServiceDefinition, check_notice};
use crate::subject::{GroupCode, LocalGroup, Subject};

/// Services, rights and local groups of one node. Cloning shares nearly everything; share it as `Arc<Policy>` and swap.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    hosted: Arc<BTreeSet<SubsystemId>>,
    offers: BTreeMap<ServiceId, Offer>,
    groups: BTreeMap<(SubsystemId, GroupCode), Arc<LocalGroup>>,
    /// What was ever given by succession: what an operator took back of it is not given again.
    pub(crate) carried: Arc<CarriedOver>,
}

/// What was ever given by succession.
#[derive(Debug, Clone, Default)]
pub(crate) struct CarriedOver {
    pub(crate) rights: BTreeSet<RightId>,
    pub(crate) places: BTreeSet<Place>,
}

/// A service with the rights to it, in the order they were granted.
#[derive(Debug, Clone)]
struct Offer {
    definition: Arc<ServiceDefinition>,
    rights: Arc<Vec<Right>>,
}

impl Policy {
    /// A policy without services for a node that hosts these subsystems.
    pub fn empty(hosted: impl IntoIterator<Item = SubsystemId>) -> Self {
        Self { hosted: Arc::new(hosted.into_iter().collect()), ..Self::default() }
    }

    /// The policy that the journal's events make, in their order. Events of a subsystem that is no longer hosted are
    /// kept and have no effect while it is not.
    ///
    /// # Errors
    /// [`PolicyError`] when an event does not follow from those before it: the journal is not this node's.
    pub fn replay<'a>(
        hosted: impl IntoIterator<Item = SubsystemId>,
        events: impl IntoIterator<Item = &'a PolicyEvent>,
    ) -> Result<Self, PolicyError> {
        let mut policy = Self::empty(hosted);
        for event in events {
            policy.take(event)?;
        }
        Ok(policy)
    }

    /// The same policy for a node that now hosts these subsystems.
    #[must_use]
    pub fn with_hosted(&self, hosted: impl IntoIterator<Item = SubsystemId>) -> Self {
        Self { hosted: Arc::new(hosted.into_iter().collect()), ..self.clone() }
    }

    /// The same policy as far as it is this member's affair: nothing else can be seen in it or changed through it.
    #[must_use]
    pub fn of_member(&self, member: &MemberId) -> Self {
        self.with_hosted(self.hosted.iter().filter(|subsystem| subsystem.member() == *member).cloned())
    }

    /// The policy after `event`; this one stays as it is. Write the event to the journal before the new one counts.
    ///
    /// # Errors
    /// [`PolicyError`] says why the event does not fit.
    pub fn apply(&self, event: &PolicyEvent) -> Result<Self, PolicyError> {
        if let Some(stranger) = owners(event).into_iter().find(|owner| !self.hosted.contains(owner)) {
            return Err(PolicyError::NotHosted(stranger));
        }
        let mut next = self.clone();
        next.take(event)?;
        Ok(next)
    }

    /// The subsystems this node hosts.
    pub fn hosted(&self) -> &BTreeSet<SubsystemId> {
        &self.hosted
    }
    /// The service, if it exists and its subsystem is hosted.
    pub fn service(&self, id: &ServiceId) -> Option<&Arc<ServiceDefinition>> {
        self.offer(id).map(|offer| &offer.definition)
    }
    /// Every service of hosted subsystems, by id.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceDefinition>> {
        self.offers
            .iter()
            .filter(|(id, _)| self.hosted.contains(&id.subsystem()))
            .map(|(_, offer)| &offer.definition)
    }
    /// The services of one hosted subsystem, by id.
    pub fn services_of<'a>(
        &'a self,
        subsystem: &'a SubsystemId,
    ) -> impl Iterator<Item = &'a Arc<ServiceDefinition>> {
        self.services().filter(move |service| service.id.subsystem() == *subsystem)
    }
    /// The rights to a service, in the order they were granted.
    pub fn rights_on(&self, id: &ServiceId) -> &[Right] {
        self.offer(id).map_or(&[], |offer| &offer.rights)
    }
    /// Every right to a service of a hosted subsystem, by service.
    pub fn rights(&self) -> impl Iterator<Item = &Right> {
        self.services().flat_map(|service| self.rights_on(&service.id))
    }
    /// The right with this id.
    pub fn right(&self, id: RightId) -> Option<&Right> {
        self.rights().find(|right| right.id() == id)
    }
    /// The local groups of hosted subsystems, by owner and code.
    pub fn local_groups(&self) -> impl Iterator<Item = &LocalGroup> {
        self.groups.values().map(Arc::as_ref).filter(|group| self.hosted.contains(&group.owner))
    }
    /// One local group, if its owner is hosted.
    pub fn local_group(&self, owner: &SubsystemId, code: &GroupCode) -> Option<&LocalGroup> {
        let group = self.groups.get(&(owner.clone(), code.clone())).map(Arc::as_ref);
        group.filter(|_| self.hosted.contains(owner))
    }
    /// The one right that says the same as `said`, under whatever conditions.
    ///
    /// # Errors
    /// [`PolicyError::UnknownRight`] when there is none, [`PolicyError::Ambiguous`] when there are several.
    pub fn right_that_says(&self, said: &Right) -> Result<&Right, PolicyError> {
        let mut same = self.rights_on(said.service()).iter().filter(|right| right.says_the_same(said));
        match (same.next(), same.next()) {
            (Some(right), None) => Ok(right),
            (None, _) => Err(PolicyError::UnknownRight(said.id())),
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(same).map(Right::id);
                Err(PolicyError::Ambiguous(all.collect()))
            }
        }
    }

    fn offer(&self, id: &ServiceId) -> Option<&Offer> {
        self.offers.get(id).filter(|_| self.hosted.contains(&id.subsystem()))
    }
    fn offer_mut(&mut self, id: &ServiceId) -> Result<&mut Offer, PolicyError> {
        self.offers.get_mut(id).ok_or_else(|| PolicyError::UnknownService(id.clone()))
    }

    fn take(&mut self, event: &PolicyEvent) -> Result<(), PolicyError> {
        match event {
            PolicyEvent::ServiceAdded(definition) => self.add_service(definition),
            PolicyEvent::ServiceChanged(definition) => self.change_service(definition),
            PolicyEvent::ServiceRemoved { service } => {
                let gone = self.offers.remove(service);
                gone.map(drop).ok_or_else(|| PolicyError::UnknownService(service.clone()))
            }
            PolicyEvent::ServiceDisabled { service, notice } => self.pause(service, Some(notice)),
            PolicyEvent::ServiceEnabled { service } => self.pause(service, None),
            PolicyEvent::ServiceRefreshed { service, endpoints } => self.refresh(service, endpoints),
            PolicyEvent::RightGranted(right) => self.grant(right),
            PolicyEvent::RightRevoked(right) => self.revoke(right),
            PolicyEvent::LocalGroupAdded { owner, code, description } => {
                self.add_group(owner, code, description)
            }
            PolicyEvent::LocalGroupRemoved { owner, code } => self.remove_group(owner, code),
            PolicyEvent::LocalGroupMemberAdded { owner, code, member } => self.join(owner, code, member),
            PolicyEvent::LocalGroupMemberRemoved { owner, code, member } => self.leave(owner, code, member),
            PolicyEvent::LocalGroupChanged { owner, code, description } => {
                self.describe_group(owner, code, description)
            }
            PolicyEvent::Applied { changes } => self.take_all(changes),
            PolicyEvent::Succeeded(carried) => self.carry_over(carried),
        }
    }

    /// On an error part of them is taken: the caller drops this policy then.
    fn take_all(&mut self, changes: &[PolicyEvent]) -> Result<(), PolicyError> {
        if changes.iter().any(|change| matches!(change, PolicyEvent::Applied { .. })) {
            return Err(PolicyError::Nested);
        }
        changes.iter().try_for_each(|change| self.take(change))
    }

    fn carry_over(&mut self, carried: &Carried) -> Result<(), PolicyError> {
        for right in &carried.rights {
            self.grant(right)?;
        }
        for place in &carried.places {
            self.join(&place.owner, &place.code, &place.member)?;
        }
        Arc::make_mut(&mut self.carried).places.extend(carried.places.iter().cloned());
        Ok(())
    }

    fn add_service(&mut self, definition: &ServiceDefinition) -> Result<(), PolicyError> {
        definition.check()?;
        if self.offers.contains_key(&definition.id) {
            return Err(PolicyError::ServiceExists(definition.id.clone()));
        }
        let offer = Offer { definition: Arc::new(definition.clone()), rights: Arc::default() };
        self.offers.insert(definition.id.clone(), offer);
        Ok(())
    }

    fn change_service(&mut self, definition: &ServiceDefinition) -> Result<(), PolicyError> {
        definition.check()?;
        let offer = self.offer_mut(&definition.id)?;
        let disabled = offer.definition.disabled.clone();
        let mut next = ServiceDefinition { disabled, ..definition.clone() };
        if next.is_described_as(&offer.definition) {
            // Two operators at once: one changes the definition while the other has the document read again.
            next.set_generated(offer.definition.generated().cloned().collect());
        }
        next.check()?;
        offer.definition = Arc::new(next);
        Ok(())
    }

    fn refresh(&mut self, service: &ServiceId, endpoints: &[Endpoint]) -> Result<(), PolicyError> {
        let offer = self.offer_mut(service)?;
        let mut next = ServiceDefinition::clone(&offer.definition);
        next.set_generated(endpoints.to_vec());
        next.check()?;
        offer.definition = Arc::new(next);
        Ok(())
    }

    fn pause(&mut self, service: &ServiceId, notice: Option<&String>) -> Result<(), PolicyError> {
        notice.map_or(Ok(()), |text| check_notice(text))?;
        let offer = self.offer_mut(service)?;
        Arc::make_mut(&mut offer.definition).disabled = notice.cloned();
        Ok(())
    }

    fn grant(&mut self, right: &Right) -> Result<(), PolicyError> {
        let owner = right.service().subsystem();
        if right.subject().instance().is_some_and(|instance| instance != owner.instance()) {
            return Err(PolicyError::ForeignSubject(right.subject().to_string()));
        }
        if let Subject::LocalGroup(code) = right.subject() {
            self.group_mut(&owner, code)?;
        }
        let offer = self.offer_mut(right.service())?;
        if offer.rights.iter().any(|known| known.id() == right.id()) {
            return Err(PolicyError::RightExists(right.id()));
        }
        Arc::make_mut(&mut offer.rights).push(right.clone());
        if right.by_succession_of().is_some() {
            Arc::make_mut(&mut self.carried).rights.insert(right.id());
        }
        Ok(())
    }

    fn revoke(&mut self, right: &Right) -> Result<(), PolicyError> {
        let offer = self.offer_mut(right.service())?;
        let at = offer.rights.iter().position(|known| known.id() == right.id());
        let at = at.ok_or_else(|| PolicyError::UnknownRight(right.id()))?;
        Arc::make_mut(&mut offer.rights).remove(at);
        Ok(())
    }

    fn group_mut(&mut self, owner: &SubsystemId, code: &GroupCode) -> Result<&mut LocalGroup, PolicyError> {
        let group = self.groups.get_mut(&(owner.clone(), code.clone())).map(Arc::make_mut);
        group.ok_or_else(|| PolicyError::UnknownGroup { owner: owner.clone(), code: code.clone() })
    }

    fn add_group(
        &mut self,
        owner: &SubsystemId,
        code: &GroupCode,
        description: &str,
    ) -> Result<(), PolicyError> {
        let key = (owner.clone(), code.clone());
        if self.groups.contains_key(&key) {
            return Err(PolicyError::GroupExists { owner: owner.clone(), code: code.clone() });
        }
        let (owner, code) = key.clone();
        let group = LocalGroup { owner, code, description: description.to_owned(), members: BTreeSet::new() };
        if !group.description_fits() {
            return Err(bad_description());
        }
        self.groups.insert(key, Arc::new(group));
        Ok(())
    }

    fn describe_group(
        &mut self,
        owner: &SubsystemId,
        code: &GroupCode,
        description: &str,
    ) -> Result<(), PolicyError> {
        let group = self.group_mut(owner, code)?;
        group.description = description.to_owned();
        if group.description_fits() { Ok(()) } else { Err(bad_description()) }
    }

    fn remove_group(&mut self, owner: &SubsystemId, code: &GroupCode) -> Result<(), PolicyError> {
        self.group_mut(owner, code)?;
        let offers = self.offers.iter().filter(|(service, _)| service.subsystem() == *owner);
        let mut rights = offers.flat_map(|(_, offer)| offer.rights.iter());
        let using = rights.find(|right| matches!(right.subject(), Subject::LocalGroup(used) if used == code));
        if let Some(right) = using {
            return Err(PolicyError::GroupInUse { code: code.clone(), right: right.id() });
        }
        self.groups.remove(&(owner.clone(), code.clone()));
        Ok(())
    }

    fn join(
        &mut self,
        owner: &SubsystemId,
        code: &GroupCode,
        member: &GroupMember,
    ) -> Result<(), PolicyError> {
        if member.instance() != owner.instance() {
            return Err(PolicyError::ForeignSubject(format!("{member:?}")));
        }
        let new = self.group_mut(owner, code)?.members.insert(member.clone());
        if new { Ok(()) } else { Err(PolicyError::AlreadyInGroup(format!("{member:?}"))) }
    }

    fn leave(
        &mut self,
        owner: &SubsystemId,
        code: &GroupCode,
        member: &GroupMember,
    ) -> Result<(), PolicyError> {
        let was = self.group_mut(owner, code)?.members.remove(member);
        if was { Ok(()) } else { Err(PolicyError::NotInGroup(format!("{member:?}"))) }
    }
}

fn bad_description() -> PolicyError {
    let problem = "is one line of at most 200 characters".to_owned();
    PolicyError::Definition { field: "description", problem }
}

/// The subsystems whose affair the event is.
fn owners(event: &PolicyEvent) -> Vec<SubsystemId> {
    let one = match event {
        PolicyEvent::ServiceAdded(definition) | PolicyEvent::ServiceChanged(definition) => {
            definition.id.subsystem()
        }
        PolicyEvent::ServiceRemoved { service }
        | PolicyEvent::ServiceRefreshed { service, .. }
        | PolicyEvent::ServiceDisabled { service, .. }
        | PolicyEvent::ServiceEnabled { service } => service.subsystem(),
        PolicyEvent::RightGranted(right) | PolicyEvent::RightRevoked(right) => right.service().subsystem(),
        PolicyEvent::LocalGroupAdded { owner, .. }
        | PolicyEvent::LocalGroupChanged { owner, .. }
        | PolicyEvent::LocalGroupRemoved { owner, .. }
        | PolicyEvent::LocalGroupMemberAdded { owner, .. }
        | PolicyEvent::LocalGroupMemberRemoved { owner, .. } => owner.clone(),
        PolicyEvent::Applied { changes } => return changes.iter().flat_map(owners).collect(),
        PolicyEvent::Succeeded(carried) => {
            let rights = carried.rights.iter().map(|right| right.service().subsystem());
            return rights.chain(carried.places.iter().map(|place| place.owner.clone())).collect();
        }
    };
    vec![one]
}

#[cfg(test)]
mod tests;
