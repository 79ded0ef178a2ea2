//! AEAD of frames: AES-256-GCM under a key derived per owner and segment.

use std::collections::HashMap;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use truc_evidence::StoreError;

use super::format::{FRAME_HEAD, Frame, FrameType};
use crate::keys::RecordKey;

fn refused<T>(_: T) -> StoreError {
    StoreError::Failed("the cryptography library refused".into())
}

fn derive(key: &RecordKey, salt: &[u8; 32]) -> Result<LessSafeKey, StoreError> {
    let pseudo_random = Salt::new(HKDF_SHA256, salt).extract(key.secret());
    let purpose = [b"truc segment 1".as_slice(), key.id().as_bytes()];
    let okm = pseudo_random.expand(&purpose, &AES_256_GCM).map_err(refused)?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}

fn nonce(number: u32) -> Nonce {
    let mut bytes = [0; 12];
    let (_, low) = bytes.split_at_mut(8);
    low.copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// What a frame says beside its content.
pub(crate) struct FrameHead {
    pub(crate) kind: FrameType,
    pub(crate) number: u32,
    pub(crate) batch: u32,
    pub(crate) sequence: u64,
}

/// The derived keys of one segment that is being written.
pub(crate) struct Ciphers {
    salt: [u8; 32],
    keys: HashMap<String, LessSafeKey>,
}

impl Ciphers {
    pub(crate) fn new(salt: [u8; 32]) -> Self {
        Self { salt, keys: HashMap::new() }
    }

    /// Appends the frame to `out`. The number must never have been used in this segment.
    pub(crate) fn seal(
        &mut self,
        out: &mut Vec<u8>,
        head: &FrameHead,
        key: &RecordKey,
        parts: &[&[u8]],
    ) -> Result<(), StoreError> {
        if !self.keys.contains_key(key.id()) {
            self.keys.insert(key.id().to_owned(), derive(key, &self.salt)?);
        }
        let cipher = self.keys.get(key.id()).ok_or(()).map_err(refused)?;
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&[head.kind as u8, 0]);
        out.extend_from_slice(&head.number.to_be_bytes());
        out.extend_from_slice(&head.batch.to_be_bytes());
        out.extend_from_slice(&head.sequence.to_be_bytes());
        out.push(u8::try_from(key.id().len()).map_err(refused)?);
        out.extend_from_slice(key.id().as_bytes());
        let content = out.len();
        for part in parts {
            out.extend_from_slice(part);
        }
        let (before, plain) = out.split_at_mut(content);
        let aad = Aad::from(before.get(start + 8..).unwrap_or_default());
        let tag = cipher.seal_in_place_separate_tag(nonce(head.number), aad, plain).map_err(refused)?;
        out.extend_from_slice(tag.as_ref());
        debug_assert!(content - start == FRAME_HEAD + key.id().len());
        let covered = out.get(start + 8..).unwrap_or_default();
        let length = u32::try_from(covered.len()).map_err(refused)?.to_be_bytes();
        let crc = crc32c::crc32c(covered).to_be_bytes();
        if let Some(front) = out.get_mut(start..start + 8) {
            front.copy_from_slice(&[length, crc].concat());
        }
        Ok(())
    }
}

/// Decrypts a frame of the segment with this salt; `None` when the key is another one or the bytes were changed.
pub(crate) fn open(frame: &Frame<'_>, salt: &[u8; 32], key: &RecordKey) -> Option<Vec<u8>> {
    let mut bytes = frame.sealed.to_vec();
    let length = derive(key, salt)
        .ok()?
        .open_in_place(nonce(frame.number), Aad::from(frame.head), &mut bytes)
        .ok()?
        .len();
    bytes.truncate(length);
    Some(bytes)
}

/// Encrypts `secret` under `key`; `salt` must be fresh, `place` is authenticated.
pub(crate) fn wrap(
    key: &RecordKey,
    salt: &[u8; 32],
    place: &str,
    secret: &[u8; 32],
) -> Result<Vec<u8>, StoreError> {
    let mut out = secret.to_vec();
    derive(key, salt)?.seal_in_place_append_tag(nonce(0), Aad::from(place), &mut out).map_err(refused)?;
    Ok(out)
}

/// The reverse of [`wrap`].
pub(crate) fn unwrap(key: &RecordKey, salt: &[u8; 32], place: &str, wrapped: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = zeroize::Zeroizing::new(wrapped.to_vec());
    let secret = derive(key, salt).ok()?.open_in_place(nonce(0), Aad::from(place), &mut bytes).ok()?;
    (&*secret).try_into().ok()
}
