//! Writing the declarative form: one state has one text.

use std::fmt::{Display, Write as _};

use toml::Value;

use super::units::{write_size, write_span};
use super::{Declared, DeclaredService, FORMAT};
use crate::evidence_settings::{Bodies, BodyClass, EvidenceSettings, TimeStamp};
use crate::right::{MethodPattern, Right};
use crate::service::{DEFAULT_MAX_BODY, DEFAULT_TIMEOUT, ServiceDefinition};
use crate::subject::LocalGroup;
use crate::subject_place::SubjectPlace;

impl Declared {
    /// The text; services, groups and rights in an order of their own, whatever the order they were made in.
    pub fn to_toml(&self) -> String {
        let mut page = Page(String::new());
        page.line("# Services, local groups and rights. Read back with: truc node apply FILE");
        page.line(format_args!("format = {FORMAT}"));
        page.optional("member", self.member.as_ref());
        self.groups.values().for_each(|group| page.group(group));
        self.services.values().for_each(|service| page.service(service));
        page.0
    }
}

/// The text so far.
struct Page(String);

impl Page {
    fn line(&mut self, text: impl Display) {
        // Writing into a String does not fail.
        let _ = writeln!(self.0, "{text}");
    }
    fn text(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {}", Value::String(value.to_string())));
    }
    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }
    fn texts<T: Display>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let all: Vec<Value> = values.into_iter().map(|value| Value::String(value.to_string())).collect();
        if !all.is_empty() {
            self.line(format_args!("{key} = {}", Value::Array(all)));
        }
    }
    fn flags(&mut self, flags: &[(&str, bool)]) {
        for (key, _) in flags.iter().filter(|(_, on)| *on) {
            self.line(format_args!("{key} = true"));
        }
    }

    fn group(&mut self, group: &LocalGroup) {
        self.line("\n[[group]]");
        self.text("owner", &group.owner);
        self.text("code", &group.code);
        self.optional("description", Some(&group.description).filter(|text| !text.is_empty()));
        self.texts("members", group.members.iter().cloned().map(String::from));
    }

    fn service(&mut self, service: &DeclaredService) {
        let d: &ServiceDefinition = &service.definition;
        self.line("\n[[service]]");
        self.text("id", &d.id);
        self.text("url", &d.url);
        self.optional("description-url", d.description_url.as_ref());
        self.optional("document", d.document.as_ref());
        self.texts("pinned-certificates", &d.pinned_certificates);
        self.optional("timeout", (d.timeout != DEFAULT_TIMEOUT).then(|| write_span(d.timeout)));
        self.optional("max-body", (d.max_body != DEFAULT_MAX_BODY).then(|| write_size(d.max_body)));
        self.flags(&[
            ("require-officer", d.require_officer),
            ("require-purpose", d.require_purpose),
            ("require-legal-basis", d.require_legal_basis),
            ("side-effect-free", d.side_effect_free),
        ]);
        self.texts("secret-headers", &d.secret_headers);
        self.evidence(&d.evidence);
        self.optional("disabled", d.disabled.as_ref());
        for endpoint in &d.endpoints {
            self.line("[[service.endpoint]]");
            self.text("method", &endpoint.method);
            self.text("path", endpoint.path.as_str());
        }
        let mut rights: Vec<&Right> = service.rights.values().collect();
        rights.sort_by_key(|r| (r.subject(), r.method(), r.path(), r.id()));
        rights.into_iter().for_each(|right| self.right(right));
    }

    fn evidence(&mut self, said: &EvidenceSettings) {
        match &said.subject {
            Some(SubjectPlace::JsonPointer(pointer)) => self.text("subject-pointer", pointer),
            Some(SubjectPlace::PathSegment(segment)) => {
                self.line(format_args!("subject-segment = {segment}"))
            }
            Some(SubjectPlace::Query(name)) => self.text("subject-query", name),
            None => {}
        }
        self.optional("bodies", Some(said.bodies).filter(|bodies| *bodies != Bodies::default()));
        self.optional("retention", Some(&said.retention).filter(|class| **class != BodyClass::default()));
        self.optional("time-stamp", Some(said.time_stamp).filter(|soon| *soon != TimeStamp::default()));
    }

    fn right(&mut self, right: &Right) {
        self.line("[[service.right]]");
        self.text("to", right.subject());
        self.optional("method", Some(right.method()).filter(|method| **method != MethodPattern::Any));
        self.optional("path", Some(right.path().as_str()).filter(|path| *path != "**"));
        let asked = right.conditions();
        self.flags(&[
            ("require-officer", asked.require_officer),
            ("require-purpose", asked.require_purpose),
            ("require-legal-basis", asked.require_legal_basis),
        ]);
        self.optional("hours", asked.hours);
        self.optional("expires", asked.expires);
        self.optional("by-succession-of", right.by_succession_of());
    }
}
