//! The root ceremony: what stands behind `truc registry root …` (protocol P6.1, P6.3).
//!
//! A draft is made where the registry is, signed where root keys are (a machine without network or registry), and installed
//! where the registry is. The private root keys never come here.

use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use truc_directory::{Anchor, PublicKey, Root, SignedHead, TrustServices};
use truc_governance::{
    Command, Draft, GovernanceError, NewEpoch, RootChange, TrustChange, draft_root, draft_trust_change,
};
use truc_keys::{KeyKind, Signer};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::Clock;
use truc_stores::HeadNumber;

use crate::config::RegistryConfig;
use crate::door::Door;
use crate::error::RegistryError;
use crate::files::{Places, label};
use crate::office::{Office, PUBLISHING};
use crate::setup::{ROOT, ed25519};
use crate::verbs::{InstallRoot, InstallTrust, Outcome};

/// What a new root version is to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootWishes {
    /// A new publishing key joins those in force, and signs.
    pub rotate_publishing: bool,
    /// Only the newest publishing key that this registry holds stays.
    pub retire_publishing: bool,
    /// Threshold and root keys from here on.
    pub root_keys: Option<(u32, Vec<PublicKey>)>,
    /// A new epoch, above the highest head that any node reports.
    pub new_epoch: Option<HeadNumber>,
}

/// Makes a root key in the folder `dir`, with a passphrase file beside it when there is none. Its public half is all that leaves the folder.
///
/// # Errors
/// [`RegistryError::Keys`], e.g. when the folder holds a root key already.
pub async fn new_root_key(dir: &Path) -> Result<PublicKey, RegistryError> {
    let dir = dir.to_owned();
    let make = move || {
        std::fs::create_dir_all(&dir).map_err(|e| RegistryError::file(&dir, e))?;
        let passphrase = Passphrase::from_file_or_create(&dir.join("passphrase"))?;
        ed25519(&FileKeyStore::generate(&dir, &passphrase, &label(ROOT)?, KeyKind::Ed25519)?)
    };
    off_runtime(make).await
}

/// Adds the signature of the root key in the folder `keys`, opened with `passphrase` (the folder's own `passphrase` unless given).
///
/// # Errors
/// [`RegistryError`], e.g. when this key is not asked to sign.
pub async fn sign_draft(
    draft: &mut Draft,
    keys: &Path,
    passphrase: Option<PathBuf>,
) -> Result<PublicKey, RegistryError> {
    let keys = keys.to_owned();
    let open = move || {
        let file = passphrase.unwrap_or_else(|| keys.join("passphrase"));
        Ok(FileKeyStore::open(&keys, &Passphrase::from_file(&file)?)?)
    };
    let store: FileKeyStore = off_runtime(open).await?;
    Ok(draft.sign(&store, &label(ROOT)?).await?)
}

/// The number of a directory head in a file: `head.json` of a node or a registry. With it comes how many root versions it stands on.
///
/// # Errors
/// [`RegistryError::Format`].
pub fn head_number(bytes: &[u8]) -> Result<(HeadNumber, u64), RegistryError> {
    let head = SignedHead::parse(bytes)?.unverified()?;
    let roots = head.root_parts().count() as u64;
    Ok((HeadNumber { epoch: head.epoch, version: head.version }, roots))
}

/// What an installation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// Decided and published.
    Published(Outcome),
    /// The instance was opened, and the anchor written.
    Opened {
        /// The anchor, to be handed to every node by a way that can be trusted.
        anchor: PathBuf,
    },
    /// Decided; the restored registry stays closed until an epoch is opened.
    StillClosed,
}

/// The root and the list that a draft begins from.
struct Standing {
    root: Root,
    trust: TrustServices,
    decisions: u64,
}

impl Door {
    async fn standing(&mut self) -> Result<Standing, RegistryError> {
        if let Self::Folder(office) = self {
            let state = office.state()?;
            let (root, trust) = (state.root().clone(), state.trust_services().clone());
            return Ok(Standing { root, trust, decisions: office.decisions() });
        }
        let shown = self.directory().await?;
        let odd = |e: serde_json::Error| RegistryError::Invalid(format!("the registry's directory: {e}"));
        Ok(Standing {
            root: serde_json::from_value(shown["root"].clone()).map_err(odd)?,
            trust: serde_json::from_value(shown["trustServices"].clone()).map_err(odd)?,
            decisions: shown["head"]["version"].as_u64().unwrap_or_default(),
        })
    }

    /// The draft of the next root version. A new publishing key is made here, in the registry's own key folder.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn draft_root(
        &mut self,
        config: &RegistryConfig,
        wishes: RootWishes,
        clock: &dyn Clock,
    ) -> Result<Draft, RegistryError> {
        let Standing { root, trust, decisions } = self.standing().await?;
        let mut publishing = root.publishing_keys.clone();
        if wishes.retire_publishing {
            let held = held_keys(config).await?;
            publishing = publishing.into_iter().rev().find(|key| held.contains(key)).into_iter().collect();
        }
        if wishes.rotate_publishing {
            publishing.push(next_publishing_key(config, &root).await?);
        }
        let above = |n: HeadNumber| NewEpoch { epoch: n.epoch, version: n.version, decisions };
        let change = RootChange {
            publishing_keys: Some(publishing),
            root_keys: wishes.root_keys,
            new_epoch: wishes.new_epoch.map(above),
        };
        Ok(draft_root(&root, &trust, change, clock.now())?)
    }

    /// The draft of a changed list of trust services, for root keys that are elsewhere.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn draft_trust(&mut self, change: TrustChange) -> Result<Draft, RegistryError> {
        let Standing { root, trust, .. } = self.standing().await?;
        Ok(draft_trust_change(&root, &trust, change)?)
    }

    /// The draft of the first root, as `truc registry init` wrote it, is the whole instance; any other goes on from the root in force. Refuses while
    /// signatures are missing and says whose.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn install_draft(&mut self, draft: Draft) -> Result<Installed, RegistryError> {
        if draft.current.is_none() {
            let Self::Folder(office) = self else {
                let why =
                    "this registry is running, so its instance is open already; draft a new root instead";
                return Err(RegistryError::Invalid(why.into()));
            };
            return open_instance(office, draft).await;
        }
        let root = self.standing().await?.root;
        if draft.current.as_ref() != Some(&root) {
            let due = draft.current.as_ref().map_or(0, |c| c.version);
            return Err(RegistryError::Invalid(format!(
                "the file goes on from root version {due}, version {} is in force; install the versions in their order, or draft it again",
                root.version
            )));
        }
        let applied = match draft.command()? {
            Command::InstallRoot { root, trust } => self.apply(InstallRoot { root, trust }).await,
            Command::InstallTrustServices { trust } => self.apply(InstallTrust { endorsed: trust }).await,
            _ => return Err(RegistryError::Invalid("the file asks for no signature".into())),
        };
        match applied {
            Ok(outcome) => Ok(Installed::Published(outcome)),
            Err(RegistryError::Restored { .. }) => Ok(Installed::StillClosed),
            Err(error) => Err(error),
        }
    }
}

/// The public halves of every Ed25519 key that the registry holds.
async fn held_keys(config: &RegistryConfig) -> Result<Vec<PublicKey>, RegistryError> {
    let (keys, file) = (Places(config.data.clone()).keys(), config.passphrase_file.clone());
    let open = move || {
        let held = FileKeyStore::open(&keys, &Passphrase::from_file(&file)?)?.keys();
        Ok(held.iter().filter_map(|key| PublicKey::from_slice(&key.public_key)).collect())
    };
    off_runtime(open).await
}

/// A key that the root in force does not name yet: one that an earlier draft made, or a new one.
async fn next_publishing_key(config: &RegistryConfig, root: &Root) -> Result<PublicKey, RegistryError> {
    let (keys, file) = (Places(config.data.clone()).keys(), config.passphrase_file.clone());
    let named = root.publishing_keys.clone();
    let make = move || {
        let passphrase = Passphrase::from_file(&file)?;
        let held = FileKeyStore::open(&keys, &passphrase)?.keys();
        let ours = |k: &&truc_keys::KeyInfo| k.label.as_str().starts_with(PUBLISHING);
        for key in held.iter().filter(ours) {
            let public = ed25519(key)?;
            if !named.contains(&public) {
                return Ok(public);
            }
        }
        let free = (2u32..).map(|n| format!("{PUBLISHING}-{n}"));
        let name = free.into_iter().find(|n| held.iter().all(|k| k.label.as_str() != n)).unwrap_or_default();
        ed25519(&FileKeyStore::generate(&keys, &passphrase, &label(&name)?, KeyKind::Ed25519)?)
    };
    off_runtime(make).await
}

/// Opens the instance of a folder that `truc registry init --root-public-key …` made, and writes its anchor last of all.
/// Interrupted, it goes on where it was.
async fn open_instance(office: &mut Office, draft: Draft) -> Result<Installed, RegistryError> {
    let (pending, anchor) = (office.places.pending_anchor(), office.places.anchor());
    let bytes = match std::fs::read(&pending) {
        Ok(bytes) => bytes,
        Err(_) if office.state().is_ok() => {
            let instance = office.state()?.instance().to_owned();
            return Err(GovernanceError::AlreadyInitialised(instance).into());
        }
        Err(e) => return Err(RegistryError::file(&pending, e)),
    };
    let expected = Anchor::parse(&bytes)?;
    let root = draft.new_root()?.ok_or_else(|| RegistryError::Invalid("it holds no root".into()))?;
    let same = (&expected.instance, expected.threshold, &expected.root_keys)
        == (&root.instance, root.threshold, &root.root_keys);
    if !same {
        let why =
            "the file names another instance, threshold or other root keys than this folder was made for";
        return Err(RegistryError::Invalid(why.into()));
    }
    if office.state().map(truc_governance::State::root).ok() != Some(&root) {
        office.execute(draft.command()?, "ceremony").await?;
    }
    office.publish().await?;
    std::fs::rename(&pending, &anchor).map_err(|e| RegistryError::file(&anchor, e))?;
    let folder = std::fs::File::open(&office.places.0).and_then(|f| f.sync_all());
    folder.map_err(|e| RegistryError::file(&office.places.0, e))?;
    Ok(Installed::Opened { anchor })
}

/// Runs what blocks off the runtime.
pub(crate) async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    spawn_blocking(work).await.map_err(|e| RegistryError::Stopped(e.to_string()))?
}
