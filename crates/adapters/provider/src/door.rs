//! The door itself.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use truc_evidence::Recorded;
use truc_exchange::ports::{AnswerBody, ServiceAnswer, ServiceDoor, ServiceFailure};
use truc_message::Body;
use truc_model::Fingerprint;
use truc_policy::{Admitted, OpenApi, ServiceDefinition, ServiceKind, ServiceTarget, SideEffectFree};
use truc_trust::{Request, Verified};

use crate::client::ServiceClient;
use crate::outgoing::Outgoing;
use crate::tls::Tls;

/// OpenAPI documents taken apart at once: each may take tens of MiB for a moment.
const DESCRIPTIONS_AT_ONCE: usize = 4;
/// Sets of pinned certificates with a pool of connections each; above it all pools are made anew.
const POOL_LIMIT: usize = 1_000;

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
    /// What this node shows to an https service that asks for a client certificate; without it, nothing.
    pub identity: Option<ClientIdentity>,
}

/// The certificate by which services may know this node, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// PEM file with the certificate, then those of its issuers.
    pub certificate_file: PathBuf,
    /// PEM file with its private key, not encrypted.
    pub key_file: PathBuf,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            body_limit: 16 * 1024 * 1024 * 1024,
            ca_file: None,
            identity: None,
        }
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
    /// The certificate for services, or its key, cannot be used.
    #[error("{path}: {problem}; certificate-file and key-file of [provider] must be PEM files of a certificate and its key", path = path.display())]
    Identity {
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
    tls: Tls,
    connect_timeout: Duration,
    body_limit: u64,
    /// For services that are verified, or without TLS.
    client: ServiceClient,
    /// For services with pinned certificates, by these.
    pinned: Mutex<HashMap<Vec<Fingerprint>, ServiceClient>>,
    descriptions: Semaphore,
}

impl HttpServiceDoor {
    /// Opens the door; reads the files once.
    ///
    /// # Errors
    /// [`ProviderError`] says what to mend in the configuration.
    pub fn new(config: &ProviderConfig) -> Result<Self, ProviderError> {
        let tls = Tls::read(config.ca_file.as_deref(), config.identity.as_ref())?;
        let client = ServiceClient::new(tls.verified()?, config.connect_timeout, config.body_limit);
        Ok(Self {
            tls,
            connect_timeout: config.connect_timeout,
            body_limit: config.body_limit,
            client,
            pinned: Mutex::default(),
            descriptions: Semaphore::new(DESCRIPTIONS_AT_ONCE),
        })
    }

    /// Whether some CA is configured, without which an https service is reached by a pinned certificate alone.
    pub fn trusts_some_ca(&self) -> bool {
        self.tls.trusts_some_ca()
    }

    /// Fetches a service's OpenAPI document from its address, as it is, under the same rules of TLS as the service itself.
    /// Returns its media type and bytes.
    ///
    /// # Errors
    /// [`ServiceFailure`].
    pub async fn fetch_description(
        &self,
        service: &ServiceDefinition,
    ) -> Result<(Option<String>, Bytes), ServiceFailure> {
        let Some(url) = &service.description_url else {
            return Err(ServiceFailure::Description("it has no address of one".to_owned()));
        };
        let accept = b"application/json, application/yaml;q=0.9, */*;q=0.1".to_vec();
        let asked = Outgoing {
            method: "GET".to_owned(),
            url: url.as_str().to_owned(),
            fields: vec![("accept".to_owned(), accept)],
            body: Body::empty(),
            timeout: service.timeout,
        };
        let answer = self.client_for(service)?.call(asked).await?;
        if answer.status != 200 {
            let why = format!("its address answers with status {}", answer.status);
            return Err(ServiceFailure::Description(why));
        }
        match answer.body {
            AnswerBody::Whole(document) => Ok((answer.media_type, document)),
            AnswerBody::Coming { .. } => {
                Err(ServiceFailure::Description("it is longer than 10 MiB".to_owned()))
            }
        }
    }

    /// The client whose connections are trusted as this service is to be.
    fn client_for(&self, service: &ServiceDefinition) -> Result<ServiceClient, ServiceFailure> {
        let pins = &service.pinned_certificates;
        if pins.is_empty() {
            return Ok(self.client.clone());
        }
        let mut clients = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(pins) {
            return Ok(client.clone());
        }
        let tls = self.tls.pinned(pins).map_err(|e| ServiceFailure::Unreachable(e.to_string()))?;
        let client = ServiceClient::new(tls, self.connect_timeout, self.body_limit);
        if clients.len() >= POOL_LIMIT {
            clients.clear();
        }
        clients.insert(pins.clone(), client.clone());
        drop(clients);
        Ok(client)
    }
}

#[async_trait]
impl ServiceDoor for HttpServiceDoor {
    async fn call(
        &self,
        request: &Recorded<Admitted<Verified<Request>>>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        self.ask(request.inner()).await
    }

    async fn look(
        &self,
        request: &SideEffectFree<Verified<Request>>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        self.ask(request.admitted()).await
    }

    async fn description(&self, service: &ServiceDefinition) -> Result<ServiceAnswer, ServiceFailure> {
        let cannot = |why: String| ServiceFailure::Description(why);
        if service.kind != ServiceKind::OpenApi {
            return Err(cannot("it is not an OpenAPI service".to_owned()));
        }
        let slot = tokio::time::timeout(service.timeout, self.descriptions.acquire()).await;
        let slot = slot.map_err(|_| ServiceFailure::Timeout(service.timeout.as_millis()))?;
        let _slot = slot.map_err(|e| cannot(e.to_string()))?;
        let (told, document) = match &service.document {
            Some(text) => (None, Bytes::copy_from_slice(text.as_bytes())),
            // X-Road's fallback (pr-mrest 5).
            None => {
                let (media_type, document) = self.fetch_description(service).await?;
                (Some(media_type.unwrap_or_else(|| "text/plain".to_owned())), document)
            }
        };
        // Documents of megabytes are taken apart off the runtime.
        let reduced = tokio::task::spawn_blocking(move || {
            let document = OpenApi::parse(&document)?;
            let media_type = document.media_type();
            document.without_addresses().map(|text| (media_type, text))
        });
        let reduced = reduced.await.map_err(|e| cannot(e.to_string()))?;
        let (written, text) = reduced.map_err(|e| cannot(e.to_string()))?;
        let media_type = Some(told.unwrap_or_else(|| written.to_owned()));
        Ok(ServiceAnswer { status: 200, headers: Vec::new(), media_type, body: text.into() })
    }
}

impl HttpServiceDoor {
    /// Calls the service that the request was admitted to, once.
    async fn ask(&self, admitted: &Admitted<Verified<Request>>) -> Result<ServiceAnswer, ServiceFailure> {
        let outgoing = Outgoing::of(admitted)?;
        let ServiceTarget::Service(service) = admitted.target() else {
            return Err(ServiceFailure::Unreachable(
                "a metaservice is answered by the node itself".to_owned(),
            ));
        };
        let outcome = match self.client_for(service) {
            Ok(client) => client.call(outgoing).await,
            Err(failure) => Err(failure),
        };
        // The operator's word on it: the caller is told the code alone. It names no path, which may name a citizen.
        if let Err(failure) = &outcome {
            tracing::warn!(service = %service.id, %failure, "a service gave no answer");
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
