//! The forger: somebody with a node's keys, or with none that count, who speaks to the ministry's node directly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use truc_directory::{Anchor, Directory, NodeEntry};
use truc_directory_sync::DirectoryFolder;
use truc_exchange::ports::{CurrentDirectory, PeerLink as _, Turn};
use truc_exchange::{Seal, Sealing};
use truc_keys::{KeyKind, KeyLabel};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_message::{
    Body, BodyInfo, DirectoryRef, Header, Kind, Leaf, NoSpool, Parts, Sealed, Signed, VERSION,
};
use truc_model::{Clock as _, Digest, Fault, MessageId, NodeId, Side, SystemClock};
use truc_peer::{Connections, Identity, PeerLinks};
use truc_pki::{Pki, PkiConfig, subject_public_key_info};
use truc_trust::{Certificate, OwnStatuses};

use crate::bus::Layout;

const DEADLINE: Duration = Duration::from_secs(20);

/// Speaks the peer protocol without being a node.
pub(crate) struct Forger {
    links: PeerLinks,
    sealing: Sealing,
    directory: Arc<Directory>,
    from: NodeId,
}

struct Known(Arc<Directory>);

impl CurrentDirectory for Known {
    fn current(&self) -> Option<Arc<Directory>> {
        Some(Arc::clone(&self.0))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Forger {
    /// Holds every key of Hà Nội's node.
    pub(crate) async fn with_stolen_node(layout: &Layout) -> Result<Self, String> {
        let layout = layout.clone();
        spawn_blocking(move || {
            let plan = layout.node("H26").map_err(text)?;
            let folder = layout.node_folder(plan);
            let store = open_keys(&layout)?;
            let pem = std::fs::read(folder.join("certs/auth.pem")).map_err(text)?;
            let pkcs8 = store.pkcs8(&KeyLabel::new("auth").map_err(text)?).ok_or("no auth key")?;
            let auth = Certificate::from_pem(&pem).map_err(text)?;
            Self::build(&layout, store, auth, &pkcs8, plan.id.clone())
        })
        .await
        .map_err(text)?
    }

    /// Holds a certificate that an approved CA issued, for a node that the directory does not know.
    pub(crate) async fn unregistered(layout: &Layout) -> Result<Self, String> {
        let config = PkiConfig::load(&layout.pki_folder().join("pki.toml")).map_err(text)?;
        let folder = layout.dir.join("stranger");
        let stranger = folder.clone();
        let (passphrase, store, key) = spawn_blocking(move || {
            std::fs::remove_dir_all(&stranger).ok();
            std::fs::create_dir_all(&stranger).map_err(text)?;
            let own = Passphrase::from_file_or_create(&stranger.join("passphrase")).map_err(text)?;
            let label = KeyLabel::new("auth").map_err(text)?;
            let key = FileKeyStore::generate(&stranger.join("keys"), &own, &label, KeyKind::EcP256)
                .map_err(text)?;
            let store = FileKeyStore::open(&stranger.join("keys"), &own).map_err(text)?;
            let pki = Passphrase::from_file(&config.passphrase_file).map_err(text)?;
            Ok::<_, String>(((pki, config), store, key))
        })
        .await
        .map_err(text)??;
        let pki = Pki::open(&passphrase.1, &passphrase.0, Arc::new(SystemClock)).await.map_err(text)?;
        let node: NodeId = "VN/GOV/H99/ss1".parse().map_err(text)?;
        let spki = subject_public_key_info(&key).map_err(text)?;
        let day = Duration::from_secs(86_400);
        let auth = pki.issue_auth_certificate(&spki, &node, "Không đăng ký", day).await.map_err(text)?;
        let pkcs8 = store.pkcs8(&key.label).ok_or("no auth key")?;
        let layout = layout.clone();
        // It signs with Hà Nội's stolen seal, so that nothing but its own certificate is wrong.
        spawn_blocking(move || {
            let h26 = layout.node("H26").map_err(text)?.id.clone();
            Self::build(&layout, open_keys(&layout)?, auth, &pkcs8, h26)
        })
        .await
        .map_err(text)?
    }

    fn build(
        layout: &Layout,
        store: FileKeyStore,
        auth: Certificate,
        pkcs8: &[u8],
        from: NodeId,
    ) -> Result<Self, String> {
        let plan = layout.node("H26").map_err(text)?;
        let folder = layout.node_folder(plan);
        let anchor = Anchor::parse(&std::fs::read(layout.anchor()).map_err(text)?).map_err(text)?;
        let cache = DirectoryFolder::open(&folder.join("data/directory")).map_err(text)?;
        let directory = Arc::new(cache.load(&anchor).map_err(text)?.ok_or("the node has no directory")?);
        let member = plan.member();
        let label = truc_node::config::default_sign_key(&member);
        let pem = std::fs::read(folder.join(format!("certs/{label}.pem"))).map_err(text)?;
        let certificate = Certificate::from_pem(&pem).map_err(text)?;
        let algorithm = certificate.key_kind().default_algorithm();
        let key = KeyLabel::new(&label).map_err(text)?;
        let seal = Seal { key, certificate, intermediates: Vec::new(), algorithm };
        let chain = [Bytes::copy_from_slice(auth.der())];
        let identity = Arc::new(Identity::new(&chain, pkcs8).map_err(text)?);
        let seals = [(member, seal)].into();
        let sealing = Sealing::new(Arc::new(store), seals, Arc::new(OwnStatuses::default()));
        let known = Arc::new(Known(Arc::clone(&directory)));
        let links = PeerLinks::new(
            &identity,
            known,
            Arc::new(SystemClock),
            Connections::default(),
            Arc::new(NoSpool),
        )
        .map_err(text)?;
        Ok(Self { links, sealing, directory, from })
    }

    fn ministry(&self) -> Result<&NodeEntry, String> {
        let id: NodeId = "VN/GOV/G01/ss1".parse().map_err(text)?;
        self.directory.node(&id).ok_or_else(|| "the ministry's node is not in the directory".into())
    }

    /// A question that Hà Nội's seal has signed.
    async fn signed(&self, id: Option<MessageId>, question: String) -> Result<Signed, String> {
        let now = SystemClock.now();
        let mut random = [0; 10];
        let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
        filled.map_err(|_| "no random numbers")?;
        let body = Body::new(question.into());
        let header = Header {
            v: VERSION,
            kind: Kind::Request,
            id: id.unwrap_or_else(|| MessageId::new(now, random)),
            instance: "VN".to_owned(),
            client: "VN/GOV/H26/mot-cua-so-1".parse().map_err(text)?,
            service: "VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan".parse().map_err(text)?,
            from: self.from.clone(),
            to: self.ministry()?.id.clone(),
            directory: DirectoryRef { epoch: self.directory.epoch(), version: self.directory.version() },
            sent: now,
            expires: now.plus(Duration::from_secs(60)),
            method: Some("POST".to_owned()),
            path: Some("/cong-dan/tra-cuu".to_owned()),
            query: None,
            headers: Vec::new(),
            user_id: Some("cb-0123".to_owned()),
            agency: None,
            purpose: Some("1.004194".to_owned()),
            legal_basis: None,
            consent: None,
            represented_party: None,
            issue: None,
            client_message_id: None,
            idempotency_key: None,
            trace: None,
            body: Some(BodyInfo {
                media_type: Some("application/json".to_owned()),
                length: Some(body.len()),
            }),
            status: None,
            in_reply_to: None,
            leaf: None,
        };
        let member = header.client.member();
        let sealed = Sealed::seal(header, body, Vec::new()).map_err(text)?;
        self.sealing.sign(&member, sealed, Side::ClientProxy).await.map_err(text)
    }

    /// Says one message and hears what comes back first.
    async fn say(&self, parts: Parts) -> Result<Turn, String> {
        let exchange = async {
            let mut conversation = self.links.open(self.ministry()?).await.map_err(text)?;
            conversation.say(Turn::Message(Box::new(parts), SystemClock.now())).await.map_err(text)?;
            let recorded = Turn::Recorded(Leaf { index: 0, hash: Digest([0; 32]) });
            conversation.say(recorded).await.map_err(text)?;
            conversation.hear().await.map_err(text)
        };
        timeout(DEADLINE, exchange).await.map_err(|_| "the ministry's node does not answer".to_owned())?
    }

    async fn refused(&self, parts: Parts) -> Result<Fault, String> {
        match self.say(parts).await? {
            Turn::Fault(fault) => Ok(fault),
            other => Err(format!("the forgery was not rejected: {other:?}")),
        }
    }

    /// Signs a question, then asks another one under that signature.
    pub(crate) async fn tampered(&self, question: String) -> Result<Fault, String> {
        let mut parts = parts_of(&self.signed(None, question.clone()).await?);
        let changed = question.replace("099190000025", "099085000011");
        if changed == question {
            return Err("nothing was changed".into());
        }
        parts.body = Body::new(changed.into());
        self.refused(parts).await
    }

    /// Signs and asks a question in good form.
    pub(crate) async fn plain(&self, question: String) -> Result<Fault, String> {
        let parts = parts_of(&self.signed(None, question).await?);
        self.refused(parts).await
    }

    /// Asks another question under the id of an old message.
    pub(crate) async fn same_id(&self, id: MessageId, question: String) -> Result<Fault, String> {
        let parts = parts_of(&self.signed(Some(id), question).await?);
        self.refused(parts).await
    }

    /// Sends an old message again, bit for bit: what comes back is the recorded answer.
    pub(crate) async fn same_again(&self, captured: Parts) -> Result<String, String> {
        match self.say(captured).await? {
            Turn::Message(parts, _) => {
                let header = Header::parse(&parts.header).map_err(text)?;
                Ok(format!("câu trả lời đã ghi / the recorded answer, {}", header.id))
            }
            other => Err(format!("a repeated message gets the recorded answer, not {other:?}")),
        }
    }
}

fn open_keys(layout: &Layout) -> Result<FileKeyStore, String> {
    let folder = layout.node_folder(layout.node("H26").map_err(text)?);
    let passphrase = Passphrase::from_file(&folder.join("passphrase")).map_err(text)?;
    FileKeyStore::open(&folder.join("data/keys"), &passphrase).map_err(text)
}

fn parts_of(message: &Signed) -> Parts {
    Parts {
        header: message.sealed.header_bytes().clone(),
        body: message.sealed.body().clone(),
        secrets: Vec::new(),
        signature: message.signature.clone(),
        statuses: Vec::new(),
    }
}
