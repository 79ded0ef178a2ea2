//! Whose keys a request brings, and who must have signed it.

use truc_directory::{Der, MemberStatus, NodeEntry, Usage};
use truc_model::{Digest, MemberId};

use crate::decide::Desk;
use crate::error::{GovernanceError as Refusal, RequestRefusal};
use crate::filed::GrantedCertificate;
use crate::ports::SubjectKey;
use crate::request::{Ask, Request, RequestSignature, RequestedCertificate, SignedRequest, SigningRole};

/// A certificate that is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedCertificate {
    /// The node's or the member's id.
    pub holder: String,
    /// What for.
    pub usage: Usage,
    /// The certificate request (PKCS#10).
    pub request: Der,
    /// The member's name, for the certificate's subject.
    pub organisation: String,
}

/// A key that a request brings.
pub(crate) struct RequestedKey {
    pub(crate) wanted: WantedCertificate,
    pub(crate) key: SubjectKey,
    /// The certificate that came with it.
    brought: Option<Der>,
}

impl RequestedKey {
    pub(crate) fn granted_by(&self, granted: &[GrantedCertificate]) -> bool {
        granted.iter().any(|g| g.holder == self.wanted.holder && g.usage == self.wanted.usage)
    }
}

impl Desk<'_> {
    /// Every key of the request, each fresh and proven by its certificate request.
    pub(crate) fn requested_keys(&self, request: &Request) -> Result<Vec<RequestedKey>, Refusal> {
        let (auth, members) = request.ask.certificates(&request.node);
        let mut keys: Vec<RequestedKey> = Vec::new();
        if let Some((node, auth)) = auth {
            keys.push(self.requested_key(auth, Usage::Auth, node.to_string(), &node.owner())?);
        }
        for member in members {
            keys.push(self.requested_key(&member.seal, Usage::Sign, member.id.to_string(), &member.id)?);
        }
        let mut digests: Vec<(Digest, &str)> =
            keys.iter().map(|key| (key.key.digest(), key.wanted.holder.as_str())).collect();
        if let Ask::EnrolNode { log_key, .. } = &request.ask {
            digests.push((Digest::of(&log_key.0), request.node.as_str()));
        }
        digests.sort_unstable();
        let twice = digests.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].1);
        let used = digests.iter().find(|(digest, _)| self.state.key_holder(digest).is_some()).map(|d| d.1);
        match twice.or(used) {
            Some(holder) => Err(RequestRefusal::KeyUsed { holder: holder.to_owned() }.into()),
            None => Ok(keys),
        }
    }

    fn requested_key(
        &self,
        requested: &RequestedCertificate,
        usage: Usage,
        holder: String,
        member: &MemberId,
    ) -> Result<RequestedKey, Refusal> {
        let entry = self.open_member(member)?;
        let key = self.inspector.request_key(&requested.request, usage, &holder);
        let key = key.map_err(|why| RequestRefusal::Certificate { holder: holder.clone(), why })?;
        let organisation = entry.name_vi.clone();
        let wanted = WantedCertificate { holder, usage, request: requested.request.clone(), organisation };
        Ok(RequestedKey { wanted, key, brought: requested.certificate.clone() })
    }

    /// The certificates that came with the request itself.
    pub(crate) fn brought(&self, keys: &[RequestedKey]) -> Result<Vec<GrantedCertificate>, Refusal> {
        keys.iter().filter_map(|key| key.brought.as_ref()).map(|c| self.grant(keys, c)).collect()
    }

    /// Whose of the requested keys this certificate is for; it must name that holder.
    pub(crate) fn grant(
        &self,
        keys: &[RequestedKey],
        certificate: &Der,
    ) -> Result<GrantedCertificate, Refusal> {
        let unfit = |holder: String, why: String| Refusal::from(RequestRefusal::Certificate { holder, why });
        let found = self.inspector.certificate_key(certificate);
        let found = found.map_err(|why| unfit(certificate.fingerprint().to_string(), why))?;
        let key = keys.iter().find(|key| key.key == found).ok_or_else(|| {
            let why = "it carries none of the keys of this request".to_owned();
            unfit(certificate.fingerprint().to_string(), why)
        })?;
        let WantedCertificate { holder, usage, .. } = &key.wanted;
        Ok(GrantedCertificate {
            holder: holder.clone(),
            usage: *usage,
            certificate: certificate.clone(),
            intermediates: vec![],
        })
    }

    /// Every signature that the request needs is there and holds, and there is no other.
    pub(crate) fn signatures(
        &self,
        signed: &SignedRequest,
        request: &Request,
        keys: &[RequestedKey],
        text: &[u8],
    ) -> Result<(), Refusal> {
        let mut needed = 0;
        for key in keys {
            let one = find(signed, SigningRole::NewKey, &key.wanted.holder, needed_why(key.wanted.usage))?;
            holds(one, &key.key, text)?;
            needed += 1;
        }
        match &request.ask {
            Ask::EnrolNode { log_key, .. } => {
                let one = find(signed, SigningRole::LogKey, request.node.as_str(), "the log key")?;
                let key = SubjectKey { kind: truc_keys::KeyKind::Ed25519, public_key: log_key.0.to_vec() };
                holds(one, &key, text)?;
                needed += 1;
            }
            ask => {
                let node = self.asking_node(signed, request, text)?;
                needed += 1;
                for member in self.bound_members(ask, node)? {
                    self.by_member(signed, &member, text)?;
                    needed += 1;
                }
            }
        }
        if signed.signatures.len() == needed {
            return Ok(());
        }
        let why = format!("{needed} signatures are due, {} came", signed.signatures.len());
        Err(RequestRefusal::Signature { who: request.node.to_string(), why }.into())
    }

    /// The node that asks, once its signature holds: whoever lacks its key gets no further.
    pub(crate) fn asking_node(
        &self,
        signed: &SignedRequest,
        request: &Request,
        text: &[u8],
    ) -> Result<&NodeEntry, Refusal> {
        let node = self.open_node(&request.node)?;
        self.by_node(signed, node, text)?;
        self.taking_part(&node.id.owner())?;
        if node.suspended {
            return Err(
                RequestRefusal::NotItsOwn { node: node.id.clone(), what: "a suspended node".into() }.into()
            );
        }
        Ok(node)
    }

    /// A suspended member asks for nothing: whoever it was suspended because of must not make keys for the time after.
    fn taking_part(&self, id: &MemberId) -> Result<(), Refusal> {
        if self.open_member(id)?.status == MemberStatus::Suspended {
            let why = "thành viên đang bị đình chỉ / the member is suspended".to_owned();
            return Err(RequestRefusal::Signature { who: id.to_string(), why }.into());
        }
        Ok(())
    }

    /// The members whose seal must stand under the request, beside the node's signature.
    fn bound_members(&self, ask: &Ask, node: &NodeEntry) -> Result<Vec<MemberId>, Refusal> {
        let foreign = |what: String| Refusal::from(RequestRefusal::NotItsOwn { node: node.id.clone(), what });
        let hosts = |member: &MemberId| {
            *member == node.id.owner() || node.serves.iter().any(|s| s.member() == *member)
        };
        match ask {
            // A member that the node begins to speak for signs with the key of its new seal. One that it speaks for already has
            // a seal to say so with: a new key alone is nobody's word.
            Ask::RegisterSubsystem { subsystem, seals } => {
                let member = subsystem.id.member();
                let known = hosts(&member) && self.has_seal(&member);
                Ok(if known || seals.is_empty() { vec![member] } else { vec![] })
            }
            Ask::DisableSubsystem { subsystem }
            | Ask::EnableSubsystem { subsystem }
            | Ask::DeleteSubsystem { subsystem } => {
                if !node.serves.contains(subsystem) {
                    return Err(foreign(subsystem.to_string()));
                }
                if matches!(ask, Ask::EnableSubsystem { .. }) && self.state.is_held(subsystem) {
                    return Err(foreign(format!(
                        "{subsystem}, which an officer disabled: ask the registrar"
                    )));
                }
                Ok(vec![subsystem.member()])
            }
            Ask::DeleteCertificate { fingerprint } => {
                if node.auth_certificates.contains(fingerprint) {
                    return Ok(vec![]);
                }
                let owner = self.state.certificate_owner(fingerprint).map(|member| member.id.clone());
                match owner.filter(|member| hosts(member) && self.state.is_seal(member, fingerprint)) {
                    Some(member) => Ok(vec![member]),
                    None => Err(foreign(format!("certificate {fingerprint}"))),
                }
            }
            Ask::RenewKeys { seals, .. } => match seals.iter().find(|m| !hosts(&m.id)) {
                Some(member) => Err(foreign(member.id.to_string())),
                None => Ok(seals.iter().map(|m| m.id.clone()).collect()),
            },
            Ask::ChangeOwner { to, .. } => Ok(vec![node.id.owner(), to.owner()]),
            Ask::EnrolNode { .. }
            | Ask::RegisterAuthCertificate { .. }
            | Ask::ChangeAddress { .. }
            | Ask::MaintenanceOn { .. }
            | Ask::MaintenanceOff {} => Ok(vec![]),
        }
    }

    fn by_node(&self, signed: &SignedRequest, node: &NodeEntry, text: &[u8]) -> Result<(), Refusal> {
        let one = find(signed, SigningRole::Node, node.id.as_str(), "a registered auth key")?;
        let known = |certificate: &&Der| node.auth_certificates.contains(&certificate.fingerprint());
        self.by_certificate(one, known, text)
    }

    fn by_member(&self, signed: &SignedRequest, member: &MemberId, text: &[u8]) -> Result<(), Refusal> {
        self.taking_part(member)?;
        let one = find(signed, SigningRole::Member, member.as_str(), "a registered seal")?;
        let known = |certificate: &&Der| self.state.is_seal(member, &certificate.fingerprint());
        self.by_certificate(one, known, text)
    }

    fn has_seal(&self, member: &MemberId) -> bool {
        self.state.member(member).is_some_and(|m| !m.sign_certificates.is_empty())
    }

    fn by_certificate(
        &self,
        one: &RequestSignature,
        known: impl FnOnce(&&Der) -> bool,
        text: &[u8],
    ) -> Result<(), Refusal> {
        let lacking = |why: &str| RequestRefusal::Signature { who: one.holder.clone(), why: why.to_owned() };
        let certificate = one.certificate.as_ref().filter(known);
        let certificate = certificate.ok_or_else(|| lacking("its certificate is not registered"))?;
        let key = self.inspector.certificate_key(certificate).map_err(|why| lacking(&why))?;
        holds(one, &key, text)
    }
}

const fn needed_why(usage: Usage) -> &'static str {
    match usage {
        Usage::Auth => "the new auth key",
        Usage::Sign => "the new seal's key",
    }
}

fn find<'s>(
    signed: &'s SignedRequest,
    role: SigningRole,
    holder: &str,
    why: &str,
) -> Result<&'s RequestSignature, Refusal> {
    let one = signed.signatures.iter().find(|one| one.role == role && one.holder == holder);
    let missing = || RequestRefusal::Signature { who: holder.to_owned(), why: format!("{why} did not sign") };
    Ok(one.ok_or_else(missing)?)
}

fn holds(one: &RequestSignature, key: &SubjectKey, text: &[u8]) -> Result<(), Refusal> {
    let fits = one.algorithm.key_kind() == key.kind;
    if fits && one.algorithm.verify(&key.public_key, text, &one.signature) {
        return Ok(());
    }
    let why = "it does not verify".to_owned();
    Err(RequestRefusal::Signature { who: one.holder.clone(), why }.into())
}
