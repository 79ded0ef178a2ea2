//! Bodies too big for memory, on disk while an exchange needs them: `spool/`.
//!
//! Each body is a nameless file, so that nothing of it stays when the process ends, however it ends. It is encrypted with a
//! key that is made for it and never leaves memory: AES-256-GCM over pieces of 256 KiB, each with its number as nonce.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use truc_message::{BodyStream, KeptBody, Spool, SpoolError, SpoolWriter};
use truc_model::{Fault, FaultCode};
use zeroize::Zeroizing;

/// Bytes encrypted at once.
const PIECE: usize = 256 * 1024;
/// What AES-GCM adds to a piece.
const TAG: usize = 16;
/// So many bytes of the disk are left to the journal.
const SPARE: u64 = 256 << 20;

/// Keeps bodies in nameless, encrypted files of one folder.
pub struct DiskSpool {
    folder: PathBuf,
    room: Arc<AtomicU64>,
    spare: u64,
}

impl DiskSpool {
    /// Uses `folder` for at most `limit` bytes at once, and sweeps out what another process may have left in it.
    ///
    /// # Errors
    /// [`SpoolError::Failed`] when the folder cannot be used.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, SpoolError> {
        let entries = std::fs::read_dir(folder).map_err(|e| failed(folder, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| failed(folder, &e))?;
            // No body is a folder; a file system of its own has lost+found.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|e| failed(&path, &e))?;
        }
        Ok(Self { folder: folder.to_owned(), room: Arc::new(AtomicU64::new(limit)), spare: SPARE })
    }

    /// Leaves `bytes` of the disk free instead of 256 MiB.
    #[must_use]
    pub const fn spare(mut self, bytes: u64) -> Self {
        self.spare = bytes;
        self
    }
}

fn failed(path: &Path, error: &std::io::Error) -> SpoolError {
    SpoolError::Failed(format!("{}: {error}", path.display()))
}

/// Room of the spool that a body has taken; given back when it is dropped.
struct Room {
    left: Arc<AtomicU64>,
    taken: u64,
}

impl Room {
    /// Makes the room at least `bytes` in all.
    fn grow_to(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let more = bytes.saturating_sub(self.taken);
        let take = |left: u64| left.checked_sub(more);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).map_err(|_| SpoolError::Full)?;
        self.taken += more;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.left.fetch_add(self.taken, Ordering::AcqRel);
    }
}

fn free(file: &File) -> Result<u64, SpoolError> {
    let disk = rustix::fs::fstatvfs(file).map_err(|e| SpoolError::Failed(e.to_string()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// One body's file and key.
struct Kept {
    file: File,
    key: LessSafeKey,
    length: u64,
    room: Room,
}

fn nonce(piece: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&piece.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn offset(piece: u64) -> u64 {
    piece * (PIECE + TAG) as u64
}

impl Kept {
    fn create(folder: &Path, room: Room) -> Result<Self, SpoolError> {
        let file = tempfile::tempfile_in(folder).map_err(|e| match e.kind() {
            ErrorKind::StorageFull => SpoolError::Full,
            _ => failed(folder, &e),
        })?;
        let no_key = || SpoolError::Failed("the system gives no random numbers".to_owned());
        let mut secret = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(secret.as_mut()).map_err(|_| no_key())?;
        let key = UnboundKey::new(&AES_256_GCM, secret.as_ref()).map_err(|_| no_key())?;
        Ok(Self { file, key: LessSafeKey::new(key), length: 0, room })
    }

    /// Writes the next piece; every one but the last has [`PIECE`] bytes.
    fn write(&mut self, mut bytes: BytesMut, spare: u64) -> Result<(), SpoolError> {
        let piece = self.length / PIECE as u64;
        if free(&self.file)? < spare.saturating_add(PIECE as u64) {
            return Err(SpoolError::Full);
        }
        self.length += bytes.len() as u64;
        self.room.grow_to(self.length)?;
        let failed = |what: &str| SpoolError::Failed(what.to_owned());
        self.key
            .seal_in_place_append_tag(nonce(piece), Aad::empty(), &mut bytes)
            .map_err(|_| failed("a piece could not be encrypted"))?;
        self.file.write_all_at(&bytes, offset(piece)).map_err(|e| match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SpoolError::Full,
            _ => failed(&e.to_string()),
        })
    }

    fn read(&self, piece: u64) -> Result<Bytes, String> {
        let length = (self.length - piece * PIECE as u64).min(PIECE as u64);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(PIECE) + TAG];
        self.file.read_exact_at(&mut bytes, offset(piece)).map_err(|e| e.to_string())?;
        let plain = self.key.open_in_place(nonce(piece), Aad::empty(), &mut bytes);
        let length = plain.map_err(|_| "a piece was changed on the disk".to_owned())?.len();
        bytes.truncate(length);
        Ok(bytes.into())
    }
}

/// Runs `step` off the runtime.
async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    let ran = tokio::task::spawn_blocking(step).await;
    ran.unwrap_or_else(|e| Err(SpoolError::Failed(e.to_string())))
}

#[async_trait]
impl Spool for DiskSpool {
    async fn begin(&self, announced: Option<u64>) -> Result<Box<dyn SpoolWriter>, SpoolError> {
        let mut room = Room { left: Arc::clone(&self.room), taken: 0 };
        room.grow_to(announced.unwrap_or_default())?;
        let (folder, spare, least) = (self.folder.clone(), self.spare, announced.unwrap_or_default());
        let kept = blocking(move || {
            let kept = Kept::create(&folder, room)?;
            if free(&kept.file)? < least.saturating_add(spare) { Err(SpoolError::Full) } else { Ok(kept) }
        });
        let kept = Some(kept.await?);
        Ok(Box::new(Writer { kept, waiting: BytesMut::with_capacity(PIECE + TAG), spare: self.spare }))
    }
}

struct Writer {
    /// None while a piece is being written, and after an error.
    kept: Option<Kept>,
    /// Less than a piece.
    waiting: BytesMut,
    spare: u64,
}

impl Writer {
    async fn flush(&mut self) -> Result<(), SpoolError> {
        let lost = || SpoolError::Failed("the body was lost before".to_owned());
        let mut kept = self.kept.take().ok_or_else(lost)?;
        let bytes = std::mem::replace(&mut self.waiting, BytesMut::with_capacity(PIECE + TAG));
        let spare = self.spare;
        let written = blocking(move || kept.write(bytes, spare).map(|()| kept));
        self.kept = Some(written.await?);
        Ok(())
    }
}

#[async_trait]
impl SpoolWriter for Writer {
    async fn write(&mut self, mut piece: Bytes) -> Result<(), SpoolError> {
        while !piece.is_empty() {
            let fits = piece.len().min(PIECE - self.waiting.len());
            self.waiting.extend_from_slice(&piece.split_to(fits));
            if self.waiting.len() == PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Arc<dyn KeptBody>, SpoolError> {
        if !self.waiting.is_empty() {
            self.flush().await?;
        }
        let lost = || SpoolError::Failed("the body was lost before".to_owned());
        Ok(Arc::new(Whole(Arc::new(self.kept.take().ok_or_else(lost)?))))
    }
}

/// A whole body. Readers hold its file too.
struct Whole(Arc<Kept>);

impl KeptBody for Whole {
    fn read(&self) -> BodyStream {
        let pieces = self.0.length.div_ceil(PIECE as u64);
        let kept = Arc::clone(&self.0);
        stream::iter(0..pieces)
            .then(move |piece| {
                let kept = Arc::clone(&kept);
                async move {
                    let read = tokio::task::spawn_blocking(move || kept.read(piece)).await;
                    read.unwrap_or_else(|e| Err(e.to_string())).map_err(|problem| {
                        Fault::provider(FaultCode::Internal, format!("a body in the spool: {problem}"))
                    })
                }
            })
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use truc_message::contract::{digest_of, pieces};

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn spool(folder: &Path) -> DiskSpool {
        DiskSpool::open(folder, 32 * MIB).unwrap().spare(0)
    }

    async fn keep(spool: &DiskSpool, length: u64) -> Arc<dyn KeptBody> {
        let mut writer = spool.begin(None).await.unwrap();
        let mut source = pieces(length);
        while let Some(piece) = source.next().await {
            writer.write(piece.unwrap()).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    #[tokio::test]
    async fn it_keeps_the_contract_of_a_spool() {
        let folder = tempfile::tempdir().unwrap();
        truc_message::contract::spool(&spool(folder.path()), 32 * MIB).await.unwrap();
    }

    #[tokio::test]
    async fn bodies_have_no_name_and_leftovers_are_swept_out() {
        let folder = tempfile::tempdir().unwrap();
        let body = keep(&spool(folder.path()), 3 * MIB).await;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing to find after a crash");
        drop(body);
        std::fs::write(folder.path().join("left"), b"by an older version").unwrap();
        std::fs::create_dir(folder.path().join("lost+found")).unwrap();
        spool(folder.path());
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["lost+found"], "a file system of its own is no hindrance");
    }

    #[tokio::test]
    async fn what_lies_on_the_disk_is_encrypted_and_a_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room { left: Arc::new(AtomicU64::new(MIB)), taken: 0 };
        let mut kept = Kept::create(folder.path(), room).unwrap();
        kept.write(BytesMut::from(&b"So dinh danh 001099000001"[..]), 0).unwrap();
        let mut raw = [0; 41];
        kept.file.read_exact_at(&mut raw, 0).unwrap();
        assert!(!raw.windows(4).any(|w| w == b"0010"));
        raw[3] ^= 1;
        kept.file.write_all_at(&raw, 0).unwrap();
        let body = Whole(Arc::new(kept));
        assert!(digest_of(body.read()).await.unwrap_err().contains("changed"));
    }

    #[tokio::test]
    async fn a_reader_keeps_the_body_and_the_last_one_gives_the_room_back() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path());
        let body = keep(&spool, 20 * MIB).await;
        let reading = body.read();
        drop(body);
        assert_eq!(spool.begin(Some(20 * MIB)).await.err(), Some(SpoolError::Full));
        assert_eq!(digest_of(reading).await.unwrap().0, 20 * MIB);
        assert!(spool.begin(Some(20 * MIB)).await.is_ok());
    }

    #[tokio::test]
    async fn room_is_left_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let greedy = spool(folder.path()).spare(u64::MAX / 2);
        assert_eq!(greedy.begin(Some(1)).await.err(), Some(SpoolError::Full));
        let room = Room { left: Arc::new(AtomicU64::new(MIB)), taken: 0 };
        let mut kept = Kept::create(folder.path(), room).unwrap();
        kept.write(BytesMut::zeroed(PIECE), 0).unwrap();
        assert_eq!(
            kept.write(BytesMut::zeroed(PIECE), u64::MAX / 2),
            Err(SpoolError::Full),
            "for every piece"
        );
    }
}
