//! Whose a certificate is: the CA that answers for it, and the member or node that it stands for.

use truc_directory::{Directory, Profile, Usage};
use truc_model::{MemberId, NodeId, Timestamp};

use crate::certificate::Certificate;
use crate::chain::{PathError, Purpose, VerifiedPath, check_path};
use crate::trust_error::TrustError;

/// Whether the certificate is a registered seal of this member, which takes part now (protocol P3.2).
pub(crate) fn is_seal_of(
    signer: &Certificate,
    member: &MemberId,
    directory: &Directory,
    now: Timestamp,
) -> Result<(), TrustError> {
    let active = directory.member(member).is_some_and(|entry| entry.is_active(now));
    if !active {
        return Err(TrustError::NotAMember(member.clone()));
    }
    if directory.has_sign_certificate(member, &signer.fingerprint()) {
        Ok(())
    } else {
        Err(TrustError::NotTheirSeal { member: member.clone(), certificate: signer.fingerprint() })
    }
}

/// The CA's profile maps the subject to this member; with `node`, to this node of it. Where the profile names no nodes, the node is bound by
/// its registered fingerprint alone, which the caller has checked.
pub(crate) fn profile_names(
    certificate: &Certificate,
    profile: Profile,
    member: &MemberId,
    node: Option<&NodeId>,
) -> Result<(), TrustError> {
    let usage = if node.is_some() { Usage::Auth } else { Usage::Sign };
    let expected = node.map_or(member.as_str(), NodeId::as_str);
    match certificate.named(profile, usage) {
        Ok(named) if named.member == *member && named.node.as_ref().is_none_or(|n| Some(n) == node) => Ok(()),
        _ => Err(TrustError::Profile(expected.to_owned())),
    }
}

/// Looks for a path to any approved CA that allows `usage`; returns the authority's place in the directory.
pub fn find_path(
    certificate: &Certificate,
    intermediates: &[Certificate],
    usage: Usage,
    directory: &Directory,
    now: Timestamp,
) -> Result<(VerifiedPath, usize), TrustError> {
    let purpose = match usage {
        Usage::Auth => Purpose::Auth,
        Usage::Sign => Purpose::Sign,
    };
    let mut last = PathError::UnknownIssuer;
    for (index, authority) in directory.authorities().iter().enumerate().filter(|(_, a)| a.allows(usage)) {
        let anchor = Certificate::from_der(authority.certificate.as_bytes())?;
        let mut between: Vec<Certificate> = authority
            .intermediates
            .iter()
            .map(|der| Certificate::from_der(der.as_bytes()))
            .collect::<Result<_, _>>()?;
        between.extend_from_slice(intermediates);
        match check_path(certificate, &between, &[anchor], purpose, now) {
            Ok(path) => return Ok((path, index)),
            // What is wrong below the CA that issued it says more than that the other CAs did not.
            Err(error) if last == PathError::UnknownIssuer => last = error,
            Err(_) => {}
        }
    }
    Err(last.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{DistinguishedName, DnType};
    use truc_keys::KeyKind;

    use crate::testing::{Party, seal};

    const UID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];
    const ORGANIZATION_IDENTIFIER: &[u64] = &[2, 5, 4, 97];

    fn certificate(id: &[u64], value: &str, common_name: &str) -> Certificate {
        let mut params = seal("thử");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CustomDnType(id.to_vec()), value);
        params.distinguished_name.push(DnType::CommonName, common_name);
        Party::root("CA").issue(KeyKind::EcP256, params, 1).certificate
    }

    /// A certificate counts for a node by its profile: by name where the profile names nodes, else by registration, which is checked before.
    #[test]
    fn profiles_bind_nodes_by_name_or_leave_it_to_registration() {
        let ours = certificate(ORGANIZATION_IDENTIFIER, "VN/COM/9901000019", "VN/COM/9901000019/ss1");
        let firm = certificate(UID, "MST:9901000019", "CÔNG TY GIẢ LẬP");
        let agency = certificate(UID, "MDD:000.00.00.H49", "UBND tỉnh");
        use Profile::{Truc1, VnEnterprise, VnState};
        for (certificate, profile, node, good) in [
            (&ours, Truc1, "VN/COM/9901000019/ss1", true),
            (&ours, Truc1, "VN/COM/9901000019/ss2", false),
            (&ours, Truc1, "VN/COM/9901002753/ss1", false),
            (&ours, VnEnterprise, "VN/COM/9901000019/ss1", false),
            (&firm, VnEnterprise, "VN/COM/9901000019/ss1", true),
            (&firm, VnEnterprise, "VN/COM/9901000019/ss2", true),
            (&firm, VnEnterprise, "VN/COM/9901002753/ss1", false),
            (&firm, VnEnterprise, "VN/GOV/9901000019/ss1", false),
            (&firm, Truc1, "VN/COM/9901000019/ss1", false),
            (&firm, VnState, "VN/COM/9901000019/ss1", false),
            (&agency, VnState, "VN/GOV/H49/ss1", true),
            (&agency, VnState, "VN/GOV/H26/ss1", false),
            (&agency, VnEnterprise, "VN/GOV/H49/ss1", false),
        ] {
            let node: NodeId = node.parse().unwrap();
            let named = profile_names(certificate, profile, &node.owner(), Some(&node));
            assert_eq!(named.is_ok(), good, "{node} under {profile:?}: {named:?}");
            // A seal is the member's wherever the node's name does not decide.
            let seal = profile_names(certificate, profile, &node.owner(), None).is_ok();
            assert!(seal || !good, "{node} under {profile:?}");
        }
    }
}
