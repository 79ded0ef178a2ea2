//! Events about taking part for now, and about invitations and requests.

use std::sync::Arc;

use truc_directory::{GroupMember, MemberStatus, NodeEntry, SubsystemEntry};
use truc_model::{NodeId, SubsystemId, Timestamp};

use super::{Applied, State};
use crate::event::Event;
use crate::filed::{Invitation, InvitationFate, RequestState};

impl State {
    /// Taking part for now.
    pub(super) fn apply_standing(&mut self, event: &Event, at: Timestamp, by: &str) -> Applied {
        match event {
            Event::MemberSuspended { id, .. } => self.change(id)?.status = MemberStatus::Suspended,
            Event::MemberReinstated { id, .. } => self.change(id)?.status = MemberStatus::Active,
            Event::MemberValiditySet { id, valid_from, valid_to } => {
                let member = self.change(id)?;
                (member.valid_from, member.valid_to) = (*valid_from, *valid_to);
            }
            Event::NodeSuspended { node, .. } => self.change_node(node)?.suspended = true,
            Event::NodeReinstated { node, .. } => self.change_node(node)?.suspended = false,
            Event::NodeRemoved { node } => drop(self.take_node(node)?),
            Event::NodeOwnerChanged { node, to } => {
                let mut entry = self.take_node(node)?;
                entry.auth_certificates.clear();
                entry.id = to.clone();
                self.change(&to.owner())?.nodes.push(entry);
            }
            Event::NodeMaintenance { node, maintenance } => {
                self.change_node(node)?.maintenance.clone_from(maintenance);
            }
            Event::SubsystemDisabled { id } => {
                self.change_subsystem(id)?.disabled = true;
                Arc::make_mut(&mut self.held).insert(id.clone());
            }
            Event::SubsystemEnabled { id } => {
                self.change_subsystem(id)?.disabled = false;
                self.let_go(id);
            }
            Event::SubsystemRemoved { id } => self.remove_subsystem(id)?,
            other => self.apply_filing(other, at, by)?,
        }
        Ok(())
    }

    /// Invitations and requests.
    fn apply_filing(&mut self, event: &Event, at: Timestamp, by: &str) -> Applied {
        match event {
            Event::InvitationIssued { id, node, key, expires, level } => {
                let invitation = Invitation {
                    id: id.clone(),
                    node: node.clone(),
                    key: key.clone(),
                    expires: *expires,
                    level: level.clone(),
                    issued: (at, by.to_owned()),
                    fate: InvitationFate::Open,
                };
                Arc::make_mut(&mut self.files.invitations).insert(id.clone(), Arc::new(invitation));
            }
            Event::InvitationWithdrawn { id, .. } => {
                self.files.change_invitation(id)?.fate = InvitationFate::Withdrawn;
            }
            Event::RequestSubmitted { number, document } => self.files.file(*number, &document.0, at, by)?,
            Event::RequestAccepted { number, document, certificates, effects } => {
                self.files.file(*number, &document.0, at, by)?;
                effects.iter().try_for_each(|effect| self.apply(effect, at, by))?;
                for effect in effects {
                    if let Event::SubsystemDisabled { id } = effect {
                        self.let_go(id);
                    }
                }
                let filed = self.files.change_request(*number)?;
                if !certificates.is_empty() {
                    filed.certify(certificates, at, "registry");
                }
                filed.end(RequestState::Approved, "", at, "registry");
            }
            Event::RequestLevelAttached { number, level } => {
                let filed = self.files.change_request(*number)?;
                filed.attach(level, at, by);
                // Whoever approved first approved another level.
                filed.annul();
            }
            Event::RequestCertified { number, certificates } => {
                self.files.change_request(*number)?.certify(certificates, at, by);
            }
            Event::RequestEndorsed { number, why, level } => {
                let filed = self.files.change_request(*number)?;
                if let Some(level) = level {
                    filed.attach(level, at, by);
                }
                filed.endorse(why, at, by);
            }
            Event::RequestApproved { number, why, level, certificates, effects } => {
                effects.iter().try_for_each(|effect| self.apply(effect, at, by))?;
                let filed = self.files.change_request(*number)?;
                if let Some(level) = level {
                    filed.attach(level, at, by);
                }
                if !certificates.is_empty() {
                    filed.certify(certificates, at, by);
                }
                filed.end(RequestState::Approved, why, at, by);
            }
            Event::RequestRefused { number, why } => {
                self.files.change_request(*number)?.end(RequestState::Refused, why, at, by);
            }
            other => return Err(format!("{other:?} cannot be applied")),
        }
        Ok(())
    }

    fn take_node(&mut self, id: &NodeId) -> Result<NodeEntry, String> {
        let nodes = &mut self.change(&id.owner())?.nodes;
        let place = nodes.iter().position(|n| &n.id == id);
        let node = nodes.remove(place.ok_or_else(|| format!("node {id} was never registered"))?);
        self.forget_certificates(node.auth_certificates.iter().copied());
        Ok(node)
    }

    fn change_subsystem(&mut self, id: &SubsystemId) -> Result<&mut SubsystemEntry, String> {
        let found = self.change(&id.member())?.subsystems.iter_mut().find(|s| s.code == id.code());
        found.ok_or_else(|| format!("{id} was never registered"))
    }

    fn remove_subsystem(&mut self, id: &SubsystemId) -> Applied {
        self.change(&id.member())?.subsystems.retain(|s| s.code != id.code());
        self.let_go(id);
        let place = GroupMember::Subsystem(id.clone());
        for group in self.groups.values_mut().filter(|group| group.members.contains(&place)) {
            Arc::make_mut(group).members.retain(|m| *m != place);
        }
        Ok(())
    }
}
