//! The door itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use truc_evidence::Recorded;
use truc_exchange::ports::{ServiceAnswer, ServiceDoor, ServiceFailure};
use truc_policy::{Admitted, ServiceDefinition, ServiceKind};
use truc_trust::{Request, Verified};

use crate::client::ServiceClient;
use crate::description::hide_addresses;
use crate::outgoing::Outgoing;

/// How services are reached.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Largest body of an answer, in bytes.
    pub body_limit: u64,
    /// PEM file with the CA certificates that services behind https addresses are trusted by. Without it every https
    /// service fails: there are no built-in CAs.
    pub ca_file: Option<PathBuf>,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), body_limit: 16 * 1024 * 1024, ca_file: None }
    }
}

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The CA file is not readable PEM, or holds no certificate that can be trusted.
    #[error("{path}: {problem}; it must be a PEM file of the CA certificates of the services' https addresses", path = path.display())]
    CaFile {
        /// The configured file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("TLS towards services cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Calls the services behind this node over HTTP/1.1, http and https, on kept-open connections.
#[derive(Debug)]
pub struct HttpServiceDoor {
    client: ServiceClient,
}

impl HttpServiceDoor {
    /// Opens the door; reads the CA file once.
    ///
    /// # Errors
    /// [`ProviderError`] says what to mend in the configuration.
    pub fn new(config: &ProviderConfig) -> Result<Self, ProviderError> {
        let roots = config.ca_file.as_deref().map_or_else(|| Ok(RootCertStore::empty()), read_roots)?;
        Ok(Self { client: ServiceClient::new(roots, config.connect_timeout, config.body_limit)? })
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, ProviderError> {
    let bad = |problem: String| ProviderError::CaFile { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))? {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    if roots.is_empty() { Err(bad("no certificate in it".to_owned())) } else { Ok(roots) }
}

#[async_trait]
impl ServiceDoor for HttpServiceDoor {
    async fn call(
        &self,
        request: &Recorded<Admitted<Verified<Request>>>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        self.client.call(Outgoing::of(request)?).await
    }

    async fn description(&self, service: &ServiceDefinition) -> Result<ServiceAnswer, ServiceFailure> {
        let cannot = |why: String| ServiceFailure::Description(why);
        let url = match (service.kind, &service.description_url) {
            (ServiceKind::OpenApi, Some(url)) => url.as_str().to_owned(),
            _ => return Err(cannot("it is not an OpenAPI service".to_owned())),
        };
        let asked = Outgoing {
            method: "GET".to_owned(),
            url,
            fields: vec![("accept".to_owned(), b"application/json".to_vec())],
            body: Bytes::new(),
            timeout: service.timeout,
        };
        let answer = self.client.call(asked).await?;
        if answer.status != 200 {
            return Err(cannot(format!("its address answers with status {}", answer.status)));
        }
        // Documents of megabytes are parsed off the runtime.
        let reduced = tokio::task::spawn_blocking(move || hide_addresses(&answer.body));
        let body = reduced.await.map_err(|e| cannot(e.to_string()))?.map_err(cannot)?;
        let media_type = Some("application/json".to_owned());
        Ok(ServiceAnswer { status: 200, headers: Vec::new(), media_type, body: body.into() })
    }
}

#[cfg(test)]
mod tests;
