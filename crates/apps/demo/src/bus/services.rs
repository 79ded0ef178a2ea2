//! Opens the registers' services to the approved desks, as an operator does: over the running nodes' admin API.

use truc_admin::{AdminClient, Grant};
use truc_model::SubsystemId;
use truc_policy::{
    InvalidPlace, MethodPattern, PathGlob, ServiceDefinition, ServiceKind, ServiceUrl, Subject, SubjectPlace,
};

use super::BusError;
use super::layout::{Layout, NodePlan};
use super::provision::DESKS;

/// A client of a node's admin API, with the token from the node's folder.
///
/// # Errors
/// [`BusError`] when the token cannot be read.
pub fn admin_client(layout: &Layout, node: &NodePlan) -> Result<AdminClient, BusError> {
    let file = layout.node_folder(node).join("admin-token");
    let token = std::fs::read_to_string(&file).map_err(|e| BusError::file(&file, e))?;
    AdminClient::new(&node.admin_url(), token.trim()).map_err(|e| BusError::part(node.id.to_string(), e))
}

/// One service of a register, and what the desks may do with it.
struct Offer {
    member: &'static str,
    subsystem: &'static str,
    service: &'static str,
    method: &'static str,
    path: &'static str,
    /// Where a request says whom it is about.
    about: About,
}

enum About {
    Body(&'static str),
    Segment(&'static str),
    Query(&'static str),
}

impl About {
    fn place(&self) -> Result<SubjectPlace, InvalidPlace> {
        Ok(match self {
            Self::Body(pointer) => SubjectPlace::JsonPointer(pointer.parse()?),
            Self::Segment(number) => SubjectPlace::PathSegment(number.parse()?),
            Self::Query(name) => SubjectPlace::Query(name.parse()?),
        })
    }
}

const OFFERS: [Offer; 3] = [
    Offer {
        member: "G01",
        subsystem: "csdl-dancu",
        service: "tra-cuu-cong-dan",
        method: "POST",
        path: "/cong-dan/tra-cuu",
        about: About::Body("/SoDinhDanh"),
    },
    Offer {
        member: "G01",
        subsystem: "csdl-dancu",
        service: "ho-gia-dinh",
        method: "GET",
        path: "/ho-gia-dinh/*",
        about: About::Segment("2"),
    },
    Offer {
        member: "G10",
        subsystem: "csdl-datdai",
        service: "tra-cuu-thua-dat",
        method: "GET",
        path: "/thua-dat/**",
        about: About::Query("chuSuDung"),
    },
];

/// Adds the services and rights that are not there yet.
///
/// # Errors
/// [`BusError::Part`] with what the node said.
pub async fn open_services(layout: &Layout) -> Result<(), BusError> {
    for offer in OFFERS {
        let node = layout.node(offer.member)?;
        let failed = |reason: &dyn std::fmt::Display| BusError::part(node.id.to_string(), reason);
        let admin = admin_client(layout, node)?;
        let subsystem: SubsystemId = node.member().subsystem(offer.subsystem).map_err(|e| failed(&e))?;
        let service = subsystem.service(offer.service).map_err(|e| failed(&e))?;
        let known = admin.services().await.map_err(|e| failed(&e))?;
        if known.iter().any(|definition| definition.id == service) {
            continue;
        }
        let port = if offer.member == "G01" { layout.registers.0 } else { layout.registers.1 };
        let base = format!("http://127.0.0.1:{port}");
        let url: ServiceUrl = base.parse().map_err(|e| failed(&e))?;
        let mut definition = ServiceDefinition::rest(service.clone(), url);
        definition.kind = ServiceKind::OpenApi;
        definition.description_url = Some(format!("{base}/openapi.json").parse().map_err(|e| failed(&e))?);
        definition.require_officer = true;
        definition.require_purpose = true;
        definition.evidence.subject = Some(offer.about.place().map_err(|e| failed(&e))?);
        admin.add_service(&definition).await.map_err(|e| failed(&e))?;
        let method: MethodPattern = offer.method.parse().map_err(|e| failed(&e))?;
        let path: PathGlob = offer.path.parse().map_err(|e| failed(&e))?;
        let subject: Subject = format!("GROUP:{DESKS}").parse().map_err(|e| failed(&e))?;
        let conditions = truc_policy::Conditions::default();
        let grant = Grant { subject, service, method, path, conditions };
        admin.grant(&grant).await.map_err(|e| failed(&e))?;
    }
    Ok(())
}
