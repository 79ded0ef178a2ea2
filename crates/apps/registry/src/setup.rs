//! `truc registry init`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::spawn_blocking;
use truc_directory::{Anchor, PublicKey, RegistryAddress, TrustServices, V1, check_address};
use truc_governance::{Command, Published, draft_first_root, draft_trust_services, endorse, first_root};
use truc_keys::{KeyInfo, KeyKind, Signer};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::{Clock, Fingerprint, MemberId, Timestamp};

use crate::ceremony::off_runtime;
use crate::error::RegistryError;
use crate::files::{self, Places, label};
use crate::office::{Office, PUBLISHING};

/// Label of the TLS key.
pub(crate) const TLS: &str = "tls";
/// Label of the root key in `root/`.
pub(crate) const ROOT: &str = "root";

/// What a new registry is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitOptions {
    /// A new or empty folder.
    pub folder: PathBuf,
    /// The instance code, e.g. `VN`.
    pub instance: String,
    /// Where it listens for nodes.
    pub listen: SocketAddr,
    /// What nodes call it: `host:port` for the anchor.
    pub public_address: String,
    /// Where its admin API listens.
    pub admin_listen: SocketAddr,
}

/// What `init` made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The configuration file to run it with.
    pub config: PathBuf,
    /// The anchor, to be handed to every node by a way that can be trusted.
    pub anchor: PathBuf,
    /// The root key's folder: to be moved offline now.
    pub root: PathBuf,
    /// The first directory.
    pub published: Published,
}

/// Makes a registry: folder, keys (a pilot's root is 1-of-1), TLS certificate, anchor, configuration, token, and the
/// first directory, which is empty.
///
/// # Errors
/// [`RegistryError`]. What was begun is left as it is; remove the folder to begin again.
pub async fn init(options: InitOptions, clock: Arc<dyn Clock>) -> Result<Initialised, RegistryError> {
    MemberId::new(&options.instance, "GOV", "X").map_err(|e| RegistryError::Invalid(e.to_string()))?;
    check_address(&options.public_address).map_err(RegistryError::Invalid)?;
    let now = clock.now();
    let made = options.clone();
    let prepared = spawn_blocking(move || prepare(&made, now)).await;
    let prepared = prepared.map_err(|e| RegistryError::Stopped(e.to_string()))??;

    let root_label = label(ROOT)?;
    let with: [(&dyn Signer, _); 1] = [(&prepared.root_keys, root_label)];
    let keys = (vec![ed25519(&prepared.root)?], vec![ed25519(&prepared.publishing)?]);
    let root = first_root(&options.instance, 1, keys.0, keys.1, now);
    let root = endorse(root.to_bytes(), &with).await?;
    let first = TrustServices { version: 1, ..TrustServices::empty(&options.instance) };
    let trust = endorse(first.to_bytes(), &with).await?;

    let mut office = Office::over(prepared.opened, clock).await?;
    office.execute(Command::Initialise { root, trust }, "init").await?;
    let published = office.publish().await?;
    let places = office.places.clone();
    // Last of all: a folder with an anchor is a whole registry.
    write(&places.anchor(), &prepared.anchor.to_json())?;
    Ok(Initialised { config: places.config(), anchor: places.anchor(), root: places.root(), published })
}

/// What `init` made for root keys that are elsewhere.
#[derive(Debug, Clone)]
pub struct AwaitingRoot {
    /// The configuration file to run it with, once it is open.
    pub config: PathBuf,
    /// What the root keys are asked to sign; installing it opens the instance and writes the anchor.
    pub draft: PathBuf,
}

/// Makes a registry whose root keys it never sees: as [`init`], but it holds no instance until the draft of its first root was
/// signed by `threshold` of `root_keys` and installed ([`crate::Door::install_draft`]).
///
/// # Errors
/// [`RegistryError`]. What was begun is left as it is; remove the folder to begin again.
pub async fn init_offline(
    options: InitOptions,
    threshold: u32,
    root_keys: Vec<PublicKey>,
    clock: Arc<dyn Clock>,
) -> Result<AwaitingRoot, RegistryError> {
    MemberId::new(&options.instance, "GOV", "X").map_err(|e| RegistryError::Invalid(e.to_string()))?;
    check_address(&options.public_address).map_err(RegistryError::Invalid)?;
    let now = clock.now();
    off_runtime(move || {
        let anchor = |tls| anchor(&options, threshold, root_keys.clone(), tls);
        // Before anything is made: a threshold that cannot be met, or a key named twice.
        Anchor::parse(&anchor(Fingerprint([0; 32])).to_json())?;
        let made = lay_out(&options, now)?;
        let places = &made.opened.places;
        let publishing = vec![ed25519(&made.publishing)?];
        let root = first_root(&options.instance, threshold, root_keys.clone(), publishing, now);
        let draft = options.folder.join("root-1.json");
        write(&draft, &draft_first_root(&root).to_json()?)?;
        write(&places.pending_anchor(), &anchor(made.tls).to_json())?;
        Ok(AwaitingRoot { config: places.config(), draft })
    })
    .await
}

fn anchor(options: &InitOptions, threshold: u32, root_keys: Vec<PublicKey>, tls: Fingerprint) -> Anchor {
    let registry = vec![RegistryAddress { address: options.public_address.clone(), tls_certificate: tls }];
    Anchor { v: V1, instance: options.instance.clone(), epoch: None, threshold, root_keys, registry }
}

struct Prepared {
    opened: files::Opened,
    root_keys: FileKeyStore,
    root: KeyInfo,
    publishing: KeyInfo,
    anchor: Anchor,
}

/// A pilot's registry: its one root key beside it.
fn prepare(options: &InitOptions, now: Timestamp) -> Result<Prepared, RegistryError> {
    let LaidOut { opened, publishing, tls } = lay_out(options, now)?;
    let folder = opened.places.root();
    std::fs::create_dir_all(&folder).map_err(|e| RegistryError::file(&folder, e))?;
    let passphrase = Passphrase::from_file_or_create(&folder.join("passphrase"))?;
    let root = FileKeyStore::generate(&folder, &passphrase, &label(ROOT)?, KeyKind::Ed25519)?;
    let root_keys = FileKeyStore::open(&folder, &passphrase)?;
    let anchor = anchor(options, 1, vec![ed25519(&root)?], tls);
    Ok(Prepared { opened, root_keys, root, publishing, anchor })
}

/// A registry's folder without an instance.
struct LaidOut {
    opened: files::Opened,
    publishing: KeyInfo,
    tls: Fingerprint,
}

fn lay_out(options: &InitOptions, now: Timestamp) -> Result<LaidOut, RegistryError> {
    let (places, folder) = files::create(&options.folder)?;
    let passphrase = Passphrase::from_file_or_create(&options.folder.join("passphrase"))?;
    // Same form as a passphrase: 256 random bits in one line, mode 0600.
    Passphrase::from_file_or_create(&options.folder.join("admin-token"))?;
    let publishing =
        FileKeyStore::generate(&places.keys(), &passphrase, &label(PUBLISHING)?, KeyKind::Ed25519)?;
    FileKeyStore::generate(&places.keys(), &passphrase, &label(TLS)?, KeyKind::EcP256)?;
    write(&places.config(), toml(options).as_bytes())?;
    drop(folder);
    let opened = files::open(&options.folder, &passphrase)?;
    let certificate = tls_certificate(&opened, &options.instance, now)?;
    write(&places.tls_certificate(), &certificate)?;
    Ok(LaidOut { opened, publishing, tls: Fingerprint::of(&certificate) })
}

pub(crate) fn ed25519(key: &KeyInfo) -> Result<PublicKey, RegistryError> {
    let wrong = || RegistryError::Invalid(format!("key {} is no Ed25519 key", key.label));
    PublicKey::from_slice(&key.public_key).ok_or_else(wrong)
}

/// Self-signed, since nodes pin it; its validity is stated but judged by nobody.
fn tls_certificate(opened: &files::Opened, instance: &str, now: Timestamp) -> Result<Vec<u8>, RegistryError> {
    let failed = |e: rcgen::Error| RegistryError::Invalid(format!("the TLS certificate: {e}"));
    let missing = || RegistryError::Invalid("the TLS key is not in the key store".into());
    let pkcs8 = opened.keys.pkcs8(&label(TLS)?).ok_or_else(missing)?;
    let pair = rcgen::KeyPair::try_from(pkcs8.as_slice()).map_err(failed)?;
    let mut params = rcgen::CertificateParams::new(vec!["registry.truc".to_owned()]).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("Truc registry {instance}"));
    let year: i32 = now.to_string().get(..4).and_then(|y| y.parse().ok()).unwrap_or(2026);
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + 20, 1, 1);
    Ok(params.self_signed(&pair).map_err(failed)?.der().to_vec())
}

fn toml(options: &InitOptions) -> String {
    format!(
        "# Registry of instance {}; every setting is explained in deploy/registry.toml.\n\
         config-version = 1\ndata = \".\"\nlisten = \"{}\"\n\n[admin]\nlisten = \"{}\"\n",
        options.instance, options.listen, options.admin_listen
    )
}

/// Writes a new file durably.
fn write(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    use std::io::Write as _;
    let written = std::fs::File::create(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all());
    written.map_err(|e| RegistryError::file(path, e))
}

/// The root key's signature over a changed list of trust services, for a pilot whose root folder is at hand.
pub(crate) async fn endorse_change(
    root: &Path,
    current: &TrustServices,
    change: truc_governance::TrustChange,
) -> Result<truc_directory::Endorsed, RegistryError> {
    let next = draft_trust_services(current, change)?;
    let root = root.to_owned();
    let open = move || FileKeyStore::open(&root, &Passphrase::from_file(&root.join("passphrase"))?);
    let keys = spawn_blocking(open).await.map_err(|e| RegistryError::Stopped(e.to_string()))??;
    Ok(endorse(next.to_bytes(), &[(&keys as &dyn Signer, label(ROOT)?)]).await?)
}

/// The certificate and private key of the gRPC door, DER.
pub(crate) fn tls_key(places: &Places, keys: &FileKeyStore) -> Result<(Vec<u8>, Vec<u8>), RegistryError> {
    let path = places.tls_certificate();
    let certificate = std::fs::read(&path).map_err(|e| RegistryError::file(&path, e))?;
    let missing =
        || RegistryError::Invalid("the TLS key is not in the key store; restore it from a backup".into());
    let key = keys.pkcs8(&label(TLS)?).ok_or_else(missing)?;
    Ok((certificate, key.to_vec()))
}
