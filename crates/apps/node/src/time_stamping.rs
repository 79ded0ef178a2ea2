//! The follower that has this node's records time-stamped (`docs/evidence.md` §3), and what it stands on here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use truc_directory::{Directory, Usage};
use truc_evidence::EvidenceStore;
use truc_exchange::Ground;
use truc_exchange::ports::{CurrentDirectory, TimeStamps};
use truc_message::Leaf;
use truc_model::{Clock, Digest, Fault, FaultCode, Fingerprint, NodeId};
use truc_stamping::{Authorities, HeadSigner, HeadUnsigned, Ports, Settings, Stamper, Statuses};
use truc_trust::timestamp::TimeStampAuthority;
use truc_trust::{Certificate, KnownStatus};
use truc_trust_services::TimeStampHttp;

use crate::config::{NodeConfig, TimeStampingSettings};
use crate::log_head::OwnLog;

/// A moment less than an exchange waits for one stamp, so that it hears why there is none.
const WAIT: Duration = Duration::from_secs(29);

/// What the follower of a node is put together from.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a NodeConfig,
    pub(crate) records: Arc<dyn EvidenceStore>,
    pub(crate) log: Arc<OwnLog>,
    pub(crate) directory: Arc<dyn CurrentDirectory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ground: LateGround,
}

/// The ground, which holds the follower and is made after it; not owned, so that both can go.
#[derive(Clone, Default)]
pub(crate) struct LateGround(Arc<OnceLock<Weak<Ground>>>);

impl LateGround {
    /// Says which it is; once.
    pub(crate) fn is(&self, ground: &Arc<Ground>) {
        self.0.get_or_init(|| Arc::downgrade(ground));
    }

    fn get(&self) -> Option<Arc<Ground>> {
        self.0.get()?.upgrade()
    }
}

impl Parts<'_> {
    /// The follower; it does nothing before it runs.
    pub(crate) fn stamper(self) -> Arc<Stamper> {
        let TimeStampingSettings { authorities, every, grace } = self.config.time_stamping.clone();
        let ports = Ports {
            records: self.records,
            proofs: self.log.proof_store(),
            source: Arc::new(TimeStampHttp::new()),
            authorities: Arc::new(Listed {
                directory: self.directory,
                names: authorities,
                told: AtomicU64::new(u64::MAX),
            }),
            heads: Arc::new(Signs(self.log)),
            statuses: Arc::new(Known(self.ground)),
            clock: self.clock,
        };
        let seed = Digest::of(self.config.node.as_str().as_bytes());
        Arc::new(Stamper::new(ports, Settings { every, grace }, seed))
    }
}

/// The directory's time-stamp authorities that the configuration names, in its order; all where it names none.
struct Listed {
    directory: Arc<dyn CurrentDirectory>,
    names: Vec<String>,
    /// The directory version of which was told what is wrong with it.
    told: AtomicU64,
}

impl Authorities for Listed {
    fn current(&self) -> Vec<TimeStampAuthority> {
        let Some(directory) = self.directory.current() else { return Vec::new() };
        let tell = self.told.swap(directory.version(), Ordering::Relaxed) != directory.version();
        let all = read(&directory, tell);
        if self.names.is_empty() {
            return all;
        }
        let named = |name: &String| {
            let found = all.iter().find(|authority| authority.name == *name).cloned();
            if found.is_none() && tell {
                tracing::warn!(
                    name,
                    "[time-stamping] authorities names an authority that the directory does not list"
                );
            }
            found
        };
        self.names.iter().filter_map(named).collect()
    }
}

fn read(directory: &Directory, tell: bool) -> Vec<TimeStampAuthority> {
    let read = |entry| match TimeStampAuthority::read(entry) {
        Ok(authority) => Some(authority),
        Err(error) => {
            if tell {
                tracing::warn!(authority = %entry.name, %error, "the certificate of a time-stamp authority cannot be read");
            }
            None
        }
    };
    directory.timestamp_authorities().iter().filter_map(read).collect()
}

struct Signs(Arc<OwnLog>);

#[async_trait]
impl HeadSigner for Signs {
    async fn head(&self, size: u64, root: Digest) -> Result<String, HeadUnsigned> {
        self.0.cover_decisions().await;
        let head = self.0.at(size, root).await.map_err(|error| HeadUnsigned(error.to_string()))?;
        Ok(head.note().to_string())
    }
}

/// What the verifier of exchanges knows of certificates.
struct Known(LateGround);

#[async_trait]
impl Statuses for Known {
    fn newest(&self, certificate: &Fingerprint) -> Option<Arc<KnownStatus>> {
        self.0.get()?.verifier.status_of(certificate)
    }

    async fn renew(&self, certificate: &Certificate, intermediates: &[Certificate]) {
        let Some(ground) = self.0.get() else { return };
        let Some(directory) = ground.directory.current() else { return };
        let now = ground.clock.now();
        let renewed = ground.verifier.renew(certificate, intermediates, Usage::Sign, &directory, now).await;
        if let Err(error) = renewed {
            tracing::debug!(%error, "a status after the time-stamp is not to be had yet");
        }
    }
}

/// The follower as exchanges see it.
pub(crate) struct Stamps {
    pub(crate) stamper: Arc<Stamper>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl TimeStamps for Stamps {
    fn overdue(&self) -> Option<Fault> {
        let now = self.clock.now();
        if !self.stamper.overdue(now) {
            return None;
        }
        let state = self.stamper.state(now);
        let hours = state.oldest.unwrap_or_default().as_secs() / 3600;
        let why = state.failing.unwrap_or_else(|| "no authority has answered".to_owned());
        let detail = format!("records have waited {hours} h for a time-stamp: {why}");
        Some(Fault::provider(FaultCode::TimeStampOverdue, detail))
    }

    async fn stamped(&self, sequence: u64) -> Result<(), Fault> {
        let stamped = self.stamper.stamped(sequence, WAIT).await;
        stamped.map_err(|error| Fault::provider(FaultCode::TimeStampOverdue, error.to_string()))
    }

    fn acknowledged(&self, peer: &NodeId, own: u64, leaf: Leaf) {
        self.stamper.note_acknowledged(peer, own, leaf);
    }
}
