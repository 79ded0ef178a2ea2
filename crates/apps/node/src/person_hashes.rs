//! How officers, dossiers and subjects may be looked for: hashed under every generation of every member's index key (protocol P5.2).

use truc_evidence::{IndexKey, KeyedHash};
use truc_keys::KeyLabel;
use truc_keystores::{Passphrase, SecretStore};
use truc_model::MemberId;

use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::keyring::{dashed, keys_folder};

/// The index keys that lie in the node's key store, also of members that have left the configuration: their records are still here.
pub(crate) struct PersonHashes {
    keys: Vec<IndexKey>,
}

impl PersonHashes {
    /// Opens the keys. Blocks on disk and key derivation.
    ///
    /// # Errors
    /// [`NodeError::Keys`], or what the folder says.
    pub(crate) fn open(config: &NodeConfig) -> Result<Self, NodeError> {
        let folder = keys_folder(config);
        let passphrase = Passphrase::from_file(&config.passphrase_file)?;
        let secrets = SecretStore::new(&folder, &passphrase);
        let failed = |e: std::io::Error| NodeError::file(&folder, e);
        let mut keys = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let label = name.to_str().and_then(|name| name.strip_suffix(".secret"));
            if let Some(label) = label.filter(|label| label.starts_with("index-")) {
                keys.push(IndexKey::new(label, &*secrets.secret(&KeyLabel::new(label)?)?));
            }
        }
        keys.sort_unstable_by(|a, b| a.key_id.cmp(&b.key_id));
        Ok(Self { keys })
    }

    /// The text as records may hold it: under all keys, or those of one member.
    pub(crate) fn of(&self, text: &str, member: Option<&MemberId>) -> Vec<KeyedHash> {
        let prefix = member.map(|member| format!("index-{}-", dashed(member)));
        let is_theirs = |key: &&IndexKey| {
            // A generation is a number; another member's name may begin with this one's.
            prefix.as_ref().is_none_or(|prefix| {
                let rest = key.key_id.strip_prefix(prefix.as_str());
                rest.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            })
        };
        self.keys.iter().filter(is_theirs).map(|key| key.hash(text.trim())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generation_is_looked_for_and_a_member_has_only_its_own() {
        let ids =
            ["index-VN-GOV-G01-1", "index-VN-GOV-G01-2", "index-VN-GOV-G01.1-1", "index-VN-GOV-G01-X-1"];
        let keys = ids.iter().zip(1..).map(|(id, n)| IndexKey::new(*id, &[n; 32])).collect();
        let hashes = PersonHashes { keys };
        let all = hashes.of(" 001099012345\n", None);
        assert_eq!(all.len(), 4);
        assert_eq!(all, hashes.of("001099012345", None), "space around a number is none of it");
        let member: MemberId = "VN/GOV/G01".parse().unwrap();
        let theirs: Vec<_> = hashes.of("001099012345", Some(&member)).into_iter().map(|h| h.key_id).collect();
        assert_eq!(theirs, ids[..2]);
    }
}
