//! Taking part for now: suspension, validity, maintenance, disabled subsystems, and a node's change of owner.

use truc_directory::{Maintenance, MemberStatus, NodeEntry, check_message};
use truc_model::{MemberId, NodeId, SubsystemId, Timestamp};

use crate::decide::{Desk, fresh};
use crate::error::GovernanceError as Refusal;
use crate::event::Event;
use crate::reason::reason;

impl Desk<'_> {
    pub(crate) fn suspend_member(&self, id: MemberId, why: String) -> Result<Event, Refusal> {
        let member = self.open_member(&id)?;
        fresh(member.status != MemberStatus::Suspended, format!("the suspension of {id}"))?;
        Ok(Event::MemberSuspended { id, why: reason(why)? })
    }

    pub(crate) fn reinstate_member(&self, id: MemberId, why: String) -> Result<Event, Refusal> {
        if self.open_member(&id)?.status != MemberStatus::Suspended {
            return Err(Refusal::NotRegistered(format!("a suspension of {id}")));
        }
        Ok(Event::MemberReinstated { id, why: reason(why)? })
    }

    pub(crate) fn set_validity(
        &self,
        id: MemberId,
        valid_from: Option<Timestamp>,
        valid_to: Option<Timestamp>,
    ) -> Result<Event, Refusal> {
        let valid_from = valid_from.unwrap_or(self.open_member(&id)?.valid_from);
        if valid_to.is_some_and(|to| to <= valid_from || to <= self.now) {
            return Err(Refusal::Invalid(
                "a member's last moment lies after its first, and not in the past; to end it now, close it"
                    .into(),
            ));
        }
        Ok(Event::MemberValiditySet { id, valid_from, valid_to })
    }

    pub(crate) fn suspend_node(&self, node: NodeId, why: String) -> Result<Event, Refusal> {
        fresh(!self.open_node(&node)?.suspended, format!("the suspension of {node}"))?;
        Ok(Event::NodeSuspended { node, why: reason(why)? })
    }

    pub(crate) fn reinstate_node(&self, node: NodeId, why: String) -> Result<Event, Refusal> {
        if !self.open_node(&node)?.suspended {
            return Err(Refusal::NotRegistered(format!("a suspension of {node}")));
        }
        Ok(Event::NodeReinstated { node, why: reason(why)? })
    }

    pub(crate) fn change_owner(&self, node: NodeId, to: NodeId) -> Result<Event, Refusal> {
        self.open_node(&node)?;
        self.instance(to.instance(), &to)?;
        self.open_member(&to.owner())?;
        fresh(self.state.node(&to).is_none(), format!("node {to}"))?;
        if node.owner() == to.owner() {
            return Err(Refusal::Invalid(format!("{to} has the same owner as {node}")));
        }
        Ok(Event::NodeOwnerChanged { node, to })
    }

    pub(crate) fn set_maintenance(&self, node: NodeId, message: Option<String>) -> Result<Event, Refusal> {
        let entry: &NodeEntry = self.open_node(&node)?;
        let maintenance = message.map(|text| Maintenance { message: text.trim().to_owned() });
        if entry.maintenance == maintenance {
            return Err(Refusal::Duplicate(format!("this about the maintenance of {node}")));
        }
        if let Some(pause) = &maintenance {
            check_message(&pause.message).map_err(Refusal::Invalid)?;
        }
        Ok(Event::NodeMaintenance { node, maintenance })
    }

    pub(crate) fn turn_subsystem(&self, id: SubsystemId, off: bool) -> Result<Event, Refusal> {
        self.open_subsystem(&id)?;
        let member = self.open_member(&id.member())?;
        let is_off = member.subsystems.iter().any(|s| s.code == id.code() && s.disabled);
        // What a node disabled for itself an officer may still disable for good.
        let said = if off { is_off && self.state.is_held(&id) } else { !is_off };
        fresh(!said, format!("this about {id}"))?;
        Ok(if off { Event::SubsystemDisabled { id } } else { Event::SubsystemEnabled { id } })
    }

    pub(crate) fn remove_subsystem(&self, id: SubsystemId) -> Result<Event, Refusal> {
        self.open_subsystem(&id)?;
        if let Some(node) = self.state.a_node_serving(&id) {
            return Err(Refusal::StillServing { node: node.id.clone(), subsystem: id });
        }
        Ok(Event::SubsystemRemoved { id })
    }
}
