//! Certificates that the registry granted: checked against the node's own keys, then put where they belong.

use std::path::PathBuf;

use truc_directory::{Der, Usage};
use truc_governance::{Ask, GrantedCertificate, Request};
use truc_keys::{KeyLabel, Signer as _};
use truc_model::MemberId;
use truc_trust::{Certificate, CertificateRequest, pem};

use super::error::EnrolmentError;
use super::folder::replace;
use super::slots::{Own, leaf};

/// A granted certificate with the key that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Fitting {
    pub(crate) label: KeyLabel,
    pub(crate) certificate: Certificate,
    /// PEM: the certificate, then its intermediates.
    pub(crate) pem: String,
}

/// One certificate for every key of the request, each for that key; what is not asked for is refused. Blocks.
pub(crate) fn fitting(
    own: &Own,
    request: &Request,
    granted: &[GrantedCertificate],
) -> Result<Vec<(Usage, String, Fitting)>, EnrolmentError> {
    let (auth, members) = request.ask.certificates(&request.node);
    let auth = auth.map(|(node, asked)| (Usage::Auth, node.to_string(), asked));
    let seals = members.iter().map(|member| (Usage::Sign, member.id.to_string(), &member.seal));
    let mut found = vec![];
    for (usage, holder, asked) in auth.into_iter().chain(seals) {
        let unfit = |why: String| EnrolmentError::Certificate { holder: holder.clone(), why };
        let one = granted.iter().find(|g| g.usage == usage && g.holder == holder);
        let one = one.ok_or_else(|| unfit("it did not come".into()))?;
        let fitting = fits(own, &asked.request, one).map_err(unfit)?;
        found.push((usage, holder.clone(), fitting));
    }
    Ok(found)
}

fn fits(own: &Own, request: &Der, granted: &GrantedCertificate) -> Result<Fitting, String> {
    let request = CertificateRequest::from_der(request.as_bytes()).map_err(|e| e.to_string())?;
    let certificate = Certificate::from_der(granted.certificate.as_bytes()).map_err(|e| e.to_string())?;
    if certificate.public_key() != request.public_key() {
        return Err("it is not for the requested key".into());
    }
    let key = own.store.keys().into_iter().find(|info| info.public_key == certificate.public_key());
    let key = key.ok_or("the key store does not hold its key")?;
    for intermediate in &granted.intermediates {
        Certificate::from_der(intermediate.as_bytes()).map_err(|e| format!("an intermediate: {e}"))?;
    }
    let all = std::iter::once(&granted.certificate).chain(&granted.intermediates);
    Ok(Fitting {
        label: key.label,
        certificate,
        pem: all.map(|der| pem("CERTIFICATE", der.as_bytes())).collect(),
    })
}

/// Writes what an approved request brought, and says where: for a key that the node is to use where `node.toml` says, for
/// any other beside it. A file that holds the certificate already is left as it is, intermediates and all. Blocks.
pub(crate) fn write(
    own: &Own,
    request: &Request,
    granted: &[GrantedCertificate],
) -> Result<Vec<PathBuf>, EnrolmentError> {
    let mut written = vec![];
    let in_use = matches!(request.ask, Ask::EnrolNode { .. } | Ask::RegisterSubsystem { .. });
    for (usage, holder, fitting) in fitting(own, request, granted)? {
        let file = match usage {
            _ if !in_use => own.beside(&fitting.label),
            Usage::Auth => own.auth().file,
            Usage::Sign => {
                let member: Result<MemberId, _> = holder.parse();
                own.seal(&member.map_err(|e| EnrolmentError::Answer(e.to_string()))?)?.file
            }
        };
        put(&file, &fitting)?;
        written.push(file);
    }
    Ok(written)
}

/// Puts one in place, whole and durably. Blocks.
pub(crate) fn put(file: &std::path::Path, fitting: &Fitting) -> Result<(), EnrolmentError> {
    if leaf(file).is_ok_and(|there| there == fitting.certificate) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|e| crate::error::NodeError::file(folder, e))?;
    }
    Ok(replace(file, fitting.pem.as_bytes(), 0o644)?)
}
