//! Opens the node's keys: for signing, for TLS, and for what lies on disk (protocol P5.2).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use truc_evidence::IndexKey;
use truc_keys::KeyLabel;
use truc_keystores::{FileKeyStore, Passphrase, SecretStore};
use truc_model::MemberId;
use truc_peer::Identity;
use truc_stores::{DataFolder, RecordKey, RecordKeys};
use zeroize::Zeroizing;

use crate::certificates::Certificates;
use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::person_hashes::PersonHashes;

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
    pub(crate) index_keys: HashMap<MemberId, Vec<IndexKey>>,
    pub(crate) person_hashes: Arc<PersonHashes>,
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
        let prefix = format!("evidence-{}-", dashed(&member.id));
        let newest = generations(&keys_folder(config), &prefix)?.first().copied().unwrap_or(1);
        members.insert(member.id.clone(), record_key(format!("{prefix}{newest}"))?);
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

/// The generations of the secret that is called `prefix` and a number, the newest first.
fn generations(folder: &Path, prefix: &str) -> Result<Vec<u32>, NodeError> {
    let failed = |e: std::io::Error| NodeError::file(folder, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".secret")?.strip_prefix(prefix));
        // Another member's name may begin with this one's; a generation is digits alone.
        let digits = number.filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        found.extend(digits.and_then(|n| n.parse::<u32>().ok()));
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Makes the next generation of a hosted member's evidence and index keys, on a stopped node: new records are written under them, old
/// ones stay readable and found. Returns its number. Blocks.
///
/// # Errors
/// [`NodeError`]: a node runs on the folder, or the member is not hosted here.
pub fn rotate_keys(config: &NodeConfig, member: &MemberId) -> Result<u32, NodeError> {
    if config.member(member).is_none() {
        return Err(NodeError::file(&config.path, format!("{member} is not a [[member]] of this node")));
    }
    if !config.data_folder.join("FORMAT").exists() {
        return Err(NodeError::file(&config.data_folder, "is not a node's data folder"));
    }
    let _folder = DataFolder::open(&config.data_folder)?;
    let (folder, dashed) = (keys_folder(config), dashed(member));
    let passphrase = Passphrase::from_file(&config.passphrase_file)?;
    let secrets = SecretStore::new(&folder, &passphrase);
    let prefixes = [format!("evidence-{dashed}-"), format!("index-{dashed}-")];
    let mut newest = 1;
    for prefix in &prefixes {
        newest = newest.max(generations(&folder, prefix)?.first().copied().unwrap_or(1));
    }
    let next = newest.saturating_add(1);
    for prefix in &prefixes {
        secrets.secret(&KeyLabel::new(&format!("{prefix}{next}"))?)?;
    }
    Ok(next)
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
        let prefix = format!("index-{}-", dashed(&member.id));
        let mut numbers = generations(&folder, &prefix)?;
        if numbers.is_empty() {
            numbers.push(1);
        }
        let key = |number: u32| -> Result<IndexKey, NodeError> {
            let name = format!("{prefix}{number}");
            Ok(IndexKey::new(name.clone(), &*secrets.secret(&KeyLabel::new(&name)?)?))
        };
        let keys = numbers.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
        index_keys.insert(member.id.clone(), keys);
    }
    let certificates = Certificates::read(config, &store)?;
    let identity = Arc::new(Identity::new(&certificates.auth_chain(), &auth_key(&certificates, &store)?)?);
    let person_hashes = Arc::new(PersonHashes::open(config)?);
    Ok(NodeKeys { store, record_keys, index_keys, person_hashes, certificates, identity })
}

/// The auth key as the TLS acceptor needs it.
pub(crate) fn auth_key(
    certificates: &Certificates,
    store: &FileKeyStore,
) -> Result<Zeroizing<Vec<u8>>, NodeError> {
    let label = &certificates.auth_key;
    store.pkcs8(label).ok_or_else(|| NodeError::NoKey(label.clone()))
}

/// A member's part of its keys' names. A code may look like another one's spelling (`A-B`, `A.2d.B`): a configuration with both is refused.
pub(crate) fn dashed(member: &MemberId) -> String {
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
