//! Reading the declarative form.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;
use truc_directory::GroupMember;
use truc_model::{Fingerprint, MemberId, SubsystemId};

use super::section::{Reader, Section};
use super::units::{read_size, read_span};
use super::{Declared, DeclaredService, FORMAT, Mistake};
use crate::conditions::Conditions;
use crate::evidence_settings::EvidenceSettings;
use crate::glob::PathGlob;
use crate::policy::Policy;
use crate::right::{MethodPattern, Right};
use crate::service::{Endpoint, ServiceDefinition, ServiceKind};
use crate::subject::{GroupCode, LocalGroup, Subject};
use crate::subject_place::{InvalidPlace, SubjectPlace};

impl Declared {
    /// Reads a text for a node under `policy`; with `only`, for the part of this hosted member.
    ///
    /// # Errors
    /// Every [`Mistake`]: it is not TOML, an unknown key, a value out of its bounds, something twice, a service or group
    /// of a subsystem that is not hosted or not of that member, a right for a local group that is not declared.
    pub fn parse(text: &str, policy: &Policy, only: Option<&MemberId>) -> Result<Self, Vec<Mistake>> {
        let mut r = Reader::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                let line = r.line(error.span().map_or(0, |span| span.start));
                r.add(line, format!("this is not TOML: {}", error.message()));
            }
            return Err(r.finish());
        }
        let declared = Reading { policy, only }.whole(Section::new(1, table.get_ref()), &mut r);
        let mistakes = r.finish();
        if mistakes.is_empty() { Ok(declared) } else { Err(mistakes) }
    }
}

struct Reading<'a> {
    policy: &'a Policy,
    only: Option<&'a MemberId>,
}

impl Reading<'_> {
    fn whole(&self, mut file: Section<'_, '_>, r: &mut Reader) -> Declared {
        match file.number("format") {
            Some((_, text)) if text == FORMAT => {}
            Some((at, _)) => r.add(r.line(at), format!("format: this program reads format {FORMAT}")),
            None => r.add(1, format!("format: is missing; write format = {FORMAT}")),
        }
        let member = file.parsed::<MemberId>("member", r);
        if let (Some((line, named)), Some(only)) = (&member, self.only)
            && named != only
        {
            r.add(*line, format!("member: the text is of {named}, what is asked for is {only}"));
        }
        let member = member.map(|(_, member)| member).or_else(|| self.only.cloned());
        if let Some(member) = &member
            && self.policy.of_member(member).hosted().is_empty()
        {
            r.add(1, format!("member: this node hosts no subsystem of {member}"));
        }
        let mut declared = Declared { member, ..Declared::default() };
        for section in file.sections("group", r) {
            self.group(section, &mut declared, r);
        }
        for section in file.sections("service", r) {
            self.service(section, &mut declared, r);
        }
        file.finish(r);
        declared
    }

    /// Whether the subsystem may be named here.
    fn ours(&self, owner: &SubsystemId, line: usize, member: Option<&MemberId>, r: &mut Reader) {
        if !self.policy.hosted().contains(owner) {
            r.add(line, format!("{owner} is not hosted by this node"));
        } else if let Some(member) = member.filter(|member| **member != owner.member()) {
            r.add(line, format!("{owner} is not of {member}, to which this text is limited"));
        }
    }

    fn group(&self, mut section: Section<'_, '_>, declared: &mut Declared, r: &mut Reader) {
        let owner = section.required::<SubsystemId>("owner", "VN/GOV/G01/csdl-dancu", r);
        let code = section.required::<GroupCode>("code", "doi-tac", r);
        let description = section.parsed::<String>("description", r);
        let members = section.list::<Tagged>("members", r);
        let line = section.line;
        section.finish(r);
        let (Some((at, owner)), Some((_, code))) = (owner, code) else { return };
        self.ours(&owner, at, declared.member.as_ref(), r);
        let (told, description) = description.unwrap_or_default();
        let mut group =
            LocalGroup { owner: owner.clone(), code: code.clone(), description, members: BTreeSet::new() };
        if !group.description_fits() {
            r.add(told, "description: is one line of at most 200 characters");
        }
        for (line, Tagged(member)) in members {
            if member.instance() != owner.instance() {
                r.add(line, format!("members: {member:?} is of another instance"));
            } else if !group.members.insert(member.clone()) {
                r.add(line, format!("members: {member:?} is named twice"));
            }
        }
        if declared.groups.insert((owner.clone(), code.clone()), group).is_some() {
            r.add(line, format!("the group {code} of {owner} is declared twice"));
        }
    }

    fn service(&self, mut section: Section<'_, '_>, declared: &mut Declared, r: &mut Reader) {
        let rights = section.sections("right", r);
        let definition = definition(&mut section, r);
        let line = section.line;
        section.finish(r);
        let Some(definition) = definition else {
            // Its rights are looked at all the same, so that all their mistakes are told at once.
            rights.into_iter().for_each(|section| drop(right(section, None, r)));
            return;
        };
        let id = definition.id.clone();
        let owner = id.subsystem();
        self.ours(&owner, line, declared.member.as_ref(), r);
        if let Err(error) = definition.check() {
            r.add(line, error.to_string());
        }
        let mut given = BTreeMap::new();
        for section in rights {
            let line = section.line;
            let Some(right) = right(section, Some(&definition), r) else { continue };
            if right.subject().instance().is_some_and(|instance| instance != id.instance()) {
                r.add(line, format!("to: {} is of another instance", right.subject()));
            }
            if let Subject::LocalGroup(code) = right.subject()
                && !declared.groups.contains_key(&(owner.clone(), code.clone()))
            {
                r.add(line, format!("to: there is no [[group]] {code} of {owner} in this text"));
            }
            if given.insert(right.id(), right).is_some() {
                r.add(line, "this right is declared twice");
            }
        }
        if declared.services.insert(id.clone(), DeclaredService { definition, rights: given }).is_some() {
            r.add(line, format!("the service {id} is declared twice"));
        }
    }
}

fn definition(section: &mut Section<'_, '_>, r: &mut Reader) -> Option<ServiceDefinition> {
    let id = section.required("id", "VN/GOV/G01/csdl-dancu/tra-cuu", r);
    let url = section.required("url", "http://127.0.0.1:9000", r);
    let description_url = section.parsed("description-url", r).map(|(_, url)| url);
    let document = section.parsed::<String>("document", r).map(|(_, text)| text);
    let pins = section.list::<Fingerprint>("pinned-certificates", r);
    let timeout = section.parsed::<Span>("timeout", r);
    let max_body = section.parsed::<Size>("max-body", r);
    let [require_officer, require_purpose, require_legal_basis, side_effect_free] =
        ["require-officer", "require-purpose", "require-legal-basis", "side-effect-free"]
            .map(|key| section.flag(key, r));
    let secret_headers = section.list::<String>("secret-headers", r);
    let disabled = section.parsed::<String>("disabled", r).map(|(_, notice)| notice);
    let evidence = evidence(section, r);
    let endpoints: Vec<Endpoint> =
        section.sections("endpoint", r).into_iter().filter_map(|section| endpoint(section, r)).collect();
    let described = description_url.is_some() || document.is_some();
    let mut definition = ServiceDefinition::rest(id?.1, url?.1);
    definition.kind = if described { ServiceKind::OpenApi } else { ServiceKind::Rest };
    definition.timeout = timeout.map_or(definition.timeout, |(_, Span(timeout))| timeout);
    definition.max_body = max_body.map_or(definition.max_body, |(_, Size(bytes))| bytes);
    Some(ServiceDefinition {
        description_url,
        document,
        pinned_certificates: pins.into_iter().map(|(_, pin)| pin).collect(),
        endpoints,
        require_officer,
        require_purpose,
        require_legal_basis,
        side_effect_free,
        disabled,
        secret_headers: secret_headers.into_iter().map(|(_, name)| name).collect(),
        evidence,
        ..definition
    })
}

/// What a service says about its evidence; `subject-…` names one place.
fn evidence(section: &mut Section<'_, '_>, r: &mut Reader) -> EvidenceSettings {
    let pointer = section.parsed("subject-pointer", r).map(|(l, p)| (l, SubjectPlace::JsonPointer(p)));
    let segment = section.number("subject-segment").and_then(|(start, text)| {
        let line = r.line(start);
        let read = text.parse().map_err(|e: InvalidPlace| r.add(line, format!("subject-segment: {e}")));
        read.ok().map(|segment| (line, SubjectPlace::PathSegment(segment)))
    });
    let query = section.parsed("subject-query", r).map(|(l, name)| (l, SubjectPlace::Query(name)));
    let mut places = [pointer, segment, query].into_iter().flatten();
    let subject = places.next().map(|(_, place)| place);
    if let Some((line, _)) = places.next() {
        r.add(line, "subject-pointer, subject-segment, subject-query: name one of them");
    }
    let bodies = section.parsed("bodies", r).map(|(_, bodies)| bodies);
    let retention = section.parsed("retention", r).map(|(_, class)| class);
    let time_stamp = section.parsed("time-stamp", r).map(|(_, soon)| soon);
    EvidenceSettings {
        subject,
        bodies: bodies.unwrap_or_default(),
        retention: retention.unwrap_or_default(),
        time_stamp: time_stamp.unwrap_or_default(),
    }
}

fn endpoint(mut section: Section<'_, '_>, r: &mut Reader) -> Option<Endpoint> {
    let method = section.required::<MethodPattern>("method", "GET", r);
    let path = section.required::<PathGlob>("path", "/cong-dan/*", r);
    section.finish(r);
    Some(Endpoint { method: method?.1, path: path?.1, generated: false })
}

/// A right to `service`; `None` with a mistake told, or when there is no service to which it could be.
fn right(mut section: Section<'_, '_>, service: Option<&ServiceDefinition>, r: &mut Reader) -> Option<Right> {
    let subject = section.required::<Subject>("to", "SUBSYSTEM:VN/GOV/H26/mot-cua-so-1", r);
    let method = section.parsed::<MethodPattern>("method", r);
    let path = section.parsed::<PathGlob>("path", r);
    let [require_officer, require_purpose, require_legal_basis] =
        ["require-officer", "require-purpose", "require-legal-basis"].map(|key| section.flag(key, r));
    let hours = section.parsed("hours", r).map(|(_, hours)| hours);
    let expires = section.parsed("expires", r).map(|(_, end)| end);
    let of = section.parsed::<MemberId>("by-succession-of", r);
    section.finish(r);
    let conditions = Conditions { require_officer, require_purpose, require_legal_basis, hours, expires };
    let method = method.map_or(MethodPattern::Any, |(_, method)| method);
    let path = path.map_or_else(PathGlob::every, |(_, path)| path);
    let right = Right::new(subject?.1, service?.id.clone(), method, path).under(conditions);
    Some(match of {
        Some((_, member)) => right.by_succession(member),
        None => right,
    })
}

/// A group's member with its tag.
struct Tagged(GroupMember);

impl FromStr for Tagged {
    type Err = truc_model::InvalidId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        GroupMember::try_from(text.to_owned()).map(Self)
    }
}

struct Span(Duration);

impl FromStr for Span {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read_span(text).map(Self).ok_or("write a number with a unit (ms, s, m) like \"60s\"")
    }
}

struct Size(u64);

impl FromStr for Size {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read_size(text).map(Self).ok_or("write a number with a unit (B, KiB, MiB, GiB) like \"10 MiB\"")
    }
}
