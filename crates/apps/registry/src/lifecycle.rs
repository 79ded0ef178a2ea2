//! Verbs of the life cycle: suspension, validity, maintenance, invitations, and what an officer does with requests.

use serde::{Deserialize, Serialize};
use truc_directory::Der;
use truc_governance::{Command, InvitationId, InvitationKey, SecurityLevel};
use truc_model::Timestamp;
use truc_trust::Certificate;

use crate::verbs::{Verb, id, verb};

verb! { "Takes a member out of service for now." SuspendMember "/api/v1/members/suspend" {
    "Its id." id: String, "Why." reason: String,
} |self| Command::SuspendMember { id: id(&self.id)?, why: self.reason } }

verb! { "Ends that." ReinstateMember "/api/v1/members/reinstate" {
    "Its id." id: String, "Why." reason: String,
} |self| Command::ReinstateMember { id: id(&self.id)?, why: self.reason } }

verb! { "States from when until when a member takes part." SetValidity "/api/v1/members/validity" {
    "Its id." id: String, "From when; unchanged when not given." valid_from: Option<Timestamp>,
    "Until when; open-ended when not given." valid_to: Option<Timestamp>,
} |self| Command::SetValidity { id: id(&self.id)?, valid_from: self.valid_from, valid_to: self.valid_to } }

verb! { "Takes a node out of service for now." SuspendNode "/api/v1/nodes/suspend" {
    "Its id." node: String, "Why." reason: String,
} |self| Command::SuspendNode { node: id(&self.node)?, why: self.reason } }

verb! { "Ends that." ReinstateNode "/api/v1/nodes/reinstate" {
    "Its id." node: String, "Why." reason: String,
} |self| Command::ReinstateNode { node: id(&self.node)?, why: self.reason } }

verb! { "Ends a node's registration." RemoveNode "/api/v1/nodes/remove" {
    "Its id." node: String,
} |self| Command::RemoveNode { node: id(&self.node)? } }

verb! { "Says that a node is being worked on, or no longer is." SetMaintenance "/api/v1/nodes/maintenance" {
    "Its id." node: String, "What callers are told; none ends it." message: Option<String>,
} |self| Command::SetMaintenance { node: id(&self.node)?, message: self.message } }

verb! { "Ends a subsystem's registration." RemoveSubsystem "/api/v1/subsystems/remove" {
    "Its id." id: String,
} |self| Command::RemoveSubsystem { id: id(&self.id)? } }

verb! { "No node is to speak for a subsystem for now." DisableSubsystem "/api/v1/subsystems/disable" {
    "Its id." id: String,
} |self| Command::DisableSubsystem { id: id(&self.id)? } }

verb! { "Ends that." EnableSubsystem "/api/v1/subsystems/enable" {
    "Its id." id: String,
} |self| Command::EnableSubsystem { id: id(&self.id)? } }

verb! { "Invites a node. The code itself is made by who asks, and never sent." Invite "/api/v1/invitations" {
    "The code's name." id: InvitationId, "The key of its MAC." key: InvitationKey, "Which node." node: String,
    "Until when." expires: Timestamp, "The security level of the agency's system, if known." level: Option<SecurityLevel>,
} |self| Command::Invite { id: self.id, key: self.key, node: id(&self.node)?, expires: self.expires, level: self.level } }

verb! { "Takes an invitation back." WithdrawInvitation "/api/v1/invitations/withdraw" {
    "Which." id: InvitationId, "Why." reason: String,
} |self| Command::WithdrawInvitation { id: self.id, why: self.reason } }

verb! { "Attaches a security level to a waiting request." AttachLevel "/api/v1/requests/level" {
    "The request." number: u64, "The level." level: SecurityLevel,
} |self| Command::AttachLevel { number: self.number, level: self.level } }

verb! { "Brings certificates of an external CA for a waiting request." Certify "/api/v1/requests/certify" {
    "The request." number: u64, "The certificates, PEM." pem: String,
} |self| {
    let read = Certificate::all_from_pem(self.pem.as_bytes()).map_err(|e| e.to_string())?;
    // A file often brings its CAs along.
    let (between, ends): (Vec<_>, Vec<_>) = read.iter().partition(|certificate| certificate.is_ca());
    let der = |list: Vec<&Certificate>| list.iter().map(|c| Der::from(c.der().to_vec())).collect();
    Command::BringCertificates { number: self.number, certificates: der(ends), intermediates: der(between) }
} }

verb! { "Approves a request." Approve "/api/v1/requests/approve" {
    "The request." number: u64, "A remark; may be empty." reason: String,
    "The security level, if not attached yet." level: Option<SecurityLevel>,
} |self| Command::Approve { number: self.number, why: self.reason, level: self.level, issued: vec![] } }

verb! { "Refuses a request." Refuse "/api/v1/requests/refuse" {
    "The request." number: u64, "Why; the node is told." reason: String,
} |self| Command::Refuse { number: self.number, why: self.reason } }
