//! The documents: the request, and the envelope with its signatures.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_directory::{Der, PublicKey, V1};
use truc_model::{Digest, Fingerprint, MemberId, MessageId, NodeId, SubsystemId, Timestamp, is_unseen};

use super::invitation::InvitationMac;
use super::seal::{RequestSignature, SigningRole};

/// Longest signed request taken, in bytes.
pub const REQUEST_LIMIT: usize = 256 * 1024;
/// Most members in one enrolment, and most subsystems of one of them.
const LIST_LIMIT: usize = 500;
/// Most message versions that a node lists.
const VERSIONS_LIMIT: usize = 16;
/// Longest name of a subsystem, in characters.
const NAME_LIMIT: usize = 200;

/// Why a document is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("yêu cầu không đúng định dạng / this is not a management request: {0}")]
pub struct RequestError(pub String);

/// A request with the signatures of those it binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignedRequest {
    /// Format version.
    pub v: V1,
    /// The [`Request`]'s JSON, exactly as signed.
    #[serde(with = "base64_bytes")]
    pub request: Bytes,
    /// One per key.
    pub signatures: Vec<RequestSignature>,
    /// Of an enrolment: proof that its node was invited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<InvitationMac>,
}

impl SignedRequest {
    /// Reads the envelope and the request in it. No signature is checked yet.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(document: &[u8]) -> Result<(Self, Request), RequestError> {
        if document.len() > REQUEST_LIMIT {
            return Err(RequestError(format!("it is longer than {REQUEST_LIMIT} bytes")));
        }
        let signed: Self = serde_json::from_slice(document).map_err(|e| RequestError(e.to_string()))?;
        let request: Request =
            serde_json::from_slice(&signed.request).map_err(|e| RequestError(e.to_string()))?;
        request.check().map_err(RequestError)?;
        Ok((signed, request))
    }

    /// Whether the document says what it says without padding. Everything that is filed stays in the journal for good, and so
    /// nothing is filed that no reader looks at. Apart from reading, so that what is on file already still reads.
    pub(crate) fn check_form(&self, document: &[u8], request: &Request) -> Result<(), RequestError> {
        let room = |needed: usize| needed.saturating_mul(2).saturating_add(1024);
        let padded = self.request.len() > room(request.to_bytes().len())
            || document.len() > room(self.to_bytes().len());
        let idle = |one: &RequestSignature| {
            matches!(one.role, SigningRole::NewKey | SigningRole::LogKey) && one.certificate.is_some()
        };
        if padded {
            return Err(RequestError("it is padded".into()));
        }
        if self.signatures.iter().any(idle) {
            return Err(RequestError("a certificate comes with a new key's signature".into()));
        }
        request.ask.check_form().map_err(RequestError)
    }

    /// The envelope's bytes.
    pub fn to_bytes(&self) -> Bytes {
        // Texts and lists only: writing them cannot fail.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    /// What people read to each other before an approval: the first 60 bits of the request's SHA-256, as three groups of
    /// Crockford's base32. Shown at both ends, it tells that the registrar approves what the node's operator sent.
    pub fn comparison_code(&self) -> String {
        let digest = Digest::of(&self.request);
        let text = super::invitation::base32(&digest.as_bytes()[..8]);
        format!("{}-{}-{}", &text[..4], &text[4..8], &text[8..12])
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Request {
    /// Format version.
    pub v: V1,
    /// Its own id: sent again, it is the same request.
    pub id: MessageId,
    /// The instance code.
    pub instance: String,
    /// The node that asks.
    pub node: NodeId,
    /// When it was made.
    pub made: Timestamp,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked. The kinds and who signs them: docs/registry.md §3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Ask {
    /// A new node.
    EnrolNode {
        /// `host:port` of its peer door.
        address: String,
        /// The key that signs its log's heads.
        log_key: PublicKey,
        /// The message versions it accepts.
        versions: Vec<u32>,
        /// Its TLS identity.
        auth: RequestedCertificate,
        /// The members it speaks for, its owner among them.
        members: Vec<EnrolledMember>,
    },
    /// A subsystem of a hosted member, served by the node.
    RegisterSubsystem {
        /// Which, and its name.
        subsystem: NamedSubsystem,
        /// The member's seal, when the node begins to speak for that member with it; one at most.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seals: Vec<EnrolledMember>,
    },
    /// No node is to speak for the subsystem for now.
    DisableSubsystem {
        /// Which.
        subsystem: SubsystemId,
    },
    /// Ends that.
    EnableSubsystem {
        /// Which.
        subsystem: SubsystemId,
    },
    /// The node stops serving the subsystem; its registration ends when no node serves it.
    DeleteSubsystem {
        /// Which.
        subsystem: SubsystemId,
    },
    /// A further TLS identity of the node.
    RegisterAuthCertificate {
        /// Its certificate, or the request for one.
        auth: RequestedCertificate,
    },
    /// An auth certificate of the node, or a seal of a member it speaks for, is not to count any more.
    DeleteCertificate {
        /// SHA-256 over its DER.
        fingerprint: Fingerprint,
    },
    /// New keys for the same holders; the old ones count until they are deleted.
    RenewKeys {
        /// The node's new TLS identity.
        auth: Option<RequestedCertificate>,
        /// New seals of members the node speaks for.
        seals: Vec<EnrolledMember>,
    },
    /// The node answers elsewhere.
    ChangeAddress {
        /// `host:port` of its peer door.
        address: String,
    },
    /// The node goes on under another member and id, with a TLS identity in the new name.
    ChangeOwner {
        /// The new id.
        to: NodeId,
        /// The TLS identity in the new name.
        auth: RequestedCertificate,
    },
    /// Callers are to be sent elsewhere, or told the message.
    MaintenanceOn {
        /// What callers are told.
        message: String,
    },
    /// Ends that.
    MaintenanceOff {},
}

impl Ask {
    /// The kind's name, as documents write it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::EnrolNode { .. } => "enrol-node",
            Self::RegisterSubsystem { .. } => "register-subsystem",
            Self::DisableSubsystem { .. } => "disable-subsystem",
            Self::EnableSubsystem { .. } => "enable-subsystem",
            Self::DeleteSubsystem { .. } => "delete-subsystem",
            Self::RegisterAuthCertificate { .. } => "register-auth-certificate",
            Self::DeleteCertificate { .. } => "delete-certificate",
            Self::RenewKeys { .. } => "renew-keys",
            Self::ChangeAddress { .. } => "change-address",
            Self::ChangeOwner { .. } => "change-owner",
            Self::MaintenanceOn { .. } => "maintenance-on",
            Self::MaintenanceOff {} => "maintenance-off",
        }
    }

    /// Whether an officer decides, or the registry at once.
    pub const fn needs_approval(&self) -> bool {
        matches!(
            self,
            Self::EnrolNode { .. }
                | Self::RegisterSubsystem { .. }
                | Self::RegisterAuthCertificate { .. }
                | Self::ChangeOwner { .. }
        )
    }

    /// What officers read must be what it looks like, also where a name changes nothing because the subsystem is known.
    fn check_form(&self) -> Result<(), String> {
        let subsystems: Vec<&NamedSubsystem> = match self {
            Self::EnrolNode { versions, .. } if !(1..=VERSIONS_LIMIT).contains(&versions.len()) => {
                return Err(format!("it lists no message version, or more than {VERSIONS_LIMIT}"));
            }
            Self::EnrolNode { members, .. } => members.iter().flat_map(|m| &m.subsystems).collect(),
            Self::RegisterSubsystem { subsystem, .. } => vec![subsystem],
            _ => vec![],
        };
        match subsystems.into_iter().find(|s| !is_plain(&s.name)) {
            Some(odd) => Err(format!("the name of {} is empty, too long, or not plain text", odd.id)),
            None => Ok(()),
        }
    }

    /// The node's certificate and the members' that are asked for, each with its holder's id.
    pub fn certificates<'a>(
        &'a self,
        node: &'a NodeId,
    ) -> (Option<(&'a NodeId, &'a RequestedCertificate)>, &'a [EnrolledMember]) {
        match self {
            Self::EnrolNode { auth, members, .. } => (Some((node, auth)), members),
            Self::RenewKeys { auth, seals } => (auth.as_ref().map(|auth| (node, auth)), seals),
            Self::RegisterAuthCertificate { auth } => (Some((node, auth)), &[]),
            Self::RegisterSubsystem { seals, .. } => (None, seals),
            Self::ChangeOwner { to, auth } => (Some((to, auth)), &[]),
            _ => (None, &[]),
        }
    }
}

/// A key to be certified, or certified already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestedCertificate {
    /// The certificate request (PKCS#10, RFC 2986), signed by the key itself.
    pub request: Der,
    /// The certificate, where an external CA has issued it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Der>,
}

/// A member that a node speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnrolledMember {
    /// Who.
    pub id: MemberId,
    /// Its seal at this node.
    pub seal: RequestedCertificate,
    /// Its subsystems there.
    #[serde(default)]
    pub subsystems: Vec<NamedSubsystem>,
}

/// A subsystem and what people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NamedSubsystem {
    /// Which.
    pub id: SubsystemId,
    /// What people call it.
    pub name: String,
}

impl Request {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Whether the request agrees with itself.
    fn check(&self) -> Result<(), String> {
        let foreign = |what: &str, found: &str| {
            if found == self.instance { Ok(()) } else { Err(format!("{what} is of another instance")) }
        };
        foreign("the node", self.node.instance())?;
        let (auth, members) = self.ask.certificates(&self.node);
        if let Some((node, _)) = auth {
            foreign("the new node", node.instance())?;
        }
        if members.len() > LIST_LIMIT || members.iter().any(|m| m.subsystems.len() > LIST_LIMIT) {
            return Err(format!("it lists more than {LIST_LIMIT} members or subsystems"));
        }
        let mut seen = BTreeSet::new();
        for member in members {
            foreign("a member", member.id.instance())?;
            if !seen.insert(member.id.to_string()) {
                return Err(format!("{} is listed twice", member.id));
            }
            for subsystem in &member.subsystems {
                if subsystem.id.member() != member.id || !seen.insert(subsystem.id.to_string()) {
                    return Err(format!("{} is listed twice or under another member", subsystem.id));
                }
            }
        }
        match &self.ask {
            Ask::EnrolNode { members, .. } if !members.iter().any(|m| m.id == self.node.owner()) => {
                Err(format!("the node's owner {} is not among its members", self.node.owner()))
            }
            Ask::RenewKeys { auth: None, seals } if seals.is_empty() => Err("it renews nothing".into()),
            Ask::RegisterSubsystem { subsystem, seals }
                if seals.len() > 1
                    || seals.iter().any(|m| m.id != subsystem.id.member() || !m.subsystems.is_empty()) =>
            {
                Err("only the seal of the subsystem's own member comes with it".into())
            }
            Ask::RenewKeys { seals, .. } if seals.iter().any(|m| !m.subsystems.is_empty()) => {
                Err("a renewal registers no subsystem".into())
            }
            _ => Ok(()),
        }
    }
}

/// One line without marks that turn the direction of writing or take no room.
fn is_plain(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.trim().chars().count()) && !name.chars().any(is_unseen)
}

/// Bytes as base64 text (RFC 4648 section 4).
pub(crate) mod base64_bytes {
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(d)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Bytes::from)
            .map_err(|_| D::Error::custom("not base64 (RFC 4648)"))
    }
}
