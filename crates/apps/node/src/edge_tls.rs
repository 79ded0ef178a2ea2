//! How information systems are connected: the edge's own certificate and those it pins, as their files say now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use truc_edge::{ClientConnections, Connection, EdgeIdentity};
use truc_model::{Clock, Digest, SubsystemId, Timestamp};
use truc_trust::{Certificate, CertificateError};
use zeroize::Zeroizing;

use crate::config::{ClientConnection, HttpsSettings, NodeConfig, exposed};
use crate::error::NodeError;

/// How often the files are looked at; SIGHUP has them looked at now.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The certificates in PEM of a file, DER; `None` when it holds none or something broken.
pub(crate) fn pem_certificates(text: &[u8]) -> Option<Vec<Bytes>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.ok().filter(|all| !all.is_empty())?;
    Some(all.iter().map(|der| Bytes::copy_from_slice(der)).collect())
}

/// The edge's certificate and key, PEM.
struct Pair {
    certificates: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Pair {
    /// Blocks.
    fn read(https: &HttpsSettings) -> Result<Self, NodeError> {
        if exposed(&https.key_file) {
            let told = "it can be read by group or others: chmod 600";
            return Err(NodeError::file(&https.key_file, told));
        }
        let certificates = read(&https.certificate_file)?;
        pem(&https.certificate_file, &certificates)?;
        Ok(Self { certificates, key: Zeroizing::new(read(&https.key_file)?) })
    }

    fn digest(&self) -> Digest {
        Digest::of(&Zeroizing::new([self.certificates.as_slice(), self.key.as_slice()].concat()))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, NodeError> {
    std::fs::read(file).map_err(|e| NodeError::file(file, e))
}

/// The certificates in a file's text: at least one, and none of `certs-example/`, whose keys everybody has.
fn pem(file: &Path, text: &[u8]) -> Result<Vec<Bytes>, NodeError> {
    let none = || NodeError::file(file, "it does not hold certificates in PEM");
    let found = pem_certificates(text).ok_or_else(none)?;
    if found.iter().any(|der| Certificate::is_example(der)) {
        return Err(NodeError::file(file, CertificateError::Example));
    }
    Ok(found)
}

/// The certificates in all these files. Blocks.
fn read_pinned(files: &[PathBuf]) -> Result<Vec<Bytes>, NodeError> {
    let mut pinned = Vec::new();
    for file in files {
        pinned.extend(pem(file, &read(file)?)?);
    }
    Ok(pinned)
}

/// What a client's files say, or which of them cannot be used.
type Client = (SubsystemId, Result<Connection, NodeError>);

/// Blocks.
fn read_clients(config: &NodeConfig) -> Vec<Client> {
    let connection = |stated: &ClientConnection| match stated {
        ClientConnection::Http => Ok(Connection::Http),
        ClientConnection::Https => Ok(Connection::Https),
        ClientConnection::HttpsClientCertificate(files) => read_pinned(files).map(Connection::Certificate),
    };
    config.clients.iter().map(|client| (client.subsystem.clone(), connection(&client.connection))).collect()
}

/// Whose files cannot be used has no certificate that counts: what was taken off a list must not go on counting because
/// something else is wrong with its file.
fn without_broken((subsystem, connection): Client) -> (SubsystemId, Connection) {
    let connection = connection.unwrap_or_else(|error| {
        tracing::error!(%subsystem, %error, "nobody may call for this subsystem until its certificate file is mended");
        Connection::Certificate(Vec::new())
    });
    (subsystem, connection)
}

/// Their period of validity is not enforced, as in X-Road; the operator hears of it.
fn tell_validity(config: &NodeConfig, now: Timestamp) {
    for client in &config.clients {
        let ClientConnection::HttpsClientCertificate(files) = &client.connection else { continue };
        for file in files {
            let certificates = std::fs::read(file).ok().and_then(|text| pem_certificates(&text));
            for certificate in
                certificates.into_iter().flatten().filter_map(|der| Certificate::from_der(&der).ok())
            {
                if !certificate.valid_at(now) {
                    tracing::warn!(subsystem = %client.subsystem, file = %file.display(), from = %certificate.not_before(),
                        to = %certificate.not_after(), "a pinned certificate is outside its period of validity; it still counts: take it off the list if it must not");
                }
            }
        }
    }
}

/// Keeps what the edge uses in step with the files.
pub(crate) struct EdgeTls {
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    identity: Option<Arc<EdgeIdentity>>,
    connections: Arc<ArcSwap<ClientConnections>>,
    /// Of the pair in use.
    pair: Option<Digest>,
}

impl EdgeTls {
    /// Reads the files that the configuration names.
    pub(crate) async fn open(config: &NodeConfig, clock: &Arc<dyn Clock>) -> Result<Self, NodeError> {
        let (pair, clients) = Self::read(config, clock.now()).await?;
        let pair = pair?;
        let clients: Result<Vec<_>, _> =
            clients.into_iter().map(|(subsystem, found)| found.map(|found| (subsystem, found))).collect();
        let connections = ClientConnections::new(clients?, config.edge.allow_plain_http_from_network);
        let identity = match (&pair, &config.edge.https) {
            (Some(pair), Some(https)) => {
                let made = EdgeIdentity::from_pem(&pair.certificates, &pair.key);
                Some(Arc::new(made.map_err(|e| NodeError::file(&https.key_file, e))?))
            }
            _ => None,
        };
        Ok(Self {
            config: config.clone(),
            clock: Arc::clone(clock),
            identity,
            connections: Arc::new(ArcSwap::from_pointee(connections)),
            pair: pair.map(|pair| pair.digest()),
        })
    }

    pub(crate) fn identity(&self) -> Option<Arc<EdgeIdentity>> {
        self.identity.clone()
    }

    pub(crate) fn connections(&self) -> Arc<ArcSwap<ClientConnections>> {
        Arc::clone(&self.connections)
    }

    /// The pair and each client, each for itself: what is wrong with one file is no reason to overlook another.
    async fn read(
        config: &NodeConfig,
        now: Timestamp,
    ) -> Result<(Result<Option<Pair>, NodeError>, Vec<Client>), NodeError> {
        let config = config.clone();
        let reading = spawn_blocking(move || {
            let pair = config.edge.https.as_ref().map(Pair::read).transpose();
            tell_validity(&config, now);
            (pair, read_clients(&config))
        });
        Ok(reading.await?)
    }

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
                () = asked => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let (pair, clients) = match Self::read(&self.config, self.clock.now()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the edge's certificate files could not be looked at");
                return;
            }
        };
        if let Err(error) = pair.and_then(|pair| self.use_pair(pair)) {
            tracing::warn!(%error, "the edge's certificate and key are not used as they are; the old ones stay");
        }
        let clients = clients.into_iter().map(without_broken);
        let connections = ClientConnections::new(clients, self.config.edge.allow_plain_http_from_network);
        if **self.connections.load() != connections {
            self.connections.store(Arc::new(connections));
            tracing::info!("the certificates of information systems are replaced");
        }
    }

    fn use_pair(&mut self, pair: Option<Pair>) -> Result<(), NodeError> {
        if let (Some(pair), Some(identity), Some(https)) = (&pair, &self.identity, &self.config.edge.https)
            && self.pair != Some(pair.digest())
        {
            let replaced = identity.replace(&pair.certificates, &pair.key);
            replaced.map_err(|e| NodeError::file(&https.key_file, e))?;
            self.pair = Some(pair.digest());
            tracing::info!("the edge's TLS certificate is replaced");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use truc_model::ManualClock;

    use super::*;

    /// A folder with a self-signed certificate of 2001 and its key, used on both sides, and the configuration that says so.
    fn folder() -> (tempfile::TempDir, NodeConfig, Bytes) {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2001, 12, 31));
        let certificate = params.self_signed(&key).unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("edge.pem"), certificate.pem()).unwrap();
        std::fs::write(at("client.pem"), certificate.pem()).unwrap();
        std::fs::write(at("edge.key"), key.serialize_pem()).unwrap();
        std::fs::set_permissions(at("edge.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = "config-version = 1\nnode = 'VN/GOV/H26/ss1'\n[[member]]\nid = 'VN/GOV/H26'\nsubsystems = ['a']\n\
            [edge]\nhttps-listen = '127.0.0.1:0'\ncertificate-file = 'edge.pem'\nkey-file = 'edge.key'\n\
            [[client]]\nsubsystem = 'VN/GOV/H26/a'\nconnection = 'https-client-certificate'\ncertificate-files = ['client.pem']\n";
        let config = NodeConfig::parse(text, &at("node.toml")).unwrap();
        let der = Bytes::copy_from_slice(certificate.der());
        (folder, config, der)
    }

    fn clock() -> Arc<dyn Clock> {
        Arc::new(ManualClock::new("2026-11-21T03:04:05.678Z".parse().unwrap()))
    }

    fn pinned(all: Vec<Bytes>) -> ClientConnections {
        ClientConnections::new([("VN/GOV/H26/a".parse().unwrap(), Connection::Certificate(all))], false)
    }

    #[tokio::test]
    async fn certificates_outside_their_validity_still_count() {
        let (_folder, config, der) = folder();
        let edge = EdgeTls::open(&config, &clock()).await.unwrap();
        assert_eq!(**edge.connections().load(), pinned(vec![der]));
        assert!(edge.identity().is_some());
    }

    #[tokio::test]
    async fn pair_and_clients_are_taken_each_for_itself() {
        let (folder, config, _) = folder();
        let at = |name: &str| folder.path().join(name);
        let mut edge = EdgeTls::open(&config, &clock()).await.unwrap();
        let (first, connections) = (edge.pair, edge.connections());
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let others = pinned(vec![Bytes::copy_from_slice(other.cert.der())]);
        // The edge's certificate is there and its key is not yet: the pair waits, the client does not.
        std::fs::write(at("edge.pem"), other.cert.pem()).unwrap();
        std::fs::write(at("client.pem"), other.cert.pem()).unwrap();
        edge.look().await;
        assert_eq!((edge.pair, &**connections.load()), (first, &others));
        std::fs::write(at("edge.key"), other.signing_key.serialize_pem()).unwrap();
        edge.look().await;
        assert_ne!(edge.pair, first);
        // However a client's file goes wrong, nobody has its certificate any more, and once it is mended somebody has.
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../certs-example/a-auth.pem");
        let example = std::fs::read_to_string(example).unwrap();
        let broken = format!("{}-----BEGIN CERTIFICATE-----\n!\n", other.cert.pem());
        for text in ["", "no pem", &broken, &example] {
            std::fs::write(at("client.pem"), text).unwrap();
            edge.look().await;
            assert_eq!(**connections.load(), pinned(vec![]), "{text}");
            std::fs::write(at("client.pem"), other.cert.pem()).unwrap();
            edge.look().await;
            assert_eq!(**connections.load(), others);
        }
        std::fs::remove_file(at("client.pem")).unwrap();
        edge.look().await;
        assert_eq!(**connections.load(), pinned(vec![]));
    }

    #[tokio::test]
    async fn the_examples_are_neither_the_edges_own_nor_a_clients() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../certs-example/a-auth.pem");
        for name in ["edge.pem", "client.pem"] {
            let (folder, config, _) = folder();
            std::fs::copy(example, folder.path().join(name)).unwrap();
            let refused = EdgeTls::open(&config, &clock()).await.err().unwrap().to_string();
            assert!(refused.contains("certs-example") && refused.contains(name), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_key_that_others_can_read_is_not_used() {
        let (folder, config, _) = folder();
        let key = folder.path().join("edge.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = EdgeTls::open(&config, &clock()).await.err().unwrap().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}
