//! The decision over one call.

use std::sync::Arc;

use truc_directory::Directory;
use truc_message::{CanonicalPath, Header};
use truc_model::{Fault, FaultCode, ServiceId, SubsystemId};

use crate::metaservice::{METASERVICE_BODY_LIMIT, Metaservice};
use crate::policy::Policy;
use crate::right::{MethodPattern, RightId};
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
    /// Length of its body, in bytes.
    pub body_len: u64,
}

impl<'a> Call<'a> {
    /// The call that a request's header describes, with a body of `body_len` bytes.
    ///
    /// # Errors
    /// MALFORMED when the header is not of a request.
    pub fn of(header: &'a Header, body_len: u64) -> Result<Self, Fault> {
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
type InGroup<'a> = &'a dyn Fn(&str, &SubsystemId) -> bool;

impl Policy {
    /// Decides about one call: service, right, officer, purpose, pause, size, in this order. Grants nothing by itself:
    /// only [`Policy::admit`] makes an [`Admitted`](crate::Admitted), from a verified request.
    ///
    /// # Errors
    /// The [`Fault`] of the first condition that fails: UNKNOWN_SERVICE, NO_RIGHT, OFFICER_REQUIRED, PURPOSE_REQUIRED,
    /// SERVICE_DISABLED, TOO_LARGE; for a metaservice also MALFORMED.
    pub fn judge(&self, call: &Call<'_>, directory: &Directory) -> Result<Judgement, Fault> {
        self.judge_with(call, &|code, subsystem| directory.in_group(code, subsystem))
    }

    /// Looks at the header frame of a request whose body comes later, to refuse early what would be refused anyway:
    /// service, right and size (protocol P4.6). `body_len` is what is known of the body's length, 0 when nothing is.
    /// Answers the largest body worth spooling, in bytes; it grants nothing, the verified request is judged again.
    ///
    /// # Errors
    /// UNKNOWN_SERVICE, NO_RIGHT, TOO_LARGE or MALFORMED; to be told unsigned.
    pub fn early(&self, header: &Header, body_len: u64, directory: &Directory) -> Result<u64, Fault> {
        let call = Call::of(header, body_len)?;
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

    /// The service exists and a right matches.
    fn permitted(&self, call: &Call<'_>, in_group: InGroup<'_>) -> Result<Judgement, Fault> {
        if let Some(meta) = self.metaservice(call)? {
            return Ok(Judgement { target: ServiceTarget::Metaservice(meta), right: None });
        }
        let service = self.service(call.service).ok_or_else(|| unknown_service(call.service))?;
        let segments = call.path.segments();
        let matching = self.rights_on(call.service).iter().find(|right| {
            right.method().matches(call.method)
                && right.path().matches(&segments)
                && self.means(right.subject(), call.service, call.client, in_group)
        });
        // The path is not told: it may name a citizen.
        let right = matching.ok_or_else(|| {
            let detail = format!(
                "{} has no right to {} this path of {}; see allowedMethods",
                call.client, call.method, call.service
            );
            Fault::provider(FaultCode::NoRight, detail)
        })?;
        Ok(Judgement { target: ServiceTarget::Service(Arc::clone(service)), right: Some(right.id()) })
    }

    /// Whether `client` is who a right to `service` was given to.
    fn means(
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

    /// The methods and paths of `service` that `client` has rights to.
    pub(crate) fn granted<'a>(
        &'a self,
        service: &'a ServiceId,
        client: &'a SubsystemId,
        in_group: InGroup<'a>,
    ) -> impl Iterator<Item = (&'a MethodPattern, &'a crate::PathGlob)> {
        let rights = self.rights_on(service).iter();
        rights
            .filter(move |r| self.means(r.subject(), service, client, in_group))
            .map(|r| (r.method(), r.path()))
    }
}

pub(crate) fn unknown_service(service: &ServiceId) -> Fault {
    Fault::provider(FaultCode::UnknownService, format!("this node offers no service {service}"))
}

fn check_conditions(call: &Call<'_>, service: &ServiceDefinition) -> Result<(), Fault> {
    if service.require_officer && !call.officer {
        let detail = format!("{} asks for X-Road-UserId, the request has none", service.id);
        return Err(Fault::provider(FaultCode::OfficerRequired, detail));
    }
    if service.require_purpose && !call.purpose {
        let detail = format!("{} asks for Truc-Purpose, the request has none", service.id);
        return Err(Fault::provider(FaultCode::PurposeRequired, detail));
    }
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
