//! A log's head: a checkpoint whose signature was checked.

use truc_keys::{KeyLabel, Signer};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{NoteError, NoteKey, SignedNote};

/// The longest head that is read, signatures included, in bytes: those of the longest ids are below 2 KiB.
pub const MAX_HEAD: usize = 4096;

/// Why something is no head of the log asked about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// No note, or not signed by the log's key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note about something else.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Longer than any head is.
    #[error("the head is longer than 4 KiB")]
    Long,
    /// Signed by the key of one log about another.
    #[error("the head names the log {0:?}, and its key is that of another")]
    Origin(String),
}

/// A head that its log's key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    checkpoint: Checkpoint,
    note: SignedNote,
}

impl Head {
    /// Reads a head and checks that `key` signed it, and that it speaks of the log that the key is named after.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn verify(note: &str, key: &NoteKey) -> Result<Self, HeadError> {
        if note.len() > MAX_HEAD {
            return Err(HeadError::Long);
        }
        let note = SignedNote::parse(note)?;
        note.verify(key)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != key.name() {
            return Err(HeadError::Origin(checkpoint.origin.chars().take(200).collect()));
        }
        Ok(Self { checkpoint, note })
    }

    /// The log that a head says it is of, to find the key by which to [`Self::verify`] it.
    ///
    /// # Errors
    /// [`HeadError`] when it is no head at all.
    pub fn claimed_origin(note: &str) -> Result<String, HeadError> {
        if note.len() > MAX_HEAD {
            return Err(HeadError::Long);
        }
        Ok(Checkpoint::parse(SignedNote::parse(note)?.text())?.origin)
    }

    /// Signs `checkpoint` with the Ed25519 key `label` of `signer`, under the name of its origin.
    ///
    /// # Errors
    /// [`HeadError::Note`].
    pub async fn sign(
        checkpoint: Checkpoint,
        signer: &dyn Signer,
        label: &KeyLabel,
    ) -> Result<Self, HeadError> {
        let note = SignedNote::sign(checkpoint.to_string(), &checkpoint.origin, signer, label).await?;
        Ok(Self { checkpoint, note })
    }

    /// What it says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed note; `to_string` writes it.
    pub const fn note(&self) -> &SignedNote {
        &self.note
    }
}
