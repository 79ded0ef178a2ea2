//! The decision over one call.

use std::sync::Arc;

use truc_directory::Directory;
use truc_message::{CanonicalPath, Header};
use truc_model::{Fault, FaultCode, ServiceId, SubsystemId, Timestamp};

use crate::conditions::{Conditions, Hours};
use crate::evidence_settings::EvidenceSettings;
use crate::metaservice::{METASERVICE_BODY_LIMIT, Metaservice};
use crate::policy::Policy;
use crate::right::{MethodPattern, Right, RightId};
use crate::service::ServiceDefinition;
use crate::subject::{GroupCode, Subject};

/// What the decision looks at of a call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The calling subsystem.
    pub client: &'a SubsystemId,
    /// The called service.
    pub service: &'a ServiceId,
    /// The method.
    pub method: &'a str,
    /// The path that will be forwarded (protocol P1.5).
    pub path: CanonicalPath,
    /// The query, without `?`.
    pub query: Option<&'a str>,
    /// Whether it names the officer.
    pub officer: bool,
    /// Whether it states its purpose.
    pub purpose: bool,
    /// Whether it states its legal basis.
    pub legal_basis: bool,
    /// When it arrived, by the provider's clock.
    pub at: Timestamp,
    /// Length of its body, in bytes.
    pub body_len: u64,
}

impl<'a> Call<'a> {
    /// The call that a request's header describes, with a body of `body_len` bytes, arrived `at`.
    ///
    /// # Errors
    /// MALFORMED when the header is not of a request.
    pub fn of(header: &'a Header, body_len: u64, at: Timestamp) -> Result<Self, Fault> {
        let malformed =
            |what: &str| Fault::provider(FaultCode::Malformed, format!("the request's header has no {what}"));
        let path = header.path.as_deref().ok_or_else(|| malformed("path"))?;
        Ok(Self {
            client: &header.client,
            service: &header.service,
            method: header.method.as_deref().ok_or_else(|| malformed("method"))?,
            path: CanonicalPath::from_canonical(path).map_err(|_| malformed("canonical path"))?,
            query: header.query.as_deref(),
            officer: header.user_id.is_some(),
            purpose: header.purpose.is_some(),
            legal_basis: header.legal_basis.is_some(),
            at,
            body_len,
        })
    }
}

/// What answers a permitted call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceTarget {
    /// A service of the provider's own system.
    Service(Arc<ServiceDefinition>),
    /// The node itself.
    Metaservice(Metaservice),
}

impl ServiceTarget {
    /// What it says about its evidence; the bus's own answers say nothing of their own.
    pub fn evidence(&self) -> EvidenceSettings {
        match self {
            Self::Service(service) => service.evidence.clone(),
            Self::Metaservice(_) => EvidenceSettings::default(),
        }
    }
}

/// A permitted call: what answers it, and by which right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub(crate) target: ServiceTarget,
    pub(crate) right: Option<RightId>,
}

impl Judgement {
    /// What answers the call.
    pub const fn target(&self) -> &ServiceTarget {
        &self.target
    }
    /// The right that permits it; none for a metaservice, which is open to every registered member.
    pub const fn right(&self) -> Option<RightId> {
        self.right
    }
}

/// Whether a global group holds a subsystem; the directory, or a test's stand-in.
pub(crate) type InGroup<'a> = &'a dyn Fn(&str, &SubsystemId) -> bool;

/// A condition that a call does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The right has ended.
    Expired(Timestamp),
    /// It is outside the right's hours.
    Outside(Hours),
    /// It names no officer.
    Officer,
    /// It states no purpose.
    Purpose,
    /// It states no legal basis.
    LegalBasis,
}

impl Lack {
    /// Whether the caller can mend it by saying more.
    const fn is_of_time(self) -> bool {
        matches!(self, Self::Expired(_) | Self::Outside(_))
    }
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired(end) => write!(f, "it ended {end}"),
            Self::Outside(hours) => write!(f, "it holds {hours} (UTC+7) only"),
            Self::Officer => f.write_str("it asks for X-Road-UserId, the request has none"),
            Self::Purpose => f.write_str("it asks for Truc-Purpose, the request has none"),
            Self::LegalBasis => f.write_str("it asks for Truc-Legal-Basis, the request has none"),
        }
    }
}

impl Policy {
    /// Decides about one call: service, right with its conditions, the service's own conditions (officer, purpose, legal
    /// basis), pause, size, in this order. Grants nothing by itself:
    /// only [`Policy::admit`] makes an [`Admitted`](crate::Admitted), from a verified request.
    ///
    /// # Errors
    /// The [`Fault`] of the first condition that fails: UNKNOWN_SERVICE, NO_RIGHT, OFFICER_REQUIRED, PURPOSE_REQUIRED,
    /// LEGAL_BASIS_REQUIRED, SERVICE_DISABLED, TOO_LARGE; for a metaservice also MALFORMED.
    pub fn judge(&self, call: &Call<'_>, directory: &Directory) -> Result<Judgement, Fault> {
        self.judge_with(call, &|code, subsystem| directory.in_group(code, subsystem))
    }

    /// Looks at the header frame of a request whose body comes later, to refuse early what would be refused anyway:
    /// service, right and size (protocol P4.6). `body_len` is what is known of the body's length, 0 when nothing is; `at`
    /// is when the header arrived.
    /// Answers the largest body worth spooling, in bytes; it grants nothing, the verified request is judged again.
    ///
    /// # Errors
    /// UNKNOWN_SERVICE, NO_RIGHT, a missing statement of the caller, TOO_LARGE or MALFORMED; to be told unsigned.
    pub fn early(
        &self,
        header: &Header,
        body_len: u64,
        directory: &Directory,
        at: Timestamp,
    ) -> Result<u64, Fault> {
        let call = Call::of(header, body_len, at)?;
        self.early_with(&call, &|code, subsystem| directory.in_group(code, subsystem))
    }

    pub(crate) fn early_with(&self, call: &Call<'_>, in_group: InGroup<'_>) -> Result<u64, Fault> {
        let limit = match self.permitted(call, in_group)?.target {
            ServiceTarget::Service(service) => service.max_body,
            ServiceTarget::Metaservice(_) => METASERVICE_BODY_LIMIT,
        };
        check_size(call.body_len, limit)?;
        Ok(limit)
    }

    pub(crate) fn judge_with(&self, call: &Call<'_>, in_group: InGroup<'_>) -> Result<Judgement, Fault> {
        let judgement = self.permitted(call, in_group)?;
        match &judgement.target {
            ServiceTarget::Service(service) => check_conditions(call, service)?,
            ServiceTarget::Metaservice(_) => check_size(call.body_len, METASERVICE_BODY_LIMIT)?,
        }
        Ok(judgement)
    }

    /// The service exists, a right matches, and its conditions hold.
    fn permitted(&self, call: &Call<'_>, in_group: InGroup<'_>) -> Result<Judgement, Fault> {
        if let Some(meta) = self.metaservice(call)? {
            return Ok(Judgement { target: ServiceTarget::Metaservice(meta), right: None });
        }
        let service = self.service(call.service).ok_or_else(|| unknown_service(call.service))?;
        let segments = call.path.segments();
        let matching = self.rights_on(call.service).iter().filter(|right| {
            right.method().matches(call.method)
                && right.path().matches(&segments)
                && self.means(right.subject(), call.service, call.client, in_group)
        });
        // Of rights that all lack something, the one that lacks least is told; of equals, the first that was granted.
        let mut nearest: Option<(&Right, Vec<Lack>)> = None;
        for right in matching {
            let lacks = lacking(right.conditions(), call);
            if lacks.is_empty() {
                let target = ServiceTarget::Service(Arc::clone(service));
                return Ok(Judgement { target, right: Some(right.id()) });
            }
            let rank = |lacks: &[Lack]| (lacks.iter().any(|lack| lack.is_of_time()), lacks.len());
            if nearest.as_ref().is_none_or(|(_, known)| rank(&lacks) < rank(known)) {
                nearest = Some((right, lacks));
            }
        }
        Err(nearest.map_or_else(|| no_right(call), |(right, lacks)| unmet(call, right, &lacks)))
    }

    /// Whether `client` is who a right to `service` was given to.
    pub(crate) fn means(
        &self,
        subject: &Subject,
        service: &ServiceId,
        client: &SubsystemId,
        in_group: InGroup<'_>,
    ) -> bool {
        match subject {
            Subject::Subsystem(id) => id == client,
            Subject::Member(id) => *id == client.member(),
            Subject::GlobalGroup(code) => in_group(code.as_str(), client),
            Subject::LocalGroup(code) => self.in_local_group(&service.subsystem(), code, client),
        }
    }

    fn in_local_group(&self, owner: &SubsystemId, code: &GroupCode, client: &SubsystemId) -> bool {
        self.local_group(owner, code).is_some_and(|group| group.contains(client))
    }

    /// The methods and paths of `service` that `client` has rights to which have not ended; a right that holds in some
    /// hours only is among them.
    pub(crate) fn granted<'a>(
        &'a self,
        service: &'a ServiceId,
        client: &'a SubsystemId,
        in_group: InGroup<'a>,
        at: Timestamp,
    ) -> impl Iterator<Item = (&'a MethodPattern, &'a crate::PathGlob)> {
        let rights = self.rights_on(service).iter();
        rights
            .filter(move |r| {
                !r.conditions().has_expired(at) && self.means(r.subject(), service, client, in_group)
            })
            .map(|r| (r.method(), r.path()))
    }
}

pub(crate) fn unknown_service(service: &ServiceId) -> Fault {
    Fault::provider(FaultCode::UnknownService, format!("this node offers no service {service}"))
}

/// The conditions that the call does not meet, those of time first.
pub(crate) fn lacking(conditions: &Conditions, call: &Call<'_>) -> Vec<Lack> {
    let mut lacks = Vec::new();
    lacks.extend(conditions.expires.filter(|_| conditions.has_expired(call.at)).map(Lack::Expired));
    lacks.extend(conditions.hours.filter(|hours| !hours.hold(call.at)).map(Lack::Outside));
    lacks.extend((conditions.require_officer && !call.officer).then_some(Lack::Officer));
    lacks.extend((conditions.require_purpose && !call.purpose).then_some(Lack::Purpose));
    lacks.extend((conditions.require_legal_basis && !call.legal_basis).then_some(Lack::LegalBasis));
    lacks
}

fn no_right(call: &Call<'_>) -> Fault {
    // The path is not told: it may name a citizen.
    let detail = format!(
        "{} has no right to {} this path of {}; see allowedMethods",
        call.client, call.method, call.service
    );
    Fault::provider(FaultCode::NoRight, detail)
}

/// The fault of the first condition that is not met.
fn unmet(call: &Call<'_>, right: &Right, lacks: &[Lack]) -> Fault {
    let Some(first) = lacks.first() else { return no_right(call) };
    let code = match first {
        Lack::Expired(_) | Lack::Outside(_) => FaultCode::NoRight,
        Lack::Officer => FaultCode::OfficerRequired,
        Lack::Purpose => FaultCode::PurposeRequired,
        Lack::LegalBasis => FaultCode::LegalBasisRequired,
    };
    let detail = format!(
        "the right {} of {} to {} does not hold for this call: {first}",
        right.id(),
        call.client,
        call.service
    );
    Fault::provider(code, detail)
}

fn check_conditions(call: &Call<'_>, service: &ServiceDefinition) -> Result<(), Fault> {
    let asked = |required: bool, given: bool, header: &str, code| match required && !given {
        true => Err(Fault::provider(code, format!("{} asks for {header}, the request has none", service.id))),
        false => Ok(()),
    };
    asked(service.require_officer, call.officer, "X-Road-UserId", FaultCode::OfficerRequired)?;
    asked(service.require_purpose, call.purpose, "Truc-Purpose", FaultCode::PurposeRequired)?;
    let legal_basis = FaultCode::LegalBasisRequired;
    asked(service.require_legal_basis, call.legal_basis, "Truc-Legal-Basis", legal_basis)?;
    if let Some(notice) = &service.disabled {
        return Err(Fault::provider(FaultCode::ServiceDisabled, notice.clone()));
    }
    check_size(call.body_len, service.max_body)
}

fn check_size(length: u64, limit: u64) -> Result<(), Fault> {
    if length <= limit {
        return Ok(());
    }
    let detail = format!("the body has {length} bytes, the service takes at most {limit}");
    Err(Fault::provider(FaultCode::TooLarge, detail))
}
