//! The encrypted stream of a backup.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use truc_model::Timestamp;
use zeroize::{Zeroize as _, Zeroizing};

use super::{ArchiveError, Stretcher};

const MAGIC: &[u8; 8] = b"TRUCBAK\0";
pub(super) const VERSION: u16 = 1;
/// Bytes of plaintext in a chunk.
pub(super) const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// How a passphrase becomes the key: Argon2id, version 0x13 (RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Of this file alone.
    pub salt: [u8; 16],
}

/// A backup lies where its passphrase can be guessed at leisure: more memory than a key store on its own machine.
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    kind: String,
    made: Timestamp,
    kdf: Kdf,
    cipher: String,
    chunk: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    m: u32,
    t: u32,
    p: u32,
    /// 16 bytes, hexadecimal.
    salt: String,
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (counter, flag) = bytes.split_at_mut(8);
    counter.copy_from_slice(&number.to_be_bytes());
    flag.copy_from_slice(&u32::from(last).to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn cipher(key: &Zeroizing<[u8; 32]>) -> Result<LessSafeKey, ArchiveError> {
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref());
    key.map(LessSafeKey::new).map_err(|_| ArchiveError::Crypto("the cipher".into()))
}

/// Encrypts what is written to it.
pub(super) struct Sealer<W: Write> {
    inner: W,
    key: LessSafeKey,
    head: Vec<u8>,
    /// Plaintext of the chunk being gathered.
    chunk: Zeroizing<Vec<u8>>,
    number: u64,
}

impl<W: Write> Sealer<W> {
    pub(super) fn begin(
        mut inner: W,
        kind: &str,
        made: Timestamp,
        stretch: Stretcher<'_>,
    ) -> Result<Self, ArchiveError> {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| ArchiveError::Crypto("random numbers".into()))?;
        let how = Stretch { memory_kib: MEMORY_KIB, passes: PASSES, lanes: 1, salt };
        let kdf = Kdf {
            name: "argon2id".into(),
            m: how.memory_kib,
            t: how.passes,
            p: how.lanes,
            salt: hexadecimal(&salt),
        };
        let head = Head { kind: kind.to_owned(), made, kdf, cipher: "aes-256-gcm".into(), chunk: CHUNK };
        let text = serde_json::to_vec(&head).map_err(|e| ArchiveError::Contents(e.to_string()))?;
        let length =
            u16::try_from(text.len()).map_err(|_| ArchiveError::Contents("its head is too long".into()))?;
        let head = [&MAGIC[..], &VERSION.to_be_bytes(), &length.to_be_bytes(), &text].concat();
        let key = cipher(&stretch(&how).map_err(ArchiveError::Crypto)?)?;
        inner.write_all(&head).map_err(|e| ArchiveError::Contents(e.to_string()))?;
        // Room for the tag beforehand: growing would leave a copy of the plaintext behind.
        let chunk = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        Ok(Self { inner, key, head, chunk, number: 0 })
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let sealed = self.key.seal_in_place_append_tag(
            nonce(self.number, last),
            Aad::from(&self.head),
            &mut *self.chunk,
        );
        sealed.map_err(|_| io::Error::other("a chunk could not be encrypted"))?;
        self.inner.write_all(&self.chunk)?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }

    /// Writes the last chunk; without it the file counts as cut off.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.seal(false)?;
        }
        let taken = bytes.get(..bytes.len().min(CHUNK - self.chunk.len())).unwrap_or_default();
        self.chunk.extend_from_slice(taken);
        Ok(taken.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts what is read through it; gives out nothing that was not authenticated.
pub(super) struct Opener<R: Read> {
    inner: R,
    key: LessSafeKey,
    head: Vec<u8>,
    plain: Zeroizing<Vec<u8>>,
    given: usize,
    /// The chunk after the one in `plain`, read ahead to know which is the last.
    next: Vec<u8>,
    number: u64,
    ended: bool,
    fault: Fault,
}

/// What went wrong underneath, for whoever sees only an I/O error come through the tar reader.
pub(super) type Fault = Arc<Mutex<Option<ArchiveError>>>;

impl<R: Read> Opener<R> {
    pub(super) fn begin(
        mut inner: R,
        path: &Path,
        kind: &str,
        stretch: Stretcher<'_>,
        fault: Fault,
    ) -> Result<Self, ArchiveError> {
        let (head, text) = read_head(&mut inner, path)?;
        let parsed: Head =
            serde_json::from_slice(&text).map_err(|_| ArchiveError::NotABackup(path.to_owned()))?;
        let how = checked(&parsed).ok_or_else(|| ArchiveError::NotABackup(path.to_owned()))?;
        let key = cipher(&stretch(&how).map_err(ArchiveError::Crypto)?)?;
        let plain = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        let mut opener =
            Self { inner, key, head, plain, given: 0, next: Vec::new(), number: 0, ended: false, fault };
        opener.next = opener.read_chunk().map_err(|e| super::io(path, e))?;
        // The first chunk tells whether the passphrase is right; only then is the head believed.
        opener.advance()?;
        if parsed.kind != kind {
            return Err(ArchiveError::OtherKind { found: parsed.kind, wanted: kind.to_owned() });
        }
        Ok(opener)
    }

    fn read_chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(CHUNK + TAG);
        self.inner.by_ref().take((CHUNK + TAG) as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn advance(&mut self) -> Result<(), ArchiveError> {
        let number = self.number;
        let damaged = || if number == 0 { ArchiveError::NotOpened } else { ArchiveError::Damaged(number) };
        let chunk = std::mem::take(&mut self.next);
        self.next = self.read_chunk().map_err(|e| ArchiveError::Contents(e.to_string()))?;
        let last = self.next.is_empty();
        self.plain.zeroize();
        *self.plain = chunk;
        let aad = Aad::from(&self.head);
        let opened = self.key.open_in_place(nonce(number, last), aad, &mut self.plain);
        let length = opened.map_err(|_| damaged())?.len();
        self.plain.truncate(length);
        (self.given, self.number, self.ended) = (0, number + 1, last);
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.plain.len() {
            if self.ended {
                return Ok(0);
            }
            if let Err(error) = self.advance() {
                let told = io::Error::other(error.to_string());
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return Err(told);
            }
        }
        let ready = self.plain.get(self.given..).unwrap_or_default();
        let n = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..n), ready.get(..n)) {
            to.copy_from_slice(from);
        }
        self.given += n;
        Ok(n)
    }
}

/// All bytes before the chunks, and the JSON among them.
fn read_head(inner: &mut impl Read, path: &Path) -> Result<(Vec<u8>, Vec<u8>), ArchiveError> {
    let not_ours = || ArchiveError::NotABackup(path.to_owned());
    let mut fixed = [0; 12];
    inner.read_exact(&mut fixed).map_err(|_| not_ours())?;
    let [magic @ .., v1, v2, l1, l2] = fixed;
    if magic != *MAGIC {
        return Err(not_ours());
    }
    match u16::from_be_bytes([v1, v2]) {
        VERSION => {}
        found if found > VERSION => {
            return Err(ArchiveError::Newer { found: found.into(), known: VERSION.into() });
        }
        _ => return Err(not_ours()),
    }
    let mut text = vec![0; u16::from_be_bytes([l1, l2]).into()];
    inner.read_exact(&mut text).map_err(|_| not_ours())?;
    Ok(([&fixed[..], &text].concat(), text))
}

/// The parameters, when they are within what this program accepts: nothing that would let a file eat the machine.
fn checked(head: &Head) -> Option<Stretch> {
    let Kdf { name, m, t, p, salt } = &head.kdf;
    let fits = name == "argon2id"
        && (19_456..=1_048_576).contains(m)
        && (2..=16).contains(t)
        && (1..=8).contains(p)
        && head.cipher == "aes-256-gcm"
        && head.chunk == CHUNK;
    let salt = fits.then(|| from_hexadecimal(salt)).flatten()?;
    Some(Stretch { memory_kib: *m, passes: *t, lanes: *p, salt })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hexadecimal(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut out = [0; 16];
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(out)
}
