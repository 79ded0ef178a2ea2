//! The node's own certificates, as its files say now; read again when they change, without a restart.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use truc_directory::Usage;
use truc_exchange::{Ground, Seal};
use truc_keys::{KeyLabel, Signer as _};
use truc_keystores::FileKeyStore;
use truc_model::MemberId;
use truc_peer::Identity;
use truc_trust::Certificate;

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::keyring;
use crate::statuses::OwnCertificates;

/// How often the files are looked at; SIGHUP has them looked at now.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// One auth certificate and one seal for each member, each with its intermediates.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    pub(crate) auth: Vec<Certificate>,
    pub(crate) seals: HashMap<MemberId, Seal>,
}

impl Certificates {
    /// Reads the files that the configuration names. Blocks.
    pub(crate) fn read(config: &NodeConfig, store: &FileKeyStore) -> Result<Self, NodeError> {
        let auth = for_key(store, &config.auth.key, &config.auth.certificate_file)?;
        let mut seals = HashMap::new();
        for member in &config.members {
            let mut chain = for_key(store, &member.sign_key, &member.sign_certificate_file)?.into_iter();
            let missing = || NodeError::NotItsCertificate(member.sign_key.clone());
            let certificate = chain.next().ok_or_else(missing)?;
            let algorithm = certificate.key_kind().default_algorithm();
            let key = member.sign_key.clone();
            seals.insert(
                member.id.clone(),
                Seal { key, certificate, intermediates: chain.collect(), algorithm },
            );
        }
        Ok(Self { auth, seals })
    }

    /// The auth certificate and its intermediates, DER.
    pub(crate) fn auth_chain(&self) -> Vec<Bytes> {
        self.auth.iter().map(|certificate| Bytes::copy_from_slice(certificate.der())).collect()
    }

    /// All of them, as their statuses are fetched.
    pub(crate) fn all(&self) -> OwnCertificates {
        let seals =
            self.seals.values().map(|s| (s.certificate.clone(), s.intermediates.clone(), Usage::Sign));
        let auth = self.auth.split_first().map(|(leaf, rest)| (leaf.clone(), rest.to_vec(), Usage::Auth));
        seals.chain(auth).collect()
    }

    fn same_as(&self, other: &Self) -> bool {
        let same = |a: &Seal, b: &Seal| a.certificate == b.certificate && a.intermediates == b.intermediates;
        self.auth == other.auth
            && self.seals.len() == other.seals.len()
            && self
                .seals
                .iter()
                .all(|(id, seal)| other.seals.get(id).is_some_and(|theirs| same(seal, theirs)))
    }
}

/// The certificates in a file, of which the first must be the key's.
fn for_key(store: &FileKeyStore, key: &KeyLabel, file: &Path) -> Result<Vec<Certificate>, NodeError> {
    let info = store.key(key).ok_or_else(|| NodeError::NoKey(key.clone()))?;
    let text = std::fs::read(file).map_err(|e| NodeError::file(file, e))?;
    let chain = Certificate::all_from_pem(&text).map_err(|e| NodeError::file(file, e))?;
    if chain.first().is_some_and(|leaf| leaf.public_key() == info.public_key.as_slice()) {
        Ok(chain)
    } else {
        Err(NodeError::NotItsCertificate(key.clone()))
    }
}

/// What the operator should hear of the configuration file, compared with what runs; `None` when it means the same. Blocks.
fn compare(running: &NodeConfig) -> Option<String> {
    match NodeConfig::load(&running.path) {
        Ok(found) if found == *running => None,
        Ok(_) => Some(
            "restart for the changed configuration: the node runs with what it read at its start".to_owned(),
        ),
        Err(mistakes) => Some(format!(
            "the node runs with the configuration it read at its start, and would not start with the file as it is now: {mistakes}"
        )),
    }
}

/// Puts renewed certificates in place wherever they are used.
pub(crate) struct Reloader {
    pub(crate) config: NodeConfig,
    pub(crate) store: Arc<FileKeyStore>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) ground: Arc<Ground>,
    pub(crate) certificates: Arc<ArcSwap<OwnCertificates>>,
    pub(crate) replaced: Arc<Notify>,
    pub(crate) current: Certificates,
}

impl Reloader {
    /// Looks at the files until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let asked = async {
                match hangup.as_mut() {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = asked => {
                    tracing::info!("SIGHUP: looking at the certificate files");
                    self.compare_configuration().await;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the certificate files are not used as they are; the old certificates stay");
            }
        }
    }

    /// The configuration is read at the start alone; who asks with SIGHUP is told when the file says something else now.
    async fn compare_configuration(&self) {
        let config = self.config.clone();
        match spawn_blocking(move || compare(&config)).await {
            Ok(None) => {}
            Ok(Some(told)) => tracing::warn!(file = %self.config.path.display(), "{told}"),
            Err(error) => tracing::error!(%error, "the configuration could not be compared"),
        }
    }

    async fn look(&mut self) -> Result<(), NodeError> {
        let (config, store) = (self.config.clone(), Arc::clone(&self.store));
        let read = spawn_blocking(move || {
            let certificates = Certificates::read(&config, &store)?;
            Ok::<_, NodeError>((certificates, keyring::auth_key(&config, &store)?))
        });
        let (found, auth_key) = read.await??;
        if found.same_as(&self.current) {
            return Ok(());
        }
        self.identity.replace(&found.auth_chain(), &auth_key)?;
        self.ground.sealing.replace(found.seals.clone());
        self.certificates.store(Arc::new(found.all()));
        self.replaced.notify_one();
        self.current = found;
        tracing::info!(auth = %self.identity.fingerprint(), "certificates replaced");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_configuration_is_told_and_a_comment_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        let text = "config-version = 1\nnode = 'VN/GOV/H26/ss1'\n[[member]]\nid = 'VN/GOV/H26'\nsubsystems = ['a']\n";
        std::fs::write(&file, text).unwrap();
        let running = NodeConfig::load(&file).unwrap();
        std::fs::write(&file, format!("# seen\n{text}")).unwrap();
        assert_eq!(compare(&running), None);
        std::fs::write(&file, format!("{text}[edge]\nlisten = '127.0.0.1:9090'\n")).unwrap();
        assert!(compare(&running).unwrap().contains("restart for the changed configuration"));
        std::fs::write(&file, "config-version = 1\n").unwrap();
        assert!(compare(&running).unwrap().contains("would not start"));
    }
}
