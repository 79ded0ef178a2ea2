//! Whether a management request may be taken, and what an officer may do with it (docs/registry.md §3).

mod effects;
mod holders;
mod invitations;
mod limits;

use std::time::Duration;

use bytes::Bytes;
use truc_directory::Der;

use crate::decide::Desk;
use crate::error::{GovernanceError as Refusal, RequestRefusal};
use crate::event::Event;
use crate::filed::{Document, Filed, GrantedCertificate, SecurityLevel};
use crate::reason::{reason, remark};
use crate::request::{Ask, Request, SignedRequest, signed_text};

pub use holders::WantedCertificate;

/// How far a new request's time may be off.
const SKEW: Duration = Duration::from_secs(600);
/// After this long nobody remembers what was asked: the node asks again.
const STALE_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// A request that was looked at and could be filed.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The request.
    pub request: Request,
    /// The certificates that are still to come for its keys.
    pub wanted: Vec<WantedCertificate>,
}

impl Desk<'_> {
    /// Whether a new request may be filed: times, invitation or registered keys, possession of every new key, and that
    /// nothing in it is refused already.
    pub(crate) fn examine(&self, document: &Bytes) -> Result<Examined, Refusal> {
        let (signed, request) = SignedRequest::parse(document).map_err(RequestRefusal::from)?;
        self.instance(&request.instance, &request.node)?;
        if request.made > self.now.plus(SKEW) || request.made.plus(SKEW) < self.now {
            return Err(RequestRefusal::NotNow { made: request.made, now: self.now }.into());
        }
        if self.state.files.request_of(&request.id).is_some() {
            return Err(RequestRefusal::IdTaken.into());
        }
        signed.check_form(document, &request).map_err(RequestRefusal::from)?;
        let text = signed_text(&signed.request);
        // Who asks comes first: certificate requests of strangers are not even read.
        if matches!(request.ask, Ask::EnrolNode { .. }) {
            self.invited(&signed, &request, &text)?;
        } else if signed.invitation.is_some() {
            return Err(RequestRefusal::NotInvited.into());
        } else {
            self.asking_node(&signed, &request, &text)?;
        }
        self.not_too_many(&request)?;
        let keys = self.requested_keys(&request)?;
        self.signatures(&signed, &request, &keys, &text)?;
        let brought = self.brought(&keys)?;
        // What would be refused at the approval is refused now, as far as it can be seen.
        self.effects(&request, &brought)?;
        let wanted = keys.into_iter().filter(|key| !key.granted_by(&brought)).map(|key| key.wanted).collect();
        Ok(Examined { request, wanted })
    }

    pub(crate) fn submit(&self, document: Bytes, issued: &[GrantedCertificate]) -> Result<Event, Refusal> {
        let Examined { request, wanted } = self.examine(&document)?;
        let number = self.state.files.next_number();
        if request.ask.needs_approval() {
            return Ok(Event::RequestSubmitted { number, document: Document(document) });
        }
        let keys = self.requested_keys(&request)?;
        let mut certificates = self.brought(&keys)?;
        certificates.extend(issued.iter().cloned());
        self.complete(number, &keys, &certificates, &wanted)?;
        let effects = self.effects(&request, &certificates)?;
        Ok(Event::RequestAccepted { number, document: Document(document), certificates, effects })
    }

    fn open_request(&self, number: u64) -> Result<&Filed, Refusal> {
        let filed = self.state.files.request(number).ok_or(RequestRefusal::Unknown(number))?;
        if !filed.state.is_open() {
            let by = filed.steps.last().map(|step| step.by.clone()).unwrap_or_default();
            return Err(RequestRefusal::Decided { number, state: filed.state, by }.into());
        }
        Ok(filed)
    }

    fn fresh_request(&self, number: u64) -> Result<&Filed, Refusal> {
        let filed = self.open_request(number)?;
        if filed.request.made.plus(STALE_AFTER) < self.now {
            return Err(RequestRefusal::Stale { number, since: filed.request.made }.into());
        }
        Ok(filed)
    }

    pub(crate) fn attach_level(&self, number: u64, level: SecurityLevel) -> Result<Event, Refusal> {
        self.fresh_request(number)?;
        Ok(Event::RequestLevelAttached { number, level: checked_level(level)? })
    }

    pub(crate) fn bring(
        &self,
        number: u64,
        certificates: &[Der],
        intermediates: &[Der],
    ) -> Result<Event, Refusal> {
        let filed = self.fresh_request(number)?;
        let keys = self.requested_keys(&filed.request)?;
        let mut granted = Vec::with_capacity(certificates.len());
        for certificate in certificates {
            let one = self.grant(&keys, certificate)?;
            granted.push(GrantedCertificate { intermediates: intermediates.to_vec(), ..one });
        }
        granted.retain(|new| !filed.certificates.contains(new));
        if granted.is_empty() {
            return Err(Refusal::Duplicate("each of these certificates".into()));
        }
        self.effects(&filed.request, &granted)?;
        Ok(Event::RequestCertified { number, certificates: granted })
    }

    pub(crate) fn approve(
        &self,
        number: u64,
        why: String,
        level: Option<SecurityLevel>,
        issued: &[GrantedCertificate],
    ) -> Result<Event, Refusal> {
        let (filed, keys) = self.approvable(number, level.as_ref())?;
        let level = level.map(checked_level).transpose()?;
        let why = remark(why)?;
        if self.rules.four_eyes && filed.endorsed_by.is_none() {
            return Ok(Event::RequestEndorsed { number, why, level });
        }
        let mut certificates = self.brought(&keys)?;
        certificates.extend(filed.certificates.iter().chain(issued).cloned());
        let wanted: Vec<_> = keys.iter().map(|key| key.wanted.clone()).collect();
        self.complete(number, &keys, &certificates, &wanted)?;
        let effects = self.effects(&filed.request, &certificates)?;
        let certificates = certificates.into_iter().filter(|c| !filed.certificates.contains(c)).collect();
        Ok(Event::RequestApproved { number, why, level, certificates, effects })
    }

    /// Whether this officer could approve the request, as far as it can be told without its certificates. Everything is judged
    /// as of now: a certificate or member that signed and does not count any more takes its signature along.
    pub(crate) fn approvable(
        &self,
        number: u64,
        level: Option<&SecurityLevel>,
    ) -> Result<(&Filed, Vec<holders::RequestedKey>), Refusal> {
        let filed = self.fresh_request(number)?;
        let enrols = matches!(filed.request.ask, Ask::EnrolNode { .. });
        if enrols && filed.level.is_none() && level.is_none() {
            return Err(RequestRefusal::NoLevel(number).into());
        }
        if filed.endorsed_by.as_deref() == Some(self.actor) {
            return Err(RequestRefusal::SecondOfficer(self.actor.to_owned()).into());
        }
        if filed.endorsed_by.is_some() && level.is_some_and(|level| filed.level.as_ref() != Some(level)) {
            return Err(Refusal::Invalid(
                "cán bộ thứ nhất duyệt với cấp độ khác; hãy gắn cấp độ mới rồi duyệt lại từ đầu / the first officer approved another security \
                 level; attach the new one, then both approve again"
                    .into(),
            ));
        }
        let keys = self.requested_keys(&filed.request)?;
        let (signed, request) = SignedRequest::parse(&filed.document).map_err(RequestRefusal::from)?;
        self.signatures(&signed, &request, &keys, &signed_text(&signed.request))?;
        self.effects(&request, &[])?;
        Ok((filed, keys))
    }

    pub(crate) fn refuse(&self, number: u64, why: String) -> Result<Event, Refusal> {
        self.open_request(number)?;
        Ok(Event::RequestRefused { number, why: reason(why)? })
    }

    /// The certificates that an approval of this request still needs.
    pub(crate) fn wanted(&self, number: u64) -> Result<Vec<WantedCertificate>, Refusal> {
        let filed = self.fresh_request(number)?;
        if self.rules.four_eyes && filed.endorsed_by.is_none() {
            return Ok(vec![]);
        }
        let keys = self.requested_keys(&filed.request)?;
        let mut granted = self.brought(&keys)?;
        granted.extend(filed.certificates.iter().cloned());
        Ok(keys.into_iter().filter(|key| !key.granted_by(&granted)).map(|key| key.wanted).collect())
    }

    fn complete(
        &self,
        number: u64,
        keys: &[holders::RequestedKey],
        granted: &[GrantedCertificate],
        wanted: &[WantedCertificate],
    ) -> Result<(), Refusal> {
        for certificate in granted {
            let fits = self.grant(keys, &certificate.certificate)?;
            if (&fits.holder, fits.usage) != (&certificate.holder, certificate.usage) {
                let why = "it is for the key of another holder".to_owned();
                let holder = certificate.holder.clone();
                return Err(RequestRefusal::Certificate { holder, why }.into());
            }
        }
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|w| !granted.iter().any(|g| g.holder == w.holder && g.usage == w.usage))
            .map(|w| w.holder.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(RequestRefusal::NotCertified { number, holders: missing.join(", ") }.into())
    }
}

fn checked_level(level: SecurityLevel) -> Result<SecurityLevel, Refusal> {
    if !(1..=5).contains(&level.level) {
        return Err(Refusal::Invalid("cấp độ an toàn từ 1 đến 5 / a security level is 1 to 5".into()));
    }
    let decision = reason(level.decision)?;
    Ok(SecurityLevel { decision, ..level })
}
