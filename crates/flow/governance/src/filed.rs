//! Requests and invitations as the registry keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_directory::{Der, V1};
use truc_model::{Digest, MessageId, NodeId, Timestamp};

use crate::request::{InvitationId, InvitationKey, Request, SignedRequest, base64_bytes};

/// The security level (cấp độ an toàn) that an agency's system was approved for, with the decision that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecurityLevel {
    /// 1 to 5.
    pub level: u8,
    /// Number and date of the decision, e.g. `123/QĐ-UBND 02/11/2026`.
    pub decision: String,
}

/// A node's invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its name.
    pub id: InvitationId,
    /// Whom it is for.
    pub node: NodeId,
    /// The key of its MAC; nobody is shown it.
    pub(crate) key: InvitationKey,
    /// When it stops counting.
    pub expires: Timestamp,
    /// The security level stated with it.
    pub level: Option<SecurityLevel>,
    /// When and by whom it was issued.
    pub issued: (Timestamp, String),
    /// What became of it.
    pub fate: InvitationFate,
}

/// What became of an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvitationFate {
    /// Nobody came yet.
    Open,
    /// The request under it.
    Used(u64),
    /// Taken back.
    Withdrawn,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// It waits for an officer.
    Submitted,
    /// One officer approves; another must too.
    Endorsed,
    /// It is in force.
    Approved,
    /// An officer said no.
    Refused,
}

impl RequestState {
    /// Whether it waits.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Submitted | Self::Endorsed)
    }

    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Endorsed => "endorsed",
            Self::Approved => "approved",
            Self::Refused => "refused",
        }
    }
}

/// One step of a request or its dossier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What: `draft`, `submitted`, `security-level-attached`, `csr-signed`, `endorsed`, `approved`, `refused`.
    pub step: String,
    /// Who.
    pub by: String,
    /// Why, or with what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A certificate that came for a key of a request, with its intermediates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GrantedCertificate {
    /// The node's or the member's id.
    pub holder: String,
    /// `auth` or `sign`.
    pub usage: truc_directory::Usage,
    /// The certificate.
    pub certificate: Der,
    /// Between it and the approved CA.
    #[serde(default)]
    pub intermediates: Vec<Der>,
}

/// A request on file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// Its number, from 1.
    pub number: u64,
    /// The envelope as it came, while the request waits; empty afterwards.
    pub document: Bytes,
    /// SHA-256 of the envelope.
    pub digest: Digest,
    /// The request.
    pub request: Request,
    /// What both ends can compare.
    pub comparison_code: String,
    /// The invitation it came under.
    pub invitation: Option<InvitationId>,
    /// Where it stands.
    pub state: RequestState,
    /// The security level, once attached.
    pub level: Option<SecurityLevel>,
    /// The certificates that came for its keys.
    pub certificates: Vec<GrantedCertificate>,
    /// The officer who approved first, with four eyes.
    pub endorsed_by: Option<String>,
    /// How it came there.
    pub steps: Vec<Step>,
}

/// Everything on file.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub(crate) invitations: Arc<BTreeMap<InvitationId, Arc<Invitation>>>,
    pub(crate) requests: Arc<BTreeMap<u64, Arc<Filed>>>,
    pub(crate) by_id: Arc<BTreeMap<MessageId, u64>>,
}

impl Files {
    /// The invitation.
    pub fn invitation(&self, id: &InvitationId) -> Option<&Invitation> {
        self.invitations.get(id).map(Arc::as_ref)
    }
    /// All invitations.
    pub fn invitations(&self) -> impl Iterator<Item = &Invitation> {
        self.invitations.values().map(Arc::as_ref)
    }
    /// The request of this number.
    pub fn request(&self, number: u64) -> Option<&Filed> {
        self.requests.get(&number).map(Arc::as_ref)
    }
    /// The request with this id.
    pub fn request_of(&self, id: &MessageId) -> Option<&Filed> {
        self.request(*self.by_id.get(id)?)
    }
    /// All requests, by number.
    pub fn requests(&self) -> impl Iterator<Item = &Filed> {
        self.requests.values().map(Arc::as_ref)
    }

    /// The number that the next request gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.requests.keys().next_back().map_or(1, |last| last.saturating_add(1))
    }

    pub(crate) fn file(
        &mut self,
        number: u64,
        document: &Bytes,
        at: Timestamp,
        by: &str,
    ) -> Result<(), String> {
        let (signed, request) = SignedRequest::parse(document).map_err(|e| e.to_string())?;
        let mut steps = Vec::new();
        let (mut level, mut invited) = (None, None);
        if let Some(mac) = &signed.invitation {
            let invitation = self.change_invitation(&mac.id)?;
            invitation.fate = InvitationFate::Used(number);
            level = invitation.level.clone();
            let (issued, officer) = invitation.issued.clone();
            steps.push(step(issued, "draft", &officer, &format!("invitation {}", mac.id)));
            invited = Some(mac.id.clone());
        }
        steps.push(step(at, "submitted", by, ""));
        if let Some(level) = &level {
            steps.push(step(at, "security-level-attached", "invitation", &described(level)));
        }
        let filed = Filed {
            number,
            document: document.clone(),
            digest: Digest::of(document),
            comparison_code: signed.comparison_code(),
            invitation: invited,
            state: RequestState::Submitted,
            level,
            certificates: vec![],
            endorsed_by: None,
            steps,
            request,
        };
        Arc::make_mut(&mut self.by_id).insert(filed.request.id, number);
        Arc::make_mut(&mut self.requests).insert(number, Arc::new(filed));
        Ok(())
    }

    pub(crate) fn change_request(&mut self, number: u64) -> Result<&mut Filed, String> {
        let filed = Arc::make_mut(&mut self.requests).get_mut(&number);
        filed.map(Arc::make_mut).ok_or_else(|| format!("request {number} was never submitted"))
    }

    pub(crate) fn change_invitation(&mut self, id: &InvitationId) -> Result<&mut Invitation, String> {
        let invitation = Arc::make_mut(&mut self.invitations).get_mut(id);
        invitation.map(Arc::make_mut).ok_or_else(|| format!("invitation {id} was never issued"))
    }
}

impl Filed {
    pub(crate) fn attach(&mut self, level: &SecurityLevel, at: Timestamp, by: &str) {
        self.steps.push(step(at, "security-level-attached", by, &described(level)));
        self.level = Some(level.clone());
    }
    pub(crate) fn certify(&mut self, certificates: &[GrantedCertificate], at: Timestamp, by: &str) {
        self.certificates.extend_from_slice(certificates);
        self.steps.push(step(at, "csr-signed", by, &format!("{} certificate(s)", certificates.len())));
    }
    pub(crate) fn endorse(&mut self, why: &str, at: Timestamp, by: &str) {
        self.state = RequestState::Endorsed;
        self.endorsed_by = Some(by.to_owned());
        self.steps.push(step(at, "endorsed", by, why));
    }
    /// What the first officer approved is not what is there any more.
    pub(crate) fn annul(&mut self) {
        if self.state == RequestState::Endorsed {
            self.state = RequestState::Submitted;
            self.endorsed_by = None;
        }
    }
    pub(crate) fn end(&mut self, state: RequestState, why: &str, at: Timestamp, by: &str) {
        self.state = state;
        // Every request stays on file for good; what is needed of a decided one's envelope is its digest.
        self.document = Bytes::new();
        self.steps.push(step(at, state.as_str(), by, why));
    }
}

fn described(level: &SecurityLevel) -> String {
    format!("cấp độ {}, {}", level.level, level.decision)
}

fn step(at: Timestamp, step: &str, by: &str, why: &str) -> Step {
    Step { at, step: step.to_owned(), by: by.to_owned(), why: why.to_owned() }
}

/// Where a request stands, as its node is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Format version.
    pub v: V1,
    /// The request's number at the registry.
    pub number: u64,
    /// Its kind.
    pub kind: String,
    /// Its state.
    pub state: RequestState,
    /// What both ends can compare.
    pub comparison_code: String,
    /// How it came there.
    pub steps: Vec<Step>,
    /// Once approved: the certificates for its keys.
    #[serde(default)]
    pub certificates: Vec<GrantedCertificate>,
    /// SHA-256 of the envelope that this is the answer to.
    pub document: Digest,
}

impl Standing {
    /// Of a request on file.
    pub fn of(filed: &Filed) -> Self {
        let granted = filed.state == RequestState::Approved;
        Self {
            v: V1,
            number: filed.number,
            kind: filed.request.ask.kind().to_owned(),
            state: filed.state,
            comparison_code: filed.comparison_code.clone(),
            steps: filed.steps.clone(),
            certificates: if granted { filed.certificates.clone() } else { vec![] },
            document: filed.digest,
        }
    }

    /// Why it was refused.
    pub fn refusal(&self) -> Option<&str> {
        let last = self.steps.last().filter(|_| self.state == RequestState::Refused)?;
        Some(&last.why)
    }
}

/// The envelope in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document(#[serde(with = "base64_bytes")] pub Bytes);
