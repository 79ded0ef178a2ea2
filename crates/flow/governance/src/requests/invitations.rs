//! Who may be invited, and whether an enrolment came under an invitation.

use std::time::Duration;

use truc_model::{NodeId, Timestamp};

use super::checked_level;
use crate::decide::Desk;
use crate::error::{GovernanceError as Refusal, RequestRefusal};
use crate::event::Event;
use crate::filed::{Invitation, InvitationFate, SecurityLevel};
use crate::reason::reason;
use crate::request::{InvitationId, InvitationKey, Request, SignedRequest};

/// Longest life of an invitation.
const INVITATION_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

impl Desk<'_> {
    pub(crate) fn invite(
        &self,
        id: InvitationId,
        key: InvitationKey,
        node: NodeId,
        expires: Timestamp,
        level: Option<SecurityLevel>,
    ) -> Result<Event, Refusal> {
        self.open_member(&node.owner())?;
        if self.state.node(&node).is_some() {
            return Err(Refusal::Duplicate(format!("node {node}")));
        }
        if expires <= self.now || expires > self.now.plus(INVITATION_LIMIT) {
            return Err(Refusal::Invalid(
                "an invitation lives longer than nothing and at most 30 days".into(),
            ));
        }
        if self.state.files.invitation(&id).is_some() {
            return Err(Refusal::Duplicate(format!("invitation {id}")));
        }
        let level = level.map(checked_level).transpose()?;
        Ok(Event::InvitationIssued { id, node, key, expires, level })
    }

    pub(crate) fn withdraw(&self, id: InvitationId, why: String) -> Result<Event, Refusal> {
        let found = self.state.files.invitation(&id);
        let invitation = found.ok_or_else(|| Refusal::NotRegistered(format!("invitation {id}")))?;
        match invitation.fate {
            InvitationFate::Open => Ok(Event::InvitationWithdrawn { id, why: reason(why)? }),
            InvitationFate::Used(number) => Err(RequestRefusal::InvitationUsed { id, number }.into()),
            InvitationFate::Withdrawn => Err(RequestRefusal::InvitationWithdrawn(id).into()),
        }
    }

    pub(super) fn invited(
        &self,
        signed: &SignedRequest,
        request: &Request,
        text: &[u8],
    ) -> Result<(), Refusal> {
        let mac = signed.invitation.as_ref().ok_or(RequestRefusal::NotInvited)?;
        let known: Option<&Invitation> = self.state.files.invitation(&mac.id);
        // The same answer whether it is unknown, another node's, or the secret is wrong.
        let invitation = known
            .filter(|invitation| invitation.node == request.node && invitation.key.verify(text, &mac.mac))
            .ok_or(RequestRefusal::NotInvited)?;
        let id = mac.id.clone();
        match invitation.fate {
            InvitationFate::Used(number) => Err(RequestRefusal::InvitationUsed { id, number }.into()),
            InvitationFate::Withdrawn => Err(RequestRefusal::InvitationWithdrawn(id).into()),
            InvitationFate::Open if invitation.expires <= self.now => {
                Err(RequestRefusal::InvitationExpired { id, at: invitation.expires }.into())
            }
            InvitationFate::Open => Ok(()),
        }
    }
}
