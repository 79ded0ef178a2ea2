//! What a subsystem offers, as its operator describes it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use truc_directory::V1;
use truc_model::{Fingerprint, ServiceId};

use crate::error::PolicyError;
use crate::evidence_settings::{EvidenceSettings, TimeStamp, is_default};
use crate::glob::PathGlob;
use crate::metaservice::is_reserved;
use crate::openapi::Operations;
use crate::right::MethodPattern;
use crate::url::ServiceUrl;

/// How long a service may take unless its definition says otherwise (X-Road's default).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest a service may take: a call lives at most 5 minutes (protocol P4.1), and its records and frames take their part.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(270);
/// Largest limit of request bodies that a service can have, in bytes: the edge takes none larger either.
pub const MAX_BODY: u64 = 1 << 40;
/// The largest request body unless the definition says otherwise, in bytes.
pub const DEFAULT_MAX_BODY: u64 = 10 * 1024 * 1024;

/// The largest OpenAPI document that a definition holds itself, in bytes; a larger one is fetched from its address.
pub const DOCUMENT_LIMIT: usize = 512 * 1024;

/// Most endpoints of one service.
pub(crate) const ENDPOINT_LIMIT: usize = 2_000;
const PIN_LIMIT: usize = 20;
const SECRET_LIMIT: usize = 50;
const NOTICE_LIMIT: usize = 500;

/// How a service is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// By its address alone.
    Rest,
    /// By an OpenAPI 3 document.
    #[serde(rename = "openapi")]
    OpenApi,
}

impl ServiceKind {
    /// X-Road's `service_type`.
    pub const fn x_road(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::OpenApi => "OPENAPI",
        }
    }
}

/// One operation of a service, as its OpenAPI document or its operator lists it. Lists only: what may be called is said
/// by rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// The method.
    pub method: MethodPattern,
    /// The path; a parameter is `*`.
    pub path: PathGlob,
    /// Whether it comes from the service's OpenAPI document. Only reading that document again changes such a one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
}

impl Endpoint {
    /// True for X-Road's base endpoint, every method on every path, which lists do not show.
    pub fn is_base(&self) -> bool {
        self.method == MethodPattern::Any && self.path.is_every()
    }
}

/// One service and how it is to be called. JSON: camelCase, `v` is 1, unknown keys are refused; only `id`, `kind` and
/// `url` must be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceDefinition {
    /// Format version.
    #[serde(default)]
    pub v: V1,
    /// Which service.
    pub id: ServiceId,
    /// How it is described.
    pub kind: ServiceKind,
    /// Where the provider's own system answers; a call's path and query are added to it.
    pub url: ServiceUrl,
    /// Where its OpenAPI document lies; an OpenAPI service has this or `document`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description_url: Option<ServiceUrl>,
    /// Its OpenAPI document itself, at most [`DOCUMENT_LIMIT`] bytes of JSON or YAML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The certificates of which the service behind an https address must show one, exactly: no name, date or issuer is
    /// looked at. While there is none, the certificate is verified against the node's CA file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned_certificates: Vec<Fingerprint>,
    /// Its operations, where known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// How long the provider's system may take, 1 ms to [`MAX_TIMEOUT`]; in JSON `timeoutMs`.
    #[serde(default = "default_timeout", rename = "timeoutMs", with = "millis")]
    pub timeout: Duration,
    /// Whether a call must name the officer.
    #[serde(default)]
    pub require_officer: bool,
    /// Whether a call must state its purpose.
    #[serde(default)]
    pub require_purpose: bool,
    /// Whether a call must state its legal basis.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_legal_basis: bool,
    /// Whether the operator declares it free of side effects, so that it may be called before the records are durable
    /// (protocol P4.3).
    #[serde(default)]
    pub side_effect_free: bool,
    /// While paused: the notice callers read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<String>,
    /// Largest request body, in bytes, at most [`MAX_BODY`].
    #[serde(default = "default_max_body")]
    pub max_body: u64,
    /// Headers of the service's answers, in lower case, of which only digests are signed and nothing is stored (protocol
    /// P1.3), beyond those that are always secret in both directions. (A caller's node does not know this list.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_headers: Vec<String>,
    /// What it says about its evidence.
    #[serde(default, skip_serializing_if = "is_default")]
    pub evidence: EvidenceSettings,
}

const fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}
const fn default_max_body() -> u64 {
    DEFAULT_MAX_BODY
}

impl ServiceDefinition {
    /// A REST service with defaults everywhere else.
    pub fn rest(id: ServiceId, url: ServiceUrl) -> Self {
        Self {
            v: V1,
            id,
            kind: ServiceKind::Rest,
            url,
            description_url: None,
            document: None,
            pinned_certificates: Vec::new(),
            endpoints: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            require_officer: false,
            require_purpose: false,
            require_legal_basis: false,
            side_effect_free: false,
            disabled: None,
            max_body: DEFAULT_MAX_BODY,
            secret_headers: Vec::new(),
            evidence: EvidenceSettings::default(),
        }
    }

    /// Checks the rules that a type alone cannot keep.
    ///
    /// # Errors
    /// [`PolicyError::ReservedCode`] or [`PolicyError::Definition`], which names the field.
    pub fn check(&self) -> Result<(), PolicyError> {
        let bad = |field, problem: &str| Err(PolicyError::Definition { field, problem: problem.to_owned() });
        if is_reserved(self.id.code()) {
            return Err(PolicyError::ReservedCode(self.id.code().to_owned()));
        }
        self.check_description()?;
        let https = self.url.is_https() || self.description_url.as_ref().is_some_and(ServiceUrl::is_https);
        if !self.pinned_certificates.is_empty() && (!https || self.pinned_certificates.len() > PIN_LIMIT) {
            return bad("pinnedCertificates", "at most 20, for a service with an https address");
        }
        if self.timeout < Duration::from_millis(1) || self.timeout > MAX_TIMEOUT {
            return bad("timeoutMs", "write 1 to 270000 milliseconds, at most 270s");
        }
        if self.max_body > MAX_BODY {
            return bad("maxBody", "at most 1099511627776 bytes, which is 1 TiB");
        }
        if self.endpoints.len() > ENDPOINT_LIMIT {
            return bad("endpoints", "at most 2000 can be listed");
        }
        if self.secret_headers.len() > SECRET_LIMIT
            || !self.secret_headers.iter().all(|name| header_name(name))
        {
            return bad("secretHeaders", "at most 50 HTTP header names in lower case, such as x-api-key");
        }
        match &self.disabled {
            Some(notice) => check_notice(notice),
            None => Ok(()),
        }
    }
}

impl ServiceDefinition {
    fn check_description(&self) -> Result<(), PolicyError> {
        let bad = |field, problem: &str| Err(PolicyError::Definition { field, problem: problem.to_owned() });
        match (self.kind, &self.description_url, &self.document) {
            (ServiceKind::OpenApi, None, None) => {
                bad("descriptionUrl", "an OpenAPI service needs the address of its document, or the document")
            }
            (ServiceKind::OpenApi, Some(_), Some(_)) => {
                bad("document", "give the document or its address (descriptionUrl), not both")
            }
            (_, _, Some(document)) if document.len() > DOCUMENT_LIMIT => {
                bad("document", "at most 524288 bytes; publish a larger one and give its address")
            }
            (ServiceKind::OpenApi, _, _) => Ok(()),
            (ServiceKind::Rest, None, None) if !self.endpoints.iter().any(|e| e.generated) => Ok(()),
            (ServiceKind::Rest, _, _) => {
                bad("kind", "a service with an OpenAPI document is of the kind openapi")
            }
        }
    }

    /// Whether it may be called before the records are durable. Never one whose request is to be stamped before.
    pub(crate) fn is_called_early(&self) -> bool {
        self.side_effect_free && self.evidence.time_stamp == TimeStamp::Batch
    }

    /// Whether both are described by the same document at the same place.
    pub fn is_described_as(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.description_url == other.description_url
            && self.document == other.document
    }

    /// The endpoints that come from the service's OpenAPI document.
    pub fn generated(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|e| e.generated)
    }

    /// Puts these in the place of the generated endpoints; those added by hand stay, behind them.
    pub fn set_generated(&mut self, mut generated: Vec<Endpoint>) {
        generated.iter_mut().for_each(|e| e.generated = true);
        generated.extend(self.endpoints.drain(..).filter(|e| !e.generated));
        self.endpoints = generated;
    }

    /// What reading the document again changes: the generated endpoints that come, and those that go.
    pub fn changes(&self, read: &Operations) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let added = read.endpoints.iter().filter(|e| !self.endpoints.contains(e)).cloned().collect();
        let gone = self.generated().filter(|e| !read.endpoints.contains(e)).cloned().collect();
        (added, gone)
    }
}

/// A notice is shown to callers: short, not empty, one line.
pub(crate) fn check_notice(notice: &str) -> Result<(), PolicyError> {
    let good = !notice.trim().is_empty()
        && notice.chars().count() <= NOTICE_LIMIT
        && !notice.chars().any(char::is_control);
    if good {
        Ok(())
    } else {
        let problem = "the notice for callers is one line of 1 to 500 characters".to_owned();
        Err(PolicyError::Definition { field: "disabled", problem })
    }
}

fn header_name(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&name.len()) && name.bytes().all(token)
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_keys_must_be_given() {
        let short =
            r#"{"id":"SERVICE:VN/GOV/G01/csdl-dancu/tra-cuu","kind":"rest","url":"http://127.0.0.1:9000/"}"#;
        let service: ServiceDefinition = serde_json::from_str(short).unwrap();
        assert_eq!(
            service,
            ServiceDefinition::rest(
                "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap(),
                "http://127.0.0.1:9000".parse().unwrap()
            )
        );
        let stored = serde_json::to_string(&service).unwrap();
        assert_eq!(
            stored,
            r#"{"v":1,"id":"SERVICE:VN/GOV/G01/csdl-dancu/tra-cuu","kind":"rest","url":"http://127.0.0.1:9000","timeoutMs":60000,"requireOfficer":false,"requirePurpose":false,"sideEffectFree":false,"maxBody":10485760}"#
        );
        assert_eq!(serde_json::from_str::<ServiceDefinition>(&stored).unwrap(), service);
        assert!(
            serde_json::from_str::<ServiceDefinition>(&short.replace("\"kind\"", "\"x\":1,\"kind\""))
                .is_err()
        );
        assert!(serde_json::from_str::<ServiceDefinition>(&stored.replace("\"v\":1", "\"v\":2")).is_err());
    }

    #[test]
    fn what_is_said_about_evidence_is_absent_until_it_is_said() {
        let mut service =
            ServiceDefinition::rest("VN/GOV/G01/a/s".parse().unwrap(), "http://x".parse().unwrap());
        service.side_effect_free = true;
        assert!(service.is_called_early() && !serde_json::to_string(&service).unwrap().contains("evidence"));
        service.evidence.time_stamp = TimeStamp::Immediate;
        assert!(!service.is_called_early(), "the request's stamp comes first");
        let text = serde_json::to_string(&service).unwrap();
        assert!(text.ends_with(r#","evidence":{"timeStamp":"immediate"}}"#), "{text}");
        assert_eq!(serde_json::from_str::<ServiceDefinition>(&text).unwrap(), service);
    }

    #[test]
    fn reading_again_changes_only_the_generated_endpoints() {
        let endpoint = |path: &str, generated| Endpoint {
            method: "GET".parse().unwrap(),
            path: path.parse().unwrap(),
            generated,
        };
        let mut service =
            ServiceDefinition::rest("VN/GOV/G01/a/s".parse().unwrap(), "http://x".parse().unwrap());
        service.endpoints = vec![endpoint("/a", true), endpoint("/b", true), endpoint("/m", false)];
        let read = Operations { endpoints: vec![endpoint("/b", true), endpoint("/c", true)], notes: vec![] };
        assert_eq!(service.changes(&read), (vec![endpoint("/c", true)], vec![endpoint("/a", true)]));
        service.set_generated(read.endpoints);
        assert_eq!(service.endpoints, [endpoint("/b", true), endpoint("/c", true), endpoint("/m", false)]);
        let json = serde_json::to_value(&service.endpoints).unwrap();
        assert_eq!(json[2], serde_json::json!({"method":"GET","path":"/m"}), "golden: journals hold these");
    }

    #[test]
    fn rules_are_checked() {
        let good = ServiceDefinition::rest("VN/GOV/G01/a/s".parse().unwrap(), "http://x".parse().unwrap());
        assert_eq!(good.check(), Ok(()));
        let field = |s: ServiceDefinition| match s.check() {
            Err(PolicyError::Definition { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(ServiceDefinition { kind: ServiceKind::OpenApi, ..good.clone() }), "descriptionUrl");
        assert_eq!(field(ServiceDefinition { timeout: Duration::ZERO, ..good.clone() }), "timeoutMs");
        assert_eq!(
            field(ServiceDefinition { timeout: Duration::from_secs(301), ..good.clone() }),
            "timeoutMs"
        );
        assert_eq!(
            field(ServiceDefinition { secret_headers: vec!["X-Api-Key".into()], ..good.clone() }),
            "secretHeaders"
        );
        assert_eq!(field(ServiceDefinition { disabled: Some("\n".into()), ..good.clone() }), "disabled");
        let open = ServiceDefinition {
            kind: ServiceKind::OpenApi,
            document: Some("openapi: 3.0.0".into()),
            ..good.clone()
        };
        assert_eq!(open.check(), Ok(()));
        let url = Some("http://x/d".parse().unwrap());
        assert_eq!(field(ServiceDefinition { description_url: url.clone(), ..open.clone() }), "document");
        assert_eq!(field(ServiceDefinition { document: Some("x".repeat(524_289)), ..open }), "document");
        assert_eq!(field(ServiceDefinition { description_url: url, ..good.clone() }), "kind");
        let pinned = ServiceDefinition { pinned_certificates: vec![Fingerprint::of(b"x")], ..good.clone() };
        assert_eq!(field(pinned.clone()), "pinnedCertificates");
        assert_eq!(ServiceDefinition { url: "https://x".parse().unwrap(), ..pinned }.check(), Ok(()));
        let reserved = ServiceDefinition { id: "VN/GOV/G01/a/getWsdl".parse().unwrap(), ..good };
        assert_eq!(reserved.check(), Err(PolicyError::ReservedCode("getWsdl".into())));
    }
}
