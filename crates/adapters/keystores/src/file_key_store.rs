//! The key store of files, and the thread it signs on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;
use truc_keys::{KeyInfo, KeyKind, KeyLabel, SignatureAlgorithm, Signer, SignerError};
use zeroize::Zeroizing;

use crate::error::KeyStoreError;
use crate::key_pair::{KeyPair, SignFailure};
use crate::passphrase::Passphrase;
use crate::unlock::{Unlock, format_error};

/// Signatures that may wait; one takes 20 µs (P-256) to 2 ms (RSA 4096), so a full queue is at most seconds behind.
const QUEUE: usize = 1024;

struct Key {
    info: KeyInfo,
    pair: KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

/// Keys join; none ever leaves or changes while the store is open.
type Keys = RwLock<BTreeMap<KeyLabel, Arc<Key>>>;

fn named(keys: &Keys, label: &KeyLabel) -> Option<Arc<Key>> {
    keys.read().unwrap_or_else(PoisonError::into_inner).get(label).cloned()
}

struct Job {
    label: KeyLabel,
    algorithm: SignatureAlgorithm,
    message: Bytes,
    reply: oneshot::Sender<Result<Vec<u8>, SignerError>>,
}

/// Keys from encrypted files, held in memory while the store is open.
///
/// Opening reads and decrypts every `*.key` file (one Argon2id derivation, about 25 ms, per store); keys added later are seen
/// by the next open, or by [`FileKeyStore::look_again`]. Signing happens on one thread, which is joined when the store is dropped.
pub struct FileKeyStore {
    dir: PathBuf,
    keys: Arc<Keys>,
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl FileKeyStore {
    /// Opens the store in the folder `dir`. Blocks on disk and key derivation.
    ///
    /// # Errors
    /// The folder is missing, a file is not of this format, or the passphrase does not open it; one bad file refuses the store.
    pub fn open(dir: &Path, passphrase: &Passphrase) -> Result<Self, KeyStoreError> {
        let unlock = Unlock::new(dir, passphrase);
        let mut keys = BTreeMap::new();
        for path in crate::files::list(dir, "key")? {
            if let Some(key) = load(&unlock, &path)? {
                keys.insert(key.info.label.clone(), Arc::new(key));
            }
        }
        Self::start(dir, RwLock::new(keys), QUEUE).map_err(|e| KeyStoreError::io(dir, e))
    }

    /// Takes in the keys that were made since the store was opened, and names them; those in use go on. Blocks on disk
    /// and, when there is a new one, on key derivation.
    ///
    /// # Errors
    /// As [`FileKeyStore::open`], for the new files; the store goes on with what it has.
    pub fn look_again(&self, passphrase: &Passphrase) -> Result<Vec<KeyLabel>, KeyStoreError> {
        let unlock = Unlock::new(&self.dir, passphrase);
        let known = |path: &Path| {
            let label =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| KeyLabel::new(stem).ok());
            label.is_some_and(|label| named(&self.keys, &label).is_some())
        };
        let mut fresh = vec![];
        for path in crate::files::list(&self.dir, "key")?.iter().filter(|path| !known(path)) {
            fresh.extend(load(&unlock, path)?);
        }
        let labels = fresh.iter().map(|key| key.info.label.clone()).collect();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for key in fresh {
            keys.entry(key.info.label.clone()).or_insert_with(|| Arc::new(key));
        }
        Ok(labels)
    }

    /// Makes a new key and writes it durably to `dir` (created when missing). Blocks on disk and key derivation.
    ///
    /// # Errors
    /// [`KeyStoreError::RsaNotGenerated`] for RSA; the label is taken; the passphrase is not the store's; the disk refuses.
    pub fn generate(
        dir: &Path,
        passphrase: &Passphrase,
        label: &KeyLabel,
        kind: KeyKind,
    ) -> Result<KeyInfo, KeyStoreError> {
        Self::import_pkcs8(dir, passphrase, label, &KeyPair::generate(kind)?)
    }

    /// Takes over an unencrypted PKCS#8 DER key of P-256, P-384, Ed25519 or RSA (2048–4096 bits).
    ///
    /// # Errors
    /// The key is of no such kind; the label is taken; the passphrase is not the store's; the disk refuses.
    pub fn import_pkcs8(
        dir: &Path,
        passphrase: &Passphrase,
        label: &KeyLabel,
        der: &[u8],
    ) -> Result<KeyInfo, KeyStoreError> {
        let pair = KeyPair::from_pkcs8(der)?;
        let (kind, public_key) = (pair.kind(), pair.public_key().to_vec());
        let unlock = Unlock::new(dir, passphrase);
        if !unlock.create(&key_path(dir, label), label, kind.into(), &public_key, der)? {
            return Err(KeyStoreError::Exists(label.clone()));
        }
        Ok(KeyInfo { label: label.clone(), kind, public_key })
    }

    /// The private key itself, as PKCS#8 DER. Only for the node's TLS acceptor and connector, whose library holds its own key; everything else
    /// signs through [`Signer`].
    pub fn pkcs8(&self, label: &KeyLabel) -> Option<Zeroizing<Vec<u8>>> {
        named(&self.keys, label).map(|key| key.pkcs8.clone())
    }

    fn start(dir: &Path, keys: Keys, queue: usize) -> std::io::Result<Self> {
        let keys = Arc::new(keys);
        let (sender, receiver) = sync_channel(queue);
        let for_thread = Arc::clone(&keys);
        let thread = std::thread::Builder::new()
            .name("truc-signer".into())
            .spawn(move || run(&for_thread, &receiver))?;
        Ok(Self { dir: dir.to_owned(), keys, queue: Some(sender), thread: Some(thread) })
    }
}

fn key_path(dir: &Path, label: &KeyLabel) -> PathBuf {
    dir.join(format!("{label}.key"))
}

fn load(unlock: &Unlock, path: &Path) -> Result<Option<Key>, KeyStoreError> {
    let Some((envelope, pkcs8)) = unlock.open(path)? else { return Ok(None) };
    let pair =
        KeyPair::from_pkcs8(&pkcs8).map_err(|_| format_error(path, "it holds no usable key".into()))?;
    let info =
        KeyInfo { label: envelope.label.clone(), kind: pair.kind(), public_key: pair.public_key().to_vec() };
    if envelope.kind != pair.kind().into() || envelope.public_key() != info.public_key {
        return Err(format_error(path, "its key is not the one it says".into()));
    }
    Ok(Some(Key { info, pair, pkcs8 }))
}

/// The signer thread: ends when the store drops its end of the queue.
fn run(keys: &Keys, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // Nobody waits for an abandoned signature.
        if !job.reply.is_closed() {
            let _ = job.reply.send(sign(keys, &job.label, job.algorithm, &job.message));
        }
    }
}

fn sign(
    keys: &Keys,
    label: &KeyLabel,
    algorithm: SignatureAlgorithm,
    message: &[u8],
) -> Result<Vec<u8>, SignerError> {
    let key = named(keys, label).ok_or_else(|| SignerError::UnknownKey(label.clone()))?;
    key.pair.sign(algorithm, message).map_err(|failure| match failure {
        SignFailure::WrongKind => SignerError::WrongKind { label: label.clone(), algorithm },
        SignFailure::Failed => SignerError::Unavailable(format!("signing with {label} failed")),
    })
}

#[async_trait]
impl Signer for FileKeyStore {
    fn keys(&self) -> Vec<KeyInfo> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.values().map(|key| key.info.clone()).collect()
    }

    fn key(&self, label: &KeyLabel) -> Option<KeyInfo> {
        named(&self.keys, label).map(|key| key.info.clone())
    }

    async fn sign(
        &self,
        label: &KeyLabel,
        algorithm: SignatureAlgorithm,
        message: Bytes,
    ) -> Result<Vec<u8>, SignerError> {
        let stopped = || SignerError::Unavailable("the signing thread has stopped: restart the node".into());
        let (reply, answer) = oneshot::channel();
        let job = Job { label: label.clone(), algorithm, message, reply };
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => SignerError::Busy,
            TrySendError::Disconnected(_) => stopped(),
        })?;
        // Cannot hang: the thread answers every job it takes, and drops the rest when it ends.
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for FileKeyStore {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FileKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKeyStore")
            .field("keys", &self.keys().into_iter().map(|info| info.label).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_without_thread(queue: usize) -> (FileKeyStore, Receiver<Job>) {
        let (sender, receiver) = sync_channel(queue);
        (
            FileKeyStore { dir: PathBuf::new(), keys: Arc::default(), queue: Some(sender), thread: None },
            receiver,
        )
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_and_a_dead_thread_is_unavailable() {
        let (store, receiver) = store_without_thread(1);
        let label = KeyLabel::new("auth").unwrap();
        let sign = || store.sign(&label, SignatureAlgorithm::Ed25519, Bytes::new());
        let mut waiting = sign();
        assert!(futures_poll_once(&mut waiting).await, "the first one waits in the queue");
        assert_eq!(sign().await, Err(SignerError::Busy));
        drop(receiver);
        assert!(matches!(waiting.await, Err(SignerError::Unavailable(_))));
        assert!(matches!(sign().await, Err(SignerError::Unavailable(_))));
    }

    /// Polls once; true when still pending.
    async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }

    #[test]
    fn abandoned_jobs_are_skipped_and_drop_joins_the_thread() {
        let store = FileKeyStore::start(Path::new(""), Keys::default(), 4).unwrap();
        drop(store);
    }
}
