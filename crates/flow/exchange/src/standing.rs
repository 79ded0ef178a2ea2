//! Who takes part in exchanges, and why not: the directory's word on members, subsystems and nodes, as the fault that is told.
//!
//! Whom the directory does not know has nothing against it here: what becomes of it is told where it is looked for.

use truc_directory::{Directory, MemberStatus, NodeEntry};
use truc_message::{Header, Peer};
use truc_model::{Fault, FaultCode, MemberId, NodeId, Side, SubsystemId, Timestamp};

/// The directory's word, as of a moment, for faults of one side.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    directory: &'a Directory,
    now: Timestamp,
    side: Side,
}

impl<'a> Standing<'a> {
    pub(crate) const fn new(directory: &'a Directory, now: Timestamp, side: Side) -> Self {
        Self { directory, now, side }
    }

    fn suspended(&self, what: String) -> Fault {
        Fault::at(self.side, FaultCode::Suspended, what)
    }

    /// # Errors
    /// SUSPENDED; MOVED of a member that is closed or whose time is over.
    fn member(&self, id: &MemberId) -> Result<(), Fault> {
        let Some(entry) = self.directory.member(id) else { return Ok(()) };
        if entry.status == MemberStatus::Suspended {
            return Err(self.suspended(format!("member {id} is suspended")));
        }
        if entry.status == MemberStatus::Active && entry.valid_to.is_none_or(|to| self.now < to) {
            return Ok(());
        }
        let successor = self.directory.successor(id).map(|succession| succession.member.clone());
        let detail = match &successor {
            Some(next) => format!("{id} is closed; its successor is {next}"),
            None => format!("{id} is closed and has no successor"),
        };
        Err(Fault::at(self.side, FaultCode::Moved, detail).with_successor(successor))
    }

    /// # Errors
    /// SUSPENDED for a disabled subsystem, or one of a suspended member; MOVED for one of a closed member, with the
    /// subsystem that goes on in its place, where the succession says which.
    pub(crate) fn subsystem(&self, id: &SubsystemId) -> Result<(), Fault> {
        let member = id.member();
        self.member(&member).map_err(|fault| {
            let steps = self.directory.successor(&member).map(|succession| &succession.subsystems);
            let step = steps.and_then(|steps| steps.iter().find(|step| step.from == *id));
            fault.with_successor_subsystem(step.map(|step| step.to.clone()))
        })?;
        if self.directory.subsystem(id).is_some_and(|entry| entry.disabled) {
            return Err(self.suspended(format!("subsystem {id} is disabled by its member")));
        }
        Ok(())
    }

    /// # Errors
    /// SUSPENDED for a suspended node, or one whose owner takes no part.
    pub(crate) fn node(&self, id: &NodeId) -> Result<(), Fault> {
        if self.directory.node(id).is_some_and(|node| node.suspended) {
            return Err(self.suspended(format!("node {id} is suspended")));
        }
        self.member(&id.owner()).map_err(|of_owner| match of_owner.code {
            // A node has no successor: what it serves may have one.
            FaultCode::Moved => self.suspended(format!("node {id} is of {}, which is closed", id.owner())),
            _ => of_owner,
        })
    }

    /// # Errors
    /// MAINTENANCE with the node's message.
    pub(crate) fn at_work(&self, id: &NodeId) -> Result<(), Fault> {
        self.directory.node(id).map_or(Ok(()), |node| in_maintenance(node, self.side))
    }

    /// What the directory says against the caller of a request that came over `peer`'s connection; a node is told so of
    /// itself alone.
    ///
    /// # Errors
    /// SUSPENDED or MOVED.
    pub(crate) fn caller(&self, peer: &Peer, header: &Header) -> Result<(), Fault> {
        let from = self.directory.node(&header.from);
        if !from.is_some_and(|node| node.auth_certificates.contains(&peer.fingerprint())) {
            return Ok(());
        }
        self.subsystem(&header.client)?;
        self.node(&header.from)
    }

    /// The same for a peer that names nobody. Looks at every node, so only for those that are not believed anyway.
    ///
    /// # Errors
    /// SUSPENDED.
    pub(crate) fn stranger(&self, peer: &Peer) -> Result<(), Fault> {
        let certificate = peer.fingerprint();
        let node = self.directory.nodes().find(|node| node.auth_certificates.contains(&certificate));
        node.map_or(Ok(()), |node| self.node(&node.id))
    }
}

/// # Errors
/// MAINTENANCE with the node's message, as X-Road tells it.
pub(crate) fn in_maintenance(node: &NodeEntry, side: Side) -> Result<(), Fault> {
    let Some(pause) = &node.maintenance else { return Ok(()) };
    let id = &node.id;
    let detail = match pause.message.as_str() {
        "" => format!("node {id} is in maintenance"),
        message => format!("node {id} is in maintenance: {message}"),
    };
    Err(Fault::at(side, FaultCode::Maintenance, detail))
}
