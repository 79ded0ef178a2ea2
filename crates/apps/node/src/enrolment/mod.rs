//! The node's side of its registration: enrolment, management requests and the renewal of keys (docs/registry.md §3, protocol P7).
//!
//! Everything that is sent is durable first, and everything that comes back is checked against the node's own keys, so that a
//! crash, a lost answer or a registry that is away costs time and nothing else. The registry's words are taken for what they
//! are: who may join is decided there.

mod compose;
mod errand;
mod error;
mod folder;
mod registrar;
mod renewal;
mod renewing;
mod settle;
mod slots;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use truc_model::Clock;

use crate::config::NodeConfig;

pub use errand::{EnrolOptions, NodeRequest, Settled, enrol, request};
pub use error::EnrolmentError;
pub use registrar::{Patience, Progress, Tell};
pub use renewal::RenewOptions;
pub(crate) use renewing::Renewing;
pub(crate) use slots::{key_of, signing_request};

/// A renewal that was asked for; the running node does the rest.
#[derive(Debug, Clone)]
pub struct RenewalAsked {
    /// The new keys' names.
    pub keys: Vec<String>,
    /// Whether the certificates have come.
    pub granted: bool,
}

/// Asks for new keys and certificates. The running node switches to them by itself; a stopped one after its next start.
///
/// # Errors
/// [`EnrolmentError`].
pub async fn renew(
    config: &NodeConfig,
    options: RenewOptions,
    clock: &Arc<dyn Clock>,
    (patience, wait): (Patience, bool),
    tell: Tell<'_>,
) -> Result<RenewalAsked, EnrolmentError> {
    let office = errand::Office::open(config, clock, patience).await?;
    let renewal = office.renew(options, wait, tell).await?;
    let keys = renewal.keys.iter().map(|key| key.label.to_string()).collect();
    Ok(RenewalAsked { keys, granted: renewal.is_granted() })
}

/// New keys and certificate requests for an external CA; nothing is sent. Says which files to hand over.
///
/// # Errors
/// [`EnrolmentError`].
pub async fn new_requests(
    config: &NodeConfig,
    options: RenewOptions,
) -> Result<Vec<PathBuf>, EnrolmentError> {
    let config = config.clone();
    spawn_blocking(move || {
        let own = slots::Own::open(&config)?;
        renewal::prepare(&own, &renewal::chosen(&own, &options)?)
    })
    .await?
}
