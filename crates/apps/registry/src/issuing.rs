//! Certificates during an approval: the pilot CA as governance sees it.

use std::sync::Arc;

use async_trait::async_trait;
use truc_directory::{Der, Usage};
use truc_governance::{CertificateIssuer, Issued};
use truc_trust_services::{IssuerLimits, PilotIssuer};

use crate::config::IssuingSettings;
use crate::error::RegistryError;
use crate::run::read_token;

/// The pilot CA behind its HTTP address (`truc pki run` with `[issuing]`).
pub struct PilotCa(PilotIssuer);

impl PilotCa {
    /// Wraps the client.
    pub const fn new(client: PilotIssuer) -> Self {
        Self(client)
    }
}

#[async_trait]
impl CertificateIssuer for PilotCa {
    async fn issue(
        &self,
        request: &Der,
        usage: Usage,
        holder: &str,
        organisation: &str,
    ) -> Result<Issued, String> {
        let issued = self.0.issue(request.as_bytes(), usage, holder, organisation).await;
        let issued = issued.map_err(|e| e.to_string())?;
        Ok(Issued {
            certificate: Der::from(issued.certificate),
            intermediates: issued.intermediates.into_iter().map(Der::from).collect(),
        })
    }
}

/// The pilot CA that the configuration names.
///
/// # Errors
/// [`RegistryError`]: the token file cannot be read, or the address would carry the token unprotected.
pub(crate) async fn open(settings: &IssuingSettings) -> Result<Arc<dyn CertificateIssuer>, RegistryError> {
    let token = read_token(&settings.token_file).await?;
    let client = PilotIssuer::new(&settings.url, &token, settings.tls_certificate, IssuerLimits::default());
    let client = client.map_err(|e| RegistryError::Invalid(format!("issuing: {e}")))?;
    Ok(Arc::new(PilotCa::new(client)))
}
