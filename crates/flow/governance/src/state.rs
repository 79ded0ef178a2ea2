//! The registry's state: a fold over its events.

mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use truc_directory::{
    Alias, Aliases, Anchor, DirectoryError, Endorsed, Group, GroupMember, Groups, MemberEntry, MemberStatus,
    NodeEntry, Root, SubsystemEntry, Succession, TrustServices, V1, verify_root_chain,
};
use truc_model::{Digest, Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::command::{NewNode, NewSuccession};
use crate::event::Event;
use crate::filed::Files;

/// What the registry has decided so far. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) roots: Vec<Bytes>,
    pub(crate) root: Root,
    pub(crate) trust_part: Bytes,
    pub(crate) trust: TrustServices,
    pub(crate) members: BTreeMap<MemberId, Arc<MemberEntry>>,
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) aliases: BTreeMap<String, MemberId>,
    /// Whose certificate a registered one is.
    certificates: Arc<HashMap<Fingerprint, MemberId>>,
    /// Every key ever registered, and to whom: a key serves one holder, for good.
    keys: Arc<HashMap<Digest, String>>,
    /// Subsystems that an officer disabled: no node enables them.
    held: Arc<BTreeSet<SubsystemId>>,
    pub(crate) files: Files,
}

type Applied = Result<(), String>;

impl State {
    /// The state after the first event.
    pub(crate) fn initial(root: &Endorsed, trust: &Endorsed) -> Result<Self, DirectoryError> {
        let first = Root::parse(&root.payload)?;
        let mut state = Self {
            roots: vec![root.to_bytes()],
            trust: TrustServices::empty(&first.instance),
            root: first,
            trust_part: Bytes::new(),
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            aliases: BTreeMap::new(),
            certificates: Arc::default(),
            keys: Arc::default(),
            held: Arc::default(),
            files: Files::default(),
        };
        state.root = verify_root_chain(&state.anchor()?, &state.roots)?;
        state.install_trust(trust)?;
        Ok(state)
    }

    /// The instance code.
    pub fn instance(&self) -> &str {
        &self.root.instance
    }
    /// The root in force.
    pub const fn root(&self) -> &Root {
        &self.root
    }
    /// The trust services in force.
    pub const fn trust_services(&self) -> &TrustServices {
        &self.trust
    }
    /// The member, open or closed.
    pub fn member(&self, id: &MemberId) -> Option<&MemberEntry> {
        self.members.get(id).map(Arc::as_ref)
    }
    /// All members, by id.
    pub fn members(&self) -> impl Iterator<Item = &MemberEntry> {
        self.members.values().map(Arc::as_ref)
    }
    /// The node.
    pub fn node(&self, id: &NodeId) -> Option<&NodeEntry> {
        self.member(&id.owner())?.nodes.iter().find(|n| &n.id == id)
    }
    /// Whether the subsystem is registered.
    pub fn has_subsystem(&self, id: &SubsystemId) -> bool {
        self.member(&id.member()).is_some_and(|m| m.has_subsystem(id.code()))
    }
    /// The member that a certificate is registered to, as a seal or through one of its nodes.
    pub fn certificate_owner(&self, fingerprint: &Fingerprint) -> Option<&MemberEntry> {
        self.member(self.certificates.get(fingerprint)?)
    }
    /// Whether the certificate is a registered seal of the member.
    pub fn is_seal(&self, member: &MemberId, fingerprint: &Fingerprint) -> bool {
        self.member(member).is_some_and(|m| m.sign_certificates.iter().any(|c| c.fingerprint == *fingerprint))
    }
    /// The holder that a key was ever registered to; `key` is the SHA-256 of its bytes.
    pub fn key_holder(&self, key: &Digest) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }
    /// Whether it was an officer who disabled the subsystem.
    pub(crate) fn is_held(&self, id: &SubsystemId) -> bool {
        self.held.contains(id)
    }
    /// A node that serves the subsystem.
    pub fn a_node_serving(&self, id: &SubsystemId) -> Option<&NodeEntry> {
        self.members().flat_map(|m| &m.nodes).find(|n| n.serves.contains(id))
    }
    /// How many nodes serve the subsystem.
    pub fn nodes_serving(&self, id: &SubsystemId) -> usize {
        self.members().flat_map(|m| &m.nodes).filter(|n| n.serves.contains(id)).count()
    }
    /// How many nodes speak for a member: its own, and those that serve a subsystem of it.
    pub(crate) fn nodes_speaking_for(&self, id: &MemberId) -> usize {
        let speaks =
            |n: &&NodeEntry| n.id.owner() == *id || n.serves.iter().any(|served| served.member() == *id);
        self.members().flat_map(|m| &m.nodes).filter(speaks).count()
    }
    /// Requests and invitations.
    pub const fn files(&self) -> &Files {
        &self.files
    }
    /// The groups part.
    pub fn groups(&self) -> Groups {
        Groups {
            v: V1,
            instance: self.instance().to_owned(),
            groups: self.groups.values().map(|group| Group::clone(group)).collect(),
        }
    }
    /// The aliases part.
    pub fn aliases(&self) -> Aliases {
        let alias =
            |(alias, member): (&String, &MemberId)| Alias { alias: alias.clone(), member: member.clone() };
        Aliases {
            v: V1,
            instance: self.instance().to_owned(),
            aliases: self.aliases.iter().map(alias).collect(),
        }
    }

    /// The anchor that this instance's first root stands for, without addresses.
    ///
    /// # Errors
    /// [`DirectoryError`] when the first root cannot be read.
    pub fn anchor(&self) -> Result<Anchor, DirectoryError> {
        let envelope = Endorsed::parse(self.roots.first().ok_or(DirectoryError::NoRoot)?)?;
        let first = Root::parse(&envelope.payload)?;
        Ok(Anchor {
            v: V1,
            instance: first.instance,
            epoch: None,
            threshold: first.threshold,
            root_keys: first.root_keys,
            registry: vec![],
        })
    }

    /// Takes one event in. An error means that the journal does not fit together.
    pub(crate) fn apply(&mut self, event: &Event, at: Timestamp, by: &str) -> Applied {
        match event {
            Event::Initialised { .. } => return Err("the instance was initialised twice".into()),
            Event::RootInstalled { root, trust } => self.install_root(root, trust.as_ref())?,
            Event::TrustInstalled { trust } => self.install_trust(trust).map_err(|e| e.to_string())?,
            Event::MemberAdded { id, name_vi, name_en } => self.add_member(id, name_vi, name_en, at),
            Event::MemberRenamed { id, name_vi, name_en } => {
                let member = self.change(id)?;
                member.name_vi.clone_from(name_vi);
                member.name_en.clone_from(name_en);
            }
            Event::MemberClosed { id, successor } => self.close(id, successor.as_ref(), at)?,
            Event::SubsystemAdded { id, name } => {
                let entry =
                    SubsystemEntry { code: id.code().to_owned(), name: name.clone(), disabled: false };
                self.change(&id.member())?.subsystems.push(entry);
            }
            Event::NodeRegistered { node } => self.change(&node.id.owner())?.nodes.push(entry(node)),
            Event::NodeMoved { node, address } => self.change_node(node)?.address.clone_from(address),
            Event::NodeServes { node, subsystem } => self.change_node(node)?.serves.push(subsystem.clone()),
            Event::NodeStoppedServing { node, subsystem } => {
                self.change_node(node)?.serves.retain(|s| s != subsystem);
            }
            Event::AuthCertificateRegistered { node, fingerprint, key } => {
                self.change_node(node)?.auth_certificates.push(*fingerprint);
                self.take_certificate(*fingerprint, &node.owner(), key.as_ref(), node.as_str());
            }
            Event::SignCertificateRegistered { member, certificate, key } => {
                self.change(member)?.sign_certificates.push(certificate.clone());
                self.take_certificate(certificate.fingerprint, member, key.as_ref(), member.as_str());
            }
            Event::CertificateRevoked { fingerprint } => self.revoke(fingerprint)?,
            Event::GroupCreated { code, name } => {
                let group = Group { code: code.clone(), name: name.clone(), members: vec![] };
                self.groups.insert(code.clone(), Arc::new(group));
            }
            Event::GroupMemberAdded { code, member } => self.change_group(code)?.members.push(member.clone()),
            Event::GroupMemberRemoved { code, member } => {
                self.change_group(code)?.members.retain(|m| m != member)
            }
            Event::AliasAdded { alias, member } => {
                self.aliases.insert(alias.clone(), member.clone());
            }
            Event::Resumed {} => {}
            other => self.apply_standing(other, at, by)?,
        }
        Ok(())
    }

    fn take_certificate(
        &mut self,
        print: Fingerprint,
        member: &MemberId,
        key: Option<&Digest>,
        holder: &str,
    ) {
        Arc::make_mut(&mut self.certificates).insert(print, member.clone());
        if let Some(key) = key {
            Arc::make_mut(&mut self.keys).entry(*key).or_insert_with(|| holder.to_owned());
        }
    }

    fn let_go(&mut self, id: &SubsystemId) {
        if self.held.contains(id) {
            Arc::make_mut(&mut self.held).remove(id);
        }
    }

    fn forget_certificates(&mut self, gone: impl IntoIterator<Item = Fingerprint>) {
        let certificates = Arc::make_mut(&mut self.certificates);
        for fingerprint in gone {
            certificates.remove(&fingerprint);
        }
    }

    fn change(&mut self, id: &MemberId) -> Result<&mut MemberEntry, String> {
        let member = self.members.get_mut(id).ok_or_else(|| format!("member {id} was never added"))?;
        Ok(Arc::make_mut(member))
    }

    fn change_node(&mut self, id: &NodeId) -> Result<&mut NodeEntry, String> {
        let missing = format!("node {id} was never registered");
        self.change(&id.owner())?.nodes.iter_mut().find(|n| &n.id == id).ok_or(missing)
    }

    fn change_group(&mut self, code: &str) -> Result<&mut Group, String> {
        let group = self.groups.get_mut(code).ok_or_else(|| format!("group {code} was never created"))?;
        Ok(Arc::make_mut(group))
    }

    fn add_member(&mut self, id: &MemberId, name_vi: &str, name_en: &str, at: Timestamp) {
        let member = MemberEntry {
            v: V1,
            id: id.clone(),
            name_vi: name_vi.to_owned(),
            name_en: name_en.to_owned(),
            valid_from: at,
            valid_to: None,
            status: MemberStatus::Active,
            succession: None,
            subsystems: vec![],
            sign_certificates: vec![],
            nodes: vec![],
        };
        self.members.insert(id.clone(), Arc::new(member));
    }

    fn install_root(&mut self, root: &Endorsed, trust: Option<&Endorsed>) -> Applied {
        self.roots.push(root.to_bytes());
        let anchor = self.anchor().map_err(|e| e.to_string())?;
        self.root = verify_root_chain(&anchor, &self.roots).map_err(|e| e.to_string())?;
        match trust {
            Some(trust) => self.install_trust(trust).map_err(|e| e.to_string()),
            None => {
                let current = Endorsed::parse(&self.trust_part).map_err(|e| e.to_string())?;
                if current.meets(self.root.threshold, &self.root.root_keys) {
                    Ok(())
                } else {
                    Err("the root keys changed, so the trust-service list must come along, signed by them"
                        .into())
                }
            }
        }
    }

    fn install_trust(&mut self, trust: &Endorsed) -> Result<(), DirectoryError> {
        if !trust.meets(self.root.threshold, &self.root.root_keys) {
            return Err(DirectoryError::TrustSignature);
        }
        let next = TrustServices::parse(&trust.payload)?;
        if next.instance != self.root.instance {
            return Err(DirectoryError::Instance {
                expected: self.root.instance.clone(),
                found: next.instance,
                what: "the trust-service list".into(),
            });
        }
        self.trust = next;
        self.trust_part = trust.to_bytes();
        Ok(())
    }

    fn revoke(&mut self, fingerprint: &Fingerprint) -> Applied {
        let owner = self.certificate_owner(fingerprint).map(|m| m.id.clone());
        let owner = owner.ok_or_else(|| format!("certificate {fingerprint} was never registered"))?;
        let member = self.change(&owner)?;
        member.sign_certificates.retain(|c| c.fingerprint != *fingerprint);
        member.nodes.iter_mut().for_each(|n| n.auth_certificates.retain(|c| c != fingerprint));
        self.forget_certificates([*fingerprint]);
        Ok(())
    }

    fn close(&mut self, id: &MemberId, successor: Option<&NewSuccession>, at: Timestamp) -> Applied {
        let member = self.change(id)?;
        member.status = MemberStatus::Closed;
        member.valid_to = Some(at);
        member.succession =
            successor.map(|s| Succession { member: s.member.clone(), subsystems: s.subsystems.clone(), at });
        let mut gone: Vec<Fingerprint> = member.sign_certificates.drain(..).map(|c| c.fingerprint).collect();
        gone.extend(member.nodes.drain(..).flat_map(|n| n.auth_certificates));
        self.forget_certificates(gone);
        for other in self.members.values_mut() {
            if other.nodes.iter().any(|n| n.serves.iter().any(|s| s.member() == *id)) {
                let other = Arc::make_mut(other);
                other.nodes.iter_mut().for_each(|n| n.serves.retain(|s| s.member() != *id));
            }
        }
        let leaves = |group: &&mut Arc<Group>| group.members.iter().any(|m| m.member() == *id);
        for group in self.groups.values_mut().filter(leaves) {
            move_group(Arc::make_mut(group), id, successor);
        }
        Ok(())
    }
}

/// Gives a closed member's places in a group to its successor (protocol P6.4).
fn move_group(group: &mut Group, closed: &MemberId, successor: Option<&NewSuccession>) {
    let (leaving, mut staying): (Vec<_>, Vec<_>) =
        group.members.drain(..).partition(|m| m.member() == *closed);
    for place in leaving {
        let heir = successor.and_then(|s| match &place {
            GroupMember::Member(_) => Some(GroupMember::Member(s.member.clone())),
            GroupMember::Subsystem(id) => s
                .subsystems
                .iter()
                .find(|step| step.from == *id)
                .map(|step| GroupMember::Subsystem(step.to.clone())),
        });
        staying.extend(heir.filter(|h| !staying.contains(h)));
    }
    group.members = staying;
}

fn entry(node: &NewNode) -> NodeEntry {
    NodeEntry {
        id: node.id.clone(),
        address: node.address.clone(),
        auth_certificates: vec![],
        log_key: node.log_key,
        versions: node.versions.clone(),
        serves: node.serves.clone(),
        suspended: false,
        maintenance: None,
    }
}
