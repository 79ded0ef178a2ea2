//! Opens the node's keys: for signing, for TLS, and for what lies on disk (protocol P5.2).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use truc_evidence::IndexKey;
use truc_exchange::Seal;
use truc_keys::{KeyLabel, Signer as _};
use truc_keystores::{FileKeyStore, Passphrase, SecretStore};
use truc_model::MemberId;
use truc_peer::Identity;
use truc_stores::{RecordKey, RecordKeys};
use truc_trust::Certificate;

use crate::config::NodeConfig;
use crate::error::NodeError;

/// Keys under which records lie on disk: one per hosted member and the node's own.
pub struct Keyring {
    node: RecordKey,
    members: HashMap<MemberId, RecordKey>,
}

impl RecordKeys for Keyring {
    fn record_key(&self, owner: &MemberId) -> Option<RecordKey> {
        self.members.get(owner).cloned()
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        let mut all = self.members.values().chain([&self.node]);
        all.find(|key| key.id() == id).cloned()
    }
    fn node_key(&self) -> RecordKey {
        self.node.clone()
    }
}

/// Everything secret that a running node holds.
pub(crate) struct NodeKeys {
    pub(crate) store: Arc<FileKeyStore>,
    pub(crate) record_keys: Arc<Keyring>,
    pub(crate) index_keys: HashMap<MemberId, IndexKey>,
    pub(crate) seals: HashMap<MemberId, Seal>,
    pub(crate) auth: Vec<Certificate>,
    pub(crate) identity: Arc<Identity>,
}

/// The folder of the key store.
pub(crate) fn keys_folder(config: &NodeConfig) -> std::path::PathBuf {
    config.data_folder.join("keys")
}

/// Opens the secrets under which records lie on disk; for the running node and for offline tools alike. Blocks.
///
/// # Errors
/// [`NodeError::Keys`].
pub fn open_keyring(config: &NodeConfig) -> Result<Keyring, NodeError> {
    let passphrase = Passphrase::from_file(&config.passphrase_file)?;
    let secrets = SecretStore::new(&keys_folder(config), &passphrase);
    let record_key = |name: String| -> Result<RecordKey, NodeError> {
        let secret = secrets.secret(&KeyLabel::new(&name)?)?;
        Ok(RecordKey::new(name, secret))
    };
    let mut members = HashMap::new();
    for member in &config.members {
        members.insert(member.id.clone(), record_key(format!("evidence-{}-1", dashed(&member.id)))?);
    }
    Ok(Keyring { node: record_key("evidence-node-1".to_owned())?, members })
}

/// Opens every key and certificate that the configuration names. Blocks.
pub(crate) fn open(config: &NodeConfig) -> Result<NodeKeys, NodeError> {
    let record_keys = Arc::new(open_keyring(config)?);
    let passphrase = Passphrase::from_file(&config.passphrase_file)?;
    let folder = keys_folder(config);
    let secrets = SecretStore::new(&folder, &passphrase);
    let store = Arc::new(FileKeyStore::open(&folder, &passphrase)?);
    let mut index_keys = HashMap::new();
    let mut seals = HashMap::new();
    for member in &config.members {
        let name = format!("index-{}-1", dashed(&member.id));
        let secret = secrets.secret(&KeyLabel::new(&name)?)?;
        index_keys.insert(member.id.clone(), IndexKey::new(name, &secret));
        let chain = certificates(&member.sign_certificate_file)?;
        seals.insert(member.id.clone(), seal(&store, &member.sign_key, chain)?);
    }
    let auth = certificates(&config.auth.certificate_file)?;
    let pkcs8 = store.pkcs8(&config.auth.key).ok_or_else(|| NodeError::NoKey(config.auth.key.clone()))?;
    let chain: Vec<Bytes> =
        auth.iter().map(|certificate| Bytes::copy_from_slice(certificate.der())).collect();
    let identity = Arc::new(Identity::new(&chain, &pkcs8)?);
    Ok(NodeKeys { store, record_keys, index_keys, seals, auth, identity })
}

fn seal(store: &FileKeyStore, key: &KeyLabel, chain: Vec<Certificate>) -> Result<Seal, NodeError> {
    let info = store.key(key).ok_or_else(|| NodeError::NoKey(key.clone()))?;
    let mut chain = chain.into_iter();
    let certificate = chain.next().ok_or_else(|| NodeError::NotItsCertificate(key.clone()))?;
    if certificate.public_key() != info.public_key.as_slice() {
        return Err(NodeError::NotItsCertificate(key.clone()));
    }
    let algorithm = info.kind.default_algorithm();
    Ok(Seal { key: key.clone(), certificate, intermediates: chain.collect(), algorithm })
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, NodeError> {
    let text = std::fs::read(file).map_err(|e| NodeError::file(file, e))?;
    Certificate::all_from_pem(&text).map_err(|e| NodeError::file(file, e))
}

fn dashed(member: &MemberId) -> String {
    // A key label has fewer characters than an identifier: what it cannot hold is written as its code point.
    let mut out = String::new();
    for c in member.as_str().chars() {
        match c {
            '/' => out.push('-'),
            c if c.is_ascii_alphanumeric() || c == '.' => out.push(c),
            c => out.push_str(&format!(".{:x}.", u32::from(c))),
        }
    }
    out
}
