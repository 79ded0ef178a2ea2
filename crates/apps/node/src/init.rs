//! `truc node init`: a new node's folder, keys, configuration file and certificate requests.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use truc_admin::Role;
use truc_directory::Anchor;
use truc_keys::{KeyKind, KeyLabel};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::{Digest, MemberId, NodeId, SubsystemId};
use truc_stores::DataFolder;

use crate::config::{AdminToken, NodeConfig};
use crate::enrolment::signing_request;
use crate::error::NodeError;

/// What a new node is to be.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Folder for everything: `node.toml`, passphrase, token, keys, data.
    pub folder: PathBuf,
    /// Which node.
    pub node: NodeId,
    /// The members it speaks for, with their subsystems. The node's owner is added when it is not among them.
    pub members: Vec<(MemberId, Vec<SubsystemId>)>,
    /// The registry's anchor, copied into the folder.
    pub anchor: Option<PathBuf>,
    /// The SHA-256 of that file, as the registry's operator told it by another way; another file is refused.
    pub anchor_sha256: Option<Digest>,
    /// Where other nodes connect; `None` leaves the default.
    pub peer_listen: Option<SocketAddr>,
    /// Where information systems call; `None` leaves the default.
    pub edge_listen: Option<SocketAddr>,
    /// Where the admin API answers; `None` leaves the default.
    pub admin_listen: Option<SocketAddr>,
}

/// What `init` made.
#[derive(Debug, Clone)]
pub struct Initialised {
    /// The configuration as written to `folder/node.toml`.
    pub config: NodeConfig,
    /// The public log key, 32 bytes, for the registration of the node.
    pub log_key: Vec<u8>,
    /// The SHA-256 of the anchor that was copied.
    pub anchor_sha256: Option<Digest>,
    /// The request (PKCS#10, PEM) for the node's auth certificate.
    pub auth_request: PathBuf,
    /// The requests for the members' sign certificates.
    pub sign_requests: Vec<(MemberId, PathBuf)>,
}

/// Makes a new node: passphrase, admin token, keys (auth P-256, log Ed25519, one sign key P-256 per member), certificate
/// requests under `requests/`, and last of all `node.toml`. Blocks on disk and key derivation.
///
/// # Errors
/// [`NodeError`]; nothing that was there is overwritten. Remove the folder to begin again after an error.
pub fn init(options: &InitOptions) -> Result<Initialised, NodeError> {
    let file = options.folder.join("node.toml");
    if file.exists() {
        return Err(NodeError::file(&file, "holds a node already; choose another folder"));
    }
    let config = configure(options, &file)?;
    let anchor = options.anchor.as_deref().map(|path| read_anchor(path, options)).transpose()?;
    if anchor.is_none() && options.anchor_sha256.is_some() {
        return Err(NodeError::file(&options.folder, "--anchor-sha256 goes with --anchor"));
    }
    make_folder(&options.folder)?;
    if let Some(bytes) = &anchor {
        create(&config.anchor_file, bytes)?;
    }
    let passphrase = Passphrase::from_file_or_create(&config.passphrase_file)?;
    for token in &config.admin.tokens {
        // Same form as a passphrase: 256 random bits in one line, mode 0600.
        Passphrase::from_file_or_create(&token.token_file)?;
    }
    let _folder = DataFolder::open(&config.data_folder)?;
    let (keys, requests) = (config.key_folder(), options.folder.join("requests"));
    for folder in [&requests, &options.folder.join("certs")] {
        make_folder(folder)?;
    }
    let make = |label: &KeyLabel, kind| FileKeyStore::generate(&keys, &passphrase, label, kind);
    let log_key = make(&config.log_key, KeyKind::Ed25519)?.public_key;
    make(&config.auth.key, KeyKind::EcP256)?;
    for member in &config.members {
        make(&member.sign_key, KeyKind::EcP256)?;
    }
    let store = FileKeyStore::open(&keys, &passphrase)?;
    let auth_request =
        request(&store, &config.auth.key, config.node.as_str(), &config.node.owner(), &requests)?;
    let signing = config.members.iter().map(|member| {
        let path = request(&store, &member.sign_key, member.id.as_str(), &member.id, &requests)?;
        Ok((member.id.clone(), path))
    });
    let sign_requests = signing.collect::<Result<Vec<_>, NodeError>>()?;
    create(&file, config.to_toml().as_bytes())?;
    let anchor_sha256 = anchor.map(|bytes| Digest::of(&bytes));
    Ok(Initialised { config, log_key, anchor_sha256, auth_request, sign_requests })
}

/// The anchor, when it is the expected one and of the node's instance.
fn read_anchor(path: &Path, options: &InitOptions) -> Result<Vec<u8>, NodeError> {
    let bytes = std::fs::read(path).map_err(|e| NodeError::file(path, e))?;
    let found = Digest::of(&bytes);
    if let Some(wanted) = options.anchor_sha256.filter(|wanted| *wanted != found) {
        return Err(NodeError::OtherAnchor { path: path.to_owned(), found, wanted });
    }
    let anchor = Anchor::parse(&bytes).map_err(|e| NodeError::file(path, e))?;
    if anchor.instance != options.node.instance() {
        let (its, ours) = (anchor.instance, options.node.instance());
        return Err(NodeError::file(path, format!("is of instance {its}, the node is of {ours}")));
    }
    Ok(bytes)
}

fn configure(options: &InitOptions, file: &Path) -> Result<NodeConfig, NodeError> {
    let mut members = options.members.clone();
    let owner = options.node.owner();
    if !members.iter().any(|(id, _)| *id == owner) {
        members.insert(0, (owner, vec![]));
    }
    let mut config = NodeConfig::draft(file, &options.node, &members)?;
    config.peer.listen = options.peer_listen.unwrap_or(config.peer.listen);
    config.edge.listen = options.edge_listen.or(config.edge.listen);
    config.admin.listen = options.admin_listen.unwrap_or(config.admin.listen);
    config.admin.tokens.push(AdminToken {
        name: "ops".to_owned(),
        role: Role::Administrator,
        member: None,
        token_file: options.folder.join("admin-token"),
    });
    // The rules between the values (loopback, distinct ports) hold for what was chosen too.
    Ok(NodeConfig::parse(&config.to_toml(), file)?)
}

/// Writes a certificate request with the names of profile truc-1.
fn request(
    store: &FileKeyStore,
    label: &KeyLabel,
    name: &str,
    member: &MemberId,
    folder: &Path,
) -> Result<PathBuf, NodeError> {
    let path = folder.join(format!("{label}.csr"));
    let (_, pem) = signing_request(store, label, name, member)?;
    create(&path, pem.as_bytes())?;
    Ok(path)
}

fn make_folder(folder: &Path) -> Result<(), NodeError> {
    std::fs::create_dir_all(folder).map_err(|e| NodeError::file(folder, e))
}

/// Writes a new file durably; never over an old one.
fn create(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|e| NodeError::file(path, e))
}

#[cfg(test)]
mod tests {
    use truc_keys::Signer as _;
    use truc_model::Timestamp;

    use super::*;

    #[test]
    fn a_new_node_lacks_only_anchor_and_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let commune: MemberId = "VN/GOV/H26.1".parse().unwrap();
        let options = InitOptions {
            folder: dir.path().join("node"),
            node: "VN/GOV/H26/ss1".parse().unwrap(),
            members: vec![(commune.clone(), vec![commune.subsystem("mot-cua").unwrap()])],
            anchor: None,
            anchor_sha256: None,
            peer_listen: Some(([127, 0, 0, 1], 0).into()),
            edge_listen: None,
            admin_listen: None,
        };
        let made = init(&options).unwrap();
        let read = NodeConfig::load(&options.folder.join("node.toml")).unwrap();
        assert_eq!(read, made.config);
        assert_eq!(read.members.len(), 2, "the owner is hosted too");
        let error = read.check(Timestamp::from_millis(0)).unwrap_err();
        assert_eq!(error.mistakes.len(), 4, "an anchor and three certificates: {error}");
        let passphrase = Passphrase::from_file(&read.passphrase_file).unwrap();
        let store = FileKeyStore::open(&read.key_folder(), &passphrase).unwrap();
        assert_eq!(store.keys().len(), 4);
        assert_eq!(made.log_key.len(), 32);
        let request = std::fs::read_to_string(&made.sign_requests[1].1).unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        assert!(init(&options).is_err(), "nothing is overwritten");
    }

    #[test]
    fn what_cannot_be_configured_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions {
            folder: dir.path().join("node"),
            node: "VN/GOV/H26/ss1".parse().unwrap(),
            members: vec![],
            anchor: None,
            anchor_sha256: None,
            peer_listen: None,
            edge_listen: Some(([0, 0, 0, 0], 8080).into()),
            admin_listen: None,
        };
        assert!(matches!(init(&options), Err(NodeError::Config(_))));
        assert!(!options.folder.exists());
    }
}
