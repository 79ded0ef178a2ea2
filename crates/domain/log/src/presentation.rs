//! What a node signs when it shows its head to the registry, whose door knows nobody: that it is the log's keeper who shows this head
//! with this proof, now. Without it anybody could raise a false alarm with a true head and a wrong proof.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use truc_model::{Digest, Timestamp};

use crate::note::{NoteError, NoteKey, SignedNote};
use crate::proof::MAX_PROOF;

/// The first line of a presentation: no checkpoint begins so, since no origin does.
const TITLE: &str = "truc witness 1";

/// Why something is not the presentation of a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresentationError {
    /// No note, or not signed by the log's key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note about something else.
    #[error("not the presentation of a head: {0}")]
    Form(&'static str),
}

/// A node shows a head of its log. `Display` writes the text that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// SHA-256 of the signed head's bytes.
    pub head: Digest,
    /// When.
    pub at: Timestamp,
    /// The size of the head held by the one it is shown to, at which the proof begins.
    pub known: u64,
    /// Consistency from there.
    pub proof: Vec<Digest>,
}

impl Presentation {
    /// Reads a presentation that `key` signed.
    ///
    /// # Errors
    /// [`PresentationError`].
    pub fn verify(note: &str, key: &NoteKey) -> Result<Self, PresentationError> {
        let form = PresentationError::Form;
        // A note is bounded before it is looked at; this is far less.
        if note.len() > 8192 {
            return Err(form("longer than 8 KiB"));
        }
        let note = SignedNote::parse(note)?;
        note.verify(key)?;
        let mut lines = note.text().lines();
        if lines.next() != Some(TITLE) {
            return Err(form("another title"));
        }
        let digest = |line: &str| STANDARD.decode(line).ok().and_then(|bytes| Digest::from_slice(&bytes));
        let head = lines.next().and_then(digest).ok_or(form("no digest of a head"))?;
        let at = lines.next().and_then(|line| line.parse().ok()).ok_or(form("no moment"))?;
        let known = lines.next().and_then(|line| line.parse().ok()).ok_or(form("no size"))?;
        let proof: Option<Vec<_>> = lines.map(digest).collect();
        let proof = proof.filter(|proof| proof.len() <= MAX_PROOF).ok_or(form("no proof"))?;
        let read = Self { head, at: Timestamp::from_millis(at), known, proof };
        if read.to_string() == note.text() { Ok(read) } else { Err(form("not written in its one form")) }
    }
}

impl fmt::Display for Presentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = |digest: &Digest| STANDARD.encode(digest.as_bytes());
        writeln!(f, "{TITLE}\n{}\n{}\n{}", base64(&self.head), self.at.millis(), self.known)?;
        self.proof.iter().try_for_each(|digest| writeln!(f, "{}", base64(digest)))
    }
}
