//! Bytes of a segment, format versions 1 and 2. All numbers are big-endian.
//!
//! ```text
//! header   magic "TRUCSEG\0" · version u16 · kind u8 · 0 u8 · salt 32 · first sequence u64 · chain hash so far 32 · CRC32C u32
//! frame    length u32 of what follows the CRC · CRC32C u32 over it · type u8 · 0 u8 · frame number u32 ·
//!          number of the first frame of its batch u32 · sequence u64 · key id length u8 · key id · ciphertext with tag
//! ```
//!
//! A length of 0 ends a segment. Frame number n is the n-th frame of its segment; it is the nonce, under a key that
//! HKDF-SHA256 derives from the owner's key and the segment's salt, so that no nonce ever repeats. Everything from the type
//! to the key id is authenticated. The chain is `SHA-256(chain before ‖ whole frame)`, over ciphertext: whoever
//! has no key can check it. A batch is what one `fdatasync` covered: a bad frame followed by a frame of a later batch is damage, not a torn
//! tail.
//!
//! Version 2 differs in what lies encrypted: artifacts and proofs begin with their encoding (`content.rs`), and there are proofs.
//! A program that knows version 1 alone refuses such a segment instead of taking a frame of an unknown type for damage.

use truc_model::Digest;

/// The version written; all from 1 on are read.
pub(crate) const VERSION: u16 = 2;
pub(crate) const HEADER: usize = 88;
/// Bytes of a frame before its key id.
pub(crate) const FRAME_HEAD: usize = 27;
pub(crate) const TAG: usize = 16;
/// No frame is longer.
pub(crate) const FRAME_LIMIT: usize = 64 * 1024 * 1024;
const MAGIC: &[u8; 8] = b"TRUCSEG\0";

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    Journal = 1,
    Bodies = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameType {
    Record = 1,
    Artifact = 2,
    Body = 3,
    Decision = 4,
    Proof = 5,
}

impl FrameType {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Record),
            2 => Some(Self::Artifact),
            3 => Some(Self::Body),
            4 => Some(Self::Decision),
            5 => Some(Self::Proof),
            _ => None,
        }
    }
    /// True for frames that carry a sequence of their own; others carry the sequence they belong to.
    pub(crate) const fn counts(self) -> bool {
        matches!(self, Self::Record | Self::Decision)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u16,
    pub(crate) kind: SegmentKind,
    pub(crate) salt: [u8; 32],
    pub(crate) first: u64,
    pub(crate) chain: Digest,
}

/// Why bytes are no segment header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Another program version wrote it.
    Version(u16),
    /// Not a header, or a torn one.
    Broken,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&[self.kind as u8, 0]);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(self.chain.as_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let mut r = Reader(bytes);
        if r.take(8) != Some(MAGIC) {
            return Err(HeaderFault::Broken);
        }
        let version = r.u16().ok_or(HeaderFault::Broken)?;
        if version == 0 || version > VERSION {
            return Err(HeaderFault::Version(version));
        }
        Self::rest(version, bytes, &mut r).ok_or(HeaderFault::Broken)
    }

    fn rest(version: u16, bytes: &[u8], r: &mut Reader<'_>) -> Option<Self> {
        let kind = match (r.u8()?, r.u8()?) {
            (1, 0) => SegmentKind::Journal,
            (2, 0) => SegmentKind::Bodies,
            _ => return None,
        };
        let salt = r.take(32)?.try_into().ok()?;
        let first = r.u64()?;
        let chain = r.digest()?;
        let crc = r.u32()?;
        (crc == crc32c::crc32c(bytes.get(..HEADER - 4)?)).then_some(Self {
            version,
            kind,
            salt,
            first,
            chain,
        })
    }
}

/// One frame, still encrypted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameType,
    pub(crate) number: u32,
    pub(crate) batch: u32,
    pub(crate) sequence: u64,
    pub(crate) key_id: &'a str,
    /// What the AEAD authenticates beside the content.
    pub(crate) head: &'a [u8],
    pub(crate) sealed: &'a [u8],
    /// All of it, as chained.
    pub(crate) bytes: &'a [u8],
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub(crate) enum Parsed<'a> {
    Frame(Frame<'a>),
    /// Length 0, or nothing at all.
    End,
    /// Bytes that are no whole frame.
    Broken,
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut r = Reader(bytes);
    let Some(length) = r.u32() else {
        return if bytes.iter().all(|b| *b == 0) { Parsed::End } else { Parsed::Broken };
    };
    if length == 0 {
        return Parsed::End;
    }
    parse_frame(bytes, length as usize).map_or(Parsed::Broken, Parsed::Frame)
}

fn parse_frame(bytes: &[u8], length: usize) -> Option<Frame<'_>> {
    if !(FRAME_HEAD - 8 + TAG..=FRAME_LIMIT).contains(&length) {
        return None;
    }
    let bytes = bytes.get(..length + 8)?;
    let covered = bytes.get(8..)?;
    let mut r = Reader(covered);
    // The cheap fields first: while searching for frames most places fail here.
    let kind = FrameType::from_number(r.u8()?)?;
    if r.u8()? != 0 {
        return None;
    }
    let (number, batch, sequence) = (r.u32()?, r.u32()?, r.u64()?);
    let key_length = r.u8()? as usize;
    let key_id = std::str::from_utf8(r.take(key_length)?).ok()?;
    if u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?) != crc32c::crc32c(covered) {
        return None;
    }
    let head = covered.get(..FRAME_HEAD - 8 + key_length)?;
    Some(Frame { kind, number, batch, sequence, key_id, head, sealed: r.0, bytes })
}

/// How long a frame gets.
pub(crate) const fn frame_length(key_id: usize, content: usize) -> u64 {
    (FRAME_HEAD + key_id + content + TAG) as u64
}

pub(crate) fn next_chain(chain: Digest, frame: &[u8]) -> Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(chain.as_bytes());
    context.update(frame);
    Digest::from_slice(context.finish().as_ref()).unwrap_or(Digest([0; 32]))
}

/// The chain before the first frame of the journal `stem`: a segment of another journal does not fit.
pub(crate) fn seed(stem: &str) -> Digest {
    Digest::of(format!("truc journal 1 {stem}").as_bytes())
}

/// Takes fixed parts off the front of bytes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(part)
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
    pub(crate) fn digest(&mut self) -> Option<Digest> {
        Digest::from_slice(self.take(32)?)
    }
    /// Bytes behind a u32 length.
    pub(crate) fn long(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()? as usize;
        self.take(n)
    }
}
