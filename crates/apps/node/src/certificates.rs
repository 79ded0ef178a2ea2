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
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use truc_directory::Usage;
use truc_exchange::{Ground, Seal};
use truc_keys::{KeyLabel, Signer as _};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::{Fingerprint, MemberId};
use truc_peer::Identity;
use truc_trust::Certificate;

use crate::config::NodeConfig;
use crate::enrolment::key_of;
use crate::error::NodeError;
use crate::keyring;
use crate::statuses::OwnCertificates;

/// How often the files are looked at; SIGHUP has them looked at now.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// New certificates wait this long for their statuses.
const STATUSES_DEADLINE: Duration = Duration::from_secs(5);

/// One auth certificate and one seal for each member, each with its intermediates.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    pub(crate) auth: Vec<Certificate>,
    /// The auth key that the certificate is for.
    pub(crate) auth_key: KeyLabel,
    pub(crate) seals: HashMap<MemberId, Seal>,
}

impl Certificates {
    /// Reads the files that the configuration names. Blocks.
    pub(crate) fn read(config: &NodeConfig, store: &FileKeyStore) -> Result<Self, NodeError> {
        let (auth_key, auth) = for_key(store, &config.auth.key, &config.auth.certificate_file)?;
        let mut seals = HashMap::new();
        for member in &config.members {
            let (key, chain) = for_key(store, &member.sign_key, &member.sign_certificate_file)?;
            let mut chain = chain.into_iter();
            let missing = || NodeError::NotItsCertificate(member.sign_key.clone());
            let certificate = chain.next().ok_or_else(missing)?;
            let algorithm = certificate.key_kind().default_algorithm();
            seals.insert(
                member.id.clone(),
                Seal { key, certificate, intermediates: chain.collect(), algorithm },
            );
        }
        Ok(Self { auth, auth_key, seals })
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

/// The certificates in a file, of which the first must be for the key of this name or one that renewed it; and that key.
fn for_key(
    store: &FileKeyStore,
    key: &KeyLabel,
    file: &Path,
) -> Result<(KeyLabel, Vec<Certificate>), NodeError> {
    store.key(key).ok_or_else(|| NodeError::NoKey(key.clone()))?;
    let text = std::fs::read(file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => NodeError::file(
            file,
            "chưa có chứng thư, hãy ghi danh nút trước / no certificate yet: enrol the node first (truc node enroll)",
        ),
        _ => NodeError::file(file, e),
    })?;
    let chain = Certificate::all_from_pem(&text).map_err(|e| NodeError::file(file, e))?;
    let its = chain.first().and_then(|leaf| key_of(store, key, leaf.public_key()));
    its.map(|label| (label, chain)).ok_or_else(|| NodeError::NotItsCertificate(key.clone()))
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
    /// Has the files looked at now.
    pub(crate) asked: Arc<Notify>,
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
                () = self.asked.notified() => {}
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
            let certificates = match Certificates::read(&config, &store) {
                // The key may have been made since the store was opened.
                Err(NodeError::NotItsCertificate(_)) => {
                    store.look_again(&Passphrase::from_file(&config.passphrase_file)?)?;
                    Certificates::read(&config, &store)?
                }
                read => read?,
            };
            let auth_key = keyring::auth_key(&certificates, &store)?;
            Ok::<_, NodeError>((certificates, auth_key))
        });
        let (found, auth_key) = read.await??;
        if found.same_as(&self.current) {
            return Ok(());
        }
        // Their statuses come first, so that the first handshake and the first message under them carry theirs.
        let statuses = self.statuses(&found.all()).await;
        let auth = found.auth.first().and_then(|leaf| statuses.get(&leaf.fingerprint()));
        self.identity.replace(&found.auth_chain(), &auth_key, auth)?;
        self.ground.sealing.replace(found.seals.clone(), &statuses);
        self.certificates.store(Arc::new(found.all()));
        self.replaced.notify_one();
        self.current = found;
        tracing::info!(auth = %self.identity.fingerprint(), "certificates replaced");
        Ok(())
    }
}

impl Reloader {
    /// The statuses of certificates that are about to be put in place; what is not to be had in time is fetched afterwards.
    async fn statuses(&self, certificates: &OwnCertificates) -> HashMap<Fingerprint, Bytes> {
        let mut statuses = HashMap::new();
        let Some(directory) = self.ground.directory.current() else { return statuses };
        let asking = async {
            for (certificate, intermediates, usage) in certificates {
                let now = self.ground.clock.now();
                let renewing =
                    self.ground.verifier.renew(certificate, intermediates, *usage, &directory, now);
                match renewing.await {
                    Ok(known) => drop(statuses.insert(certificate.fingerprint(), known.response.clone())),
                    Err(error) => {
                        tracing::warn!(certificate = %certificate.fingerprint(), %error, "a new certificate has no status yet");
                    }
                }
            }
        };
        if timeout(STATUSES_DEADLINE, asking).await.is_err() {
            tracing::warn!("new certificates are used before their statuses are here");
        }
        statuses
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
