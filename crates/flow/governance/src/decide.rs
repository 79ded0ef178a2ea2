//! Whether a command may become an event.

use truc_directory::{
    AgencyCode, CodeForm, Der, Endorsed, GroupMember, MemberEntry, MemberStatus, SignCertificate,
    TrustServices, Usage, check_address,
};
use truc_model::{Digest, MemberId, NodeId, SubsystemId, Timestamp};

use crate::command::{Command, NewNode, NewSuccession};
use crate::error::GovernanceError as Refusal;
use crate::event::Event;
use crate::governance::Rules;
use crate::ports::CertificateInspector;
use crate::state::State;

/// Longest name of a member, subsystem or group, in characters.
const NAME_LIMIT: usize = 200;

/// Judges commands against the state of this moment.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    pub(crate) state: &'a State,
    pub(crate) inspector: &'a dyn CertificateInspector,
    pub(crate) now: Timestamp,
    /// Who asks.
    pub(crate) actor: &'a str,
    pub(crate) rules: Rules,
}

impl Desk<'_> {
    pub(crate) fn decide(&self, command: Command) -> Result<Event, Refusal> {
        match command {
            Command::Initialise { .. } => Err(Refusal::AlreadyInitialised(self.state.instance().to_owned())),
            Command::InstallRoot { root, trust } => Ok(Event::RootInstalled { root, trust }),
            Command::InstallTrustServices { trust } => self.trust(trust),
            Command::AddMember { id, name_vi, name_en } => self.add_member(id, name_vi, name_en),
            Command::RenameMember { id, name_vi, name_en } => {
                self.open_member(&id)?;
                Ok(Event::MemberRenamed { name_vi: name(name_vi)?, name_en: name(name_en)?, id })
            }
            Command::AddSubsystem { id, name: text } => {
                self.instance(id.instance(), &id)?;
                let member = self.open_member(&id.member())?;
                fresh(!member.has_subsystem(id.code()), &id)?;
                Ok(Event::SubsystemAdded { id, name: name(text)? })
            }
            Command::RegisterNode(node) => self.register_node(node),
            Command::MoveNode { node, address } => {
                self.open_node(&node)?;
                check_address(&address).map_err(Refusal::Invalid)?;
                Ok(Event::NodeMoved { node, address })
            }
            Command::Serve { node, subsystem } => self.serve(node, subsystem),
            Command::StopServing { node, subsystem } => {
                if !self.open_node(&node)?.serves.contains(&subsystem) {
                    return Err(Refusal::NotRegistered(format!("{subsystem} at {node}")));
                }
                Ok(Event::NodeStoppedServing { node, subsystem })
            }
            Command::RegisterAuthCertificate { node, certificate } => {
                self.auth_certificate(node, &certificate)
            }
            Command::RegisterSignCertificate { member, certificate } => {
                self.sign_certificate(member, certificate)
            }
            Command::RevokeCertificate { fingerprint } => match self.state.certificate_owner(&fingerprint) {
                Some(_) => Ok(Event::CertificateRevoked { fingerprint }),
                None => Err(Refusal::UnknownCertificate(fingerprint)),
            },
            Command::CreateGroup { code, name: text } => {
                fresh(!self.state.groups.contains_key(&code), format!("group {code}"))?;
                // A group's code obeys the rules of a subsystem's, so that it can stand wherever one stands.
                SubsystemId::new(self.state.instance(), "GROUP", "GROUP", &code)
                    .map_err(|e| Refusal::Invalid(e.to_string()))?;
                Ok(Event::GroupCreated { code, name: name(text)? })
            }
            Command::AddToGroup { code, member } => {
                fresh(!self.group_members(&code)?.contains(&member), format!("{member:?} in group {code}"))?;
                self.known(&member)?;
                Ok(Event::GroupMemberAdded { code, member })
            }
            Command::RemoveFromGroup { code, member } => {
                if !self.group_members(&code)?.contains(&member) {
                    return Err(Refusal::NotRegistered(format!("{member:?} in group {code}")));
                }
                Ok(Event::GroupMemberRemoved { code, member })
            }
            Command::AddAlias { alias, member } => {
                fresh(!self.state.aliases.contains_key(&alias), &alias)?;
                self.open_member(&member)?;
                if alias.is_empty() || alias.len() > 64 || !alias.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(Refusal::Invalid("an old agency code looks like 000.00.00.H26".into()));
                }
                Ok(Event::AliasAdded { alias, member })
            }
            Command::CloseMember { id, successor } => self.close(id, successor),
            command => self.decide_standing(command),
        }
    }

    /// Commands about taking part for now, and about requests.
    fn decide_standing(&self, command: Command) -> Result<Event, Refusal> {
        match command {
            Command::SuspendMember { id, why } => self.suspend_member(id, why),
            Command::ReinstateMember { id, why } => self.reinstate_member(id, why),
            Command::SetValidity { id, valid_from, valid_to } => self.set_validity(id, valid_from, valid_to),
            Command::SuspendNode { node, why } => self.suspend_node(node, why),
            Command::ReinstateNode { node, why } => self.reinstate_node(node, why),
            Command::RemoveNode { node } => {
                self.open_node(&node)?;
                Ok(Event::NodeRemoved { node })
            }
            Command::ChangeOwner { node, to } => self.change_owner(node, to),
            Command::SetMaintenance { node, message } => self.set_maintenance(node, message),
            Command::DisableSubsystem { id } => self.turn_subsystem(id, true),
            Command::EnableSubsystem { id } => self.turn_subsystem(id, false),
            Command::RemoveSubsystem { id } => self.remove_subsystem(id),
            Command::Invite { id, key, node, expires, level } => self.invite(id, key, node, expires, level),
            Command::WithdrawInvitation { id, why } => self.withdraw(id, why),
            Command::Submit { document, issued } => self.submit(document, &issued),
            Command::AttachLevel { number, level } => self.attach_level(number, level),
            Command::BringCertificates { number, certificates, intermediates } => {
                self.bring(number, &certificates, &intermediates)
            }
            Command::Approve { number, why, level, issued } => self.approve(number, why, level, &issued),
            Command::Refuse { number, why } => self.refuse(number, why),
            other => Err(Refusal::Invalid(format!("{other:?} is decided elsewhere"))),
        }
    }

    fn trust(&self, trust: Endorsed) -> Result<Event, Refusal> {
        let next = TrustServices::parse(&trust.payload).map_err(|e| Refusal::Endorsement(e.to_string()))?;
        let due = self.state.trust.version.saturating_add(1);
        if next.version != due {
            let why = format!(
                "version {due} of the trust-service list is due, {} came; draft it again",
                next.version
            );
            return Err(Refusal::Endorsement(why));
        }
        Ok(Event::TrustInstalled { trust })
    }

    fn add_member(&self, id: MemberId, name_vi: String, name_en: String) -> Result<Event, Refusal> {
        self.instance(id.instance(), &id)?;
        fresh(self.state.member(&id).is_none(), &id)?;
        canonical(&id)?;
        Ok(Event::MemberAdded { id, name_vi: name(name_vi)?, name_en: name(name_en)? })
    }

    fn register_node(&self, node: NewNode) -> Result<Event, Refusal> {
        self.instance(node.id.instance(), &node.id)?;
        self.open_member(&node.id.owner())?;
        fresh(self.state.node(&node.id).is_none(), format!("node {}", node.id))?;
        check_address(&node.address).map_err(Refusal::Invalid)?;
        node.serves.iter().try_for_each(|s| self.open_subsystem(s))?;
        Ok(Event::NodeRegistered { node })
    }

    fn serve(&self, node: NodeId, subsystem: SubsystemId) -> Result<Event, Refusal> {
        let entry = self.open_node(&node)?;
        fresh(!entry.serves.contains(&subsystem), format!("{subsystem} at {node}"))?;
        self.open_subsystem(&subsystem)?;
        Ok(Event::NodeServes { node, subsystem })
    }

    fn auth_certificate(&self, node: NodeId, certificate: &Der) -> Result<Event, Refusal> {
        self.open_node(&node)?;
        let holder = self.inspect(certificate, Usage::Auth)?;
        let named = holder.node.as_ref().map_or(holder.member.as_str(), NodeId::as_str).to_owned();
        // Where the CA's profile names no nodes, this registration alone binds the certificate to the node.
        if holder.member != node.owner() || holder.node.is_some_and(|n| n != node) {
            return Err(Refusal::CertificateOfAnother { expected: node.to_string(), named });
        }
        let key = self.key_of(certificate, node.as_str(), Usage::Auth)?;
        Ok(Event::AuthCertificateRegistered { node, fingerprint: certificate.fingerprint(), key })
    }

    fn sign_certificate(&self, member: MemberId, certificate: Der) -> Result<Event, Refusal> {
        self.open_member(&member)?;
        let holder = self.inspect(&certificate, Usage::Sign)?;
        if holder.member != member {
            let named = holder.member.to_string();
            return Err(Refusal::CertificateOfAnother { expected: member.to_string(), named });
        }
        let key = self.key_of(&certificate, member.as_str(), Usage::Sign)?;
        let certificate = SignCertificate { fingerprint: certificate.fingerprint(), der: Some(certificate) };
        Ok(Event::SignCertificateRegistered { member, certificate, key })
    }

    /// What to remember of the certificate's key; a key stays with its holder, also under a later certificate.
    fn key_of(&self, certificate: &Der, holder: &str, usage: Usage) -> Result<Option<Digest>, Refusal> {
        let key = self.inspector.certificate_key(certificate);
        let key = key.map_err(|why| Refusal::Certificate { usage, why })?.digest();
        match self.state.key_holder(&key) {
            Some(other) if other != holder => Err(Refusal::Duplicate(format!("the key of {holder}"))),
            _ => Ok(Some(key)),
        }
    }

    fn inspect(&self, certificate: &Der, usage: Usage) -> Result<crate::CertificateHolder, Refusal> {
        let fingerprint = certificate.fingerprint();
        fresh(self.state.certificate_owner(&fingerprint).is_none(), format!("certificate {fingerprint}"))?;
        self.inspector
            .inspect(certificate, usage, &self.state.trust.authorities, self.now)
            .map_err(|why| Refusal::Certificate { usage, why })
    }

    fn close(&self, id: MemberId, successor: Option<NewSuccession>) -> Result<Event, Refusal> {
        let member = self.open_member(&id)?;
        for node in &member.nodes {
            if let Some(other) = node.serves.iter().find(|s| s.member() != id) {
                return Err(Refusal::StillServing { node: node.id.clone(), subsystem: other.clone() });
            }
        }
        if let Some(succession) = &successor {
            self.open_member(&succession.member)?;
            for step in &succession.subsystems {
                self.open_subsystem(&step.from)?;
                self.open_subsystem(&step.to)?;
            }
        }
        Ok(Event::MemberClosed { id, successor })
    }

    pub(crate) fn instance(&self, found: &str, what: impl ToString) -> Result<(), Refusal> {
        if found == self.state.instance() {
            return Ok(());
        }
        Err(Refusal::WrongInstance { expected: self.state.instance().to_owned(), found: what.to_string() })
    }

    pub(crate) fn open_member(&self, id: &MemberId) -> Result<&MemberEntry, Refusal> {
        self.instance(id.instance(), id)?;
        let member = self.state.member(id).ok_or_else(|| Refusal::UnknownMember(id.clone()))?;
        // A suspended member's papers can be put in order; it takes part again only when it is reinstated.
        if member.status == MemberStatus::Closed || member.valid_to.is_some_and(|to| to <= self.now) {
            Err(Refusal::MemberClosed(id.clone()))
        } else {
            Ok(member)
        }
    }

    pub(crate) fn open_subsystem(&self, id: &SubsystemId) -> Result<(), Refusal> {
        self.open_member(&id.member())?;
        if self.state.has_subsystem(id) { Ok(()) } else { Err(Refusal::UnknownSubsystem(id.clone())) }
    }

    pub(crate) fn open_node(&self, id: &NodeId) -> Result<&truc_directory::NodeEntry, Refusal> {
        self.instance(id.instance(), id)?;
        self.state.node(id).ok_or_else(|| Refusal::UnknownNode(id.clone()))
    }

    fn group_members(&self, code: &str) -> Result<&[GroupMember], Refusal> {
        let group = self.state.groups.get(code).ok_or_else(|| Refusal::UnknownGroup(code.to_owned()))?;
        Ok(&group.members)
    }

    fn known(&self, member: &GroupMember) -> Result<(), Refusal> {
        match member {
            GroupMember::Member(id) => self.open_member(id).map(|_| ()),
            GroupMember::Subsystem(id) => self.open_subsystem(id),
        }
    }
}

/// An agency is registered under its code's one canonical form: `H49`, never `h49` or `000.00.00.H49`, which would be another
/// member to every machine and the same to every officer.
fn canonical(id: &MemberId) -> Result<(), Refusal> {
    let code = id.code();
    let old = matches!(AgencyCode::read(code), Ok((_, form)) if form != CodeForm::New);
    if id.class() == "GOV" && (old || code.bytes().any(|b| b.is_ascii_lowercase())) {
        return Err(Refusal::Invalid(format!(
            "{code}: ghi mã định danh dạng mới, chữ hoa, ví dụ H49 / write the agency code in its new form and upper case, like H49; \
             an old form is an alias (truc registry alias add)"
        )));
    }
    Ok(())
}

pub(crate) fn fresh(is_fresh: bool, what: impl ToString) -> Result<(), Refusal> {
    if is_fresh { Ok(()) } else { Err(Refusal::Duplicate(what.to_string())) }
}

fn name(text: String) -> Result<String, Refusal> {
    let text = text.trim().to_owned();
    if text.is_empty() || text.chars().count() > NAME_LIMIT || text.chars().any(char::is_control) {
        return Err(Refusal::Invalid(format!("a name has 1 to {NAME_LIMIT} characters and no line breaks")));
    }
    Ok(text)
}
