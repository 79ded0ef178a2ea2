//! What a subsystem offers, as its operator describes it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use truc_directory::V1;
use truc_model::ServiceId;

use crate::error::PolicyError;
use crate::glob::PathGlob;
use crate::metaservice::is_reserved;
use crate::right::MethodPattern;
use crate::url::ServiceUrl;

/// How long a service may take unless its definition says otherwise (X-Road's default).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest a service may take: a call lives at most 5 minutes (protocol P4.1), and its records and frames take their part.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(270);
/// The largest request body unless the definition says otherwise, in bytes.
pub const DEFAULT_MAX_BODY: u64 = 10 * 1024 * 1024;

const ENDPOINT_LIMIT: usize = 2_000;
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
    /// Where its OpenAPI document lies; an OpenAPI service needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description_url: Option<ServiceUrl>,
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
    /// Whether the operator declares it free of side effects, so that it may be called before the records are durable
    /// (protocol P4.3).
    #[serde(default)]
    pub side_effect_free: bool,
    /// While paused: the notice callers read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<String>,
    /// Largest request body, in bytes.
    #[serde(default = "default_max_body")]
    pub max_body: u64,
    /// Headers of the service's answers, in lower case, of which only digests are signed and nothing is stored (protocol
    /// P1.3), beyond those that are always secret in both directions. (A caller's node does not know this list.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_headers: Vec<String>,
}

const fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}
const fn default_max_body() -> u64 {
    DEFAULT_MAX_BODY
}

impl ServiceDefinition {
    /// A REST service with defaults everywhere else.
    pub const fn rest(id: ServiceId, url: ServiceUrl) -> Self {
        Self {
            v: V1,
            id,
            kind: ServiceKind::Rest,
            url,
            description_url: None,
            endpoints: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            require_officer: false,
            require_purpose: false,
            side_effect_free: false,
            disabled: None,
            max_body: DEFAULT_MAX_BODY,
            secret_headers: Vec::new(),
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
        if self.kind == ServiceKind::OpenApi && self.description_url.is_none() {
            return bad("descriptionUrl", "an OpenAPI service needs the address of its document");
        }
        if self.timeout < Duration::from_millis(1) || self.timeout > MAX_TIMEOUT {
            return bad("timeoutMs", "write 1 to 270000 milliseconds, at most 270s");
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
        let reserved = ServiceDefinition { id: "VN/GOV/G01/a/getWsdl".parse().unwrap(), ..good };
        assert_eq!(reserved.check(), Err(PolicyError::ReservedCode("getWsdl".into())));
    }
}
