//! Reads certificates for governance.

use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_governance::{CertificateHolder, CertificateInspector};
use truc_model::Timestamp;
use truc_trust::{Certificate, PathError, Purpose, SubjectAttribute, check_path};

/// Chain to an approved CA that allows the usage, valid at the moment, holder by that CA's profile. Status (OCSP) is not
/// asked for here: it is judged with every message.
#[derive(Debug, Clone, Copy, Default)]
pub struct CaInspector;

impl CertificateInspector for CaInspector {
    fn inspect(
        &self,
        certificate: &Der,
        usage: Usage,
        authorities: &[ApprovedAuthority],
        at: Timestamp,
    ) -> Result<CertificateHolder, String> {
        let end = Certificate::from_der(certificate.as_bytes()).map_err(|e| e.to_string())?;
        let purpose = match usage {
            Usage::Sign => Purpose::Sign,
            Usage::Auth => Purpose::Auth,
        };
        let mut last = PathError::UnknownIssuer;
        for authority in authorities.iter().filter(|a| a.allows(usage)) {
            let read = |der: &Der| {
                Certificate::from_der(der.as_bytes()).map_err(|e| format!("CA {}: {e}", authority.name))
            };
            let anchor = read(&authority.certificate)?;
            let between = authority.intermediates.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            match check_path(&end, &between, &[anchor], purpose, at) {
                Ok(_) => return holder(&end, usage, authority.profile),
                Err(error) => last = error,
            }
        }
        Err(last.to_string())
    }
}

fn holder(certificate: &Certificate, usage: Usage, profile: Profile) -> Result<CertificateHolder, String> {
    let Profile::Truc1 = profile;
    let member = certificate
        .subject_attribute(SubjectAttribute::OrganizationIdentifier)
        .ok_or("its subject has no organizationIdentifier (2.5.4.97) with the member, e.g. VN/GOV/H26")?;
    let member =
        member.parse().map_err(|e| format!("its organizationIdentifier {member:?} is no member: {e}"))?;
    let node = match usage {
        Usage::Sign => None,
        Usage::Auth => {
            let name = certificate
                .subject_attribute(SubjectAttribute::CommonName)
                .ok_or("its subject has no commonName with the node, e.g. VN/GOV/H26/ss1")?;
            Some(name.parse().map_err(|e| format!("its commonName {name:?} is no node: {e}"))?)
        }
    };
    Ok(CertificateHolder { member, node })
}
