//! Requests and invitations as officers read them.

use serde_json::{Value, json};
use truc_directory::Der;
use truc_governance::{Ask, EnrolledMember, Filed, Files, InvitationFate};
use truc_model::{MemberId, Timestamp};
use truc_trust::pem;

/// All requests, newest last; those that wait only, if asked for.
pub(crate) fn list(files: &Files, waiting: bool) -> Value {
    let shown = files.requests().filter(|filed| !waiting || filed.state.is_open());
    json!(shown.map(summary).collect::<Vec<_>>())
}

fn summary(filed: &Filed) -> Value {
    json!({
        "number": filed.number, "kind": filed.request.ask.kind(), "node": filed.request.node.to_string(),
        "state": filed.state, "made": filed.request.made, "comparisonCode": filed.comparison_code,
        "securityLevel": filed.level, "endorsedBy": filed.endorsed_by,
    })
}

/// One request with all that an officer must see before deciding; `seals` tells how many seals a member has already.
pub(crate) fn show(filed: &Filed, seals: impl Fn(&MemberId) -> usize) -> Value {
    let mut shown = summary(filed);
    shown["id"] = json!(filed.request.id);
    shown["steps"] = json!(filed.steps);
    shown["invitation"] = json!(filed.invitation);
    shown["asks"] = asks(&filed.request.ask);
    // A first seal at this node is signed by its own key alone. Where the member has others that did not sign, only a call to
    // the member tells whether it wants this node to speak for it.
    let (_, members) = filed.request.ask.certificates(&filed.request.node);
    let one = |m: &EnrolledMember| json!({ "member": m.id.to_string(), "registeredSeals": seals(&m.id) });
    shown["newSeals"] = json!(members.iter().map(one).collect::<Vec<_>>());
    shown["certificateRequests"] = json!(wanted(filed));
    shown["certificates"] =
        json!(filed.certificates.iter().map(|c| {
        json!({ "holder": c.holder, "usage": c.usage, "fingerprint": c.certificate.fingerprint() })
    }).collect::<Vec<_>>());
    shown
}

/// What is asked, without keys and certificates.
fn asks(ask: &Ask) -> Value {
    let named = |s: &truc_governance::NamedSubsystem| json!({ "id": s.id.to_string(), "name": s.name });
    match ask {
        Ask::EnrolNode { address, log_key, versions, members, .. } => json!({
            "address": address, "logKey": log_key, "versions": versions,
            "members": members.iter().map(|m| json!({
                "id": m.id.to_string(), "subsystems": m.subsystems.iter().map(named).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        }),
        Ask::RegisterSubsystem { subsystem, .. } => named(subsystem),
        Ask::DisableSubsystem { subsystem }
        | Ask::EnableSubsystem { subsystem }
        | Ask::DeleteSubsystem { subsystem } => {
            json!({ "id": subsystem.to_string() })
        }
        Ask::DeleteCertificate { fingerprint } => json!({ "fingerprint": fingerprint }),
        Ask::RenewKeys { auth, seals } => json!({
            "auth": auth.is_some(), "seals": seals.iter().map(|m| m.id.to_string()).collect::<Vec<_>>(),
        }),
        Ask::ChangeAddress { address } => json!({ "address": address }),
        Ask::ChangeOwner { to, .. } => json!({ "to": to.to_string() }),
        Ask::MaintenanceOn { message } => json!({ "message": message }),
        Ask::RegisterAuthCertificate { .. } | Ask::MaintenanceOff {} => json!({}),
    }
}

/// The certificate requests of a request, PEM, with holder and usage.
fn wanted(filed: &Filed) -> Vec<Value> {
    let (auth, members) = filed.request.ask.certificates(&filed.request.node);
    let one = |usage: &str, holder: String, request: &Der| {
        let granted = filed.certificates.iter().any(|c| c.holder == holder);
        json!({ "usage": usage, "holder": holder, "certified": granted, "pem": pem("CERTIFICATE REQUEST", request.as_bytes()) })
    };
    let auth = auth.map(|(node, auth)| one("auth", node.to_string(), &auth.request));
    let seals = members.iter().map(|m| one("sign", m.id.to_string(), &m.seal.request));
    auth.into_iter().chain(seals).collect()
}

/// All invitations, never their keys.
pub(crate) fn invitations(files: &Files, now: Timestamp) -> Value {
    let state = |fate: &InvitationFate, expires: Timestamp| match fate {
        InvitationFate::Used(number) => json!({ "state": "used", "request": number }),
        InvitationFate::Withdrawn => json!({ "state": "withdrawn" }),
        InvitationFate::Open if expires <= now => json!({ "state": "expired" }),
        InvitationFate::Open => json!({ "state": "open" }),
    };
    json!(
        files
            .invitations()
            .map(|invitation| {
                let mut shown = state(&invitation.fate, invitation.expires);
                shown["id"] = json!(invitation.id);
                shown["node"] = json!(invitation.node.to_string());
                shown["expires"] = json!(invitation.expires);
                shown["issued"] = json!(invitation.issued.0);
                shown["by"] = json!(invitation.issued.1);
                shown["securityLevel"] = json!(invitation.level);
                shown
            })
            .collect::<Vec<_>>()
    )
}
