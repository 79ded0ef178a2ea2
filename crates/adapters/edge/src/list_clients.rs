//! `listClients`: who can be called or may call, from this node's directory (X-Road pr-meta 2). Unsigned, not recorded.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use truc_directory::{Directory, Freshness, MemberEntry};
use truc_model::{Fault, FaultCode, Timestamp};

use crate::fault_response::{Wish, escape, own};
use crate::target::malformed;

/// Answers `listClients`. The members that take part at `now` are listed, each followed by its subsystems.
///
/// # Errors
/// MALFORMED for another instance than this node's; DIRECTORY_EXPIRED.
pub(crate) fn answer(
    directory: &Directory,
    instance: Option<&str>,
    now: Timestamp,
    wish: Wish,
) -> Result<Response<Full<Bytes>>, Fault> {
    if instance.is_some_and(|asked| asked != directory.instance()) {
        let detail = format!("this node knows the clients of instance {} only", directory.instance());
        return Err(malformed(detail));
    }
    if directory.freshness(now) == Freshness::Expired {
        let detail = format!("listClients: the directory expired {}", directory.expires());
        return Err(Fault::consumer(FaultCode::DirectoryExpired, detail));
    }
    let members: Vec<&MemberEntry> = directory.members().filter(|m| m.is_active(now)).collect();
    Ok(match wish.xml {
        Some(media_type) => own(200, media_type, xml(&members), wish.head),
        None => own(200, "application/json", json_list(&members).to_string(), wish.head),
    })
}

fn json_list(members: &[&MemberEntry]) -> Value {
    let mut list = Vec::new();
    for member in members {
        let id = |kind: &str| {
            json!({"object_type": kind, "xroad_instance": member.id.instance(), "member_class": member.id.class(),
                "member_code": member.id.code()})
        };
        list.push(json!({"id": id("MEMBER"), "name": member.name_vi}));
        for subsystem in &member.subsystems {
            let mut id = id("SUBSYSTEM");
            id["subsystem_code"] = json!(subsystem.code);
            list.push(json!({"id": id, "name": member.name_vi, "subsystem_name": subsystem.name}));
        }
    }
    json!({ "member": list })
}

fn xml(members: &[&MemberEntry]) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xroad:clientList xmlns:xroad=\"http://x-road.eu/xsd/xroad.xsd\" \
         xmlns:id=\"http://x-road.eu/xsd/identifiers\">",
    );
    for member in members {
        let base = format!(
            "<id:xRoadInstance>{}</id:xRoadInstance><id:memberClass>{}</id:memberClass><id:memberCode>{}</id:memberCode>",
            escape(member.id.instance()),
            escape(member.id.class()),
            escape(member.id.code())
        );
        let name = format!("<xroad:name>{}</xroad:name>", escape(&member.name_vi));
        let entry = |kind: &str, code: &str, after: &str| {
            format!(
                "<xroad:member><xroad:id id:objectType=\"{kind}\">{base}{code}</xroad:id>{name}{after}</xroad:member>"
            )
        };
        out.push_str(&entry("MEMBER", "", ""));
        for subsystem in &member.subsystems {
            let code = format!("<id:subsystemCode>{}</id:subsystemCode>", escape(&subsystem.code));
            let after = format!("<xroad:subsystemName>{}</xroad:subsystemName>", escape(&subsystem.name));
            out.push_str(&entry("SUBSYSTEM", &code, &after));
        }
    }
    out.push_str("</xroad:clientList>");
    out
}
