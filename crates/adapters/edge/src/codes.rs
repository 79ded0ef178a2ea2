//! Old agency codes in what a caller names (`000.00.00.H26`): they are taken as the member that they mean, so that one form is
//! judged, signed, recorded and forwarded (protocol P6.4). Who was meant is the directory's to say.

use std::sync::Arc;

use truc_directory::{Directory, UnresolvedCode};
use truc_model::{Fault, FaultCode, InvalidId, MemberId, NodeId, ServiceId, SubsystemId};

use crate::target::malformed;

/// The directory that codes are looked up in; while there is none, they stay as they are written.
pub(crate) struct Codes(pub(crate) Option<Arc<Directory>>);

impl Codes {
    /// The calling subsystem under its member's canonical code.
    ///
    /// # Errors
    /// UNKNOWN_CLIENT with a hint.
    pub(crate) fn client(&self, id: SubsystemId) -> Result<SubsystemId, Fault> {
        let found = self.member(&id.member()).map_err(|why| unknown(FaultCode::UnknownClient, &why))?;
        match found {
            Some(member) => whole(member.subsystem(id.code())),
            None => Ok(id),
        }
    }

    /// The called service under its member's canonical code.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER with a hint.
    pub(crate) fn service(&self, id: ServiceId) -> Result<ServiceId, Fault> {
        let found = self.member(&id.member()).map_err(|why| unknown(FaultCode::UnknownMember, &why))?;
        match found {
            Some(member) => whole(
                member.subsystem(id.subsystem().code()).and_then(|subsystem| subsystem.service(id.code())),
            ),
            None => Ok(id),
        }
    }

    /// The named node under its owner's canonical code.
    ///
    /// # Errors
    /// UNKNOWN_NODE with a hint.
    pub(crate) fn node(&self, id: NodeId) -> Result<NodeId, Fault> {
        let found = self.member(&id.owner()).map_err(|why| unknown(FaultCode::UnknownNode, &why))?;
        match found {
            Some(member) => whole(member.node(id.code())),
            None => Ok(id),
        }
    }

    /// The member that is meant, when it is written differently.
    fn member(&self, given: &MemberId) -> Result<Option<MemberId>, UnresolvedCode> {
        let Some(directory) = &self.0 else { return Ok(None) };
        let meant = directory.resolve_member(given)?;
        Ok((meant != *given).then_some(meant))
    }
}

fn unknown(code: FaultCode, why: &UnresolvedCode) -> Fault {
    Fault::consumer(code, why.to_string())
}

fn whole<T>(id: Result<T, InvalidId>) -> Result<T, Fault> {
    id.map_err(|e| malformed(e.to_string()))
}
