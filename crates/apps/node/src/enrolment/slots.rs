//! What a node has keys and certificates for, and which key of each is in use.
//!
//! `node.toml` names a key for the node's TLS identity and one for each member's seal. Renewed keys carry the same name with a
//! number: `auth`, `auth--2`, `auth--3`. Which of them is in use is said by the certificate file alone: the one whose public key
//! the file's first certificate carries. So one atomic replacement of that file is the switch, whoever makes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use truc_directory::{Der, Usage};
use truc_keys::{KeyInfo, KeyKind, KeyLabel, Signer as _};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::MemberId;
use truc_trust::Certificate;

use super::error::EnrolmentError;
use crate::config::NodeConfig;
use crate::error::NodeError;

/// Between a key's name and the number of its successor.
const GENERATION: &str = "--";

/// One thing that the node has a key and a certificate for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The node's or the member's id.
    pub(crate) holder: String,
    pub(crate) usage: Usage,
    /// Whose organisation the certificate names.
    pub(crate) member: MemberId,
    /// The key's name in `node.toml`.
    pub(crate) base: KeyLabel,
    /// The certificate file in `node.toml`.
    pub(crate) file: PathBuf,
}

/// A slot's key and certificate in use.
#[derive(Debug, Clone)]
pub(crate) struct InUse {
    pub(crate) label: KeyLabel,
    pub(crate) certificate: Certificate,
}

/// Which generation of `base` the label names: 1 is `base` itself.
pub(crate) fn generation(base: &KeyLabel, label: &KeyLabel) -> Option<u32> {
    let rest = label.as_str().strip_prefix(base.as_str())?;
    if rest.is_empty() {
        return Some(1);
    }
    let number: u32 = rest.strip_prefix(GENERATION)?.parse().ok()?;
    (number >= 2 && rest == format!("{GENERATION}{number}")).then_some(number)
}

/// The key of the family `base` with this public key.
pub(crate) fn key_of(store: &FileKeyStore, base: &KeyLabel, public_key: &[u8]) -> Option<KeyLabel> {
    let fits = |info: &KeyInfo| info.public_key == public_key && generation(base, &info.label).is_some();
    store.keys().into_iter().find(fits).map(|info| info.label)
}

/// The node's own slots with the keys behind them.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) store: Arc<FileKeyStore>,
}

impl Own {
    /// Opens the keys of a node, whether it runs or not. Blocks on disk and key derivation.
    pub(crate) fn open(config: &NodeConfig) -> Result<Self, EnrolmentError> {
        let passphrase = Passphrase::from_file(&config.passphrase_file)?;
        let store = FileKeyStore::open(&config.key_folder(), &passphrase)?;
        Ok(Self { config: Arc::new(config.clone()), store: Arc::new(store) })
    }

    /// The node's TLS identity.
    pub(crate) fn auth(&self) -> Slot {
        auth(&self.config)
    }

    /// A hosted member's seal.
    pub(crate) fn seal(&self, member: &MemberId) -> Result<Slot, EnrolmentError> {
        let found = seals(&self.config).find(|slot| slot.member == *member);
        found.ok_or_else(|| EnrolmentError::NotHosted(member.clone()))
    }

    /// All slots: auth first.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        std::iter::once(self.auth()).chain(seals(&self.config)).collect()
    }

    /// What the slot's certificate file says. Blocks.
    pub(crate) fn in_use(&self, slot: &Slot) -> Result<InUse, EnrolmentError> {
        let certificate = leaf(&slot.file)?;
        let label = key_of(&self.store, &slot.base, certificate.public_key());
        let label = label.ok_or_else(|| NodeError::NotItsCertificate(slot.base.clone()))?;
        Ok(InUse { label, certificate })
    }

    /// What the slot's certificate file says, when there is one. Blocks.
    pub(crate) fn in_use_if_any(&self, slot: &Slot) -> Result<Option<InUse>, EnrolmentError> {
        if slot.file.exists() { self.in_use(slot).map(Some) } else { Ok(None) }
    }

    /// The key that a new certificate of this slot is for: the newest one that no certificate was ever put in place for, or
    /// else a new one. Blocks on disk and key derivation.
    pub(crate) fn next_key(&self, slot: &Slot) -> Result<KeyInfo, EnrolmentError> {
        let current =
            self.in_use_if_any(slot)?.and_then(|used| generation(&slot.base, &used.label)).unwrap_or(0);
        let newest = self.generations(slot).into_iter().max_by_key(|(number, _)| *number);
        match newest {
            Some((number, info)) if number > current && !self.beside(&info.label).exists() => Ok(info),
            _ => self.make_key(slot),
        }
    }

    /// A key that never served. Blocks on disk and key derivation.
    pub(crate) fn make_key(&self, slot: &Slot) -> Result<KeyInfo, EnrolmentError> {
        let passphrase = Passphrase::from_file(&self.config.passphrase_file)?;
        self.store.look_again(&passphrase)?;
        let newest = self.generations(slot).into_iter().map(|(number, _)| number).max().unwrap_or(0);
        let label = match newest {
            0 => slot.base.clone(),
            number => KeyLabel::new(&format!("{}{GENERATION}{}", slot.base, number + 1))?,
        };
        let made = FileKeyStore::generate(&self.config.key_folder(), &passphrase, &label, KeyKind::EcP256)?;
        self.store.look_again(&passphrase)?;
        Ok(made)
    }

    fn generations(&self, slot: &Slot) -> Vec<(u32, KeyInfo)> {
        let numbered = |info: KeyInfo| generation(&slot.base, &info.label).map(|number| (number, info));
        self.store.keys().into_iter().filter_map(numbered).collect()
    }

    /// Where the certificate of a key lies that is registered, but not in use.
    pub(crate) fn beside(&self, label: &KeyLabel) -> PathBuf {
        let folder = self.config.auth.certificate_file.parent().unwrap_or(Path::new(""));
        folder.join(format!("{label}.registered.pem"))
    }

    /// A certificate request in the name of `holder` for the key.
    pub(crate) fn request(
        &self,
        label: &KeyLabel,
        holder: &str,
        member: &MemberId,
    ) -> Result<Der, EnrolmentError> {
        Ok(Der::from(signing_request(&self.store, label, holder, member)?.0))
    }

    /// As [`Own::request`], also in PEM in the folder `requests/` beside `node.toml`, for an external CA. Blocks.
    pub(crate) fn request_file(&self, label: &KeyLabel, slot: &Slot) -> Result<PathBuf, EnrolmentError> {
        let (_, pem) = signing_request(&self.store, label, &slot.holder, &slot.member)?;
        let folder = self.config.path.parent().unwrap_or(Path::new("")).join("requests");
        std::fs::create_dir_all(&folder).map_err(|e| NodeError::file(&folder, e))?;
        let file = folder.join(format!("{label}.csr"));
        super::folder::replace(&file, pem.as_bytes(), 0o644)?;
        Ok(file)
    }
}

fn auth(config: &NodeConfig) -> Slot {
    Slot {
        holder: config.node.to_string(),
        usage: Usage::Auth,
        member: config.node.owner(),
        base: config.auth.key.clone(),
        file: config.auth.certificate_file.clone(),
    }
}

fn seals(config: &NodeConfig) -> impl Iterator<Item = Slot> {
    config.members.iter().map(|member| Slot {
        holder: member.id.to_string(),
        usage: Usage::Sign,
        member: member.id.clone(),
        base: member.sign_key.clone(),
        file: member.sign_certificate_file.clone(),
    })
}

/// The first certificate of a PEM file. Blocks.
pub(crate) fn leaf(file: &Path) -> Result<Certificate, NodeError> {
    let text = std::fs::read(file).map_err(|e| NodeError::file(file, e))?;
    let all = Certificate::all_from_pem(&text).map_err(|e| NodeError::file(file, e))?;
    all.into_iter().next().ok_or_else(|| NodeError::file(file, "it holds no certificate"))
}

/// A certificate request (RFC 2986) with the names of profile truc-1, signed by the key itself: DER and PEM.
pub(crate) fn signing_request(
    store: &FileKeyStore,
    label: &KeyLabel,
    name: &str,
    member: &MemberId,
) -> Result<(Vec<u8>, String), NodeError> {
    let failed = |e: rcgen::Error| NodeError::CertificateRequest { label: label.clone(), why: e.to_string() };
    let pkcs8 = store.pkcs8(label).ok_or_else(|| NodeError::NoKey(label.clone()))?;
    let pair = rcgen::KeyPair::try_from(pkcs8.as_slice()).map_err(failed)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    // organizationIdentifier (2.5.4.97)
    params.distinguished_name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 97]), member.as_str());
    let request = params.serialize_request(&pair).map_err(failed)?;
    let pem = request.pem().map_err(failed)?;
    Ok((request.der().to_vec(), pem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> KeyLabel {
        KeyLabel::new(text).unwrap()
    }

    #[test]
    fn a_generation_is_the_name_with_a_number_and_nothing_else() {
        let base = label("auth");
        for (text, number) in [("auth", Some(1)), ("auth--2", Some(2)), ("auth--10", Some(10))] {
            assert_eq!(generation(&base, &label(text)), number, "{text}");
        }
        for text in
            ["auth-2", "auth--1", "auth--02", "auth--", "auth--2-3", "auth2", "log", "auth.2", "auth--x"]
        {
            assert_eq!(generation(&base, &label(text)), None, "{text}");
        }
        // Members whose names begin alike are no generations of each other.
        let member = label("sign-VN-GOV-H26");
        assert!(
            ["sign-VN-GOV-H26.1", "sign-VN-GOV-H26-1"]
                .iter()
                .all(|t| generation(&member, &label(t)).is_none())
        );
    }
}
