//! What can be asked from outside: one type per verb, the body of its API request and the arguments of its command line.

use http::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use truc_directory::{Der, Endorsed, GroupMember, PublicKey, SuccessionStep, Usage};
use truc_governance::{Command, NewNode, NewSuccession};
use truc_model::Fingerprint;
use truc_trust::Certificate;

/// A verb that changes something. Identifiers are in plain form.
pub trait Verb: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Method of its API request.
    const METHOD: Method = Method::POST;
    /// Route of its API request.
    const PATH: &'static str;

    /// What governance is asked.
    ///
    /// # Errors
    /// A sentence: an identifier, certificate or key cannot be read.
    fn command(self) -> Result<Command, String>;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Place of the decision in the journal.
    pub sequence: u64,
    /// Version of the directory that carries it.
    pub version: u64,
}

/// A verb: its type, its route, and what governance is asked.
macro_rules! verb {
    ($doc:literal $name:ident $path:literal { $( $fdoc:literal $field:ident : $type:ty ),+ $(,)? } |$self:ident| $command:expr) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub struct $name { $( #[doc = $fdoc] pub $field: $type ),+ }

        impl Verb for $name {
            const PATH: &'static str = $path;
            fn command($self) -> Result<Command, String> { Ok($command) }
        }
    };
}
pub(crate) use verb;

pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: T::Err| format!("{text}: {e}"))
}

/// `VN/GOV/H26` or `VN/GOV/H26/mot-cua-so-1`.
fn group_member(text: &str) -> Result<GroupMember, String> {
    if text.split('/').count() == 3 {
        id(text).map(GroupMember::Member)
    } else {
        id(text).map(GroupMember::Subsystem)
    }
}

verb! { "Admits a member." AddMember "/api/v1/members" {
    "Its id, `VN/GOV/H26`." id: String, "Its name in Vietnamese." name_vi: String, "Its name in English." name_en: String,
} |self| Command::AddMember { id: id(&self.id)?, name_vi: self.name_vi, name_en: self.name_en } }

verb! { "Changes a member's names." RenameMember "/api/v1/members/rename" {
    "Its id." id: String, "Its name in Vietnamese." name_vi: String, "Its name in English." name_en: String,
} |self| Command::RenameMember { id: id(&self.id)?, name_vi: self.name_vi, name_en: self.name_en } }

verb! { "Registers an information system." AddSubsystem "/api/v1/subsystems" {
    "Its id, `VN/GOV/H26/mot-cua-so-1`." id: String, "What people call it." name: String,
} |self| Command::AddSubsystem { id: id(&self.id)?, name: self.name } }

verb! { "Registers a node." RegisterNode "/api/v1/nodes" {
    "Its id, `VN/GOV/H26/ss1`." id: String, "`host:port` of its peer door." address: String,
    "Its log key, Ed25519, in hexadecimal." log_key: PublicKey, "The subsystems it speaks for." serves: Vec<String>,
} |self| Command::RegisterNode(NewNode {
    id: id(&self.id)?, address: self.address, log_key: self.log_key, versions: vec![1],
    serves: self.serves.iter().map(|s| id(s)).collect::<Result<_, _>>()?,
}) }

verb! { "Changes where a node answers." MoveNode "/api/v1/nodes/move" {
    "Its id." node: String, "`host:port` of its peer door." address: String,
} |self| Command::MoveNode { node: id(&self.node)?, address: self.address } }

verb! { "Lets a node speak for a subsystem." Serve "/api/v1/nodes/serve" {
    "The node." node: String, "The subsystem." subsystem: String,
} |self| Command::Serve { node: id(&self.node)?, subsystem: id(&self.subsystem)? } }

verb! { "Ends that." StopServing "/api/v1/nodes/stop-serving" {
    "The node." node: String, "The subsystem." subsystem: String,
} |self| Command::StopServing { node: id(&self.node)?, subsystem: id(&self.subsystem)? } }

verb! { "Registers a certificate." RegisterCertificate "/api/v1/certificates" {
    "`sign` for a member's seal, `auth` for a node's TLS identity." usage: Usage,
    "The member or the node." holder: String, "The certificate in PEM." pem: String,
} |self| {
    let read = Certificate::from_pem(self.pem.as_bytes()).map_err(|e| e.to_string())?;
    let certificate = Der::from(read.der().to_vec());
    match self.usage {
        Usage::Sign => Command::RegisterSignCertificate { member: id(&self.holder)?, certificate },
        Usage::Auth => Command::RegisterAuthCertificate { node: id(&self.holder)?, certificate },
    }
} }

verb! { "Opens a global group." CreateGroup "/api/v1/groups" {
    "Its code." code: String, "What people call it." name: String,
} |self| Command::CreateGroup { code: self.code, name: self.name } }

verb! { "Puts a member or subsystem in a global group." AddToGroup "/api/v1/groups/add" {
    "The group's code." code: String, "Who." member: String,
} |self| Command::AddToGroup { code: self.code, member: group_member(&self.member)? } }

verb! { "Takes one out." RemoveFromGroup "/api/v1/groups/remove" {
    "The group's code." code: String, "Who." member: String,
} |self| Command::RemoveFromGroup { code: self.code, member: group_member(&self.member)? } }

verb! { "Records an old agency code." AddAlias "/api/v1/aliases" {
    "The old code, `000.00.00.H26`." alias: String, "Whom it names." member: String,
} |self| Command::AddAlias { alias: self.alias, member: id(&self.member)? } }

verb! { "Takes over a list of trust services signed by the root keys." InstallTrust "/api/v1/trust-services" {
    "The list with its signatures." endorsed: Endorsed,
} |self| Command::InstallTrustServices { trust: self.endorsed } }

verb! { "Takes over a new root version signed by the root keys." InstallRoot "/api/v1/root" {
    "The root with its signatures." root: Endorsed, "The list of trust services, when the new keys sign it too." trust: Option<Endorsed>,
} |self| Command::InstallRoot { root: self.root, trust: self.trust } }

/// One subsystem's continuation at the successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Continuation {
    /// The closed member's subsystem.
    pub from: String,
    /// The successor's.
    pub to: String,
}

verb! { "Closes a member." CloseMember "/api/v1/members/close" {
    "Its id." id: String, "Who takes over; none when nobody does." successor: Option<String>,
    "Which subsystem continues as which." subsystems: Vec<Continuation>,
} |self| {
    let step = |s: &Continuation| Ok::<_, String>(SuccessionStep { from: id(&s.from)?, to: id(&s.to)? });
    let successor = match &self.successor {
        None if self.subsystems.is_empty() => None,
        None => return Err("subsystems continue somewhere, so name the successor".into()),
        Some(member) => Some(NewSuccession {
            member: id(member)?,
            subsystems: self.subsystems.iter().map(step).collect::<Result<_, _>>()?,
        }),
    };
    Command::CloseMember { id: id(&self.id)?, successor }
} }

/// Ends a certificate's registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RevokeCertificate {
    /// SHA-256 over its DER, in hexadecimal.
    pub fingerprint: Fingerprint,
}

impl Verb for RevokeCertificate {
    const METHOD: Method = Method::DELETE;
    const PATH: &'static str = "/api/v1/certificates";
    fn command(self) -> Result<Command, String> {
        Ok(Command::RevokeCertificate { fingerprint: self.fingerprint })
    }
}
