//! Opens the node's keys: for signing, for TLS, and for what lies on disk (protocol P5.2).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use truc_evidence::IndexKey;
use truc_keys::KeyLabel;
use truc_keystores::{FileKeyStore, Passphrase, SecretStore};
use truc_model::MemberId;
use truc_peer::Identity;
use truc_stores::{RecordKey, RecordKeys};
use zeroize::Zeroizing;

use crate::certificates::Certificates;
use crate::config::NodeConfig;
use crate::error::NodeError;

/// Keys under which records lie on disk: one per hosted member and the node's own.
pub struct Keyring {
    node: RecordKey,
    members: HashMap<MemberId, RecordKey>,
    all: HashMap<String, RecordKey>,
}

impl RecordKeys for Keyring {
    fn record_key(&self, owner: &MemberId) -> Option<RecordKey> {
        self.members.get(owner).cloned()
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        self.all.get(id).cloned()
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
    pub(crate) certificates: Certificates,
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
    let mut all = HashMap::new();
    // A member that has left the configuration still has records here.
    for name in evidence_secrets(&keys_folder(config))? {
        let key = record_key(name)?;
        all.insert(key.id().to_owned(), key);
    }
    let node = record_key(NODE_KEY.to_owned())?;
    all.insert(node.id().to_owned(), node.clone());
    Ok(Keyring { node, members, all })
}

const NODE_KEY: &str = "evidence-node-1";

fn evidence_secrets(folder: &Path) -> Result<Vec<String>, NodeError> {
    let failed = |e: std::io::Error| NodeError::file(folder, e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let label = name.to_str().and_then(|name| name.strip_suffix(".secret"));
        names.extend(label.filter(|label| label.starts_with("evidence-")).map(str::to_owned));
    }
    Ok(names)
}

/// Opens every key and certificate that the configuration names. Blocks.
pub(crate) fn open(config: &NodeConfig) -> Result<NodeKeys, NodeError> {
    let record_keys = Arc::new(open_keyring(config)?);
    let passphrase = Passphrase::from_file(&config.passphrase_file)?;
    let folder = keys_folder(config);
    let secrets = SecretStore::new(&folder, &passphrase);
    let store = Arc::new(FileKeyStore::open(&folder, &passphrase)?);
    let mut index_keys = HashMap::new();
    for member in &config.members {
        let name = format!("index-{}-1", dashed(&member.id));
        let secret = secrets.secret(&KeyLabel::new(&name)?)?;
        index_keys.insert(member.id.clone(), IndexKey::new(name, &secret));
    }
    let certificates = Certificates::read(config, &store)?;
    let identity = Arc::new(Identity::new(&certificates.auth_chain(), &auth_key(&certificates, &store)?)?);
    Ok(NodeKeys { store, record_keys, index_keys, certificates, identity })
}

/// The auth key as the TLS acceptor needs it.
pub(crate) fn auth_key(
    certificates: &Certificates,
    store: &FileKeyStore,
) -> Result<Zeroizing<Vec<u8>>, NodeError> {
    let label = &certificates.auth_key;
    store.pkcs8(label).ok_or_else(|| NodeError::NoKey(label.clone()))
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
