//! Services of the bus itself (X-Road pr-mrest): what a subsystem offers, and what of it the caller may use.

use std::sync::Arc;

use serde_json::{Value, json};
use truc_directory::Directory;
use truc_model::{Fault, FaultCode, ServiceId, SubsystemId, Timestamp};

use crate::glob::PathGlob;
use crate::judge::{Call, unknown_service};
use crate::policy::Policy;
use crate::right::MethodPattern;
use crate::service::{Endpoint, ServiceDefinition, ServiceKind};

/// Codes that no service of a subsystem may have (X-Road 7.7 `reserved-service-codes`).
pub const RESERVED_CODES: &[&str] = &[
    "listMethods",
    "allowedMethods",
    "getOpenAPI",
    "getWsdl",
    "listClients",
    "getSecurityServerMetrics",
    "getSecurityServerOperationalData",
    "getSecurityServerHealthData",
];

/// Largest body of a call to a metaservice, in bytes; it is not looked at.
pub const METASERVICE_BODY_LIMIT: u64 = 64 * 1024;

/// Whether a service code is the bus's own.
pub fn is_reserved(code: &str) -> bool {
    RESERVED_CODES.contains(&code)
}

/// A signed call that the provider's node answers itself; open to every registered member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metaservice {
    /// All services of the subsystem: [`Policy::list_methods`].
    ListMethods,
    /// Those the caller has a right to: [`Policy::allowed_methods`].
    AllowedMethods,
    /// The OpenAPI document of this service, which holds it or says where it lies.
    GetOpenApi(Arc<ServiceDefinition>),
}

impl Policy {
    /// The metaservice that `call` asks for on a hosted subsystem; `None` when its code is an ordinary one.
    pub(crate) fn metaservice(&self, call: &Call<'_>) -> Result<Option<Metaservice>, Fault> {
        let code = call.service.code();
        if !is_reserved(code) {
            return Ok(None);
        }
        let subsystem = call.service.subsystem();
        if !self.hosted().contains(&subsystem) {
            return Err(unknown_service(call.service));
        }
        let meta = match code {
            "listMethods" => Metaservice::ListMethods,
            "allowedMethods" => Metaservice::AllowedMethods,
            "getOpenAPI" => Metaservice::GetOpenApi(self.described(&subsystem, call.query)?),
            _ => return Err(unknown_service(call.service)),
        };
        if call.method != "GET" {
            return Err(malformed(format!("{code} is called with GET")));
        }
        if !matches!(call.path.as_str(), "" | "/") {
            return Err(malformed(format!("{code} has no path after its name")));
        }
        Ok(Some(meta))
    }

    /// The OpenAPI service that `serviceCode` of the query names.
    fn described(
        &self,
        subsystem: &SubsystemId,
        query: Option<&str>,
    ) -> Result<Arc<ServiceDefinition>, Fault> {
        let mut codes =
            query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("serviceCode="));
        let (code, further) = (codes.next(), codes.next());
        let (Some(code), None) = (code, further) else {
            let problem = if code.is_none() { "is missing" } else { "is given twice" };
            return Err(malformed(format!("serviceCode {problem}: ask …/getOpenAPI?serviceCode=CODE")));
        };
        let id = subsystem.service(&decode(code)).map_err(|e| malformed(format!("serviceCode: {e}")))?;
        let service = self.service(&id).ok_or_else(|| unknown_service(&id))?;
        if service.kind != ServiceKind::OpenApi {
            return Err(malformed(format!(
                "{id} has no OpenAPI description; listMethods shows which services have one"
            )));
        }
        Ok(Arc::clone(service))
    }

    /// X-Road's answer to `listMethods`: the services of one subsystem with their endpoints.
    pub fn list_methods(&self, subsystem: &SubsystemId) -> Value {
        let services = self.services_of(subsystem).map(|s| listed(s, s.endpoints.iter().cloned()));
        json!({ "service": services.collect::<Vec<_>>() })
    }

    /// X-Road's answer to `allowedMethods` at `at`: the services that `client` has any right to, with the endpoints that its
    /// rights cover; rights for less than the whole service are shown as the patterns they are.
    pub fn allowed_methods(
        &self,
        subsystem: &SubsystemId,
        client: &SubsystemId,
        directory: &Directory,
        at: Timestamp,
    ) -> Value {
        self.allowed_with(subsystem, client, &|code, subsystem| directory.in_group(code, subsystem), at)
    }

    pub(crate) fn allowed_with(
        &self,
        subsystem: &SubsystemId,
        client: &SubsystemId,
        in_group: &dyn Fn(&str, &SubsystemId) -> bool,
        at: Timestamp,
    ) -> Value {
        let mut services = Vec::new();
        for service in self.services_of(subsystem) {
            let granted: Vec<_> = self.granted(&service.id, client, in_group, at).collect();
            if granted.is_empty() {
                continue;
            }
            let covered =
                |e: &Endpoint| granted.iter().any(|(m, p)| m.covers(&e.method) && p.covers(&e.path));
            let described = service.endpoints.iter().filter(|e| covered(e)).cloned();
            let pattern = |(method, path): &(&MethodPattern, &PathGlob)| Endpoint {
                method: (*method).clone(),
                path: (*path).clone(),
                generated: false,
            };
            let patterns = granted.iter().map(pattern);
            services.push(listed(service, described.chain(patterns)));
        }
        json!({ "service": services })
    }
}

fn listed(service: &ServiceDefinition, endpoints: impl Iterator<Item = Endpoint>) -> Value {
    let mut list: Vec<Value> = Vec::new();
    for endpoint in endpoints.filter(|e| !e.is_base()) {
        let shown = json!({ "method": endpoint.method.as_str(), "path": endpoint.path.as_str() });
        if !list.contains(&shown) {
            list.push(shown);
        }
    }
    let mut object = service_object(&service.id);
    object["service_type"] = json!(service.kind.x_road());
    object["endpoint_list"] = json!(list);
    object
}

/// X-Road's JSON form of a service id.
fn service_object(id: &ServiceId) -> Value {
    let member = id.member();
    json!({
        "object_type": "SERVICE",
        "xroad_instance": id.instance(),
        "member_class": member.class(),
        "member_code": member.code(),
        "subsystem_code": id.subsystem().code(),
        "service_code": id.code(),
    })
}

fn malformed(detail: String) -> Fault {
    Fault::provider(FaultCode::Malformed, detail)
}

/// Percent-decoding of a query value; what is no `%XY` stays, and then is no service code.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let pair = if b == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        match pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(b);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
