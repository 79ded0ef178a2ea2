//! Management requests put together and signed by everyone they bind (docs/registry.md §3).

use std::collections::BTreeMap;

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use truc_directory::{Der, PublicKey, V1, check_address};
use truc_governance::{
    Ask, EnrolledMember, InvitationCode, NamedSubsystem, Request, RequestSignature, RequestedCertificate,
    SignedRequest, SigningRole, signed_text,
};
use truc_keys::{KeyLabel, Signer as _};
use truc_model::{MemberId, MessageId, NodeId, SubsystemId, Timestamp};

use super::error::EnrolmentError;
use super::slots::{Own, Slot, leaf};
use crate::error::NodeError;

/// The message versions that this software accepts.
const VERSIONS: [u32; 1] = [truc_message::VERSION];

/// One signature to be made.
#[derive(Debug, Clone)]
struct Pen {
    role: SigningRole,
    holder: String,
    label: KeyLabel,
    certificate: Option<Der>,
}

/// A request and the keys that sign it.
#[derive(Debug)]
pub(crate) struct Draft {
    ask: Ask,
    pens: Vec<Pen>,
}

impl Draft {
    /// Signs it now, as a new request.
    pub(crate) async fn sign(
        &self,
        own: &Own,
        made: Timestamp,
        invitation: Option<&InvitationCode>,
    ) -> Result<SignedRequest, EnrolmentError> {
        let mut random = [0; 10];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| EnrolmentError::Invalid("the operating system gives no random numbers".into()))?;
        let node = own.config.node.clone();
        let instance = node.instance().to_owned();
        let request =
            Request { v: V1, id: MessageId::new(made, random), instance, node, made, ask: self.ask.clone() }
                .to_bytes();
        let text = signed_text(&request);
        let mut signatures = Vec::with_capacity(self.pens.len());
        for pen in &self.pens {
            signatures.push(pen.sign(own, text.clone()).await?);
        }
        Ok(SignedRequest { v: V1, request, signatures, invitation: invitation.map(|code| code.mac(&text)) })
    }

    fn of_node(own: &Own, ask: Ask) -> Result<Self, EnrolmentError> {
        let used = own.in_use(&own.auth())?;
        let certificate = Some(Der::from(used.certificate.der().to_vec()));
        let holder = own.config.node.to_string();
        Ok(Self { ask, pens: vec![Pen { role: SigningRole::Node, holder, label: used.label, certificate }] })
    }

    fn and_member(mut self, own: &Own, member: &MemberId) -> Result<Self, EnrolmentError> {
        let used = own.in_use(&own.seal(member)?)?;
        let certificate = Some(Der::from(used.certificate.der().to_vec()));
        self.pens.push(Pen {
            role: SigningRole::Member,
            holder: member.to_string(),
            label: used.label,
            certificate,
        });
        Ok(self)
    }

    fn and_new(mut self, holder: &str, label: KeyLabel) -> Self {
        self.pens.push(Pen {
            role: SigningRole::NewKey,
            holder: holder.to_owned(),
            label,
            certificate: None,
        });
        self
    }
}

impl Pen {
    async fn sign(&self, own: &Own, text: Bytes) -> Result<RequestSignature, EnrolmentError> {
        let key = own.store.key(&self.label).ok_or_else(|| NodeError::NoKey(self.label.clone()))?;
        let algorithm = key.kind.default_algorithm();
        let signature = Bytes::from(own.store.sign(&self.label, algorithm, text).await?);
        Ok(RequestSignature {
            role: self.role,
            holder: self.holder.clone(),
            algorithm,
            certificate: self.certificate.clone(),
            signature,
        })
    }
}

/// A key with the certificate request for it, and its certificate where an external CA issued one already.
fn requested(
    own: &Own,
    label: &KeyLabel,
    holder: &str,
    member: &MemberId,
    certificate: Option<Der>,
) -> Result<RequestedCertificate, EnrolmentError> {
    Ok(RequestedCertificate { request: own.request(label, holder, member)?, certificate })
}

/// The slot's key and what is asked for it: the certificate in the configured file comes along when there is one.
fn of_slot(own: &Own, slot: &Slot) -> Result<(KeyLabel, RequestedCertificate), EnrolmentError> {
    let (label, certificate) = match own.in_use_if_any(slot)? {
        Some(used) => (used.label, Some(Der::from(used.certificate.der().to_vec()))),
        None => (own.next_key(slot)?.label, None),
    };
    let requested = requested(own, &label, &slot.holder, &slot.member, certificate)?;
    Ok((label, requested))
}

/// `enrol-node`. Blocks.
pub(crate) fn enrol_node(
    own: &Own,
    address: Option<&str>,
    names: &BTreeMap<SubsystemId, String>,
) -> Result<Draft, EnrolmentError> {
    let config = &own.config;
    let address = address_of(own, address)?;
    if let Some(stray) = names.keys().find(|id| !config.members.iter().any(|m| m.subsystems.contains(id))) {
        return Err(EnrolmentError::Invalid(format!(
            "--name: {stray} is no subsystem of {}",
            config.path.display()
        )));
    }
    let log = own.store.key(&config.log_key).ok_or_else(|| NodeError::NoKey(config.log_key.clone()))?;
    let log_key =
        PublicKey::from_slice(&log.public_key).ok_or_else(|| NodeError::NoKey(config.log_key.clone()))?;
    let holder = config.node.to_string();
    let (auth_label, auth) = of_slot(own, &own.auth())?;
    let mut pens = vec![
        Pen { role: SigningRole::NewKey, holder: holder.clone(), label: auth_label, certificate: None },
        Pen { role: SigningRole::LogKey, holder, label: config.log_key.clone(), certificate: None },
    ];
    let mut members = vec![];
    for hosted in &config.members {
        let (label, seal) = of_slot(own, &own.seal(&hosted.id)?)?;
        pens.push(Pen { role: SigningRole::NewKey, holder: hosted.id.to_string(), label, certificate: None });
        let named = |id: &SubsystemId| NamedSubsystem {
            id: id.clone(),
            name: names.get(id).cloned().unwrap_or_else(|| id.code().to_owned()),
        };
        let subsystems = hosted.subsystems.iter().map(named).collect();
        members.push(EnrolledMember { id: hosted.id.clone(), seal, subsystems });
    }
    let ask = Ask::EnrolNode { address, log_key, versions: VERSIONS.to_vec(), auth, members };
    Ok(Draft { ask, pens })
}

/// Where other nodes connect: as told, or where the peer door listens when that is no address of this machine alone.
fn address_of(own: &Own, told: Option<&str>) -> Result<String, EnrolmentError> {
    let listen = own.config.peer.listen;
    let usable = !listen.ip().is_loopback() && !listen.ip().is_unspecified() && listen.port() != 0;
    let address = match told {
        Some(address) => address.to_owned(),
        None if usable => listen.to_string(),
        None => return Err(EnrolmentError::NoAddress(listen)),
    };
    check_address(&address).map_err(EnrolmentError::Invalid)?;
    Ok(address)
}

/// `register-subsystem`: signed by the member's seal, or with the key of its first seal here. Blocks.
pub(crate) fn register_subsystem(own: &Own, id: &SubsystemId, name: &str) -> Result<Draft, EnrolmentError> {
    let member = id.member();
    let slot = own.seal(&member)?;
    let subsystem = NamedSubsystem { id: id.clone(), name: name.to_owned() };
    let served = slot.file.exists();
    if served {
        return Draft::of_node(own, Ask::RegisterSubsystem { subsystem, seals: vec![] })?
            .and_member(own, &member);
    }
    let (label, seal) = of_slot(own, &slot)?;
    let seals = vec![EnrolledMember { id: member, seal, subsystems: vec![] }];
    Ok(Draft::of_node(own, Ask::RegisterSubsystem { subsystem, seals })?.and_new(&slot.holder, label))
}

/// `disable-subsystem`, `enable-subsystem`, `delete-subsystem`. Blocks.
pub(crate) fn of_subsystem(own: &Own, id: &SubsystemId, ask: Ask) -> Result<Draft, EnrolmentError> {
    Draft::of_node(own, ask)?.and_member(own, &id.member())
}

/// What the node alone asks: `change-address`, `maintenance-on`, `maintenance-off`. Blocks.
pub(crate) fn of_node(own: &Own, ask: Ask) -> Result<Draft, EnrolmentError> {
    if let Ask::ChangeAddress { address } = &ask {
        check_address(address).map_err(EnrolmentError::Invalid)?;
    }
    Draft::of_node(own, ask)
}

/// `delete-certificate` of the node's TLS identity, or of a member's seal, which that member signs too. Blocks.
pub(crate) fn delete_certificate(
    own: &Own,
    fingerprint: truc_model::Fingerprint,
    seal_of: Option<&MemberId>,
) -> Result<Draft, EnrolmentError> {
    let draft = Draft::of_node(own, Ask::DeleteCertificate { fingerprint })?;
    match seal_of {
        Some(member) => draft.and_member(own, member),
        None => Ok(draft),
    }
}

/// `register-auth-certificate`: for a key that never served. Blocks.
pub(crate) fn register_auth_certificate(own: &Own) -> Result<Draft, EnrolmentError> {
    let slot = own.auth();
    let label = own.make_key(&slot)?.label;
    let auth = requested(own, &label, &slot.holder, &slot.member, None)?;
    Ok(Draft::of_node(own, Ask::RegisterAuthCertificate { auth })?.and_new(&slot.holder, label))
}

/// `change-owner`: signed by both owners, and by a TLS key of its own in the new name. Blocks.
pub(crate) fn change_owner(own: &Own, to: &NodeId) -> Result<Draft, EnrolmentError> {
    let (old, new) = (own.config.node.owner(), to.owner());
    // No key is made when one of the two cannot sign.
    for owner in [&old, &new] {
        own.in_use(&own.seal(owner)?)?;
    }
    let label = own.make_key(&own.auth())?.label;
    let auth = requested(own, &label, to.as_str(), &new, None)?;
    let draft = Draft::of_node(own, Ask::ChangeOwner { to: to.clone(), auth })?;
    Ok(draft.and_member(own, &old)?.and_member(own, &new)?.and_new(to.as_str(), label))
}

/// `renew-keys` for these slots, each with its new key; certificates that an external CA issued for them come along. Blocks.
pub(crate) fn renew_keys(
    own: &Own,
    slots: &[(Slot, KeyLabel)],
    brought: &[Der],
) -> Result<Draft, EnrolmentError> {
    let (mut auth, mut seals, mut fresh) = (None, vec![], vec![]);
    for (slot, label) in slots {
        let key = own.store.key(label).ok_or_else(|| NodeError::NoKey(label.clone()))?;
        let its = |der: &&Der| {
            truc_trust::Certificate::from_der(der.as_bytes()).is_ok_and(|c| c.public_key() == key.public_key)
        };
        let requested = requested(own, label, &slot.holder, &slot.member, brought.iter().find(its).cloned())?;
        match slot.usage {
            truc_directory::Usage::Auth => auth = Some(requested),
            truc_directory::Usage::Sign => {
                seals.push(EnrolledMember { id: slot.member.clone(), seal: requested, subsystems: vec![] });
            }
        }
        fresh.push((slot.holder.clone(), label.clone()));
    }
    let members: Vec<MemberId> = seals.iter().map(|seal| seal.id.clone()).collect();
    let mut draft = Draft::of_node(own, Ask::RenewKeys { auth, seals })?;
    for member in &members {
        draft = draft.and_member(own, member)?;
    }
    Ok(fresh.into_iter().fold(draft, |draft, (holder, label)| draft.and_new(&holder, label)))
}

/// Whose seal in use this certificate is, if it is one; `None` for anything else, as the node's own identities are. Blocks.
pub(crate) fn seal_with(own: &Own, fingerprint: &truc_model::Fingerprint) -> Option<MemberId> {
    let slots = own.slots().into_iter().filter(|slot| slot.usage == truc_directory::Usage::Sign);
    let mut fitting = slots.filter(|slot| leaf(&slot.file).is_ok_and(|c| c.fingerprint() == *fingerprint));
    fitting.next().map(|slot| slot.member)
}
