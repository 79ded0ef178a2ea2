//! How the verbs reach the registry: the folder itself while nothing runs on it, the admin API otherwise.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use truc_directory::TrustServices;
use truc_governance::{GovernanceError, RequestRefusal, TrustChange};
use truc_model::{Clock, MemberId, Timestamp};

use crate::admin::show;
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::office::Office;
use crate::requests as filed;
use crate::run::read_token;
use crate::setup::endorse_change;
use crate::verbs::{InstallTrust, Outcome, Verb};

/// Limit for one answer of the API.
const ANSWER: Duration = Duration::from_secs(40);
/// Limit for finding out whether somebody listens at the address of the API.
const PROBE: Duration = Duration::from_secs(1);
/// Longest answer taken.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// A way to one registry.
pub enum Door {
    /// The stopped registry's folder.
    Folder(Box<Office>),
    /// The running registry's API.
    Api {
        /// Its address.
        address: SocketAddr,
        /// Its token.
        token: String,
    },
}

impl Door {
    /// Opens the folder, or falls back on the API when a registry runs on it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn open(config: &Path, clock: Arc<dyn Clock>) -> Result<Self, RegistryError> {
        Self::open_as(config, None, clock).await
    }

    /// As [`Door::open`], with an officer's own token file for a registry that runs.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn open_as(
        config: &Path,
        token_file: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let config = RegistryConfig::load(config)?;
        // A registry that answers is asked at once, instead of waiting for its end as after a kill.
        if truc_stores::DataFolder::is_held(&config.data)
            && timeout(PROBE, TcpStream::connect(config.admin_listen)).await.is_ok_and(|c| c.is_ok())
        {
            let token = read_token(token_file.unwrap_or(&config.admin_token_file)).await?;
            return Ok(Self::Api { address: config.admin_listen, token });
        }
        match Office::open(&config, clock).await {
            Ok(office) => Ok(Self::Folder(Box::new(office))),
            Err(RegistryError::Folder(truc_stores::FolderError::InUse(_))) => {
                let token = read_token(token_file.unwrap_or(&config.admin_token_file)).await?;
                Ok(Self::Api { address: config.admin_listen, token })
            }
            Err(error) => Err(error),
        }
    }

    /// Carries out a verb; decided and published when this returns.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn apply<V: Verb>(&mut self, verb: V) -> Result<Outcome, RegistryError> {
        match self {
            Self::Folder(office) => {
                let command = verb.command().map_err(RegistryError::Invalid)?;
                let receipt = office.execute(command, "command-line").await?;
                let version = office.publish().await?.directory.version();
                Ok(Outcome { sequence: receipt.sequence, version })
            }
            Self::Api { address, token } => {
                let body = serde_json::to_vec(&verb).map_err(|e| RegistryError::Invalid(e.to_string()))?;
                let answer = call(*address, token, V::METHOD, V::PATH, body).await?;
                serde_json::from_value(answer).map_err(|e| odd(*address, &e))
            }
        }
    }

    /// The directory as people read it; its `members` hold subsystems, certificates and nodes.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn directory(&mut self) -> Result<Value, RegistryError> {
        match self {
            Self::Folder(office) => Ok(show(&office.publish().await?.directory)),
            Self::Api { address, token } => {
                call(*address, token, Method::GET, "/api/v1/directory", vec![]).await
            }
        }
    }

    /// Requests, those that wait only if asked for.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn requests(&mut self, waiting: bool) -> Result<Value, RegistryError> {
        match self {
            Self::Folder(office) => Ok(filed::list(office.state()?.files(), waiting)),
            Self::Api { address, token } => {
                let path = format!("/api/v1/requests?waiting={waiting}");
                call(*address, token, Method::GET, &path, vec![]).await
            }
        }
    }

    /// One request with all that an officer must see before deciding.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn request(&mut self, number: u64) -> Result<Value, RegistryError> {
        match self {
            Self::Folder(office) => {
                let state = office.state()?;
                let seals = |id: &MemberId| state.member(id).map_or(0, |m| m.sign_certificates.len());
                let found = state.files().request(number).map(|found| filed::show(found, seals));
                found.ok_or_else(|| GovernanceError::from(RequestRefusal::Unknown(number)).into())
            }
            Self::Api { address, token } => {
                call(*address, token, Method::GET, &format!("/api/v1/requests/{number}"), vec![]).await
            }
        }
    }

    /// Invitations, never their keys.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn invitations(&mut self, now: Timestamp) -> Result<Value, RegistryError> {
        match self {
            Self::Folder(office) => Ok(filed::invitations(office.state()?.files(), now)),
            Self::Api { address, token } => {
                call(*address, token, Method::GET, "/api/v1/invitations", vec![]).await
            }
        }
    }

    /// Approves or withdraws a CA or TSA with the root key in the folder `root` (a pilot's `root/`).
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn change_trust(&mut self, root: &Path, change: TrustChange) -> Result<Outcome, RegistryError> {
        let current = match self {
            Self::Folder(office) => office.state()?.trust_services().clone(),
            Self::Api { address, token } => {
                let answer = call(*address, token, Method::GET, "/api/v1/trust-services", vec![]).await?;
                serde_json::from_value::<TrustServices>(answer).map_err(|e| odd(*address, &e))?
            }
        };
        let endorsed = endorse_change(root, &current, change).await?;
        self.apply(InstallTrust { endorsed }).await
    }
}

pub(crate) fn odd(address: SocketAddr, why: &dyn ToString) -> RegistryError {
    RegistryError::Admin { address: address.to_string(), why: why.to_string() }
}

pub(crate) async fn call(
    address: SocketAddr,
    token: &str,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Value, RegistryError> {
    let failed = |e: &dyn ToString| odd(address, e);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| failed(&e))?;
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(|e| failed(&e))?;
        driver.abort();
        let value: Value = serde_json::from_slice(&body.to_bytes()).map_err(|e| failed(&e))?;
        if status.is_success() {
            return Ok(value);
        }
        Err(failed(&value.get("error").and_then(Value::as_str).unwrap_or("refused")))
    };
    timeout(ANSWER, exchange).await.map_err(|_| failed(&"no answer in time"))?
}
