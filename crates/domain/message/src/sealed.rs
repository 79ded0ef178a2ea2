//! A message made whole: header bytes, body and manifest that belong together.

use bytes::Bytes;
use truc_model::Digest;

use crate::body::Body;
use crate::header::{Header, MalformedHeader};
use crate::manifest;
use crate::received::{MalformedMessage, Signature};
use crate::secrets::Secret;

/// A header made whole, ahead of the body that it announces: what leaves first.
#[derive(Debug, Clone)]
pub struct Opening {
    header: Header,
    header_bytes: Bytes,
    secrets: Vec<Secret>,
}

impl Opening {
    /// Writes the header, once.
    ///
    /// # Errors
    /// [`MalformedHeader`] when the header breaks protocol P1.2.
    pub fn new(header: Header, secrets: Vec<Secret>) -> Result<Self, MalformedHeader> {
        let header_bytes = Bytes::from(header.to_bytes()?);
        Ok(Self { header, header_bytes, secrets })
    }

    /// The header's fields.
    pub const fn header(&self) -> &Header {
        &self.header
    }
    /// The header's exact bytes.
    pub const fn header_bytes(&self) -> &Bytes {
        &self.header_bytes
    }
    /// The secrets beside the header.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
    /// The body's length, when it is known beforehand.
    pub fn announced(&self) -> Option<u64> {
        self.header.body.as_ref().and_then(|info| info.length)
    }

    /// Puts the body to it.
    ///
    /// # Errors
    /// [`MalformedMessage::BodyLength`] when it is not as long as announced.
    pub fn seal(self, body: Body) -> Result<Sealed, MalformedMessage> {
        if let Some(announced) = self.announced()
            && announced != body.len()
        {
            return Err(MalformedMessage::BodyLength { announced, received: body.len() });
        }
        let Self { header, header_bytes, secrets } = self;
        let manifest = manifest::write(header.kind, header.id, Digest::of(&header_bytes), body.digest());
        let digest = Digest::of(&manifest);
        Ok(Sealed { header, header_bytes, body, secrets, manifest: manifest.into(), digest })
    }
}

/// Header, body and the manifest over both. The header's bytes are written once and never again.
#[derive(Debug, Clone)]
pub struct Sealed {
    header: Header,
    header_bytes: Bytes,
    body: Body,
    secrets: Vec<Secret>,
    manifest: Bytes,
    digest: Digest,
}

impl Sealed {
    /// Seals what this node sends.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the header breaks protocol P1.2 or announces another body length.
    pub fn seal(header: Header, body: Body, secrets: Vec<Secret>) -> Result<Self, MalformedMessage> {
        Opening::new(header, secrets)?.seal(body)
    }

    /// Puts together what was received or stored: exact header bytes and body.
    ///
    /// # Errors
    /// [`MalformedMessage`] when the header breaks protocol P1.2 or announces another body length.
    pub fn open(header_bytes: Bytes, body: Body, secrets: Vec<Secret>) -> Result<Self, MalformedMessage> {
        let header = Header::parse(&header_bytes)?;
        Opening { header, header_bytes, secrets }.seal(body)
    }

    /// The header's fields.
    pub const fn header(&self) -> &Header {
        &self.header
    }
    /// The header's exact bytes.
    pub const fn header_bytes(&self) -> &Bytes {
        &self.header_bytes
    }
    /// The body.
    pub const fn body(&self) -> &Body {
        &self.body
    }
    /// The secrets beside the header; never stored.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
    /// The signed bytes.
    pub const fn manifest(&self) -> &Bytes {
        &self.manifest
    }
    /// SHA-256 of the manifest: the message's digest (protocol P1.4).
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// A sealed message with its signature.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The message.
    pub sealed: Sealed,
    /// The signature over its manifest.
    pub signature: Signature,
}

impl Signed {
    /// The header's fields.
    pub const fn header(&self) -> &Header {
        self.sealed.header()
    }
    /// The message's digest.
    pub const fn digest(&self) -> Digest {
        self.sealed.digest()
    }
}
