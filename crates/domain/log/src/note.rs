//! Signed notes (<https://c2sp.org/signed-note>): a text, an empty line, and lines `— name base64(key id ‖ signature)`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use truc_keys::{KeyLabel, SignatureAlgorithm, Signer, SignerError};
use truc_model::Digest;

/// The longest note that is read, in bytes.
pub const MAX_NOTE: usize = 1 << 20;
/// The most signatures of a note that is read.
const MAX_SIGNATURES: usize = 100;
/// The most bytes of one signature beside its key id: room for what other witnesses use.
const MAX_SIGNATURE: usize = 16 * 1024;
/// What a signature line begins with: an em dash and a space.
const MARK: &str = "\u{2014} ";
/// The number of plain Ed25519 in key ids.
const ED25519: u8 = 0x01;

/// Why a note is not one, or says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the form of a signed note.
    #[error("not a signed note: {0}")]
    Form(&'static str),
    /// A key's name with a space or a plus, or none.
    #[error("{0:?} cannot name a key of a signed note: it must be without spaces and plus signs")]
    Name(String),
    /// An Ed25519 public key has 32 bytes.
    #[error("the key of {0} is not an Ed25519 key of 32 bytes")]
    Key(String),
    /// The key asked about did not sign it.
    #[error("the note is not signed by the key of {0}")]
    Unsigned(String),
    /// The key asked about is named, and did not make this signature.
    #[error("the signature of {0} is wrong: the note was changed, or signed with another key")]
    Signature(String),
    /// The key store did not sign.
    #[error("the note could not be signed: {0}")]
    Signer(#[from] SignerError),
}

/// An Ed25519 key that signs notes, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl NoteKey {
    /// The key `public` of 32 bytes under `name`.
    ///
    /// # Errors
    /// [`NoteError::Name`], [`NoteError::Key`].
    pub fn new(name: &str, public: &[u8]) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name(name.chars().take(120).collect()));
        }
        let public: [u8; 32] = public.try_into().map_err(|_| NoteError::Key(name.to_owned()))?;
        let mut hashed = name.as_bytes().to_vec();
        hashed.extend_from_slice(&[b'\n', ED25519]);
        hashed.extend_from_slice(&public);
        let [a, b, c, d, ..] = Digest::of(&hashed).0;
        Ok(Self { name: name.to_owned(), id: [a, b, c, d], public })
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First 4 bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)`.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    fn made(&self, text: &str, signature: &[u8]) -> bool {
        SignatureAlgorithm::Ed25519.verify(&self.public, text.as_bytes(), signature)
    }
}

/// One signature of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Whose it says it is.
    pub name: String,
    /// Which of that name's keys.
    pub key_id: [u8; 4],
    /// Its bytes, as the kind of key makes them.
    pub signature: Vec<u8>,
}

/// A text with signatures; nothing is believed of it before [`Self::verify`]. `Display` writes it as it is sent and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError::Form`] with what is missing.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::Form("longer than 1 MiB"));
        }
        // The last empty line: a text may have some of its own.
        let (text, lines) =
            note.rsplit_once("\n\n").ok_or(NoteError::Form("no empty line before the signatures"))?;
        let text = format!("{text}\n");
        check_text(&text)?;
        let lines =
            lines.strip_suffix('\n').ok_or(NoteError::Form("the last line must end with a newline"))?;
        let signatures = lines.split('\n').take(MAX_SIGNATURES + 1).map(signature_line);
        let signatures = signatures.collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::Form("more than 100 signatures"));
        }
        Ok(Self { text, signatures })
    }

    /// Puts a text and the signature that `key` made over exactly its bytes together.
    ///
    /// # Errors
    /// [`NoteError`]: no text of a note, or not the signature of this key over it.
    pub fn assemble(text: String, key: &NoteKey, signature: Vec<u8>) -> Result<Self, NoteError> {
        check_text(&text)?;
        if !key.made(&text, &signature) {
            return Err(NoteError::Signature(key.name.clone()));
        }
        Ok(Self {
            text,
            signatures: vec![NoteSignature { name: key.name.clone(), key_id: key.id, signature }],
        })
    }

    /// Signs `text` with the Ed25519 key `label` of `signer`, under `name`.
    ///
    /// # Errors
    /// [`NoteError`]: no text or name of a note, or the key store did not sign.
    pub async fn sign(
        text: String,
        name: &str,
        signer: &dyn Signer,
        label: &KeyLabel,
    ) -> Result<Self, NoteError> {
        let info = signer.key(label).ok_or_else(|| SignerError::UnknownKey(label.clone()))?;
        let key = NoteKey::new(name, &info.public_key)?;
        check_text(&text)?;
        let message = Bytes::copy_from_slice(text.as_bytes());
        let signature = signer.sign(label, SignatureAlgorithm::Ed25519, message).await?;
        Self::assemble(text, &key, signature)
    }

    /// The signed text, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, in order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks that `key` signed the text. Signatures of other keys are not looked at; a wrong one beside a right one of this
    /// key is refused.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`], [`NoteError::Signature`].
    pub fn verify(&self, key: &NoteKey) -> Result<(), NoteError> {
        let own = |s: &&NoteSignature| s.name == key.name && s.key_id == key.id;
        let mut own = self.signatures.iter().filter(own).peekable();
        if own.peek().is_none() {
            return Err(NoteError::Unsigned(key.name.clone()));
        }
        let right = own.all(|s| key.made(&self.text, &s.signature));
        if right { Ok(()) } else { Err(NoteError::Signature(key.name.clone())) }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature { name, key_id, signature } in &self.signatures {
            let bytes = [&key_id[..], signature].concat();
            writeln!(f, "{MARK}{name} {}", STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Form("the text must end with a newline"));
    }
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(NoteError::Form("the text has control characters"));
    }
    if text.len() > MAX_NOTE / 2 {
        return Err(NoteError::Form("the text is longer than 512 KiB"));
    }
    Ok(())
}

fn signature_line(line: &str) -> Result<NoteSignature, NoteError> {
    let (name, coded) = line
        .strip_prefix(MARK)
        .and_then(|line| line.split_once(' '))
        .filter(|(name, _)| is_name(name))
        .ok_or(NoteError::Form("a signature line is an em dash, a name and base64, a space between"))?;
    let bytes =
        STANDARD.decode(coded).map_err(|_| NoteError::Form("a signature is not in standard base64"))?;
    match bytes.split_first_chunk::<4>() {
        Some((key_id, signature)) if !signature.is_empty() && signature.len() <= MAX_SIGNATURE => {
            Ok(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
        }
        _ => Err(NoteError::Form("a signature is a key id of 4 bytes and the signature's own bytes")),
    }
}
